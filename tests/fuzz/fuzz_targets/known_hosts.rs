//! known_hosts files, whole and appended to, and key revocation lists.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: (u8, &[u8])| bssh_ssh::fuzzing::known_hosts(input.0, input.1));
