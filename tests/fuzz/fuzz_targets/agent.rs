//! What a node says to the agent, and what the agent answers.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: (u8, &[u8])| bssh_engine::fuzzing::agent(input.0, input.1));
