//! One authenticated SSH connection and its channels, on russh.
//!
//! Knows no JSON, no jobs, no clusters and no configuration files: a [`plan::ConnectPlan`] comes
//! in with everything decided, a [`Connection`] or an [`error::Error`] comes out. Reading order:
//! `plan`, `connect`, `dial`, `wire`, `handler`, `listening`, `host_key`, `auth`, `channel`, `sftp`.

mod agent;
mod algorithms;
pub mod ask;
mod auth;
mod channel;
mod coming;
mod connect;
mod dial;
pub mod error;
mod file_cache;
#[cfg(fuzzing)]
pub mod fuzzing;
mod handler;
pub mod host_key;
mod host_key_of;
mod identity;
mod known_hosts;
mod listening;
mod locking;
mod low_water;
mod pipe;
pub mod plan;
mod proxy;
mod refusal;
mod request;
pub mod sftp;
mod wire;

pub use channel::{Channel, ChannelEvent, ChannelWriter, Incoming, PtyRequest};
pub use connect::{Binding, Connection, Facts, Via, connect};
pub use dial::{dial, dial_addresses, tune};
pub use handler::{key_fingerprint, key_type};
pub use host_key_of::host_key_of;
pub use listening::RemoteListener;
pub use pipe::Pipe;
pub use refusal::Refusal;
pub use wire::{BoxStream, Stream};
