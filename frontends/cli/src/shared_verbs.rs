//! Subcommands for the shared core.

use clap::Subcommand;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum SharedVerb {
    /// The shared core: is it there, what does it hold, end it (serve: see bssh core --help)
    Core {
        #[command(subcommand)]
        verb: CoreVerb,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CoreVerb {
    /// What runs, who is attached, what it holds
    Status,
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
