//! The document of the protocol, made from the table: OpenRPC for programs, one page of Markdown
//! for people, and the check that a level breaks nobody.

mod breaking;
mod markdown;

pub use breaking::breaking;
pub use markdown::markdown;

use crate::error::Kind;
use crate::handshake::{LEVEL, MAJOR};
use crate::methods::{Entry, TABLE};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// The OpenRPC 1.3 document: what `rpc.discover` answers and `bssh core --api-info` prints.
///
/// Beyond OpenRPC: `x-direction` says who receives a message (`core`, `frontend`, `both`),
/// `x-since` the level that brought it, `x-secret` marks text that must not be logged, `x-events`
/// lists the notifications.
pub fn openrpc() -> Value {
    let settings =
        SchemaSettings::draft07().with(|s| s.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let (methods, events): (Vec<_>, Vec<_>) =
        TABLE.iter().map(|entry| describe(entry, &mut generator)).partition(|(call, _)| *call);
    let only = |list: Vec<(bool, Value)>| list.into_iter().map(|(_, v)| v).collect::<Vec<_>>();
    let errors: Vec<Value> =
        Kind::ALL.iter().map(|k| json!({ "code": k.code(), "message": k.key() })).collect();
    json!({
        "openrpc": "1.3.2",
        "info": { "title": "bssh", "version": format!("{MAJOR}.{LEVEL}") },
        "methods": only(methods),
        "x-events": only(events),
        "x-errors": errors,
        "components": { "schemas": generator.take_definitions(true) },
    })
}

fn describe(entry: &Entry, generator: &mut SchemaGenerator) -> (bool, Value) {
    let mut value = json!({
        "name": entry.name,
        "summary": doc(entry),
        "x-direction": entry.direction.word(),
        "x-since": entry.since,
        "paramStructure": "by-name",
        // One object, as the whole of `params`.
        "params": [{ "name": "params", "required": true, "schema": (entry.params)(generator) }],
    });
    if let (Some(result), Some(object)) = (entry.result, value.as_object_mut()) {
        let result = json!({ "name": "result", "schema": result(generator) });
        object.insert("result".to_owned(), result);
    }
    (entry.result.is_some(), value)
}

fn doc(entry: &Entry) -> String {
    entry.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}
