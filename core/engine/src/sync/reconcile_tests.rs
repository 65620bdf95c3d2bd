//! The table row by row, and a model of two sides under random edits, races and crashes: no
//! content anybody wrote ever vanishes, and both sides come to be the same (T2-6).

use super::model::{Base, Entry, Hash, LocalStat, Rel, RemoteStat, Seen, Side, Thing, parents};
use super::reconcile::{
    Action, Clash, Deletions, Direction, Plan, Policy, Rules, mass_deletion, reconcile, towards,
};
use std::collections::{BTreeMap, BTreeSet};

const RULES: Rules = Rules { policy: Policy::KeepBoth, deletions: Deletions::Push, pull_new: true };

fn entry(thing: Thing) -> Entry {
    Entry {
        thing,
        local: LocalStat::default(),
        remote: RemoteStat::default(),
        racy_local: false,
        racy_remote: false,
    }
}

fn hash(n: u64) -> Hash {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&n.to_le_bytes());
    hash
}

/// `f1` a file, `x1` the same and executable, `f?` a file whose hash is unknown, `d` a directory,
/// `l1` a link, `=` as in the base, `!` something else, `0` nothing.
fn seen(text: &str) -> Option<Seen> {
    Some(match text {
        "0" => return None,
        "=" => Seen::Same,
        "d" => Seen::Dir,
        "!" => Seen::Blocked("special"),
        "f?" => Seen::File { hash: None, exec: false },
        text => match (text.as_bytes()[0], text[1..].parse().unwrap()) {
            (b'l', n) => Seen::Link(vec![n]),
            (kind, n) => Seen::File { hash: Some(hash(n.into())), exec: kind == b'x' },
        },
    })
}

fn thing(text: &str) -> Option<Thing> {
    Some(match seen(text)? {
        Seen::Dir => Thing::Dir,
        Seen::File { hash, exec } => Thing::File { hash: hash.unwrap(), exec },
        Seen::Link(text) => Thing::Link(text),
        other => panic!("{other:?}"),
    })
}

fn side(text: &str) -> Side {
    let words = text.split(' ').filter_map(|word| word.split_once(':'));
    words.filter_map(|(path, what)| Some((path.as_bytes().to_vec(), seen(what)?))).collect()
}

fn base(text: &str) -> Base {
    let words = text.split(' ').filter_map(|word| word.split_once(':'));
    let words = words.filter_map(|(path, what)| Some((path, thing(what)?)));
    words.map(|(path, thing)| (path.as_bytes().to_vec(), entry(thing))).collect()
}

fn plan(text: &[(&str, Action)]) -> Plan {
    text.iter().map(|(path, action)| (path.as_bytes().to_vec(), *action)).collect()
}

#[test]
fn one_path() {
    use Action::{Agree, DeleteRemote, Forget, KeepBoth, Pull, Push};
    let type_clash = Action::Clash(Clash::Type);
    for (b, l, r, want) in [
        ("f1", "=", "=", None),
        ("f1", "f1", "f1", None),
        ("f1", "x1", "=", Some(Push)),
        ("f1", "f2", "=", Some(Push)),
        ("0", "f2", "0", Some(Push)),
        ("f1", "l2", "=", Some(Push)),
        ("f1", "0", "=", Some(DeleteRemote)),
        ("d", "0", "=", Some(DeleteRemote)),
        ("f1", "=", "f2", Some(Pull)),
        ("f1", "=", "f?", Some(Pull)),
        ("0", "0", "f2", Some(Pull)),
        ("f1", "=", "0", Some(Forget)),
        ("f1", "f2", "f2", Some(Agree)),
        ("0", "f2", "f2", Some(Agree)),
        ("0", "d", "d", Some(Agree)),
        ("l1", "l2", "l2", Some(Agree)),
        ("f1", "f2", "x2", Some(KeepBoth)),
        ("f1", "f2", "f3", Some(KeepBoth)),
        ("0", "f?", "f?", Some(KeepBoth)),
        ("f1", "0", "f2", Some(Pull)),
        ("f1", "f2", "0", Some(Push)),
        ("f1", "0", "0", Some(Forget)),
        ("0", "d", "f1", Some(type_clash)),
        ("f1", "=", "d", Some(type_clash)),
        ("d", "f1", "=", Some(type_clash)),
        ("f1", "!", "=", Some(Action::Clash(Clash::Blocked("special")))),
        ("0", "0", "!", Some(Action::Clash(Clash::Blocked("special")))),
    ] {
        let text = |what: &str| format!("p:{what}");
        let done = reconcile(&base(&text(b)), &side(&text(l)), &side(&text(r)), &RULES);
        assert_eq!(done.get(&b"p"[..]).copied(), want, "{b} {l} {r}");
    }
}

#[test]
fn rules_decide_where_they_may() {
    let one = |b: &str, l: &str, r: &str, rules: &Rules| {
        let text = |what: &str| format!("p:{what}");
        let done = reconcile(&base(&text(b)), &side(&text(l)), &side(&text(r)), rules);
        done.get(&b"p"[..]).copied()
    };
    for (policy, want) in [
        (Policy::RemoteWins, Action::Pull),
        (Policy::LocalWins, Action::PushOver),
        (Policy::Fail, Action::Clash(Clash::Content)),
    ] {
        assert_eq!(one("f1", "f2", "f3", &Rules { policy, ..RULES }), Some(want));
    }
    let with = |deletions| Rules { deletions, ..RULES };
    assert_eq!(one("f1", "0", "=", &with(Deletions::Never)), None);
    assert_eq!(one("f1", "=", "0", &with(Deletions::Never)), Some(Action::Forget));
    assert_eq!(one("f1", "=", "0", &with(Deletions::Both)), Some(Action::DeleteLocal));
    let ignoring = Rules { pull_new: false, ..RULES };
    assert_eq!(one("0", "0", "f1", &ignoring), None);
    assert_eq!(one("f2", "0", "f1", &ignoring), Some(Action::Pull));
}

#[test]
fn several_paths() {
    use Action::{DeleteRemote, Forget, Pull, Push};
    for (b, l, r, want) in [
        // The directory comes back for the file in it.
        (
            "d:d d/f:f1 d/g:f1",
            "",
            "d:= d/f:f2 d/g:=",
            vec![("d", Pull), ("d/f", Pull), ("d/g", DeleteRemote)],
        ),
        (
            "d:d d/f:f1 d/g:f1",
            "d:= d/f:f2 d/g:=",
            "",
            vec![("d", Push), ("d/f", Push), ("d/g", Forget)],
        ),
        // Nothing below a conflict of types is touched, beside it is.
        (
            "d:d d/f:f1 d-e:f1",
            "d:f2",
            "d:= d/f:= d-e:=",
            vec![("d", Action::Clash(Clash::Type)), ("d-e", DeleteRemote)],
        ),
        // A directory that cannot be read is not an empty one.
        (
            "a:d a/d:d a/d/f:f1",
            "",
            "a:= a/d:! ",
            vec![("a/d", Action::Clash(Clash::Blocked("special")))],
        ),
    ] {
        assert_eq!(reconcile(&base(b), &side(l), &side(r), &RULES), plan(&want), "{b} {l} {r}");
    }
}

#[test]
fn directions() {
    use Action::{Agree, DeleteRemote, KeepBoth, Pull, Push, PushOver};
    let all = plan(&[
        ("a", Push),
        ("b", Pull),
        ("c", KeepBoth),
        ("d", DeleteRemote),
        ("e", Agree),
        ("f", PushOver),
        ("g", Pull),
        ("h", Action::Clash(Clash::Blocked("special"))),
        ("i", Action::Clash(Clash::Blocked("special"))),
        ("j", Action::Clash(Clash::Blocked("special"))),
    ]);
    let here = side("a:f1 b:= c:f1 e:f1 f:f1 g:f1 h:= i:! j:0");
    let clash = Action::Clash(Clash::Content);
    let blocked = Action::Clash(Clash::Blocked("special"));
    let push = plan(&[
        ("a", Push),
        ("c", clash),
        ("d", DeleteRemote),
        ("e", Agree),
        ("f", PushOver),
        ("g", clash),
        ("h", Action::Clash(Clash::Unsent("special"))),
        ("i", blocked),
        ("j", blocked),
    ]);
    assert_eq!(towards(all.clone(), Direction::Push, &here), push);
    let back = plan(&[
        ("b", Pull),
        ("c", KeepBoth),
        ("e", Agree),
        ("g", Pull),
        ("h", blocked),
        ("i", blocked),
        ("j", blocked),
    ]);
    assert_eq!(towards(all.clone(), Direction::Back, &here), back);
    assert_eq!(towards(all.clone(), Direction::Both, &here), all);
}

#[test]
fn many_deletions_are_noticed() {
    let known = |n: usize| -> Base {
        (0..n).map(|n| (n.to_string().into_bytes(), entry(Thing::Dir))).collect()
    };
    let gone = |n: usize| -> Plan {
        (0..n).map(|n| (n.to_string().into_bytes(), Action::DeleteRemote)).collect()
    };
    for (there, deleted, want) in
        [(30, 20, None), (30, 21, Some((21, 30))), (100, 50, None), (100, 51, Some((51, 100)))]
    {
        assert_eq!(mass_deletion(&gone(deleted), &known(there)), want, "{there} {deleted}");
    }
}

// ---- the model ------------------------------------------------------------------------------

/// One side's tree.
type Tree = BTreeMap<Rel, Thing>;

#[derive(Default)]
struct World {
    local: Tree,
    remote: Tree,
    base: Base,
    /// Backups and conflict copies.
    saved: BTreeSet<Hash>,
    /// Contents somebody wrote and nobody has replaced or deleted knowingly.
    owed: BTreeSet<Hash>,
    written: u64,
    dice: Dice,
}

#[derive(Default)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

const PATHS: &[&str] = &["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "d-x", "f/a", "f/g/b"];

fn contents(tree: &Tree) -> impl Iterator<Item = Hash> + '_ {
    tree.values().filter_map(|thing| match thing {
        Thing::File { hash, .. } => Some(*hash),
        _ => None,
    })
}

impl World {
    /// Somebody does something on one side.
    fn edit(&mut self) {
        let path = PATHS[self.dice.roll(PATHS.len())].as_bytes().to_vec();
        let (kind, on_local) = (self.dice.roll(8), self.dice.roll(2) == 0);
        let tree = if on_local { &mut self.local } else { &mut self.remote };
        let below: Vec<Rel> = tree
            .keys()
            .filter(|p| **p == path || p.starts_with(&[path.as_slice(), b"/"].concat()))
            .cloned()
            .collect();
        if kind == 6 {
            if let Some(Thing::File { exec, .. }) = tree.get_mut(&path) {
                *exec = !*exec;
            }
            return;
        }
        if kind == 7 && tree.get(&path) == Some(&Thing::Dir) {
            return;
        }
        if parents(&path).any(|dir| tree.get(dir).is_some_and(|t| *t != Thing::Dir)) {
            return;
        }
        for path in below {
            if let Some(Thing::File { hash, .. }) = tree.remove(&path) {
                self.owed.remove(&hash);
            }
        }
        if kind < 2 {
            return;
        }
        for dir in parents(&path) {
            tree.insert(dir.to_vec(), Thing::Dir);
        }
        if kind == 7 {
            tree.insert(path, Thing::Dir);
            return;
        }
        self.written += 1;
        self.owed.insert(hash(self.written));
        tree.insert(path, Thing::File { hash: hash(self.written), exec: false });
    }

    fn look(&self, tree: &Tree) -> Side {
        tree.iter()
            .map(|(path, thing)| {
                let same = self.base.get(path).is_some_and(|e| e.thing == *thing);
                let seen = match thing {
                    _ if same => Seen::Same,
                    Thing::Dir => Seen::Dir,
                    Thing::File { hash, exec } => Seen::File { hash: Some(*hash), exec: *exec },
                    Thing::Link(text) => Seen::Link(text.clone()),
                };
                (path.clone(), seen)
            })
            .collect()
    }

    /// A run that is disturbed by edits and may end anywhere. True if it came to its end.
    fn sync(&mut self, rules: &Rules, direction: Direction, calm: bool) -> bool {
        let (local, remote) = (self.look(&self.local), self.look(&self.remote));
        let plan = towards(reconcile(&self.base, &local, &remote, rules), direction, &local);
        let (seen_local, seen_remote) = (self.local.clone(), self.remote.clone());
        let is_dir = |path: &Rel, action: Action| match action {
            Action::Push => seen_local.get(path) == Some(&Thing::Dir),
            Action::Pull => seen_remote.get(path) == Some(&Thing::Dir),
            _ => false,
        };
        let deletes = |a: &Action| matches!(a, Action::DeleteLocal | Action::DeleteRemote);
        let mut steps: Vec<(Rel, Action)> = plan.into_iter().collect();
        steps.sort_by_key(|(path, action)| (deletes(action), !is_dir(path, *action)));
        let first = steps.iter().position(|(_, a)| deletes(a)).unwrap_or(steps.len());
        steps[first..].reverse();
        for (path, action) in steps {
            if !calm && self.dice.roll(12) == 0 {
                self.edit();
            }
            if !calm && self.dice.roll(40) == 0 {
                return false;
            }
            // Whatever is not as it was seen is left to the next run.
            if self.local.get(&path) != seen_local.get(&path)
                || self.remote.get(&path) != seen_remote.get(&path)
            {
                continue;
            }
            self.step(&path, action);
            self.check(&format!("after {action:?} of {}", String::from_utf8_lossy(&path)));
        }
        true
    }

    fn save(&mut self, thing: Option<&Thing>) {
        if let Some(Thing::File { hash, .. }) = thing {
            self.saved.insert(*hash);
        }
    }

    /// One action; a crash may come before the base is written.
    fn step(&mut self, path: &Rel, action: Action) {
        let below = [path.as_slice(), b"/"].concat();
        let has_place = |tree: &Tree| parents(path).all(|d| tree.get(d) == Some(&Thing::Dir));
        let is_empty = |tree: &Tree| !tree.keys().any(|p| p.starts_with(&below));
        let agreed = match action {
            Action::Push | Action::PushOver if has_place(&self.remote) => {
                if action == Action::PushOver {
                    let lost = self.remote.get(path).cloned();
                    self.save(lost.as_ref());
                }
                let thing = self.local[path].clone();
                self.remote.insert(path.clone(), thing.clone());
                Some(thing)
            }
            Action::Pull if has_place(&self.local) => {
                let thing = self.remote[path].clone();
                let old = self.local.insert(path.clone(), thing.clone());
                self.save(old.as_ref());
                Some(thing)
            }
            Action::DeleteRemote if is_empty(&self.remote) => {
                self.remote.remove(path);
                None
            }
            Action::DeleteLocal if is_empty(&self.local) => {
                let old = self.local.remove(path);
                self.save(old.as_ref());
                None
            }
            Action::Agree => Some(self.local[path].clone()),
            Action::Forget => None,
            Action::KeepBoth => {
                // The copy is there, and its owner decides for his own: the base is what the
                // node has.
                let theirs = self.remote[path].clone();
                self.save(Some(&theirs));
                Some(theirs)
            }
            _ => return,
        };
        if self.dice.roll(30) == 0 {
            return;
        }
        match agreed {
            Some(thing) => drop(self.base.insert(path.clone(), entry(thing))),
            None => drop(self.base.remove(path)),
        }
    }

    fn check(&self, when: &str) {
        let there: BTreeSet<Hash> = contents(&self.local)
            .chain(contents(&self.remote))
            .chain(self.saved.iter().copied())
            .collect();
        let lost: Vec<_> = self.owed.difference(&there).map(|h| h[0]).collect();
        assert!(lost.is_empty(), "lost {when}: {lost:?}");
    }
}

#[test]
fn nothing_is_lost_and_both_sides_meet() {
    let policies = [Policy::KeepBoth, Policy::RemoteWins, Policy::LocalWins, Policy::Fail];
    let deletions = [Deletions::Push, Deletions::Both, Deletions::Never];
    for seed in 1..=240_u64 {
        let rules = Rules {
            policy: policies[seed as usize % 4],
            deletions: deletions[seed as usize / 4 % 3],
            pull_new: seed % 5 != 0,
        };
        let mut world =
            World { dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)), ..World::default() };
        for _ in 0..60 {
            for _ in 0..world.dice.roll(5) {
                world.edit();
            }
            let all = [Direction::Push, Direction::Back, Direction::Both];
            let direction = all[world.dice.roll(3)];
            world.sync(&rules, direction, false);
            world.check("after a run");
        }
        // Left alone they come to rest, and are the same but for what the rules keep apart.
        let free = Rules { deletions: Deletions::Both, pull_new: true, ..rules };
        for _ in 0..6 {
            world.sync(&free, Direction::Both, true);
        }
        let (l, r) = (world.look(&world.local), world.look(&world.remote));
        let left = reconcile(&world.base, &l, &r, &free);
        let is_clash = |a: &Action| matches!(a, Action::Clash(_));
        assert!(left.values().all(is_clash), "seed {seed}: {left:?}");
        if left.is_empty() {
            assert_eq!(world.local, world.remote, "seed {seed}");
        }
    }
}
