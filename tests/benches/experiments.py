"""The experiments: each runs the competitors in turn and notes what every run cost."""
import contextlib, glob, json, os, re, shlex, shutil, signal, socket, subprocess, sys, time

from accounting import Group, NCPU, Proc, busy
from ground import HERE, free_port

MARK = {"uptime": b"load average", "hostname": b"\n", "true": None}


def fanout(b):
    reps = {int(k): int(v) for k, v in (x.split(":") for x in b.a.n.split(","))}
    for kind in b.a.server.split(","):
        b.server(kind)
        for cmd in b.a.cmd.split(","):
            for n, r in reps.items():
                for i, order in b.rounds(r):
                    for peer in order:
                        if not b.has(peer, "fanout", kind, n) or (peer in b.a.slow.split(",") and n > b.a.slow_n):
                            continue
                        f = b.run(peer, "fanout", b.words(kind, n, cmd=cmd), kind)
                        m = MARK.get(cmd)
                        f["ok"] = (b.count(m) if m else n) if f["rc"] == 0 or m else 0
                        if f["ok"] < n or f["rc"] != 0:
                            f["why"] = (b.text("err") or b.text())[-160:].strip()
                        b.note("fanout", f, server=kind, cmd=cmd, n=n, round=i)


def warm(b):
    reps = {int(k): int(v) for k, v in (x.split(":") for x in b.a.n.split(","))}
    for kind in b.a.server.split(","):
        b.server(kind)
        for n, r in reps.items():
            for i, order in b.rounds(r):
                for peer in order:
                    w = b.words(kind, n, cmd="uptime")
                    if b.has(peer, "warm", kind, n):
                        e, s = b.envs(peer, w), b.ini[peer]
                        g = Group("warm")
                        p = Proc(b.fill(s["warm_start"], w), e, g, f"{b.tmp}/out", f"{b.tmp}/err")
                        p.wait(b.a.limit)
                        time.sleep(0.3)
                        held = g.anon()
                        keep = b.servers[kind].settle
                        b.servers[kind].settle = lambda: time.sleep(0.1)
                        u0 = g.usage()
                        f = b.run(peer, "warm", w, kind)
                        f["cpu_s"] = round(f["cpu_s"] + (g.usage() or 0) - (u0 or 0), 5)  # the masters' share
                        f["held_kb"] = held
                        f["ok"] = b.count(MARK["uptime"])
                        b.servers[kind].settle = keep
                        q = Proc(b.fill(s["warm_stop"], w), e, g, f"{b.tmp}/out", f"{b.tmp}/err")
                        q.wait(60)
                        g.kill()
                        g.remove()
                    elif b.has(peer, "warm_self", kind, n):
                        f = b.run(peer, "warm_self", w, kind)
                        f["ok"] = b.count(MARK["uptime"]) // 2
                        with contextlib.suppress(Exception):
                            own = next(j for j in map(json.loads, filter(lambda l: l.startswith("{"), b.text("err").splitlines())) if "cpu_s" in j)
                            f["wall_s"], f["cpu_s"] = round(own["wall_s"], 5), round(own["cpu_s"], 5)
                        f.pop("server_cpu_s", None)
                    else:
                        continue
                    b.note("warm", f, server=kind, n=n, round=i)


def volume(b):
    n, lines, width = b.a.nodes, b.a.lines, 100
    for kind in b.a.server.split(","):
        b.server(kind)
        cmd = f"out {lines * width} {width}"
        if kind != "floor":
            v = f"{b.tmp}/volume"
            with open(v, "w") as f:
                f.writelines(("x" * (width - 9) + f"{i:08d}\n") for i in range(lines))
            cmd = f"cat {v}"
        for i, order in b.rounds(b.a.reps):
            for peer in order:
                for key in ("volume_raw", "volume_prefix", "volume_gather", "volume_json"):
                    if not b.has(peer, key, kind, n):
                        continue
                    f = b.run(peer, key, b.words(kind, n, cmd=cmd), kind)
                    got = b.count(b"\n")
                    f["lines"] = got
                    b.note(key, f, server=kind, n=n, round=i, want=lines * n)
        with contextlib.suppress(OSError):
            os.remove(f"{b.tmp}/volume")


def files(b):
    b.server("sshd")
    w = f"{b.tmp}/work"
    big, n = f"{b.tmp}/big", 10
    with open(big, "wb") as f:
        for _ in range(b.a.mb):
            f.write(os.urandom(1 << 20))
    small = f"{b.tmp}/small"
    os.makedirs(small)
    for i in range(1000):
        with open(f"{small}/f{i:04d}", "wb") as f:
            f.write(os.urandom(2048))

    def clear():
        for p in glob.glob(w + "/*"):
            shutil.rmtree(p, ignore_errors=True) if os.path.isdir(p) else os.remove(p)
    for i, order in b.rounds(b.a.reps):
        for key in ("push", "pull", "pushdir"):
            if b.a.only and key not in b.a.only.split(","):
                continue
            for peer in order:
                if not b.has(peer, key, "sshd", n):
                    continue
                clear()
                if key == "pushdir":
                    src, dst = small, f"{w}/dir"
                elif key == "push":
                    src, dst = big, f"{w}/big"
                else:
                    src, dst = big, f"{w}/got"
                f = b.run(peer, key, b.words("sshd", 1 if key == "pushdir" else n, src=src, dst=dst, dir=w), "sshd", limit=60)
                if key == "pushdir":
                    f["ok"] = sum(len(x) for _, _, x in os.walk(w))
                elif key == "push":
                    f["ok"] = n if os.path.exists(dst) and subprocess.run(["cmp", "-s", big, dst]).returncode == 0 else 0
                else:
                    f["ok"] = sum(1 for d, _, x in os.walk(w) for y in x if os.path.getsize(os.path.join(d, y)) == b.a.mb << 20)
                if f["rc"] != 0:
                    f["why"] = (b.text("err") or b.text())[-160:].strip()
                b.note(key, f, server="sshd", n=n, mb=b.a.mb, round=i)
    clear()


def stream(b):
    for kind in b.a.server.split(","):
        b.server(kind)
        size = b.a.mb << 20
        cmd = f"out {size} 2000000" if kind == "floor" else f"head -c {size} /dev/zero"
        for i, order in b.rounds(b.a.reps):
            for peer in order:
                if not b.has(peer, "stream", kind, 1):
                    continue
                w = b.words(kind, 1, cmd=cmd)
                f = b.run(peer, "stream", w, kind, limit=b.a.stream_limit)
                got = os.path.getsize(f"{b.tmp}/out")
                if got < size and not (peer == "floor" and f["rc"] == 0):
                    f["why"] = f"{got} of {size} bytes: " + b.text("err")[-120:]
                f["mbps"] = round(size * 8 / f["wall_s"] / 1e6, 1)
                b.note("stream", f, server=kind, mb=b.a.mb, round=i)
        open(f"{b.tmp}/out", "w").close()


def tool(b, *args):
    p = subprocess.run([b.floor, *map(str, args)], capture_output=True, text=True, timeout=120)
    if p.returncode:
        return {"error": p.stderr[:200]}
    return json.loads(p.stdout)


def forward(b):
    b.server("sshd")
    size = b.a.mb << 20
    tg, ports = Group("targets"), {}
    ts = []
    for k in ("echo", "sink", "source"):
        ports[k] = free_port()
        ts.append(Proc(f"{b.floor} tcp-{k} --listen 127.0.0.1:{ports[k]}", b.env, tg, f"{b.tmp}/t-{k}", f"{b.tmp}/te-{k}"))
    time.sleep(0.3)

    def all_three(addr, socks=None):
        """addr: name of a target -> ADDR:PORT to dial."""
        x = ["--socks", socks] if socks else []
        r = {}
        p = tool(b, "pingpong", "--to", addr("echo"), "--count", 1500, *x)
        r["ping"] = p
        r["connect"] = tool(b, "connects", "--to", addr("echo"), "--count", 60, *x)
        r["up"] = tool(b, "stream", "--to", addr("sink"), "--bytes", size, "--up", *x)
        r["down"] = tool(b, "stream", "--to", addr("source"), "--bytes", size, *x)
        return r
    try:
        for i, order in b.rounds(b.a.reps):
            b0 = busy()
            t0 = time.monotonic()
            d = all_three(lambda k: f"127.0.0.1:{ports[k]}")
            note_fwd(b, "direct", "tcp", i, d, None, None, t0, b0)
            for peer in order:
                for key in ("fwd_l", "fwd_d", "fwd_r"):
                    if not b.has(peer, key, "sshd", 1):
                        continue
                    procs, lp = [], {}
                    g = Group("fwd")
                    b.servers["sshd"].settle()
                    s0 = b.servers["sshd"].group.usage()
                    targets = ["echo"] if key == "fwd_d" else ["echo", "sink", "source"]
                    ok = True
                    for k in targets:
                        lp[k] = free_port()
                        w = b.words("sshd", 1, lport=lp[k], thost="127.0.0.1", tport=ports[k], cmd="true")
                        procs.append(Proc(b.fill(b.ini[peer][key], w), b.envs(peer, w), g, f"{b.tmp}/fo-{k}", f"{b.tmp}/fe-{k}"))
                    for k in targets:
                        for _ in range(100):
                            with contextlib.suppress(OSError):
                                socket.create_connection(("127.0.0.1", lp[k]), 1).close()
                                break
                            time.sleep(0.05)
                        else:
                            ok = False
                    u0, b0, t0 = g.usage(), busy(), time.monotonic()
                    try:
                        if not ok:
                            d = {"error": "the forward did not come up: " + open(f"{b.tmp}/fe-echo").read()[-200:]}
                        elif key == "fwd_d":
                            d = all_three(lambda k: f"127.0.0.1:{ports[k]}", f"127.0.0.1:{lp['echo']}")
                        else:
                            d = all_three(lambda k: f"127.0.0.1:{lp[k]}")
                    except subprocess.TimeoutExpired:
                        d = {"error": "no end within 120 s"}
                    cpu = (g.usage() or 0) - (u0 or 0)
                    held = g.anon()
                    for p in procs:
                        p.stop()
                    g.kill()
                    g.remove()
                    b.servers["sshd"].settle()
                    note_fwd(b, peer, key, i, d, cpu, held // len(procs), t0, b0)
    finally:
        for p in ts:
            p.stop()
        tg.kill()
        tg.remove()


def note_fwd(b, peer, key, i, d, cpu, held, t0, b0):
    f = {"peer": peer}
    if "error" in d:
        f["why"] = d["error"]
    else:
        for part in d.values():
            if "error" in part:
                f["why"] = part["error"]
        with contextlib.suppress(KeyError):
            f.update(ping_p50_us=d["ping"]["p50_us"], ping_p99_us=d["ping"]["p99_us"], connect_p50_us=d["connect"]["p50_us"],
                     up_mbps=d["up"]["mbps"], down_mbps=d["down"]["mbps"])
    if cpu is not None:
        f.update(cpu_s=round(cpu, 4), held_kb=held)
    b.note("forward", f, key=key, mb=b.a.mb, round=i)


def pty(b):
    b.server("sshd")
    drv = f"{sys.executable} {HERE}/drivers/ptylat.py"
    remote = "stty raw -echo; printf READY; exec cat"
    for i, order in b.rounds(b.a.reps):
        for peer in ["local"] + order:
            if peer != "local" and not b.has(peer, "pty", "sshd", 1):
                continue
            for what, args, cmd in (("keys", f"{b.a.keys} 4", remote), ("lines", "200000", "seq 1 200000")):
                if peer == "local":
                    c = f"sh -c '{cmd}'"
                    e = b.env
                    if what == "lines":
                        c = cmd
                else:
                    w = b.words("sshd", 1, cmd=cmd)
                    c, e = b.fill(b.ini[peer]["pty"], w), b.envs(peer, w)
                    if "{cmd}" not in b.ini[peer]["pty"]:
                        if what == "lines":
                            continue
                        e["PTYLAT_TYPE"] = "stty raw -echo; printf 'REA''DY'; exec cat"
                g = Group("pty")
                p = Proc(f"{drv} {what} {args} -- {c}", e, g, f"{b.tmp}/out", f"{b.tmp}/err")
                b0 = busy()
                rc = p.wait(90)
                f = {"peer": peer, "rc": rc}
                f["other_load"] = round((busy() - b0 - (g.usage() or 0)) / p.wall / NCPU, 3)
                try:
                    f.update(json.loads(b.text("out")))
                except ValueError:
                    f["why"] = (b.text("err") + b.text("out"))[-200:]
                g.kill()
                g.remove()
                b.note("pty_" + what, f, round=i)
    # what a hundred of them hold
    for peer in b.peers:
        if not b.has(peer, "pty", "sshd", 1) or b.a.hold == 0:
            continue
        w = b.words("sshd", 1, cmd="stty raw -echo; printf READY; exec cat")
        c = b.fill(b.ini[peer]["pty"], w)
        if "{cmd}" not in b.ini[peer]["pty"]:
            continue
        g = Group("hold")
        p = Proc(f"sh -c {shlex.quote(f'sleep 60 | {drv} hold 60 {b.a.hold} -- {c}')}", b.envs(peer, w), g, f"{b.tmp}/out", f"{b.tmp}/err")
        for _ in range(600):
            if "up" in b.text("out"):
                break
            time.sleep(0.1)
        ps = [x for x in g.pids() if open(f"/proc/{x}/cmdline").read().split("\0")[0].split("/")[-1] not in ("sh", "sleep", "python3", os.path.basename(sys.executable))]
        pss = 0
        for x in ps:
            with contextlib.suppress(OSError):
                pss += int(re.search(r"^Pss:\s+(\d+)", open(f"/proc/{x}/smaps_rollup").read(), re.M)[1])
        b.note("pty_hold", {"peer": peer, "sessions": b.a.hold, "processes": len(ps), "pss_kb": pss, "up": "up" in b.text("out")})
        # It may have ended by itself.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(p.pid, signal.SIGTERM)
        p.stop()
        g.kill()
        g.remove()


def startup(b):
    kind = "sshd"
    b.server(kind)
    for i, order in b.rounds(b.a.reps):
        for peer in order:
            if b.has(peer, "version", kind, 1):
                b.note("startup", b.run(peer, "version", b.words(kind, 1), None, limit=30, sample=False), round=i)


def rtt(b):
    """One command on one node through a relay that holds every byte back: what is left per millisecond of delay is
    the number of round trips. The relay accepts at once, so a real network adds one more for TCP itself."""
    b.server("sshd")
    b.server("floor")
    for kind in b.a.server.split(","):
        for ms in (0, b.a.ms):
            rg, rp = Group("relay"), free_port()
            rel = Proc(f"{b.floor} delay --port {rp} --to-port {b.servers[kind].port} --ms {ms}", b.env, rg, f"{b.tmp}/ro", f"{b.tmp}/re")
            time.sleep(0.3)
            b.conf(kind, rp, "relay")
            try:
                for i, order in b.rounds(b.a.reps):
                    for peer in order:
                        for n in (int(x) for x in b.a.rtt_n.split(",")):
                            if not b.has(peer, "fanout", kind, n):
                                continue
                            f = b.run(peer, "fanout", b.words(kind, n, port=rp, conf="relay", cmd="uptime"), kind)
                            f["ok"] = b.count(MARK["uptime"])
                            b.note("rtt", f, server=kind, n=n, rtt_ms=2 * ms, round=i)
            finally:
                rel.stop()
                rg.kill()
                rg.remove()


def servers(b):
    """The same client against each server: which one gives the most connections a second, and what each side pays."""
    for i in range(b.a.reps):
        for kind in b.a.server.split(","):
            srv = b.server(kind)
            for n in (200,):
                for conc in (1,) if kind == "dropbear" else (1, 16, 64):  # dropbear lets in five at a time from one address
                    for peer in ("floor", "ssh-xargs"):
                        b.a.fanout, keep = conc, b.a.fanout
                        f = b.run(peer, "fanout", b.words(kind, n, cmd="true"), kind)
                        b.a.fanout = keep
                        f["per_s"] = round(n / f["wall_s"], 1)
                        b.note("servers", f, server=kind, n=n, conc=conc, round=i)
