//! What takes part in a sync: not what the user leaves out, not our own files, not roots of other
//! pairs, not links that lead outside.

use super::model::{Rel, parents};
use crate::transfer::Skip;
use bssh_config::clusters::sync::SyncLinks;

/// The directory of ours in each root: the token and the lease there, backups here.
pub(crate) const OWN: &[u8] = b".bssh-sync";
/// In the name of every conflict copy.
const COPY: &[u8] = b".conflict-remote-";

/// What takes part.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// If there are any, a file that fits none of them is left out.
    pub include: Skip,
    pub ignore: Skip,
    /// Roots of other pairs inside this one.
    pub nested: Vec<Rel>,
    /// Links that lead outside are carried all the same.
    pub unsafe_links: bool,
    pub links: SyncLinks,
    /// Begins the names of this sync's temporary files.
    pub temp: Vec<u8>,
}

/// What a name is to a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Takes,
    LeftOut,
    /// A temporary file of this very sync, which is not running: nobody needs it.
    Stale,
}

impl Filter {
    /// Does the path take part?
    pub(crate) fn part(&self, path: &[u8], is_dir: bool) -> Part {
        let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
        let is_temp = name.starts_with(b".bssh-") && name.ends_with(b".tmp");
        if is_temp && !self.temp.is_empty() && name.starts_with(&self.temp) {
            return Part::Stale;
        }
        let ours = path == OWN
            || is_temp
            || (name.starts_with(b".bssh-") && name.ends_with(b".part"))
            || is_copy(name);
        let unwanted = !is_dir && !self.include.0.is_empty() && !self.include.has(path, false);
        let nested = self.nested.iter().any(|root| root.as_slice() == path);
        match ours || unwanted || nested || self.ignore.has(path, is_dir) {
            true => Part::LeftOut,
            false => Part::Takes,
        }
    }

    /// Does it take part, with all that it is in?
    pub(crate) fn takes(&self, path: &[u8], is_dir: bool) -> bool {
        let takes = |path: &[u8], is_dir| self.part(path, is_dir) == Part::Takes;
        takes(path, is_dir) && parents(path).all(|dir| takes(dir, true))
    }

    /// A link is carried, left out, or cannot be.
    pub(crate) fn link(&self, path: &[u8], text: &[u8]) -> Result<bool, &'static str> {
        match (self.links, self.unsafe_links || stays_inside(path, text)) {
            (SyncLinks::Skip, _) => Ok(false),
            // Links here are read through: this one is the node's.
            (SyncLinks::Follow, _) => Err("link"),
            (SyncLinks::Preserve, true) => Ok(true),
            (SyncLinks::Preserve, false) => Err("unsafeLink"),
        }
    }
}

/// The name of a conflict copy as [`copy_name`] makes it, and nothing that is only like it.
pub(crate) fn is_copy(name: &[u8]) -> bool {
    const FORM: &[u8] = b"00000000T000000Z-xxxxxxxx";
    let begins = name.len().checked_sub(COPY.len() + FORM.len());
    let tail = begins.and_then(|at| name.get(at..)?.strip_prefix(COPY));
    tail.is_some_and(|tail| {
        tail.iter().zip(FORM).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            b'x' => byte.is_ascii_hexdigit(),
            exact => byte == exact,
        })
    })
}

/// A link's text leads to somewhere below the root, whatever is there.
fn stays_inside(path: &[u8], text: &[u8]) -> bool {
    if text.is_empty() || text.starts_with(b"/") {
        return false;
    }
    let mut depth = path.iter().filter(|b| **b == b'/').count();
    for name in text.split(|b| *b == b'/') {
        match name {
            b"" | b"." => {}
            b".." => match depth.checked_sub(1) {
                Some(up) => depth = up,
                None => return false,
            },
            _ => depth += 1,
        }
    }
    true
}

/// The name of the copy that is made of the node's file: when, and the beginning of its hash.
pub(crate) fn copy_name(path: &[u8], unix_s: u64, hash: &[u8]) -> Rel {
    let hex: String = hash.iter().take(4).map(|b| format!("{b:02x}")).collect();
    let text = format!(".conflict-remote-{}-{hex}", utc(unix_s));
    [path, text.as_bytes()].concat()
}

/// `20261126T160000Z`.
pub(crate) fn utc(unix_s: u64) -> String {
    let (days, seconds) = (unix_s / 86_400, unix_s % 86_400);
    // Howard Hinnant's civil_from_days, for days since 1970.
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_part() {
        let skip = |words: &[&str]| Skip(words.iter().map(|w| w.as_bytes().to_vec()).collect());
        let filter = Filter {
            ignore: skip(&["target/", "*.o"]),
            nested: vec![b"sub/other".to_vec()],
            temp: b".bssh-s1-".to_vec(),
            ..Filter::default()
        };
        for (path, is_dir, want) in [
            ("a", false, Part::Takes),
            ("x/target", true, Part::LeftOut),
            ("x/target", false, Part::Takes),
            ("x/a.o", false, Part::LeftOut),
            (".bssh-sync", true, Part::LeftOut),
            ("x/.bssh-sync", true, Part::Takes),
            ("x/.bssh-s1-3.tmp", false, Part::Stale),
            ("x/.bssh-s2-3.tmp", false, Part::LeftOut),
            ("sub/other", true, Part::LeftOut),
            ("a.conflict-remote-20261126T160000Z-01020304", false, Part::LeftOut),
            ("a.conflict-remote-20261126T160000Z-01020304.txt", false, Part::Takes),
            ("about.conflict-remote-files", false, Part::Takes),
        ] {
            assert_eq!(filter.part(path.as_bytes(), is_dir), want, "{path}");
        }
        for (path, want) in [
            ("target/a", false),
            ("x/target/b/a", false),
            ("sub/other/a", false),
            ("sub/a", true),
            ("x.o/a", false),
            ("target-x/a", true),
        ] {
            assert_eq!(filter.takes(path.as_bytes(), false), want, "{path}");
        }
        let only = Filter { include: skip(&["*.rs"]), ..Filter::default() };
        assert_eq!(only.part(b"x/a.c", false), Part::LeftOut);
        assert_eq!(
            (only.part(b"x/a.rs", false), only.part(b"x", true)),
            (Part::Takes, Part::Takes)
        );
    }

    #[test]
    fn links_and_where_they_lead() {
        for (path, text, inside) in [
            ("a", "b", true),
            ("d/a", "../b", true),
            ("a", "../b", false),
            ("d/a", "x/../../../b", false),
            ("d/a", "x/../../b", true),
            ("a", "/etc", false),
            ("a", "", false),
            ("a", ".", true),
        ] {
            assert_eq!(stays_inside(path.as_bytes(), text.as_bytes()), inside, "{path} {text}");
        }
    }

    #[test]
    fn copies_say_when_and_what() {
        for (unix_s, text) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (1_795_708_800, "20261126T160000Z"),
        ] {
            assert_eq!(utc(unix_s), text);
        }
        let name = copy_name(b"d/a", 0, &[1, 2, 3, 0xff, 9]);
        assert_eq!(name, b"d/a.conflict-remote-19700101T000000Z-010203ff");
    }
}
