//! Reverse requests: what the core must ask a person, and the answers. Secrets never show in
//! `Debug` and are wiped when dropped.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Text that must not be printed: `Debug` shows `***`, memory is wiped on drop. It serialises in
/// the clear, which only the link's writer does.
#[derive(Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over; the caller's copy should be one too.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(Zeroizing::new(text.into()))
    }
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "x-secret": true })
    }
}

/// `auth/hostKey`: may this key be trusted?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostKeyQuestion {
    pub prompt: u64,
    pub node: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop: Option<String>,
    /// The name the key would be filed under, e.g. `[127.0.0.1]:2222`.
    pub host: String,
    pub key: HostKeyInfo,
    /// Other names the same key is known by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct HostKeyInfo {
    /// e.g. `ssh-ed25519`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `SHA256:…`
    pub fingerprint: String,
    /// The key itself, or its certificate, as RFC 4253 section 6.6 writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<crate::stream::Base64Bytes>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub enum HostKeyAnswer {
    /// Trust it; `file` also writes it to known_hosts.
    Accept {
        scope: TrustScope,
    },
    Reject,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TrustScope {
    Once,
    File,
}

/// `auth/prompt`: fields for a person to fill in.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromptQuestion {
    pub prompt: u64,
    pub node: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop: Option<String>,
    pub kind: PromptKind,
    /// e.g. `alice@web1's password`.
    pub title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    pub fields: Vec<PromptField>,
    /// 1 for the first time; more also for every further question of one dialogue.
    pub attempt: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PromptKind {
    Password,
    Passphrase,
    KeyboardInteractive,
    Sudo,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PromptField {
    pub id: String,
    pub label: String,
    /// Show what is typed.
    pub echo: bool,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub enum PromptAnswer {
    /// Field id to what was typed.
    Answered {
        answers: BTreeMap<String, Secret>,
    },
    Cancelled,
}

/// `auth/confirm`: yes or no.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ConfirmQuestion {
    pub prompt: u64,
    pub node: String,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub enum ConfirmAnswer {
    Yes,
    No,
    Cancelled,
}

/// `auth/promptDone`: the question is no longer open.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PromptDone {
    pub prompt: u64,
}
