//! Messages of the agent protocol (draft-ietf-sshm-ssh-agent): framing, and what is in them as
//! far as the policy must know it. Pure: bytes in, values out.

use bytes::{Buf, Bytes, BytesMut};

pub(super) const FAILURE: u8 = 5;
pub(super) const SUCCESS: u8 = 6;
pub(super) const REQUEST_IDENTITIES: u8 = 11;
pub(super) const IDENTITIES_ANSWER: u8 = 12;
pub(super) const SIGN_REQUEST: u8 = 13;
pub(super) const SIGN_RESPONSE: u8 = 14;
pub(super) const EXTENSION: u8 = 27;

/// Bytes that become messages.
#[derive(Debug)]
pub(super) struct Inbox {
    bytes: BytesMut,
    /// The longest message, in bytes.
    most: usize,
}

/// A message longer than allowed, or an empty one.
#[derive(Debug)]
pub(super) struct Malformed;

impl Inbox {
    pub(super) fn new(most: usize) -> Inbox {
        Inbox { bytes: BytesMut::new(), most }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The next whole message, without its length.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Malformed> {
        let Some(head) = self.bytes.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*head) as usize;
        if length == 0 || length > self.most {
            return Err(Malformed);
        }
        if self.bytes.len() < 4 + length {
            return Ok(None);
        }
        self.bytes.advance(4);
        Ok(Some(self.bytes.split_to(length).freeze()))
    }
}

/// With its length in front, as it goes over the wire.
pub(super) fn framed(message: &[u8]) -> Bytes {
    let mut framed = Vec::with_capacity(message.len() + 4);
    put_string(&mut framed, message);
    framed.into()
}

/// Appends an SSH string, RFC 4251 section 5.
pub(super) fn put_string(to: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(bytes);
}

/// Takes an SSH string.
pub(super) fn take_string<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = from.split_first_chunk::<4>()?;
    let (string, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *from = rest;
    Some(string)
}

/// The key of a sign request, and what is to be signed.
pub(super) fn sign_request(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&SIGN_REQUEST, mut rest) = message.split_first()? else { return None };
    Some((take_string(&mut rest)?, take_string(&mut rest)?))
}

/// Keys and comments of an identities answer.
pub(super) fn identities(message: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let (&IDENTITIES_ANSWER, rest) = message.split_first()? else { return None };
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let mut keys = Vec::new();
    for _ in 0..u32::from_be_bytes(*count) {
        keys.push((take_string(&mut rest)?, take_string(&mut rest)?));
    }
    Some(keys)
}

/// The same answer with some of its keys.
pub(super) fn identities_of(keys: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut message = vec![IDENTITIES_ANSWER];
    message.extend_from_slice(&u32::try_from(keys.len()).unwrap_or(u32::MAX).to_be_bytes());
    for (key, comment) in keys {
        put_string(&mut message, key);
        put_string(&mut message, comment);
    }
    message
}

/// `session-bind@openssh.com` for a connection that is forwarded over.
pub(super) fn session_bind(binding: &bssh_ssh::Binding) -> Vec<u8> {
    let mut message = vec![EXTENSION];
    put_string(&mut message, b"session-bind@openssh.com");
    for part in [&binding.host_key, &binding.session_id, &binding.signature] {
        put_string(&mut message, part);
    }
    message.push(1);
    message
}

/// The name of an extension request.
pub(super) fn extension(message: &[u8]) -> Option<&[u8]> {
    let (&EXTENSION, mut rest) = message.split_first()? else { return None };
    take_string(&mut rest)
}

/// What a signature is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Logging in as this user, to the server with this host key if it is named.
    Login {
        user: String,
        host_key: Option<Vec<u8>>,
    },
    /// A signature over a file or a commit, in this namespace.
    Namespace(String),
    Unknown,
}

/// Reads what is to be signed (RFC 4252 section 7; PROTOCOL, PROTOCOL.sshsig of OpenSSH).
pub(super) fn purpose(data: &[u8]) -> Purpose {
    login(data).or_else(|| namespace(data)).unwrap_or(Purpose::Unknown)
}

fn login(mut data: &[u8]) -> Option<Purpose> {
    let _session = take_string(&mut data)?;
    let (&50, mut data) = data.split_first()? else { return None };
    let user = printable(take_string(&mut data)?);
    let _service = take_string(&mut data)?;
    let method = take_string(&mut data)?;
    let (&1, mut data) = data.split_first()? else { return None };
    let (_algorithm, _key) = (take_string(&mut data)?, take_string(&mut data)?);
    let host_key = match method {
        b"publickey" => None,
        b"publickey-hostbound-v00@openssh.com" => Some(take_string(&mut data)?.to_vec()),
        _ => return None,
    };
    data.is_empty().then_some(Purpose::Login { user, host_key })
}

fn namespace(data: &[u8]) -> Option<Purpose> {
    let mut rest = data.strip_prefix(b"SSHSIG")?;
    take_string(&mut rest).map(|name| Purpose::Namespace(printable(name)))
}

/// Text of others, made harmless for a question: nothing that moves the cursor, hides, turns the
/// direction of text, or ends the quotation.
pub(super) fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let shown = text.chars().filter(|c| !c.is_control() && !is_format(*c));
    shown.map(|c| if c == '"' { '\'' } else { c }).take(200).collect()
}

/// Characters that are not seen and change how others are.
fn is_format(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 256 * 1024;

    #[test]
    fn messages_arrive_whole_however_they_are_cut() {
        let wire = [framed(&[11]), framed(b"\x0dabc")].concat();
        for cut in 0..wire.len() {
            let (mut inbox, mut got) = (Inbox::new(MOST), Vec::new());
            for part in [&wire[..cut], &wire[cut..]] {
                inbox.push(part);
                while let Some(message) = inbox.next().unwrap() {
                    got.push(message);
                }
            }
            assert_eq!(got, [&b"\x0b"[..], b"\x0dabc"], "cut at {cut}");
        }
        for bad in [[0, 0, 0, 0], [0, 4, 0, 1]] {
            let mut inbox = Inbox::new(MOST);
            inbox.push(&bad);
            assert!(inbox.next().is_err());
        }
    }

    #[test]
    fn what_others_call_a_key_is_shown_harmless() {
        let text = "work\u{1b}[2J \"laptop\"\r\n\u{202e}gpj\u{200b}".as_bytes();
        assert_eq!(printable(text), "work[2J 'laptop'gpj");
        assert_eq!(printable(b"\xffkey"), "\u{fffd}key");
        assert_eq!(printable(&[b'x'; 5000]).len(), 200);
    }

    #[test]
    fn what_is_signed_is_understood() {
        let mut data = Vec::new();
        put_string(&mut data, b"session");
        data.push(50);
        for part in [&b"git"[..], b"ssh-connection", b"publickey-hostbound-v00@openssh.com"] {
            put_string(&mut data, part);
        }
        data.push(1);
        for part in [&b"ssh-ed25519"[..], b"key", b"host key"] {
            put_string(&mut data, part);
        }
        let host_key = Some(b"host key".to_vec());
        assert_eq!(purpose(&data), Purpose::Login { user: "git".to_owned(), host_key });
        data.push(0);
        assert_eq!(purpose(&data), Purpose::Unknown, "nothing may follow");
        let signature = b"SSHSIG\0\0\0\x03git\0\0\0\0";
        assert_eq!(purpose(signature), Purpose::Namespace("git".to_owned()));
        assert_eq!(purpose(b"anything"), Purpose::Unknown);
    }
}
