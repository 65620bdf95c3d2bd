#!/usr/bin/env python3
"""Measures terminals and the REPL, and prints a table: tests/measure-terminals.py [BSSH] [PART…]

BSSH is the executable to measure (default: target/release/bssh); without parts all are measured.
Needs sshd and ssh and nothing else; all of it is on loopback, in a temp directory, and ended at the end,
also when it is stopped (Ctrl-C, SIGTERM, SIGHUP). A part that takes longer than a minute is given
up and said to have been. The login shells on the nodes read no files of the user's: their home is
the temp directory.

  memory    100 terminals at once (`-t`): PSS of frontend and core together, MB
  flood     one terminal floods (`yes`, urandom | base64), how late another one's echo is, ms
  warm      the REPL runs `true` on 200 nodes it is connected to (embedded nodes), s
  keys      how late a key's echo is through ssh -tt and bssh -tt, one key after the other, ms
  lines     100,000 lines of a terminal and of the REPL, each counted: lines/s
"""
import os, pty, re, select, shutil, signal, subprocess, sys, tempfile, time, fcntl, struct, termios, statistics

HERE = os.path.dirname(os.path.abspath(__file__))
PARTS = ["memory", "flood", "keys", "lines", "warm"]
WORDS = sys.argv[1:]
BSSH = os.path.abspath(WORDS.pop(0) if WORDS and WORDS[0] not in PARTS
                       else HERE + "/../target/release/bssh")
# Seconds a part may take.
MOST = 60


class TooLong(Exception):
    pass


class Stopped(Exception):
    pass


OPEN = []


class Screen:
    """A program on a pseudo-terminal."""

    def __init__(self, words, env):
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.execve(words[0], words, env)
            finally:
                os._exit(127)
        OPEN.append(self)
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
                raise TooLong(f"{text!r} not seen; {self.seen[-400:]!r}")
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
        if self not in OPEN:
            return
        OPEN.remove(self)
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
                    f"UsePAM no\nStrictModes no\nPermitRootLogin yes\nSetEnv SHLVL=9 HOME={home}\n"
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


def measure_memory(config, env):
    quiet, busy = many_terminals(config, env)
    yield "100 terminals, frontend and core, MB (quiet; after 2000 lines each)", f"{quiet:.1f}; {busy:.1f}"


def measure_flood(config, env):
    for name, flood in [("none", None), ("yes", b"yes"), ("urandom", b"cat /dev/urandom | base64")]:
        times = sorted(flooded(config, env, flood))
        p50, p99 = statistics.median(times), times[int(len(times) * 0.99) - 1]
        yield f"echo beside a flood ({name}): p50, p99, most, ms", f"{p50:.2f}, {p99:.2f}, {times[-1]:.2f}"


def measure_keys(config, env):
    both = {}
    for name, program in [("ssh", shutil.which("ssh")), ("bssh", BSSH)]:
        t = Screen([program, "-F", config, "-tt", "127.0.0.1"], env)
        t.see(b"# " if os.getuid() == 0 else b"$ ")
        t.keys(b"cat > /dev/null\r")
        t.drain(1)
        both[name] = (t, [])
    # Whatever the machine does in the meantime is shared out among both.
    for _ in range(500):
        for t, times in both.values():
            times += echo_times(t, 1)
    for name, (t, times) in both.items():
        times.sort()
        p50, p99 = statistics.median(times), times[int(len(times) * 0.99) - 1]
        yield f"echo of a key ({name} -tt): p50, p99, most, ms", f"{p50:.2f}, {p99:.2f}, {times[-1]:.2f}"
        t.end()


def measure_lines(config, env):
    one = [BSSH, "-F", config, "-H", "127.0.0.1"]
    for name, words, begin, prompt in [("terminal", one + ["-t"], b"keys to 1 of 1", b"$"),
                                       ("REPL", one + ["repl"], b"> ", b"> ")]:
        rate, lost = lines(words, env, begin, prompt)
        yield f"{name}: lines/s, lost of 100,000", f"{rate:,.0f}, {lost}"


def measure_warm(_, env):
    times = sorted(warm(env))
    yield "REPL: `true` on 200 warm nodes, median, least, s", f"{statistics.median(times):.3f}, {times[0]:.3f}"


def stop(number, _):
    raise Stopped(signal.Signals(number).name)


def late(*_):
    raise TooLong(f"it took longer than {MOST} s")


def part(name, config, env):
    """Prints the rows of a part; what it has opened is closed however it ends."""
    signal.alarm(MOST)
    try:
        for what, figure in globals()["measure_" + name](config, env):
            print(f"| {what} | {figure} |", flush=True)
    except TooLong as why:
        print(f"| {name} | given up: {why} |", flush=True)
    finally:
        signal.alarm(0)
        for one in list(OPEN):
            one.end()


def main():
    unknown = [word for word in WORDS if word not in PARTS]
    if unknown:
        raise SystemExit(f"{unknown[0]}: there are {', '.join(PARTS)}")
    signal.signal(signal.SIGALRM, late)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        env = {"HOME": home, "PATH": os.environ["PATH"], "TERM": "xterm", "NO_COLOR": "1",
               "LC_ALL": "C.UTF-8", "XDG_RUNTIME_DIR": home}
        daemon = Daemon(home)
        try:
            print("| what | figure |\n|---|---|", flush=True)
            for name in WORDS or PARTS:
                part(name, home + "/config", env)
        except Stopped as why:
            raise SystemExit(f"stopped by {why}")
        finally:
            daemon.end()


main()
