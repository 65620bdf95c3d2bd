#!/bin/bash
# Fuzzes each target in turn: run.sh [SECONDS] [TARGET...]. Needs a nightly toolchain and cargo-fuzz.
# What it has found stays in corpus/ (made small at the end) and, if it is a finding, in artifacts/.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-600}
shift || true
[ $# -gt 0 ] || set -- frames nodesets ssh_config known_hosts socks sftp agent
for target; do
  echo "== $target, $seconds s"
  mkdir -p "corpus/$target"
  [ ! -d "seeds/$target" ] || cp -n "seeds/$target"/* "corpus/$target/"
  nice -n 19 cargo +nightly fuzz run --fuzz-dir . "$target" -- \
    -max_total_time="$seconds" -max_len=4096 -rss_limit_mb=1024 -timeout=20 -print_final_stats=1
  nice -n 19 cargo +nightly fuzz cmin --fuzz-dir . "$target"
done
