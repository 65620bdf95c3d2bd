//! The document of the protocol: what it says now, that it breaks nobody, that the docs are
//! fresh. `BSSH_BLESS=1 cargo test -p bssh-protocol` writes the docs; a frozen level is written
//! once, when it does not exist yet.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods)]

use bssh_protocol::handshake::{LEVEL, MAJOR};
use bssh_protocol::schema::{breaking, markdown, openrpc};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn fresh(path: &Path, text: &str) {
    if std::env::var_os("BSSH_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == text, "{} is stale: BSSH_BLESS=1 cargo test -p bssh-protocol", path.display());
}

fn pretty(document: &Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(document).unwrap())
}

#[test]
fn the_document() {
    insta::assert_json_snapshot!(openrpc());
}

#[test]
fn docs_are_fresh() {
    fresh(&docs().join("protocol/openrpc.json"), &pretty(&openrpc()));
    fresh(&docs().join("protocol.md"), &markdown(&openrpc()));
}

#[test]
fn no_frozen_level_is_broken() {
    let frozen = docs().join("protocol/frozen");
    let now = frozen.join(format!("v{MAJOR}.L{LEVEL}.json"));
    if std::env::var_os("BSSH_BLESS").is_some() && !now.exists() {
        fresh(&now, &pretty(&openrpc()));
    }
    let mut levels = 0;
    for entry in std::fs::read_dir(&frozen).unwrap() {
        let path = entry.unwrap().path();
        let document: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(breaking(&document, &openrpc()), [""; 0], "{}", path.display());
        levels += 1;
    }
    assert!(levels > 0);
}

#[test]
fn every_reference_is_defined() {
    let document = openrpc();
    let text = document.to_string();
    for part in text.split("\"$ref\":\"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
    assert!(text.contains("x-secret"));
}

fn edit(change: impl Fn(&mut Value)) -> Vec<String> {
    let mut current = base();
    change(&mut current);
    breaking(&base(), &current)
}

/// A small document with one method each way and one event.
fn base() -> Value {
    let call = |name: &str, direction: &str| {
        json!({ "name": name, "x-direction": direction,
            "params": [{ "schema": { "$ref": "#/components/schemas/P" } }],
            "result": { "schema": { "$ref": "#/components/schemas/R" } } })
    };
    json!({
        "methods": [call("up", "core"), call("down", "frontend")],
        "x-events": [{ "name": "event", "x-direction": "frontend",
            "params": [{ "schema": { "$ref": "#/components/schemas/R" } }] }],
        "x-errors": [{ "code": 1000, "message": "node.unknown" }],
        "components": { "schemas": {
            "P": { "type": "object", "required": ["a"], "properties": {
                "a": { "type": "string" }, "b": { "type": "integer" },
                "tree": { "$ref": "#/components/schemas/P" },
                "c": { "oneOf": [
                    { "type": "string", "enum": ["x", "y"] },
                    { "type": "object", "required": ["file"], "properties": { "file": { "type": "string" } } },
                ] } } },
            "R": { "type": "object", "required": ["a"], "properties": {
                "a": { "type": "string" }, "b": { "type": "integer" } } },
        } },
    })
}

/// What changes, where, to what, and what breaks by it.
type Row = (&'static str, &'static str, Value, &'static [&'static str]);

/// Methods, and which fields must be there.
fn shapes() -> Vec<Row> {
    vec![
        ("nothing", "/openrpc", json!("x"), &[]),
        ("a method is removed", "/methods", json!([base()["methods"][1]]), &["up: removed"]),
        ("an event is removed", "/x-events", json!([]), &["event: removed"]),
        (
            "a code changes",
            "/x-errors/0/code",
            json!(1),
            &["error 1000 \"node.unknown\": removed or changed"],
        ),
        ("direction", "/methods/0/x-direction", json!("frontend"), &["up: direction changed"]),
        ("a new optional field", "P/properties/z", json!({ "type": "string" }), &[]),
        ("a new result field", "R/properties/z", json!({ "type": "string" }), &[]),
        (
            "a param becomes required",
            "P/required",
            json!(["a", "b"]),
            &["up params.b: became required"],
        ),
        (
            "a reverse param becomes optional",
            "P/required",
            json!([]),
            &["down params.a: became optional"],
        ),
        (
            "a result field becomes optional",
            "R/required",
            json!([]),
            &["up result.a: became optional", "event params.a: became optional"],
        ),
        (
            "a reverse result becomes required",
            "R/required",
            json!(["a", "b"]),
            &["down result.b: became required"],
        ),
    ]
}

/// Types, enum values, alternatives.
fn values() -> Vec<Row> {
    vec![
        (
            "a type changes",
            "R/properties/b/type",
            json!("string"),
            &[
                "up result.b: type changed from integer to string",
                "down result.b: type changed from integer to string",
                "event params.b: type changed from integer to string",
            ],
        ),
        (
            "a param takes more types",
            "P/properties/b/type",
            json!(["integer", "string"]),
            &["down params.b: type changed from integer to integer|string"],
        ),
        ("a new enum value", "P/properties/c/oneOf/0/enum", json!(["x", "y", "z"]), &[]),
        (
            "a lost enum value",
            "P/properties/c/oneOf/0/enum",
            json!(["x"]),
            &["up params.c: value \"y\" removed", "down params.c: value \"y\" removed"],
        ),
        (
            "a lost choice",
            "P/properties/c/oneOf",
            json!([{ "type": "string", "enum": ["x", "y"] }]),
            &["up params.c: choice {file} removed", "down params.c: choice {file} removed"],
        ),
    ]
}

#[test]
fn what_breaks_and_what_does_not() {
    const P: &str = "/components/schemas/P";
    const R: &str = "/components/schemas/R";
    for (name, pointer, value, expected) in shapes().into_iter().chain(values()) {
        let pointer = pointer.replace("P/", &format!("{P}/")).replace("R/", &format!("{R}/"));
        let mut found = edit(|document| {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            match document.pointer_mut(parent).unwrap() {
                Value::Array(list) => list[key.parse::<usize>().unwrap()] = value.clone(),
                object => object[key] = value.clone(),
            }
        });
        found.retain(|line| !line.contains(".c(string)"));
        assert_eq!(found, expected, "{name}");
    }
    let removed = edit(|document| {
        document["components"]["schemas"]["R"]["properties"].as_object_mut().unwrap().remove("b");
    });
    assert_eq!(
        removed,
        ["up result.b: removed", "down result.b: removed", "event params.b: removed"]
    );
}
