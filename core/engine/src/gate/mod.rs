//! The gate: a sandbox may reach exactly the listed SSH hosts, with unmodified URLs.
//!
//! `plan` decides everything without touching anything, `snippet` says what the client needs,
//! `run` starts and stops, `bind` listens, `check` tries, `serve` takes connections, `inspect` looks at the SSH banners and the
//! host key, `upstream` dials. Connections are carried by the forwards' relay.

mod bind;
mod check;
mod inspect;
mod plan;
mod run;
mod serve;
mod snippet;
mod upstream;

pub(crate) use run::Gates;
