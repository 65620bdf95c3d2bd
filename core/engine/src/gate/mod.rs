//! The gate: a sandbox may reach exactly the listed SSH hosts, with unmodified URLs.
//!
//! `plan` decides everything without touching anything, `snippet` says what the client needs,
//! `run` starts and stops for its `owners`, `list` tells, `bind` listens (and `owner` says who does
//! already), `door` accepts, `check` tries, `serve` carries connections, `inspect` looks at the SSH
//! banners and the host key, `upstream` dials where `deny` lets it. Connections are carried by the
//! forwards' relay.

mod bind;
mod check;
mod deny;
mod door;
mod inspect;
mod list;
pub(crate) mod owner;
mod owners;
mod plan;
mod run;
mod serve;
mod snippet;
mod upstream;

pub(crate) use run::Gates;
