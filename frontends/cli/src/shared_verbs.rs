//! Flags and subcommands for the shared core.

use clap::{Args, Subcommand};
use std::time::Duration;

#[derive(Debug, Default, Args)]
pub(crate) struct SharedArgs {
    /// Keep a shared core and its connections for this long after the command (10m, yes: for ever,
    /// no: a core of its own) [BSSH_PERSIST, core.persist]
    #[arg(long, value_name = "TIME", value_parser = crate::persist::parse, global = true)]
    pub persist: Option<bssh_client::Persist>,
    /// Leave it to the shared core and print its job number (bssh job)
    #[arg(long, global = true)]
    pub detach: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SharedVerb {
    /// The shared core: is it there, what does it hold, end it (serve: see bssh core --help)
    Core {
        #[command(subcommand)]
        verb: CoreVerb,
    },
    /// What the shared core remembers of ssh_config files and variables, in figures
    CacheStats {
        /// Every entry by its name
        #[arg(long)]
        detailed: bool,
        /// Forget everything
        #[arg(long, conflicts_with_all = ["detailed", "maintain"])]
        clear: bool,
        /// Forget what is too old, has changed, or is too much
        #[arg(long, conflicts_with = "detailed")]
        maintain: bool,
    },
    /// What runs in the shared core, whoever started it; --detach starts such a job
    Job {
        #[command(subcommand)]
        verb: JobVerb,
    },
    /// The audit journal of shared cores: who ran what where, and how it ended
    Log {
        /// So many of the newest lines
        #[arg(long, value_name = "N", default_value_t = 20)]
        last: u32,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobVerb {
    /// What runs, and what is over and not forgotten yet
    Ls,
    /// Show a detached run from its beginning and follow it to its end
    Attach {
        job: u64,
        /// Leave out so many bytes of output
        #[arg(long, value_name = "BYTES", default_value_t = 0)]
        from: u64,
    },
    /// Show what a detached run has said so far
    Logs {
        job: u64,
        /// Leave out so many bytes of output
        #[arg(long, value_name = "BYTES", default_value_t = 0)]
        from: u64,
    },
    /// Wait for its end; the status is the run's
    Wait { job: u64 },
    /// End it
    Kill { job: u64 },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CoreVerb {
    /// What runs, who is attached, what it holds
    Status,
    /// Its numbers, as Prometheus reads them
    Metrics,
    /// End it: nobody new finds it, what runs may finish
    Stop {
        /// Also if others are attached
        #[arg(long)]
        force: bool,
        /// How long what runs may take
        #[arg(long, value_name = "TIME", default_value = "10", value_parser = crate::args::duration)]
        grace: Duration,
    },
}
