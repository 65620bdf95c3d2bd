//! The INI files of other tools: `[section]` lines and what follows each.
//!
//! Only the frame: what a line means is the reader's business. Comments are whole lines that start
//! with `#` or `;`.

/// A section with its lines; text before the first section is a section without a name.
#[derive(Debug, Default)]
pub(super) struct Section<'a> {
    pub(super) name: &'a str,
    /// 1-based line numbers and trimmed lines, no blank ones and no comments.
    pub(super) lines: Vec<(u32, &'a str)>,
}

pub(super) fn sections(text: &str) -> Vec<Section<'_>> {
    let mut sections = vec![Section::default()];
    for (i, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        match section_name(line) {
            Some(name) => sections.push(Section { name, lines: Vec::new() }),
            None => {
                if let Some(section) = sections.last_mut() {
                    section.lines.push((i as u32 + 1, line));
                }
            }
        }
    }
    sections
}

/// `[name]`, if that is a name: not a range (`[1-3]`) and not an address (`[::1]`).
pub(super) fn section_name(line: &str) -> Option<&str> {
    let line = line.split_once(" #").map_or(line, |(before, _)| before.trim_end());
    let name = line.strip_prefix('[')?.strip_suffix(']')?.trim();
    let word = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let address = name.split('%').next().is_some_and(|a| a.parse::<std::net::Ipv6Addr>().is_ok());
    (word && !address && !name.contains(['[', ']'])).then_some(name)
}

/// `key = value` or `key: value`, the first of the two.
pub(super) fn key_value(line: &str) -> Option<(&str, &str)> {
    line.split_once(['=', ':']).map(|(key, value)| (key.trim(), value.trim()))
}
