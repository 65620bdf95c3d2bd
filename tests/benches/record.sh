#!/bin/bash
# The benchmark of record: every part, then docs/benchmarks/. usage: record.sh [PART…]
#
# About an hour on two cores with nothing else running. What a part has measured is kept in docs/benchmarks/PART.jsonl.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$here/../../docs/benchmarks
mkdir -p "$out"
# Measured is a copy, as an installation is: the kernel maps what the linker wrote in smaller pieces, which costs a start a quarter more.
installed=$(mktemp -d)
trap 'rm -r "$installed"' EXIT
install -m 755 "${BSSH:-$here/../../target/release/bssh}" "$installed/bssh"
bench() { local what=$1; shift; echo "== $what $* ($(date +%T))" >&2; python3 "$here/bench.py" "$what" --bssh "$installed/bssh" --out "$out/$part.jsonl" "$@"; }

for part in ${*:-startup rtt fanout scale pty forward volume warm stream files}; do
  rm -f "$out/$part.jsonl"
  case $part in
    startup) bench startup --reps 9 ;;
    rtt) bench rtt --server sshd,floor --reps 3 --ms 20 --skip ansible,ansible-mux,ssh-aesgcm ;;
    fanout)
      bench fanout --server floor,sshd --n 1:7,10:5,100:3 --skip ssh-aesgcm,ssh-pq,floor-wan
      bench fanout --server floor --n 1000:3 --skip ssh-aesgcm,ssh-pq,floor-wan,ansible
      bench fanout --server sshd --n 1000:1 --peers bssh,ssh-xargs,asyncssh ;;
    scale)
      bench fanout --server floor --n 5000:2,10000:2 --peers bssh,floor
      bench volume --server floor --nodes 10000 --lines 1000 --reps 1 --peers bssh ;;
    pty) bench pty --reps 3 ;;
    forward)
      bench forward --reps 3 --mb 200
      bench forward --reps 12 --mb 200 --peers bssh,ssh-aesgcm ;; # rounds differ by half
    volume) bench volume --server floor --reps 3 --limit 60 ;; # parallel-ssh may not end
    warm) bench warm --server sshd,floor --n 1:7,100:3; bench warm --server floor --n 1000:3 --skip ssh-mux,ansible-mux ;;
    stream) bench stream --server floor,sshd --mb 400 --reps 3 ;;
    files) bench files --reps 3 --mb 100 ;;
    *) echo "record.sh: no part $part" >&2; exit 2 ;;
  esac
done
python3 "$here/report.py" --plots "$out" "$out"/*.jsonl > "$out/record.md"
