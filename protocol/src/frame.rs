//! Bytes on the wire to frames and back. No I/O: the reader fills [`Decoder::buffer`] and asks
//! for frames; the writer appends what the `encode` functions make.
//!
//! A frame is `Content-Length: N`, a blank line and N bytes: one JSON object (first byte `{`) or
//! raw stream bytes (first byte 0xB1, see [`encode_data_head`]). What is neither is reported as
//! [`Frame::Bad`] and skipped; the decoder then looks for the next `Content-Length:`, so garbage
//! never ends a link. If the first byte ever is `{`, the peer speaks one JSON object per line.
//!
//! Limits: headers 4 KiB; JSON bodies [`Limits::max_frame`] (larger ones are skipped without being
//! held); data payloads [`MAX_DATA_CEILING`].

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Largest header block, in bytes.
pub const MAX_HEADER: usize = 4096;
/// Default for the largest JSON body, in bytes.
pub const MAX_FRAME: u64 = 16 << 20;
/// Default for the largest data payload we send, in bytes.
pub const MAX_DATA: u64 = 64 << 10;
/// The largest data payload anyone may send, in bytes.
pub const MAX_DATA_CEILING: u64 = 1 << 20;

/// First byte of a data frame: it cannot open UTF-8 text.
const DATA_MARK: u8 = 0xB1;
/// Mark, kind, two reserved bytes, stream (u32), offset (u64), all big-endian.
const DATA_HEAD: usize = 16;
/// A length beyond this is no length but garbage.
const ABSURD: u64 = 1 << 32;
/// How much of an oversized body is looked at for the request's id.
const PREFIX: usize = 4096;
/// Payloads below this are copied out, so that a few bytes do not keep a whole read buffer alive.
const COPY_BELOW: usize = 4096;
const LENGTH: &[u8] = b"content-length:";

/// One unit of the conversation.
#[derive(Clone, PartialEq, Eq)]
pub enum Frame {
    /// The text of one JSON object; not checked beyond its first byte.
    Json(Bytes),
    /// Raw bytes of a stream.
    Data { stream: u32, offset: u64, payload: Bytes },
    /// Something unreadable that was skipped.
    Bad(Bad),
}

/// Why something was skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    pub why: Why,
    /// The JSON text of the request's id, if it could be seen.
    pub id: Option<String>,
}

/// What was wrong with a skipped frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Bytes between frames that are no header.
    Garbage,
    /// A JSON-RPC batch.
    Batch,
    /// A body that is neither a JSON object nor a data frame.
    NotAMessage,
    /// A body above the limit.
    TooLarge,
}

impl Why {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Why::Garbage => "bytes that are not a frame were skipped",
            Why::Batch => "batches are not supported: send one message per frame",
            Why::NotAMessage => "the body is neither a JSON object nor a data frame",
            Why::TooLarge => "the frame is larger than limits.maxFrame",
        }
    }
}

/// Method and size only: bodies may hold secrets.
impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Frame::Json(body) => write!(f, "Json({} bytes)", body.len()),
            Frame::Data { stream, offset, payload } => {
                write!(f, "Data(stream {stream}, offset {offset}, {} bytes)", payload.len())
            }
            Frame::Bad(bad) => write!(f, "Bad({:?})", bad.why),
        }
    }
}

/// How frames are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// `Content-Length` headers.
    #[default]
    Length,
    /// One JSON object per line.
    Lines,
}

/// What a decoder accepts.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest JSON body, in bytes.
    pub max_frame: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_frame: MAX_FRAME }
    }
}

/// Bytes in, frames out.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    limits: Limits,
    state: State,
    /// None until the first byte decides.
    mode: Option<Mode>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    Body(usize),
    /// Dropping the rest of a body that was already reported.
    Skip(u64),
    /// Dropping the rest of a line that was already reported.
    SkipLine,
    /// Looking for the next `Content-Length:`; what is skipped was already reported.
    Resync,
}

enum Head {
    Partial,
    /// Length of the head, length of the body.
    Complete(usize, u64),
    Garbage,
}

impl Decoder {
    /// A decoder at the start of a link.
    pub fn new(limits: Limits) -> Self {
        Decoder { limits, ..Decoder::default() }
    }

    /// Where the next bytes read belong, with room for a good-sized read.
    pub fn buffer(&mut self) -> &mut BytesMut {
        // There is no room for what will be skipped.
        let most = self.limits.max_frame.max(MAX_DATA_CEILING + DATA_HEAD as u64);
        let missing = match self.state {
            State::Body(n) if n as u64 <= most => n.saturating_sub(self.buffer.len()),
            _ => 0,
        };
        if self.buffer.capacity() - self.buffer.len() < missing.max(16 << 10) {
            self.buffer.reserve(missing.max(128 << 10));
        }
        &mut self.buffer
    }

    /// Adds bytes (tests; readers use [`Decoder::buffer`]).
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// How the peer separates frames; `Length` as long as nothing was read.
    pub fn mode(&self) -> Mode {
        self.mode.unwrap_or_default()
    }

    /// The next complete frame, or None until more bytes have come.
    pub fn next_frame(&mut self) -> Option<Frame> {
        let mode = match self.mode {
            Some(mode) => mode,
            None => {
                let first = self.buffer.first()?;
                let mode = if *first == b'{' { Mode::Lines } else { Mode::Length };
                *self.mode.insert(mode)
            }
        };
        loop {
            let step = match (&self.state, mode) {
                (State::Skip(left), _) => self.skip(*left),
                (State::SkipLine, _) => self.skip_line(),
                (State::Resync, _) => self.resync(),
                (State::Body(n), _) => return self.body(*n),
                (State::Head, Mode::Lines) => return self.line(),
                (State::Head, Mode::Length) => match self.head() {
                    Head::Partial => Step::Wait,
                    Head::Garbage => {
                        self.buffer.advance(1);
                        self.state = State::Resync;
                        Step::Found(bad(Why::Garbage, None))
                    }
                    Head::Complete(head, body) => {
                        self.buffer.advance(head);
                        self.state = State::Body(usize::try_from(body).unwrap_or(usize::MAX));
                        Step::Again
                    }
                },
            };
            match step {
                Step::Again => {}
                Step::Wait => return None,
                Step::Found(frame) => return Some(frame),
            }
        }
    }

    fn head(&mut self) -> Head {
        let blank =
            self.buffer.iter().take_while(|b| matches!(b, b'\r' | b'\n' | b' ' | b'\t')).count();
        self.buffer.advance(blank);
        let mut length = None;
        let mut at = 0;
        loop {
            let rest = self.buffer.get(at..).unwrap_or_default();
            let Some(end) = memchr::memchr(b'\n', rest) else {
                let long = self.buffer.len() > MAX_HEADER;
                return if long { Head::Garbage } else { Head::Partial };
            };
            at += end + 1;
            if at > MAX_HEADER {
                return Head::Garbage;
            }
            match (header(rest.get(..end).unwrap_or_default()), length) {
                (Header::Blank, Some(n)) => return Head::Complete(at, n),
                (Header::Blank, None) | (Header::Garbage, _) => return Head::Garbage,
                (Header::Length(n), _) => length = Some(n),
                (Header::Other, _) => {}
            }
        }
    }

    fn body(&mut self, n: usize) -> Option<Frame> {
        let first = if n == 0 { b'\0' } else { *self.buffer.first()? };
        let limit = match first {
            b'{' => self.limits.max_frame,
            DATA_MARK => MAX_DATA_CEILING + DATA_HEAD as u64,
            _ => 0,
        };
        if n as u64 <= limit {
            if self.buffer.len() < n {
                return None;
            }
            self.state = State::Head;
            let body = self.buffer.split_to(n);
            return Some(if first == b'{' { Frame::Json(body.freeze()) } else { data(body) });
        }
        let why = match first {
            b'{' | DATA_MARK => Why::TooLarge,
            b'[' => Why::Batch,
            _ => Why::NotAMessage,
        };
        if first == b'{' && self.buffer.len() < n.min(PREFIX) {
            return None;
        }
        let id = self.buffer.get(..n.min(PREFIX)).filter(|_| first == b'{').and_then(visible_id);
        self.state = State::Skip(n as u64);
        Some(bad(why, id))
    }

    fn line(&mut self) -> Option<Frame> {
        loop {
            let end = memchr::memchr(b'\n', &self.buffer);
            let n = end.unwrap_or(self.buffer.len());
            if n as u64 > self.limits.max_frame {
                let seen = PREFIX.min(usize::try_from(self.limits.max_frame).unwrap_or(PREFIX));
                let id = self.buffer.get(..seen).and_then(visible_id);
                self.state = State::SkipLine;
                self.skip_line();
                return Some(bad(Why::TooLarge, id));
            }
            let line = self.buffer.split_to(end? + 1).freeze();
            let line = line.slice_ref(line.trim_ascii());
            match line.first() {
                None => {}
                Some(b'{') => return Some(Frame::Json(line)),
                Some(b'[') => return Some(bad(Why::Batch, None)),
                Some(_) => return Some(bad(Why::NotAMessage, None)),
            }
        }
    }

    fn skip(&mut self, left: u64) -> Step {
        let n = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.buffer.advance(n);
        let left = left - n as u64;
        self.state = if left == 0 { State::Head } else { State::Skip(left) };
        if left == 0 { Step::Again } else { Step::Wait }
    }

    fn skip_line(&mut self) -> Step {
        match memchr::memchr(b'\n', &self.buffer) {
            Some(end) => {
                self.buffer.advance(end + 1);
                self.state = State::Head;
                Step::Again
            }
            None => {
                self.buffer.clear();
                Step::Wait
            }
        }
    }

    fn resync(&mut self) -> Step {
        let found = self.buffer.windows(LENGTH.len()).position(|w| w.eq_ignore_ascii_case(LENGTH));
        let keep = (LENGTH.len() - 1).min(self.buffer.len());
        self.buffer.advance(found.unwrap_or(self.buffer.len() - keep));
        if found.is_some() {
            self.state = State::Head;
            return Step::Again;
        }
        Step::Wait
    }
}

enum Step {
    Again,
    Wait,
    Found(Frame),
}

enum Header {
    Blank,
    Length(u64),
    Other,
    Garbage,
}

fn header(line: &[u8]) -> Header {
    let line = line.trim_ascii_end();
    if line.is_empty() {
        return Header::Blank;
    }
    let Some(colon) = memchr::memchr(b':', line) else { return Header::Garbage };
    let (name, value) = line.split_at(colon);
    if name.eq_ignore_ascii_case(LENGTH.strip_suffix(b":").unwrap_or(LENGTH)) {
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        return std::str::from_utf8(value)
            .ok()
            .filter(|_| digits)
            .and_then(|text| text.parse().ok())
            .filter(|n| *n <= ABSURD)
            .map_or(Header::Garbage, Header::Length);
    }
    let token = !name.is_empty()
        && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if token { Header::Other } else { Header::Garbage }
}

fn data(mut body: BytesMut) -> Frame {
    if body.len() < DATA_HEAD {
        return bad(Why::NotAMessage, None);
    }
    let mut head = body.split_to(DATA_HEAD);
    let kind = head.get_u16();
    head.advance(2);
    let (stream, offset) = (head.get_u32(), head.get_u64());
    if kind != u16::from(DATA_MARK) << 8 {
        return bad(Why::NotAMessage, None);
    }
    let payload =
        if body.len() < COPY_BELOW { Bytes::copy_from_slice(&body) } else { body.freeze() };
    Frame::Data { stream, offset, payload }
}

fn bad(why: Why, id: Option<String>) -> Frame {
    Frame::Bad(Bad { why, id })
}

/// The value of the top-level `id` in the opening of a JSON object, if it is a number or a
/// string without escapes.
fn visible_id(prefix: &[u8]) -> Option<String> {
    let (mut depth, mut at) = (0_u32, 0);
    loop {
        match *prefix.get(at)? {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b'"' => {
                let end = string_end(prefix, at)?;
                let is_id = depth == 1 && prefix.get(at..end)? == b"\"id\"";
                let rest = prefix.get(end..)?.trim_ascii_start();
                if let (true, Some(value)) = (is_id, rest.strip_prefix(b":")) {
                    return id_text(value.trim_ascii_start());
                }
                at = end - 1;
            }
            _ => {}
        }
        at += 1;
    }
}

fn id_text(value: &[u8]) -> Option<String> {
    let end = match value.first()? {
        b'"' => string_end(value, 0)?,
        _ => value.iter().position(|b| !b.is_ascii_digit())?,
    };
    let text = std::str::from_utf8(value.get(..end)?).ok()?;
    serde_json::from_str::<serde_json::Value>(text).ok().map(|_| text.to_owned())
}

/// The index behind the string that opens at `at`.
fn string_end(text: &[u8], at: usize) -> Option<usize> {
    let mut escaped = false;
    let length = text.get(at + 1..)?.iter().position(|b| {
        let end = *b == b'"' && !escaped;
        escaped = *b == b'\\' && !escaped;
        end
    })?;
    Some(at + 1 + length + 1)
}

/// Appends one JSON message.
pub fn encode_json(out: &mut BytesMut, mode: Mode, body: &[u8]) {
    match mode {
        Mode::Length => {
            encode_head(out, body.len());
            out.put_slice(body);
        }
        Mode::Lines => {
            out.put_slice(body);
            out.put_u8(b'\n');
        }
    }
}

/// Appends everything of a data frame but its payload of `length` bytes, which must follow.
pub fn encode_data_head(out: &mut BytesMut, stream: u32, offset: u64, length: usize) {
    encode_head(out, DATA_HEAD + length);
    out.put_slice(&[DATA_MARK, 0, 0, 0]);
    out.put_u32(stream);
    out.put_u64(offset);
}

fn encode_head(out: &mut BytesMut, length: usize) {
    use std::fmt::Write as _;
    out.reserve(64 + length.min(COPY_BELOW));
    // Writing to a growable buffer cannot fail.
    let _ = write!(out, "Content-Length: {length}\r\n\r\n");
}
