//! JSON-RPC messages: reading one with a single borrowed parse, writing one, and the request and
//! reply types a [`super::Service`] sees. Bodies are never logged: they may hold secrets.

use crate::error::{CallError, Kind};
use crate::methods::{Event, Method};
use crate::params;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;

/// A handler at work.
pub type Answering = BoxFuture<'static, Reply>;

/// A request of the peer.
pub struct Request {
    pub method: Box<str>,
    /// The JSON text of the id: a number or a string.
    pub id: Box<str>,
    /// The JSON text of the params object; `{}` when there was none.
    pub params: Bytes,
}

/// A notification of the peer.
pub struct Notification {
    pub method: Box<str>,
    /// The JSON text of the params object; `{}` when there was none.
    pub params: Bytes,
}

impl Request {
    /// The params of a method.
    ///
    /// # Errors
    /// `json.invalidParams` naming the parameter and what was expected.
    pub fn params<M: Method>(&self) -> Result<M::Params, CallError> {
        params::read(&self.params, false)
    }
}

impl Notification {
    /// The params of an event.
    ///
    /// # Errors
    /// `json.invalidParams` naming the parameter and what was expected.
    pub fn event<E: Event>(&self) -> Result<E::Params, CallError> {
        params::read(&self.params, false)
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Request({} id {}, {} bytes)", self.method, self.id, self.params.len())
    }
}

impl std::fmt::Debug for Notification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Notification({}, {} bytes)", self.method, self.params.len())
    }
}

/// What a handler answers, and what is to happen right after the answer was queued.
pub struct Reply {
    pub(super) body: Body,
    pub(super) then: Option<BoxFuture<'static, ()>>,
}

pub(super) enum Body {
    Result(Box<RawValue>),
    Error(CallError),
    /// A whole response, id included.
    Response(Box<RawValue>),
}

impl Reply {
    /// A result or an error.
    pub fn new(result: Result<impl Serialize, CallError>) -> Self {
        let body = result.and_then(|value| {
            serde_json::value::to_raw_value(&value).map_err(|e| {
                CallError::new(Kind::Internal, format!("cannot write the result: {e}"))
            })
        });
        Reply { body: body.map_or_else(Body::Error, Body::Result), then: None }
    }

    /// The typed form of [`Reply::new`].
    pub fn to<M: Method>(result: Result<M::Result, CallError>) -> Self {
        Reply::new(result)
    }

    /// -32601.
    pub fn unknown_method(request: &Request) -> Self {
        let text = format!("no method {:?}; rpc.discover lists them", request.method);
        Reply::new(Err::<(), _>(CallError::new(Kind::MethodNotFound, text)))
    }

    /// A whole JSON-RPC response that already carries the request's id.
    pub fn response(response: Box<RawValue>) -> Self {
        Reply { body: Body::Response(response), then: None }
    }

    /// Runs once the answer is queued: what it sends follows the answer on the wire. It ends with
    /// the link, so long work belongs to an owner of its own.
    #[must_use]
    pub fn then(mut self, then: Option<BoxFuture<'static, ()>>) -> Self {
        self.then = then;
        self
    }

    pub(super) fn text(self, id: &str) -> (Vec<u8>, Option<BoxFuture<'static, ()>>) {
        let text = match self.body {
            Body::Response(raw) => Box::<str>::from(raw).into_string().into_bytes(),
            Body::Result(raw) => response(id, "result", raw.get().as_bytes()),
            Body::Error(error) => error_response(id, &error),
        };
        (text, self.then)
    }
}

/// A message of the peer, told apart.
pub(super) enum Incoming {
    Request(Request),
    Notification(Notification),
    /// The id as JSON text, and the outcome.
    Response {
        id: Box<str>,
        outcome: Result<Bytes, CallError>,
    },
    /// JSON, but not JSON-RPC 2.0 as we speak it. The id, if it was usable.
    Invalid(Option<Box<str>>, CallError),
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// Tells `"id": null` from no id at all.
fn present<'de, D: Deserializer<'de>>(d: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(d).map(Some)
}

pub(super) fn read(body: &Bytes) -> Incoming {
    let envelope: Envelope<'_> = match serde_json::from_slice(body) {
        Ok(envelope) => envelope,
        Err(e) => {
            let kind = if e.is_data() { Kind::InvalidRequest } else { Kind::ParseError };
            let text = format!("cannot read the message at byte {}: {}", e.column(), category(&e));
            return unreadable(body, CallError::new(kind, text));
        }
    };
    let id = envelope.id.map(RawValue::get).filter(|id| *id != "null");
    let Some(method) = envelope.method else {
        let outcome = match (envelope.error, envelope.result) {
            (Some(error), _) => Err(fault(error)),
            (None, Some(result)) => Ok(body.slice_ref(result.get().as_bytes())),
            (None, None) => Ok(Bytes::from_static(b"null")),
        };
        return match id {
            Some(id) => Incoming::Response { id: id.into(), outcome },
            None => {
                let text = "a message needs a method or an id";
                Incoming::Invalid(None, CallError::new(Kind::InvalidRequest, text))
            }
        };
    };
    let params = match envelope.params.map(RawValue::get) {
        None | Some("null") => Bytes::from_static(b"{}"),
        Some(object) if object.starts_with('{') => body.slice_ref(object.as_bytes()),
        Some(_) => {
            let error =
                CallError::new(Kind::InvalidParams, "params are sent by name, as an object");
            return Incoming::Invalid(id.map(Into::into), error.at("params"));
        }
    };
    let method = method.into();
    match id {
        None if envelope.id.is_none() => Incoming::Notification(Notification { method, params }),
        Some(id) if usable(id) => Incoming::Request(Request { method, id: id.into(), params }),
        _ => {
            let text = "a request's id is a string or an integer that is not negative";
            Incoming::Invalid(None, CallError::new(Kind::InvalidRequest, text).at("id"))
        }
    }
}

/// A peer's error, also one that is not as we write it: whoever waits must learn of it.
fn fault(error: &RawValue) -> CallError {
    let read = |value: serde_json::Value| {
        let code = value.get("code").and_then(serde_json::Value::as_i64);
        let message = value.get("message").and_then(serde_json::Value::as_str);
        let unread = CallError::new(Kind::Internal, "an error that cannot be read");
        CallError {
            code: code.and_then(|code| i32::try_from(code).ok()).unwrap_or(unread.code),
            message: message.map_or(unread.message, str::to_owned),
            data: None,
        }
    };
    let text = error.get();
    serde_json::from_str(text)
        .unwrap_or_else(|_| read(serde_json::from_str(text).unwrap_or_default()))
}

/// A message that is no JSON-RPC. If it answers a call, that call is over.
fn unreadable(body: &Bytes, error: CallError) -> Incoming {
    let members: HashMap<String, &RawValue> = serde_json::from_slice(body).unwrap_or_default();
    let calls = members.get("method").is_some_and(|method| method.get().starts_with('"'));
    let answers = !calls && (members.contains_key("result") || members.contains_key("error"));
    match members.get("id") {
        Some(id) if answers => Incoming::Response { id: id.get().into(), outcome: Err(error) },
        _ => Incoming::Invalid(None, error),
    }
}

fn usable(id: &str) -> bool {
    id.starts_with('"') || id.parse::<u64>().is_ok()
}

fn category(e: &serde_json::Error) -> &'static str {
    match e.classify() {
        serde_json::error::Category::Syntax => "not JSON",
        serde_json::error::Category::Eof => "the JSON text ends early",
        serde_json::error::Category::Data => "not a JSON-RPC 2.0 message",
        serde_json::error::Category::Io => "unreadable",
    }
}

pub(super) fn request(
    id: &str,
    method: &str,
    params: &impl Serialize,
) -> Result<Vec<u8>, CallError> {
    let mut text = opening();
    text.extend_from_slice(b"\"id\":");
    text.extend_from_slice(id.as_bytes());
    text.push(b',');
    call(text, method, params)
}

pub(super) fn notification(method: &str, params: &impl Serialize) -> Result<Vec<u8>, CallError> {
    call(opening(), method, params)
}

pub(super) fn error_response(id: &str, error: &CallError) -> Vec<u8> {
    let body = serde_json::to_vec(error).unwrap_or_default();
    response(id, "error", &body)
}

fn response(id: &str, member: &str, body: &[u8]) -> Vec<u8> {
    let mut text = opening();
    text.reserve(body.len() + id.len() + 24);
    for part in ["\"id\":", id, ",\"", member, "\":"] {
        text.extend_from_slice(part.as_bytes());
    }
    text.extend_from_slice(body);
    text.push(b'}');
    text
}

fn opening() -> Vec<u8> {
    let mut text = Vec::with_capacity(256);
    text.extend_from_slice(b"{\"jsonrpc\":\"2.0\",");
    text
}

fn call(mut text: Vec<u8>, method: &str, params: &impl Serialize) -> Result<Vec<u8>, CallError> {
    let failed = |e: serde_json::Error| {
        CallError::new(Kind::Internal, format!("cannot write the params of {method}: {e}"))
    };
    text.extend_from_slice(b"\"method\":");
    serde_json::to_writer(&mut text, method).map_err(failed)?;
    text.extend_from_slice(b",\"params\":");
    serde_json::to_writer(&mut text, params).map_err(failed)?;
    text.push(b'}');
    Ok(text)
}
