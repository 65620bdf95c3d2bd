//! Broken input of every kind: it is refused or read, but never panics, hangs or eats memory.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

use std::fs;

use bssh_config::nodeset::{NoGroups, expand, fold};
use bssh_config::{Destination, Environment, Inventory};
use random::Random;

mod random;

const SAMPLES: [&str; 6] = [
    "clusters:\n  a: &x\n    nodes: [n[1-3], {host: h, port: 22}]\n    user: ${USER}\n  b: {<<: *x, jump_host: \"j\"}\ndefaults: {fanout: 3, keepalive: {interval: 30s}}\n",
    "[web]\nweb[01:03].x ansible_user='d e' ansible_port=22 # c\n[all:vars]\nansible_user=x\n[p:children]\nweb\n",
    "all:\n  hosts:\n    h[1:3]: {ansible_port: 22}\n  children: {g: {hosts: {x: }}}\n",
    "n[01-10/3],r[1-2]n[3-4]!@g&user@[::1]:22^x*\n# c\n^file,ssh://u@h:1/\n",
    "[Main]\ndefault: a\nautodir: $CFGDIR/d\n[a,b]\nmap: true\nall: true\n",
    "- |\n  text\n- ? {a: b}\n  : !!str 'c'\n--- # x\n%YAML 1.2\n",
];

#[test]
fn broken_input_is_survived() {
    let root = tempfile::TempDir::new().unwrap();
    let at = |name: &str| root.path().join(name);
    fs::create_dir_all(at("cs")).unwrap();
    let cfgdir = ("CLUSTERSHELL_CFGDIR".to_owned(), at("cs").display().to_string());
    let env = Environment {
        home: root.path().to_owned(),
        cwd: root.path().to_owned(),
        vars: [cfgdir].into(),
        ..Environment::default()
    };
    let empty = Inventory::load(&env, None).unwrap();
    let mut random = Random(42);
    for round in 0..ROUNDS {
        let bytes = broken(SAMPLES[round % SAMPLES.len()], &mut random);
        let file = at(["f", "f.yaml", "f.ini"][round % 3]);
        fs::write(&file, &bytes).unwrap();
        if let Ok(inventory) = Inventory::load(&env, Some(&file)) {
            inventory.check();
        }
        let _ = empty.resolve(&format!("^{}", file.display()), &[]);
        fs::write(at("cs/groups.conf"), &bytes).unwrap();
        let _ = Inventory::load(&env, None).map(|inventory| inventory.groups());
        fs::remove_file(at("cs/groups.conf")).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let _ = Destination::parse(&text);
        for line in text.lines() {
            if let Ok(set) = expand(line, &NoGroups) {
                fold(set.iter());
            }
        }
    }
}

const ROUNDS: usize = 3000;

/// A sample with a few bytes cut, doubled, swapped or replaced by telling ones.
fn broken(sample: &str, random: &mut Random) -> Vec<u8> {
    const TELLING: &[u8] = b"[]{}:,-/!&^@*#'\"\\\n\t |>%?~<0919\0\xff\xc3\xe2";
    let mut bytes = sample.as_bytes().to_vec();
    for _ in 0..=random.below(8) {
        let (i, j) = (random.below(bytes.len()), random.below(bytes.len()));
        match random.below(5) {
            0 => bytes[i] = TELLING[random.below(TELLING.len())],
            1 => bytes.insert(i, TELLING[random.below(TELLING.len())]),
            2 => bytes.swap(i, j),
            3 => bytes.extend_from_within(i.min(j)..i.max(j)),
            _ => drop(bytes.drain(i.min(j)..(i.max(j)).min(i.min(j) + 9))),
        }
        if bytes.is_empty() {
            bytes.push(b'n');
        }
    }
    bytes
}
