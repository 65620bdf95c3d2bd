//! The language between the core and its frontends: methods, events, types, framing, schema.
//!
//! Both sides link this crate and nothing else of each other's. It knows no SSH, no terminal and
//! no files. Reading order: `methods` (the one table), the types it names, `frame` (bytes on the
//! wire), `link` (one peer of the conversation), `run` and `carried` (a run and a transfer as their
//! asker sees them; `followed` is what a transfer and a sync have in common), `schema` (the
//! document generated from the table).

pub mod methods;

pub mod agent;
pub mod auth;
pub mod backlog;
pub mod cache;
pub mod connection;
pub mod error;
pub mod exec;
pub mod forward;
pub mod fs;
pub mod gate;
pub mod handshake;
pub mod job;
pub mod node;
pub mod pty;
pub mod session;
pub mod session_state;
pub mod stream;
pub mod sync;
pub mod task;
pub mod transfer;
pub mod via;

pub mod carried;
pub mod followed;
pub mod frame;
mod ignoring;
pub mod link;
mod locking;
pub mod params;
pub mod place;
pub mod registry;
pub mod run;
pub mod schema;
mod waiting;

pub use ignoring::Ignored;
pub use locking::lock;
