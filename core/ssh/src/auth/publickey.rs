//! Public keys: which are offered, in which order, and who signs (RFC 4252 section 7).
//!
//! OpenSSH's order: keys of the agent that are configured, other keys of the agent, files; a
//! certificate before its key. A key is only unlocked once the server has accepted it. RSA signs
//! with SHA-2, and with SHA-1 only if `PubkeyAcceptedAlgorithms` names `ssh-rsa`.

use super::{Login, Person, Step};
use crate::agent::{self, AgentKey};
use crate::ask::Ask;
use crate::error::Error;
use crate::handler::fingerprint;
use crate::host_key::rsa_bits;
use crate::identity::{self, Asking, Identity};
use russh::client::{AuthResult, Handler};
use russh::keys::agent::AgentIdentity;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::Signature;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

/// A key or certificate to offer.
pub(super) struct Candidate {
    public: Public,
    source: Source,
    /// The file, or the agent's comment.
    label: String,
}

enum Public {
    Key(PublicKey),
    Certificate(Arc<Certificate>),
    /// Not known before the file is unlocked.
    Hidden,
}

#[derive(Clone)]
enum Source {
    File(Arc<Identity>),
    Agent { socket: PathBuf, blob: Vec<u8> },
}

/// What is offered so far, and the certificates that go before their keys.
struct Offers {
    certificates: Vec<(PathBuf, Arc<Certificate>)>,
    found: VecDeque<Candidate>,
}

impl Offers {
    fn add(&mut self, key: &KeyData, source: Source, label: String) {
        for (path, certificate) in self.certificates.iter().filter(|(_, c)| c.public_key() == key) {
            let label = path.display().to_string();
            let public = Public::Certificate(certificate.clone());
            self.found.push_back(Candidate { public, source: source.clone(), label });
        }
        let public = match key {
            KeyData::Certificate(c) => Public::Certificate(Arc::new((**c).clone())),
            key => Public::Key(PublicKey::from(key.clone())),
        };
        self.found.push_back(Candidate { public, source, label });
    }

    /// A key whose public half nobody has seen.
    fn add_hidden(&mut self, file: Arc<Identity>, label: String) {
        let (public, source) = (Public::Hidden, Source::File(file));
        self.found.push_back(Candidate { public, source, label });
    }
}

impl Source {
    /// For people, behind a key.
    fn shown(&self) -> &'static str {
        match self {
            Source::Agent { .. } => " agent",
            Source::File(_) => "",
        }
    }
}

impl Candidate {
    /// For people: where it is from, its kind and fingerprint.
    pub(super) fn shown(&self) -> String {
        let kind = self.public.describe().map_or_else(|| "locked".to_owned(), |(_, shown)| shown);
        format!("{} {kind}{}", self.label, self.source.shown())
    }
}

impl<H: Handler> Login<'_, H> {
    /// Everything there is to offer, in order.
    pub(super) async fn candidates(&self) -> VecDeque<Candidate> {
        let auth = &self.plan.auth;
        if !auth.methods.iter().any(|m| m == "publickey") {
            return VecDeque::new();
        }
        let mut files: Vec<Arc<Identity>> = auth
            .identities
            .iter()
            .filter_map(|path| identity::load(path, auth.identities_named, self.ask))
            .collect();
        let mut offers = Offers { certificates: self.certificates(), found: VecDeque::new() };
        let keys = self.agent_keys().await;
        let configured = |k: &AgentKey| {
            let bare = bare(&k.key);
            files.iter().position(|f| f.public.as_ref().is_some_and(|p| p.key_data() == bare))
        };
        let (ours, others): (Vec<_>, Vec<_>) = keys.iter().partition(|k| configured(k).is_some());
        let socket = auth.agent.clone().unwrap_or_default();
        let source = |k: &AgentKey| Source::Agent { socket: socket.clone(), blob: k.blob.clone() };
        for key in &ours {
            let file = configured(key).and_then(|i| files.get(i));
            let label = file.map_or_else(|| key.comment.clone(), |f| f.path.display().to_string());
            offers.add(&key.key, source(key), label);
        }
        for key in others.iter().filter(|_| !auth.identities_only) {
            offers.add(&key.key, source(key), key.comment.clone());
        }
        let in_agent = |f: &Identity| {
            let public = f.public.as_ref().map(PublicKey::key_data);
            keys.iter().any(|k| Some(&k.key) == public)
        };
        files.retain(|f| f.has_secret() && !in_agent(f));
        for file in files {
            let label = file.path.display().to_string();
            match file.public.as_ref().map(|p| p.key_data().clone()) {
                Some(key) => offers.add(&key, Source::File(file), label),
                None => offers.add_hidden(file, label),
            }
        }
        offers.found
    }

    /// Certificates: configured ones, then those beside the identity files.
    fn certificates(&self) -> Vec<(PathBuf, Arc<Certificate>)> {
        let auth = &self.plan.auth;
        let beside = auth.identities.iter().map(|path| identity::sibling(path, "-cert.pub"));
        let paths = auth.certificates.iter().cloned().chain(beside);
        let mut found: Vec<(PathBuf, Arc<Certificate>)> = Vec::new();
        // The public half of an identity may be a certificate itself.
        for path in auth.identities.iter().map(|path| identity::sibling(path, ".pub")) {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if text.contains("-cert-v01@") && Certificate::from_openssh(text.trim()).is_ok() {
                found.extend(identity::certificate(&path, self.ask).map(|c| (path, c)));
            }
        }
        for path in paths {
            if let Some(certificate) = identity::certificate(&path, self.ask)
                && !found.iter().any(|(_, c)| *c == certificate)
            {
                found.push((path, certificate));
            }
        }
        found
    }

    async fn agent_keys(&self) -> Arc<Vec<AgentKey>> {
        let Some(socket) = &self.plan.auth.agent else { return Arc::default() };
        match agent::keys(socket).await {
            Ok(keys) => keys,
            Err(why) => {
                self.say(|| format!("agent {}: {why}", socket.display()));
                Arc::default()
            }
        }
    }

    pub(super) async fn public_key(&mut self, candidate: &Candidate) -> Result<Step, Error> {
        let asking =
            Asking { prompts: self.plan.auth.password_prompts, batch: self.plan.auth.batch };
        let hidden;
        let public = match (&candidate.public, &candidate.source) {
            (Public::Hidden, Source::File(file)) => match file.open(asking, self.ask).await {
                Ok(key) => {
                    hidden = Public::Key(key.public_key().clone());
                    &hidden
                }
                Err(why) => return Ok(self.skip(&candidate.label, &why)),
            },
            (public, _) => public,
        };
        let Some((algorithm, shown)) = public.describe() else {
            return Ok(self.skip(&candidate.label, "its public half is not known"));
        };
        if public.rsa_bits().is_some_and(|bits| bits < self.plan.auth.min_rsa_bits) {
            return Ok(self.skip(&candidate.label, "it is shorter than RequiredRSASize"));
        }
        let rsa = matches!(algorithm, Algorithm::Rsa { .. });
        let hashes = if rsa { self.rsa_hashes().await } else { &[None] };
        let Some(hash) = hashes.iter().find(|hash| self.accepts(&algorithm, **hash, public)) else {
            return Ok(self.skip(&candidate.label, "no mutual signature algorithm"));
        };
        let hash = *hash;
        let what = format!("{} {shown}", candidate.label);
        self.say(|| format!("Offering public key: {what}{}", candidate.source.shown()));
        let session = self.handle.agent_session_binding();
        let bind = session.map(agent::session_bind);
        let host_key = session.filter(|_| self.hostbound).map(|s| s.host_key().to_vec());
        let source = &candidate.source;
        let mut signer =
            KeySigner { source, asking, ask: self.ask, what: &what, bind, host_key, bound: false };
        let mut answer = self.prove(public, hash, &mut signer).await;
        if matches!(answer, Ok(AuthResult::Failure { partial_success: false, .. })) && signer.bound
        {
            // It took the key and not the signature: perhaps it is not what it calls itself.
            (self.hostbound, signer.host_key) = (false, None);
            answer = self.prove(public, hash, &mut signer).await;
        }
        match answer {
            Ok(answer) => {
                let step = self.judge(Ok(answer), || format!("publickey {what}")).await?;
                if let (Step::In | Step::Partial, Source::File(file)) = (&step, &candidate.source) {
                    self.give_to_agent(file, asking, &what).await;
                }
                Ok(step)
            }
            Err(SignError::Gone) => self.judge(Err(russh::Error::SendError), String::new).await,
            Err(SignError::Failed(why)) => Ok(self.skip(&what, &why)),
        }
    }

    async fn prove(
        &mut self,
        public: &Public,
        hash: Option<HashAlg>,
        signer: &mut KeySigner<'_>,
    ) -> Result<AuthResult, SignError> {
        let user = &self.plan.user;
        match public {
            Public::Certificate(certificate) => {
                let certificate = Certificate::clone(certificate);
                self.handle.authenticate_certificate_with(user, certificate, hash, signer).await
            }
            Public::Key(key) => {
                self.handle.authenticate_publickey_with(user, key.clone(), hash, signer).await
            }
            Public::Hidden => Err(SignError::Failed("its public half is not known".to_owned())),
        }
    }

    fn skip(&mut self, what: &str, why: &str) -> Step {
        self.say(|| format!("Skipping {what}: {why}"));
        self.tried.push(format!("publickey {what}: {why}"));
        Step::Refused
    }

    /// `AddKeysToAgent`: a key that was just used, and is in a file only.
    async fn give_to_agent(&self, file: &Arc<Identity>, asking: Asking, what: &str) {
        let auth = &self.plan.auth;
        let (Some(add), Some(socket)) = (auth.add_to_agent, &auth.agent) else { return };
        let Ok(key) = file.open(asking, self.ask).await else { return };
        if add.ask && !self.ask.confirm(format!("Add key {what} to agent?")).await {
            return;
        }
        let lifetime = add.lifetime.and_then(|t| u32::try_from(t.as_secs()).ok());
        match agent::add(socket, &key, add.confirm, lifetime).await {
            Ok(()) => self.say(|| format!("identity added to agent: {what}")),
            Err(why) => self.say(|| format!("could not add identity to agent: {what}: {why}")),
        }
    }

    /// Hashes for an RSA signature, the best first, by what the server says it takes; it is asked
    /// once.
    async fn rsa_hashes(&mut self) -> &'static [Option<HashAlg>] {
        const SHA1: Option<HashAlg> = None;
        const SHA256: Option<HashAlg> = Some(HashAlg::Sha256);
        const SHA512: Option<HashAlg> = Some(HashAlg::Sha512);
        if let Some(known) = self.rsa {
            return known;
        }
        let hashes: &[_] = match self.handle.best_supported_rsa_hash().await {
            Ok(Some(SHA1)) => &[SHA1],
            Ok(Some(SHA256)) => &[SHA256, SHA1],
            // Every server that takes SHA-512 takes SHA-256, too.
            Ok(Some(_)) => &[SHA512, SHA256, SHA1],
            // As ssh: one that says nothing may be too old for others, if SHA-1 will do for us.
            Ok(None) | Err(_) => &[SHA1, SHA512, SHA256],
        };
        self.rsa.insert(hashes)
    }

    /// `PubkeyAcceptedAlgorithms`; without it anything but SHA-1.
    fn accepts(&self, algorithm: &Algorithm, hash: Option<HashAlg>, public: &Public) -> bool {
        let algorithm = match algorithm {
            Algorithm::Rsa { .. } => Algorithm::Rsa { hash },
            other => other.clone(),
        };
        let name = match public {
            Public::Certificate(_) => algorithm.to_certificate_type(),
            _ => algorithm.as_str().to_owned(),
        };
        let accepted = &self.plan.auth.accepted;
        match accepted.is_empty() {
            true => algorithm != Algorithm::Rsa { hash: None },
            false => accepted.contains(&name),
        }
    }
}

impl Public {
    fn rsa_bits(&self) -> Option<u32> {
        match self {
            Public::Key(key) => rsa_bits(key.key_data()),
            Public::Certificate(c) => rsa_bits(c.public_key()),
            Public::Hidden => None,
        }
    }

    /// The algorithm, and what ssh shows of a key.
    fn describe(&self) -> Option<(Algorithm, String)> {
        let (key, mark) = match self {
            Public::Key(key) => (key.clone(), ""),
            Public::Certificate(c) => (PublicKey::from(c.public_key().clone()), "-CERT"),
            Public::Hidden => return None,
        };
        let algorithm = key.algorithm();
        let name = match &algorithm {
            Algorithm::Ed25519 => "ED25519",
            Algorithm::Ecdsa { .. } => "ECDSA",
            Algorithm::Rsa { .. } => "RSA",
            Algorithm::SkEd25519 => "ED25519-SK",
            Algorithm::SkEcdsaSha2NistP256 => "ECDSA-SK",
            other => other.as_str(),
        };
        let shown = format!("{name}{mark} {}", fingerprint(&key));
        Some((algorithm, shown))
    }
}

/// The key of a certificate, or the key.
fn bare(key: &KeyData) -> &KeyData {
    match key {
        KeyData::Certificate(certificate) => certificate.public_key(),
        key => key,
    }
}

/// Signs for russh, once the server has accepted the key.
struct KeySigner<'a> {
    source: &'a Source,
    asking: Asking,
    ask: &'a Person<'a>,
    what: &'a str,
    /// What an agent is told first.
    bind: Option<Vec<u8>>,
    /// The server's key, if an agent's signature is to name it: [`hostbound`].
    host_key: Option<Vec<u8>>,
    /// A signature named it.
    bound: bool,
}

enum SignError {
    /// The session is over.
    Gone,
    Failed(String),
}

impl From<russh::SendError> for SignError {
    fn from(_: russh::SendError) -> Self {
        SignError::Gone
    }
}

impl russh::Signer for KeySigner<'_> {
    type Error = SignError;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        hash: Option<HashAlg>,
        mut data: Vec<u8>,
    ) -> Result<Vec<u8>, SignError> {
        self.ask.ask.say(|| format!("Server accepts key: {}", self.what));
        let signature = match self.source {
            Source::Agent { socket, blob } => {
                let flags = match hash {
                    Some(HashAlg::Sha256) => 2,
                    Some(_) => 4,
                    None => 0,
                };
                let named = self.host_key.as_ref().and_then(|key| hostbound(&data, key));
                self.bound = named.is_some();
                data = named.unwrap_or(data);
                let signing = agent::sign(socket, self.bind.as_deref(), blob, &data, flags);
                let signed = self.ask.waiting(signing).await;
                signed.map_err(|e| SignError::Failed(format!("agent: {e}")))?
            }
            Source::File(file) => {
                let key = file.open(self.asking, self.ask).await.map_err(SignError::Failed)?;
                sign(key.key_data(), hash, &data)
                    .ok_or_else(|| SignError::Failed("the key cannot sign".to_owned()))?
            }
        };
        agent::put_string(&mut data, &signature);
        Ok(data)
    }
}

/// `publickey` with the server's host key in what is signed (OpenSSH's PROTOCOL, section 3.1). An
/// agent lets a key with destinations (`ssh-add -h`) sign on a forwarded connection only then.
const HOSTBOUND: &[u8] = b"publickey-hostbound-v00@openssh.com";

/// OpenSSH from 8.9 on. It says so in EXT_INFO as well, which russh keeps to itself.
pub(super) fn knows_hostbound(software: &str) -> bool {
    let version = software.strip_prefix("OpenSSH_").and_then(|v| v.split_once('.'));
    let number = |digits: &str| {
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits.get(..end)?.parse::<u32>().ok()
    };
    version.is_some_and(|(major, minor)| (number(major), number(minor)) >= (Some(8), Some(9)))
}

/// The same request as [`HOSTBOUND`]; none if it is not one of `publickey`. russh sends whatever
/// follows the session's id.
fn hostbound(request: &[u8], host_key: &[u8]) -> Option<Vec<u8>> {
    let mut rest = request;
    let session = agent::take_string(&mut rest)?;
    let number = rest.split_off_first()?;
    let (user, service) = (agent::take_string(&mut rest)?, agent::take_string(&mut rest)?);
    if agent::take_string(&mut rest)? != b"publickey" {
        return None;
    }
    let mut bound = Vec::with_capacity(request.len() + HOSTBOUND.len() + host_key.len());
    agent::put_string(&mut bound, session);
    bound.push(*number);
    for part in [user, service, HOSTBOUND] {
        agent::put_string(&mut bound, part);
    }
    bound.extend_from_slice(rest);
    agent::put_string(&mut bound, host_key);
    Some(bound)
}

fn sign(key: &KeypairData, hash: Option<HashAlg>, data: &[u8]) -> Option<Vec<u8>> {
    let signature: Signature = match key {
        KeypairData::Rsa(rsa) => (rsa, hash).try_sign(data).ok()?,
        other => other.try_sign(data).ok()?,
    };
    signature.encode_vec().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openssh_takes_hostbound_signatures_since_8_9() {
        for (software, knows) in [
            ("OpenSSH_9.2p1", true),
            ("OpenSSH_8.9", true),
            ("OpenSSH_10.0", true),
            ("OpenSSH_8.8p1", false),
            ("OpenSSH_7.10", false),
            ("OpenSSH_for_Windows_9.5", false),
            ("OpenSSH_", false),
            ("dropbear_2022.83", false),
            ("", false),
        ] {
            assert_eq!(knows_hostbound(software), knows, "{software}");
        }
    }
}
