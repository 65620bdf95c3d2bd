//! What a SOCKS client says, at once and byte by byte: the same request comes out.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: (u8, &[u8])| bssh_engine::fuzzing::socks(input.0, input.1));
