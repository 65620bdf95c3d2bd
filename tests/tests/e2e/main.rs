//! End to end: the executable, its core and real nodes. Each module starts what it needs; a
//! missing sshd fails the test and says what to install.
//!
//! - `main_job`: one command on many nodes, and every way to show its output.
//! - `host_keys`: whom to trust: commands, certificates, keys that are learned and forgotten.
//! - `dialogue`: what a server asks a person, round by round.
//! - `faults`: everything that can be wrong on the way to a node, and with the streams.
//! - `files`: transfers, and what hostile nodes and cuts make of them.
//! - `bare`: files to and from a node that has no file server.
//! - `ways`: files from node to node, over a long way, onto a disk that is full.
//! - `fs`: an editor's requests about single files.
//! - `sync`: trees that are kept the same here and on a node.
//! - `sync_faults`: the same, killed, cut off, lied to, out of room, and far away.
//! - `sync_push`: what a push does not look at on the node, and what it cannot send.
//! - `sync_steps`: the same, stopped between any two requests: killed, interrupted, silent.
//! - `kill`: nothing survives a timeout, a Ctrl-C, a dead core or a dead frontend.
//! - `protocol`: programs that speak to the core without our client.
//! - `old_client`: a frontend of a frozen level at the core of today.
//! - `pty`: terminals through the protocol: views, owners, slow readers, floods.
//! - `session`: shell state that outlives commands and connections, in every shell.
//! - `targets`: which nodes a command line means, and what the last run has left of them.
//! - `session_limits`: output kept for a slow reader, connections to a node and commands on each.
//! - `session_more`: terminals, stateless commands, what escapes, what is kept or run again, calls.
//! - `session_user`: umask, functions, aliases, traces, traps and names of the user in sessions.
//! - `named`: sessions that outlive the command, for programs and agents.
//! - `repl`: the REPL on a real pseudo-terminal, as a person uses it.
//! - `repl_acts`: what the REPL does besides lines: files, forwards, gates, settings, completion.
//! - `repl_faults`: the REPL when daemons, nodes and connections go.
//! - `repl_state`: how the nodes are, connecting again, beginning anew, syncs that go wrong.
//! - `jump`: nodes behind a jump host.
//! - `forwards`: -L, -R and -D, clients that do not read, lost connections.
//! - `forward_ends`: how they end: with a command, a side that closes, `-O cancel`, their master.
//! - `agents`: the local agent on a node.
//! - `agent_bind`: keys restricted to destinations, beside `ssh -A`.
//! - `agent_life`: the same over days: required, with a stable path, over links that hang.
//! - `gates`: the gate, with git behind it.
//! - `gate_faults`: what goes wrong around a gate, and what must not get through it.
//! - `gate_frontends`: several frontends at one gate, and what ends with what it holds.
//! - `cancelled`: requests that are cancelled at any moment leave nothing on the node.
//! - `cuts`: links that are cut, black-holed and stopped, in network namespaces.
//! - `gateways`: commands run by other cores, lost ones, hostile ones.
//! - `gateways_more`: the same detached, with passwords and sudo, with keys that stay here.
//! - `given_up`: streams that their frontend gives up.
//! - `relay`: uploads that one node passes on to the others.
//! - `programs`: git, rsync, scp, sftp, Ansible, ssh-copy-id, tmux and vim with bssh as their ssh.
//! - `jobs`: detached runs, read and waited for by others; warm connections of ssh's own flags.
//! - `sftp`: `bssh sftp` beside OpenSSH's sftp.
//! - `shared`: the core that frontends share: one per user, warm connections, strict about its place.
//! - `shared_life`: the shared core killed, asked by two terminals, told secrets; its journal.
//! - `shared_views`: several frontends at once: one terminal for two, and one that hangs.
//! - `soak`: thousands of connections, hundreds at once, days in minutes, and what they leave.
//! - `soak_shared`: days of a shared core in minutes, and what they leave.
//! - `ssh_options`: flags and keywords of ssh, each seen to do what it says or refused.
//! - `prompts`: who is asked for a passphrase, and where.
//! - `terminal`: the person's terminal, in order again whatever happens.
//! - `terminals`: a terminal on each of several nodes, keys to all of them.
//! - `tui`: a run on the whole screen, and the screen given back.
//! - `escapes`: ssh's escapes at a terminal: log level, new keys, the background.
//! - `caches`: what cores remember of files, in figures; and what proxies say.
//! - `demo`: the demo, as a newcomer runs it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod agent_bind;
mod agent_life;
mod agents;
mod bare;
mod caches;
mod cancelled;
mod cuts;
mod demo;
mod dialogue;
mod escapes;
mod faults;
mod files;
mod forward_ends;
mod forwards;
mod fs;
mod gate_faults;
mod gate_frontends;
mod gates;
mod gateways;
mod gateways_more;
mod given_up;
mod host_keys;
mod jobs;
mod jump;
mod kill;
mod main_job;
mod named;
mod old_client;
mod programs;
mod prompts;
mod protocol;
mod pty;
mod relay;
mod release;
mod repl;
mod repl_acts;
mod repl_faults;
mod repl_state;
mod session;
mod session_far;
mod session_limits;
mod session_more;
mod session_user;
mod sftp;
mod shared;
mod shared_life;
mod shared_views;
mod soak;
mod soak_shared;
mod ssh_options;
mod sync;
mod sync_faults;
mod sync_push;
mod sync_steps;
mod targets;
mod terminal;
mod terminals;
mod tui;
mod ways;
