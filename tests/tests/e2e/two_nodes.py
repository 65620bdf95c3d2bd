"""Runs a command on nodes through `bssh core --stdio`; knows docs/protocol.md and nothing else.
usage: two_nodes.py BSSH SSH_CONFIG NODES COMMAND"""
import base64, json, subprocess, sys

bssh, ssh_config, nodes, command = sys.argv[1:]
core = subprocess.Popen([bssh, "core", "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def send(message):
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    core.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    core.stdin.flush()


def receive():
    length = 0
    while (line := core.stdout.readline().strip()) or not length:
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return json.loads(core.stdout.read(length))


client = {"name": "two nodes", "version": "1", "kind": "program"}
send({"id": 1, "method": "initialize",
      "params": {"protocol": {"majors": [1], "level": 1}, "client": client}})
assert receive()["result"]["protocol"]["major"] == 1
send({"id": 2, "method": "exec/start",
      "params": {"nodes": nodes, "action": {"command": command},
                 "settings": {"sshConfig": ssh_config}}})
streams, done = {}, False
while not done:
    message = receive()
    params, method = message.get("params", {}), message.get("method")
    if params.get("state") == "executing":
        streams[params["stdout"]] = params["node"]
    elif method == "stream/data" and params["stream"] in streams:
        print(streams[params["stream"]], base64.b64decode(params["data"]).decode(), flush=True)
    done = method == "exec/done"
core.stdin.close()
sys.exit(core.wait() or params["summary"]["ok"] != params["summary"]["nodes"])
