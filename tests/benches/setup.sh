#!/bin/bash
# Installs the competitors (Debian or Ubuntu, root), and builds bssh and the yardstick. usage: setup.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
apt-get update -qq
apt-get install -y -qq openssh-server openssh-client pdsh clustershell pssh rsync ansible-core dropbear-bin python3-venv > /dev/null
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q asyncssh parallel-ssh
cargo build --release --manifest-path "$here/floor/Cargo.toml"
cargo build --release --bin bssh --manifest-path "$here/../../Cargo.toml"
echo "optional: cargo install bssh --locked --root PEERS, then BENCH_PUBLISHED=PEERS/bin/bssh"
