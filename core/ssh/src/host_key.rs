//! Is this host key to be trusted? known_hosts, certificates, policy, learning (ssh_config(5),
//! `StrictHostKeyChecking`), with the verdicts of OpenSSH 9.2.
//!
//! Order of things: revoked keys, loopback exemption, a certificate by a known authority, the
//! plain key, the same without the port, policy. Files are `known_hosts`' business.

use crate::ask::{Ask, HostKeyAnswer, HostKeyQuestion, Note, NoteLevel};
use crate::error::{Error, ErrorKind, Phase};
use crate::handler::fingerprint;
use crate::known_hosts::{self, Change, Entry, Marker};
use crate::plan::{HostKeyPolicy, HostKeyRules, UpdateKeys};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey, PublicKeyOrCertificate};
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

/// The key or certificate a server proved to have.
pub struct Presented {
    /// e.g. `ssh-ed25519`; of a certificate, its key's.
    pub(crate) key_type: String,
    /// `SHA256:…`
    pub(crate) fingerprint: String,
    blob: Vec<u8>,
    public: PublicKey,
    certificate: Option<Box<Certificate>>,
}

impl From<&PublicKeyOrCertificate> for Presented {
    fn from(key: &PublicKeyOrCertificate) -> Self {
        let public = key.public_key();
        Presented {
            key_type: public.algorithm().as_str().to_owned(),
            fingerprint: fingerprint(&public),
            // A key that was decoded can be encoded; an empty one is known nowhere.
            blob: public.to_bytes().unwrap_or_default(),
            certificate: key.certificate().cloned().map(Box::new),
            public,
        }
    }
}

/// A trusted key. The default trusts nothing.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// e.g. `ssh-ed25519`.
    pub key_type: String,
    /// `SHA256:…`
    pub fingerprint: String,
    /// False if another key is known and policy let this one through: no password is sent, no
    /// agent or port forwarded.
    pub trusted: bool,
    /// The user's own file vouches for it: further keys may be learned (`UpdateHostKeys`).
    pub updatable: bool,
}

/// What the files say about a plain key.
enum Status {
    Known { own: bool, at: String },
    Changed { at: String },
    Revoked { at: String },
    New,
}

/// Decides about a host key, and files it if policy says so.
///
/// # Errors
/// Phase host key: unknown, changed, revoked, or a file that cannot be read.
pub async fn check(
    rules: &HostKeyRules,
    presented: &Presented,
    peer: Option<IpAddr>,
    ask: &dyn Ask,
) -> Result<Verdict, Error> {
    let name = rules.names.first().map(String::as_str).unwrap_or_default();
    ask.say(|| format!("Server host key: {} {}", presented.key_type, presented.fingerprint));
    refuse_revoked(rules, presented, name)?;
    if let Some(bits) = rsa_bits(presented.public.key_data())
        && bits < rules.min_rsa_bits
    {
        let text = format!(
            "the RSA host key of {name} has {bits} bits; RequiredRSASize is {}",
            rules.min_rsa_bits
        );
        return Err(error(ErrorKind::Unsupported(text)));
    }
    if rules.visual {
        let picture = picture(&presented.public);
        let text = format!("Host key fingerprint is {}\n{picture}", presented.fingerprint);
        note(ask, NoteLevel::Warning, text);
    }
    if rules.skip_loopback && !rules.alias && peer.is_some_and(|p| p.is_loopback()) {
        return Ok(presented.trusted(false));
    }
    let entries = entries(rules, name, presented).await?;
    if let Some(certificate) = &presented.certificate {
        let fallback = fallback_entries(rules, name)?;
        match check_certificate(certificate, (rules, name), [&entries, &fallback], presented) {
            Ok(true) => return Ok(presented.known((name, "certificate"), false, ask)),
            Ok(false) => {}
            // As ssh: say why, then look at its key alone.
            Err(Error { kind: ErrorKind::HostCertificate(why), .. }) => {
                let text = format!("host certificate of {name} not used: {why}");
                note(ask, NoteLevel::Warning, text);
            }
            Err(error) => return Err(error),
        }
    }
    warn_about_address(rules, presented, peer, ask)?;
    match status(&entries, presented) {
        Status::Known { own, at } => {
            Ok(presented.known((name, &at), own && rules.update != UpdateKeys::No, ask))
        }
        Status::Revoked { at } => Err(presented.revoked(name, at)),
        Status::Changed { at } => changed(rules, presented, name, at, ask),
        Status::New => {
            let fallback = fallback_entries(rules, name)?;
            match status(&fallback, presented) {
                Status::Known { at, .. } => Ok(presented.known((name, &at), false, ask)),
                Status::Revoked { at } => Err(presented.revoked(name, at)),
                _ => unknown(rules, presented, name, ask).await,
            }
        }
    }
}

/// Host key algorithms to ask for: those of known keys first, so that a known key is not taken
/// for a changed one; certificates if an authority is known. Empty: no preference.
pub async fn preferred_types(rules: &HostKeyRules) -> Vec<String> {
    let name = rules.names.first().map(String::as_str).unwrap_or_default();
    // What cannot be read is reported when the key is checked.
    let mut known = known_hosts::entries(rules, name).unwrap_or_default();
    if let Some(command) = &rules.command {
        let none = [('I', "ORDER"), ('H', name), ('f', "NONE"), ('K', "NONE"), ('t', "NONE")];
        if let Ok(file) = known_hosts::from_command(command, &none, rules.children.as_ref()).await {
            file.collect(&name.to_ascii_lowercase(), "KnownHostsCommand", false, &mut known);
        }
    }
    if known.iter().all(|e| e.marker == Marker::Revoked) {
        known.extend(fallback_entries(rules, name).unwrap_or_default());
    }
    let is_known =
        |key_type: &str| known.iter().any(|e| e.marker == Marker::None && e.key_type == key_type);
    let (first, last): (Vec<_>, Vec<_>) =
        ALGORITHMS.iter().partition(|(_, key_type)| is_known(key_type));
    let certified = known.iter().any(|e| e.marker == Marker::CertAuthority);
    if first.is_empty() && !certified {
        return Vec::new();
    }
    let certificates = ALGORITHMS.iter().filter(|_| certified);
    let plain = first.into_iter().chain(last).map(|(name, _)| (*name).to_owned());
    certificates.map(|(name, _)| certificate_name(name)).chain(plain).collect()
}

/// Signature algorithms and the key types they go with, most wanted first.
const ALGORITHMS: &[(&str, &str)] = &[
    ("ssh-ed25519", "ssh-ed25519"),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
    ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"),
    ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "ssh-rsa"),
    ("rsa-sha2-256", "ssh-rsa"),
];

fn certificate_name(algorithm: &str) -> String {
    format!("{algorithm}-cert-v01@openssh.com")
}

/// Learns the keys a server has proven to have beyond the one it used, and forgets those it has
/// no more (`UpdateHostKeys`). Entries written by hand are left alone.
pub(crate) async fn learn(rules: &HostKeyRules, keys: &[PublicKey], ask: &dyn Ask) {
    let (Some(file), Some(name)) = (rules.user_files.first(), rules.names.first()) else { return };
    if rules.update == UpdateKeys::Ask {
        let n_keys = keys.len();
        let text = format!("The server {name} has {n_keys} host keys. Accept updated hostkeys?");
        if !ask.confirm(text).await {
            return;
        }
    }
    let keys = encoded(keys);
    if let Err(error) = known_hosts::replace(file, name, &keys, rules.hash).await {
        let text = format!("cannot update the host keys of {name} in {}: {error}", file.display());
        note(ask, NoteLevel::Warning, text);
    }
}

/// Whether `HostKeyAlgorithms` (empty: all) has a use for this key.
pub(crate) fn is_wanted(algorithms: &[String], key: &PublicKey) -> bool {
    let rsa = key.key_data().is_rsa();
    let is_it = |n: &String| n == key.algorithm().as_str() || rsa && n.starts_with("rsa-sha2-");
    algorithms.is_empty() || algorithms.iter().any(is_it)
}

/// Announced keys that are worth proving; `None` if the files need no change or may not have one.
pub(crate) fn to_learn(rules: &HostKeyRules, announced: &[PublicKey]) -> Option<Vec<PublicKey>> {
    let (file, name) = (rules.user_files.first()?, rules.names.first()?);
    if rules.update == UpdateKeys::No || announced.is_empty() {
        return None;
    }
    let known = known_hosts::entries(rules, name).ok()?;
    let keys = encoded(announced);
    let nothing_new = keys.iter().all(|(_, blob)| known.iter().any(|e| e.blob == *blob));
    let nothing_old = known.iter().all(|e| keys.iter().any(|(_, blob)| *blob == e.blob));
    let own = known.iter().all(|e| e.own && e.marker == Marker::None);
    let by_hand = known_hosts::is_by_hand(file, name);
    let elsewhere = keys.iter().any(|(_, blob)| known_hosts::is_elsewhere(rules, name, blob));
    let leave = !own || by_hand || elsewhere || (nothing_new && nothing_old);
    (!leave).then(|| announced.to_vec())
}

fn encoded(keys: &[PublicKey]) -> Vec<(String, Vec<u8>)> {
    let one = |k: &PublicKey| Some((k.algorithm().as_str().to_owned(), k.to_bytes().ok()?));
    keys.iter().filter_map(one).collect()
}

/// The length of an RSA key.
pub(crate) fn rsa_bits(key: &KeyData) -> Option<u32> {
    let modulus = key.rsa()?.n().as_positive_bytes()?;
    let leading = modulus.first().map_or(0, |byte| byte.leading_zeros());
    u32::try_from(modulus.len() * 8).ok()?.checked_sub(leading)
}

fn picture(key: &PublicKey) -> String {
    let label = label(key.algorithm().as_str()).to_owned();
    let label = rsa_bits(key.key_data()).map_or(label.clone(), |bits| format!("{label} {bits}"));
    key.fingerprint(HashAlg::Sha256).to_randomart(&format!("[{label}]"))
}

/// `ED25519`, as ssh calls it.
fn label(key_type: &str) -> &str {
    match key_type {
        "ssh-ed25519" => "ED25519",
        "ssh-rsa" => "RSA",
        t if t.starts_with("ecdsa-sha2-") => "ECDSA",
        "sk-ssh-ed25519@openssh.com" => "ED25519-SK",
        "sk-ecdsa-sha2-nistp256@openssh.com" => "ECDSA-SK",
        other => other,
    }
}

impl Presented {
    /// A key or certificate that somebody else was shown, as [`HostKeyQuestion::blob`] has it.
    pub fn read(blob: &[u8]) -> Option<Presented> {
        let certificate = Certificate::from_bytes(blob).map(PublicKeyOrCertificate::Certificate);
        let key = || {
            let key = PublicKey::from_bytes(blob).ok()?;
            Some(PublicKeyOrCertificate::PublicKey { key, hash_alg: None })
        };
        certificate.ok().or_else(key).as_ref().map(Presented::from)
    }

    fn whole(&self) -> Vec<u8> {
        let certificate = self.certificate.as_ref().and_then(|c| c.to_bytes().ok());
        certificate.unwrap_or_else(|| self.blob.clone())
    }

    fn known(&self, (name, at): (&str, &str), updatable: bool, ask: &dyn Ask) -> Verdict {
        let label = self.label();
        ask.say(|| format!("Host '{name}' is known and matches the {label} host key ({at})."));
        self.trusted(updatable)
    }

    fn trusted(&self, updatable: bool) -> Verdict {
        let (key_type, fingerprint) = (self.key_type.clone(), self.fingerprint.clone());
        Verdict { key_type, fingerprint, trusted: true, updatable }
    }

    fn revoked(&self, name: &str, at: String) -> Error {
        let (host, fingerprint) = (name.to_owned(), self.fingerprint.clone());
        error(ErrorKind::HostKeyRevoked { host, fingerprint, revoked_at: at })
    }

    fn label(&self) -> &str {
        label(&self.key_type)
    }
}

async fn entries(rules: &HostKeyRules, name: &str, key: &Presented) -> Result<Vec<Entry>, Error> {
    let mut found = known_hosts::entries(rules, name)?;
    if let Some(command) = &rules.command {
        let blob = BASE64.encode(&key.blob);
        let tokens = [
            ('I', "HOSTNAME"),
            ('H', name),
            ('f', key.fingerprint.as_str()),
            ('K', blob.as_str()),
            ('t', key.key_type.as_str()),
        ];
        let file = known_hosts::from_command(command, &tokens, rules.children.as_ref()).await?;
        file.collect(&name.to_ascii_lowercase(), "KnownHostsCommand", false, &mut found);
    }
    Ok(found)
}

/// Entries for the further names, and for the name without its port: they may vouch for a key or
/// have it revoked, but another key there says nothing.
fn fallback_entries(rules: &HostKeyRules, name: &str) -> Result<Vec<Entry>, Error> {
    let mut names: Vec<&str> = rules.names.iter().skip(1).map(String::as_str).collect();
    if let Some((bare, _)) = name.strip_prefix('[').and_then(|n| n.split_once("]:"))
        && !rules.alias
        && !names.contains(&bare)
    {
        names.push(bare);
    }
    let mut found = Vec::new();
    for name in names {
        found.extend(known_hosts::entries(rules, name)?);
    }
    Ok(found)
}

fn status(entries: &[Entry], key: &Presented) -> Status {
    let same = |marker| entries.iter().find(|e| e.marker == marker && e.blob == key.blob);
    if let Some(entry) = same(Marker::Revoked) {
        return Status::Revoked { at: entry.place.clone() };
    }
    if let Some(entry) = same(Marker::None) {
        return Status::Known { own: entry.own, at: entry.place.clone() };
    }
    match entries.iter().rfind(|e| e.marker == Marker::None) {
        Some(other) => Status::Changed { at: other.place.clone() },
        None => Status::New,
    }
}

fn refuse_revoked(rules: &HostKeyRules, key: &Presented, name: &str) -> Result<(), Error> {
    let Some(path) = &rules.revoked else { return Ok(()) };
    let revoked = known_hosts::revoked_keys(path)?;
    let certified = |certificate: &Certificate| {
        let authority = authority(certificate).unwrap_or_default();
        revoked.has_key(&authority)
            || revoked.has_certificate(&authority, certificate.serial(), certificate.key_id())
    };
    match revoked.has_key(&key.blob) || key.certificate.as_deref().is_some_and(certified) {
        true => Err(key.revoked(name, path.display().to_string())),
        false => Ok(()),
    }
}

/// The blob of the key that signed a certificate.
fn authority(certificate: &Certificate) -> Option<Vec<u8>> {
    PublicKey::from(certificate.signature_key().clone()).to_bytes().ok()
}

/// Whether a known authority vouches for the certificate.
///
/// # Errors
/// Certificate: it does, but the certificate is not good for this host; or it is revoked.
fn check_certificate(
    certificate: &Certificate,
    (rules, name): (&HostKeyRules, &str),
    entries: [&Vec<Entry>; 2],
    key: &Presented,
) -> Result<bool, Error> {
    let authority = authority(certificate);
    let has = |e: &&Entry, marker| e.marker == marker && Some(&e.blob) == authority.as_ref();
    let mut all = entries.into_iter().flatten();
    let own = |e: &&Entry| e.marker == Marker::Revoked && e.blob == key.blob;
    if let Some(revoked) = all.clone().find(|e| has(e, Marker::Revoked) || own(e)) {
        return Err(key.revoked(name, revoked.place.clone()));
    }
    if !all.any(|e| has(&e, Marker::CertAuthority)) {
        return Ok(false);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let host = match name.strip_prefix('[').and_then(|n| n.split_once("]:")) {
        Some((bare, _)) => bare,
        None => name,
    };
    let principals = certificate.valid_principals();
    let algorithm = certificate.signature().algorithm();
    let signatures = &rules.ca_signatures;
    let allowed = match signatures.is_empty() {
        true => !matches!(algorithm, Algorithm::Rsa { hash: None } | Algorithm::Dsa),
        false => signatures.iter().any(|s| s == algorithm.as_str()),
    };
    let faults = [
        (!certificate.cert_type().is_host(), "it is not a host certificate"),
        (now < certificate.valid_after(), "it is not valid yet"),
        (now >= certificate.valid_before(), "it has expired"),
        (
            !principals.is_empty() && !principals.iter().any(|p| p.eq_ignore_ascii_case(host)),
            "the name is not a listed principal",
        ),
        (!certificate.critical_options().is_empty(), "it has unsupported critical options"),
        (!allowed, "its signature algorithm is not among CASignatureAlgorithms"),
        (certificate.verify_signature().is_err(), "its signature is wrong"),
    ];
    match faults.iter().find(|(wrong, _)| *wrong) {
        Some((_, why)) => Err(error(ErrorKind::HostCertificate((*why).to_owned()))),
        None => Ok(true),
    }
}

/// `CheckHostIP`: only a warning, the name decides.
fn warn_about_address(
    rules: &HostKeyRules,
    key: &Presented,
    peer: Option<IpAddr>,
    ask: &dyn Ask,
) -> Result<(), Error> {
    let Some(peer) = peer.filter(|_| rules.check_ip && !rules.alias) else { return Ok(()) };
    let name = rules.names.first().map(String::as_str).unwrap_or_default();
    let address = match name.strip_prefix('[').and_then(|n| n.split_once("]:")) {
        Some((_, port)) => format!("[{peer}]:{port}"),
        None => peer.to_string(),
    };
    if let Status::Changed { at } = status(&known_hosts::entries(rules, &address)?, key) {
        let text = format!(
            "Warning: the {} host key for '{name}' differs from the key for the IP address \
             '{address}' in {at}",
            key.label()
        );
        note(ask, NoteLevel::Warning, text);
    }
    Ok(())
}

fn changed(
    rules: &HostKeyRules,
    key: &Presented,
    name: &str,
    at: String,
    ask: &dyn Ask,
) -> Result<Verdict, Error> {
    let (host, fingerprint) = (name.to_owned(), key.fingerprint.clone());
    let key_type = key.label().to_owned();
    let kind = ErrorKind::HostKeyChanged { host, key_type, fingerprint, known_at: at };
    if rules.policy != HostKeyPolicy::No {
        return Err(error(kind));
    }
    note(ask, NoteLevel::Error, format!("WARNING: {kind}"));
    let text = "Password and keyboard-interactive authentication are disabled to avoid \
                man-in-the-middle attacks.";
    note(ask, NoteLevel::Error, text.to_owned());
    Ok(Verdict { trusted: false, ..key.trusted(false) })
}

async fn unknown(
    rules: &HostKeyRules,
    key: &Presented,
    name: &str,
    ask: &dyn Ask,
) -> Result<Verdict, Error> {
    let store = match rules.policy {
        HostKeyPolicy::No | HostKeyPolicy::AcceptNew => Some(true),
        HostKeyPolicy::Yes => None,
        HostKeyPolicy::Ask => {
            let question = HostKeyQuestion {
                host: name.to_owned(),
                key_type: key.key_type.clone(),
                fingerprint: key.fingerprint.clone(),
                blob: key.whole(),
                other_names: known_hosts::names_of(rules, &key.blob),
            };
            match ask.host_key(question).await {
                HostKeyAnswer::Accept { store } => Some(store),
                HostKeyAnswer::Reject => None,
            }
        }
    };
    let Some(store) = store else {
        let (host, fingerprint) = (name.to_owned(), key.fingerprint.clone());
        let key_type = key.label().to_owned();
        return Err(error(ErrorKind::HostKeyUnknown { host, key_type, fingerprint }));
    };
    match rules.user_files.first() {
        Some(file) if store => {
            let added = known_hosts::add(file, name, (&key.key_type, &key.blob), rules.hash).await;
            let text = match added {
                Ok(Change::Written) => format!(
                    "Warning: Permanently added '{name}' ({}) to the list of known hosts.",
                    key.label()
                ),
                Ok(Change::Nothing) => return Ok(key.trusted(false)),
                Ok(Change::OtherKey) => {
                    return changed(rules, key, name, file.display().to_string(), ask);
                }
                Err(why) => format!(
                    "Failed to add the host to the list of known hosts ({}): {why}",
                    file.display()
                ),
            };
            note(ask, NoteLevel::Warning, text);
            // Only a key that somebody has vouched for vouches for others.
            let vouched = rules.policy == HostKeyPolicy::Ask;
            Ok(key.trusted(vouched && rules.update != UpdateKeys::No))
        }
        _ => Ok(key.trusted(false)),
    }
}

fn note(ask: &dyn Ask, level: NoteLevel, text: String) {
    ask.note(Note { level, text });
}

fn error(kind: ErrorKind) -> Error {
    Error::new(Phase::HostKey, kind)
}
