#!/usr/bin/env python3
"""Side-by-side benchmark of SSH clients on one machine, loopback only. See README.md."""
import argparse, os, resource, signal, sys

import experiments as e
from ground import HERE, Bench


def main():
    names = "fanout warm volume files stream forward pty startup rtt servers".split()
    exps = {name: getattr(e, name) for name in names}
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("exp", choices=sorted(exps))
    p.add_argument("--out", default="results.jsonl")
    p.add_argument("--peers", help="only these, in this order")
    p.add_argument("--skip", default="")
    p.add_argument("--config", action="append", help="another ini with competitors of the same form")
    p.add_argument("--candidate", action="append", metavar="NAME=TEMPLATE", help="a competitor for the fan-out alone")
    p.add_argument("--server", default="sshd")
    p.add_argument("--n", default="1:5,10:5,100:3", help="N:REPEATS,…")
    p.add_argument("--cmd", default="uptime")
    p.add_argument("--reps", type=int, default=5)
    p.add_argument("--fanout", type=int, default=64)
    p.add_argument("--slow", default="", help="peers not tried above --slow-n")
    p.add_argument("--slow-n", type=int, default=100)
    p.add_argument("--limit", type=float, default=240)
    p.add_argument("--mb", type=int, default=100)
    p.add_argument("--lines", type=int, default=100000)
    p.add_argument("--nodes", type=int, default=10, help="of volume")
    p.add_argument("--keys", type=int, default=300)
    p.add_argument("--hold", type=int, default=100)
    p.add_argument("--ms", type=float, default=20, help="one way")
    p.add_argument("--kex", default="curve25519-sha256", help="pinned for every client that reads ssh_config; 'default' pins nothing")
    p.add_argument("--rtt-n", default="1")
    p.add_argument("--stream-limit", type=float, default=40)
    p.add_argument("--only", default="")
    p.add_argument("--venv", default=os.environ.get("BENCH_VENV", f"{HERE}/venv"))
    p.add_argument("--bssh", default=f"{HERE}/../../target/release/bssh")
    p.add_argument("--published", default=os.environ.get("BENCH_PUBLISHED", "/nonexistent"), help="the crate called bssh")
    p.add_argument("--floor", default=os.environ.get("BENCH_FLOOR", f"{HERE}/floor/target/release/sshfloor"))
    a = p.parse_args()
    a.floor, a.venv = os.path.abspath(a.floor), os.path.abspath(a.venv)
    a.bssh = os.path.abspath(a.bssh)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    b = Bench(a)
    try:
        exps[a.exp](b)
    finally:
        b.close()


main()
