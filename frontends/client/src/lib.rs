//! Starts a core and speaks the protocol to it: the only door a frontend has.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use bssh_client::{Core, Persist, RunEvent, Start};
//! use bssh_protocol::exec::{Action, ExecParams, Targets};
//! // The user's shared core if one runs, else a child.
//! let core = Core::obtain(Start::default(), Persist::IfThere).await?;
//! let targets = Targets { nodes: "web[1-3]".into(), ..Targets::default() };
//! let action = Action::Command("uptime".into());
//! let mut run = core.exec(ExecParams { targets, action, ..ExecParams::default() }).await?;
//! while let Some(event) = run.next().await {
//!     match event {
//!         RunEvent::Node(event) => { /* connecting, executing, ended */ }
//!         RunEvent::Data { index, channel, bytes } => { /* taken: the core gets credit */ }
//!         RunEvent::End { .. } => {}
//!         RunEvent::Done(summary) => { /* the last word */ }
//!         RunEvent::Lost(how) => { /* the core is gone: how it ended */ }
//!     }
//! }
//! core.close().await;
//! # Ok(()) }
//! ```
//!
//! Reading order: `core` (start, call, end), `child` (the process), `obtain` and `shared` (the
//! core others use, too), `service` (what the core says), `sessions` (shell states), `pty` (a
//! terminal), `tasks` (copies), `sync` (trees kept the same), `prompter` (questions to a person),
//! `repl` (what a command line says to a REPL).
//! Runs and transfers are followed by the protocol's own `run` and `carried`.

mod child;
mod core;
mod obtain;
mod prompter;
mod pty;
mod repl;
mod service;
mod sessions;
mod shared;
mod standby;
mod sync;
mod tasks;

pub use crate::core::{Core, Error, Remarks, Start};
pub use bssh_protocol::carried::{Transfer, TransferEvent};
pub use bssh_protocol::run::{Channel, Run, RunEvent, window_for};
pub use child::Lost;
pub use prompter::{Answer, NoPrompter, Prompter};
pub use pty::{Pty, PtyHandle};
pub use repl::ReplPlan;
pub use sessions::{SessionEvent, Sessions};
pub use shared::Persist;
pub use standby::{CoreMain, Standby};
pub use sync::{Sync, SyncEvent, Syncing};
