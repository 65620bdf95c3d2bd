//! What a file server answers, cut anywhere.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: (u8, &[u8])| bssh_ssh::fuzzing::sftp(input.0, input.1));
