//! Does a newer document break those who were written for an older one? What a peer sends may be
//! taken more loosely; what it receives may only be said more precisely. Who sends is known from
//! `x-direction`, so reverse requests are judged the other way round.

use serde_json::{Map, Value};

/// One clear line per break; empty: whoever spoke the frozen level is still understood.
pub fn breaking(frozen: &Value, current: &Value) -> Vec<String> {
    let mut found = Found { frozen, current, lines: Vec::new(), seen: Vec::new() };
    for list in ["methods", "x-events"] {
        for old in array(frozen, list) {
            let name = old["name"].as_str().unwrap_or_default();
            match array(current, list).iter().find(|new| new["name"] == name) {
                None => found.lines.push(format!("{name}: removed")),
                Some(new) => found.message(name, old, new),
            }
        }
    }
    for old in array(frozen, "x-errors") {
        let same = |new: &&Value| new["code"] == old["code"] && new["message"] == old["message"];
        if array(current, "x-errors").iter().find(same).is_none() {
            found
                .lines
                .push(format!("error {} {}: removed or changed", old["code"], old["message"]));
        }
    }
    found.lines
}

fn array<'a>(document: &'a Value, key: &str) -> &'a [Value] {
    document.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// How the values of a schema travel, seen from the peer with the frozen document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// The old peer sends them: the new side must take all of them.
    Sent,
    /// The old peer receives them: nothing it relies on may be missing.
    Received,
}

struct Found<'a> {
    frozen: &'a Value,
    current: &'a Value,
    lines: Vec<String>,
    /// References being compared: schemas may be recursive.
    seen: Vec<(String, Flow)>,
}

impl Found<'_> {
    fn message(&mut self, name: &str, old: &Value, new: &Value) {
        if old["x-direction"] != new["x-direction"] {
            self.lines.push(format!("{name}: direction changed"));
            return;
        }
        let flows: &[Flow] = match old["x-direction"].as_str() {
            // The old frontend is the one that cannot change: it sends what the core receives.
            Some("core") => &[Flow::Sent],
            Some("frontend") => &[Flow::Received],
            _ => &[Flow::Sent, Flow::Received],
        };
        for flow in flows {
            let params = "/params/0/schema";
            self.pointed(&format!("{name} params"), (old, new), params, *flow);
            let back = if *flow == Flow::Sent { Flow::Received } else { Flow::Sent };
            self.pointed(&format!("{name} result"), (old, new), "/result/schema", back);
        }
    }

    fn pointed(&mut self, at: &str, (old, new): (&Value, &Value), pointer: &str, flow: Flow) {
        match (old.pointer(pointer), new.pointer(pointer)) {
            (Some(old), Some(new)) => self.compare(at, old, new, flow),
            (None, None) => {}
            _ => self.lines.push(format!("{at}: appeared or disappeared")),
        }
    }

    fn compare(&mut self, at: &str, old: &Value, new: &Value, flow: Flow) {
        let reference = old.get("$ref").and_then(Value::as_str).map(str::to_owned);
        if let Some(reference) = reference.clone() {
            if self.seen.contains(&(reference.clone(), flow)) {
                return;
            }
            self.seen.push((reference, flow));
        }
        let (old, new) = (resolve(self.frozen, old), resolve(self.current, new));
        if let (Some(old), Some(new)) = (old.as_object(), new.as_object()) {
            self.types(at, old, new, flow);
            self.properties(at, old, new, flow);
            self.choices(at, old, new, flow);
            for inner in ["items", "additionalProperties"] {
                if let (Some(o), Some(n)) = (old.get(inner), new.get(inner)) {
                    self.compare(&format!("{at}[]"), o, n, flow);
                }
            }
        }
        if reference.is_some() {
            self.seen.pop();
        }
    }

    fn types(&mut self, at: &str, old: &Map<String, Value>, new: &Map<String, Value>, flow: Flow) {
        let (before, after) = (type_names(old), type_names(new));
        let (must, have) = match flow {
            Flow::Sent => (&before, &after),
            Flow::Received => (&after, &before),
        };
        // No type at all means any.
        if !have.is_empty() && (must.is_empty() || !must.iter().all(|t| have.contains(t))) {
            self.lines.push(format!(
                "{at}: type changed from {} to {}",
                before.join("|"),
                after.join("|")
            ));
        }
    }

    fn properties(
        &mut self,
        at: &str,
        old: &Map<String, Value>,
        new: &Map<String, Value>,
        flow: Flow,
    ) {
        let none = Map::new();
        let fields = |schema: &Map<String, Value>| {
            schema.get("properties").and_then(Value::as_object).unwrap_or(&none).clone()
        };
        let (before, after) = (fields(old), fields(new));
        for (name, schema) in &before {
            match after.get(name) {
                Some(now) => self.compare(&format!("{at}.{name}"), schema, now, flow),
                None => self.lines.push(format!("{at}.{name}: removed")),
            }
        }
        let (was, is) = (required(old), required(new));
        match flow {
            Flow::Sent => {
                for name in is.iter().filter(|name| !was.contains(name)) {
                    self.lines.push(format!("{at}.{name}: became required"));
                }
            }
            Flow::Received => {
                for name in
                    was.iter().filter(|name| !is.contains(name) && after.contains_key(**name))
                {
                    self.lines.push(format!("{at}.{name}: became optional"));
                }
            }
        }
    }

    /// Enum values and alternatives. None may be lost; new ones are fine, as readers take what
    /// they do not know for `Other`.
    fn choices(
        &mut self,
        at: &str,
        old: &Map<String, Value>,
        new: &Map<String, Value>,
        flow: Flow,
    ) {
        let (before, after) = (literals(old), literals(new));
        for value in before.iter().filter(|v| !after.is_empty() && !after.contains(v)) {
            self.lines.push(format!("{at}: value {value} removed"));
        }
        for choice in alternatives(old) {
            let Some(label) = label(resolve(self.frozen, choice)) else { continue };
            let current = self.current;
            let same = |c: &&Value| label_of(current, c).as_ref() == Some(&label);
            match alternatives(new).iter().find(same) {
                Some(now) => self.compare(&format!("{at}({label})"), choice, now, flow),
                // A one-value choice may have been written as an enum instead.
                None if !literals(new).iter().any(|v| format!("{v}") == label) => {
                    self.lines.push(format!("{at}: choice {label} removed"));
                }
                None => {}
            }
        }
    }
}

fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#'));
    match target.and_then(|pointer| document.pointer(pointer)) {
        Some(target) => resolve(document, target),
        None => schema,
    }
}

fn type_names(schema: &Map<String, Value>) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn required(schema: &Map<String, Value>) -> Vec<&str> {
    let list = schema.get("required").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Every literal a schema allows, also those spread over one-value alternatives.
fn literals(schema: &Map<String, Value>) -> Vec<Value> {
    let own = schema.get("enum").and_then(Value::as_array).cloned().unwrap_or_default();
    let one = schema.get("const").cloned();
    let nested = alternatives(schema).iter().filter_map(Value::as_object).flat_map(literals);
    own.into_iter().chain(one).chain(nested).collect()
}

fn alternatives(schema: &Map<String, Value>) -> &[Value] {
    let list = schema.get("oneOf").or_else(|| schema.get("anyOf")).or_else(|| schema.get("allOf"));
    list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn label_of(document: &Value, choice: &Value) -> Option<String> {
    label(resolve(document, choice))
}

/// What tells one alternative from another: its tag, its only key, its literal or its type.
fn label(choice: &Value) -> Option<String> {
    let schema = choice.as_object()?;
    if let Some(value) = schema.get("const") {
        return Some(value.to_string());
    }
    let fields = schema.get("properties").and_then(Value::as_object);
    let tag = fields
        .into_iter()
        .flatten()
        .find_map(|(name, s)| s.get("const").map(|value| format!("{name}: {value}")));
    let key = || required(schema).first().map(|name| format!("{{{name}}}"));
    let kind = || Some(type_names(schema).join("|")).filter(|t| !t.is_empty());
    tag.or_else(key).or_else(kind)
}
