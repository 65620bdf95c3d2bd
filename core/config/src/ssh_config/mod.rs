//! `ssh_config(5)`: files and command-line options to the effective options of one host.
//!
//! [`SshConfig::load`] reads and checks the files once; [`SshConfig::resolve`] evaluates them for
//! one destination without touching the disk (except `Match exec`). What each keyword is, accepts,
//! defaults to and sets is one row of the table in `keywords`. Measured against `ssh -G` 9.2.

mod algorithms;
mod canonical;
mod destination;
mod document;
mod dump;
mod eval;
mod expand;
mod finish;
mod forwards;
mod keywords;
mod lexer;
mod matcher;
mod options;
mod patterns;
mod reader;
mod request;
mod seen;
mod set;
mod sha1;
mod special;
mod tokens;
mod values;

pub use destination::destination;
pub use document::document;
pub use dump::{carried, dump};
pub use keywords::{KeywordInfo, keywords};
pub use options::{
    AddKeys, AddressFamily, Ask, Forward, HostOptions, JumpHost, Origin, StrictHostKeys,
};
pub use patterns::matches as matches_pattern;
pub(crate) use reader::{FileKey, Parsed};
pub use request::{Answer, ConfigFile, FilesRead, Found, Lookup, Request, SshConfig};
pub use special::forward_option;
