//! From JSON text to typed params. When that fails, the params' schema is walked beside the value
//! to name the parameter and what was expected; the same walk finds unknown parameters for
//! frontends that asked for `strict`.

use crate::error::{CallError, Kind};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// What any request may carry beside its own params.
const COMMON: &[&str] = &["progressToken", "timeoutMs", "_meta"];

/// Reads params; `strict` refuses parameters the type does not have.
///
/// # Errors
/// `json.invalidParams` with the parameter's path and what was expected.
pub fn read<T: DeserializeOwned + JsonSchema>(text: &[u8], strict: bool) -> Result<T, CallError> {
    let parsed = serde_json::from_slice(text);
    if let (Ok(_), false) = (&parsed, strict) {
        return parsed.map_err(|_| invalid("params", ""));
    }
    let value: Value = serde_json::from_slice(text)
        .map_err(|_| CallError::new(Kind::ParseError, "the params are not JSON"))?;
    let root = schemars::schema_for!(T).to_value();
    let walk = Walk { root: &root, strict };
    match (parsed, walk.check(&root, &value, "params")) {
        (Ok(params), None) => Ok(params),
        (_, Some(Fault { at, expected })) => Err(invalid(&at, &expected)),
        (Err(e), None) => Err(invalid("params", &expected(&e))),
    }
}

/// The message of a serde error without the value it quotes: that may be a secret.
fn expected(e: &serde_json::Error) -> String {
    let text = e.to_string();
    let wanted = text.rsplit_once("expected ").map_or("another value", |(_, wanted)| wanted);
    wanted.split(" at line").next().unwrap_or(wanted).to_owned()
}

fn invalid(at: &str, expected: &str) -> CallError {
    CallError::new(Kind::InvalidParams, format!("{at}: expected {expected}")).at(at)
}

struct Fault {
    at: String,
    expected: String,
}

struct Walk<'a> {
    root: &'a Value,
    strict: bool,
}

impl Walk<'_> {
    /// The first thing in `value` that the schema does not allow.
    fn check(&self, schema: &Value, value: &Value, at: &str) -> Option<Fault> {
        let schema = schema.as_object()?;
        if let Some(Value::String(to)) = schema.get("$ref") {
            let target = to.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer))?;
            return self.check(target, value, at);
        }
        let fault = |expected: String| Some(Fault { at: at.to_owned(), expected });
        if let Some(allowed) = allowed(schema)
            && !allowed.contains(value)
        {
            return fault(list(allowed));
        }
        if let Some(types) = types(schema)
            && !types.iter().any(|t| is_type(value, t))
        {
            return fault(types.join(" or "));
        }
        if let Some(least) = schema.get("minimum").and_then(Value::as_f64)
            && value.as_f64().is_some_and(|n| n < least)
        {
            return fault(format!("{least} or more"));
        }
        self.alternatives(schema, value, at).or_else(|| match value {
            Value::Object(object) => self.object(schema, object, at),
            Value::Array(array) => {
                let items = schema.get("items")?;
                array.iter().zip(0..).find_map(|(v, i)| self.check(items, v, &format!("{at}[{i}]")))
            }
            _ => None,
        })
    }

    fn alternatives(&self, schema: &Map<String, Value>, value: &Value, at: &str) -> Option<Fault> {
        let choices = schema.get("oneOf").or_else(|| schema.get("anyOf"))?.as_array()?;
        let mut deepest: Option<Fault> = None;
        for choice in choices {
            let fault = self.check(choice, value, at)?;
            if deepest.as_ref().is_none_or(|d| fault.at.len() > d.at.len()) {
                deepest = Some(fault);
            }
        }
        // A fault inside one choice says more than the list of choices.
        if let Some(inner) = deepest.filter(|d| d.at.len() > at.len() && value.is_object())
            && choices.len() == 2
        {
            return Some(inner);
        }
        let names: Vec<String> = choices.iter().filter_map(choice_name).collect();
        Some(Fault { at: at.to_owned(), expected: names.join(", ") })
    }

    fn object(
        &self,
        schema: &Map<String, Value>,
        object: &Map<String, Value>,
        at: &str,
    ) -> Option<Fault> {
        let none = Map::new();
        let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let required = schema.get("required").and_then(Value::as_array);
        let missing = required
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .find(|name| !object.contains_key(*name));
        if let Some(name) = missing {
            return Some(Fault { at: format!("{at}.{name}"), expected: "a value".to_owned() });
        }
        for (name, value) in object {
            let at = format!("{at}.{name}");
            let others = schema.get("additionalProperties").filter(|s| s.is_object());
            match known.get(name).or(others) {
                Some(schema) => {
                    if let Some(fault) = self.check(schema, value, &at) {
                        return Some(fault);
                    }
                }
                None if self.strict && !known.is_empty() && !COMMON.contains(&name.as_str()) => {
                    let names: Vec<&str> = known.keys().map(String::as_str).collect();
                    return Some(Fault { at, expected: format!("one of {}", names.join(", ")) });
                }
                None => {}
            }
        }
        None
    }
}

fn allowed(schema: &Map<String, Value>) -> Option<&[Value]> {
    let one = schema.get("const").map(std::slice::from_ref);
    one.or_else(|| schema.get("enum").and_then(Value::as_array).map(Vec::as_slice))
}

fn list(values: &[Value]) -> String {
    values.iter().map(Value::to_string).collect::<Vec<_>>().join(", ")
}

fn types(schema: &Map<String, Value>) -> Option<Vec<&str>> {
    match schema.get("type")? {
        Value::String(one) => Some(vec![one]),
        Value::Array(many) => Some(many.iter().filter_map(Value::as_str).collect()),
        _ => None,
    }
}

fn is_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    }
}

/// How a person would name one choice: its literal, the one key it needs, or its type.
fn choice_name(choice: &Value) -> Option<String> {
    let schema = choice.as_object()?;
    if let Some(allowed) = allowed(schema) {
        return Some(list(allowed));
    }
    let required = schema.get("required").and_then(Value::as_array);
    let key = required.and_then(|keys| keys.first()).and_then(Value::as_str);
    key.map(|key| format!("{{\"{key}\": …}}")).or_else(|| types(schema).map(|t| t.join(" or ")))
}
