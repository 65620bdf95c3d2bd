//! Names of algorithms as OpenSSH 9.2 knows them and the newer ones we have, its default lists, and
//! the `+ - ^` notation.
//!
//! What this build can really do is decided where connections are made; a list is valid here if
//! OpenSSH accepts it.

use super::patterns::{matches, matches_list};

/// One kind of algorithm: what may be named, and the default, in order of preference.
pub(super) struct Family {
    /// As in the error messages of ssh.
    pub what: &'static str,
    all: &'static [&'static str],
    default: &'static [&'static str],
    /// What we prefer to all of its default: in a list that starts from the default, too, but not
    /// shown by `-G`, which is OpenSSH's.
    newer: &'static [&'static str],
    /// May names be patterns?
    patterns: bool,
}

impl Family {
    /// The list `text` stands for.
    ///
    /// # Errors
    /// A name that is not known (names to remove need not be).
    pub(super) fn assemble(&self, text: &str) -> Result<Vec<String>, String> {
        let bad = || format!("bad {} '{text}'", self.what);
        let default = || self.newer.iter().chain(self.default).copied();
        let (sign, names) = split(text);
        if sign == "-" {
            let kept = default().filter(|name| !matches_list(name, names, false));
            return Ok(kept.map(str::to_owned).collect());
        }
        let mut listed = Vec::new();
        for name in names.split(',') {
            let known = |a: &&&str| if self.patterns { matches(a, name) } else { **a == name };
            let before = listed.len();
            listed.extend(self.all.iter().filter(known).copied());
            if before == listed.len() {
                return Err(bad());
            }
        }
        let ordered: Vec<&str> = match sign {
            "+" => default().chain(listed).collect(),
            "^" => listed.into_iter().chain(default()).collect(),
            _ => listed,
        };
        let mut once: Vec<String> = Vec::with_capacity(ordered.len());
        for name in ordered {
            if !once.iter().any(|n| n == name) {
                once.push(name.to_owned());
            }
        }
        Ok(once)
    }

    /// A list that was assembled from `text`, as `ssh -G` prints it.
    pub(super) fn shown(&self, text: &str, list: &[String]) -> String {
        let named = |name: &str| split(text).1.split(',').any(|n| n == name);
        let shown = list.iter().filter(|n| !self.newer.contains(&n.as_str()) || named(n));
        shown.map(String::as_str).collect::<Vec<_>>().join(",")
    }

    /// The default as `ssh -G` prints it.
    pub(super) fn default_text(&self) -> String {
        self.default.join(",")
    }
}

/// The sign in front of a list, if any, and its names.
fn split(text: &str) -> (&str, &str) {
    match text.split_at_checked(1) {
        Some((sign @ ("+" | "-" | "^"), names)) => (sign, names),
        _ => ("", text),
    }
}

pub(super) const CIPHERS: Family = Family {
    what: "SSH2 cipher spec",
    all: ALL_CIPHERS,
    default: DEFAULT_CIPHERS,
    newer: &[],
    patterns: false,
};

pub(super) const MACS: Family = Family {
    what: "SSH2 MAC spec",
    all: ALL_MACS,
    default: DEFAULT_MACS,
    newer: &[],
    patterns: false,
};

pub(super) const KEX: Family = Family {
    what: "SSH2 KexAlgorithms",
    all: ALL_KEX,
    default: DEFAULT_KEX,
    newer: &["mlkem768x25519-sha256"],
    patterns: false,
};

pub(super) const KEYS: Family =
    Family { what: "key types", all: ALL_KEYS, default: DEFAULT_KEYS, newer: &[], patterns: true };

pub(super) const SIGNATURES: Family = Family {
    what: "key types",
    all: ALL_SIGNATURES,
    default: DEFAULT_SIGNATURES,
    newer: &[],
    patterns: true,
};

const ALL_CIPHERS: &[&str] = &[
    "3des-cbc",
    "aes128-cbc",
    "aes192-cbc",
    "aes256-cbc",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
];

const DEFAULT_CIPHERS: &[&str] = &[
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
];

const ALL_MACS: &[&str] = &[
    "hmac-sha1",
    "hmac-sha1-96",
    "hmac-sha2-256",
    "hmac-sha2-512",
    "hmac-md5",
    "hmac-md5-96",
    "umac-64@openssh.com",
    "umac-128@openssh.com",
    "hmac-sha1-etm@openssh.com",
    "hmac-sha1-96-etm@openssh.com",
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-md5-etm@openssh.com",
    "hmac-md5-96-etm@openssh.com",
    "umac-64-etm@openssh.com",
    "umac-128-etm@openssh.com",
];

const DEFAULT_MACS: &[&str] = &[
    "umac-64-etm@openssh.com",
    "umac-128-etm@openssh.com",
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha1-etm@openssh.com",
    "umac-64@openssh.com",
    "umac-128@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
    "hmac-sha1",
];

const ALL_KEX: &[&str] = &[
    "mlkem768x25519-sha256",
    "diffie-hellman-group1-sha1",
    "diffie-hellman-group14-sha1",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group-exchange-sha1",
    "diffie-hellman-group-exchange-sha256",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
];

const DEFAULT_KEX: &[&str] = &[
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group-exchange-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group14-sha256",
];

const ALL_KEYS: &[&str] = &[
    "ssh-ed25519",
    "ssh-ed25519-cert-v01@openssh.com",
    "sk-ssh-ed25519@openssh.com",
    "sk-ssh-ed25519-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-dss",
    "ssh-dss-cert-v01@openssh.com",
    "ssh-rsa",
    "ssh-rsa-cert-v01@openssh.com",
    "rsa-sha2-256",
    "rsa-sha2-256-cert-v01@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-512-cert-v01@openssh.com",
];

const DEFAULT_KEYS: &[&str] = &[
    "ssh-ed25519-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "sk-ssh-ed25519-cert-v01@openssh.com",
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "rsa-sha2-512-cert-v01@openssh.com",
    "rsa-sha2-256-cert-v01@openssh.com",
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
];

const ALL_SIGNATURES: &[&str] = &[
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-dss",
    "ssh-rsa",
    "rsa-sha2-256",
    "rsa-sha2-512",
];

const DEFAULT_SIGNATURES: &[&str] = &[
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
];

#[cfg(test)]
mod tests {
    use super::{CIPHERS, KEX, KEYS};

    #[test]
    fn lists() {
        let list = |text| CIPHERS.assemble(text).map(|l| l.join(","));
        let default = CIPHERS.default_text();
        assert_eq!(list("aes256-ctr,aes128-ctr").unwrap(), "aes256-ctr,aes128-ctr");
        assert_eq!(list("+aes128-cbc").unwrap(), format!("{default},aes128-cbc"));
        assert_eq!(list("+aes128-ctr").unwrap(), default);
        assert!(list("^aes128-cbc").unwrap().starts_with("aes128-cbc,chacha20"));
        assert!(!list("-chacha*,rot13").unwrap().contains("chacha"));
        assert!(list("rot13").is_err() && list("").is_err() && list("aes*").is_err());
        assert_eq!(KEYS.assemble("ecdsa-sha2-nistp*-cert*").unwrap().len(), 3);
    }

    #[test]
    fn what_is_newer_than_openssh_is_used_and_only_shown_if_named() {
        let mlkem = "mlkem768x25519-sha256";
        for text in ["+diffie-hellman-group14-sha1", "-*group*", "^ecdh-sha2-nistp256"] {
            let list = KEX.assemble(text).unwrap();
            let first = usize::from(text.starts_with('^'));
            assert_eq!(list.iter().position(|n| n == mlkem), Some(first), "{text}");
            assert!(!KEX.shown(text, &list).contains(mlkem), "{text}");
        }
        let list = KEX.assemble(mlkem).unwrap();
        assert_eq!(KEX.shown(mlkem, &list), mlkem);
        assert!(!KEX.assemble("-mlkem*").unwrap().iter().any(|n| n == mlkem));
    }
}
