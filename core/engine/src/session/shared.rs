//! Sessions that outlive the link that opened them: others of the same core find and use them.
//!
//! A session lives in the engine of its link and that engine lives on for it. What runs in it
//! belongs to whoever started it, and ends when that one goes.

use super::{Order, Session, Sessions};
use crate::engine::Engine;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::session::{SessionEntry, SessionId, SessionList};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Sessions {
    /// The one of this name on this node that others may use.
    fn named(&self, name: &str, node: &str) -> Option<SessionId> {
        let is = |s: &&Arc<Session>| {
            s.keep && s.node == node && s.name.as_deref() == Some(name) && !s.is_closed()
        };
        self.open().values().find(is).map(|s| s.id)
    }

    /// Ends all but these.
    pub(crate) fn close_but(&self, kept: &BTreeSet<u64>) {
        for (_, session) in self.open().iter().filter(|(id, _)| !kept.contains(id)) {
            session.close();
        }
    }

    /// Ends the commands whose frontend has gone.
    pub(crate) fn abandon(&self) {
        for session in self.open().values() {
            for running in session.memory().running.values().filter(|r| r.link.has_ended()) {
                // One that has that many orders is ending already.
                let _ = running.orders.try_send(Order::End);
            }
        }
    }
}

impl Engine {
    /// `session/list`: those of this link, and those of others that are kept.
    pub fn session_list(self: &Arc<Self>) -> SessionList {
        let mut sessions = BTreeMap::new();
        for engine in self.commons.engines() {
            let own = Arc::ptr_eq(self, &engine);
            let open = engine.sessions.open();
            let seen = open.values().filter(|s| own || s.keep);
            sessions.extend(seen.map(|s| (s.id, s.entry())));
        }
        SessionList { sessions: sessions.into_values().collect() }
    }

    pub(crate) fn own_sessions(&self) -> Vec<SessionEntry> {
        self.sessions.open().values().map(|session| session.entry()).collect()
    }

    /// A session of this link, or a kept one of another; with the engine it lives in, if that is
    /// another's.
    pub(super) fn session(
        &self,
        id: SessionId,
    ) -> Result<(Option<Arc<Engine>>, Arc<Session>), CallError> {
        if let Some(session) = self.sessions.get(id) {
            return Ok((None, session));
        }
        let of = |engine: Arc<Engine>| {
            let session = engine.sessions.get(id).filter(|session| session.keep)?;
            Some((Some(engine), session))
        };
        let unknown =
            || CallError::new(Kind::HandleUnknown, format!("no session {id}")).at("params.session");
        self.commons.engines().into_iter().find_map(of).ok_or_else(unknown)
    }

    pub(super) fn named_session(&self, name: &str, node: &str) -> Option<SessionId> {
        self.commons.engines().iter().find_map(|engine| engine.sessions.named(name, node))
    }
}
