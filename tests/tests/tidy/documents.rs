//! What the documents promise: a test or lint for every invariant, and one that exists.

use super::{none, root, texts};
use std::path::{Path, PathBuf};
use std::process::Command;

fn architecture() -> String {
    std::fs::read_to_string(root().join("docs/architecture.md")).expect("docs/architecture.md")
}

#[test]
fn the_architecture_is_short() {
    assert!(architecture().lines().count() <= 250);
}

#[test]
fn every_invariant_names_what_holds_it() {
    let text = architecture();
    let mut missing = Vec::new();
    for n in 1..=16 {
        let head = format!("- **I{n}** ");
        let line = text.lines().find(|line| line.starts_with(&head)).unwrap_or_default();
        if !line.contains("Held by") {
            missing.push(format!("I{n}"));
        }
    }
    none("invariants without a test or lint in docs/architecture.md", &missing);
}

/// `file.rs::name` in backticks is a test that is there; `e2e/…` is short for `tests/tests/e2e/…`.
#[test]
fn named_tests_exist() {
    let sources: Vec<_> = ["protocol", "core", "frontends", "fixtures", "tests"]
        .iter()
        .flat_map(|folder| texts(folder, "rs"))
        .collect();
    let mut missing = Vec::new();
    for (document, text) in texts("docs", "md") {
        for (path, name) in text.split('`').filter_map(|word| word.split_once(".rs::")) {
            let path = match path.strip_prefix("e2e/") {
                Some(file) => format!("tests/tests/e2e/{file}.rs"),
                None => format!("{path}.rs"),
            };
            let found = sources.iter().find(|(file, _)| *file == path);
            if !found.is_some_and(|(_, text)| text.contains(&format!("fn {name}("))) {
                missing.push(format!("{document}: {path}::{name}"));
            }
        }
    }
    none("tests named in documents that are not there", &missing);
}

/// Links between documents lead somewhere.
#[test]
fn links_lead_somewhere() {
    let mut dead = Vec::new();
    let mut documents = texts("docs", "md");
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    documents.push(("README.md".to_owned(), readme));
    for (path, text) in documents {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            let local = !file.is_empty() && !file.contains("://");
            let dir = root().join(&path);
            if local && !dir.parent().is_some_and(|dir| dir.join(file).exists()) {
                dead.push(format!("{path}: {link}"));
            }
        }
    }
    none("links that lead nowhere", &dead);
}

/// Tables and pictures of the benchmark of record are what its figures say, and nothing else.
#[test]
fn the_record_says_what_was_measured() {
    let published = root().join("docs/benchmarks");
    let pictures = tempfile::tempdir().expect("a directory");
    let mut figures: Vec<_> = files(&published);
    figures.retain(|path| path.extension().is_some_and(|end| end == "jsonl"));
    figures.sort();
    let mut report = Command::new("python3");
    report.arg(root().join("tests/benches/report.py")).arg("--plots").arg(pictures.path());
    let made = report.args(&figures).output().expect("python3 runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let read =
        |path: &Path| String::from_utf8_lossy(&std::fs::read(path).expect("a file")).into_owned();
    let mut other = Vec::new();
    if String::from_utf8_lossy(&made.stdout) != read(&published.join("record.md")) {
        other.push("record.md".to_owned());
    }
    for picture in files(pictures.path()) {
        let name = picture.file_name().expect("a name").to_string_lossy().into_owned();
        if !published.join(&name).exists() || read(&picture) != read(&published.join(&name)) {
            other.push(name);
        }
    }
    none("in docs/benchmarks and not what tests/benches/report.py makes of its figures", &other);
}

fn files(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).expect("a directory").flatten().map(|entry| entry.path()).collect()
}
