//! `bssh ping`: one line on stdout for each node that let us in, with the time it took.

use super::{Nodes, Piece, Screen, To, View};
use bssh_protocol::exec::{Connected, ExecNode, NodeState};

/// Remembers how nodes were reached until they have ended.
pub(crate) struct Ping {
    connected: Vec<Option<Connected>>,
}

impl Ping {
    pub(crate) fn new(nodes: &Nodes) -> Self {
        Ping { connected: vec![None; nodes.len()] }
    }
}

impl View for Ping {
    fn data(&mut self, _: Piece<'_>, _: &Nodes, _: &mut Screen) {}

    fn node(&mut self, event: &ExecNode, _: &Nodes, screen: &mut Screen) {
        let Some(slot) = self.connected.get_mut(event.index as usize) else { return };
        match &event.state {
            NodeState::Connected(connected) => *slot = Some(connected.clone()),
            NodeState::Ended(ended) if ended.is_ok() => {
                let how = slot.take().unwrap_or_default();
                let line = format!("{}: ok, {}\n", event.node, describe(&how));
                screen.to(To::Out).extend_from_slice(line.as_bytes());
            }
            _ => {}
        }
    }
}

/// `root@10.0.0.1:22 by publickey in 12 ms`, as far as it is known.
pub(crate) fn describe(how: &Connected) -> String {
    let at = match (&*how.user, &*how.address) {
        ("", address) => address.to_owned(),
        (user, address) => format!("{user}@{address}"),
    };
    let auth = if how.auth.is_empty() { String::new() } else { format!(" by {}", how.auth) };
    let reused = if how.reused { " (connection was open)" } else { "" };
    let through = match how.gateway.as_str() {
        "" => String::new(),
        gateway => format!(" (through {gateway})"),
    };
    format!("{at}{auth} in {} ms{reused}{through}", how.connect_ms).trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_told() {
        let how = Connected {
            address: "10.0.0.1:22".into(),
            user: "root".into(),
            auth: "publickey".into(),
            connect_ms: 12,
            ..Connected::default()
        };
        assert_eq!(describe(&how), "root@10.0.0.1:22 by publickey in 12 ms");
        assert_eq!(describe(&Connected::default()), "in 0 ms");
    }
}
