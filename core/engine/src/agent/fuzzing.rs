//! A door for `tests/fuzz`: messages of nodes and of the agent.

use super::Rules;
use super::message::{Inbox, identities, identities_of, purpose, sign_request};
use super::policy::{Verdict, judge, visible};
use bssh_protocol::agent::{AgentSettings, Confirm};
use std::collections::HashSet;
use std::sync::Arc;

/// Messages are the same however they are cut; none of them but a few gets through, and a list of
/// keys that was filtered is a list.
pub fn agent(piece: u8, bytes: &[u8]) {
    assert_eq!(messages(bytes, bytes.len()), messages(bytes, usize::from(piece)));
    let settings = AgentSettings {
        confirm: Confirm::First,
        keys: vec!["SHA256:x".to_owned()],
        ..AgentSettings::default()
    };
    let strict = Rules::new(Some(&settings), &Arc::default(), None, None);
    let open = Rules::new(None, &Arc::default(), None, None);
    for message in messages(bytes, bytes.len()).into_iter().chain([bytes.to_vec()]) {
        if judge(&open, &message, &HashSet::new(), "node") == Verdict::Pass {
            assert!(matches!(message.first(), Some(11 | 13 | 27)), "{message:?}");
        }
        if let Verdict::Ask { text, .. } = judge(&strict, &message, &HashSet::new(), "node") {
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
        if let Some(shown) = visible(&strict, &message) {
            assert_eq!(identities(&shown).map(|keys| keys.len()), Some(0));
        }
        if let Some(keys) = identities(&message) {
            assert_eq!(identities(&identities_of(&keys)), Some(keys));
        }
        if let Some((_, data)) = sign_request(&message) {
            let _ = purpose(data);
        }
    }
}

fn messages(bytes: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let mut inbox = Inbox::new(4096);
    let mut all = Vec::new();
    for part in bytes.chunks(piece.max(1)) {
        inbox.push(part);
        loop {
            match inbox.next() {
                Ok(Some(message)) => all.push(message.to_vec()),
                Ok(None) => break,
                Err(_) => return all,
            }
        }
    }
    all
}
