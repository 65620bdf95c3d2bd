//! `bssh run -S NAME`: a command in a session that outlives it, for programs and agents; and
//! `bssh session`, which looks after such sessions.
//!
//! They live in the shared core, which is started if there is none. `words` is what was typed,
//! `run` one command in the sessions of its nodes, `show` how its output is told, `look` the
//! sessions themselves.

mod look;
mod run;
mod show;
mod words;

pub(crate) use look::look;
pub(crate) use run::run;
pub(crate) use words::{RunIn, SessionVerb, spelled_out};

use crate::{exit, say};
use bssh_client::{Core, Persist, Start};
use std::time::Duration;

/// How long a core that was started for a session stays when nobody needs it. It is needed as
/// long as there are sessions.
const STAY: Duration = Duration::from_secs(600);

/// The shared core, started if there is none; or the status after saying why not.
pub(crate) async fn shared_core(start: Start, wanted: Option<Persist>) -> Result<Core, u8> {
    let persist = match wanted {
        Some(Persist::Never) => {
            say("bssh: a named session lives in a shared core; --persist=no gives none");
            return Err(exit::USAGE);
        }
        Some(Persist::For(stay)) => Persist::For(stay),
        None | Some(Persist::IfThere) => Persist::For(Some(STAY)),
    };
    Core::obtain(start, persist).await.map_err(|error| {
        say(&format!("bssh: {error}"));
        exit::GENERAL
    })
}
