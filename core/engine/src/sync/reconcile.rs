//! Base, local and remote side to what is to be done: a pure function over data.
//!
//! The table of `reconcile_one` is the whole policy for one path; around it stand the rules that
//! need several paths (subtrees in conflict, directories that must stay for what is in them), the
//! choice of a direction, and the stop before a mass deletion.

use super::model::{Base, Rel, Seen, Side, Thing, parents};
use std::collections::{BTreeMap, BTreeSet};

/// What is to be done with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// The local one goes to the node.
    Push,
    /// The same, after the node's has been saved here: it lost a conflict.
    PushOver,
    /// The node's comes here; what it replaces is saved first.
    Pull,
    DeleteRemote,
    /// After it has been saved.
    DeleteLocal,
    /// Both sides are the same: the base takes that over.
    Agree,
    /// The base forgets it; what is left on a side stays.
    Forget,
    /// The node's comes here under another name, the local one stays.
    KeepBoth,
    /// Nothing is done here, and nothing below.
    Clash(Clash),
}

/// Why there is nothing that could be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clash {
    /// Both sides have changed it, and the user wants to be asked.
    Content,
    /// The same, and the copy that was made of the node's is still there.
    Open,
    /// A directory on one side, something else on the other.
    Type,
    /// Both sides have changed it, and one has a link: there is no copy of it to be made.
    Link,
    /// This side has something that cannot be carried.
    Blocked(&'static str),
    /// The node has, so that what has changed here cannot be sent.
    Unsent(&'static str),
}

pub(crate) type Plan = BTreeMap<Rel, Action>;

/// What happens if both sides have changed a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Policy {
    #[default]
    KeepBoth,
    RemoteWins,
    LocalWins,
    Fail,
}

/// Which deletions are carried over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Deletions {
    /// Local ones to the node.
    #[default]
    Push,
    Both,
    Never,
}

/// What may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Push,
    Back,
    Both,
}

/// The rules of one sync.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub policy: Policy,
    pub deletions: Deletions,
    /// Files that only the node has come here.
    pub pull_new: bool,
}

/// Everything that is to be done, whatever the direction.
pub(crate) fn reconcile(base: &Base, local: &Side, remote: &Side, rules: &Rules) -> Plan {
    let paths: BTreeSet<&Rel> = base.keys().chain(local.keys()).chain(remote.keys()).collect();
    let mut plan = Plan::new();
    let mut closed: BTreeSet<&Rel> = BTreeSet::new();
    for path in paths {
        if !closed.is_empty() && parents(path).any(|dir| closed.iter().any(|c| *c == dir)) {
            continue;
        }
        let known = base.get(path).map(|entry| &entry.thing);
        let action = reconcile_one(known, local.get(path), remote.get(path), rules);
        match action {
            Some(Action::Clash(Clash::Type | Clash::Blocked(_))) => {
                closed.insert(path);
            }
            None => continue,
            Some(_) => {}
        }
        plan.extend(action.map(|action| (path.clone(), action)));
    }
    keep_parents(&mut plan, local, remote);
    keep_guarded(&mut plan, closed);
    plan
}

/// What is to be done with one path: the table.
fn reconcile_one(
    base: Option<&Thing>,
    local: Option<&Seen>,
    remote: Option<&Seen>,
    rules: &Rules,
) -> Option<Action> {
    let blocked = [local, remote].into_iter().flatten().find_map(|seen| match seen {
        Seen::Blocked(why) => Some(*why),
        _ => None,
    });
    if let Some(why) = blocked {
        return Some(Action::Clash(Clash::Blocked(why)));
    }
    let is_dir = |seen: &Seen| match seen {
        Seen::Same => matches!(base, Some(Thing::Dir)),
        seen => *seen == Seen::Dir,
    };
    if let (Some(l), Some(r)) = (local, remote)
        && is_dir(l) != is_dir(r)
    {
        return Some(Action::Clash(Clash::Type));
    }
    let changed = |seen: Option<&Seen>| match (base, seen) {
        (None, seen) => seen.is_some(),
        (Some(_), None) => true,
        (Some(thing), Some(seen)) => !seen.is(thing),
    };
    match (changed(local), changed(remote), local, remote) {
        (false, false, None, None) => None,
        (false, false, ..) => None,
        // Only the local side has changed.
        (true, false, Some(_), _) => Some(Action::Push),
        (true, false, None, _) => match rules.deletions {
            Deletions::Push | Deletions::Both => Some(Action::DeleteRemote),
            Deletions::Never => None,
        },
        // Only the node has changed.
        (false, true, _, Some(_)) => (base.is_some() || rules.pull_new).then_some(Action::Pull),
        (false, true, _, None) => match rules.deletions {
            Deletions::Both => Some(Action::DeleteLocal),
            Deletions::Push | Deletions::Never => Some(Action::Forget),
        },
        // Both have.
        (true, true, None, None) => Some(Action::Forget),
        // An edit beats a deletion.
        (true, true, None, Some(_)) => Some(Action::Pull),
        (true, true, Some(_), None) => Some(Action::Push),
        (true, true, Some(l), Some(r)) if same(l, r) => Some(Action::Agree),
        (true, true, Some(_), Some(_)) => Some(match rules.policy {
            Policy::KeepBoth => Action::KeepBoth,
            Policy::RemoteWins => Action::Pull,
            Policy::LocalWins => Action::PushOver,
            Policy::Fail => Action::Clash(Clash::Content),
        }),
    }
}

/// The two sides are known to be the same.
fn same(a: &Seen, b: &Seen) -> bool {
    match (a, b) {
        (Seen::File { hash: None, .. }, _) => false,
        (a, b) => a == b,
    }
}

/// A directory stays, or comes back, for what is to be in it.
fn keep_parents(plan: &mut Plan, local: &Side, remote: &Side) {
    let mut wanted = BTreeMap::new();
    for (path, action) in plan.iter() {
        let (here, there) = match action {
            Action::Pull | Action::KeepBoth => (true, false),
            Action::Push | Action::PushOver => (false, true),
            _ => continue,
        };
        for dir in parents(path) {
            let (on_local, on_remote) = (local.contains_key(dir), remote.contains_key(dir));
            match plan.get(dir) {
                Some(Action::DeleteRemote | Action::Forget) | None if here && !on_local => {
                    wanted.insert(dir.to_vec(), Action::Pull);
                }
                Some(Action::DeleteLocal | Action::Forget) | None if there && !on_remote => {
                    wanted.insert(dir.to_vec(), Action::Push);
                }
                _ => {}
            }
        }
    }
    plan.extend(wanted);
}

/// A directory stays where something below it must not be touched.
fn keep_guarded(plan: &mut Plan, closed: BTreeSet<&Rel>) {
    let closed: Vec<Rel> = closed.into_iter().cloned().collect();
    for dir in closed.iter().flat_map(|path| parents(path)) {
        if matches!(plan.get(dir), Some(Action::DeleteLocal | Action::DeleteRemote)) {
            plan.remove(dir);
        }
    }
}

/// What of a plan may be done in this direction. A push that cannot send what has changed here says
/// so: a command may be about to run on it.
pub(crate) fn towards(plan: Plan, direction: Direction, local: &Side) -> Plan {
    let fits = |action: &Action| match action {
        Action::Push | Action::PushOver | Action::DeleteRemote => direction != Direction::Back,
        Action::Pull | Action::DeleteLocal | Action::KeepBoth => direction != Direction::Push,
        Action::Agree | Action::Forget | Action::Clash(_) => true,
    };
    let unanswered = |action: Action, here: Option<&Seen>| match (action, here) {
        // Pushing alone cannot keep both; the edit of the other side is left to `back`.
        (Action::KeepBoth, _) => Action::Clash(Clash::Content),
        (Action::Pull, Some(seen)) if *seen != Seen::Same => Action::Clash(Clash::Content),
        // Only what is on the way of a change here was looked at.
        (Action::Clash(Clash::Blocked(why)), Some(seen)) if !matches!(seen, Seen::Blocked(_)) => {
            Action::Clash(Clash::Unsent(why))
        }
        (action, _) => action,
    };
    let answered = |path: &Rel, action: Action| match direction {
        Direction::Push => unanswered(action, local.get(path)),
        Direction::Back | Direction::Both => action,
    };
    let plan = plan.into_iter().map(|(path, action)| {
        let action = answered(&path, action);
        (path, action)
    });
    plan.filter(|(_, action)| fits(action)).collect()
}

/// Deleting more than this many and more than half of what there was is stopped.
const MANY: usize = 20;

/// So much would be deleted that it looks like a mistake: how many, and of how many.
pub(crate) fn mass_deletion(plan: &Plan, base: &Base) -> Option<(usize, usize)> {
    let deletes = |a: &&Action| matches!(a, Action::DeleteRemote | Action::DeleteLocal);
    let n = plan.values().filter(deletes).count();
    (n > MANY && n * 2 > base.len()).then_some((n, base.len()))
}
