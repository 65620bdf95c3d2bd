//! The frame reader against everything a peer may send: well-formed input cut anywhere, garbage
//! before, between and after, sizes beyond the limits, and a seeded generator of all of it.
//! The same properties are fuzzed in `tests/fuzz`.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use bssh_protocol::frame::{self, Bad, Decoder, Frame, Limits, Mode, Why};
use bytes::{Bytes, BytesMut};

const SMALL: Limits = Limits { max_frame: 1000 };

fn json(text: &str) -> Vec<u8> {
    let mut out = BytesMut::new();
    frame::encode_json(&mut out, Mode::Length, text.as_bytes());
    out.to_vec()
}

fn data(stream: u32, offset: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    frame::encode_data_head(&mut out, stream, offset, payload.len());
    out.extend_from_slice(payload);
    out.to_vec()
}

/// Everything the decoder makes of the input, given in pieces of these sizes (the last repeats).
fn decode(input: &[u8], pieces: &[usize]) -> Vec<Frame> {
    let mut decoder = Decoder::new(SMALL);
    let (mut frames, mut rest, mut turn) = (Vec::new(), input, 0);
    while !rest.is_empty() {
        let size = pieces[turn.min(pieces.len() - 1)].clamp(1, rest.len());
        let (piece, behind) = rest.split_at(size);
        decoder.buffer();
        decoder.push(piece);
        while let Some(frame) = decoder.next_frame() {
            frames.push(frame);
        }
        (rest, turn) = (behind, turn + 1);
    }
    frames
}

fn whole(text: &str) -> Frame {
    Frame::Json(Bytes::copy_from_slice(text.as_bytes()))
}

fn bad(why: Why, id: Option<&str>) -> Frame {
    Frame::Bad(Bad { why, id: id.map(str::to_owned) })
}

/// A name, what a peer sends, what is heard.
type Row = (&'static str, Vec<u8>, Vec<Frame>);

/// A message above the limit whose id comes early.
fn big() -> String {
    format!(r#"{{"jsonrpc":"2.0","params":{{"id":1}},"id":7,"x":"{}"}}"#, "y".repeat(2000))
}

/// Well-formed JSON frames.
fn messages() -> Vec<Row> {
    vec![
        ("one", json("{}"), vec![whole("{}")]),
        ("two", [json("{}"), json("{1}")].concat(), vec![whole("{}"), whole("{1}")]),
        (
            "other headers, any case",
            b"Content-Type: x; charset=utf-8\r\ncontent-LENGTH:2\r\n\r\n{}".to_vec(),
            vec![whole("{}")],
        ),
        ("bare newlines", b"Content-Length: 2\n\n{}".to_vec(), vec![whole("{}")]),
        (
            "blank lines between",
            [json("{}"), b"\r\n\n".to_vec(), json("{}")].concat(),
            vec![whole("{}"); 2],
        ),
    ]
}

/// Bodies that are refused.
fn refused() -> Vec<Row> {
    vec![
        ("batch", [json("[{}]"), json("{}")].concat(), vec![bad(Why::Batch, None), whole("{}")]),
        (
            "no object",
            [json("true"), json("{}")].concat(),
            vec![bad(Why::NotAMessage, None), whole("{}")],
        ),
        (
            "empty body",
            [json(""), json("{}")].concat(),
            vec![bad(Why::NotAMessage, None), whole("{}")],
        ),
        (
            "too large",
            [json(&big()), json("{}")].concat(),
            vec![bad(Why::TooLarge, Some("7")), whole("{}")],
        ),
        (
            "too large, id unseen",
            [json(&format!(r#"{{"x":"{}","id":7}}"#, "y".repeat(5000))), json("{}")].concat(),
            vec![bad(Why::TooLarge, None), whole("{}")],
        ),
    ]
}

/// Data frames, whole and broken.
fn data_frames() -> Vec<Row> {
    vec![
        (
            "data",
            [data(5, 1 << 40, b"ab\0\xff"), json("{}")].concat(),
            vec![
                Frame::Data {
                    stream: 5,
                    offset: 1 << 40,
                    payload: Bytes::from_static(b"ab\0\xff"),
                },
                whole("{}"),
            ],
        ),
        (
            "data of no bytes",
            data(1, 0, b""),
            vec![Frame::Data { stream: 1, offset: 0, payload: Bytes::new() }],
        ),
        (
            "data without its head",
            [b"Content-Length: 3\r\n\r\n\xb1\0\0".to_vec(), json("{}")].concat(),
            vec![bad(Why::NotAMessage, None), whole("{}")],
        ),
        (
            "data of an unknown kind",
            [b"Content-Length: 17\r\n\r\n\xb1\x01\0\0aaaabbbbbbbbc".to_vec(), json("{}")].concat(),
            vec![bad(Why::NotAMessage, None), whole("{}")],
        ),
    ]
}

/// Bytes between frames.
fn garbage() -> Vec<Row> {
    vec![
        (
            "garbage line",
            [b"what?\n".to_vec(), json("{}")].concat(),
            vec![bad(Why::Garbage, None), whole("{}")],
        ),
        (
            "garbage without a line end",
            [b"what?".to_vec(), json("{}")].concat(),
            vec![bad(Why::Garbage, None), whole("{}")],
        ),
        (
            "garbage that looks like a header",
            [b"what".to_vec(), json("{}")].concat(),
            vec![bad(Why::Garbage, None), whole("{}")],
        ),
        (
            "garbage longer than headers may be",
            [vec![b'x'; 10_000], json("{}")].concat(),
            vec![bad(Why::Garbage, None), whole("{}")],
        ),
        (
            "length that is none",
            [b"Content-Length: -3\r\n\r\n".to_vec(), json("{}")].concat(),
            vec![bad(Why::Garbage, None), whole("{}")],
        ),
        (
            "absurd length",
            [b"Content-Length: 99999999999999\r\n\r\n".to_vec(), json("{}")].concat(),
            vec![bad(Why::Garbage, None), whole("{}")],
        ),
        (
            "length that does not fit a number",
            [b"Content-Length: 99999999999999999999999\r\n\r\n".to_vec(), json("{}")].concat(),
            vec![bad(Why::Garbage, None), whole("{}")],
        ),
        (
            "a print in between",
            [json("{}"), b"hello: world\n".to_vec(), json("{}")].concat(),
            vec![whole("{}"); 2],
        ),
    ]
}

/// One message per line.
fn lines() -> Vec<Row> {
    vec![
        (
            "lines",
            b"{\"a\":1}\n\n {}\r\n[1]\nx\n{}\n".to_vec(),
            vec![
                whole("{\"a\":1}"),
                whole("{}"),
                bad(Why::Batch, None),
                bad(Why::NotAMessage, None),
                whole("{}"),
            ],
        ),
        (
            "a long line",
            [big().as_bytes(), b"\n{}\n"].concat(),
            vec![bad(Why::TooLarge, Some("7")), whole("{}")],
        ),
    ]
}

#[test]
fn each_kind_of_input() {
    let tables = [messages(), refused(), data_frames(), garbage(), lines()];
    for (name, input, expected) in tables.into_iter().flatten() {
        assert_eq!(decode(&input, &[usize::MAX]), expected, "{name}: at once");
        assert_eq!(decode(&input, &[1]), expected, "{name}: byte by byte");
        for cut in (0..input.len()).step_by(1 + input.len() / 500) {
            let frames = decode(&input, &[cut.max(1), usize::MAX]);
            assert_eq!(frames, expected, "{name}: cut at {cut}");
        }
        for end in (0..input.len()).step_by(1 + input.len() / 500) {
            let frames = decode(&input[..end], &[usize::MAX]);
            assert!(frames.len() <= expected.len(), "{name}: truncated at {end}");
        }
    }
}

/// A small fast generator (xorshift64*), so that every run sees the same input.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % below.max(1)
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.next(most)).map(|_| self.next(256) as u8).collect()
    }
}

#[test]
fn generated_input_loses_no_frame() {
    for seed in 1..1000 {
        let mut random = Seeded(seed);
        // Lines mode is decided by the very first byte; here it is a header.
        let mut input = json("{\"first\":true}");
        let mut sent = vec![whole("{\"first\":true}")];
        for n in 0..random.next(20) {
            match random.next(8) {
                0 | 1 => {
                    let payload = random.bytes(200);
                    input.extend(data(n as u32, 9, &payload));
                    sent.push(Frame::Data { stream: n as u32, offset: 9, payload: payload.into() });
                }
                2 => input.extend(json("[]")),
                3 => input.extend(json(&format!("{{\"id\":1,\"x\":\"{}\"}}", "z".repeat(1500)))),
                4 => {
                    // Garbage ends with a line end, as a stray print does; a length in it would
                    // rightly be believed.
                    let mut garbage = random.bytes(300);
                    garbage.retain(|b| *b != b':');
                    garbage.push(b'\n');
                    input.extend(garbage);
                }
                _ => {
                    let text = format!("{{\"id\":{n}}}");
                    input.extend(json(&text));
                    sent.push(whole(&text));
                }
            }
        }
        let pieces: Vec<usize> = (0..50).map(|_| 1 + random.next(400)).collect();
        let frames = decode(&input, &pieces);
        let good: Vec<_> = frames.into_iter().filter(|f| !matches!(f, Frame::Bad(_))).collect();
        assert_eq!(good, sent, "seed {seed}");
    }
}

#[test]
fn noise_never_panics_and_never_deafens() {
    for seed in 1..200 {
        let mut random = Seeded(seed);
        let mut input = json("{}");
        input.extend(random.bytes(600));
        for _ in 0..random.next(10) {
            // Pieces of real frames, in any order, cut anywhere, with bytes flipped.
            let mut piece = match random.next(3) {
                0 => json("{\"id\":1}"),
                1 => data(1, 2, b"payload"),
                _ => b"Content-Length: 20\r\n\r\n".to_vec(),
            };
            let at = random.next(piece.len());
            piece[at] ^= 1 << random.next(8);
            piece.truncate(random.next(piece.len() + 1));
            input.extend(piece);
        }
        // At most one body's worth can be swallowed by a length that lies.
        for _ in 0..2000 {
            input.extend(json("{\"after\":1}"));
        }
        let last = decode(&input, &[1 + random.next(500)]).pop();
        assert_eq!(last, Some(whole("{\"after\":1}")), "seed {seed}");
    }
}

#[test]
fn debug_shows_no_body() {
    let frame = whole("{\"secret\":\"canary\"}");
    assert_eq!(format!("{frame:?}"), "Json(19 bytes)");
}

#[test]
fn what_will_be_skipped_gets_no_room() {
    let mut decoder = Decoder::new(Limits::default());
    decoder.push(b"Content-Length: 4294967296\r\n\r\n");
    assert!(decoder.next_frame().is_none());
    assert!(decoder.buffer().capacity() < 1 << 20);
}
