#!/usr/bin/env python3
"""rsync over bssh beside rsync over ssh: 1 GiB in one file, and 10,000 small files, both ways.

Not part of .ci/run (it writes some 7 GiB to the temp directory); the 10,000 files alone are an
end to end test. Prints medians of wall time and of CPU time (rsync and everything it started on
this side), and bssh's share of ssh's. Same cipher and key exchange for both, one sshd on
loopback, in turn, every copy compared with its source.

usage: measure-rsync.py [--bssh PATH] [--rounds N] [--bytes N] [--files N]
"""

import argparse
import ctypes
import filecmp
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

PR_SET_CHILD_SUBREAPER = 36
SAME = ["-o", "Ciphers=aes128-gcm@openssh.com", "-o", "KexAlgorithms=curve25519-sha256"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def keygen(path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)


def start_sshd(place):
    """An sshd of our own, and the client options for it."""
    host, user, port = f"{place}/host", f"{place}/user", free_port()
    keygen(host)
    keygen(user)
    config = f"{place}/sshd_config"
    with open(config, "w") as file:
        file.write(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {host}\nPidFile none\n"
            f"AuthorizedKeysFile {user}.pub\nStrictModes no\nUsePAM no\nSetEnv SHLVL=9\n"
        )
    os.makedirs("/run/sshd", exist_ok=True)
    daemon = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", config], stderr=subprocess.DEVNULL)
    with open(f"{host}.pub") as key, open(f"{place}/known", "w") as known:
        known.write(f"[127.0.0.1]:{port} {key.read()}")
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.05)
    options = ["-F", "none", "-p", str(port), "-i", user]
    options += ["-o", f"UserKnownHostsFile={place}/known", "-o", "BatchMode=yes"]
    return daemon, options + SAME


def copy(shell, source, target):
    """Seconds of wall time and of CPU, the core's included, which outlives its frontend a little."""
    ours, theirs = os.pipe()
    if os.fork() == 0:
        # Orphans come to us, and are counted when they are waited for.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        begun = time.monotonic()
        status = subprocess.run(["rsync", "-a", "-W", "-e", " ".join(shell), source, target]).returncode
        wall = time.monotonic() - begun
        try:
            while True:
                os.wait()
        except ChildProcessError:
            pass
        use = resource.getrusage(resource.RUSAGE_CHILDREN)
        os.write(theirs, f"{wall} {use.ru_utime + use.ru_stime} {status}".encode())
        os._exit(0)
    os.close(theirs)
    with open(ours) as said:
        wall, cpu, status = said.read().split()
    os.wait()
    if status != "0":
        sys.exit("rsync failed")
    return float(wall), float(cpu)


def same(one, two):
    """No file is missing or differs."""
    for directory, _, names in os.walk(one):
        other = os.path.join(two, os.path.relpath(directory, one))
        if any(filecmp.cmpfiles(directory, other, names, shallow=False)[1:]):
            return False
    return True


def measure(name, source, shells, place, rounds):
    times = {}
    for number in range(rounds):
        turn = list(shells.items())
        for client, shell in turn if number % 2 == 0 else reversed(turn):
            there, back = f"{place}/there", f"{place}/back"
            ways = [(f"{source}/", f"127.0.0.1:{there}/"), (f"127.0.0.1:{there}/", f"{back}/")]
            for way, (origin, target) in zip(("up", "down"), ways):
                times.setdefault((way, client), []).append(copy(shell, origin, target))
            if not same(source, there) or not same(source, back):
                sys.exit(f"{name}: {client} has changed something")
            shutil.rmtree(there)
            shutil.rmtree(back)
    for way in ("up", "down"):
        row = {c: [statistics.median(x) for x in zip(*times[way, c])] for c in shells}
        (wall, used), (ssh_wall, ssh_used) = row["bssh"], row["ssh"]
        print(
            f"{name} {way}: wall {wall:.2f} s (ssh {ssh_wall:.2f}, {wall / ssh_wall:.2f}), "
            f"CPU {used:.2f} s (ssh {ssh_used:.2f}, {used / ssh_used:.2f})"
        )


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser()
    parser.add_argument("--bssh", default=f"{here}/../target/release/bssh")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bytes", type=int, default=1 << 30)
    parser.add_argument("--files", type=int, default=10_000)
    asked = parser.parse_args()
    place = tempfile.mkdtemp()
    daemon, options = start_sshd(place)
    try:
        os.makedirs(f"{place}/large")
        with open(f"{place}/large/file", "wb") as file:
            for left in range(asked.bytes, 0, -(1 << 20)):
                file.write(os.urandom(min(left, 1 << 20)))
        for n in range(asked.files):
            directory = f"{place}/many/{n // 100}"
            os.makedirs(directory, exist_ok=True)
            with open(f"{directory}/{n}", "w") as file:
                file.write(f"{n}\n" * (n % 100 + 1))
        bssh = os.path.abspath(asked.bssh)
        shells = {"bssh": [bssh, "ssh", *options], "ssh": ["ssh", *options]}
        measure(f"{asked.bytes} bytes", f"{place}/large", shells, place, asked.rounds)
        measure(f"{asked.files} files", f"{place}/many", shells, place, asked.rounds)
    finally:
        daemon.terminate()
        shutil.rmtree(place)


main()
