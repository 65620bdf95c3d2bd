// Runs a command on nodes through `bssh core --stdio`; knows docs/protocol.md and nothing else.
// usage: node two-nodes.js BSSH SSH_CONFIG NODES COMMAND
import { spawn } from "node:child_process";

const [bssh = "bssh", sshConfig, nodes, command] = process.argv.slice(2);
const core = spawn(bssh, ["core", "--stdio"], { stdio: ["pipe", "pipe", "inherit"] });

type Message = { id?: number; method?: string; params?: any; result?: any; error?: { message: string } };

function send(message: Message): void {
  const body = Buffer.from(JSON.stringify({ jsonrpc: "2.0", ...message }));
  core.stdin.write(Buffer.concat([Buffer.from(`Content-Length: ${body.length}\r\n\r\n`), body]));
}

async function* messages(): AsyncGenerator<Message> {
  let buffer = Buffer.alloc(0);
  for await (const bytes of core.stdout) {
    buffer = Buffer.concat([buffer, bytes]);
    for (let end; (end = buffer.indexOf("\r\n\r\n")) >= 0; ) {
      const length = Number(/content-length: *(\d+)/i.exec(buffer.toString("latin1", 0, end))?.[1]);
      if (buffer.length < end + 4 + length) break;
      yield JSON.parse(buffer.toString("utf8", end + 4, end + 4 + length));
      buffer = buffer.subarray(end + 4 + length);
    }
  }
}

const client = { name: "two nodes", version: "1", kind: "program" };
send({ id: 1, method: "initialize", params: { protocol: { majors: [1], level: 1 }, client } });
send({ id: 2, method: "exec/start", params: { nodes, action: { command }, settings: { sshConfig } } });

const streams = new Map<number, string>();
for await (const { method, params, error } of messages()) {
  if (error) throw new Error(error.message);
  if (params?.state === "executing") streams.set(params.stdout, params.node);
  else if (method === "stream/data" && streams.has(params.stream))
    process.stdout.write(`${streams.get(params.stream)} ${Buffer.from(params.data, "base64")}`);
  else if (method === "exec/done") {
    process.exitCode = params.summary.ok === params.summary.nodes ? 0 : 1;
    core.stdin.end();
  }
}
