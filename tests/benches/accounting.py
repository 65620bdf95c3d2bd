"""What a command and everything below it costs: CPU and memory from a control group, /proc or wait4."""
import contextlib, os, re, shlex, shutil, signal, sys, threading, time

NCPU = os.cpu_count()
TICK = os.sysconf("SC_CLK_TCK")


def say(*a):
    print(*a, file=sys.stderr, flush=True)


def which(p):
    return p if os.path.isabs(p) and os.access(p, os.X_OK) else shutil.which(p)


class Group:
    """All processes below one command: CPU to the nanosecond and the peak of private memory, from a cgroup where
    one can be made (v1 or v2), else from /proc and wait4."""

    def __init__(self, name):
        self.name = f"sshbench-{os.getpid()}-{name}"
        self.cpu = self.mem = None
        v1c, v1m, v2 = "/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup/memory", "/sys/fs/cgroup"
        try:
            if os.path.exists(v1c + "/cpuacct.usage"):
                self.cpu, self.mem, self.v = f"{v1c}/{self.name}", f"{v1m}/{self.name}", 1
                os.mkdir(self.cpu)
                os.mkdir(self.mem)
            elif os.path.exists(v2 + "/cgroup.controllers"):
                own = open("/proc/self/cgroup").read().strip().split("::")[1]
                self.cpu = self.mem = f"{v2}{own.rstrip('/')}/{self.name}"
                self.v = 2
                os.mkdir(self.cpu)
        except OSError:
            self.cpu = self.mem = None

    def enter(self):
        for d in {self.cpu, self.mem} - {None}:
            with contextlib.suppress(OSError):
                with open(d + "/cgroup.procs", "w") as f:
                    f.write(str(os.getpid()))

    def usage(self):
        if not self.cpu:
            return None
        if self.v == 1:
            return int(open(self.cpu + "/cpuacct.usage").read()) / 1e9
        return int(re.search(r"usage_usec (\d+)", open(self.cpu + "/cpu.stat").read())[1]) / 1e6

    def anon(self):
        """Private memory now, in KiB."""
        if not self.mem:
            return 0
        with contextlib.suppress(OSError):
            t = open(self.mem + "/memory.stat").read()
            m = re.search(r"^total_rss (\d+)" if self.v == 1 else r"^anon (\d+)", t, re.M)
            return int(m[1]) // 1024 if m else 0
        return 0

    def peak(self):
        """The kernel's own peak, in KiB: private, kernel and socket memory, and files first touched (output on tmpfs)."""
        with contextlib.suppress(OSError):
            f = "memory.max_usage_in_bytes" if self.v == 1 else "memory.peak"
            return int(open(f"{self.mem}/{f}").read()) // 1024
        return 0

    def pids(self):
        if not self.cpu:
            return []
        with contextlib.suppress(OSError):
            return [int(x) for x in open(self.cpu + "/cgroup.procs").read().split()]
        return []

    def kill(self):
        for _ in range(50):
            ps = self.pids()
            if not ps:
                return
            for p in ps:
                with contextlib.suppress(OSError):
                    os.kill(p, signal.SIGKILL)
            time.sleep(0.02)

    def remove(self):
        for d in {self.cpu, self.mem} - {None}:
            with contextlib.suppress(OSError):
                os.rmdir(d)


def busy():
    v = [int(x) for x in open("/proc/stat").readline().split()[1:]]
    return (sum(v) - v[3] - v[4]) / TICK


def argv(cmd):
    return ["/bin/sh", "-c", cmd] if re.search(r"[|&;<>$`*]", re.sub(r"'[^']*'", "", cmd)) else shlex.split(cmd)


class Proc:
    """A command started in its own group and session, with its output in a file."""

    def __init__(self, cmd, env, group, out, err):
        self.group, self.t0 = group, time.monotonic()
        a = argv(cmd)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                group.enter()
                null = os.open("/dev/null", os.O_RDONLY)
                os.dup2(null, 0)
                os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
                os.dup2(os.open(err, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
                os.execvpe(a[0], a, env)
            except BaseException as e:
                os.write(2, str(e).encode())
            os._exit(127)

    def wait(self, limit):
        end, late = time.monotonic() + limit, []

        def over():
            late.append(1)
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
        t = threading.Timer(limit, over)
        t.start()
        _, st, ru = os.wait4(self.pid, 0)
        self.wall = time.monotonic() - self.t0
        t.cancel()
        self.ru = ru
        self.rc = "timeout" if late else os.waitstatus_to_exitcode(st)
        return self.rc

    def stop(self):
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGTERM)
        for _ in range(100):
            p, st, ru = os.wait4(self.pid, os.WNOHANG)
            if p:
                self.ru = ru
                return
            time.sleep(0.02)
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        _, st, self.ru = os.wait4(self.pid, 0)
