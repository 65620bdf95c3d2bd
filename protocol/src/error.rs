//! Errors of calls, and the table of kinds and codes. A node's failure is not an error: see
//! [`crate::exec::Failure`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A JSON-RPC error object: the caller was wrong, or the call could not be taken.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    pub code: i32,
    /// For people; may change.
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<ErrorData>>,
}

/// What programs look at.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ErrorData {
    /// The stable key, e.g. `config.invalid`, `handle.unknown`.
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hop: Option<String>,
    pub retryable: bool,
    /// Path of the wrong parameter, e.g. `params.fanout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cause: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supported: Vec<u32>,
}

/// The one table of call errors: variant, stable kind, code.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = ($kind:literal, $code:literal)),+ $(,)?) => {
        /// Kinds of call errors. Codes are never reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind { $($(#[$doc])* $name),+ }

        impl Kind {
            /// Every kind, for documentation and tests.
            pub const ALL: &'static [Kind] = &[$(Kind::$name),+];
            /// The stable key.
            pub fn key(self) -> &'static str { match self { $(Kind::$name => $kind),+ } }
            /// The JSON-RPC error code.
            pub fn code(self) -> i32 { match self { $(Kind::$name => $code),+ } }
        }
    };
}

kinds! {
    ParseError = ("json.parse", -32700),
    InvalidRequest = ("json.invalidRequest", -32600),
    MethodNotFound = ("json.methodNotFound", -32601),
    InvalidParams = ("json.invalidParams", -32602),
    Internal = ("json.internal", -32603),
    /// The first request must be `initialize`.
    NotInitialized = ("session.notInitialized", -32002),
    CancelledByCaller = ("cancelled.byCaller", -32800),
    CancelledByCore = ("cancelled.byCore", -32802),
    NodeUnknown = ("node.unknown", 1000),
    /// A node set expression that cannot be read.
    TargetsInvalid = ("targets.invalid", 1005),
    /// A configuration file that cannot be read.
    ConfigInvalid = ("config.invalid", 1006),
    HostKeyUnknown = ("hostkey.unknown", 1010),
    HostKeyChanged = ("hostkey.changed", 1011),
    HostKeyRevoked = ("hostkey.revoked", 1012),
    AuthRequired = ("auth.required", 1020),
    AuthFailed = ("auth.failed", 1021),
    PromptTimeout = ("auth.promptTimeout", 1022),
    AgentUnavailable = ("agent.unavailable", 1023),
    AuthDeclined = ("auth.declined", 1024),
    HandleUnknown = ("handle.unknown", 1030),
    HandleNotOwner = ("handle.notOwner", 1031),
    LimitExceeded = ("limit.exceeded", 1032),
    /// Bytes that are no longer kept.
    ReplayExpired = ("replay.expired", 1041),
    StreamOverflow = ("stream.overflow", 1042),
    WindowViolation = ("stream.windowViolation", 1043),
    /// A file on a node; `data.kind` says more, e.g. `fs.notFound`.
    Fs = ("fs.io", 1050),
    FsConflict = ("fs.conflict", 1051),
    ForwardBind = ("forward.bind", 1060),
    ForwardDenied = ("forward.denied", 1061),
    /// A gate that makes no sense; the message names entry and field.
    GateInvalid = ("gate.invalid", 1062),
    /// Entries need one address and port.
    GatePortCollision = ("gate.portCollision", 1063),
    GateAddressInUse = ("gate.addressInUse", 1064),
    GatePrivilegedPort = ("gate.privilegedPort", 1065),
    GateAddressUnavailable = ("gate.addressUnavailable", 1066),
    GateRunningOtherPlan = ("gate.runningOtherPlan", 1067),
    GateNotFound = ("gate.notFound", 1068),
    Disconnected = ("disconnected", 1070),
    Timeout = ("timeout", 1071),
    /// The frontend did not announce a capability this call needs.
    CapabilityMissing = ("capability.missing", 1080),
    VersionUnsupported = ("version.unsupported", 1081),
    Busy = ("busy", 1083),
}

impl CallError {
    /// An error of this kind with a message for people.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let data = ErrorData { kind: kind.key().to_owned(), ..ErrorData::default() };
        CallError { code: kind.code(), message: message.into(), data: Some(Box::new(data)) }
    }

    /// Names the wrong parameter.
    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.data.get_or_insert_default().at = Some(path.into());
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.data.get_or_insert_default().hint = Some(hint.into());
        self
    }

    /// For people, with what to do about it.
    pub fn advised(&self) -> String {
        match self.data.as_ref().and_then(|data| data.hint.as_ref()) {
            Some(hint) => format!("{}\nhint: {hint}", self.message),
            None => self.message.clone(),
        }
    }

    /// The stable key, empty when the peer sent none.
    pub fn kind(&self) -> &str {
        self.data.as_ref().map_or("", |d| d.kind.as_str())
    }
}
