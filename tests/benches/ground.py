"""The place where it all happens: servers, keys and configuration in a directory of their own, and one measured run."""
import configparser, contextlib, json, os, re, shutil, signal, socket, subprocess, tempfile, threading, time

from accounting import Group, NCPU, Proc, argv, busy, say, which

HERE = os.path.dirname(os.path.abspath(__file__))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, kind, cmd, port, ready, tmp, hostkey):
        self.kind, self.port, self.hostkey = kind, port, hostkey
        self.group = Group("srv-" + kind)
        self.proc = Proc(cmd, dict(os.environ), self.group, f"{tmp}/{kind}.out", f"{tmp}/{kind}.err")
        for _ in range(200):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            time.sleep(0.05)
        else:
            raise SystemExit(f"{kind} does not answer: " + open(f"{tmp}/{kind}.err").read()[-500:])

    def settle(self):
        """Waits until the last session's processes are gone, so that a run pays for itself only."""
        if self.kind == "floor":
            return
        for _ in range(150):
            if len(self.group.pids()) <= 1:
                return
            time.sleep(0.02)

    def stop(self):
        with contextlib.suppress(OSError):
            os.kill(self.proc.pid, signal.SIGTERM)
        self.proc.stop()
        self.group.kill()
        self.group.remove()


class Bench:
    def __init__(self, a):
        self.a = a
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.tmp = tempfile.mkdtemp(prefix="sshbench-", dir=base)
        os.chmod(self.tmp, 0o755)
        t = self.tmp
        for k in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", f"{t}/{k}"], check=True)
        shutil.copy(f"{t}/user.pub", f"{t}/authorized_keys")
        os.chmod(f"{t}/authorized_keys", 0o600)
        hk = " ".join(open(f"{t}/host.pub").read().split()[:2])
        open(f"{t}/known_hosts", "w").write(f"* {hk}\n")
        self.user = os.environ.get("USER") or subprocess.check_output(["id", "-un"], text=True).strip()
        for d in ("home/.ssh", "work", "acp"):
            os.makedirs(f"{t}/{d}", mode=0o700)
        self.env = {"HOME": f"{t}/home", "PATH": os.environ["PATH"], "USER": self.user, "LOGNAME": self.user, "LANG": "C.UTF-8",
                    "TERM": "xterm-256color", "XDG_RUNTIME_DIR": f"{t}/home"}
        self.floor = a.floor
        self.servers, self.stack = {}, []
        self.ini = configparser.RawConfigParser(interpolation=None, strict=False)
        self.ini.optionxform = str
        self.ini.read([f"{HERE}/peers.ini"] + (a.config or []))
        for c in a.candidate or []:
            name, tmpl = c.split("=", 1)
            self.ini[name] = {"fanout": tmpl}
        self.out = open(a.out, "a")
        self.born = int(time.time())
        self.peers = a.peers.split(",") if a.peers else self.ini.sections()
        if a.skip:
            self.peers = [p for p in self.peers if p not in a.skip.split(",")]

    # -- servers
    def sshd(self):
        if "sshd" not in self.servers:
            t, port = self.tmp, free_port()
            internal = next((p for p in ("/usr/lib/openssh/sftp-server", "/usr/libexec/sftp-server", "/usr/lib/ssh/sftp-server")
                             if os.path.exists(p)), "internal-sftp")
            open(f"{t}/sshd_config", "w").write(f"""Port {port}
ListenAddress 0.0.0.0
HostKey {t}/host
AuthorizedKeysFile {t}/authorized_keys
PidFile {t}/sshd.pid
UsePAM no
UseDNS no
MaxStartups 3000
MaxSessions 1000
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
PrintLastLog no
StrictModes no
LogLevel ERROR
SetEnv SHLVL=9
Subsystem sftp {internal}
""")
            # newer ones slow down a caller that opens many connections
            cfg = open(f"{t}/sshd_config").read()
            open(f"{t}/sshd_config2", "w").write(cfg + "PerSourcePenalties no\n")
            if subprocess.run([which("/usr/sbin/sshd") or which("sshd"), "-t", "-f", f"{t}/sshd_config2"], capture_output=True).returncode == 0:
                shutil.copy(f"{t}/sshd_config2", f"{t}/sshd_config")
            if os.getuid() == 0:
                os.makedirs("/run/sshd", exist_ok=True)
            self.servers["sshd"] = Server("sshd", f"{which('/usr/sbin/sshd') or which('sshd')} -D -e -f {t}/sshd_config", port, None, t, "host")
            self.conf("sshd")
        return self.servers["sshd"]

    def floor_server(self):
        if "floor" not in self.servers:
            t, port = self.tmp, free_port()
            self.servers["floor"] = Server("floor", f"{self.floor} server --port {port} --hostkey {t}/host --authorized {t}/user.pub --strip", port, None, t, "host")
            self.conf("floor")
        return self.servers["floor"]

    def dropbear(self):
        if "dropbear" not in self.servers:
            t, port = self.tmp, free_port()
            db = which("/usr/sbin/dropbear")
            subprocess.run(["dropbearconvert", "openssh", "dropbear", f"{t}/host", f"{t}/host.db"], check=True, capture_output=True)
            os.makedirs(f"{t}/dbhome/.ssh", mode=0o700, exist_ok=True)
            shutil.copy(f"{t}/user.pub", f"{t}/dbhome/.ssh/authorized_keys")
            home = os.path.expanduser("~" + self.user)
            # it reads the authorized_keys of the real home only, so it gets a home of its own in a mount namespace (root only)
            self.servers["dropbear"] = Server("dropbear", f"unshare -m sh -c 'mount --bind {t}/dbhome {home} && exec {db} -F -E -r {t}/host.db -p 0.0.0.0:{port} -P {t}/db.pid'",
                                              port, None, t, "host")
            self.conf("dropbear")
        return self.servers["dropbear"]

    def server(self, kind):
        return {"sshd": self.sshd, "floor": self.floor_server, "dropbear": self.dropbear}[kind]()

    def conf(self, kind, port=None, name=None):
        t = self.tmp
        name = name or kind
        open(f"{t}/ssh_config-{name}", "w").write(f"""Host *
  Port {port or self.servers[kind].port}
  User {self.user}
  IdentityFile {t}/user
  IdentitiesOnly yes
  UserKnownHostsFile {t}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  LogLevel ERROR
  UpdateHostKeys no
{"" if self.a.kex == "default" else "  KexAlgorithms " + self.a.kex}
  ServerAliveInterval 0
  ControlPath none
""")

    def close(self):
        for s in self.servers.values():
            s.stop()
        shutil.rmtree(self.tmp, ignore_errors=True)

    # -- commands
    def nodes(self, n):
        return [f"127.0.{1 + i // 250}.{1 + i % 250}" for i in range(n)]

    def words(self, kind, n, port=None, **kw):
        t, hs = self.tmp, self.nodes(n)
        port = port or self.servers[kind].port
        hf = f"{t}/hosts-{n}"
        if not os.path.exists(hf):
            open(hf, "w").write("".join(h + "\n" for h in hs))
        inv = f"{t}/inv-{n}"
        if not os.path.exists(inv):
            shutil.copy(hf, inv)
        w = dict(hosts=" ".join(hs), hosts_comma=",".join(hs), userhosts_comma=",".join(f"{self.user}@{h}:{port}" for h in hs), host=hs[0],
                 hostfile=hf, n=n, fanout=min(n, self.a.fanout), port=port, user=self.user, key=f"{t}/user", known=f"{t}/known_hosts",
                 known_pub=f"{t}/host.pub", ssh_config=f"{t}/ssh_config-{kw.pop('conf', kind)}", inventory=inv, tmp=t, floor=self.floor,
                 drivers=f"{HERE}/drivers", venv=self.a.venv, bssh=self.a.bssh, published=self.a.published)
        w.update(kw)
        return w

    def fill(self, tmpl, w):
        return re.sub(r"\{(\w+)\}", lambda m: str(w.get(m[1], m[0])), tmpl)

    def has(self, peer, key, kind="sshd", n=1):
        if peer not in self.ini:
            return False
        s = self.ini[peer]
        if key not in s or n > int(s.get("max_n", 10 ** 9)) or kind not in s.get("servers", "sshd,floor,dropbear").split(","):
            return False
        w = dict(floor=self.floor, venv=self.a.venv, bssh=self.a.bssh, published=self.a.published)
        return all(which(self.fill(p, w)) for p in s.get("needs", "").split())

    def envs(self, peer, w):
        e = dict(self.env)
        for k, v in self.ini[peer].items():
            if k.startswith("env."):
                e[k[4:]] = self.fill(v, w)
        return e

    def run(self, peer, key, w, kind=None, limit=None, sample=True):
        """One measured run. -> a dict of figures; the output is left in tmp/out and tmp/err."""
        cmd = self.fill(self.ini[peer][key], w)
        srv = self.servers.get(kind)
        if srv:
            srv.settle()
        g = Group("run")
        s0, b0, peak, go = srv.group.usage() if srv else None, busy(), [0], [True]
        dirs = ",".join(sorted({g.cpu, g.mem} - {None}))
        p = subprocess.Popen([self.floor, "wait", f"{self.tmp}/ru", dirs, str(limit or self.a.limit), f"{self.tmp}/out", f"{self.tmp}/err", "--",
                              *argv(cmd)], env=self.envs(peer, w), stdin=subprocess.DEVNULL)
        def look():
            while go[0]:
                peak[0] = max(peak[0], g.anon())
                time.sleep(0.01)
        th = threading.Thread(target=look, daemon=True)
        if sample and g.mem:
            th.start()
        try:
            p.wait()
        except BaseException:
            g.kill()
            raise
        finally:
            go[0] = False
        b1 = busy()
        ru = json.load(open(f"{self.tmp}/ru"))
        wall = ru["wall_s"]
        r = {"peer": peer, "rc": "timeout" if ru["late"] else ru["rc"], "wall_s": wall, "maxrss_kb": ru["maxrss_kb"],
             "cpu_ru_s": round(ru["user_s"] + ru["sys_s"], 5), "user_s": ru["user_s"], "sys_s": ru["sys_s"]}
        u = g.usage()
        r["cpu_s"] = round(u, 5) if u is not None else r["cpu_ru_s"]
        if sample and g.mem:
            th.join()
            r["anon_kb"], r["peak_kb"] = peak[0], g.peak()
        g.kill()
        g.remove()
        if srv:
            srv.settle()
            if s0 is not None:
                r["server_cpu_s"] = round(srv.group.usage() - s0, 5)
        mine = r["cpu_s"] + r.get("server_cpu_s", 0)
        r["other_load"] = round(max(0, (b1 - b0 - mine) / max(wall, 0.02) / NCPU), 3)
        return r

    def note(self, exp, r, **kw):
        r = {"exp": exp, **kw, **r, "run": self.born, "t": int(time.time())}
        self.out.write(json.dumps(r) + "\n")
        self.out.flush()
        shown = {k: v for k, v in r.items() if k not in ("t", "run", "cpu_ru_s")}
        say("  " + " ".join(f"{k}={v}" for k, v in shown.items()))

    def rounds(self, n):
        """Peers in an order that turns by one each round: neither a drift nor a neighbour favours one."""
        for i in range(n):
            ps = list(self.peers)
            k = i % len(ps)
            yield i, ps[k:] + ps[:k]

    def text(self, f="out", n=4000):
        with open(f"{self.tmp}/{f}", "rb") as fh:
            return fh.read(n).decode("utf-8", "replace")

    def count(self, needle):
        with open(f"{self.tmp}/out", "rb") as fh:
            c, tail = 0, b""
            while b := fh.read(1 << 20):
                b = tail + b
                c += b.count(needle)
                tail = b[-(len(needle) - 1):] if len(needle) > 1 else b""
            return c
