//! What follows `bssh nodes`, `bssh forward`, `bssh gate` and `bssh agent`.

use clap::Subcommand;

/// Without expressions, the verbs read them from stdin.
#[derive(Debug, Subcommand)]
pub(crate) enum NodesVerb {
    /// One node a line
    Expand { exprs: Vec<String> },
    /// The shortest expression
    Fold { exprs: Vec<String> },
    /// How many nodes
    Count { exprs: Vec<String> },
    /// Some nodes at random
    Pick { n: usize, exprs: Vec<String> },
    /// Parts of nearly equal size, one a line
    Split {
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        n: u32,
        exprs: Vec<String>,
    },
}

impl NodesVerb {
    /// The expressions, whatever is done with them.
    pub(crate) fn exprs(&self) -> &[String] {
        match self {
            NodesVerb::Expand { exprs }
            | NodesVerb::Fold { exprs }
            | NodesVerb::Count { exprs }
            | NodesVerb::Pick { exprs, .. }
            | NodesVerb::Split { exprs, .. } => exprs,
        }
    }

    pub(crate) fn exprs_mut(&mut self) -> &mut [String] {
        match self {
            NodesVerb::Expand { exprs }
            | NodesVerb::Fold { exprs }
            | NodesVerb::Count { exprs }
            | NodesVerb::Pick { exprs, .. }
            | NodesVerb::Split { exprs, .. } => exprs,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ForwardVerb {
    /// Open forwards on the nodes and keep them until Ctrl-C; without any, those of the configuration
    Add {
        /// [bind:]port:host:hostport or a socket; port 0 lets the system choose. On several nodes
        /// the first gets the port and the others the next ones
        #[arg(short = 'L', value_name = "SPEC")]
        local: Vec<String>,
        /// The other way: the node listens. Without a target it speaks SOCKS
        #[arg(short = 'R', value_name = "SPEC")]
        remote: Vec<String>,
        /// [bind:]port: SOCKS
        #[arg(short = 'D', value_name = "SPEC")]
        dynamic: Vec<String>,
        /// Where SOCKS clients may go: host:port, either may be *
        #[arg(long, value_name = "HOST:PORT")]
        allow: Vec<String>,
        /// A file with user:password that SOCKS 5 clients must know
        #[arg(long, value_name = "FILE")]
        socks_login: Option<std::path::PathBuf>,
        /// Tell of every connection
        #[arg(long)]
        watch: bool,
    },
    /// The forwards of a shared core
    Ls,
    /// Close a forward of a shared core
    Close { forward: u64 },
}

#[derive(Debug, Subcommand)]
pub(crate) enum GateVerb {
    /// What starting it would do
    Prepare { name: String },
    /// Start it and keep it until Ctrl-C
    Start {
        name: String,
        /// Take the place of a gate of this name with another plan; open connections go on
        #[arg(long)]
        replace: bool,
        /// As always without a shared core
        #[arg(long)]
        foreground: bool,
    },
    /// Stop a gate of a shared core, by its name or its number
    Stop { name: String },
    /// The gates of a shared core
    Status,
    /// Open connections of a gate of a shared core
    Connections { name: String },
    /// End a connection of a gate of a shared core
    Kick { name: String, conn: u64 },
    /// Try every upstream
    Check {
        name: String,
        /// A command that reaches into the sandbox: prove that a forbidden dial fails there
        #[arg(long, value_name = "COMMAND")]
        from_sandbox: Option<String>,
    },
    /// The lines for the client's ssh_config
    SshConfig {
        name: String,
        /// The lines for its known_hosts instead
        #[arg(long)]
        known_hosts: bool,
    },
    /// For ProxyCommand: stdin and stdout through the gate
    Pipe {
        name: String,
        host: String,
        #[arg(id = "pipe_port", value_name = "PORT")]
        port: u16,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentVerb {
    /// The local agent and its keys, and what nodes have done with it
    Status {
        /// Only of this node, with the agent that it would get
        node: Option<String>,
    },
    /// Try agent forwarding to a node, step by step
    Doctor { node: Option<String> },
}
