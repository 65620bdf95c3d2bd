#!/usr/bin/env bash
# test.sh [nvim|vscode|…] : the plugins' tests, against target/debug/bssh (or BSSH) and a real sshd on loopback.
#
# nvim    Neovim, headless; then with a core that lies, which has to fail
set -euo pipefail
cd "$(dirname "$0")"
here=$PWD

need=()
for pair in nvim:neovim /usr/sbin/sshd:openssh-server ssh-keygen:openssh-client python3:python3 pgrep:procps; do
  command -v "${pair%%:*}" > /dev/null || need+=("${pair##*:}")
done
if [ ${#need[@]} -gt 0 ]; then
  sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -q
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -qy --no-install-recommends "${need[@]}"
fi

BSSH=${BSSH:-$here/../target/debug/bssh}
[ -x "$BSSH" ] || { echo "test.sh: no $BSSH; cargo build --bin bssh" >&2; exit 2; }
LAB=$(mktemp -d "${TMPDIR:-/tmp}/bssh-lab.XXXXXX") NODES=$here/fixture/nodes.sh
export BSSH LAB NODES REAL=$BSSH
unset SSH_AUTH_SOCK
trap '"$NODES" stop "$LAB"; rm -rf "$LAB"' EXIT
"$NODES" start "$LAB"

step() { printf '\n== %s\n' "$*"; }

nvim_tests() { HOME=$LAB nvim --headless -u NONE -i NONE -n -c "luafile nvim/tests/run.lua" 2>&1; }

# What a core that lies must not pass: its lie, and a test that has to notice.
must_fail() {
  local lie=$1 word=$2 out; shift 2
  if out=$(BREAK=$lie BSSH=$here/fixture/broken.py ONLY=$word "$@"); then
    printf '%s\n' "$out"; echo "a core that lies ($lie) went unnoticed by: $word"; exit 1
  fi
  # It failed in the test, and not before.
  grep -q 'FAIL\|not ok' <<< "$out" || { printf '%s\n' "$out"; exit 1; }
  echo "noticed: $lie"
}

run_nvim() {
  step Neovim: "$(nvim --version | head -1)"
  nvim_tests
  must_fail exit 'the same output' nvim_tests
  must_fail data 'the same output' nvim_tests
  must_fail etag 'a file is read' nvim_tests
  must_fail list 'a directory is listed' nvim_tests
}

for part in ${*:-nvim}; do "run_$part"; done
