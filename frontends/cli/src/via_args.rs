//! Runs through gateways: flags of the cluster grammar.

use crate::args::{Args, Sub};
use bssh_protocol::via::Via;
use clap::Args as ClapArgs;

/// Which gateways, and how they are used.
#[derive(Debug, Default, ClapArgs)]
pub(crate) struct ViaArgs {
    /// Run the command from these nodes, each taking its part of the nodes (none: not even as the
    /// configuration says)
    #[arg(long, value_name = "NODES", global = true)]
    pub via: Option<String>,
    /// Run the command through gateways, as a file in the format of ClusterShell's topology.conf
    /// says [gateways.topology]
    #[arg(long, value_name = "FILE", conflicts_with = "via", global = true)]
    pub topology: Option<String>,
    /// Put this bssh on the gateways instead of using theirs [gateways.push]
    #[arg(long, global = true)]
    pub via_push: bool,
    /// A command that may have begun when its gateway, or its session's connection, was lost may
    /// be run again
    #[arg(long, global = true)]
    pub retry_safe: bool,
}

impl ViaArgs {
    /// What was said about gateways.
    pub(crate) fn params(&self) -> Option<Via> {
        let via = Via {
            gateways: self.via.clone().unwrap_or_default(),
            topology: self.topology.clone(),
            push: self.via_push.then_some(true),
            retry_safe: self.retry_safe,
            ..Via::default()
        };
        Some(via).filter(|via| *via != Via::default())
    }

    fn asks(&self) -> bool {
        self.topology.is_some() || self.via.as_ref().is_some_and(|via| via != "none")
    }
}

/// What was asked to go through gateways and cannot.
pub(crate) fn refused(args: &Args) -> Option<String> {
    if !args.connect.via.asks() {
        return None;
    }
    let what = match &args.subcommand {
        None | Some(Sub::Exec { .. } | Sub::Ping) if args.connect.tty > 0 => "a terminal (-t)",
        None | Some(Sub::Exec { .. } | Sub::Ping) if args.connect.jump.is_some() => {
            return Some("-J and gateways are two ways to the nodes: name one".to_owned());
        }
        None | Some(Sub::Exec { .. } | Sub::Ping) => return None,
        Some(Sub::Upload(_)) => "upload",
        Some(Sub::Download(_)) => "download",
        Some(Sub::Sync(_)) => "sync",
        Some(Sub::Forward { .. }) => "forward",
        Some(Sub::Gate { .. }) => "gate",
        Some(Sub::Agent { .. }) => "agent",
        Some(Sub::Run(_) | Sub::Session { .. }) => "a session",
        Some(Sub::Repl { .. }) => "the REPL",
        Some(
            Sub::List
            | Sub::Nodes { .. }
            | Sub::Explain { .. }
            | Sub::Config { .. }
            | Sub::Shared(_)
            | Sub::Completions { .. }
            | Sub::Help { .. }
            | Sub::Man { .. },
        ) => "what is no run",
    };
    Some(format!("{what} does not go through gateways; commands and ping do"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Args {
        Args::read(&line.split(' ').map(Into::into).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn only_runs_go_through_gateways() {
        for line in ["-H a --via g x", "-H a ping --via g", "-H a --via none -t x", "-H a x"] {
            assert_eq!(refused(&args(line)), None, "{line}");
        }
        for (line, what) in [
            ("-H a --via g -t x", "a terminal (-t)"),
            ("-H a --topology f -J h x", "-J"),
            ("-H a --via g upload x /y", "upload"),
            ("download --via g a:x y", "download"),
            ("-H a repl --via g", "the REPL"),
        ] {
            let refused = refused(&args(line)).unwrap_or_default();
            assert!(refused.starts_with(what), "{line}: {refused}");
        }
    }

    #[test]
    fn flags_become_parameters() {
        let via = args("-H a --via @gw --via-push --retry-safe x").connect.via.params().unwrap();
        assert_eq!((&*via.gateways, via.push, via.retry_safe), ("@gw", Some(true), true));
        assert_eq!(args("-H a x").connect.via.params(), None);
        let via = args("-H a --topology t.conf x").connect.via.params().unwrap();
        assert_eq!(via.topology.as_deref(), Some("t.conf"));
    }
}
