//! Who may depend on whom, and what a crate never mentions: the table of docs/architecture.md.
//! Words are looked for in code; comments and test modules may say what they like.

use super::{none, root, texts};

/// Crate folder, crates of ours it may use, words its code never says.
const CRATES: &[(&str, &[&str], &[&str])] = &[
    ("protocol", &[], &["russh", "clap", "crossterm", "std::fs"]),
    ("core/config", &[], &["tokio", "russh", "serde_json"]),
    ("core/ssh", &[], &["serde_json", "jsonrpsee", "bssh_config", "cluster"]),
    ("core/engine", &["protocol", "config", "ssh"], &["russh", "jsonrpsee", "serde_json"]),
    ("core/rpc", &["protocol", "engine"], &["russh", "bssh_ssh", "bssh_config"]),
    ("frontends/client", &["protocol"], CORE),
    ("frontends/term", &["protocol"], CORE),
    ("frontends/cli", &["client", "term", "protocol"], CORE),
    ("frontends/repl", &["client", "term", "protocol"], CORE),
    ("frontends/bssh", &["cli", "repl", "rpc", "fixtures"], &["bssh_ssh", "bssh_engine"]),
    ("fixtures", &[], CORE),
    ("tests", &["fixtures", "protocol"], &[]),
];
const CORE: &[&str] = &["bssh_rpc", "bssh_engine", "bssh_ssh", "bssh_config"];

#[test]
fn dependencies_follow_the_table() {
    let mut offenders = Vec::new();
    for (folder, allowed, banned) in CRATES {
        let Ok(text) = std::fs::read_to_string(root().join(folder).join("Cargo.toml")) else {
            continue;
        };
        for dependency in dependencies(&text) {
            let ours = dependency.strip_prefix("bssh-");
            let is_banned = banned.contains(&dependency.replace('-', "_").as_str());
            if is_banned || ours.is_some_and(|name| !allowed.contains(&name)) {
                offenders.push(format!("{folder}/Cargo.toml: {dependency}"));
            }
        }
    }
    none("dependencies against the table", &offenders);
}

/// What a crate asks for and nobody needs costs everybody's build time.
#[test]
fn every_dependency_is_used() {
    let mut idle = Vec::new();
    for (folder, ..) in CRATES {
        let text = std::fs::read_to_string(root().join(folder).join("Cargo.toml"));
        let all: String = texts(folder, "rs").into_iter().map(|(_, text)| text).collect();
        for dependency in dependencies(&text.expect("a crate")) {
            if !all.contains(&dependency.replace('-', "_")) {
                idle.push(format!("{folder}/Cargo.toml: {dependency}"));
            }
        }
    }
    none("dependencies that no code names", &idle);
}

#[test]
fn every_crate_is_in_the_table() {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).expect("the workspace");
    let members = text.split("members = [").nth(1).and_then(|t| t.split(']').next());
    let members = members
        .expect("members")
        .split('"')
        .filter(|m| !m.trim_matches([' ', ',', '\n']).is_empty());
    let missing: Vec<_> = members
        .filter(|member| CRATES.iter().all(|(folder, ..)| folder != member))
        .map(str::to_owned)
        .collect();
    none("crates without a row in the table of tests/tests/tidy/edges.rs", &missing);
}

#[test]
fn banned_words_are_not_said() {
    let mut offenders = Vec::new();
    for (folder, _, banned) in CRATES {
        for (path, text) in texts(&format!("{folder}/src"), "rs") {
            for (n, line) in code(&text) {
                for word in banned.iter().filter(|word| says(line, word)) {
                    offenders.push(format!("{path}:{n}: {word}"));
                }
            }
        }
    }
    none("words a crate never mentions", &offenders);
}

#[test]
fn the_environment_is_read_in_frontends_only() {
    let mut offenders = Vec::new();
    for folder in ["protocol/src", "core"] {
        for (path, text) in texts(folder, "rs").iter().filter(|(path, _)| path.contains("/src/")) {
            for (n, line) in code(text) {
                if line.contains("env::var") || line.contains("env::home_dir") {
                    offenders.push(format!("{path}:{n}: {}", line.trim()));
                }
            }
        }
    }
    none("the environment is handed in as a value (I11)", &offenders);
}

#[test]
fn queues_are_bounded() {
    let mut offenders = Vec::new();
    for folder in ["protocol", "core", "frontends"] {
        for (path, text) in texts(folder, "rs").iter().filter(|(path, _)| path.contains("/src/")) {
            let lines = code(text).filter(|(_, line)| line.contains("unbounded"));
            offenders.extend(lines.map(|(n, line)| format!("{path}:{n}: {}", line.trim())));
        }
    }
    none("queues without a bound (I10)", &offenders);
}

/// Names in `[dependencies]`; what tests and build scripts use is their business.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let table = manifest.split("[dependencies]").nth(1).unwrap_or_default();
    let table = table.split("\n[").next().unwrap_or_default();
    table.lines().filter_map(|line| line.split(['.', ' ', '=']).next()).filter(|n| !n.is_empty())
}

/// Lines of code with their numbers, without comments, up to the test module.
pub(crate) fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().take_while(|(_, line)| *line != "#[cfg(test)]");
    lines.map(|(n, line)| (n + 1, line.split("//").next().unwrap_or_default()))
}

/// `word` as a word of its own, or as the beginning of a path.
fn says(line: &str, word: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        !part(line[..at].chars().next_back()) && !part(line[at + word.len()..].chars().next())
    })
}
