//! End to end: the executable, its core and real nodes. Each module starts what it needs; a
//! missing sshd fails the test and says what to install.
//!
//! - `main_job`: one command on many nodes, and every way to show its output.
//! - `faults`: everything that can be wrong on the way to a node, and with the streams.
//! - `files`: transfers, and what hostile nodes and cuts make of them.
//! - `fs`: an editor's requests about single files.
//! - `kill`: nothing survives a timeout, a Ctrl-C, a dead core or a dead frontend.
//! - `protocol`: programs that speak to the core without our client.
//! - `pty`: terminals through the protocol: views, owners, slow readers, floods.
//! - `session`: shell state that outlives commands and connections, in every shell.
//! - `repl`: the REPL on a real pseudo-terminal, as a person uses it.
//! - `jump`: nodes behind a jump host.
//! - `forwards`: -L, -R and -D, clients that do not read, lost connections.
//! - `agents`: the local agent on a node.
//! - `gates`: the gate, with git behind it.
//! - `programs`: git, rsync, scp, sftp, Ansible, ssh-copy-id, tmux and vim with bssh as their ssh.
//! - `shared`: the core that frontends share: one per user, warm connections, strict about its place.
//! - `ssh_options`: flags and keywords of ssh, each seen to do what it says or refused.
//! - `prompts`: who is asked for a passphrase, and where.
//! - `terminal`: the person's terminal, in order again whatever happens.
//! - `demo`: the demo, as a newcomer runs it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod agents;
mod demo;
mod faults;
mod files;
mod forwards;
mod fs;
mod gates;
mod jump;
mod kill;
mod main_job;
mod programs;
mod prompts;
mod protocol;
mod pty;
mod repl;
mod session;
mod shared;
mod ssh_options;
mod terminal;
