//! Ansible inventories in INI: `[group]`, `[group:children]`, `[group:vars]`.
//!
//! Recognised by a section line or an `ansible_` variable; anything else is a plain host file.

use std::path::Path;

use super::ansible::{Inventory, expand_ranges, set_variable};
use super::host_file::without_comment;
use super::ini::{section_name, sections};
use crate::error::Error;
use crate::node::NodeOverrides;

/// Is this an inventory rather than a plain list of hosts?
pub(super) fn looks_like(text: &str) -> bool {
    text.lines().any(|l| section_name(l.trim()).is_some() || l.contains(" ansible_"))
}

/// # Errors
/// A bad line, with its number.
pub(super) fn read(path: &Path, text: &str) -> Result<Inventory, Error> {
    let mut inventory = Inventory::default();
    for section in sections(text) {
        let (group, kind) = section.name.split_once(':').unwrap_or((section.name, ""));
        let group = if group.is_empty() { "ungrouped" } else { group };
        inventory.group(group);
        for (line, text) in section.lines {
            let text = without_comment(text);
            take(&mut inventory, group, kind, text).map_err(|e| e.at(path, line, 0))?;
        }
    }
    Ok(inventory)
}

fn take(inventory: &mut Inventory, group: &str, kind: &str, line: &str) -> Result<(), Error> {
    match kind {
        "" => hosts(inventory, group, line),
        "children" => {
            inventory.group(line);
            inventory.group(group).children.push(line.to_owned());
            Ok(())
        }
        "vars" => {
            let (key, value) =
                line.split_once('=').ok_or_else(|| Error::plain("expected key=value"))?;
            let value = value.trim();
            let inner = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
            let value = inner('"').or_else(|| inner('\'')).unwrap_or(value);
            set_variable(&mut inventory.group(group).vars, key.trim(), value)
        }
        other => Err(Error::plain(format!("unknown section kind \":{other}\""))),
    }
}

/// `name[:port] key=value…`, ranges allowed.
fn hosts(inventory: &mut Inventory, group: &str, line: &str) -> Result<(), Error> {
    let words = words(line).ok_or_else(|| Error::plain("missing closing quote"))?;
    let Some((name, assignments)) = words.split_first() else { return Ok(()) };
    let mut vars = NodeOverrides::default();
    for word in assignments {
        let (key, value) = word
            .split_once('=')
            .ok_or_else(|| Error::plain(format!("expected key=value, found \"{word}\"")))?;
        set_variable(&mut vars, key, value)?;
    }
    let (pattern, port) = match name.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            match port.parse::<u16>() {
                Ok(port) => (host, Some(port)),
                Err(_) => (name.as_str(), None),
            }
        }
        _ => (name.as_str(), None),
    };
    vars.port = vars.port.or(port);
    let address = pattern.starts_with('[') || pattern.parse::<std::net::Ipv6Addr>().is_ok();
    let names = if address { vec![pattern.to_owned()] } else { expand_ranges(pattern)? };
    for name in names {
        inventory.add_host(group, &name, vars.clone());
    }
    Ok(())
}

/// Words as a shell splits them, without escapes; `None`: a quote is left open.
fn words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}
