//! known_hosts files: which keys are filed for a name, and where (sshd(8), SSH_KNOWN_HOSTS).
//!
//! A file is split into lines once; keys are decoded only for lines that match. Lines that make
//! no sense are skipped, as ssh does; a file that exists and cannot be read is an error, because
//! it might revoke something. Policy is `host_key`'s business, writing is in `store`.

mod command;
mod pattern;
mod revoked;
mod store;

use crate::error::{Error, ErrorKind, Phase};
use crate::file_cache::FileCache;
use crate::plan::HostKeyRules;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub(crate) use command::from_command;
pub(crate) use revoked::Revoked;
pub(crate) use store::{Change, add, replace};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    None,
    CertAuthority,
    Revoked,
}

/// A key that is filed for the name that was looked up.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) marker: Marker,
    pub(crate) key_type: String,
    pub(crate) blob: Vec<u8>,
    /// `file:line`
    pub(crate) place: String,
    /// It stands in one of the user's own files.
    pub(crate) own: bool,
}

/// A known_hosts file, ready for looking up names.
#[derive(Default)]
pub(crate) struct KnownFile {
    lines: Vec<Line>,
    /// Lines by each plain name on them.
    exact: HashMap<Box<str>, Vec<usize>>,
    /// Lines with patterns or hashes: to be tried one by one.
    searched: Vec<usize>,
    newlines: usize,
    unfinished: bool,
}

struct Line {
    number: usize,
    marker: Marker,
    hosts: Hosts,
    key_type: Box<str>,
    /// Base64, not yet checked.
    key: Box<str>,
}

enum Hosts {
    Plain(Box<str>),
    Patterns(Box<str>),
    Hashed { salt: hmac::Key, hash: Vec<u8> },
}

static FILES: FileCache<KnownFile> = FileCache::new();
static REVOKED: FileCache<Revoked> = FileCache::new();

/// The keys filed for a name, user files before global ones.
///
/// # Errors
/// Phase host key: a file cannot be read.
pub(crate) fn entries(rules: &HostKeyRules, name: &str) -> Result<Vec<Entry>, Error> {
    let name = name.to_ascii_lowercase();
    let files = rules.user_files.iter().map(|f| (f, true));
    // A file that is named as both is the user's.
    let global = rules.global_files.iter().filter(|f| !rules.user_files.contains(f));
    let mut found = Vec::new();
    for (path, own) in files.chain(global.map(|f| (f, false))) {
        if let Some(file) = load(path)? {
            file.collect(&name, &path.display().to_string(), own, &mut found);
        }
    }
    Ok(found)
}

/// Other names the same key is filed under in the user's and the global files, at most a few.
pub(crate) fn names_of(rules: &HostKeyRules, blob: &[u8]) -> Vec<String> {
    const FEW: usize = 5;
    let key = BASE64.encode(blob);
    let files = rules.user_files.iter().chain(&rules.global_files);
    let mut names = Vec::new();
    for file in files.filter_map(|f| load(f).ok().flatten()) {
        let same = file.lines.iter().filter(|l| *l.key == *key && l.marker == Marker::None);
        names.extend(same.map(|line| match &line.hosts {
            Hosts::Plain(names) | Hosts::Patterns(names) => names.to_string(),
            Hosts::Hashed { .. } => "[hashed name]".to_owned(),
        }));
    }
    names.truncate(FEW);
    names
}

/// The entries of a name in a file are not for us to change.
pub(crate) fn is_by_hand(file: &Path, name: &str) -> bool {
    let known = load(file).ok().flatten();
    known.is_none_or(|f| f.is_by_hand(&name.to_ascii_lowercase()))
}

/// A key is also filed under a name that is not this one.
pub(crate) fn is_elsewhere(rules: &HostKeyRules, name: &str, blob: &[u8]) -> bool {
    let (key, name) = (BASE64.encode(blob), name.to_ascii_lowercase());
    rules
        .user_files
        .iter()
        .filter_map(|f| load(f).ok().flatten())
        .any(|file| file.lines.iter().any(|line| *line.key == *key && !line.hosts.matches(&name)))
}

/// The key blobs in a `RevokedHostKeys` file.
///
/// # Errors
/// Phase host key: it cannot be read or understood; either way nothing is trusted.
pub(crate) fn revoked_keys(path: &Path) -> Result<Arc<Revoked>, Error> {
    let missing = || Err(io::ErrorKind::NotFound.into());
    REVOKED
        .load(path, Revoked::parse)
        .and_then(|f| f.map_or_else(missing, Ok))
        .map_err(|e| unreadable(path, e))
}

impl KnownFile {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let mut file = KnownFile::default();
        file.extend(bytes);
        file
    }

    /// Goes on with what was appended to the file.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        for raw in bytes.split_inclusive(|b| *b == b'\n') {
            if let Some(line) = Line::parse(self.newlines + 1, raw) {
                self.insert(line);
            }
            self.unfinished = !raw.ends_with(b"\n");
            self.newlines += usize::from(!self.unfinished);
        }
    }

    fn insert(&mut self, line: Line) {
        let index = self.lines.len();
        match &line.hosts {
            Hosts::Plain(names) => {
                for name in names.split(',') {
                    let same = self.exact.entry(name.into()).or_default();
                    if same.last() != Some(&index) {
                        same.push(index);
                    }
                }
            }
            _ => self.searched.push(index),
        }
        self.lines.push(line);
    }

    /// Lines for a name (lower case) in the order of the file.
    fn find<'a>(&'a self, name: &str) -> Vec<&'a Line> {
        let exact = self.exact.get(name).map(Vec::as_slice).unwrap_or_default();
        let mut found: Vec<&Line> = exact.iter().filter_map(|i| self.lines.get(*i)).collect();
        let searched = self.searched.iter().filter_map(|i| self.lines.get(*i));
        found.extend(searched.filter(|line| line.hosts.matches(name)));
        found.sort_by_key(|line| line.number);
        found
    }

    /// Adds the entries for a name (lower case).
    pub(crate) fn collect(&self, name: &str, file: &str, own: bool, found: &mut Vec<Entry>) {
        found.extend(self.find(name).into_iter().filter_map(|line| {
            let place = format!("{file}:{}", line.number);
            let (marker, key_type) = (line.marker, line.key_type.to_string());
            Some(Entry { marker, key_type, blob: line.blob()?, place, own })
        }));
    }
}

impl Line {
    fn parse(number: usize, raw: &[u8]) -> Option<Self> {
        if raw.contains(&0) {
            return None;
        }
        let text = String::from_utf8_lossy(raw);
        let mut words = text.split([' ', '\t', '\r', '\n']).filter(|w| !w.is_empty());
        let first = words.next()?;
        let marker = match first {
            "@cert-authority" => Marker::CertAuthority,
            "@revoked" => Marker::Revoked,
            _ if first.starts_with(['#', '@']) => return None,
            _ => Marker::None,
        };
        let hosts = if marker == Marker::None { first } else { words.next()? };
        let hosts = Hosts::parse(hosts)?;
        let (key_type, key) = (words.next()?.into(), words.next()?.into());
        Some(Line { number, marker, hosts, key_type, key })
    }

    /// The key, if it is one of the declared type.
    fn blob(&self) -> Option<Vec<u8>> {
        decode_key(&self.key_type, &self.key)
    }
}

impl Hosts {
    fn parse(text: &str) -> Option<Self> {
        if let Some(hashed) = text.strip_prefix('|') {
            let (salt, hash) = hashed.strip_prefix("1|")?.split_once('|')?;
            let (salt, hash) = (BASE64.decode(salt).ok()?, BASE64.decode(hash).ok()?);
            return (salt.len() == store::SALT && hash.len() == store::SALT)
                .then(|| Hosts::Hashed { salt: store::salted(&salt), hash });
        }
        let names = text.to_ascii_lowercase().into();
        Some(match text.contains(['*', '?', '!']) {
            true => Hosts::Patterns(names),
            false => Hosts::Plain(names),
        })
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Hosts::Plain(names) => names.split(',').any(|n| n == name),
            Hosts::Patterns(list) => pattern::list_matches(list, name),
            Hosts::Hashed { salt, hash } => hmac::verify(salt, name.as_bytes(), hash).is_ok(),
        }
    }
}

fn load(path: &Path) -> Result<Option<Arc<KnownFile>>, Error> {
    FILES.load(path, |bytes| Ok(KnownFile::parse(bytes))).map_err(|e| unreadable(path, e))
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    let file = path.display().to_string();
    Error::new(Phase::HostKey, ErrorKind::HostKeyFile { file, source })
}

/// The first key on a line, whatever stands before it.
fn any_key(line: &str) -> Option<Vec<u8>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    if words.first()?.starts_with('#') {
        return None;
    }
    words.windows(2).find_map(|pair| match pair {
        [key_type, key] => decode_key(key_type, key),
        _ => None,
    })
}

fn decode_key(key_type: &str, key: &str) -> Option<Vec<u8>> {
    let blob = BASE64.decode(key).ok()?;
    let (length, rest) = blob.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    (rest.get(..length)? == key_type.as_bytes() && rest.len() > length).then_some(blob)
}
