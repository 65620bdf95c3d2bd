//! Identity files: private keys, their public halves, their certificates.
//!
//! Files are parsed once for the whole process. A locked key shows its public half without being
//! opened; its passphrase is asked for once, however many connections want to sign with it.

use crate::ask::{Ask, Asked, Field, Note, NoteLevel, Prompt, PromptKind};
use crate::file_cache::{FileCache, is_missing};
use crate::locking::lock;
use russh::keys::{Certificate, PrivateKey, PublicKey, decode_secret_key};
use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Mutex as AsyncMutex;
use zeroize::Zeroizing;

/// An identity file as far as it can be read without a passphrase.
pub(crate) struct Identity {
    pub(crate) path: PathBuf,
    /// `None`: not to be known before the key is unlocked.
    pub(crate) public: Option<PublicKey>,
    secret: Secret,
}

enum Secret {
    Open(Arc<PrivateKey>),
    /// The text of the file.
    Locked(Zeroizing<String>),
    /// Only the public half is here; an agent may have the other one.
    Absent,
}

/// How often to ask, and whether to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking {
    pub(crate) prompts: u32,
    pub(crate) batch: bool,
}

static FILES: FileCache<Arc<Identity>> = FileCache::new();
static CERTIFICATES: FileCache<Certificate> = FileCache::new();
static UNLOCKED: Mutex<Option<HashMap<PathBuf, Arc<Slot>>>> = Mutex::new(None);

/// A locked key's place.
#[derive(Default)]
struct Slot {
    /// Held while it is being unlocked: others wait.
    unlocked: AsyncMutex<Unlocked>,
    /// Who is asked for the passphrase.
    asked: Asked,
}

/// What became of a locked key so far.
#[derive(Default)]
struct Unlocked {
    /// The file the key came from: another one is another question.
    from: Option<Arc<Identity>>,
    key: Option<Arc<PrivateKey>>,
    given_up: Option<Instant>,
}

/// After somebody declined, nobody is asked about the same key for that long.
const RESPITE: Duration = Duration::from_secs(30);

/// Reads an identity file. Whoever has no use for it is told why, at most with a remark.
pub(crate) fn load(path: &Path, named: bool, ask: &dyn Ask) -> Option<Arc<Identity>> {
    let remark = |level, text: String| ask.note(Note { level, text });
    let shown = path.display();
    match FILES.load(path, |bytes| parse(path, bytes).map(Arc::new)) {
        Ok(Some(identity)) => {
            if !matches!(identity.secret, Secret::Absent)
                && let Some(mode) = too_open(path)
            {
                let text = format!(
                    "Permissions {mode:04o} for '{shown}' are too open: this private key will be \
                     ignored."
                );
                remark(NoteLevel::Error, text);
                return None;
            }
            Some(Arc::clone(&identity))
        }
        Ok(None) => {
            // The key itself may be in an agent.
            if let Some(public) = public_sibling(path) {
                let path = path.to_owned();
                return Some(Arc::new(Identity {
                    path,
                    public: Some(public),
                    secret: Secret::Absent,
                }));
            }
            let level = if named { NoteLevel::Warning } else { NoteLevel::Verbose(1) };
            let text = format!(
                "Warning: Identity file {shown} not accessible: No such file or directory."
            );
            remark(level, text);
            None
        }
        Err(error) => {
            remark(NoteLevel::Error, format!("Load key \"{shown}\": {error}"));
            None
        }
    }
}

/// Reads a certificate, if there is one.
pub(crate) fn certificate(path: &Path, ask: &dyn Ask) -> Option<Arc<Certificate>> {
    let parse = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        Certificate::from_openssh(text.trim()).map_err(io::Error::other)
    };
    CERTIFICATES.load(path, parse).unwrap_or_else(|error| {
        let text = format!("Load certificate \"{}\": {error}", path.display());
        ask.note(Note { level: NoteLevel::Warning, text });
        None
    })
}

/// `path` with something behind it: `.pub`, `-cert.pub`.
pub(crate) fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

impl Identity {
    /// It could sign, perhaps after asking.
    pub(crate) fn has_secret(&self) -> bool {
        !matches!(self.secret, Secret::Absent)
    }

    /// The private key, asked for and unlocked if need be.
    ///
    /// # Errors
    /// Nobody gave the right passphrase, or nobody may be asked.
    pub(crate) async fn open(
        self: &Arc<Self>,
        asking: Asking,
        ask: &dyn Ask,
    ) -> Result<Arc<PrivateKey>, String> {
        let text = match &self.secret {
            Secret::Open(key) => return Ok(key.clone()),
            Secret::Absent => return Err("the private key is not there".to_owned()),
            Secret::Locked(text) => text,
        };
        let begun = Instant::now();
        let slot = {
            let mut slots = lock(&UNLOCKED);
            slots.get_or_insert_default().entry(self.path.clone()).or_default().clone()
        };
        let mut unlocked = tokio::select! {
            biased;
            unlocked = slot.unlocked.lock() => unlocked,
            // That one may never answer; we have a person of our own.
            () = slot.asked.another(ask.person()) => {
                let prompts = if asking.batch { 0 } else { asking.prompts };
                return self.unlock(text, prompts, ask).await.ok_or_else(not_known);
            }
        };
        if unlocked.from.as_ref().is_none_or(|from| !Arc::ptr_eq(from, self)) {
            *unlocked = Unlocked { from: Some(self.clone()), ..Unlocked::default() };
        }
        if let Some(key) = &unlocked.key {
            return Ok(key.clone());
        }
        let respite = |at: Instant| at > begun || at.elapsed() < RESPITE;
        if asking.batch || unlocked.given_up.is_some_and(respite) {
            return Err(not_known());
        }
        let _asking = slot.asked.now(ask.person());
        match self.unlock(text, asking.prompts, ask).await {
            Some(key) => Ok(unlocked.key.insert(key).clone()),
            None => {
                unlocked.given_up = Some(Instant::now());
                Err("no passphrase given, or a wrong one".to_owned())
            }
        }
    }

    async fn unlock(&self, text: &str, prompts: u32, ask: &dyn Ask) -> Option<Arc<PrivateKey>> {
        for attempt in 1..=prompts {
            let label = format!("Enter passphrase for key '{}': ", self.path.display());
            let answer = ask.prompt(Prompt {
                kind: PromptKind::Passphrase,
                title: self.path.display().to_string(),
                instructions: None,
                fields: vec![Field { label, echo: false }],
                attempt,
            });
            let passphrase = answer.await?.into_iter().next()?;
            if passphrase.is_empty() {
                return None;
            }
            let text = Zeroizing::new(text.to_owned());
            // Deriving the key takes a good part of a second.
            let opened = tokio::task::spawn_blocking(move || {
                decode_secret_key(&text, Some(&passphrase)).ok().map(Arc::new)
            });
            if let Ok(Some(key)) = opened.await {
                return Some(key);
            }
        }
        None
    }
}

fn not_known() -> String {
    "its passphrase is not known".to_owned()
}

fn parse(path: &Path, bytes: &[u8]) -> io::Result<Identity> {
    let path = path.to_owned();
    let text = std::str::from_utf8(bytes).map_err(|_| io::Error::other("invalid format"))?;
    if let Ok(public) = PublicKey::from_openssh(text.trim()) {
        return Ok(Identity { path, public: Some(public), secret: Secret::Absent });
    }
    // Shows its public half even when locked.
    let modern = PrivateKey::from_openssh(text).ok();
    if let Some(key) = modern.as_ref().filter(|k| k.is_encrypted()) {
        let public = Some(key.public_key().clone());
        return Ok(Identity { path, public, secret: Secret::Locked(text.to_owned().into()) });
    }
    match modern.map_or_else(|| decode_secret_key(text, None), Ok) {
        Ok(key) => {
            let public = Some(key.public_key().clone());
            Ok(Identity { path, public, secret: Secret::Open(Arc::new(key)) })
        }
        Err(_) if is_locked(text) => {
            let public = public_sibling(&path);
            Ok(Identity { path, public, secret: Secret::Locked(text.to_owned().into()) })
        }
        Err(error) => Err(io::Error::other(error.to_string())),
    }
}

/// Key files that say themselves that they are encrypted.
fn is_locked(text: &str) -> bool {
    ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED", "Encryption: aes"]
        .iter()
        .any(|mark| text.contains(mark))
}

fn public_sibling(path: &Path) -> Option<PublicKey> {
    let text = std::fs::read_to_string(sibling(path, ".pub")).ok()?;
    PublicKey::from_openssh(text.trim()).ok()
}

/// The mode of a private key of ours that others can read, as ssh checks it.
fn too_open(path: &Path) -> Option<u32> {
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if is_missing(&error) => return None,
        Err(_) => return None,
    };
    let ours = meta.uid() == rustix::process::getuid().as_raw();
    (ours && meta.mode() & 0o077 != 0).then_some(meta.mode() & 0o777)
}
