#!/usr/bin/env python3
"""Markdown tables of medians [min-max] from bench.py's result files, with ratios paired round by round.
usage: report.py [--plots DIR] FILE.jsonl…"""
import collections, json, statistics as st, sys

import plots, verdicts

files, pictures = sys.argv[1:], None
if files[:1] == ["--plots"]:
    pictures, files = files[1], files[2:]
rows = []
for f in files:
    for l in open(f):
        try:
            rows.append(json.loads(l))
        except ValueError:
            pass


# Rows of one run and round are set against each other. Rows from before there was a run's number: the k-th of one
# competitor against the k-th of the other, which is the same round unless files with different peers are put together.
seen = collections.Counter()
for r in rows:
    k = tuple(r.get(x) for x in ("exp", "server", "cmd", "n", "key", "rtt_ms", "conc", "peer"))
    r["_k"], seen[k] = ((r["run"], r["round"]) if "run" in r and "round" in r else seen[k]), seen[k] + 1


def sel(**kw):
    return [r for r in rows if all(r.get(k) == v for k, v in kw.items())]


def num(x):
    if x == 0:
        return "0"
    a = abs(x)
    return f"{x:.0f}" if a >= 100 else f"{x:.1f}" if a >= 10 else f"{x:.2f}" if a >= 1 else f"{x:.3f}" if a >= .01 else f"{x:.4f}"


def med(v, scale=1):
    v = [x * scale for x in v if x is not None]
    if not v:
        return "-"
    m = num(st.median(v))
    return m if len(v) == 1 else f"{m} [{num(min(v))}–{num(max(v))}]"


def paired(rs, base, field):
    """Median over rounds of this row / the base's row in the same round."""
    q = verdicts.ratio(rs, base, field)
    return "-" if q is None else num(q) + "x"


def peers(rs):
    return list(dict.fromkeys(r["peer"] for r in rs))


def table(title, head, lines):
    lines = list(lines)
    if not lines:
        return
    print(f"\n### {title}\n\n| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for l in lines:
        print("| " + " | ".join(str(x) for x in l) + " |")


def good(r, n):
    return r["rc"] == 0 and r.get("ok", n) >= n


if pictures:
    print("""# The benchmark of record

<!-- Generated from the .jsonl files beside it; tests/benches/record.sh writes them and this. -->

`tests/benches/setup.sh`, then `tests/benches/record.sh`, on an idle machine; [how it measures](../../tests/benches/README.md), [what the figures mean](../benchmarks.md).
Medians [smallest–largest] of the runs, peers in turn; ratios are taken within a round.
`floor` is the least a client can do, not a product.
`other load` above 0.1 says that something else used the machine: then only CPU figures and ratios count.
""", end="")
    table("What was wanted", ["measure", "seen", "wanted", "held"], verdicts.lines(rows, num))
    print()
    for file, title in plots.draw(rows, pictures):
        print(f"![{title}]({file})")

for server in ("floor", "sshd"):
    for cmd in ("uptime", "true", "hostname"):
        for n in sorted({r["n"] for r in sel(exp="fanout", server=server, cmd=cmd)}):
            rs = sel(exp="fanout", server=server, cmd=cmd, n=n)
            base = [r for r in rs if r["peer"] == "ssh-xargs" and good(r, n)]
            out = []
            for p in peers(rs):
                a = [r for r in rs if r["peer"] == p]
                g = [r for r in a if good(r, n)]
                if not g:
                    out.append([p, len(a), "failed", "", "", "", "", "", "", f"{len(a)} of {len(a)}"])
                    continue
                out.append([p, len(g), med([r["wall_s"] for r in g]), med([r["cpu_s"] for r in g]),
                            med([r["cpu_s"] * 1e3 / n for r in g]), med([r.get("server_cpu_s", 0) * 1e3 / n for r in g]),
                            med([max(r.get("peak_kb", 0), r["maxrss_kb"]) / 1024 for r in g]), paired(g, base, "wall_s"), paired(g, base, "cpu_s"),
                            f"{len(a) - len(g)} of {len(a)}; other load {num(st.median(r['other_load'] for r in g))}"])
            table(f"Fan-out of `{cmd}` to N={n} nodes, server {server}",
                  ["client", "runs", "wall s", "client CPU s", "client CPU ms/node", "server CPU ms/node", "peak MB", "wall / ssh", "CPU / ssh", "failed runs"], out)

for server in ("floor", "sshd"):
    for n in sorted({r["n"] for r in sel(exp="warm", server=server)}):
        rs = sel(exp="warm", server=server, n=n)
        base = [r for r in rs if r["peer"] == "ssh-mux"]
        table(f"Warm repeat of `uptime`, N={n}, server {server}", ["client", "runs", "wall s", "CPU s (client and masters)", "wall / mux", "held MB", "ok"],
              [[p, len(a), med([r["wall_s"] for r in a]), med([r["cpu_s"] for r in a]), paired(a, base, "wall_s"),
                med([r.get("held_kb", r.get("anon_kb", 0)) / 1024 for r in a]), min(r["ok"] for r in a)]
               for p in peers(rs) for a in [[r for r in rs if r["peer"] == p]]])

for server in ("floor", "sshd"):
    for n in sorted({r["n"] for r in rows if r["exp"].startswith("volume_")}):
        for key in ("volume_raw", "volume_prefix", "volume_gather", "volume_json"):
            rs = sel(exp=key, server=server, n=n)
            base = sel(exp="volume_raw", server=server, peer="floor", n=n)
            table(f"Output volume, {n} nodes, {rs[0]['want'] if rs else 0} lines of 100 bytes in all, {key[7:]}, server {server}",
                  ["client", "runs", "wall s", "client CPU s", "MB/s of CPU", "private MB", "CPU / floor raw", "lines"],
                  [[p, len(a), med([r["wall_s"] for r in a]), med([r["cpu_s"] for r in a]), med([r["want"] / 1e4 / r["cpu_s"] for r in a]),
                    med([r.get("anon_kb", 0) / 1024 for r in a]), paired(a, base, "cpu_s"), a[0]["lines"]]
                   for p in peers(rs) for a in [[r for r in rs if r["peer"] == p]]])

for key, what in (("push", "to 10 nodes"), ("pull", "from 10 nodes"), ("pushdir", "1000 files of 2 KiB to 1 node")):
    rs = sel(exp=key)
    base = [r for r in rs if r["peer"] == "scp"]
    want = 1000 if key == "pushdir" else 10
    table(f"{key}: {'one file of ' + str(rs[0]['mb']) + ' MB ' if rs and key != 'pushdir' else ''}{what}, server sshd",
          ["client", "runs", "wall s", "client CPU s", "server CPU s", "private MB", "wall / scp", "CPU / scp", "ok"],
          [[p, len(a), med([r["wall_s"] for r in a]), med([r["cpu_s"] for r in a]), med([r.get("server_cpu_s") for r in a]),
            med([r.get("anon_kb", 0) / 1024 for r in a]), paired(a, base, "wall_s"), paired(a, base, "cpu_s"),
            f"{min(r['ok'] for r in a)} of {want}" + ("" if all(r["rc"] == 0 for r in a) else f" rc {a[0]['rc']}")]
           for p in peers(rs) for a in [[r for r in rs if r["peer"] == p]]])

for server in ("floor", "sshd"):
    rs = sel(exp="stream", server=server)
    base = [r for r in rs if r["peer"] == "ssh-xargs"]
    table(f"One stream of {rs[0]['mb'] if rs else 0} MiB, server {server}", ["client", "runs", "Mbit/s", "client CPU s", "client CPU s per GB", "CPU / ssh", "private MB"],
          [[p, len(a), med([r["mbps"] for r in a]), med([r["cpu_s"] for r in a]), med([r["cpu_s"] / r["mb"] * 1024 / 1.073741824 for r in a]),
            paired(a, base, "cpu_s"), med([r.get("anon_kb", 0) / 1024 for r in a]) + (" " + a[0]["why"][:60] if "why" in a[0] else "")]
           for p in peers(rs) for a in [[r for r in rs if r["peer"] == p]]])

rs = sel(exp="forward")
out = []
for key in ("tcp", "fwd_l", "fwd_r", "fwd_d"):
    for p in peers([r for r in rs if r["key"] == key]):
        a = [r for r in rs if r["key"] == key and r["peer"] == p]
        g = [r for r in a if "down_mbps" in r]
        if not g:
            out.append([key, p, len(a), "failed: " + a[0].get("why", "")[:90].replace("\n", " ").replace("|", "/"), "", "", "", "", "", ""])
            continue
        out.append([key, p, len(g), med([r["up_mbps"] for r in g]), med([r["down_mbps"] for r in g]), med([r["ping_p50_us"] for r in g]),
                    med([r["ping_p99_us"] for r in g]), med([r["connect_p50_us"] for r in g]), med([r.get("cpu_s") for r in g]), med([r.get("held_kb", 0) / 1024 for r in g])])
table("Forwards, server sshd", ["kind", "client", "runs", "up Mbit/s", "down Mbit/s", "echo p50 µs", "echo p99 µs", "connect+echo p50 µs", "client CPU s", "MB a client"], out)

rs = sel(exp="pty_keys")
table("Key to echo through a PTY, server sshd", ["client", "runs", "p50 µs", "p95 µs", "p99 µs", "other load"],
      [[p, len(a)] + ([med([r["p50_us"] for r in g]), med([r["p95_us"] for r in g]), med([r["p99_us"] for r in g]), num(st.median(r["other_load"] for r in g))] if g else ["failed: " + a[0].get("why", "")[:60].replace("\n", " "), "", "", ""])
       for p in peers(rs) for a in [[r for r in rs if r["peer"] == p]] for g in [[r for r in a if "p50_us" in r]]])
rs = sel(exp="pty_lines")
table("Lines through a PTY (`seq 1 200000`)", ["client", "runs", "lines/s"],
      [[p, len(a), med([r.get("lines_per_s") for r in a])] for p in peers(rs) for a in [[r for r in rs if r["peer"] == p]]])
rs = sel(exp="pty_hold")
table("PTY sessions held", ["client", "sessions", "processes", "PSS MB", "up"], [[r["peer"], r["sessions"], r["processes"], num(r["pss_kb"] / 1024), r["up"]] for r in rs])

rs = sel(exp="startup")
table("Start-up (version or help)", ["client", "runs", "wall ms", "CPU ms", "peak RSS MB"],
      [[p, len(a), med([r["wall_s"] * 1e3 for r in a]), med([r["cpu_s"] * 1e3 for r in a]), med([r["maxrss_kb"] / 1024 for r in a])]
       for p in peers(rs) for a in [[r for r in rs if r["peer"] == p]]])

for server in ("sshd", "floor"):
    rs = sel(exp="rtt", server=server)
    for n in sorted({r["n"] for r in rs}):
        out = []
        for p in peers(rs):
            a = [r for r in rs if r["peer"] == p and r["n"] == n and r["ok"] >= n]
            z, d = [r["wall_s"] for r in a if r["rtt_ms"] == 0], [r for r in a if r["rtt_ms"] > 0]
            if z and d:
                ms = d[0]["rtt_ms"]
                w = [r["wall_s"] for r in d]
                out.append([p, len(d), med(z), med(w), num((min(w) - min(z)) * 1e3 / ms), num((st.median(w) - st.median(z)) * 1e3 / ms)])
        table(f"Round trips for one command, N={n}, server {server} (TCP's own not counted)", ["client", "runs", "wall s at 0 ms", "wall s delayed", "round trips (from minima)", "(from medians)"], out)

rs = sel(exp="servers")
table("Servers: connections a second with two clients", ["server", "client", "at once", "runs", "conn/s", "server CPU ms/conn", "client CPU ms/conn"],
      [[s, p, c, len(a), med([r["per_s"] for r in a]), med([r.get("server_cpu_s", 0) * 1e3 / r["n"] for r in a]), med([r["cpu_s"] * 1e3 / r["n"] for r in a])]
       for s in ("floor", "sshd", "dropbear") for p in ("floor", "ssh-xargs") for c in (1, 16, 64)
       for a in [[r for r in rs if r["server"] == s and r["peer"] == p and r["conc"] == c and r["rc"] == 0]] if a])
