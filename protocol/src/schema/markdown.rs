//! `docs/protocol.md`: the whole protocol on one page, for someone who writes a client in another
//! language. The prose is here, the tables come from the document.

use crate::error::Kind;
use serde_json::{Map, Value};
use std::fmt::Write as _;

const PROSE: &str = include_str!("protocol.md");

/// The page, made from an OpenRPC document.
pub fn markdown(document: &Value) -> String {
    let mut page = PROSE.to_owned();
    let list = |key: &str| document[key].as_array().map(Vec::as_slice).unwrap_or_default();
    page.push_str("\n## Methods\n\n`→ core`: the frontend calls. `→ frontend`: the core calls.\n");
    for method in list("methods") {
        message(&mut page, method);
    }
    page.push_str("\n## Events\n\nNotifications: no `id`, no answer.\n");
    for event in list("x-events") {
        message(&mut page, event);
    }
    page.push_str("\n## Types\n\n`?` marks what may be absent.\n");
    for (name, schema) in
        document.pointer("/components/schemas").and_then(Value::as_object).into_iter().flatten()
    {
        definition(&mut page, name, schema);
    }
    page.push_str("\n## Errors\n\nPrograms look at `data.kind`; `message` is for people and may change.\n\n| code | kind |\n|---:|---|\n");
    for kind in Kind::ALL {
        let _ = writeln!(page, "| {} | `{}` |", kind.code(), kind.key());
    }
    page
}

fn message(page: &mut String, message: &Value) {
    let name = message["name"].as_str().unwrap_or_default();
    let receiver = message["x-direction"].as_str().unwrap_or_default();
    let _ = writeln!(page, "\n### `{name}` → {receiver}\n");
    let _ = writeln!(page, "{} Since level {}.\n", text(message, "summary"), message["x-since"]);
    let params = message.pointer("/params/0/schema").map(kind).unwrap_or_default();
    let _ = writeln!(page, "- params: {params}");
    if let Some(result) = message.pointer("/result/schema") {
        let _ = writeln!(page, "- result: {}", kind(result));
    }
}

fn definition(page: &mut String, name: &str, schema: &Value) {
    let _ = writeln!(page, "\n### {name}\n");
    if schema.get("description").is_some() {
        let _ = writeln!(page, "{}\n", text(schema, "description"));
    }
    let rows = fields(schema);
    if rows.is_empty() {
        let _ = writeln!(page, "{}", kind(schema));
        return;
    }
    table(page, schema);
    for choice in choices(schema) {
        let _ = writeln!(page, "- {}", kind(choice));
    }
}

fn table(page: &mut String, schema: &Value) {
    page.push_str("| field | type | |\n|---|---|---|\n");
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (field, inner) in &fields(schema) {
        let mark = if required.contains(&field.as_str()) { "" } else { "?" };
        let kind = kind(inner).replace('|', "\\|");
        let _ = writeln!(page, "| `{field}`{mark} | {kind} | {} |", text(inner, "description"));
    }
}

fn fields(schema: &Value) -> Map<String, Value> {
    schema["properties"].as_object().cloned().unwrap_or_default()
}

fn choices(schema: &Value) -> &[Value] {
    let list = schema.get("oneOf").or_else(|| schema.get("anyOf"));
    list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text(schema: &Value, key: &str) -> String {
    // Links between Rust items mean nothing on the page.
    let text = schema[key].as_str().unwrap_or_default().replace('\n', " ");
    text.replace("[`", "`").replace("`]", "`")
}

/// A type in a few words.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    let all = schema["allOf"].as_array().and_then(|list| list.first());
    if let Some(one) = all {
        return kind(one);
    }
    if let Some(literals) = schema["enum"].as_array() {
        return literals.iter().map(|v| format!("`{v}`")).collect::<Vec<_>>().join(" | ");
    }
    if let Some(literal) = schema.get("const") {
        return format!("`{literal}`");
    }
    if !choices(schema).is_empty() {
        return choices(schema).iter().map(kind).collect::<Vec<_>>().join(" | ");
    }
    if !fields(schema).is_empty() {
        let inner =
            fields(schema).iter().map(|(n, s)| format!("`{n}`: {}", kind(s))).collect::<Vec<_>>();
        return format!("{{ {} }}", inner.join(", "));
    }
    match &schema["type"] {
        Value::String(name) if name == "array" => format!("list of {}", kind(&schema["items"])),
        Value::String(name) if name == "object" && schema["additionalProperties"].is_object() => {
            format!("map of {}", kind(&schema["additionalProperties"]))
        }
        Value::String(name) => name.clone(),
        Value::Array(names) => names
            .iter()
            .filter_map(Value::as_str)
            .filter(|n| *n != "null")
            .collect::<Vec<_>>()
            .join(" | "),
        _ => "anything".to_owned(),
    }
}
