//! Streams: bytes of a run or a forward, with absolute byte credit.
//!
//! The sender keeps `sent <= limit`; the receiver raises the limit with `stream/grant` when half
//! the window is consumed. Offsets are contiguous; one `stream/end` or `stream/reset` ends it.

use base64::Engine as _;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A stream's number: unique per link, never reused.
pub type StreamId = u32;

/// First credit of an exec stream, in bytes. Large enough for bulk, small enough that a thousand
/// silent readers hold nothing.
pub const WINDOW: u64 = 1 << 20;

/// Bytes in JSON: base64 text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Base64Bytes(pub Bytes);

impl Serialize for Base64Bytes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&base64::engine::general_purpose::STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64Bytes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        base64::engine::general_purpose::STANDARD
            .decode(text.as_bytes())
            .map(|bytes| Base64Bytes(bytes.into()))
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Base64Bytes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Base64Bytes".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "contentEncoding": "base64" })
    }
}

/// `stream/data`: for peers without data frames. Either `data` or `text`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct StreamData {
    pub stream: StreamId,
    /// Offset of the first byte in the stream.
    pub offset: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Base64Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// `stream/grant`: the peer may send up to this absolute offset.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct StreamGrant {
    pub stream: StreamId,
    pub limit: u64,
}

/// `stream/end`: half-close, exactly once, nothing after.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct StreamEnd {
    pub stream: StreamId,
    /// The stream's length in bytes.
    pub bytes: u64,
}

/// `stream/reset`: abort; what is on the way is discarded.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct StreamReset {
    pub stream: StreamId,
    pub error: crate::error::CallError,
}

/// `stream/gap`: bytes of the source are left out here, between what was sent before and what
/// comes next. The stream's own offsets go on without a hole: credit counts what is sent.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct StreamGap {
    pub stream: StreamId,
    /// Offset in the source (a pty's or a command's output) of the first byte left out.
    pub from: u64,
    /// Offset in the source of the next byte that is sent.
    pub to: u64,
}

/// Where a remote stream's bytes go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Sink {
    /// To the frontend, as a stream.
    #[default]
    Stream,
    Discard,
    /// Into a file the core opens (created 0600, truncated).
    File(String),
    /// To a descriptor the core inherited.
    Fd(i32),
    /// Together with stdout (stderr only).
    Merge,
}

/// Where a run's stdin comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// Nothing: end of file at once.
    #[default]
    Null,
    /// From the frontend, as a stream, broadcast to every node.
    Stream,
    File(String),
    /// From a descriptor the core inherited, broadcast to every node.
    Fd(i32),
}
