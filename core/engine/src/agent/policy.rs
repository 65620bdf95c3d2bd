//! What a node may ask of the agent. By default it may list keys, have something signed, and bind
//! sessions; it may not add, remove or lock anything. Keys can be limited, and a person asked.

use super::Rules;
use super::message::{
    EXTENSION, Purpose, REQUEST_IDENTITIES, SIGN_REQUEST, extension, identities, identities_of,
    purpose, sign_request,
};
use bssh_protocol::agent::Confirm;
use bssh_ssh::key_fingerprint;
use std::collections::HashSet;

/// What happens to a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    Refuse(&'static str),
    /// A person decides about this; `Some` may be remembered under this name.
    Ask {
        text: String,
        remember: Option<String>,
    },
}

/// Judges a request. `allowed` are keys a person has agreed to before.
pub(super) fn judge(
    rules: &Rules,
    request: &[u8],
    allowed: &HashSet<String>,
    node: &str,
) -> Verdict {
    match request.first() {
        Some(&REQUEST_IDENTITIES) => Verdict::Pass,
        Some(&SIGN_REQUEST) => sign(rules, request, allowed, node),
        Some(&EXTENSION) => match (rules.full, extension(request)) {
            (true, _) | (false, Some(b"session-bind@openssh.com" | b"query")) => Verdict::Pass,
            _ => Verdict::Refuse("an unknown extension"),
        },
        Some(_) if rules.full => Verdict::Pass,
        _ => Verdict::Refuse("it may only list keys and sign"),
    }
}

fn sign(rules: &Rules, request: &[u8], allowed: &HashSet<String>, node: &str) -> Verdict {
    let Some((key, data)) = sign_request(request) else {
        return Verdict::Refuse("a malformed request");
    };
    let fingerprint = key_fingerprint(key);
    if !is_listed(rules, &fingerprint) {
        return Verdict::Refuse("the key is not among those forwarded");
    }
    let purpose = purpose(data);
    let known = purpose != Purpose::Unknown;
    match rules.confirm {
        Confirm::Never => return Verdict::Pass,
        Confirm::First if known && allowed.contains(&fingerprint) => return Verdict::Pass,
        _ => {}
    }
    let what = match purpose {
        Purpose::Login { user, host_key: Some(key) } => {
            format!("log in as {user} to the server with host key {}", key_fingerprint(&key))
        }
        Purpose::Login { user, host_key: None } => format!("log in as {user}"),
        Purpose::Namespace(name) => format!("sign something in the namespace {name}"),
        Purpose::Unknown => "sign unknown data".to_owned(),
    };
    let text = format!("{node} wants to {what}, with your key {fingerprint}");
    Verdict::Ask { text, remember: known.then_some(fingerprint) }
}

/// The answer to a list request with only the keys that may be seen.
pub(super) fn visible(rules: &Rules, answer: &[u8]) -> Option<Vec<u8>> {
    if rules.keys.is_empty() {
        return None;
    }
    let mut keys = identities(answer)?;
    keys.retain(|(key, _)| is_listed(rules, &key_fingerprint(key)));
    Some(identities_of(&keys))
}

fn is_listed(rules: &Rules, fingerprint: &str) -> bool {
    rules.keys.is_empty() || rules.keys.iter().any(|k| k.trim_end_matches('=') == fingerprint)
}

#[cfg(test)]
mod tests {
    use super::super::message::put_string;
    use super::*;
    use bssh_protocol::agent::{AgentSettings, Policy};
    use std::sync::Arc;

    fn rules(policy: Policy, confirm: Confirm, keys: &[String]) -> Rules {
        let settings = AgentSettings { policy, confirm, keys: keys.to_vec(), ..Default::default() };
        Rules::new(Some(&settings), &Arc::default(), None, None)
    }

    fn sign(key: &[u8], data: &[u8]) -> Vec<u8> {
        let mut request = vec![SIGN_REQUEST];
        put_string(&mut request, key);
        put_string(&mut request, data);
        request.extend([0; 4]);
        request
    }

    #[test]
    fn requests_and_what_becomes_of_them() {
        let fingerprint = key_fingerprint(b"key");
        let allowed = HashSet::from([fingerprint.clone()]);
        let (none, git) = (HashSet::new(), b"SSHSIG\0\0\0\x03git\0\0\0\0");
        let (only, all) = (Policy::SignOnly, Policy::Full);
        let mut bind = vec![EXTENSION];
        put_string(&mut bind, b"session-bind@openssh.com");
        let mine = [fingerprint];
        let other = [key_fingerprint(b"other")];
        for (policy, confirm, keys, request, allowed, want) in [
            (only, Confirm::Never, &[][..], vec![11], &none, "pass"),
            (only, Confirm::Never, &[], sign(b"key", b"x"), &none, "pass"),
            (only, Confirm::Never, &[], bind, &none, "pass"),
            // Add, remove, remove all, lock, unlock, smartcard, SSH 1.
            (only, Confirm::Never, &[], vec![17], &none, "refuse"),
            (only, Confirm::Never, &[], vec![18], &none, "refuse"),
            (only, Confirm::Never, &[], vec![19], &none, "refuse"),
            (only, Confirm::Never, &[], vec![22], &none, "refuse"),
            (only, Confirm::Never, &[], vec![20], &none, "refuse"),
            (only, Confirm::Never, &[], vec![1], &none, "refuse"),
            (only, Confirm::Never, &[], vec![], &none, "refuse"),
            (all, Confirm::Never, &[], vec![19], &none, "pass"),
            (only, Confirm::Never, &mine, sign(b"key", b"x"), &none, "pass"),
            (only, Confirm::Never, &other, sign(b"key", b"x"), &none, "refuse"),
            (only, Confirm::First, &[], sign(b"key", git), &none, "ask"),
            (only, Confirm::First, &[], sign(b"key", git), &allowed, "pass"),
            (only, Confirm::First, &[], sign(b"key", b"x"), &allowed, "ask"),
            (only, Confirm::Always, &[], sign(b"key", git), &allowed, "ask"),
            (only, Confirm::Never, &[], vec![13, 0, 0, 0, 9], &none, "refuse"),
        ] {
            let got = judge(&rules(policy, confirm, keys), &request, allowed, "node");
            let got = match got {
                Verdict::Pass => "pass",
                Verdict::Refuse(_) => "refuse",
                Verdict::Ask { .. } => "ask",
            };
            assert_eq!(got, want, "{policy:?} {confirm:?} {request:?}");
        }
    }

    #[test]
    fn only_listed_keys_are_seen() {
        let answer = identities_of(&[(b"a", b"first"), (b"b", b"second")]);
        let rules = rules(Policy::SignOnly, Confirm::Never, &[key_fingerprint(b"b")]);
        assert_eq!(visible(&rules, &answer).unwrap(), identities_of(&[(b"b", b"second")]));
    }
}
