//! The frame reader under fuzzing. Whatever comes, cut wherever: no panic, the same frames as at
//! once, and a valid frame is heard again after the noise. `protocol/tests/frames.rs` checks the same with
//! seeded input on every run.

#![no_main]

use bssh_protocol::frame::{Decoder, Frame, Limits};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { max_frame: 1000 };

fn decode(input: &[u8], piece: usize) -> Vec<Frame> {
    let mut decoder = Decoder::new(LIMITS);
    let mut frames = Vec::new();
    for bytes in input.chunks(piece.max(1)) {
        decoder.buffer();
        decoder.push(bytes);
        while let Some(frame) = decoder.next_frame() {
            frames.push(frame);
        }
    }
    frames
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, noise) = input;
    let at_once = decode(noise, noise.len());
    assert_eq!(at_once, decode(noise, usize::from(piece)));

    // Starts as a peer with headers does, else everything is lines.
    let mut heard = b"Content-Length: 2\r\n\r\n{}".to_vec();
    heard.extend_from_slice(noise);
    // A length that lies swallows what follows, but never more than that many bytes.
    let longest = 1 + noise.len();
    if !noise.windows(5).any(|w| w.iter().all(u8::is_ascii_digit)) {
        for _ in 0..1 + (10_000 + longest) / 30 {
            heard.extend_from_slice(b"Content-Length: 11\r\n\r\n{\"after\":1}");
        }
        let last = decode(&heard, heard.len()).pop();
        assert_eq!(format!("{last:?}"), "Some(Json(11 bytes))");
    }
});
