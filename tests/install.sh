#!/usr/bin/env bash
# install.sh static [--release] : builds a static executable against musl, runs it, also on a real sshd
# install.sh cargo [--release]  : `cargo install` into a directory of its own, runs what is there
#
# A debug build shows the same and is there sooner; --release is the one to give away.
# `static` installs what it needs (rustup's target, apt's musl-tools) when it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
usage() { sed -n '2,6s/^# \?//p' tests/install.sh >&2; exit 2; }
[ $# -ge 1 ] && [ $# -le 2 ] && [ "${2:---release}" = --release ] || usage
what=$1 release=${2:-}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

wrong() { echo "install.sh: $1" >&2; exit 1; }

runs() {
  local bssh=$1
  [ "$("$bssh" --version)" = "bssh $version" ] || wrong "$bssh is not of version $version"
  "$bssh" demo -n 3 'echo "here $NODE"' > "$scratch/demo" || wrong "$bssh demo ended with $?"
  [ "$(grep -c here "$scratch/demo")" = 3 ] || wrong "the demo's nodes said: $(cat "$scratch/demo")"
  "$bssh" man --dir "$scratch/man"
  [ -s "$scratch/man/bssh.1" ] || wrong "$bssh man wrote no bssh.1"
  local shell
  for shell in bash zsh fish; do
    "$bssh" completions "$shell" | grep upload > /dev/null || wrong "nothing completes upload in $shell"
  done
}

static() {
  local target gcc=musl-gcc bssh
  target=$(uname -m)-unknown-linux-musl
  rustup target list --installed | grep -qx "$target" || rustup target add "$target"
  if ! command -v $gcc > /dev/null; then
    local sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -q && $sudo apt-get install -qy --no-install-recommends musl-tools
  fi
  cargo build --locked --bin bssh --target "$target" $release
  bssh=$CARGO_TARGET_DIR/$target/$([ -n "$release" ] && echo release || echo debug)/bssh
  readelf --program-headers "$bssh" > "$scratch/headers"
  ! grep -q INTERP "$scratch/headers" || wrong "$bssh asks for an interpreter"
  readelf --dynamic "$bssh" > "$scratch/dynamic"
  ! grep -q NEEDED "$scratch/dynamic" || wrong "$bssh asks for libraries"
  runs "$bssh"
  BSSH=$bssh cargo test --quiet -p bssh-tests --test e2e main_job
  echo "static, runs: $bssh"
}

installed() {
  cargo install --locked --quiet --path frontends/bssh --root "$scratch/root" ${release:---debug} ${release:+--force}
  runs "$scratch/root/bin/bssh"
  echo "installed, runs"
}

case $what in
  static) static ;;
  cargo) installed ;;
  *) usage ;;
esac
