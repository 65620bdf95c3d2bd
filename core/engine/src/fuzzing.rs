//! Doors for `tests/fuzz` to what is private here. Not in any build but a fuzzer's.

#![allow(clippy::panic, missing_docs, reason = "a fuzzer wants panics")]

pub use crate::agent::fuzzing::agent;
pub use crate::forward::fuzzing::socks;
