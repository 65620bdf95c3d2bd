//! A frontend as it was when a protocol level was frozen: it knows that document and nothing else.
//! It sends what the document allows, and fails at anything it is sent that the document does not.

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Nothing that works takes this long, also on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(60);

/// One link of such a frontend.
pub struct OldClient {
    document: Value,
    socket: UnixStream,
    reader: BufReader<UnixStream>,
    next: u64,
    /// Events that came while an answer was waited for.
    events: Vec<(String, Value)>,
    /// Methods the core has called here.
    pub asked: Vec<String>,
}

#[allow(clippy::needless_pass_by_value, reason = "`json!` makes values")]
impl OldClient {
    /// Attaches to a shared core, with a document of `docs/protocol/frozen`.
    pub fn attach(socket: &Path, document: &str) -> OldClient {
        let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol/frozen");
        let text = std::fs::read_to_string(frozen.join(document)).expect("the frozen document");
        let socket = UnixStream::connect(socket).expect("a core that listens");
        socket.set_read_timeout(Some(DEADLINE)).expect("a socket");
        let reader = BufReader::new(socket.try_clone().expect("a socket"));
        let document = serde_json::from_str(&text).expect("JSON");
        OldClient { document, socket, reader, next: 1, events: Vec::new(), asked: Vec::new() }
    }

    /// Calls a method; its result.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        let row = self.row("methods", method).unwrap_or_else(|| panic!("no {method} then"));
        self.valid(&row["params"][0]["schema"], &params, method);
        let id = self.next;
        self.next += 1;
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        let result = self.answer(id, method);
        self.valid(&row["result"]["schema"], &result, method);
        result
    }

    /// Calls a method that came later, without parameters; its result.
    #[track_caller]
    pub fn call_new(&mut self, method: &str) -> Value {
        let id = self.next;
        self.next += 1;
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": {} }));
        self.answer(id, method)
    }

    fn answer(&mut self, id: u64, method: &str) -> Value {
        loop {
            let message = self.hear();
            if message["id"] == id && message.get("method").is_none() {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
            self.take(message);
        }
    }

    /// The next event with this name.
    #[track_caller]
    pub fn event(&mut self, name: &str) -> Value {
        loop {
            if let Some(at) = self.events.iter().position(|(known, _)| known == name) {
                return self.events.remove(at).1;
            }
            let message = self.hear();
            self.take(message);
        }
    }

    /// Sends an event.
    pub fn notify(&mut self, name: &str, params: Value) {
        let row = self.row("x-events", name).unwrap_or_else(|| panic!("no {name} then"));
        self.valid(&row["params"][0]["schema"], &params, name);
        self.say(&json!({ "jsonrpc": "2.0", "method": name, "params": params }));
    }

    /// Everything the core is known to have by the document.
    pub fn methods(&self) -> Vec<String> {
        let rows = self.document["methods"].as_array().expect("methods");
        let ours = rows.iter().filter(|row| row["x-direction"] == "core");
        ours.map(|row| row["name"].as_str().expect("a name").to_owned()).collect()
    }

    fn take(&mut self, message: Value) {
        let name = message["method"].as_str().unwrap_or_else(|| panic!("what is {message}?"));
        if message.get("id").is_none() {
            // What came later is ignored by name, as a frontend must.
            if let Some(row) = self.row("x-events", name) {
                self.valid(&row["params"][0]["schema"], &message["params"], name);
            }
            self.events.push((name.to_owned(), message["params"].clone()));
            return;
        }
        let row = self.row("methods", name).unwrap_or_else(|| panic!("asked for {name}"));
        self.valid(&row["params"][0]["schema"], &message["params"], name);
        self.asked.push(name.to_owned());
        let answer = match name {
            "auth/hostKey" => json!({ "outcome": "accept", "scope": "once" }),
            _ => json!({ "outcome": "cancelled" }),
        };
        self.valid(&row["result"]["schema"], &answer, name);
        self.say(&json!({ "jsonrpc": "2.0", "id": message["id"], "result": answer }));
    }

    fn say(&mut self, message: &Value) {
        let body = message.to_string();
        write!(self.socket, "Content-Length: {}\r\n\r\n{body}", body.len()).expect("a core");
    }

    fn hear(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.reader.read_line(&mut line).expect("a core") > 0, "the link has ended");
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().expect("a number");
                }
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).expect("a whole message");
        serde_json::from_slice(&body).expect("no data frames: we announced none")
    }

    fn row(&self, table: &str, name: &str) -> Option<Value> {
        let rows = self.document[table].as_array().expect("a table");
        rows.iter().find(|row| row["name"] == name).cloned()
    }

    #[track_caller]
    fn valid(&self, schema: &Value, value: &Value, what: &str) {
        if let Err(why) = self.fits(schema, value) {
            panic!("{what}: {why} in {value}");
        }
    }

    /// As much of JSON Schema as the document uses.
    fn fits(&self, schema: &Value, value: &Value) -> Result<(), String> {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap_or_default();
            let named = &self.document["components"]["schemas"][name];
            self.fits(named, value).map_err(|why| format!("{name}: {why}"))?;
        }
        for one in schema["allOf"].as_array().into_iter().flatten() {
            self.fits(one, value)?;
        }
        for choice in ["anyOf", "oneOf"] {
            if let Some(any) = schema[choice].as_array() {
                let fits = any.iter().any(|one| self.fits(one, value).is_ok());
                fits.then_some(()).ok_or(format!("none of {choice} fits"))?;
            }
        }
        if let Some(constant) = schema.get("const") {
            (constant == value).then_some(()).ok_or(format!("not {constant}"))?;
        }
        if let Some(known) = schema["enum"].as_array() {
            known.contains(value).then_some(()).ok_or(format!("not one of {known:?}"))?;
        }
        let types: Vec<&str> = match &schema["type"] {
            Value::String(one) => vec![one],
            Value::Array(some) => some.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if !types.is_empty() && !types.iter().any(|name| is(name, value)) {
            return Err(format!("no {}", types.join(" or ")));
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            let there = value.get(name.as_str().unwrap_or_default()).is_some();
            there.then_some(()).ok_or(format!("{name} is missing"))?;
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(part) = value.get(name) {
                self.fits(property, part).map_err(|why| format!("{name}: {why}"))?;
            }
        }
        for item in value.as_array().filter(|_| schema.get("items").is_some()).into_iter().flatten()
        {
            self.fits(&schema["items"], item)?;
        }
        Ok(())
    }
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}
