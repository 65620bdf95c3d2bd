//! What the documents promise: a test or lint for every invariant, and one that exists.

use super::{none, root, texts};

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
