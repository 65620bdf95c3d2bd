#!/usr/bin/env python3
"""What docs/architecture.md holds the sources against: sizes, repetition, names. usage: measure-source.py

Rust of the workspace only; test modules and tests count for sizes, not for repetition.
"""
import collections, os, re, statistics, subprocess

top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
listed = subprocess.run(["git", "ls-files", "*.rs"], cwd=top, capture_output=True, text=True, check=True).stdout.split()
files = {f: open(os.path.join(top, f), encoding="utf-8").read() for f in listed if not f.startswith("tests/benches/floor/")}


def functions(text):
    """(lines, parameters) of every function, by its braces; strings are blanked first."""
    text = re.sub(r"b?'(?:\\.|[^'\\\n])'", "'_'", text)
    text = re.sub(r'r#*".*?"#*|"(?:\\.|[^"\\])*"', lambda m: '"' + re.sub(r"[^\n]", "_", m[0][1:-1]) + '"', text, flags=re.S)
    text = re.sub(r"//[^\n]*", "", text)
    for m in re.finditer(r"\bfn \w+", text):
        open_paren = text.find("(", m.end())
        depth, at = 0, open_paren
        while at < len(text):
            depth += {"(": 1, ")": -1}.get(text[at], 0)
            if depth == 0:
                break
            at += 1
        nested, commas, last = 0, 0, ""
        for c in text[open_paren + 1:at]:
            nested += {"(": 1, "<": 1, "[": 1, "{": 1, ")": -1, ">": -1, "]": -1, "}": -1}.get(c, 0)
            commas += c == "," and nested <= 0
            last = c if not c.isspace() else last
        body = re.search(r"[{;]", text[at:])
        if not body or body[0] == ";":
            continue
        params = (commas + (last != ",")) if text[open_paren + 1:at].strip() else 0
        start = end = at + body.start()
        depth = 0
        while end < len(text):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                break
            end += 1
        yield text.count("\n", m.start(), end) + 1, params


def repeated(window=8):
    """Share of code lines that stand in a window of 8 that stands elsewhere, too."""
    lines = {}
    for f, text in files.items():
        if "/tests/" in f or f.startswith("tests/"):
            continue
        code = text.split("\n#[cfg(test)]")[0].splitlines()
        lines[f] = [s for s in (re.sub(r"\s+", " ", x).strip() for x in code) if len(s) > 3 and not s.startswith(("//", "use ", "#["))]
    seen = collections.defaultdict(list)
    for f, code in lines.items():
        for i in range(len(code) - window + 1):
            seen["\n".join(code[i:i + window])].append((f, i))
    twice = {(f, i + k) for places in seen.values() if len(places) > 1 for f, i in places for k in range(window)}
    return len(twice) / sum(map(len, lines.values()))


sizes = [t.count("\n") for f, t in files.items() if "/src/" in f]
product = {p: t.split("\n#[cfg(test)]")[0] for p, t in files.items() if "/src/" in p and not p.startswith("tests/") and not p.endswith("tests.rs")}
own = [f for t in product.values() for f in functions(t)]
vague = {"utils", "util", "types", "common", "helpers", "helper", "manager", "misc"}
print("| measure | wanted | now |\n|---|---|---|")
print(f"| files, lines of Rust | | {len(files)}, {sum(t.count(chr(10)) for t in files.values())} |")
print(f"| module median; longer than 500 lines | 150 to 250; 0 | {statistics.median(sizes):.0f}; {sum(s > 500 for s in sizes)} |")
print(f"| functions over 80 lines (over 100); over 5 parameters | 0 (0); 0 | {sum(n > 80 for n, _ in own)} ({sum(n > 100 for n, _ in own)}); {sum(p > 5 for _, p in own)} |")
print(f"| lines in windows of 8 that stand twice | at most 2 % | {repeated() * 100:.1f} % |")
print(f"| files with a name that says nothing | 0 | {sum(any(p.removesuffix('.rs') in vague for p in f.split('/')) for f in files)} |")
print(f"| `allow(dead_code)`, `#[ignore]` | 0, 0 | {sum(len(re.findall(r'^ *#!?.allow.dead_code', t, re.M)) for t in files.values())}, {sum(len(re.findall(r'^ *#.ignore', t, re.M)) for t in files.values())} |")
