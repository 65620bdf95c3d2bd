//! How files look: a head, a size, a name that says something, the fixed top level.

use super::edges::code;
use super::{none, root, texts};

/// Everything at the top that is not hidden.
const TOP: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "core",
    "docs",
    "editor-plugins",
    "fixtures",
    "frontends",
    "protocol",
    "tests",
];
const BANNED_NAMES: &[&str] =
    &["utils", "util", "types", "common", "helpers", "helper", "manager", "misc"];
const LONGEST: usize = 500;

/// A program to measure against, not a part of bssh: a workspace of its own.
const YARDSTICK: &str = "tests/benches/floor/";

fn sources() -> Vec<(String, String)> {
    let folders = ["protocol", "core", "frontends", "fixtures", "tests"];
    let all = folders.iter().flat_map(|folder| texts(folder, "rs"));
    all.filter(|(path, _)| !path.starts_with(YARDSTICK)).collect()
}

#[test]
fn the_top_level_is_fixed() {
    let entries = std::fs::read_dir(root()).expect("the checkout").flatten();
    let mut found: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    found.retain(|name| !name.starts_with('.') && name != "target");
    found.sort();
    assert_eq!(found, TOP);
}

#[test]
fn every_file_opens_with_its_job() {
    let headless = sources().into_iter().filter(|(path, text)| {
        let fuzz = path.contains("/fuzz/");
        !fuzz && !text.starts_with("//! ")
    });
    none("files without a `//!` head", &headless.map(|(path, _)| path).collect::<Vec<_>>());
}

#[test]
fn no_file_is_too_long() {
    let long = sources().into_iter().map(|(path, text)| (path, text.lines().count()));
    let long = long.filter(|(_, n)| *n > LONGEST).map(|(path, n)| format!("{path}: {n} lines"));
    none("files longer than 500 lines", &long.collect::<Vec<_>>());
}

/// The plugins' sources: longer than this only what is generated.
#[test]
fn no_file_of_a_plugin_is_too_long() {
    let all = ["ts", "lua", "mjs", "sh", "py"].iter().flat_map(|e| texts("editor-plugins", e));
    let own = all.filter(|(path, text)| {
        let built = path.contains("/dist/") || path.contains("/out/");
        !built && !text.starts_with("// Generated ")
    });
    let (mut long, mut headless) = (Vec::new(), Vec::new());
    for (path, text) in own {
        let n = text.lines().count();
        if n > LONGEST {
            long.push(format!("{path}: {n} lines"));
        }
        let head = ["/**", "//", "--", "#!", "\"\"\""].iter().any(|mark| text.starts_with(mark));
        if !head {
            headless.push(path);
        }
    }
    none("files longer than 500 lines", &long);
    none("files of a plugin that do not open with their job", &headless);
}

#[test]
fn names_say_something() {
    let vague = sources().into_iter().map(|(path, _)| path).filter(|path| {
        path.trim_end_matches(".rs").split('/').any(|part| BANNED_NAMES.contains(&part))
    });
    none("file names that say nothing", &vague.collect::<Vec<_>>());
}

#[test]
fn unsafe_is_in_three_places() {
    const PLACES: [&str; 3] =
        ["core/rpc/src/inherit.rs", "frontends/bssh/src/pow.rs", "frontends/client/src/standby.rs"];
    let mut offenders = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| !PLACES.contains(&path.as_str())) {
        let words = ["unsafe {", "unsafe fn", "unsafe impl", "allow(unsafe_code"];
        let lines = code(text).filter(|(_, line)| words.iter().any(|word| line.contains(word)));
        let lines = lines.filter(|(_, line)| !line.contains("let words ="));
        offenders.extend(lines.map(|(n, line)| format!("{path}:{n}: {}", line.trim())));
    }
    none("unsafe code", &offenders);
}

#[test]
fn no_test_is_switched_off() {
    let mut offenders = Vec::new();
    for (path, text) in sources() {
        for (n, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.starts_with("#[ignore")
                || line.starts_with("#[should_panic")
                || line.starts_with("#![allow(dead_code")
                || line.starts_with("#[allow(dead_code")
            {
                offenders.push(format!("{path}:{}: {line}", n + 1));
            }
        }
    }
    none("tests switched off, or dead code", &offenders);
}

#[test]
fn every_crate_takes_the_workspaces_lints() {
    let without = ["protocol", "core", "frontends", "fixtures", "tests"]
        .iter()
        .flat_map(|folder| texts(folder, "toml"))
        .filter(|(path, _)| path.ends_with("Cargo.toml") && !path.contains("/fuzz/"))
        .filter(|(path, _)| !path.starts_with(YARDSTICK))
        .filter(|(_, text)| !text.contains("[lints]\nworkspace = true"))
        .map(|(path, _)| path);
    none("crates without `[lints] workspace = true`", &without.collect::<Vec<_>>());
}
