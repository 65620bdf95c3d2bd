#!/usr/bin/env python3
"""Measures terminals and the REPL, and prints a table. One command: tests/measure-terminals.py [BSSH]

BSSH is the executable to measure (default: target/release/bssh). Needs sshd and nothing else; all
of it is on loopback, in a temp directory, and ended at the end.

  memory    100 terminals at once (`-t`): PSS of frontend and core together, MB
  flood     one terminal floods (`yes`, urandom | base64), how late another one's echo is, ms
  warm      the REPL runs `true` on 200 nodes it is connected to (embedded nodes), s
  lines     100,000 lines of a terminal and of the REPL, each counted: lines/s
"""
import os, pty, re, select, signal, subprocess, sys, tempfile, time, fcntl, struct, termios, statistics

HERE = os.path.dirname(os.path.abspath(__file__))
BSSH = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else HERE + "/../target/release/bssh")


class Screen:
    """A program on a pseudo-terminal."""

    def __init__(self, words, env):
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(words[0], words, env)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def read(self, within):
        if select.select([self.fd], [], [], within)[0]:
            try:
                self.seen += os.read(self.fd, 1 << 16)
                return True
            except OSError:
                return False
        return False

    def see(self, text, within=60):
        """Waits for a text; forgets what came before it. Gives what was read."""
        end = time.monotonic() + within
        while text not in self.seen:
            left = end - time.monotonic()
            if left <= 0:
                raise SystemExit(f"{text!r} not seen; {self.seen[-400:]!r}")
            self.read(left)
        before, self.seen = self.seen.split(text, 1)
        return before

    def keys(self, text):
        os.write(self.fd, text)

    def drain(self, quiet=0.3):
        while self.read(quiet):
            pass
        self.seen = b""

    def end(self):
        os.kill(self.pid, signal.SIGTERM)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            self.read(0.05)
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                return
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def family(pid):
    """A process and the cores it has started."""
    pids = [pid]
    for other in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = open(f"/proc/{other}/stat").read().rsplit(")", 1)[1].split()
            words = open(f"/proc/{other}/cmdline").read()
        except OSError:
            continue
        if int(fields[1]) == pid and "core" in words:
            pids.append(int(other))
    return pids


def memory(pid):
    total = 0
    for one in family(pid):
        text = open(f"/proc/{one}/smaps_rollup").read()
        total += int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1))
    return total / 1024


class Daemon:
    """A real sshd on every loopback address, with throw-away keys."""

    def __init__(self, home):
        key = lambda name: subprocess.run(
            ["ssh-keygen", "-q", "-N", "", "-t", "ed25519", "-f", f"{home}/{name}"], check=True)
        key("host"), key("user")
        os.makedirs("/run/sshd", exist_ok=True) if os.getuid() == 0 else None
        import socket
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with open(f"{home}/sshd_config", "w") as f:
            f.write(f"HostKey {home}/host\nPort {port}\nListenAddress 0.0.0.0\nPidFile none\n"
                    f"AuthorizedKeysFile {home}/user.pub\nMaxStartups 1000\nMaxSessions 1000\n"
                    "UsePAM no\nStrictModes no\nPermitRootLogin yes\nSetEnv SHLVL=9\n"
                    "PrintMotd no\nPrintLastLog no\n")
        with open(f"{home}/known", "w") as f:
            f.write("* " + open(f"{home}/host.pub").read())
        with open(f"{home}/config", "w") as f:
            f.write(f"Host *\n  Port {port}\n  IdentityFile {home}/user\n  IdentitiesOnly yes\n"
                    f"  UserKnownHostsFile {home}/known\n  StrictHostKeyChecking yes\n  BatchMode yes\n")
        sshd = "/usr/sbin/sshd"
        self.child = subprocess.Popen([sshd, "-D", "-e", "-f", f"{home}/sshd_config"],
                                      stderr=subprocess.DEVNULL)
        time.sleep(0.5)

    def end(self):
        self.child.kill()
        self.child.wait()


def many_terminals(config, env):
    t = Screen([BSSH, "-F", config, "-H", "127.0.1.[1-100]", "-t", "-f", "16"], env)
    t.see(b"keys to 100 of 100 nodes", 120)
    t.drain(1)
    quiet = memory(t.pid)
    t.keys(b"seq 2000\r")
    t.drain(2)
    busy = memory(t.pid)
    t.end()
    return quiet, busy


def echo_times(t, n):
    """How late the echo of a key is, in ms."""
    times = []
    for i in range(n):
        key = bytes([ord("a") + i % 26])
        t.seen = b""
        begun = time.monotonic()
        t.keys(key)
        t.see(key, 10)
        times.append((time.monotonic() - begun) * 1000)
        time.sleep(0.02)
    return times


def flooded(config, env, flood):
    t = Screen([BSSH, "-F", config, "-H", "127.0.0.[1-2]", "-t"], env)
    t.see(b"keys to 2 of 2 nodes")
    t.drain()
    if flood:
        t.keys(b"\x1do")
        t.drain()
        t.keys(flood + b"\r")
        time.sleep(0.5)
    t.keys(b"\x1dg127.0.0.2\r\x1do")
    t.drain(1)
    # A line discipline that echoes, and nothing that redraws.
    t.keys(b"cat > /dev/null\r")
    t.drain(1)
    times = echo_times(t, 200)
    t.end()
    return times


def warm(env, rounds=9):
    demo = subprocess.Popen([BSSH, "demo", "-n", "200", "--keep", "true"], env=env,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        first = demo.stdout.readline().decode()
        home = re.search(r"configuration in (\S+)", first).group(1)
        os.set_blocking(demo.stdout.fileno(), False)
        t = Screen([BSSH, "-F", home + "/ssh_config", "-H", "demo[1-200]", "repl"], env)
        t.see(b"200 of 200 nodes", 180)
        t.see(b"> ")
        t.drain(1)
        times = []
        for _ in range(rounds):
            begun = time.monotonic()
            t.keys(b"true\r")
            # The editor is ready for the next line.
            t.see(b"\x1b[?2004h")
            times.append(time.monotonic() - begun)
            t.drain(0.3)
        t.end()
        return times
    finally:
        demo.send_signal(signal.SIGINT)
        try:
            demo.wait(20)
        except subprocess.TimeoutExpired:
            demo.kill()


def lines(words, env, begin, prompt):
    t = Screen(words, env)
    t.see(begin)
    t.drain(1)
    begun = time.monotonic()
    t.keys(b"seq 100000 | sed s/$/-/; echo en''d\r")
    shown = t.see(b"\nend", 120)
    took = time.monotonic() - begun
    lost = 100000 - len(set(re.findall(rb"(?:^|[\r\n])(\d+)-\r?(?=\n|$)", shown)))
    t.end()
    return 100000 / took, lost


def main():
    with tempfile.TemporaryDirectory() as home:
        env = {"HOME": home, "PATH": os.environ["PATH"], "TERM": "xterm", "NO_COLOR": "1",
               "LC_ALL": "C.UTF-8", "XDG_RUNTIME_DIR": home}
        daemon = Daemon(home)
        try:
            config = home + "/config"
            print("| what | figure |\n|---|---|")
            quiet, busy = many_terminals(config, env)
            print(f"| 100 terminals, frontend and core, MB (quiet; after 2000 lines each) | {quiet:.1f}; {busy:.1f} |")
            for name, flood in [("none", None), ("yes", b"yes"),
                                ("urandom", b"cat /dev/urandom | base64")]:
                times = sorted(flooded(config, env, flood))
                p50, p99 = statistics.median(times), times[int(len(times) * 0.99) - 1]
                print(f"| echo beside a flood ({name}): p50, p99, most, ms | {p50:.2f}, {p99:.2f}, {times[-1]:.2f} |")
            rate, lost = lines([BSSH, "-F", config, "-H", "127.0.0.1", "-t"], env, b"keys to 1 of 1", b"$")
            print(f"| terminal: lines/s, lost of 100,000 | {rate:,.0f}, {lost} |")
            rate, lost = lines([BSSH, "-F", config, "-H", "127.0.0.1", "repl"], env, b"~> ", b"> ")
            print(f"| REPL: lines/s, lost of 100,000 | {rate:,.0f}, {lost} |")
            times = sorted(warm(env))
            print(f"| REPL: `true` on 200 warm nodes, median, least, s | {statistics.median(times):.3f}, {times[0]:.3f} |")
        finally:
            daemon.end()


main()
