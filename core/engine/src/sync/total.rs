//! What rounds have done, added up for whoever is told: counts, the first conflicts, faults and
//! notes, and why a sync that came to its end is not complete.

use super::apply::Tally;
use super::model::Rel;
use super::options::Pair;
use crate::failure::{one_line, plain};
use bssh_protocol::exec::{Failure, Phase};
use bssh_protocol::sync::{SyncConflict, SyncNote, Synced};
use bssh_protocol::transfer::{FileFault, PathBytes};
use std::os::unix::ffi::OsStrExt;

/// Conflicts, faults and notes that are kept; the others are counted.
const MOST_KEPT: usize = 1000;

/// What ends a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// A person decides: the node's side lies here under this name.
    Decide(Rel),
    /// Fetching goes on with it: each side still has its own.
    Fetch,
    /// One of the two has to give way: there are no copies of links and directories.
    Remove,
}

/// How many conflicts end in which way.
#[derive(Debug, Default)]
struct Ways {
    decide: u64,
    fetch: u64,
    remove: u64,
}

/// The sum.
#[derive(Debug, Default)]
pub(crate) struct Total {
    /// All but the conflicts.
    pub result: Synced,
    pub conflicts: Vec<(SyncConflict, Way)>,
    ways: Ways,
}

impl Total {
    /// What one round has done.
    pub(crate) fn of(pair: &Pair, tally: Tally) -> Total {
        let mut total = Total::default();
        let result = &mut total.result;
        (result.pushed, result.pulled) = (tally.pushed, tally.pulled);
        (result.deleted_there, result.deleted_here) = (tally.deleted_there, tally.deleted_here);
        result.n_faults = tally.faults.len() as u64;
        let fault = |(path, fault): (Rel, crate::transfer::Fault)| FileFault {
            path: PathBytes(path),
            code: fault.code.to_owned(),
            message: one_line(&fault.message),
            here: fault.here,
        };
        result.faults = tally.faults.into_iter().take(MOST_KEPT).map(fault).collect();
        let note =
            |(path, code): (Rel, &str)| SyncNote { path: PathBytes(path), code: code.to_owned() };
        result.notes = tally.notes.into_iter().take(MOST_KEPT).map(note).collect();
        let root = PathBytes(pair.local.as_os_str().as_bytes().to_vec());
        for (path, way) in tally.conflicts {
            let copy = match &way {
                Way::Decide(copy) => Some(PathBytes(copy.clone())),
                _ => None,
            };
            match way {
                Way::Decide(_) => total.ways.decide += 1,
                Way::Fetch => total.ways.fetch += 1,
                Way::Remove => total.ways.remove += 1,
            }
            let conflict = SyncConflict { root: root.clone(), path: PathBytes(path), copy };
            total.conflicts.push((conflict, way));
        }
        total
    }

    /// Both together; of conflicts, faults and notes the first.
    pub(crate) fn add(&mut self, one: Total) {
        let (all, result) = (&mut self.result, one.result);
        merge(all, &result);
        all.n_faults += result.n_faults;
        all.faults.extend(result.faults);
        all.faults.truncate(MOST_KEPT);
        all.notes.extend(result.notes);
        all.notes.truncate(MOST_KEPT);
        self.conflicts.extend(one.conflicts);
        self.conflicts.truncate(MOST_KEPT);
        self.ways.decide += one.ways.decide;
        self.ways.fetch += one.ways.fetch;
        self.ways.remove += one.ways.remove;
    }

    /// Conflicts, whether they are kept or not.
    pub(crate) fn n_conflicts(&self) -> u64 {
        self.ways.decide + self.ways.fetch + self.ways.remove
    }

    /// Why a sync that came to its end is not complete.
    pub(crate) fn incomplete(&self) -> Option<Failure> {
        let files = |n: u64, one: &str, more: &str| match n {
            1 => format!("1 {one}"),
            n => format!("{n} {more}"),
        };
        let n_faults = self.result.n_faults;
        if n_faults > 0 {
            let text = files(n_faults, "file failed", "files failed");
            return Some(plain(Phase::Transfer, "filesFailed", text));
        }
        let Ways { decide, fetch, remove } = self.ways;
        let mut texts = Vec::new();
        if decide + fetch > 0 {
            let (one, more) =
                ("file was changed on both sides", "files were changed on both sides");
            texts.push(files(decide + fetch, one, more));
        }
        if remove > 0 {
            let (one, more) = ("path differs and is left alone", "paths differ and are left alone");
            texts.push(files(remove, one, more));
        }
        if texts.is_empty() {
            return None;
        }
        if self.n_conflicts() > MOST_KEPT as u64 {
            texts.push(format!("the first {MOST_KEPT} are named"));
        }
        let hints = [
            (decide, "bssh sync conflicts lists them, bssh sync resolve decides"),
            (fetch, "bssh sync back goes on with them, --conflict says how"),
            (remove, "rename or remove one of the two; links and directories have no copies"),
        ];
        let hints = hints.into_iter().filter(|(n, _)| *n > 0).map(|(_, hint)| hint);
        let hint = Some(hints.collect::<Vec<_>>().join("; "));
        Some(Failure { hint, ..plain(Phase::Transfer, "conflicts", texts.join(", ")) })
    }

    /// What is told in the end.
    pub(crate) fn told(self, failure: Option<Failure>) -> Synced {
        let conflicts = self.conflicts.into_iter().take(MOST_KEPT);
        Synced {
            failure,
            conflicts: conflicts.map(|(conflict, _)| conflict).collect(),
            ..self.result
        }
    }
}

/// Adds what a later round has done, but not what it could not do.
pub(crate) fn merge(all: &mut Synced, one: &Synced) {
    all.pushed += one.pushed;
    all.pulled += one.pulled;
    all.deleted_there += one.deleted_there;
    all.deleted_here += one.deleted_here;
    all.bytes += one.bytes;
    all.known = one.known;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::filter::Filter;

    fn total(n_decide: usize, n_fetch: usize, n_remove: usize) -> Total {
        let pair = Pair {
            local: "/here".into(),
            remote: b"there".to_vec(),
            key: String::new(),
            filter: Filter::default(),
        };
        let mut tally = Tally::default();
        for (n, way) in
            [(n_decide, Way::Decide(b"c".to_vec())), (n_fetch, Way::Fetch), (n_remove, Way::Remove)]
        {
            tally.conflicts.extend((0..n).map(|n| (n.to_string().into_bytes(), way.clone())));
        }
        let mut total = Total::default();
        total.add(Total::of(&pair, tally));
        total
    }

    #[test]
    fn why_it_is_not_complete_and_what_to_do() {
        for (ways, text, hints) in [
            ((1, 0, 0), "1 file was changed on both sides", vec!["sync resolve"]),
            ((0, 2, 0), "2 files were changed on both sides", vec!["sync back"]),
            ((0, 0, 1), "1 path differs and is left alone", vec!["rename or remove"]),
            (
                (2, 1, 2),
                "3 files were changed on both sides, 2 paths differ and are left alone",
                vec!["sync resolve", "sync back", "rename"],
            ),
            (
                (1400, 100, 0),
                "1500 files were changed on both sides, the first 1000 are named",
                vec!["sync resolve", "sync back"],
            ),
        ] {
            let total = total(ways.0, ways.1, ways.2);
            let failure = total.incomplete().unwrap();
            let hint = failure.hint.clone().unwrap();
            assert_eq!((failure.code.as_str(), failure.message.as_str()), ("conflicts", text));
            assert_eq!(
                hint.split("; ").filter(|h| hints.iter().any(|w| h.contains(w))).count(),
                hints.len(),
                "{hint}"
            );
            let kept = (ways.0 + ways.1 + ways.2).min(MOST_KEPT);
            assert_eq!(total.told(None).conflicts.len(), kept);
        }
        assert_eq!(total(0, 0, 0).incomplete(), None);
    }
}
