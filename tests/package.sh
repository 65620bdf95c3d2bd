#!/usr/bin/env bash
# package.sh deb DIR [EXECUTABLE] : builds bssh_VERSION_ARCH.deb in DIR, of a release build or of that executable
# package.sh test DIR             : installs it into a root directory of its own, runs it there, takes it out again
#
# Needs dpkg-deb, strip, and for `test` dpkg.
set -euo pipefail
cd "$(dirname "$0")/.."
usage() { sed -n '2,5s/^# \?//p' tests/package.sh >&2; exit 2; }
[ $# -ge 2 ] || usage
what=$1 out=$2
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
arch=$(dpkg --print-architecture)
package=$out/bssh_${version}_$arch.deb
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
umask 022

build() {
  local binary=${1:-} root=$scratch/root
  if [ -z "$binary" ]; then
    cargo build --release --bin bssh
    binary=${CARGO_TARGET_DIR:-target}/release/bssh
  fi
  mkdir -p "$root"/usr/bin "$root"/usr/share/{man/man1,doc/bssh,bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d} "$root/DEBIAN"
  strip -o "$root/usr/bin/bssh" "$binary"
  chmod 755 "$root/usr/bin/bssh"
  "$binary" man --dir "$root/usr/share/man/man1"
  gzip -9n "$root"/usr/share/man/man1/*.1
  "$binary" completions bash > "$root/usr/share/bash-completion/completions/bssh"
  "$binary" completions zsh > "$root/usr/share/zsh/vendor-completions/_bssh"
  "$binary" completions fish > "$root/usr/share/fish/vendor_completions.d/bssh.fish"
  cp README.md LICENSE docs/changelog.md "$root/usr/share/doc/bssh/"
  # The newest symbol of the C library that is asked for.
  local libc
  libc=$(objdump -T "$root/usr/bin/bssh" | grep -o 'GLIBC_2[.0-9]*' | sort -Vu | tail -1)
  local unwinder=""
  if objdump -p "$root/usr/bin/bssh" | grep libgcc_s > /dev/null; then unwinder=", libgcc-s1"; fi
  cat > "$root/DEBIAN/control" <<CONTROL
Package: bssh
Version: $version
Architecture: $arch
Maintainer: The bssh authors <bssh@localhost>
Installed-Size: $(du -sk "$root/usr" | cut -f1)
Depends: libc6 (>= ${libc#GLIBC_})$unwinder
Recommends: openssh-client
Section: net
Priority: optional
Description: SSH for one machine or for thousands
 A headless SSH core and the frontends that drive it: ssh's own command line,
 a runner for many nodes, a prompt for many nodes, files, syncs, forwards,
 and a documented protocol for everything else.
CONTROL
  mkdir -p "$out"
  dpkg-deb --root-owner-group -Zgzip --build "$root" "$package" > /dev/null
  echo "$package"
}

check() {
  local root=$scratch/installed
  mkdir -p "$root/var/lib/dpkg"/{info,updates,triggers}
  : > "$root/var/lib/dpkg/status"
  # The C library is the machine's own, not the empty root's.
  dpkg() { command dpkg --root="$root" --log=/dev/null --force-depends --force-not-root --force-script-chrootless "$@"; }
  dpkg -i "$package" > "$scratch/log" 2>&1 || { cat "$scratch/log" >&2; exit 1; }
  [ "$("$root/usr/bin/bssh" --version)" = "bssh $version" ]
  "$root/usr/bin/bssh" nodes expand 'n[1-2]' | cmp - <(printf 'n1\nn2\n')
  "$root/usr/bin/bssh" demo -- hostname | grep -c . > /dev/null
  zcat "$root/usr/share/man/man1/bssh-upload.1.gz" | grep -- resume > /dev/null
  bash -n "$root/usr/share/bash-completion/completions/bssh"
  dpkg -r bssh > "$scratch/log" 2>&1 || { cat "$scratch/log" >&2; exit 1; }
  [ ! -e "$root/usr/bin/bssh" ]
  echo "installed, ran, removed: $(basename "$package")"
}

case $what in
  deb) build "${3:-}" ;;
  test) check ;;
  *) usage ;;
esac
