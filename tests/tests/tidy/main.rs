//! Rules of the workspace that a compiler does not hold, each a test: who may depend on whom and
//! mention what (`edges`), how files look (`files`), what the documents promise (`documents`).
//!
//! A failure lists every offender with its path, so that one run is enough to mend them all.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod documents;
mod edges;
mod files;

use std::path::{Path, PathBuf};

/// The top of the checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the checkout").into()
}

/// Every file below `dir` (relative to the top) with this extension, with its text; paths are
/// relative to the top. Build products and hidden folders are left out.
fn texts(dir: &str, extension: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(&root().join(dir), &mut |path| {
        if path.extension().is_some_and(|e| e == extension) {
            let text = std::fs::read(path).expect("a readable file");
            let name = path.strip_prefix(root()).expect("below the top").display().to_string();
            found.push((name, String::from_utf8_lossy(&text).into_owned()));
        }
    });
    found.sort();
    found
}

fn walk(dir: &Path, visit: &mut impl FnMut(&Path)) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.starts_with('.') || name == "target" || name == "node_modules" {
            continue;
        }
        if path.is_dir() { walk(&path, visit) } else { visit(&path) }
    }
}

/// Fails with all offenders, one a line.
#[track_caller]
fn none(what: &str, offenders: &[String]) {
    assert!(offenders.is_empty(), "{what}:\n  {}", offenders.join("\n  "));
}
