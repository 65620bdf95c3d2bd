//! The one table of the protocol: every method and event, who sends it, since which level, with
//! which types.
//!
//! Typed calls ([`crate::link::Link::call`]), registration ([`crate::registry::register`]), the
//! OpenRPC document and `docs/protocol.md` ([`crate::schema`]) are all made from it. To add a
//! method: add a line here, its types beside their relatives, and raise
//! [`crate::handshake::LEVEL`] if a release is between.

use crate::{
    agent, auth, cache, connection, exec, forward, fs, gate, handshake, job, node, pty, session,
    session_state, stream, sync, task, transfer,
};
use schemars::{Schema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};

/// A request and its answer.
pub trait Method: 'static {
    /// Sent by name, as one JSON object.
    type Params: Serialize + DeserializeOwned + schemars::JsonSchema + Send + Sync + 'static;
    /// What the answer's `result` holds.
    type Result: Serialize + DeserializeOwned + schemars::JsonSchema + Send + 'static;
    /// As on the wire, e.g. `exec/start`.
    const NAME: &'static str;
    /// The level that brought it.
    const SINCE: u32;
}

/// A notification: no answer, in either direction.
pub trait Event: 'static {
    /// Sent by name, as one JSON object.
    type Params: Serialize + DeserializeOwned + schemars::JsonSchema + Send + Sync + 'static;
    /// As on the wire, e.g. `exec/node`.
    const NAME: &'static str;
    /// The level that brought it.
    const SINCE: u32;
}

/// Who receives a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The frontend sends, the core receives.
    Core,
    /// The core sends, the frontend receives.
    Frontend,
    /// Either side may send it.
    Both,
}

impl Direction {
    /// The word used in the schema's `x-direction`.
    pub fn word(self) -> &'static str {
        match self {
            Direction::Core => "core",
            Direction::Frontend => "frontend",
            Direction::Both => "both",
        }
    }
}

/// One line of the table, for iteration.
pub struct Entry {
    pub name: &'static str,
    pub direction: Direction,
    pub since: u32,
    /// The doc comment, one line per element.
    pub doc: &'static [&'static str],
    pub params: fn(&mut SchemaGenerator) -> Schema,
    /// None: an event.
    pub result: Option<fn(&mut SchemaGenerator) -> Schema>,
}

macro_rules! protocol {
    (
        methods { $($(#[doc = $mdoc:literal])+
            $mdir:ident $m:ident = $mname:literal ($mp:ty) -> $mr:ty, since $ms:literal;)+ }
        events { $($(#[doc = $edoc:literal])+
            $edir:ident $e:ident = $ename:literal ($ep:ty), since $es:literal;)+ }
    ) => {
        $(
            $(#[doc = $mdoc])+
            #[derive(Debug, Clone, Copy)]
            pub struct $m;
            impl Method for $m {
                type Params = $mp;
                type Result = $mr;
                const NAME: &'static str = $mname;
                const SINCE: u32 = $ms;
            }
        )+
        $(
            $(#[doc = $edoc])+
            #[derive(Debug, Clone, Copy)]
            pub struct $e;
            impl Event for $e {
                type Params = $ep;
                const NAME: &'static str = $ename;
                const SINCE: u32 = $es;
            }
        )+

        /// Every method and event, in the order of the table.
        pub const TABLE: &[Entry] = &[
            $(Entry {
                name: $mname, direction: direction!($mdir), since: $ms, doc: &[$($mdoc),+],
                params: |g| g.subschema_for::<$mp>(),
                result: Some(|g| g.subschema_for::<$mr>()),
            },)+
            $(Entry {
                name: $ename, direction: direction!($edir), since: $es, doc: &[$($edoc),+],
                params: |g| g.subschema_for::<$ep>(),
                result: None,
            },)+
        ];
    };
}

macro_rules! direction {
    (core) => {
        Direction::Core
    };
    (frontend) => {
        Direction::Frontend
    };
    (both) => {
        Direction::Both
    };
}

protocol! {
    methods {
        /// The first request of every link; before it everything else is answered with -32002.
        core Initialize = "initialize" (handshake::InitializeParams) -> handshake::InitializeResult, since 1;
        /// Ends the whole core: the same as `core/shutdown`, under the name LSP clients know.
        core Shutdown = "shutdown" (handshake::ShutdownParams) -> handshake::Empty, since 1;
        /// How much is remarked on from now on: the remarks of this link's work, or the log of a
        /// core that was started by this frontend.
        core LogSetLevel = "log/setLevel" (handshake::LogLevelParams) -> handshake::Empty, since 1;
        /// Ends this link after the answer, and its jobs but those to keep. Closing the core's
        /// stdin means the same, keeping none.
        core LinkClose = "link/close" (handshake::LinkCloseParams) -> handshake::Empty, since 1;
        /// The links of this core.
        core LinkListAll = "link/list" (handshake::Empty) -> handshake::LinkList, since 1;
        /// This document.
        core RpcDiscover = "rpc.discover" (handshake::Empty) -> serde_json::Value, since 1;
        /// Is the core there? Answers with its clock.
        core CorePing = "core/ping" (handshake::Empty) -> handshake::Pong, since 1;
        /// Version, process and uptime of the core.
        core CoreInfo = "core/info" (handshake::Empty) -> handshake::InfoResult, since 1;
        /// What the core holds right now.
        core CoreStats = "core/stats" (handshake::Empty) -> handshake::StatsResult, since 1;
        /// What the core remembers of files and variables, in figures.
        core CacheStats = "cache/stats" (cache::CacheParams) -> cache::CacheStats, since 1;
        /// Forgets all of it.
        core CacheClear = "cache/clear" (handshake::Empty) -> cache::CacheDropped, since 1;
        /// Forgets what is too old, has changed, or is more than this link allows.
        core CacheMaintain = "cache/maintain" (handshake::Empty) -> cache::CacheDropped, since 1;
        /// Asks every connection for a sign of life and closes those that give none: for who knows
        /// that the network is another one. The core does so by itself when it sees that.
        core CoreProbe = "core/probe" (handshake::Empty) -> handshake::Probed, since 1;
        /// The newest lines of the audit journal of this user's shared cores.
        core JournalRead = "journal/read" (handshake::JournalParams) -> handshake::JournalLines, since 1;
        /// Ends the whole core.
        core CoreShutdown = "core/shutdown" (handshake::ShutdownParams) -> handshake::Empty, since 1;
        /// A node set expression to its nodes. Touches no network.
        core GroupResolve = "group/resolve" (node::ResolveParams) -> node::NodeNames, since 1;
        /// Lists of nodes, each to its shortest expression.
        core GroupFold = "group/fold" (node::FoldParams) -> node::Folded, since 1;
        /// Every cluster and group the configuration knows.
        core GroupList = "group/list" (node::GroupListParams) -> node::GroupList, since 1;
        /// What would be used to reach a node, each value with its origin.
        core NodeResolve = "node/resolve" (node::ExplainParams) -> node::Explained, since 1;
        /// Every problem in the configuration files.
        core ConfigCheck = "config/check" (node::CheckParams) -> node::CheckResult, since 1;
        /// Whether the configuration wants a shared core (`core.persist`).
        core ConfigPersist = "config/persist" (node::PersistParams) -> node::PersistResult, since 1;
        /// Starts one command on one node or on thousands, and answers at once.
        core ExecStart = "exec/start" (exec::ExecParams) -> exec::ExecStarted, since 1;
        /// Ends the remote processes of a run, or of some of its nodes.
        core ExecCancel = "exec/cancel" (exec::CancelRun) -> handshake::Empty, since 1;
        /// Sends a signal to the remote processes of a run.
        core ExecSignal = "exec/signal" (exec::SignalRun) -> handshake::Empty, since 1;
        /// Tells a run with a pty the terminal's new size.
        core ExecResize = "exec/resize" (exec::ResizeRun) -> handshake::Empty, since 1;
        /// Asks for new keys on the connections of a run's commands.
        core ExecRekey = "exec/rekey" (exec::RunRef) -> handshake::Empty, since 1;
        /// The runs this link owns.
        core ExecList = "exec/list" (handshake::Empty) -> exec::RunList, since 1;
        /// Opens a forward (ssh's -L, -R, -D) on one node.
        core ForwardOpen = "forward/open" (forward::ForwardParams) -> forward::ForwardOpened, since 1;
        /// Closes a forward.
        core ForwardClose = "forward/close" (forward::ForwardRef) -> handshake::Empty, since 1;
        /// Stops a forward's listening; what is open goes on, and the forward is over with the
        /// last of it.
        core ForwardDrain = "forward/drain" (forward::DrainParams) -> handshake::Empty, since 1;
        /// The forwards this link owns, or all of the core's.
        core ForwardList = "forward/list" (forward::ForwardListParams) -> forward::ForwardList, since 1;
        /// The forwards the configuration names.
        core ForwardConfigured = "forward/configured" (forward::ConfiguredParams) -> forward::Configured, since 1;
        /// The open connections of a forward.
        core ForwardConnections = "forward/connections" (forward::ForwardRef) -> forward::Connections, since 1;
        /// Ends one connection of a forward.
        core ForwardKick = "forward/kick" (forward::KickParams) -> handshake::Empty, since 1;
        /// One connection from the node to somewhere (ssh's -W).
        core ForwardDial = "forward/dial" (forward::DialParams) -> forward::Dialed, since 1;
        /// Connections along the way this link would take to a node.
        core ConnectionCheck = "connection/check" (connection::ConnectionParams) -> connection::ConnectionState, since 1;
        /// Ends them; answers with what was there.
        core ConnectionCloseAll = "connection/close" (connection::ConnectionClose) -> connection::ConnectionState, since 1;
        /// Starts a shell or a command with a terminal on one node.
        core PtyOpen = "pty/open" (pty::PtyOpenParams) -> pty::PtyOpened, since 1;
        /// Types something. Only for a link that owns the input; data frames are the fast path.
        core PtyWriteInput = "pty/write" (pty::PtyWrite) -> handshake::Empty, since 1;
        /// Changes the terminal's size.
        core PtyResizeTo = "pty/resize" (pty::PtyResize) -> handshake::Empty, since 1;
        /// One more view of a pty: what is kept of its output, then live, without a hole.
        core PtyAttachView = "pty/attach" (pty::PtyAttach) -> pty::PtyAttached, since 1;
        /// Ends a view. The pty goes on, also with none.
        core PtyDetach = "pty/detach" (pty::PtyView) -> handshake::Empty, since 1;
        /// Makes a view the one that types.
        core PtyTakeInput = "pty/takeInput" (pty::PtyView) -> pty::PtyInput, since 1;
        /// Hangs up.
        core PtyClose = "pty/close" (pty::PtyRef) -> handshake::Empty, since 1;
        /// The ptys of this core.
        core PtyListAll = "pty/list" (handshake::Empty) -> pty::PtyList, since 1;
        /// A session on each node of a node set. Answers at once; `session/state` follows.
        core SessionOpen = "session/open" (session::SessionOpenParams) -> session::SessionsOpened, since 1;
        /// Runs a command in a session.
        core SessionExec = "session/exec" (session::SessionExecParams) -> session::SessionExecStarted, since 1;
        /// Sends a signal to the process group of a session's command.
        core SessionSignalExec = "session/signal" (session::SessionSignal) -> handshake::Empty, since 1;
        /// Tells a command's terminal its new size.
        core SessionResizeExec = "session/resize" (session_state::SessionResize) -> handshake::Empty, since 1;
        /// Goes somewhere else, after the commands that are under way.
        core SessionChangeDirectory = "session/cd" (session_state::SessionCd) -> session_state::SessionPlace, since 1;
        /// Exports variables, after the commands that are under way.
        core SessionSetEnvironment = "session/setenv" (session_state::SessionSetenv) -> session_state::SessionPlace, since 1;
        /// Removes variables, after the commands that are under way.
        core SessionUnsetEnvironment = "session/unsetenv" (session_state::SessionUnsetenv) -> session_state::SessionPlace, since 1;
        /// The state, to be put back elsewhere or later.
        core SessionSnapshotOf = "session/snapshot" (session::SessionRef) -> session_state::SessionSaved, since 1;
        /// Connects a lost session now.
        core SessionConnect = "session/connect" (session::SessionRef) -> handshake::Empty, since 1;
        /// Forgets the state and begins anew. What runs is ended.
        core SessionReset = "session/reset" (session::SessionRef) -> handshake::Empty, since 1;
        /// Ends a session and what runs in it.
        core SessionClose = "session/close" (session::SessionRef) -> handshake::Empty, since 1;
        /// One session.
        core SessionInfo = "session/info" (session::SessionRef) -> session::SessionEntry, since 1;
        /// The sessions of this core.
        core SessionListAll = "session/list" (handshake::Empty) -> session::SessionList, since 1;
        /// What the configuration wishes for a REPL on these targets.
        core SessionConfigured = "session/configured" (exec::Targets) -> session::Interactive, since 1;
        /// The sessions the configuration names (`sessions:`).
        core SessionDefined = "session/defined" (node::GroupListParams) -> session_state::DefinedSessions, since 1;
        /// What was started in the background of a session.
        core SessionJobsOf = "session/jobs" (session::SessionRef) -> session::SessionJobs, since 1;
        /// Starts a command in the background of a session.
        core JobStartIn = "job/start" (session::JobStart) -> session::JobRef, since 1;
        /// Reads what a job has written, and whether it has ended.
        core JobReadOutput = "job/read" (session::JobRead) -> session::JobOutput, since 1;
        /// Sends a signal to the process group of a job.
        core JobKillGroup = "job/kill" (session::JobKill) -> handshake::Empty, since 1;
        /// Everything that runs in this core, and what is over and not forgotten yet.
        core JobListAll = "job/list" (handshake::Empty) -> job::JobList, since 1;
        /// Returns when a job is over: of the core, or with `session` of a session's background.
        core JobWaitFor = "job/wait" (job::JobHandle) -> job::JobEntry, since 1;
        /// Ends a job, whatever it is.
        core JobCancel = "job/cancel" (job::JobHandle) -> handshake::Empty, since 1;
        /// A recorded run, as if this link had started it: what was kept of it, then live.
        core JobAttachTo = "job/attach" (job::JobAttach) -> exec::ExecStarted, since 1;
        /// The nodes of a run by how they ended.
        core JobNodesOf = "job/nodes" (job::JobNodes) -> node::NodeNames, since 1;
        /// Starts a transfer of files to or from one node or thousands, and answers at once.
        core TransferStart = "transfer/start" (transfer::TransferParams) -> transfer::TransferStarted, since 1;
        /// Gives up a transfer; finished files stay.
        core TransferCancel = "transfer/cancel" (transfer::TransferRef) -> handshake::Empty, since 1;
        /// The transfers of this core.
        core TransferList = "transfer/list" (handshake::Empty) -> transfer::TransferList, since 1;
        /// Starts a sync of two directory trees, and answers at once.
        core SyncStart = "sync/start" (sync::SyncParams) -> sync::SyncStarted, since 1;
        /// Ends a sync; what is complete stays.
        core SyncCancel = "sync/cancel" (sync::SyncRef) -> handshake::Empty, since 1;
        /// The syncs of this core.
        core SyncList = "sync/list" (handshake::Empty) -> sync::SyncList, since 1;
        /// What is remembered of a sync.
        core SyncStatus = "sync/status" (sync::SyncWhat) -> sync::SyncStatus, since 1;
        /// Paths that both sides have changed and nobody has decided about.
        core SyncConflicts = "sync/conflicts" (sync::SyncWhat) -> sync::SyncConflicts, since 1;
        /// Decides a conflict; the next run carries it out.
        core SyncResolve = "sync/resolve" (sync::SyncResolveParams) -> sync::SyncConflicts, since 1;
        /// What was replaced or deleted here, listed or put back.
        core SyncRestore = "sync/restore" (sync::SyncRestoreParams) -> sync::SyncBackups, since 1;
        /// Ends the connection that is kept for a node's files. What is under way on it fails.
        core FsClose = "fs/close" (fs::FsClose) -> fs::FsClosed, since 1;
        /// What a path leads to; links are followed.
        core FsStat = "fs/stat" (fs::FsPath) -> fs::Attr, since 1;
        /// What a path is itself.
        core FsLstat = "fs/lstat" (fs::FsPath) -> fs::Attr, since 1;
        /// The absolute path without links.
        core FsRealpath = "fs/realpath" (fs::FsPath) -> fs::FsName, since 1;
        /// What a link points to.
        core FsReadlink = "fs/readlink" (fs::FsPath) -> fs::FsName, since 1;
        /// How much room there is.
        core FsStatvfs = "fs/statvfs" (fs::FsPath) -> fs::FsSpace, since 1;
        /// A directory, with attributes, page by page.
        core FsList = "fs/list" (fs::FsListParams) -> fs::FsListing, since 1;
        /// A whole file in one answer.
        core FsReadSmall = "fs/readSmall" (fs::FsReadParams) -> fs::FsContent, since 1;
        /// A whole file at once; it is never seen half-written.
        core FsWriteSmall = "fs/writeSmall" (fs::FsWriteParams) -> fs::FsWritten, since 1;
        /// Makes a directory.
        core FsMkdir = "fs/mkdir" (fs::FsMakeParams) -> handshake::Empty, since 1;
        /// Removes a file, a link, or a directory.
        core FsRemove = "fs/remove" (fs::FsRemoveParams) -> fs::FsRemoved, since 1;
        /// Gives a file another name.
        core FsRename = "fs/rename" (fs::FsRenameParams) -> handshake::Empty, since 1;
        /// Mode, owner and times.
        core FsSetattr = "fs/setattr" (fs::FsAttrParams) -> handshake::Empty, since 1;
        /// Makes a symbolic link.
        core FsSymlink = "fs/symlink" (fs::FsLinkParams) -> handshake::Empty, since 1;
        /// Gives a file a second name (a hard link).
        core FsLink = "fs/link" (fs::FsHardLinkParams) -> handshake::Empty, since 1;
        /// What the node's file server can do. The path does not matter.
        core FsFeaturesOf = "fs/features" (fs::FsPath) -> fs::FsFeatures, since 1;
        /// Names of users and groups by their numbers, where the node's file server tells them.
        core FsOwners = "fs/owners" (fs::FsOwnersParams) -> fs::FsOwnerNames, since 1;
        /// A file as a stream.
        core FsOpenRead = "fs/openRead" (task::FsOpenReadParams) -> task::FsOpened, since 1;
        /// A file from a stream; it is never seen half-written.
        core FsOpenWrite = "fs/openWrite" (task::FsOpenWriteParams) -> task::FsWriting, since 1;
        /// Copies files between here and a node, or between two nodes. Answers at once.
        core FsCopy = "fs/copy" (task::FsCopyParams) -> task::FsTaskRef, since 1;
        /// Gives up a task; finished files stay. `fs/taskDone` still comes.
        core FsTaskCancel = "fs/taskCancel" (task::FsTaskRef) -> handshake::Empty, since 1;
        /// The tasks of this core.
        core FsTaskListAll = "fs/taskList" (handshake::Empty) -> task::FsTaskList, since 1;
        /// What starting a gate would do. Touches nothing but the configuration.
        core GatePrepare = "gate/prepare" (gate::GateParams) -> gate::GatePlan, since 1;
        /// Starts a gate: all its listeners or none. The same plan again changes nothing.
        core GateStart = "gate/start" (gate::GateParams) -> gate::GateStarted, since 1;
        /// Stops a gate: no new connections, open ones may drain, the rest is closed.
        core GateStop = "gate/stop" (gate::GateStop) -> gate::GateStopped, since 1;
        /// The gates that are running.
        core GateStatus = "gate/status" (gate::GateListParams) -> gate::GateList, since 1;
        /// Tries every upstream of a gate, step by step.
        core GateCheck = "gate/check" (gate::GateParams) -> gate::GateChecked, since 1;
        /// The open connections of a gate.
        core GateConnections = "gate/connections" (gate::GateRef) -> forward::Connections, since 1;
        /// Ends one connection of a gate.
        core GateKick = "gate/kick" (gate::GateKick) -> handshake::Empty, since 1;
        /// The local agent, and what has been forwarded to it.
        core AgentStatus = "agent/status" (agent::AgentStatusParams) -> agent::AgentStatus, since 1;
        /// Says where the local agent is from now on, e.g. after a new login.
        core AgentSetSocket = "agent/setSocket" (agent::SetSocket) -> handshake::Empty, since 1;
        /// Tries agent forwarding to one node, step by step.
        core AgentCheck = "agent/check" (agent::AgentCheckParams) -> agent::AgentCheck, since 1;
        /// May this host key be trusted?
        frontend AuthHostKey = "auth/hostKey" (auth::HostKeyQuestion) -> auth::HostKeyAnswer, since 1;
        /// Fields for a person to fill in: passwords, passphrases, codes.
        frontend AuthPrompt = "auth/prompt" (auth::PromptQuestion) -> auth::PromptAnswer, since 1;
        /// Yes or no.
        frontend AuthConfirm = "auth/confirm" (auth::ConfirmQuestion) -> auth::ConfirmAnswer, since 1;
    }
    events {
        /// Something happened to one node of a run.
        frontend ExecNodeEvent = "exec/node" (exec::ExecNode), since 1;
        /// The last word on a run.
        frontend ExecDoneEvent = "exec/done" (exec::ExecDone), since 1;
        /// The last word on a pty.
        frontend PtyExitedEvent = "pty/exited" (pty::PtyExited), since 1;
        /// A terminal has another size.
        frontend PtyResizedEvent = "pty/resized" (pty::PtyResized), since 1;
        /// Another view, or none, may type.
        frontend PtyInputOwnerEvent = "pty/inputOwner" (pty::PtyInputOwner), since 1;
        /// Something became of a session.
        frontend SessionStateEvent = "session/state" (session::SessionStateChange), since 1;
        /// A command of a session is run again, because its connection was lost.
        frontend SessionExecRetryEvent = "session/execRetry" (session::SessionExecRetry), since 1;
        /// The last word on a command of a session.
        frontend SessionExecDoneEvent = "session/execDone" (session::SessionExecDone), since 1;
        /// Something happened to one node of a transfer.
        frontend TransferNodeEvent = "transfer/node" (transfer::TransferNode), since 1;
        /// How far the nodes of a transfer have got.
        frontend TransferProgressEvent = "transfer/progress" (transfer::TransferProgress), since 1;
        /// What a dry run would do with one file.
        frontend TransferFileEvent = "transfer/file" (transfer::TransferFile), since 1;
        /// The last word on a transfer.
        frontend TransferDoneEvent = "transfer/done" (transfer::TransferDone), since 1;
        /// What a sync is about.
        frontend SyncStateEvent = "sync/state" (sync::SyncStateChange), since 1;
        /// What a sync would do with one path.
        frontend SyncStepEvent = "sync/step" (sync::SyncStep), since 1;
        /// How far a sync has got.
        frontend SyncProgressEvent = "sync/progress" (sync::SyncProgress), since 1;
        /// Both sides have changed a path.
        frontend SyncConflictEvent = "sync/conflict" (sync::SyncConflictEvent), since 1;
        /// A round of a watch has done something.
        frontend SyncRoundEvent = "sync/round" (sync::SyncDone), since 1;
        /// The last word on a sync.
        frontend SyncDoneEvent = "sync/done" (sync::SyncDone), since 1;
        /// The last word on a write or a copy.
        frontend FsTaskDoneEvent = "fs/taskDone" (task::FsTaskDone), since 1;
        /// A question is no longer open: it was answered, or is not to be answered any more. One
        /// that is withdrawn is cancelled as a request, too.
        frontend PromptDoneEvent = "auth/promptDone" (auth::PromptDone), since 1;
        /// A forward, or one of its connections, has changed.
        frontend ForwardStateEvent = "event/forward" (forward::ForwardEvent), since 1;
        /// A gate, or one of its connections, has changed; a denial is always told.
        frontend GateStateEvent = "event/gate" (gate::GateEvent), since 1;
        /// A node has used the local agent, or was kept from it.
        frontend AgentUseEvent = "event/agent" (agent::AgentEvent), since 1;
        /// A dialed connection has ended.
        frontend DialDoneEvent = "forward/dialDone" (forward::DialDone), since 1;
        /// About something that has no answer: a failed notification, an unreadable frame.
        both LinkErrorEvent = "$/error" (handshake::LinkError), since 1;
        /// Bytes of a stream, for peers without data frames.
        both StreamDataEvent = "stream/data" (stream::StreamData), since 1;
        /// The peer may send up to this absolute offset.
        both StreamGrantEvent = "stream/grant" (stream::StreamGrant), since 1;
        /// No more bytes will come on this stream.
        both StreamEndEvent = "stream/end" (stream::StreamEnd), since 1;
        /// The stream is aborted; what is on the way is discarded.
        both StreamResetEvent = "stream/reset" (stream::StreamReset), since 1;
        /// Bytes were left out here.
        frontend StreamGapEvent = "stream/gap" (stream::StreamGap), since 1;
        /// A line for the frontend's stderr, if it asked for them.
        frontend LogRecordEvent = "log/record" (handshake::LogRecord), since 1;
        /// Cancels a request. It is still answered: -32800, or its result if that was faster.
        both CancelEvent = "$/cancelRequest" (handshake::CancelParams), since 1;
        /// How far a long request has got.
        both ProgressEvent = "$/progress" (handshake::ProgressParams), since 1;
    }
}
