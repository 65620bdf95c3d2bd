"""Horizontal bars as SVG, without a library: one picture a figure, shorter is better, bssh in colour."""
import math, statistics
from xml.sax.saxutils import escape

WIDTH, LABEL, BAR, GAP, TOP = 720, 130, 18, 6, 46


def bars(title, unit, pairs):
    """pairs: (name, value); drawn on a logarithmic scale, since peers differ by orders of magnitude."""
    pairs = sorted(pairs, key=lambda p: p[1])
    low = 10 ** math.floor(math.log10(min(v for _, v in pairs)) - 0.3)
    high = max(v for _, v in pairs)
    room = WIDTH - LABEL - 90
    height = TOP + len(pairs) * (BAR + GAP) + 10

    def length(value):
        return room * math.log(value / low) / math.log(high / low)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
           'font-family="sans-serif" font-size="13" role="img">',
           f"<title>{escape(title)}</title>", f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
           f'<text x="10" y="20" font-size="15" font-weight="bold" fill="#222222">{escape(title)}</text>',
           f'<text x="10" y="36" font-size="11" fill="#666666">{escape(unit)}, logarithmic; shorter is better</text>']
    for i, (name, value) in enumerate(pairs):
        y = TOP + i * (BAR + GAP)
        colour = {"bssh": "#1f6feb", "floor": "#c9d1d9"}.get(name, "#8b949e")
        out += [f'<text x="{LABEL - 8}" y="{y + 14}" text-anchor="end" fill="#222222">{escape(name)}</text>',
                f'<rect x="{LABEL}" y="{y}" width="{length(value):.1f}" height="{BAR}" fill="{colour}"/>',
                f'<text x="{LABEL + length(value) + 6:.1f}" y="{y + 14}" fill="#222222">{value:.3g}</text>']
    return "\n".join(out + ["</svg>", ""])


CHARTS = [
    ("one-node", "One cold command on one node, sshd: CPU", "ms", dict(exp="fanout", server="sshd", cmd="uptime", n=1), lambda r: r["cpu_s"] * 1e3),
    ("one-node-wall", "One cold command on one node, sshd: wall time", "ms", dict(exp="fanout", server="sshd", cmd="uptime", n=1), lambda r: r["wall_s"] * 1e3),
    ("nodes-cpu", "One cold command on 1000 nodes, cheap server: CPU of the client", "ms a node", dict(exp="fanout", server="floor", cmd="uptime", n=1000), lambda r: r["cpu_s"] * 1e3 / r["n"]),
    ("nodes-wall", "One cold command on 1000 nodes, cheap server: wall time", "s", dict(exp="fanout", server="floor", cmd="uptime", n=1000), lambda r: r["wall_s"]),
    ("warm", "The same command again on 100 nodes, cheap server: CPU", "ms a node", dict(exp="warm", server="floor", n=100), lambda r: r["cpu_s"] * 1e3 / r["n"]),
    ("volume", "A million lines from ten nodes, each with its node: CPU of the client", "s", dict(exp="volume_prefix", server="floor", n=10), lambda r: r["cpu_s"]),
    ("stream", "400 MiB from one node, sshd: CPU of the client", "s", dict(exp="stream", server="sshd"), lambda r: r["cpu_s"]),
    ("push", "A large file to ten nodes: wall time", "s", dict(exp="push"), lambda r: r["wall_s"]),
    ("small-files", "1000 small files to one node: wall time", "s", dict(exp="pushdir"), lambda r: r["wall_s"]),
    ("keys", "Key to echo through a terminal, median", "µs", dict(exp="pty_keys"), lambda r: r.get("p50_us")),
]


def draw(rows, directory):
    """Writes a picture for each chart there are figures for; gives (file, title)."""
    made = []
    for name, title, unit, where, figure in CHARTS:
        of = {}
        for r in rows:
            wanted = r.get("n", r.get("lines", 1))
            if all(r.get(k) == v for k, v in where.items()) and r.get("rc", 0) == 0 and "why" not in r and r.get("ok", wanted) >= (wanted if "n" in where else 0):
                of.setdefault(r["peer"], []).append(figure(r))
        pairs = [(peer, statistics.median(v)) for peer, v in of.items() if None not in v]
        if len(pairs) > 1:
            with open(f"{directory}/{name}.svg", "w", encoding="utf-8") as f:
                f.write(bars(title, unit, pairs))
            made.append((f"{name}.svg", title))
    return made
