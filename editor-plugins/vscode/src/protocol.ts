// Generated from docs/protocol/openrpc.json by scripts/generate-types.mjs; do not edit.

import type { SecretText } from './wire/secret';

/** What a run does on each node. */
export type Action = ({
  command: string;
} | {
  commandBytes: Base64Bytes;
} | "shell" | {
  subsystem: string;
} | "connect" | {
  dial: {
    host: string;
    port: number;
  };
} | "hold");

export type AddressMode = ("shared" | "perUpstream");

/** An agent channel of a node. */
export type AgentChannel = {
  /** Since the node opened it. */
  ageMs?: number;
  node?: string;
  /** `queued`, `dialing`, `open`, `closing`. */
  state?: string;
};

/** Each step of the way, in order. */
export type AgentCheck = {
  node: string;
  steps: Array<CheckStep>;
};

/** `agent/check` */
export type AgentCheckParams = {
  agent?: (AgentSettings | null);
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  settings?: Settings;
};

/** `event/agent`: a node has used the local agent, or was kept from it. */
export type AgentEvent = {
  /** The channel's number: unique per link, never reused. */
  channel?: number;
  /** Events before this one that were left out because nobody took them. */
  dropped?: number;
  error?: string | null;
  /** `SHA256:…` of the key a signature was asked of. */
  key?: string | null;
  /** How long a signature took, or a channel was open. */
  ms?: number | null;
  node?: string;
  /** Of `rejected`: `full`, `noAgent`, `unbound`; else in words. */
  reason?: string | null;
  seq?: number;
  /** `opened`, `closed`, `rejected` (not opened); of requests `signed`, `denied` (no signature), `refused` (anything else), `failed` (the agent did not answer). */
  state?: string;
};

export type AgentKey = {
  comment?: string;
  /** `SHA256:…` */
  fingerprint?: string;
  type?: string;
};

/** What a node may do with the local agent. */
export type AgentSettings = {
  bind?: Bind;
  confirm?: Confirm;
  /** `SHA256:…` of the keys that may be seen and used. Empty: all. */
  keys?: Array<string>;
  policy?: Policy;
  /** The node fails (`agentForwardRefused`, `agentUnavailable`) instead of going on without it. */
  require?: boolean;
  /** The agent's socket. Default: `ForwardAgent`'s, what `agent/setSocket` said, `IdentityAgent`, `SSH_AUTH_SOCK`. */
  socket?: string | null;
};

/** The local agent, and what has been forwarded to it since the core started. Always `opened = closed + live`. */
export type AgentStatus = {
  /** `yes`, `unsupported`, or empty while nothing has been forwarded. */
  bind?: string;
  bytes?: number;
  /** Channels that are waited for or open now. */
  channels?: Array<AgentChannel>;
  closed?: number;
  dialRetries?: number;
  error?: string | null;
  keys?: Array<AgentKey>;
  lastError?: string | null;
  live?: number;
  opened?: number;
  queued?: number;
  reachable?: boolean;
  /** Other requests that were refused. */
  refused?: number;
  rejected?: number;
  /** The same by their reasons: `full`, `noAgent`, `unbound`. */
  rejections?: {
    [key: string]: number;
  };
  signDenied?: number;
  signOk?: number;
  signP50Ms?: number | null;
  signP99Ms?: number | null;
  socket?: string | null;
};

/** `agent/status` */
export type AgentStatusParams = {
  agent?: (AgentSettings | null);
  /** Whose `agent:` counts. */
  settings?: Settings;
  /** A node: only what it has done, and the agent that it would get. None: all. */
  target?: string | null;
};

/** What is known about a file. */
export type Attr = {
  atimeMs?: number | null;
  gid?: number | null;
  /** Permission bits. */
  mode?: number | null;
  /** The server knows whole seconds. */
  mtimeMs?: number | null;
  size?: number | null;
  /** `file`, `dir`, `link`, `special` or `unknown`. */
  type?: string;
  uid?: number | null;
};

export type Base64Bytes = string;

/** `session-bind@openssh.com`: tells the agent which server asks, so that keys restricted to destinations (`ssh-add -h`) stay so. */
export type Bind = "require" | "off";

/** Result of `cache/clear` and `cache/maintain`. */
export type CacheDropped = {
  /** Entries. */
  dropped?: number;
};

/** One entry; of a variable the name, never the value. */
export type CacheEntry = {
  /** In milliseconds. */
  ageMs?: number;
  /** The files it includes. */
  files?: Array<string>;
  hits?: number;
  name?: string;
};

/** Parameters of `cache/stats`. */
export type CacheParams = {
  /** Name every entry, too. */
  detailed?: boolean;
};

/** One cache. Limits are those of the link that asks, counts those of the core. */
export type CacheState = {
  /** Dropped because a file it was read from had changed. */
  changed?: number;
  /** This link's requests use it. */
  enabled?: boolean;
  /** Held now. */
  entries?: number;
  /** Dropped to make room. */
  evicted?: number;
  /** Dropped because it was too old. */
  expired?: number;
  /** With `detailed`: the entries, the one used last first. */
  held?: Array<CacheEntry>;
  hits?: number;
  misses?: number;
  /** `sshConfig` (parsed files, by path) or `environment` (variables, by name). */
  name?: string;
  /** Names that were looked up and are never kept. */
  passedBy?: number;
  /** Entries at most. */
  size?: number;
  /** How long an entry counts, in milliseconds. */
  ttlMs?: number;
};

/** Result of `cache/stats`. */
export type CacheStats = {
  caches: Array<CacheState>;
};

/** A JSON-RPC error object: the caller was wrong, or the call could not be taken. */
export type CallError = {
  code: number;
  data?: (ErrorData | null);
  /** For people; may change. */
  message: string;
};

/** `$/cancelRequest`. */
export type CancelParams = {
  /** The id of the request to cancel. */
  id: unknown;
};

/** `exec/cancel`: end the remote processes of a run, or of some of its nodes. */
export type CancelRun = {
  /** Indices; empty: all. */
  nodes?: Array<number>;
  run: number;
};

/** `config/check`: every problem in the files. */
export type CheckParams = {
  settings?: Settings;
};

export type CheckResult = {
  /** The files that were read. */
  files: Array<string>;
  problems: Array<Problem>;
};

export type CheckStep = {
  detail: string;
  ok: boolean;
  /** e.g. `agent`, `connect`, `bind`. */
  step: string;
};

export type Chosen = {
  level: number;
  major: number;
};

/** What a frontend can do beyond the baseline. */
export type ClientCapabilities = {
  /** Stream bytes may come as raw data frames. */
  binaryFrames?: boolean;
  /** Descriptors can travel beside this link (unix socket only). */
  fdPassing?: boolean;
  /** Send what the core would write to its stderr as `log/record`, up to this level: `error`, `info`, `debug1`, `debug2` or `debug3`. */
  log?: string | null;
  progress?: boolean;
  /** The prompt kinds this frontend can show to a person: `hostKey`, `password`, `otp`, `passphrase`, `confirm`. `hostKeyCheck`: it decides about host keys by itself, and is asked at once about each. */
  prompts?: Array<string>;
};

/** A frontend's surroundings, for a core that was not started by it: used for everything the link asks for, and never shown or logged. */
export type ClientEnvironment = {
  /** Relative paths start here. */
  cwd?: string;
  /** Empty: the core's. */
  home?: string;
  /** Permission bits that downloaded files do not get. Absent: as the core's own umask has it. */
  umask?: number | null;
  /** The environment variables. */
  vars?: {
    [key: string]: string;
  };
};

/** Who the frontend is, for logs and `link/list`. */
export type ClientInfo = {
  /** `cli`, `repl`, `editor`, `program`, …. */
  kind: string;
  name: string;
  version: string;
};

export type ClientLimits = {
  /** The largest JSON frame the frontend takes, in bytes. */
  maxFrame: number;
};

/** The configuration's `forwarding:`. */
export type Configured = {
  dynamic?: Array<string>;
  local?: Array<string>;
  remote?: Array<string>;
};

/** `forward/configured` */
export type ConfiguredParams = {
  settings?: Settings;
};

/** Whether a person is asked (`auth/confirm`) before a signature. */
export type Confirm = ("never" | "always" | "first");

export type ConfirmAnswer = ({
  outcome: "yes";
} | {
  outcome: "no";
} | {
  outcome: "cancelled";
});

/** `auth/confirm`: yes or no. */
export type ConfirmQuestion = {
  node: string;
  prompt: number;
  text: string;
};

/** What was agreed on with a node. */
export type Connected = {
  address?: string;
  /** The method that let us in, e.g. `publickey (agent)`. */
  auth?: string;
  /** From dialing to being let in, in milliseconds. */
  connectMs?: number;
  /** The gateway it was reached through. */
  gateway?: string;
  /** `SHA256:…` of the host key. */
  hostKey?: string;
  /** A connection that was already there was used. */
  reused?: boolean;
  user?: string;
};

/** Parameters of `connection/close`. */
export type ConnectionClose = {
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  ending?: Ending;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  settings?: Settings;
};

export type ConnectionEntry = {
  ageMs: number;
  bytesIn: number;
  bytesOut: number;
  conn: number;
  /** Whoever connected. */
  peer: string;
  target: string;
};

/** Parameters of `connection/check`: one node, reached as this link would reach it. */
export type ConnectionParams = {
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  settings?: Settings;
};

/** Connections along the way a link would take to a node. */
export type ConnectionState = {
  /** Kept for the next command. */
  idle?: number;
  /** In use. */
  open?: number;
};

/** The open connections of a forward or a gate. */
export type Connections = {
  connections: Array<ConnectionEntry>;
};

export type CoreCapabilities = {
  binaryFrames?: boolean;
  /** It was started as ssh's control master: only those that name a ControlPath use it. */
  control?: boolean;
  /** Sinks and sources may name descriptors that came over this link with `SCM_RIGHTS`: the first is 0, and so on. */
  fdPassing?: boolean;
  /** Sinks and sources may name inherited descriptors. */
  inheritedFds?: boolean;
  /** Others may use this core, and it outlives the link. */
  shared?: boolean;
};

export type CoreInfo = {
  name: string;
  pid: number;
  version: string;
};

export type CoreLimits = {
  /** Largest data frame payload, in bytes. */
  maxData: number;
  /** Largest JSON frame the core takes, in bytes. */
  maxFrame: number;
  /** Unanswered requests a link may have. */
  maxRequests: number;
  /** First credit of a stream, in bytes. */
  window: number;
};

/** One of them. */
export type DefinedSession = {
  cwd?: string | null;
  maxOutput?: number | null;
  name?: string;
  /** Its nodes: an expression. */
  target?: string;
  timeoutMs?: number | null;
};

/** The sessions the configuration names. `session/open` takes such a name as `defined`. */
export type DefinedSessions = {
  sessions?: Array<DefinedSession>;
};

/** `forward/dialDone`: the connection of `forward/dial` has ended. */
export type DialDone = {
  /** Why, if it did not end by itself. */
  error?: (CallError | null);
  forward: number;
};

/** `forward/dial`: one connection from the node (`ssh -W`). */
export type DialParams = {
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  host: string;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  port: number;
  settings?: Settings;
  sink?: Sink;
  source?: Source;
};

/** Result of `forward/dial`: the connection is open. `forward/dialDone` says when it has ended. */
export type Dialed = {
  forward: number;
  input?: number | null;
  output?: number | null;
};

/** Parameters of `forward/drain`. */
export type DrainParams = {
  forward: number;
  /** The answer comes with the end of the last connection, not with that of the listener. */
  wait?: boolean;
};

export type EffectiveValue = {
  keyword: string;
  /** `file:line`, `command line`, or `default`. */
  origin: string;
  /** `applied`, `ignored` (has no effect here), `warned` (is missed) or `refused`. */
  status: string;
  value: string;
};

/** No parameters, or nothing to say. */
export type Empty = Record<string, unknown>;

/** How a node ended: with an exit, or with a failure. */
export type Ended = {
  /** From the start of the command, in milliseconds. */
  durationMs?: number;
  exit?: (Exit | null);
  failure?: (Failure | null);
  /** Set when the command was ended by us: were its processes seen to be gone? */
  killed?: (Killed | null);
  /** Between cores, with `gather`: which output its streams have carried, or would have. */
  output?: (Output | null);
  stderrBytes?: number;
  /** Bytes of stdout and stderr the node sent. */
  stdoutBytes?: number;
};

/** When a connection ends. */
export type Ending = ("now" | "withLast");

export type EntryChecked = {
  alias?: string;
  steps?: Array<CheckStep>;
};

/** What programs look at. */
export type ErrorData = {
  /** Path of the wrong parameter, e.g. `params.fanout`. */
  at?: string | null;
  cause?: Array<string>;
  hint?: string | null;
  hop?: string | null;
  /** The stable key, e.g. `config.invalid`, `handle.unknown`. */
  kind?: string;
  node?: string | null;
  retryable?: boolean;
  supported?: Array<number>;
};

/** `exec/done`: the last word on a run. */
export type ExecDone = {
  run: number;
  summary: Summary;
};

/** `exec/node`: something happened to one node of a run. */
export type ExecNode = ({
  /** 1 for the first attempt. */
  attempt: number;
  state: "connecting";
} | Connected & {
  state: "connected";
} | {
  /** The node gives no terminal, though one was asked for. */
  noPty?: boolean;
  state: "executing";
  stderr?: number | null;
  stdout?: number | null;
} | Ended & {
  state: "ended";
}) & {
  /** Index into [`ExecStarted::nodes`]. */
  index: number;
  /** The node's name. */
  node: string;
  run: number;
};

/** Parameters of `exec/start`. */
export type ExecParams = {
  action?: Action;
  /** What the nodes may do with it. */
  agent?: (AgentSettings | null);
  /** Batch sizes, in order; the last one repeats. Empty: all nodes in one batch. */
  batches?: Array<Threshold>;
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Environment to send (servers take only what `AcceptEnv` allows). */
  env?: {
    [key: string]: string;
  };
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** Stop starting nodes once this many have failed. */
  failFast?: (Threshold | null);
  /** How many nodes at once. None: the configuration's `fanout` (64). */
  fanout?: number | null;
  /** Forward the local agent to the nodes. */
  forwardAgent?: boolean;
  /** A node's output is wanted when it has ended and not before. A gateway then sends equal output once, and names it afterwards ([`Output`]). */
  gather?: boolean;
  /** Kill the remote processes when the run is cancelled or its link is lost (the ssh grammar leaves them alone, as ssh does). */
  guard?: boolean | null;
  /** `core`: the run belongs to no link, and what its streams say is recorded. */
  lifetime?: Lifetime;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  /** Pause between batches, in milliseconds. */
  pauseMs?: number | null;
  /** Between cores: nodes that are planned already, instead of `nodes`. */
  planned?: Array<Planned>;
  pty?: (PtyRequest | null);
  /** What its streams say is recorded also while it belongs to its link: it is read with `job/attach`, and `link/close` can leave it to the core. */
  record?: boolean;
  /** Connect attempts after the first one, for retryable failures. */
  retries?: number | null;
  settings?: Settings;
  stderr?: Sink;
  stdin?: Source;
  stdout?: Sink;
  /** Answer sudo's password prompt (asked once, by `auth/prompt`). */
  sudo?: boolean;
  /** How long a command may run on a node, in milliseconds. None: the configuration's default; 0: for ever. */
  timeoutMs?: number | null;
  /** Reach the nodes through gateways. None: as the configuration says. */
  via?: (Via | null);
  /** First credit of each stdout and stderr stream, in bytes. None: `limits.window`. */
  window?: number | null;
};

/** Result of `exec/start`. */
export type ExecStarted = {
  /** The run's nodes, each once, in order. Events name them by index. */
  nodes: Array<string>;
  run: number;
  /** The stdin stream, when `stdin` is `stream`: frontend to core. */
  stdin?: number | null;
  /** Warnings about the configuration, for stderr. */
  warnings?: Array<string>;
};

/** How the remote process ended (RFC 4254 section 6.10). */
export type Exit = ({
  status: number;
} | {
  signal: string;
});

/** `node/resolve`: what would be used to reach a node (`bssh explain`). */
export type ExplainParams = {
  /** The command that is going to run, for `Match command`. */
  command?: string | null;
  /** The values wanted, by keyword in lower case; without it all of them. */
  keywords?: Array<string> | null;
  /** The node is an ssh destination, taken literally (ssh grammar: no clusters). */
  literal?: boolean;
  node?: string;
  settings?: Settings;
};

export type Explained = {
  /** Jump hosts on the way, first hop first. */
  hops?: Array<string>;
  host: string;
  /** A command to run here, in the user's shell, once connected (`LocalCommand`, if `PermitLocalCommand`). */
  local_command?: string | null;
  node: string;
  port: number;
  user: string;
  /** The effective values. */
  values: Array<EffectiveValue>;
  warnings?: Array<string>;
};

/** Why a node has no exit. Data, never an error of the call. */
export type Failure = {
  /** Time since the node's turn began, in milliseconds. */
  afterMs?: number;
  /** Stable key, e.g. `refused`, `timeout`, `hostKeyChanged`, `authFailed`, `transportLost`. */
  code?: string;
  /** What to do about it. */
  hint?: string | null;
  /** The jump host it happened at, if not at the node itself. */
  hop?: string | null;
  /** One line, lower case, for people. */
  message?: string;
  phase?: Phase;
  retryable?: boolean;
};

/** What went wrong with one file. */
export type FileFault = {
  /** Stable key, e.g. `notFound`, `permission`, `noSpace`, `exists`, `changed`, `unsafeName`. */
  code?: string;
  /** It went wrong on the core's side, not on the node. */
  here?: boolean;
  /** One line, lower case, for people. */
  message?: string;
  path?: PathBytes;
};

/** `group/fold`: several lists of nodes, each to its shortest expression. */
export type FoldParams = {
  sets: Array<Array<string>>;
};

export type Folded = {
  /** One expression per list, in order. */
  exprs: Array<string>;
};

export type ForwardEntry = {
  bound: string;
  bytesIn: number;
  bytesOut: number;
  /** Open now. */
  connections: number;
  /** That were not allowed. */
  denied?: number;
  /** Why it is reconnecting. */
  error?: string | null;
  /** Whose target could not be reached. */
  failed?: number;
  forward: number;
  kind: ForwardKind;
  node: string;
  /** Opened since the forward is there. */
  opened?: number;
  spec: string;
  /** `open`, `reconnecting` while its connection is lost, `draining` when it no longer listens. */
  state?: string;
};

/** `event/forward`: a forward's state has changed, or (with `watch`) one of its connections has opened, closed, failed or been denied. */
export type ForwardEvent = {
  /** Tries to connect again so far. */
  attempt?: number | null;
  bytesIn?: number | null;
  bytesOut?: number | null;
  /** The connection's number. */
  conn?: number | null;
  /** Events before this one that were left out because nobody took them. */
  dropped?: number;
  error?: string | null;
  forward: number;
  node: string;
  peer?: string | null;
  /** Why it closed: `clientEof`, `upstreamEof`, `idle`, `kicked`, `slowReader`, `lost`, `error`. */
  reason?: string | null;
  /** Counts the events of this forward. */
  seq: number;
  /** Of the forward: `open`, `reconnecting`, `closed`, `acceptFailed`. Of a connection: `connOpen`, `connClose`, `connFailed`, `connDenied`. */
  state: string;
  target?: string | null;
};

export type ForwardKind = "local" | "remote" | "dynamic";

export type ForwardList = {
  forwards: Array<ForwardEntry>;
};

/** Parameters of `forward/list`. */
export type ForwardListParams = {
  /** Those of other links, too, and those that outlived theirs. */
  all?: boolean;
  /** Only those on the connection that these targets, one node, have. */
  targets?: (Targets | null);
};

export type ForwardOpened = {
  /** Where it listens, port 0 resolved. */
  bound: string;
  forward: number;
};

/** `forward/open`: ask one node for a forward, in OpenSSH's own notation. */
export type ForwardParams = {
  /** Where SOCKS clients may go: `host:port`, either may be `*`. Empty: anywhere. */
  allow?: Array<string>;
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** Outlive a lost connection: the listener stays and a new connection is made. */
  keep?: boolean;
  kind: ForwardKind;
  /** What SOCKS 5 clients must log in with. */
  login?: (SocksLogin | null);
  /** Connections at once; further ones wait. Default: the configuration's. */
  maxConnections?: number | null;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  settings?: Settings;
  /** `[bind:]port:host:hostport`, `/socket:host:port`, … as after ssh's flag. Without a target a remote forward speaks SOCKS. */
  spec: string;
  /** Tell of every connection, too. */
  watch?: boolean;
};

export type ForwardRef = {
  forward: number;
};

/** `fs/setattr`: chmod, chown and utime. What is absent stays. */
export type FsAttrParams = {
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  mode?: number | null;
  /** Of a link itself, not of what it points to. */
  noFollow?: boolean;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  /** User and group. */
  owner?: [number, number] | null;
  path?: PathBytes;
  settings?: Settings;
  /** Access and change; seconds count. */
  timesMs?: [number, number] | null;
};

/** `fs/close`: ends the connection that is kept for a node's files. */
export type FsClose = {
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  settings?: Settings;
};

/** Result of `fs/close`. */
export type FsClosed = {
  /** There was one. */
  closed?: boolean;
};

export type FsContent = {
  attr: Attr;
  data: Base64Bytes;
  /** Names this content: the first 16 bytes of its SHA-256 in hex. */
  etag: string;
};

/** `fs/copy`. A directory that is there receives the copy; anything else is the copy's own name. */
export type FsCopyParams = {
  /** Read everything back and compare. */
  checksum?: boolean;
  /** `to` is the copy's own name, also where a directory of that name is there. */
  exact?: boolean;
  from?: FsPlace;
  overwrite?: Overwrite;
  /** Keep modes and times exactly. */
  preserve?: boolean;
  /** Echoed in `$/progress`. */
  progressToken?: unknown;
  recursive?: boolean;
  /** Go on with what an earlier copy left. */
  resume?: boolean;
  to?: FsPlace;
};

export type FsEntry = {
  /** Of a link: its own. */
  attr: Attr;
  /** The server's own line about it, as `ls -l` would print. */
  long?: (PathBytes | null);
  name: PathBytes;
};

/** Result of `fs/features`: what a node's file server can do. */
export type FsFeatures = {
  /** Extensions by name, e.g. `copy-data`. */
  extensions?: Array<string>;
  /** Files that may be open at once. */
  handles?: number;
  /** Bytes of one read and of one write. */
  read?: number;
  /** How long one request takes, in microseconds. */
  roundTripUs?: number;
  write?: number;
};

/** `fs/link`: a second name for the file `path`. */
export type FsHardLinkParams = {
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  path?: PathBytes;
  settings?: Settings;
  /** The new name. */
  to?: PathBytes;
};

/** `fs/symlink`: makes `path` point to `target`. */
export type FsLinkParams = {
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  path?: PathBytes;
  settings?: Settings;
  target?: PathBytes;
};

/** `fs/list`. */
export type FsListParams = {
  /** Where the page before ended. The listing is the one that was begun with. */
  cursor?: string | null;
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** Entries at once. None: 1000. */
  limit?: number | null;
  /** Also the line the server would show. */
  long?: boolean;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  path?: PathBytes;
  settings?: Settings;
};

export type FsListing = {
  /** There is more. */
  cursor?: string | null;
  /** Sorted by name, without `.` and `..`. */
  entries: Array<FsEntry>;
};

/** `fs/mkdir`. */
export type FsMakeParams = {
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  mode?: number | null;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  /** Also the directories above; one that is there is no error. */
  parents?: boolean;
  path?: PathBytes;
  settings?: Settings;
};

/** Result of `fs/realpath` and `fs/readlink`. */
export type FsName = {
  path: PathBytes;
};

/** `fs/openRead`: a file, or a part of one, as a stream. */
export type FsOpenReadParams = {
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** At most so many bytes. None: to the end. */
  length?: number | null;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  /** Where to begin. */
  offset?: number;
  path?: PathBytes;
  settings?: Settings;
  /** First credit. None: 4 MiB. */
  window?: number | null;
};

/** `fs/openWrite`: a whole file from a stream. */
export type FsOpenWriteParams = {
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** Only if the file still has this content; empty: only if it is not there. */
  ifEtag?: string | null;
  /** Permission bits. None: those of the file that is there, else the server's choice. */
  mode?: number | null;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  path?: PathBytes;
  settings?: Settings;
  /** How many bytes will come; another number is a fault. None: as many as there are. */
  size?: number | null;
};

/** Result of `fs/openRead`. The stream ends with `stream/end`, or with `stream/reset` if the file cannot be read to its end. Refusing the stream closes the file. */
export type FsOpened = {
  attr: Attr;
  stream: number;
};

/** Names in the order of the numbers; empty where the node knows none. */
export type FsOwnerNames = {
  groups?: Array<PathBytes>;
  users?: Array<PathBytes>;
};

/** `fs/owners`: names of users and groups. The path does not matter. */
export type FsOwnersParams = {
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  groups?: Array<number>;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  path?: PathBytes;
  settings?: Settings;
  users?: Array<number>;
};

/** A path on a node. Relative ones start in the user's home; `~` and `~user` are understood. */
export type FsPath = {
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  path?: PathBytes;
  settings?: Settings;
};

/** One end of a copy. */
export type FsPlace = {
  /** Exactly one node. None: here. */
  node?: (Targets | null);
  path?: PathBytes;
};

/** `fs/readSmall`: a whole file in one answer. */
export type FsReadParams = {
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** More is an error. None: 1 MiB; at most 8 MiB. */
  maxBytes?: number | null;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  path?: PathBytes;
  settings?: Settings;
};

/** `fs/remove`. A link is removed, never what it points to. */
export type FsRemoveParams = {
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  /** Only if it is that: `file` (anything but a directory) or `dir`. None: whatever it is. */
  only?: string | null;
  path?: PathBytes;
  /** A directory with all that is in it. */
  recursive?: boolean;
  settings?: Settings;
};

export type FsRemoved = {
  removed: number;
};

/** `fs/rename`. */
export type FsRenameParams = {
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  /** Replace a file that is there. */
  overwrite?: boolean;
  path?: PathBytes;
  settings?: Settings;
  to?: PathBytes;
};

/** Result of `fs/statvfs`, in bytes and inodes. */
export type FsSpace = {
  /** For users other than root. */
  available?: number;
  free?: number;
  inodes?: number;
  inodesFree?: number;
  readOnly?: boolean;
  total?: number;
};

/** `fs/taskDone`: the last word on a task. */
export type FsTaskDone = {
  /** Of a written file. */
  attr?: (Attr | null);
  bytes?: number;
  errors?: Array<FileFault>;
  /** Names a written file's content, as `fs/readSmall` does. */
  etag?: string | null;
  /** Why it is not complete. `filesFailed`: `errors` has the causes, the rest was done. */
  failure?: (Failure | null);
  files?: number;
  skipped?: number;
  task?: number;
};

export type FsTaskEntry = {
  /** `copy` or `write`. */
  kind: string;
  /** Where to. */
  path: PathBytes;
  runningMs: number;
  task: number;
};

/** `fs/taskList` */
export type FsTaskList = {
  tasks: Array<FsTaskEntry>;
};

/** Result of `fs/copy`, and what names a task. */
export type FsTaskRef = {
  task: number;
};

/** `fs/writeSmall`: a whole file at once. */
export type FsWriteParams = {
  data?: Base64Bytes;
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** Only if the file still has this content; empty: only if it is not there. */
  ifEtag?: string | null;
  /** Permission bits. None: those of the file that is there, else the server's choice. */
  mode?: number | null;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  path?: PathBytes;
  settings?: Settings;
};

/** Result of `fs/openWrite`. `stream/end` gives the file its name, `stream/reset` leaves the old one; `fs/taskDone` says how it went. Until then the old file is whole. */
export type FsWriting = {
  stream: number;
  task: number;
  /** First credit. */
  window: number;
};

export type FsWritten = {
  attr: Attr;
  etag: string;
};

/** `gate/check`: each upstream, step by step. */
export type GateChecked = {
  entries?: Array<EntryChecked>;
};

/** One host that may be reached. */
export type GateEntry = {
  alias?: string;
  connectTimeoutMs?: number;
  /** `SHA256:…` or a known_hosts line: any other host key closes the connection. */
  hostKey?: string | null;
  hostname?: string;
  maxConns?: number;
  port?: number;
  /** The node whose connection carries it. */
  via?: string | null;
};

/** `event/gate`: a connection has opened, closed, or been denied; a listener is in trouble. */
export type GateEvent = {
  alias?: string | null;
  bytesDown?: number | null;
  bytesUp?: number | null;
  conn?: number | null;
  /** Events before this one that were left out because nobody took them. */
  dropped?: number;
  error?: string | null;
  gate?: number;
  ms?: number | null;
  name?: string;
  peer?: string | null;
  /** `clientEof`, `upstreamEof`, `dialFailed`, `idle`, `kicked`, `limit`, `notSsh`, `hostKeyMismatch`, `gateStopped`, `error`; of a denial: `notListed`, `address`. */
  reason?: string | null;
  seq?: number;
  /** `connOpen`, `connClose`, `connDenied`, `acceptFailed`, `listenerFailed`, `listening` (again), `stopped`. */
  state?: string;
  /** Address and port, or `host:port` that was denied. */
  upstream?: string | null;
  via?: string | null;
};

export type GateKick = {
  conn?: number;
  name?: string;
};

export type GateList = {
  gates?: Array<GateStatus>;
};

/** `gate/status` */
export type GateListParams = {
  /** Those of other links of this core, too. */
  all?: boolean;
};

export type GateListener = {
  alias?: string;
  /** Address and port, or the socket's path. */
  listen?: string;
  upstream?: string;
  via?: string | null;
};

export type GateMode = ("listen" | "proxy" | "socks");

/** A gate by its name in the configuration, or spelled out. */
export type GateParams = {
  inline?: (GateSpec | null);
  name?: string | null;
  /** `gate/start`: refuse if this is not the plan any more. */
  planId?: string | null;
  /** `gate/start`: take the place of a gate of this name with another plan. */
  replace?: boolean;
  settings?: Settings;
};

/** `gate/prepare`: what starting would do. Nothing was bound, dialed or looked up. */
export type GatePlan = {
  /** For the client's known_hosts; empty without pinned keys. */
  knownHosts?: string;
  listeners?: Array<GateListener>;
  name?: string;
  planId?: string;
  /** For the client's ssh_config. */
  sshConfig?: string;
  warnings?: Array<string>;
};

export type GateRef = {
  name?: string;
};

/** What a gate is, as in the configuration's `gates:`. */
export type GateSpec = {
  addressMode?: AddressMode;
  /** Both sides must speak SSH. */
  bannerCheck?: boolean;
  /** Where a name may not lead: `loopback`, `link-local`, `multicast`, `unspecified`, `private`, and networks such as `192.0.2.0/24`. Default: the first four. */
  denyAddrs?: Array<string>;
  /** A name may not lead to a private address (RFC 1918, ULA) either. */
  denyPrivate?: boolean;
  /** How long connections may go on when the gate is stopped. */
  drainMs?: number;
  entries?: Array<GateEntry>;
  /** Without a byte for so long a connection ends. 0: never. */
  idleTimeoutMs?: number;
  listenAddr?: string;
  /** Connections at once. */
  maxConns?: number;
  mode?: GateMode;
  name?: string;
  /** What becomes of a listener that cannot accept any more. */
  restart?: Restart;
  /** The Unix socket of mode `proxy`. Default: `gate-NAME.sock` in `$XDG_RUNTIME_DIR`, else in `~/.ssh`. */
  socket?: string | null;
  /** The port of mode `socks`. */
  socksPort?: number;
};

export type GateStarted = {
  gate?: number;
  listeners?: Array<GateListener>;
  planId?: string;
};

export type GateStatus = {
  bytesDown?: number;
  bytesUp?: number;
  connections?: number;
  denied?: number;
  failed?: number;
  gate?: number;
  listeners?: Array<GateListener>;
  name?: string;
  opened?: number;
  planId?: string;
};

/** `gate/stop` */
export type GateStop = {
  drainMs?: number | null;
  /** This gate and no other, whatever its name. */
  gate?: number | null;
  /** Whichever gate has this name now. */
  name?: string;
};

export type GateStopped = {
  /** Connections that were closed. */
  closed?: number;
  /** Connections that ended by themselves. */
  drained?: number;
  /** There was such a gate. */
  stopped?: boolean;
};

export type Group = {
  count: number;
  name: string;
  /** The folded node set. */
  nodes: string;
  /** `file:line`, if it is written in a file. */
  origin?: string | null;
  /** Where it comes from: `cluster`, `ssh`, `backendai`, `slurm`, `pbs`, or a source's name. */
  source: string;
};

export type GroupList = {
  groups: Array<Group>;
  warnings?: Array<string>;
};

/** `group/list`: every cluster and group the configuration knows. */
export type GroupListParams = {
  settings?: Settings;
};

export type HostKeyAnswer = ({
  outcome: "accept";
  scope: TrustScope;
} | {
  outcome: "reject";
});

export type HostKeyInfo = {
  /** The key itself, or its certificate, as RFC 4253 section 6.6 writes it. */
  blob?: (Base64Bytes | null);
  /** `SHA256:…` */
  fingerprint: string;
  /** e.g. `ssh-ed25519`. */
  type: string;
};

/** `auth/hostKey`: may this key be trusted? */
export type HostKeyQuestion = {
  hop?: string | null;
  /** The name the key would be filed under, e.g. `[127.0.0.1]:2222`. */
  host: string;
  key: HostKeyInfo;
  /** Other names the same key is known by. */
  known?: Array<string>;
  node: string;
  prompt: number;
};

export type InfoResult = {
  /** How long it stays without work and frontends, in milliseconds. */
  idleMs?: number | null;
  pid: number;
  protocol: Chosen;
  /** The socket it listens on, if it is shared. */
  socket?: string | null;
  uptimeMs: number;
  version: string;
};

/** Parameters of `initialize`. Their shape is frozen for ever. */
export type InitializeParams = {
  capabilities?: ClientCapabilities;
  client: ClientInfo;
  /** Whose environment this link's requests are read with. None: the core's own. */
  environment?: (ClientEnvironment | null);
  limits?: (ClientLimits | null);
  protocol: Offer;
  /** Reject parameters the core does not know (for frontend tests). */
  strict?: boolean;
};

/** Result of `initialize`. Its shape is frozen for ever. */
export type InitializeResult = {
  capabilities?: CoreCapabilities;
  core: CoreInfo;
  /** Feature name to the level of that feature. */
  features?: {
    [key: string]: number;
  };
  limits: CoreLimits;
  protocol: Chosen;
  /** This link's id, unique in this core process. */
  session: number;
};

/** `session/configured`: the configuration's `interactive:` for these targets. */
export type Interactive = {
  /** `prompt`, `node`, `command`, `success`, `error` or `warning` to a colour's name or `#rrggbb`. */
  colors?: {
    [key: string]: string;
  };
  /** `singleNode` or `multiplex`. */
  defaultMode?: string | null;
  historyFile?: string | null;
  nodeSwitchPrefix?: string | null;
  /** With `{node}`, `{user}`, `{host}`, `{pwd}`, `{ready}` and `{active}`. */
  promptFormat?: string | null;
  showTimestamps?: boolean | null;
};

/** Parameters of `job/attach`. */
export type JobAttach = {
  /** Stay until the run is over; else `exec/done` comes after what there is, with the counts so far. */
  follow?: boolean;
  /** Bytes of output to leave out. */
  from?: number;
  job?: number;
  /** First credit of each stream, in bytes. None: `limits.window`. */
  window?: number | null;
};

export type JobEntry = {
  command?: string;
  job?: number;
};

export type JobEntry2 = {
  /** Since it was started, in milliseconds. */
  ageMs?: number;
  /** Bytes of output recorded so far, those no longer kept included. */
  bytes?: number;
  /** It outlives its link. */
  detached?: boolean;
  /** Nodes that are done. */
  ended?: number;
  job?: number;
  /** `run`, `transfer`, `forward`, `pty`, `session`, or `background` for a session's job. */
  kind?: string;
  nodes?: number;
  running?: boolean;
  /** A session's background job: its exit status, once it is over. */
  status?: number | null;
  /** A run's counts, once it is over. */
  summary?: (Summary | null);
  /** What it does: a command line, a forward's specification. */
  title?: string;
};

/** One job. */
export type JobHandle = {
  job: number;
  /** `job/wait`: the job is one of this session's background, by its number there. */
  session?: number | null;
};

/** `job/kill`. */
export type JobKill = {
  job?: number;
  session?: number;
  /** Its name without `SIG`. */
  signal?: string;
};

/** Result of `job/list`: what runs, and what is over and not forgotten yet. */
export type JobList = {
  jobs: Array<JobEntry2>;
};

/** Parameters of `job/nodes`. */
export type JobNodes = {
  job?: number;
  /** `ok`, `failed` (the unreachable ones included) or `unreachable`; empty: all. */
  which?: string;
};

/** Result of `job/read`: at most 1 MiB from the offset. */
export type JobOutput = {
  data: Base64Bytes;
  /** The job's exit status, once it has ended. */
  status?: number | null;
};

/** `job/read`: what a job has written so far. */
export type JobRead = {
  job?: number;
  offset?: number;
  session?: number;
  stderr?: boolean;
};

export type JobRef = {
  /** Unique per session. */
  job?: number;
  session?: number;
};

/** `job/start`: a command in the background. It survives a lost connection. */
export type JobStart = {
  command?: string;
  session?: number;
};

/** Result of `journal/read`. */
export type JournalLines = {
  /** JSON objects, oldest first. */
  lines: Array<string>;
  /** The older ones of those that were asked for did not fit. */
  more?: boolean;
};

/** Parameters of `journal/read`. */
export type JournalParams = {
  /** At most so many of the newest lines; fewer, if they do not fit into one answer. */
  last?: number;
  /** But for so many that are newer still: those that were read before. */
  skip?: number;
};

/** `forward/kick`: end one connection. */
export type KickParams = {
  conn: number;
  forward: number;
};

export type Killed = ("confirmed" | "unconfirmed");

/** How long a handle lives. */
export type Lifetime = ("connection" | "core");

/** Parameters of `link/close`. */
export type LinkCloseParams = {
  /** Jobs of this link that go on without it. */
  keep?: Array<number>;
};

export type LinkEntry = {
  client: ClientInfo;
  /** The link's id: `session` in the answer to `initialize`. */
  link: number;
  /** It is the one that asks. */
  own: boolean;
  /** How long it has been there, in milliseconds. */
  sinceMs: number;
};

/** `$/error`: about something that has no answer (a failed notification, an unreadable frame). */
export type LinkError = {
  about?: string | null;
  error: CallError;
};

/** Result of `link/list`: who is attached to this core. */
export type LinkList = {
  links: Array<LinkEntry>;
};

/** The sources of an upload. */
export type Listed = {
  /** Parents come before what is in them. */
  items?: Array<ListedItem>;
  roots?: Array<ListedRoot>;
};

/** A file, directory or link of a source. */
export type ListedItem = {
  /** In seconds. */
  accessed?: number;
  changed?: number;
  /** The part of a second of `changed`. */
  changedNs?: number;
  /** The path below the root; empty for the root itself. */
  inner?: PathBytes;
  isDir?: boolean;
  /** What it is a link to. */
  link?: (PathBytes | null);
  mode?: number;
  /** Index into [`Listed::roots`]. */
  root?: number;
  size?: number;
};

/** One source. */
export type ListedRoot = {
  isDir?: boolean;
  /** The name it gets in a directory. Empty: its contents go there. */
  name?: PathBytes;
  /** Where it lies. */
  path?: PathBytes;
};

/** How much the core remarks on. */
export type LogLevelParams = {
  /** An `ssh_config` `LogLevel` in lower case. */
  level: string;
};

/** `log/record`: a line the core would have written to stderr, had this frontend started it. */
export type LogRecord = {
  /** `error`, `info`, `debug1`, `debug2`, `debug3`, or `banner`: a server's own text. */
  level?: string;
  message?: string;
};

export type NodeNames = {
  nodes: Array<string>;
  warnings?: Array<string>;
};

export type NodeProgress = {
  bytes?: number;
  files?: number;
  index?: number;
  totalBytes?: number;
  /** What is known to be there to transfer, done or not; grows while directories are read. */
  totalFiles?: number;
};

/** Which protocol versions a frontend speaks. */
export type Offer = {
  /** The highest level of the highest major. */
  level: number;
  /** Every major the frontend speaks. */
  majors: Array<number>;
};

/** What becomes of a command when its connection is lost. */
export type OnDisconnect = ("kill" | "keep");

/** The name of what a node has said on stdout and stderr: its SHA-256. A core names output of at most [`MOST_NAMED`] bytes a stream, and what it has named among the last [`NAMES`] of a link. */
export type Output = ({
  new: Base64Bytes;
} | {
  same: Base64Bytes;
});

/** A file on the core's machine with a stream of a command; it goes with its session. */
export type OutputFile = {
  /** Bytes that are in it: the stream's first ones. */
  bytes?: number;
  /** Why they are not all. */
  error?: string | null;
  /** None: it could not be made. */
  path?: string | null;
};

/** What becomes of files that are there already. */
export type Overwrite = ("replace" | "fail" | "newer");

export type PathBytes = (string | {
  b64: Base64Bytes;
});

/** Parameters of `config/persist`. */
export type PersistParams = {
  settings?: Settings;
};

/** Result of `config/persist`. */
export type PersistResult = {
  /** How long a shared core and its connections are to stay, in milliseconds. None: the configuration asks for no shared core. */
  persistMs?: number | null;
};

/** Where on the way to an exit a node failed. */
export type Phase = ("resolve" | "dial" | "handshake" | "host-key" | "auth" | "channel" | "exec" | "transfer" | string);

/** A node that the caller has planned. */
export type Planned = {
  /** A label: what events and questions call it. */
  name?: string;
  /** How it is reached, as ssh_config lines (`Keyword=value`); `HostName` is looked up there. */
  options?: Array<string>;
};

export type Policy = ("signOnly" | "full");

/** Result of `core/ping`. */
export type Pong = {
  /** The core's clock, in milliseconds since 1970. */
  unixMs?: number;
};

/** Result of `core/probe`: how many connections have answered, and how many have not and were closed. */
export type Probed = {
  alive?: number;
  closed?: number;
};

export type Problem = {
  column: number;
  file: string;
  hint?: string | null;
  line: number;
  message: string;
  /** `error` or `warning`. */
  severity: string;
};

/** One step of progress. */
export type Progress = {
  done?: number | null;
  /** `begin`, `report` or `end`. */
  kind?: string;
  message?: string | null;
  title?: string | null;
  total?: number | null;
  /** What `done` and `total` count, e.g. `bytes`. */
  unit?: string | null;
};

/** `$/progress`: how far the request that carried `progressToken` has got. */
export type ProgressParams = {
  /** The request's `progressToken`. */
  token: unknown;
  value: Progress;
};

export type PromptAnswer = ({
  answers: {
    [key: string]: Secret;
  };
  outcome: "answered";
} | {
  outcome: "cancelled";
});

/** `auth/promptDone`: the question is no longer open. */
export type PromptDone = {
  prompt: number;
};

export type PromptField = {
  /** Show what is typed. */
  echo: boolean;
  id: string;
  label: string;
};

export type PromptKind = "password" | "passphrase" | "keyboardInteractive" | "sudo";

/** `auth/prompt`: fields for a person to fill in. */
export type PromptQuestion = {
  /** 1 for the first time; more also for every further question of one dialogue. */
  attempt: number;
  fields: Array<PromptField>;
  hop?: string | null;
  instructions?: string | null;
  kind: PromptKind;
  node: string;
  prompt: number;
  /** e.g. `alice@web1's password`. */
  title: string;
};

/** `pty/attach`: one more view. */
export type PtyAttach = {
  from?: PtyFrom;
  pty?: number;
  /** Leave the input where it is. Otherwise this view takes it. */
  readOnly?: boolean;
  /** First credit of the output stream, in bytes. None: 256 KiB. */
  window?: number | null;
};

/** Result of `pty/attach`. */
export type PtyAttached = {
  /** Offset of its first byte in the pty's output. */
  at: number;
  cols: number;
  /** What is typed, if this view took the input. */
  input?: number | null;
  /** The view. */
  output: number;
  rows: number;
};

export type PtyEntry = {
  /** Bytes of output so far. */
  bytes: number;
  cols: number;
  /** None: the login shell. */
  command?: string | null;
  /** Bytes kept for later views. */
  kept: number;
  node: string;
  /** The view that owns the input. */
  owner?: number | null;
  pty: number;
  rows: number;
  runningMs: number;
  /** Views attached. */
  views: number;
};

/** `pty/exited`: the last word on a pty; it follows the ends of its streams. */
export type PtyExited = {
  /** Bytes of output. */
  bytes: number;
  durationMs: number;
  exit?: (Exit | null);
  failure?: (Failure | null);
  node: string;
  pty: number;
};

/** Where a view begins. */
export type PtyFrom = ("replay" | "live" | {
  offset: number;
});

/** Result of `pty/takeInput`. */
export type PtyInput = {
  input: number;
};

/** `pty/inputOwner`: who may type has changed. */
export type PtyInputOwner = {
  /** The view that owns the input; none: nobody. */
  output?: number | null;
  pty: number;
};

/** `pty/list`: the ptys of this core. */
export type PtyList = {
  ptys: Array<PtyEntry>;
};

/** `pty/open`: connects if need be, and starts the login shell or a command with a terminal; a node that gives none is an error. */
export type PtyOpenParams = {
  /** What the node may do with it. */
  agent?: (AgentSettings | null);
  cols?: number;
  /** None: the login shell. */
  command?: string | null;
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Environment to send (servers take only what `AcceptEnv` allows). */
  env?: {
    [key: string]: string;
  };
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** Forward the local agent to the node. */
  forwardAgent?: boolean;
  /** Terminal modes: RFC 4254 section 8 opcode and argument. */
  modes?: Array<[number, number]>;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  pxHeight?: number;
  pxWidth?: number;
  /** Bytes kept for later views. None: 256 KiB; at most 16 MiB. */
  replay?: number | null;
  rows?: number;
  settings?: Settings;
  term?: string;
  /** First credit of the output stream, in bytes. None: 256 KiB. */
  window?: number | null;
};

/** Result of `pty/open`. */
export type PtyOpened = {
  /** What is typed: frontend to core. Its first credit is `limits.window`. */
  input: number;
  /** The node's name. */
  node: string;
  /** The first view: core to frontend. */
  output: number;
  pty: number;
  /** Warnings about the configuration, for stderr. */
  warnings?: Array<string>;
};

export type PtyRef = {
  pty: number;
};

/** A pseudo-terminal for the command. */
export type PtyRequest = {
  cols?: number;
  /** Terminal modes: RFC 4254 section 8 opcode and argument. */
  modes?: Array<[number, number]>;
  pxHeight?: number;
  pxWidth?: number;
  rows?: number;
  term?: string;
};

/** `pty/resize`: the terminal's new size. */
export type PtyResize = {
  cols: number;
  pty: number;
  pxHeight?: number;
  pxWidth?: number;
  rows: number;
};

/** `pty/resized`: somebody has changed the terminal's size. */
export type PtyResized = {
  cols: number;
  pty: number;
  rows: number;
};

/** One view of a pty. */
export type PtyView = {
  /** The view's output stream. */
  output: number;
  pty: number;
};

/** `pty/write`: what is typed, for peers without data frames. Either `data` or `text`. */
export type PtyWrite = {
  data?: (Base64Bytes | null);
  pty?: number;
  text?: string | null;
};

/** How nodes that pass an upload on are used. */
export type Relay = {
  /** The executable there. None: as configured, or `bssh` of the `PATH`. */
  program?: string | null;
  /** Put this core's own executable there, as for a gateway. None: as configured. */
  push?: boolean | null;
};

/** What became of a command whose connection was lost. */
export type RemoteFate = ("killed" | "kept" | "unknown");

/** `exec/resize`: the terminal's new size, for a run with a pty. */
export type ResizeRun = {
  cols: number;
  pxHeight?: number;
  pxWidth?: number;
  rows: number;
  run: number;
};

/** `group/resolve`: a node set expression to its nodes. */
export type ResolveParams = {
  exclude?: Array<string>;
  expr?: string;
  settings?: Settings;
};

export type Restart = ("always" | "never");

export type RunEntry = {
  action: Action;
  ended: number;
  nodes: number;
  run: number;
  runningMs: number;
};

/** `exec/list`: the runs this link owns. */
export type RunList = {
  runs: Array<RunEntry>;
};

/** One run. */
export type RunRef = {
  run: number;
};

export type Secret = SecretText;

/** `session/cd`. */
export type SessionCd = {
  /** As for `cd` in the session: absolute, from where it is, or with `~/`. */
  cwd?: string;
  session?: number;
};

/** One session. */
export type SessionEntry = {
  cwd: string;
  /** Commands that run or wait. */
  execs: number;
  /** Jobs that were started, ended ones included. */
  jobs: number;
  /** It outlives its link. */
  kept?: boolean;
  name?: string | null;
  node: string;
  rev: number;
  session: number;
  stage: SessionState;
};

/** `session/execDone`: the last word on a command; it follows the ends of its streams. */
export type SessionExecDone = {
  /** How often it was begun, if more than once. */
  attempts?: number | null;
  /** The session's directory afterwards. */
  cwd?: string;
  /** It ended, and something it left behind still holds its output. */
  detachedOutput?: boolean;
  durationMs?: number;
  exec?: number;
  exit?: (Exit | null);
  /** Why there is no exit: the connection was lost (`transportLost`; the hint says if it had exited, else whether it ran is not known, and it is not run again), the session's helper has gone and with it what the command changed (`sessionLost`), the directory is gone (`cwdMissing`; it was not run). */
  failure?: (Failure | null);
  /** A signal was sent to it on request. */
  interrupted?: boolean;
  /** It goes on: the number it has among the session's jobs. */
  job?: number | null;
  /** With a lost connection: what became of the command, as far as that is known. */
  remoteFate?: (RemoteFate | null);
  /** Changes of the session's state so far. */
  rev?: number;
  session?: number;
  stderrBytes?: number;
  stderrFile?: (OutputFile | null);
  /** Bytes of each stream, those that were left out included. */
  stdoutBytes?: number;
  /** The whole stream, if something of it was left out. */
  stdoutFile?: (OutputFile | null);
  /** What could not be sent before it, and it ran all the same. */
  syncFailure?: (Failure | null);
  timedOut?: boolean;
};

/** `session/exec`: one command. Commands that change the state run one after the other, in the order of the calls; readers run beside them and beside each other. */
export type SessionExecParams = {
  /** For the session's shell. */
  command?: string;
  /** Where to run this command; `~` and relative paths as in the session. The session stays where it is. */
  cwd?: string | null;
  /** A connection of its own, so that it neither waits for others nor holds them up. */
  dedicated?: boolean;
  /** Environment for this command alone. */
  env?: {
    [key: string]: string;
  };
  /** When it is ended, end also what has left its process group (`setsid`). Best effort, on Linux: processes are found by a variable of their environment. */
  killEscaped?: boolean;
  /** From TERM to KILL after a timeout, in milliseconds. None: 5000. */
  killGraceMs?: number | null;
  /** Send at most so many bytes of each stream: the first 40 % and the last 60 %, with a `stream/gap` that says exactly what was left out between them. No character is torn there, and the whole stream is in a file: `stdoutFile`, `stderrFile`. */
  maxOutput?: number | null;
  /** What becomes of it when the connection is lost. None: what the session was opened with. */
  onDisconnect?: (OnDisconnect | null);
  /** Keep the command out of the node's process list. */
  private?: boolean;
  /** Give it a terminal: its two streams become one, and what is typed goes to `stdin`. */
  pty?: (PtyRequest | null);
  /** It does no harm to run it twice: when its connection is lost it is run again once the session is back, at most five times. Not with stdin. */
  retrySafe?: boolean;
  session?: number;
  state?: StateUse;
  /** `null` or `stream`. */
  stdin?: Source;
  /** What happens if the session's syncs cannot send what has changed here. */
  syncBarrier?: SyncBarrier;
  /** How long it may run, in milliseconds. None or 0: for ever. */
  timeoutMs?: number | null;
  /** First credit of each output stream, in bytes. None: `limits.window`. */
  window?: number | null;
};

/** `session/execRetry`: the connection was lost, and the command is run again. */
export type SessionExecRetry = {
  /** 2 for the second time. */
  attempt?: number;
  exec?: number;
  session?: number;
  stderrBytes?: number;
  /** Bytes of each stream that are of the times before. */
  stdoutBytes?: number;
};

/** Result of `session/exec`. */
export type SessionExecStarted = {
  exec: number;
  stderr: number;
  stdin?: number | null;
  stdout: number;
};

/** `session/jobs`: what was started in the background of a session. */
export type SessionJobs = {
  jobs?: Array<JobEntry>;
};

/** `session/list`: the sessions of this core. */
export type SessionList = {
  sessions: Array<SessionEntry>;
};

export type SessionNode = {
  /** An agent is forwarded to its commands: that of whoever opened it. */
  agent?: boolean;
  /** It was there before. */
  existing?: boolean;
  node: string;
  session: number;
};

/** `session/open`. */
export type SessionOpenParams = {
  /** What the nodes may do with it. */
  agent?: (AgentSettings | null);
  /** Where to begin. None: where the login shell begins. */
  cwd?: string | null;
  /** The configuration's session of this name: where these parameters say nothing, it does. */
  defined?: string | null;
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Environment to begin with, besides what the snapshot has. */
  env?: {
    [key: string]: string;
  };
  /** Variables that no command gets. */
  envExclude?: Array<string>;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** How many nodes are connected to at once. None: 64. */
  fanout?: number | null;
  /** Forward the local agent to the nodes. */
  forwardAgent?: boolean;
  /** Outlives this link, and others of this (shared) core may use it. With a name, the one of that name on the node if it is there. */
  keep?: boolean;
  /** `killGraceMs` of commands that say nothing themselves. */
  killGraceMs?: number | null;
  /** `maxOutput` of commands that say nothing themselves. */
  maxOutput?: number | null;
  /** A name for people; need not be unique unless it is kept. */
  name?: string | null;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  /** What becomes of a command whose connection is lost, unless the command says it itself. */
  onDisconnect?: OnDisconnect;
  /** Begin with what `session/snapshot` has told, instead of a snapshot of now. */
  restore?: (SessionSaved | null);
  settings?: Settings;
  /** The shell, by its path on the node. None: the login shell if it is bash, zsh, ksh, mksh, dash or ash; else bash, else `/bin/sh`. */
  shell?: string | null;
  snapshot?: Snapshot;
  /** Bytes that the files of `maxOutput` may take together; the oldest ones go first, and a stream that is longer is cut. 0: no files. None: 1 GiB. */
  spool?: number | null;
  /** Do not come back by itself when the connection is lost. */
  stayLost?: boolean;
  /** Names of the configuration's syncs: what has changed here is on the node before a command runs there. */
  sync?: Array<string>;
  /** `timeoutMs` of commands that say nothing themselves. */
  timeoutMs?: number | null;
};

/** Where a session is now. */
export type SessionPlace = {
  cwd?: string;
  /** Changes of the state so far. */
  rev?: number;
};

/** A session that takes commands. */
export type SessionReady = {
  cwd?: string;
  home?: string;
  /** The state of before was put back. */
  restored?: boolean;
  /** Changes of the state so far. */
  rev?: number;
  /** Path of the shell on the node. */
  shell?: string;
  /** What was not as wished for. */
  warnings?: Array<string>;
};

export type SessionRef = {
  session: number;
};

/** `session/resize`: a new size of a command's terminal. */
export type SessionResize = {
  cols?: number;
  exec?: number;
  rows?: number;
  session?: number;
};

/** A session's state in its shell's own words: result of `session/snapshot`, and what `session/open` can begin with. */
export type SessionSaved = {
  cwd?: string;
  /** Changes of the state so far. */
  rev?: number;
  /** Path of the shell on the node. */
  shell?: string;
  /** Environment, functions, aliases and umask, for that shell. */
  state?: Base64Bytes;
};

/** `session/setenv`: exported variables. */
export type SessionSetenv = {
  env?: {
    [key: string]: string;
  };
  session?: number;
};

/** `session/signal`: to the process group of a command. */
export type SessionSignal = {
  /** None: every command that runs. */
  exec?: number | null;
  session?: number;
  /** Its name without `SIG`: `INT`, `TERM`, `KILL`. */
  signal?: string;
};

/** Where a session is. `closed` comes once, and nothing after it. */
export type SessionState = ({
  /** 1 for the first attempt since it was last there. */
  attempt: number;
  state: "connecting";
} | SessionReady & {
  state: "ready";
} | {
  failure: Failure;
  /** When it is tried again, in milliseconds; none: not by itself. */
  retryMs?: number | null;
  state: "lost";
} | {
  state: "closed";
});

/** `session/state`: what became of a session. */
export type SessionStateChange = ({
  /** 1 for the first attempt since it was last there. */
  attempt: number;
  state: "connecting";
} | SessionReady & {
  state: "ready";
} | {
  failure: Failure;
  /** When it is tried again, in milliseconds; none: not by itself. */
  retryMs?: number | null;
  state: "lost";
} | {
  state: "closed";
}) & {
  node: string;
  session: number;
};

/** `session/unsetenv`. */
export type SessionUnsetenv = {
  names?: Array<string>;
  session?: number;
};

/** Result of `session/open`. */
export type SessionsOpened = {
  /** One per node, in the order of the node set. */
  sessions: Array<SessionNode>;
  /** Warnings about the configuration, for stderr. */
  warnings?: Array<string>;
};

/** `agent/setSocket`: where the agent is from now on; none: where the environment says. */
export type SetSocket = {
  path?: string | null;
};

/** How nodes are reached: files and overrides, as the command line gave them. */
export type Settings = {
  /** The YAML file (`--config`). None: the usual places. */
  config?: string | null;
  /** ssh_config lines that come last, weaker than the files. */
  defaults?: Array<string>;
  /** ssh_config lines that come first (`-o`, and what short flags stand for), each as `Keyword=value`. */
  options?: Array<string>;
  /** The ssh_config file (`-F`). None: the usual ones; `none`: no file. */
  sshConfig?: string | null;
};

export type ShutdownParams = {
  /** Even though others are attached. */
  force?: boolean;
  /** How long running work may take to end, in milliseconds. */
  graceMs?: number | null;
};

/** `exec/signal`: a signal for the remote processes (name without `SIG`). */
export type SignalRun = {
  nodes?: Array<number>;
  run: number;
  signal: string;
};

/** Where a remote stream's bytes go. */
export type Sink = ("discard" | "stream" | {
  file: string;
} | {
  fd: number;
} | "merge");

/** What a session begins with. */
export type Snapshot = ("login" | "plain");

/** User and password of SOCKS 5, RFC 1929. */
export type SocksLogin = {
  password: Secret;
  user: string;
};

/** Where a run's stdin comes from. */
export type Source = ("null" | "stream" | {
  file: string;
} | {
  fd: number;
});

/** What a command does with the state. */
export type StateUse = ("update" | "read" | "none");

/** Result of `core/stats`: what the core holds right now. */
export type StatsResult = {
  /** Bytes held for frontends that have not taken them yet. */
  bufferedBytes?: number;
  /** Connections in use. */
  connections?: number;
  /** Connections made since the core began. */
  connectionsMade?: number;
  /** How often one that was kept was used again. */
  connectionsReused?: number;
  forwards?: number;
  /** Connections kept for the next command. */
  idle?: number;
  /** Frontends attached. */
  links?: number;
  nodesFailed?: number;
  nodesOk?: number;
  nodesUnreachable?: number;
  ptys?: number;
  runs?: number;
  /** Runs that are over, and how their nodes ended. */
  runsOver?: number;
  sessions?: number;
  streams?: number;
  /** Tasks alive. */
  tasks?: number;
  transfers?: number;
};

/** `stream/data`: for peers without data frames. Either `data` or `text`. */
export type StreamData = {
  data?: (Base64Bytes | null);
  /** Offset of the first byte in the stream. */
  offset: number;
  stream: number;
  text?: string | null;
};

/** `stream/end`: half-close, exactly once, nothing after. */
export type StreamEnd = {
  /** The stream's length in bytes. */
  bytes: number;
  stream: number;
};

/** `stream/gap`: bytes of the source are left out here, between what was sent before and what comes next. The stream's own offsets go on without a hole: credit counts what is sent. */
export type StreamGap = {
  /** Offset in the source (a pty's or a command's output) of the first byte left out. */
  from: number;
  stream: number;
  /** Offset in the source of the next byte that is sent. */
  to: number;
};

/** `stream/grant`: the peer may send up to this absolute offset. */
export type StreamGrant = {
  limit: number;
  stream: number;
};

/** `stream/reset`: abort; what is on the way is discarded. */
export type StreamReset = {
  error: CallError;
  stream: number;
};

/** The counts of a run. Every node is in exactly one of them. */
export type Summary = {
  /** Not started, or ended by a cancel. */
  cancelled?: number;
  /** Failed in auth. */
  denied?: number;
  durationMs?: number;
  /** Another status, a signal, or a timeout of the command. */
  failed?: number;
  /** Failed after auth without an exit (connection lost, channel refused). */
  lost?: number;
  nodes?: number;
  /** Exit status 0. */
  ok?: number;
  /** Failed in resolve, dial, handshake or host-key. */
  unreachable?: number;
};

/** What becomes of symbolic links inside directories. Links that are named are followed. */
export type Symlinks = ("skip" | "follow" | "preserve");

export type SyncAction = ("plan" | "push" | "back" | "run" | "watch");

export type SyncBackup = {
  path?: PathBytes;
  /** The local root it is below. */
  root?: PathBytes;
  run?: string;
  size?: number;
};

/** Result of `sync/restore`. */
export type SyncBackups = {
  /** What there is, or what was restored. */
  backups: Array<SyncBackup>;
};

/** Whether a command waits for its session's syncs. */
export type SyncBarrier = ("require" | "warn" | "off");

/** A path both sides have changed. */
export type SyncConflict = {
  /** The node's side of it, below the same root. None: only on the node. */
  copy?: (PathBytes | null);
  path?: PathBytes;
  /** The local root it is below. */
  root?: PathBytes;
};

/** `sync/conflict`: both sides have changed a path. */
export type SyncConflictEvent = {
  /** The node's side of it, below the same root. None: only on the node. */
  copy?: (PathBytes | null);
  path?: PathBytes;
  /** The local root it is below. */
  root?: PathBytes;
  sync?: number;
};

/** Result of `sync/conflicts`. */
export type SyncConflicts = {
  conflicts: Array<SyncConflict>;
};

/** Which deletions are carried over. */
export type SyncDelete = ("both" | "never" | "push");

/** `sync/round` and `sync/done`: what a round of a watch, or the whole, has done. */
export type SyncDone = {
  /** Bytes of files that were carried, either way. */
  bytes?: number;
  conflicts?: Array<SyncConflict>;
  deletedHere?: number;
  deletedThere?: number;
  durationMs?: number;
  /** Why it is not complete. `filesFailed`: `faults` has the causes; `conflicts`: there are some, all else was done. */
  failure?: (Failure | null);
  /** What went wrong with single files; the first thousand. */
  faults?: Array<FileFault>;
  /** Paths that both sides have. */
  known?: number;
  nFaults?: number;
  notes?: Array<SyncNote>;
  pulled?: number;
  pushed?: number;
  sync?: number;
};

export type SyncEntry = {
  action: SyncAction;
  node: string;
  runningMs: number;
  sync: number;
};

export type SyncLast = {
  action?: string;
  /** Empty: all was well. */
  failure?: string;
  unixMs?: number;
};

/** `sync/list`: the syncs under way. */
export type SyncList = {
  syncs: Array<SyncEntry>;
};

/** A path that was left alone, and why. */
export type SyncNote = {
  /** `special`, `unsafeLink`, `deadLink`, `link` and `followed` (where links are followed: one on the node, and a change there of what is behind one here), `protected`, `notEmpty`, `keptHere` (deleted on the node only). */
  code: string;
  path: PathBytes;
};

/** What is remembered of one pair of roots. */
export type SyncPairStatus = {
  conflicts?: number;
  /** The process that syncs them now. */
  heldBy?: number | null;
  /** Paths that both sides had when they were last the same. */
  known?: number;
  /** When and how the last run ended. None: there was none. */
  last?: (SyncLast | null);
  local?: PathBytes;
  node?: string;
  /** The node has changes that could not be fetched. */
  pendingBack?: boolean;
  remote?: PathBytes;
};

/** Parameters of `sync/start`. */
export type SyncParams = {
  action?: SyncAction;
  /** None: what the configuration says, or `keepBoth`. */
  conflict?: (SyncPolicy | null);
  /** None: what the configuration says, or `push`. */
  delete?: (SyncDelete | null);
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Change nothing; say what the action would do, as `sync/step` events. */
  dryRun?: boolean;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** Delete also where it looks like a mistake: most of a tree, or an empty root. */
  forceDelete?: boolean;
  /** The name under `sync:` in the configuration. */
  id?: string | null;
  /** Without `id`: the directory here. */
  local?: (PathBytes | null);
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  /** Without `id`: the directory on the node. */
  remote?: (PathBytes | null);
  settings?: Settings;
  /** What to leave out, besides what the configuration leaves out; as in `transfer/start`. */
  skip?: Array<PathBytes>;
};

/** What happens to a file that both sides have changed. */
export type SyncPolicy = ("keepBoth" | "remoteWins" | "localWins" | "fail");

/** `sync/progress`. */
export type SyncProgress = {
  bytes?: number;
  files?: number;
  sync?: number;
  totalBytes?: number;
  totalFiles?: number;
};

/** `sync/cancel`. */
export type SyncRef = {
  sync: number;
};

/** `sync/resolve`: one side of a conflict is the right one. What the other had is saved. */
export type SyncResolveParams = {
  /** None: what the configuration says, or `keepBoth`. */
  conflict?: (SyncPolicy | null);
  /** None: what the configuration says, or `push`. */
  delete?: (SyncDelete | null);
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** The name under `sync:` in the configuration. */
  id?: string | null;
  /** Without `id`: the directory here. */
  local?: (PathBytes | null);
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  path?: PathBytes;
  /** Without `id`: the directory on the node. */
  remote?: (PathBytes | null);
  settings?: Settings;
  /** What to leave out, besides what the configuration leaves out; as in `transfer/start`. */
  skip?: Array<PathBytes>;
  take?: SyncTake;
};

/** `sync/restore`: without a path, lists what could be restored; with one, puts it back here. */
export type SyncRestoreParams = {
  /** None: what the configuration says, or `keepBoth`. */
  conflict?: (SyncPolicy | null);
  /** None: what the configuration says, or `push`. */
  delete?: (SyncDelete | null);
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** The name under `sync:` in the configuration. */
  id?: string | null;
  /** Without `id`: the directory here. */
  local?: (PathBytes | null);
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  path?: (PathBytes | null);
  /** Without `id`: the directory on the node. */
  remote?: (PathBytes | null);
  /** The run whose backup is meant. None: the newest that has the path. */
  run?: string | null;
  settings?: Settings;
  /** What to leave out, besides what the configuration leaves out; as in `transfer/start`. */
  skip?: Array<PathBytes>;
};

/** Result of `sync/start`. */
export type SyncStarted = {
  /** The node's name. */
  node: string;
  sync: number;
  warnings?: Array<string>;
};

/** `sync/state`: what a sync is about. */
export type SyncStateChange = {
  /** For people: what is wrong, what was noticed. */
  message?: string | null;
  /** `connecting`, `comparing`, `carrying`, `watching`, `waiting` (before it is tried again), `deferred` (asked to end, but names are being taken), `note`. */
  state: string;
  sync: number;
};

/** Result of `sync/status`. */
export type SyncStatus = {
  pairs: Array<SyncPairStatus>;
};

/** `sync/step`: what would be done with one path. */
export type SyncStep = {
  /** `push`, `pull`, `deleteThere`, `deleteHere`, `conflict`, `agree`, `forget`, `skip`. */
  action: string;
  bytes?: number;
  /** Below the roots. */
  path: PathBytes;
  sync: number;
};

export type SyncTake = "local" | "remote";

/** Which trees are meant: by the configuration's name for them, or by themselves. */
export type SyncWhat = {
  /** None: what the configuration says, or `keepBoth`. */
  conflict?: (SyncPolicy | null);
  /** None: what the configuration says, or `push`. */
  delete?: (SyncDelete | null);
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** The name under `sync:` in the configuration. */
  id?: string | null;
  /** Without `id`: the directory here. */
  local?: (PathBytes | null);
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  /** Without `id`: the directory on the node. */
  remote?: (PathBytes | null);
  settings?: Settings;
  /** What to leave out, besides what the configuration leaves out; as in `transfer/start`. */
  skip?: Array<PathBytes>;
};

/** What a request aims at, and the configuration it is read with. Shared by every method that takes targets. */
export type Targets = {
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  settings?: Settings;
};

/** A count, or a share of the run's nodes. */
export type Threshold = ({
  nodes: number;
} | {
  percent: number;
} | "rest");

export type TransferDirection = "upload" | "download";

/** `transfer/done`: the last word on a transfer. */
export type TransferDone = {
  bytes: number;
  files: number;
  /** `failed` counts nodes on which something went wrong after they were connected. */
  summary: Summary;
  transfer: number;
};

export type TransferEntry = {
  direction: TransferDirection;
  ended: number;
  nodes: number;
  runningMs: number;
  transfer: number;
};

/** `transfer/file`: what a dry run would do, or what is being done (`tell`). */
export type TransferFile = {
  /** `file`, `dir`, `link`, `skip` or `delete`. */
  action: string;
  bytes?: number;
  index: number;
  /** At the receiver. */
  path: PathBytes;
  transfer: number;
};

/** `transfer/list`: the transfers this core has. */
export type TransferList = {
  transfers: Array<TransferEntry>;
};

/** `transfer/node`: something happened to one node of a transfer. */
export type TransferNode = ({
  /** 1 for the first attempt. */
  attempt: number;
  state: "connecting";
} | Connected & {
  state: "connected";
} | Transferred & {
  state: "ended";
}) & {
  /** Index into [`TransferStarted::nodes`]. */
  index: number;
  /** The node's name. */
  node: string;
  transfer: number;
};

/** Parameters of `transfer/start`. */
export type TransferParams = {
  /** Go on at the end of a file that is there under its own name, as sftp's `reget` does. */
  append?: boolean;
  /** Bytes of one request. None: what the node takes. */
  block?: number | null;
  /** Remove what is in the target directories but not in the sources. */
  delete?: boolean;
  /** A single ssh destination, taken literally (ssh grammar: no ranges, no groups). */
  destination?: string | null;
  direction?: TransferDirection;
  /** Change nothing; say what would be done, as `transfer/file` events. */
  dryRun?: boolean;
  /** Node set expressions to leave out. */
  exclude?: Array<string>;
  /** Stop starting nodes once this many have failed. */
  failFast?: (Threshold | null);
  /** How many nodes at once. None: the configuration's `fanout` (64). */
  fanout?: number | null;
  /** What to transfer: paths, or patterns with `*`, `?` and `[…]`. `{node}` stands for the node's name. Relative to the core's working directory, or to the node's home. */
  from?: Array<PathBytes>;
  /** Make sure that each file is on the receiver's disk before it takes its name. */
  fsync?: boolean;
  /** At most so many bytes a second for each node. */
  limit?: number | null;
  /** Between cores: the sources of an upload as the asker has read them, instead of `from`. */
  listed?: (Listed | null);
  /** Paths are taken as they are: no patterns, no `{node}`. */
  literal?: boolean;
  /** A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`. */
  nodes?: string;
  /** Between cores: nodes that are planned already, instead of `nodes`. */
  planned?: Array<Planned>;
  /** Keep modes and times exactly. */
  preserve?: boolean;
  recursive?: boolean;
  /** The first node of an upload that can do it passes the sources on to the others, as a gateway runs commands. None: every node gets them from here. */
  relay?: (Relay | null);
  /** Requests of one file on the way. None: by the way's length. */
  requests?: number | null;
  /** Go on with what an earlier transfer left; files of the same size and time are skipped. Times are kept, so that the next one can tell. */
  resume?: boolean;
  /** Connect attempts after the first one, for retryable failures. */
  retries?: number | null;
  settings?: Settings;
  /** Names or paths to leave out: patterns; one with a slash is for the path below the source, one with a slash at its end for directories only. */
  skip?: Array<PathBytes>;
  /** The one node the sources of an upload lie on. None: they are here. */
  source?: (Targets | null);
  /** Give up on a node after so long without a byte or a file, in milliseconds. None: ten minutes; 0: never. */
  stallMs?: number | null;
  symlinks?: Symlinks;
  /** Say what is done with each directory and file, as `transfer/file` events. */
  tell?: boolean;
  /** Where to: a directory that is there receives the files, else this is the copy's own name. Downloads from several nodes go to `to/NODE` unless `to` has a `{node}`. */
  to?: PathBytes;
  /** Permission bits that downloaded files do not get. Absent: as the link's environment has it. */
  umask?: number | null;
  /** Read everything back and compare. */
  verify?: boolean;
};

/** `transfer/progress`: the nodes that got on since the last one. */
export type TransferProgress = {
  nodes: Array<NodeProgress>;
  transfer: number;
};

/** `transfer/cancel`: what is under way is given up; finished files stay. */
export type TransferRef = {
  transfer: number;
};

/** Result of `transfer/start`. */
export type TransferStarted = {
  /** The transfer's nodes, each once, in order. Events name them by index. */
  nodes: Array<string>;
  transfer: number;
  warnings?: Array<string>;
};

/** What was done on one node. */
export type Transferred = {
  /** Bytes of files that were transferred. */
  bytes?: number;
  deleted?: number;
  dirs?: number;
  /** From being connected, in milliseconds. */
  durationMs?: number;
  /** Why it is not complete. `filesFailed`: `faults` has the causes, the rest was transferred. */
  failure?: (Failure | null);
  /** What went wrong with single files; the first thousand. */
  faults?: Array<FileFault>;
  files?: number;
  links?: number;
  nFaults?: number;
  /** Bytes that an earlier transfer had left. */
  resumedBytes?: number;
  /** Files that were there already, or are neither file, directory nor link. */
  skipped?: number;
};

export type TrustScope = "once" | "file";

/** Through which gateways the nodes of a run are reached. */
export type Via = {
  /** A node set expression: each of these reaches every node. `none`: no gateways, whatever the configuration says. */
  gateways?: string;
  /** The executable there. None: as configured, or `bssh` of the `PATH`. */
  program?: string | null;
  /** Put this core's own executable there, by SFTP, and check its SHA-256. None: as configured. */
  push?: boolean | null;
  /** A command that may have begun when its gateway was lost is run again through another one. */
  retrySafe?: boolean;
  /** Between cores: the gateways that are left on the way, next tier first; any of a tier will do. */
  tiers?: Array<Array<Planned>>;
  /** A file in the format of ClusterShell's `topology.conf` that says who reaches whom; it is read by the core. Nodes it does not name are reached directly. */
  topology?: string | null;
};

/** Every request: who takes it, with what, and what it answers. */
export interface Methods {
  /** The first request of every link; before it everything else is answered with -32002. */
  'initialize': { to: 'core'; params: InitializeParams; result: InitializeResult };
  /** Ends the whole core: the same as `core/shutdown`, under the name LSP clients know. */
  'shutdown': { to: 'core'; params: ShutdownParams; result: Empty };
  /** How much is remarked on from now on: the remarks of this link's work, or the log of a core that was started by this frontend. */
  'log/setLevel': { to: 'core'; params: LogLevelParams; result: Empty };
  /** Ends this link after the answer, and its jobs but those to keep. Closing the core's stdin means the same, keeping none. */
  'link/close': { to: 'core'; params: LinkCloseParams; result: Empty };
  /** The links of this core. */
  'link/list': { to: 'core'; params: Empty; result: LinkList };
  /** This document. */
  'rpc.discover': { to: 'core'; params: Empty; result: unknown };
  /** Is the core there? Answers with its clock. */
  'core/ping': { to: 'core'; params: Empty; result: Pong };
  /** Version, process and uptime of the core. */
  'core/info': { to: 'core'; params: Empty; result: InfoResult };
  /** What the core holds right now. */
  'core/stats': { to: 'core'; params: Empty; result: StatsResult };
  /** What the core remembers of files and variables, in figures. */
  'cache/stats': { to: 'core'; params: CacheParams; result: CacheStats };
  /** Forgets all of it. */
  'cache/clear': { to: 'core'; params: Empty; result: CacheDropped };
  /** Forgets what is too old, has changed, or is more than this link allows. */
  'cache/maintain': { to: 'core'; params: Empty; result: CacheDropped };
  /** Asks every connection for a sign of life and closes those that give none: for who knows that the network is another one. The core does so by itself when it sees that. */
  'core/probe': { to: 'core'; params: Empty; result: Probed };
  /** The newest lines of the audit journal of this user's shared cores. */
  'journal/read': { to: 'core'; params: JournalParams; result: JournalLines };
  /** Ends the whole core. */
  'core/shutdown': { to: 'core'; params: ShutdownParams; result: Empty };
  /** A node set expression to its nodes. Touches no network. */
  'group/resolve': { to: 'core'; params: ResolveParams; result: NodeNames };
  /** Lists of nodes, each to its shortest expression. */
  'group/fold': { to: 'core'; params: FoldParams; result: Folded };
  /** Every cluster and group the configuration knows. */
  'group/list': { to: 'core'; params: GroupListParams; result: GroupList };
  /** What would be used to reach a node, each value with its origin. */
  'node/resolve': { to: 'core'; params: ExplainParams; result: Explained };
  /** Every problem in the configuration files. */
  'config/check': { to: 'core'; params: CheckParams; result: CheckResult };
  /** Whether the configuration wants a shared core (`core.persist`). */
  'config/persist': { to: 'core'; params: PersistParams; result: PersistResult };
  /** Starts one command on one node or on thousands, and answers at once. */
  'exec/start': { to: 'core'; params: ExecParams; result: ExecStarted };
  /** Ends the remote processes of a run, or of some of its nodes. */
  'exec/cancel': { to: 'core'; params: CancelRun; result: Empty };
  /** Sends a signal to the remote processes of a run. */
  'exec/signal': { to: 'core'; params: SignalRun; result: Empty };
  /** Tells a run with a pty the terminal's new size. */
  'exec/resize': { to: 'core'; params: ResizeRun; result: Empty };
  /** Asks for new keys on the connections of a run's commands. */
  'exec/rekey': { to: 'core'; params: RunRef; result: Empty };
  /** The runs this link owns. */
  'exec/list': { to: 'core'; params: Empty; result: RunList };
  /** Opens a forward (ssh's -L, -R, -D) on one node. */
  'forward/open': { to: 'core'; params: ForwardParams; result: ForwardOpened };
  /** Closes a forward. */
  'forward/close': { to: 'core'; params: ForwardRef; result: Empty };
  /** Stops a forward's listening; what is open goes on, and the forward is over with the last of it. */
  'forward/drain': { to: 'core'; params: DrainParams; result: Empty };
  /** The forwards this link owns, or all of the core's. */
  'forward/list': { to: 'core'; params: ForwardListParams; result: ForwardList };
  /** The forwards the configuration names. */
  'forward/configured': { to: 'core'; params: ConfiguredParams; result: Configured };
  /** The open connections of a forward. */
  'forward/connections': { to: 'core'; params: ForwardRef; result: Connections };
  /** Ends one connection of a forward. */
  'forward/kick': { to: 'core'; params: KickParams; result: Empty };
  /** One connection from the node to somewhere (ssh's -W). */
  'forward/dial': { to: 'core'; params: DialParams; result: Dialed };
  /** Connections along the way this link would take to a node. */
  'connection/check': { to: 'core'; params: ConnectionParams; result: ConnectionState };
  /** Ends them; answers with what was there. */
  'connection/close': { to: 'core'; params: ConnectionClose; result: ConnectionState };
  /** Starts a shell or a command with a terminal on one node. */
  'pty/open': { to: 'core'; params: PtyOpenParams; result: PtyOpened };
  /** Types something. Only for a link that owns the input; data frames are the fast path. */
  'pty/write': { to: 'core'; params: PtyWrite; result: Empty };
  /** Changes the terminal's size. */
  'pty/resize': { to: 'core'; params: PtyResize; result: Empty };
  /** One more view of a pty: what is kept of its output, then live, without a hole. */
  'pty/attach': { to: 'core'; params: PtyAttach; result: PtyAttached };
  /** Ends a view. The pty goes on, also with none. */
  'pty/detach': { to: 'core'; params: PtyView; result: Empty };
  /** Makes a view the one that types. */
  'pty/takeInput': { to: 'core'; params: PtyView; result: PtyInput };
  /** Hangs up. */
  'pty/close': { to: 'core'; params: PtyRef; result: Empty };
  /** The ptys of this core. */
  'pty/list': { to: 'core'; params: Empty; result: PtyList };
  /** A session on each node of a node set. Answers at once; `session/state` follows. */
  'session/open': { to: 'core'; params: SessionOpenParams; result: SessionsOpened };
  /** Runs a command in a session. */
  'session/exec': { to: 'core'; params: SessionExecParams; result: SessionExecStarted };
  /** Sends a signal to the process group of a session's command. */
  'session/signal': { to: 'core'; params: SessionSignal; result: Empty };
  /** Tells a command's terminal its new size. */
  'session/resize': { to: 'core'; params: SessionResize; result: Empty };
  /** Goes somewhere else, after the commands that are under way. */
  'session/cd': { to: 'core'; params: SessionCd; result: SessionPlace };
  /** Exports variables, after the commands that are under way. */
  'session/setenv': { to: 'core'; params: SessionSetenv; result: SessionPlace };
  /** Removes variables, after the commands that are under way. */
  'session/unsetenv': { to: 'core'; params: SessionUnsetenv; result: SessionPlace };
  /** The state, to be put back elsewhere or later. */
  'session/snapshot': { to: 'core'; params: SessionRef; result: SessionSaved };
  /** Connects a lost session now. */
  'session/connect': { to: 'core'; params: SessionRef; result: Empty };
  /** Forgets the state and begins anew. What runs is ended. */
  'session/reset': { to: 'core'; params: SessionRef; result: Empty };
  /** Ends a session and what runs in it. */
  'session/close': { to: 'core'; params: SessionRef; result: Empty };
  /** One session. */
  'session/info': { to: 'core'; params: SessionRef; result: SessionEntry };
  /** The sessions of this core. */
  'session/list': { to: 'core'; params: Empty; result: SessionList };
  /** What the configuration wishes for a REPL on these targets. */
  'session/configured': { to: 'core'; params: Targets; result: Interactive };
  /** The sessions the configuration names (`sessions:`). */
  'session/defined': { to: 'core'; params: GroupListParams; result: DefinedSessions };
  /** What was started in the background of a session. */
  'session/jobs': { to: 'core'; params: SessionRef; result: SessionJobs };
  /** Starts a command in the background of a session. */
  'job/start': { to: 'core'; params: JobStart; result: JobRef };
  /** Reads what a job has written, and whether it has ended. */
  'job/read': { to: 'core'; params: JobRead; result: JobOutput };
  /** Sends a signal to the process group of a job. */
  'job/kill': { to: 'core'; params: JobKill; result: Empty };
  /** Everything that runs in this core, and what is over and not forgotten yet. */
  'job/list': { to: 'core'; params: Empty; result: JobList };
  /** Returns when a job is over: of the core, or with `session` of a session's background. */
  'job/wait': { to: 'core'; params: JobHandle; result: JobEntry2 };
  /** Ends a job, whatever it is. */
  'job/cancel': { to: 'core'; params: JobHandle; result: Empty };
  /** A recorded run, as if this link had started it: what was kept of it, then live. */
  'job/attach': { to: 'core'; params: JobAttach; result: ExecStarted };
  /** The nodes of a run by how they ended. */
  'job/nodes': { to: 'core'; params: JobNodes; result: NodeNames };
  /** Starts a transfer of files to or from one node or thousands, and answers at once. */
  'transfer/start': { to: 'core'; params: TransferParams; result: TransferStarted };
  /** Gives up a transfer; finished files stay. */
  'transfer/cancel': { to: 'core'; params: TransferRef; result: Empty };
  /** The transfers of this core. */
  'transfer/list': { to: 'core'; params: Empty; result: TransferList };
  /** Starts a sync of two directory trees, and answers at once. */
  'sync/start': { to: 'core'; params: SyncParams; result: SyncStarted };
  /** Ends a sync; what is complete stays. */
  'sync/cancel': { to: 'core'; params: SyncRef; result: Empty };
  /** The syncs of this core. */
  'sync/list': { to: 'core'; params: Empty; result: SyncList };
  /** What is remembered of a sync. */
  'sync/status': { to: 'core'; params: SyncWhat; result: SyncStatus };
  /** Paths that both sides have changed and nobody has decided about. */
  'sync/conflicts': { to: 'core'; params: SyncWhat; result: SyncConflicts };
  /** Decides a conflict; the next run carries it out. */
  'sync/resolve': { to: 'core'; params: SyncResolveParams; result: SyncConflicts };
  /** What was replaced or deleted here, listed or put back. */
  'sync/restore': { to: 'core'; params: SyncRestoreParams; result: SyncBackups };
  /** Ends the connection that is kept for a node's files. What is under way on it fails. */
  'fs/close': { to: 'core'; params: FsClose; result: FsClosed };
  /** What a path leads to; links are followed. */
  'fs/stat': { to: 'core'; params: FsPath; result: Attr };
  /** What a path is itself. */
  'fs/lstat': { to: 'core'; params: FsPath; result: Attr };
  /** The absolute path without links. */
  'fs/realpath': { to: 'core'; params: FsPath; result: FsName };
  /** What a link points to. */
  'fs/readlink': { to: 'core'; params: FsPath; result: FsName };
  /** How much room there is. */
  'fs/statvfs': { to: 'core'; params: FsPath; result: FsSpace };
  /** A directory, with attributes, page by page. */
  'fs/list': { to: 'core'; params: FsListParams; result: FsListing };
  /** A whole file in one answer. */
  'fs/readSmall': { to: 'core'; params: FsReadParams; result: FsContent };
  /** A whole file at once; it is never seen half-written. */
  'fs/writeSmall': { to: 'core'; params: FsWriteParams; result: FsWritten };
  /** Makes a directory. */
  'fs/mkdir': { to: 'core'; params: FsMakeParams; result: Empty };
  /** Removes a file, a link, or a directory. */
  'fs/remove': { to: 'core'; params: FsRemoveParams; result: FsRemoved };
  /** Gives a file another name. */
  'fs/rename': { to: 'core'; params: FsRenameParams; result: Empty };
  /** Mode, owner and times. */
  'fs/setattr': { to: 'core'; params: FsAttrParams; result: Empty };
  /** Makes a symbolic link. */
  'fs/symlink': { to: 'core'; params: FsLinkParams; result: Empty };
  /** Gives a file a second name (a hard link). */
  'fs/link': { to: 'core'; params: FsHardLinkParams; result: Empty };
  /** What the node's file server can do. The path does not matter. */
  'fs/features': { to: 'core'; params: FsPath; result: FsFeatures };
  /** Names of users and groups by their numbers, where the node's file server tells them. */
  'fs/owners': { to: 'core'; params: FsOwnersParams; result: FsOwnerNames };
  /** A file as a stream. */
  'fs/openRead': { to: 'core'; params: FsOpenReadParams; result: FsOpened };
  /** A file from a stream; it is never seen half-written. */
  'fs/openWrite': { to: 'core'; params: FsOpenWriteParams; result: FsWriting };
  /** Copies files between here and a node, or between two nodes. Answers at once. */
  'fs/copy': { to: 'core'; params: FsCopyParams; result: FsTaskRef };
  /** Gives up a task; finished files stay. `fs/taskDone` still comes. */
  'fs/taskCancel': { to: 'core'; params: FsTaskRef; result: Empty };
  /** The tasks of this core. */
  'fs/taskList': { to: 'core'; params: Empty; result: FsTaskList };
  /** What starting a gate would do. Touches nothing but the configuration. */
  'gate/prepare': { to: 'core'; params: GateParams; result: GatePlan };
  /** Starts a gate: all its listeners or none. The same plan again changes nothing. */
  'gate/start': { to: 'core'; params: GateParams; result: GateStarted };
  /** Stops a gate: no new connections, open ones may drain, the rest is closed. */
  'gate/stop': { to: 'core'; params: GateStop; result: GateStopped };
  /** The gates that are running. */
  'gate/status': { to: 'core'; params: GateListParams; result: GateList };
  /** Tries every upstream of a gate, step by step. */
  'gate/check': { to: 'core'; params: GateParams; result: GateChecked };
  /** The open connections of a gate. */
  'gate/connections': { to: 'core'; params: GateRef; result: Connections };
  /** Ends one connection of a gate. */
  'gate/kick': { to: 'core'; params: GateKick; result: Empty };
  /** The local agent, and what has been forwarded to it. */
  'agent/status': { to: 'core'; params: AgentStatusParams; result: AgentStatus };
  /** Says where the local agent is from now on, e.g. after a new login. */
  'agent/setSocket': { to: 'core'; params: SetSocket; result: Empty };
  /** Tries agent forwarding to one node, step by step. */
  'agent/check': { to: 'core'; params: AgentCheckParams; result: AgentCheck };
  /** May this host key be trusted? */
  'auth/hostKey': { to: 'frontend'; params: HostKeyQuestion; result: HostKeyAnswer };
  /** Fields for a person to fill in: passwords, passphrases, codes. */
  'auth/prompt': { to: 'frontend'; params: PromptQuestion; result: PromptAnswer };
  /** Yes or no. */
  'auth/confirm': { to: 'frontend'; params: ConfirmQuestion; result: ConfirmAnswer };
}

/** Every notification. */
export interface Events {
  /** Something happened to one node of a run. */
  'exec/node': { to: 'frontend'; params: ExecNode };
  /** The last word on a run. */
  'exec/done': { to: 'frontend'; params: ExecDone };
  /** The last word on a pty. */
  'pty/exited': { to: 'frontend'; params: PtyExited };
  /** A terminal has another size. */
  'pty/resized': { to: 'frontend'; params: PtyResized };
  /** Another view, or none, may type. */
  'pty/inputOwner': { to: 'frontend'; params: PtyInputOwner };
  /** Something became of a session. */
  'session/state': { to: 'frontend'; params: SessionStateChange };
  /** A command of a session is run again, because its connection was lost. */
  'session/execRetry': { to: 'frontend'; params: SessionExecRetry };
  /** The last word on a command of a session. */
  'session/execDone': { to: 'frontend'; params: SessionExecDone };
  /** Something happened to one node of a transfer. */
  'transfer/node': { to: 'frontend'; params: TransferNode };
  /** How far the nodes of a transfer have got. */
  'transfer/progress': { to: 'frontend'; params: TransferProgress };
  /** What a dry run would do with one file. */
  'transfer/file': { to: 'frontend'; params: TransferFile };
  /** The last word on a transfer. */
  'transfer/done': { to: 'frontend'; params: TransferDone };
  /** What a sync is about. */
  'sync/state': { to: 'frontend'; params: SyncStateChange };
  /** What a sync would do with one path. */
  'sync/step': { to: 'frontend'; params: SyncStep };
  /** How far a sync has got. */
  'sync/progress': { to: 'frontend'; params: SyncProgress };
  /** Both sides have changed a path. */
  'sync/conflict': { to: 'frontend'; params: SyncConflictEvent };
  /** A round of a watch has done something. */
  'sync/round': { to: 'frontend'; params: SyncDone };
  /** The last word on a sync. */
  'sync/done': { to: 'frontend'; params: SyncDone };
  /** The last word on a write or a copy. */
  'fs/taskDone': { to: 'frontend'; params: FsTaskDone };
  /** A question is no longer open: it was answered, or is not to be answered any more. One that is withdrawn is cancelled as a request, too. */
  'auth/promptDone': { to: 'frontend'; params: PromptDone };
  /** A forward, or one of its connections, has changed. */
  'event/forward': { to: 'frontend'; params: ForwardEvent };
  /** A gate, or one of its connections, has changed; a denial is always told. */
  'event/gate': { to: 'frontend'; params: GateEvent };
  /** A node has used the local agent, or was kept from it. */
  'event/agent': { to: 'frontend'; params: AgentEvent };
  /** A dialed connection has ended. */
  'forward/dialDone': { to: 'frontend'; params: DialDone };
  /** About something that has no answer: a failed notification, an unreadable frame. */
  '$/error': { to: 'both'; params: LinkError };
  /** Bytes of a stream, for peers without data frames. */
  'stream/data': { to: 'both'; params: StreamData };
  /** The peer may send up to this absolute offset. */
  'stream/grant': { to: 'both'; params: StreamGrant };
  /** No more bytes will come on this stream. */
  'stream/end': { to: 'both'; params: StreamEnd };
  /** The stream is aborted; what is on the way is discarded. */
  'stream/reset': { to: 'both'; params: StreamReset };
  /** Bytes were left out here. */
  'stream/gap': { to: 'frontend'; params: StreamGap };
  /** A line for the frontend's stderr, if it asked for them. */
  'log/record': { to: 'frontend'; params: LogRecord };
  /** Cancels a request. It is still answered: -32800, or its result if that was faster. */
  '$/cancelRequest': { to: 'both'; params: CancelParams };
  /** How far a long request has got. */
  '$/progress': { to: 'both'; params: ProgressParams };
}

/** The protocol this was generated for. */
export const PROTOCOL = { major: 1, level: 1 } as const;
