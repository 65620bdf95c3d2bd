"""What was wanted, beside what was measured: the first table of the record.

A row is (what, its figure, at most or at least, wanted, unit). Ratios are medians over the rounds in which both ran."""
import statistics as st

CHEAP, REAL = dict(server="floor"), dict(server="sshd")
PEER_OF_STREAMS = "ssh-aesgcm"  # ssh with the cipher bssh chooses
PLAIN_STREAMS = ("ssh-xargs", "ssh-aesgcm")  # `ssh cat > file`: no file server, names or modes


def ratio(rows, base, field):
    """Median over rounds of a row's field by the base's of the same round; None where they never met."""
    base = {r["_k"]: r for r in base}
    both = [r[field] / base[r["_k"]][field] for r in rows if r.get(field) and base.get(r["_k"], {}).get(field)]
    return st.median(both) if both else None


class Record:
    """The rows of the record, and the questions asked of them. No answer is None."""

    def __init__(self, rows):
        whole = [r for r in rows if r.get("rc", 0) == 0 and "why" not in r]
        self.rows = [r for r in whole if r.get("ok", r.get("n", 0)) >= r.get("n", 0)]

    def of(self, peer, **where):
        return [r for r in self.rows if r["peer"] == peer and all(r.get(k) == v for k, v in where.items())]

    def median(self, field, scale=1, peer="bssh", **where):
        seen = [r[field] * scale for r in self.of(peer, **where) if field in r]
        return st.median(seen) if seen else None

    def beside(self, other, field, **where):
        return ratio(self.of("bssh", **where), self.of(other, **where), field)

    def beside_best(self, field, without=(), **where):
        """By the best peer's: whoever has the smallest median, the yardstick left out."""
        peers = {r["peer"] for r in self.rows} - {"bssh", "floor", "floor-wan", *without}
        seen = [m for m in (self.median(field, peer=p, **where) for p in peers) if m]
        own = self.median(field, **where)
        return own / min(seen) if own and seen else None

    def beside_cold(self, field):
        cold, warm = (self.median(field, exp=e, n=1000, **CHEAP) for e in ("fanout", "warm"))
        return warm / cold if cold and warm else None

    def growth(self):
        small, large = (self.median("cpu_s", 1 / n, exp="fanout", n=n, **CHEAP) for n in (1000, 10000))
        return large / small if small and large else None

    def slower_way(self, key):
        ways = [self.median(way, exp="forward", key=key) for way in ("up_mbps", "down_mbps")]
        return min(ways) if None not in ways else None

    def echo_added(self, key):
        own, peer = (self.median("ping_p50_us", 1e-3, peer=p, exp="forward", key=key) for p in ("bssh", PEER_OF_STREAMS))
        return own - peer if own and peer else None

    def key_added(self):
        own, peer = (self.median("p99_us", 1e-3, peer=p, exp="pty_keys") for p in ("bssh", "ssh-xargs"))
        return own - peer if own and peer else None

    def round_trips(self, server):
        near, far = ([r for r in self.of("bssh", exp="rtt", server=server) if (r["rtt_ms"] > 0) == away] for away in (False, True))
        if not near or not far:
            return None
        return (min(r["wall_s"] for r in far) - min(r["wall_s"] for r in near)) * 1e3 / far[0]["rtt_ms"]


def measures(record):
    at_most, at_least = "≤", "≥"
    fleet = dict(exp="fanout", n=1000, **CHEAP)
    yield "1000 cold nodes: CPU, by the best peer's", record.beside_best("cpu_s", **fleet), at_most, .5, ""
    yield "1000 cold nodes: wall, by the best peer's", record.beside_best("wall_s", **fleet), at_most, 1, ""
    yield "1000 cold nodes: memory", record.median("maxrss_kb", 1 / 1024, **fleet), at_most, 40, "MB"
    for n, wanted in ((10, .2), (100, .5), (1000, 3)):
        yield f"{n} cold nodes: wall, a tenth of what was promised", record.median("wall_s", exp="fanout", n=n, **CHEAP), at_most, wanted, "s"
    yield "CPU a node: 10,000 nodes by 1000", record.growth(), at_most, 1.2, ""
    for server in (CHEAP, REAL):
        name = "cheap server" if server is CHEAP else "sshd"
        one = dict(exp="fanout", n=1, **server)
        yield f"one cold command, {name}: wall, by ssh's", record.beside("ssh-xargs", "wall_s", **one), at_most, .8, ""
        yield f"one cold command, {name}: CPU, by ssh's", record.beside("ssh-xargs", "cpu_s", **one), at_most, .5, ""
        yield f"one cold command, {name}: round trips", record.round_trips(server["server"]), at_most, 5, ""
        again = dict(exp="warm", n=1, **server)
        yield f"one warm command, {name}: wall", record.median("wall_s", 1e3, **again), at_most, 10, "ms"
        yield f"one warm command, {name}: wall, by ControlMaster's", record.beside("ssh-mux", "wall_s", **again), at_most, 1, ""
    yield "1000 warm nodes: wall, by cold", record.beside_cold("wall_s"), at_most, .1, ""
    yield "1000 warm nodes: CPU, by cold", record.beside_cold("cpu_s"), at_most, .1, ""
    yield "1000 warm nodes: CPU a node", record.median("cpu_s", 1, exp="warm", n=1000, **CHEAP), at_most, .1, "ms"
    yield "1000 warm nodes: memory held", record.median("held_kb", 1 / 1024, exp="warm", n=1000, **CHEAP), at_most, 120, "MB"
    for key, name in (("volume_prefix", "prefixed"), ("volume_gather", "gathered")):
        yield f"a million lines from ten nodes, {name}: CPU", record.median("cpu_s", exp=key, n=10, **CHEAP), at_most, .6, "s"
        yield f"a million lines from ten nodes, {name}: memory", record.median("anon_kb", 1 / 1024, exp=key, n=10, **CHEAP), at_most, 100, "MB"
    for server, name in ((CHEAP, "cheap server"), (REAL, "sshd")):
        yield f"400 MiB from one node, {name}: rate, by ssh's with the same cipher", record.beside(PEER_OF_STREAMS, "mbps", exp="stream", **server), at_least, 1, ""
        yield f"400 MiB from one node, {name}: CPU, by ssh's with the same cipher", record.beside(PEER_OF_STREAMS, "cpu_s", exp="stream", **server), at_most, 1, ""
    for key, name, wanted in (("fwd_l", "-L", 950), ("fwd_r", "-R", 900), ("fwd_d", "-D", 850)):
        forward = dict(exp="forward", key=key)
        yield f"{name}: the slower way", record.slower_way(key), at_least, wanted, "Mbit/s"
        for way in ("up", "down"):
            yield f"{name} {way}: rate, by ssh's with the same cipher", record.beside(PEER_OF_STREAMS, f"{way}_mbps", **forward), at_least, 1, ""
        yield f"{name}: CPU, by ssh's with the same cipher", record.beside(PEER_OF_STREAMS, "cpu_s", **forward), at_most, 1, ""
        yield f"{name}: echo p50, more than ssh's", record.echo_added(key), at_most, .1, "ms"
    for key, name in (("push", "100 MB to ten nodes"), ("pull", "100 MB from ten nodes"), ("pushdir", "1000 small files to one node")):
        yield f"{name}: wall, by the best peer's that keeps names and modes", record.beside_best("wall_s", PLAIN_STREAMS, exp=key), at_most, 1, ""
    yield "a key's echo: p99, more than `ssh -tt`'s", record.key_added(), at_most, 1, "ms"


def lines(rows, num):
    """(measure, seen, wanted, held), one for each measure the rows have figures for; num writes a number."""
    for what, seen, way, wanted, unit in measures(Record(rows)):
        if seen is not None:
            held = seen <= wanted if way == "≤" else seen >= wanted
            yield [what, f"{num(seen)} {unit}".strip(), f"{way} {wanted:g} {unit}".strip(), "yes" if held else "**no**"]
