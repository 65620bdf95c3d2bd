//! Files of targets: `^FILE`, `--hostfile FILE`.
//!
//! A plain host file has one node set expression per line and comments after `#`. An Ansible
//! inventory is recognised by what it holds; `^FILE:GROUP` then takes one of its groups.

use std::path::Path;

use super::ansible::Inventory;
use super::{MAX_FILE, Member, ansible_ini, ansible_yaml};
use crate::clusters::read_text;
use crate::error::Error;
use crate::yaml::parse;

/// The members that a file, or `FILE:GROUP`, names; the path of the file for messages.
///
/// # Errors
/// The file cannot be read, is no inventory though a group is asked for, or has no such group.
pub(crate) fn read(path: &Path) -> Result<Vec<Member>, Error> {
    if let Some(text) = read_text(path, MAX_FILE)? {
        return match inventory(path, &text)? {
            Some(inventory) => Ok(inventory.members("all").unwrap_or_default()),
            None => Ok(lines(&text)),
        };
    }
    let missing = || Error::plain("no such host file").at(path, 0, 0);
    let (file, group) = path.to_str().and_then(|p| p.rsplit_once(':')).ok_or_else(missing)?;
    let file = Path::new(file);
    let text = read_text(file, MAX_FILE)?.ok_or_else(missing)?;
    let wrong = |message: String| Error::plain(message).at(file, 0, 0);
    let inventory = inventory(file, &text)?
        .ok_or_else(|| wrong("not an Ansible inventory: no groups".into()))?;
    inventory.members(group).ok_or_else(|| wrong(format!("no group \"{group}\"")))
}

/// The inventory in a file, if it is one.
fn inventory(path: &Path, text: &str) -> Result<Option<Inventory>, Error> {
    let yaml = path.extension().is_some_and(|e| e == "yml" || e == "yaml");
    if yaml || text.lines().any(|l| l.trim_end() == "---") {
        return ansible_yaml::read(path, &parse(path, text)?).map(Some);
    }
    if ansible_ini::looks_like(text) { ansible_ini::read(path, text).map(Some) } else { Ok(None) }
}

fn lines(text: &str) -> Vec<Member> {
    text.trim_start_matches('\u{feff}')
        .lines()
        .enumerate()
        .map(|(i, line)| (i as u32 + 1, without_comment(line)))
        .filter(|(_, line)| !line.is_empty())
        .map(|(line, text)| Member { line, ..Member::new(text) })
        .collect()
}

/// A comment starts with `#` at the start of a line or after a space.
pub(super) fn without_comment(line: &str) -> &str {
    let starts = |(i, _): &(usize, &str)| {
        line.get(..*i).is_none_or(|before| before.is_empty() || before.ends_with([' ', '\t']))
    };
    match line.match_indices('#').find(starts) {
        Some((i, _)) => line.get(..i).unwrap_or_default().trim(),
        None => line.trim(),
    }
}
