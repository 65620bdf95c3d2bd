//! Shared pieces of the end-to-end tests: the binary under test, runs with a deadline, what a
//! run printed, `--json` read back.
//!
//! Every wait has a deadline and ends with the transcript so far; nothing is left running when a
//! test fails.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

mod agent;
mod cluster;
mod delay;
mod driver;
pub mod net;
mod netns;
mod old_client;
mod peer;
mod run;
mod shared;
mod terminal;
mod tmux;
mod transcript;
mod tree;

pub use agent::{Agent, descriptors};
pub use cluster::Lab;
pub use delay::Delay;
pub use driver::Driver;
pub use netns::Netns;
pub use old_client::OldClient;
pub use peer::Peer;
pub use run::{Run, bssh, until};
pub use shared::Shared;
pub use terminal::Terminal;
pub use tmux::Tmux;
pub use transcript::{Ending, Transcript, base64};
pub use tree::{FRAMES, Tree};
