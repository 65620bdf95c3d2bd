#!/bin/bash
# OpenSSH's own regress suite with bssh in the place of ssh. Not part of .ci/run: it builds OpenSSH.
#
#   tests/openssh-regress.sh [-w WORKDIR] [-k] [TEST ...]
#
# The sources are Debian's of the installed client (`apt-get source openssh`), fetched and built
# in WORKDIR (default: a temp directory that is removed; -k keeps it) and never stored here.
# Needs: a C compiler, make, libssl-dev, zlib1g-dev, dpkg-dev, and Debian's archive. As root.
# BSSH names the executable under test (default: target/debug/bssh; BSSH=ssh is the self check).
# Prints `passed|failed|skipped TEST` for each, then the counts. Without names: every test of the
# suite that runs ssh. Only processes that a test has started itself are ended, by its own script.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
work= keep=
while getopts w:k flag; do
  case $flag in
    w) work=$OPTARG keep=1 ;;
    k) keep=1 ;;
    *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
work=${work:-$(mktemp -d)}
[ -n "$keep" ] || trap 'rm -rf "$work"' EXIT
mkdir -p "$work"

fetch() {
  local parts=$work/apt
  mkdir -p "$parts/lists/partial"
  # The archive this system already uses, asked for sources.
  local archive
  archive=$(apt-get indextargets --format '$(REPO_URI)' 'Codename: '"$(. /etc/os-release && echo "$VERSION_CODENAME")" | head -1)
  echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive $(. /etc/os-release && echo "$VERSION_CODENAME") main" >"$parts/list"
  local apt=(apt-get -q -o Dir::Etc::sourcelist="$parts/list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$parts/lists" -o APT::Sandbox::User=root)
  "${apt[@]}" update
  # Without Debian's patches: the release itself, as its authors test it.
  (cd "$work" && "${apt[@]}" source --download-only openssh && tar xf openssh_*.orig.tar.gz)
}

build() {
  cd "$1"
  mkdir -p -m 755 "$work/empty"
  ./configure --with-privsep-user="$(id -un)" --with-privsep-path="$work/empty" >"$work/configure.log"
  make -j2 >"$work/make.log" 2>&1
  make regress-prep regress-binaries >>"$work/make.log" 2>&1
}

source_dir() { find "$work" -maxdepth 1 -type d -name 'openssh-*' | head -1; }
[ -n "$(source_dir)" ] || fetch >"$work/fetch.log" 2>&1
src=$(source_dir)
[ -x "$src/regress/netcat" ] || (build "$src")

# Called `ssh`, it reads its words as ssh does.
mkdir -p "$work/bin"
ln -sf "$(command -v "${BSSH:-$here/target/debug/bssh}")" "$work/bin/ssh"

# Every test of the Makefile's list that runs $SSH, in its order.
tests=("$@")
if [ ${#tests[@]} = 0 ]; then
  for name in $(sed -n '/^LTESTS=/,/[^\\]$/p' "$src/regress/Makefile" | sed 's/LTESTS=//; s/\\//'); do
    grep -qE '\$\{?(REAL_)?(SSH|SCP|SFTP)\b' "$src/regress/$name.sh" && tests+=("$name")
  done
fi

passed=0 failed=0 skipped=0
for name in "${tests[@]}"; do
  log=$work/log/$name
  mkdir -p "$log"
  set +e
  (
    cd "$src/regress"
    for tool in scp sftp sshd ssh-agent ssh-add ssh-keygen ssh-pkcs11-helper ssh-keyscan ssh-sk-helper; do
      name_in_env=TEST_SSH_$(echo "$tool" | tr -d - | tr a-z A-Z)
      export "$name_in_env=$src/$tool"
    done
    # Where a test says `ssh`, it means the one under test, too.
    export PATH=$work/bin:$PATH
    export TEST_SSH_SFTPSERVER=$src/sftp-server TEST_SSH_SSH=$work/bin/ssh TEST_SSH_PLINK= TEST_SSH_PUTTYGEN= \
      TEST_SSH_CONCH= TEST_SSH_IPV6=yes TEST_SSH_UTF8=yes TEST_SSH_ECC=yes TEST_SHELL=sh \
      BUILDDIR=$src OBJ=$src/regress EGREP='grep -E' SUDO= TEST_SSH_UNSAFE_PERMISSIONS=1 TEST_SSH_MODULI_FILE=$src/moduli
    # What one test leaves running in a shared core is not the next one's.
    export XDG_RUNTIME_DIR=$work/run/$name
    mkdir -p -m 700 "$work/run" "$XDG_RUNTIME_DIR"
    timeout "${TEST_TIMEOUT:-900}" sh test-exec.sh "$src/regress" "$src/regress/$name.sh"
  ) >"$log/out" 2>&1
  status=$?
  set -e
  cp "$src"/regress/failed-*.log "$log/" 2>/dev/null || true
  cp "$src"/regress/{ssh,sshd,regress}.log "$log/" 2>/dev/null || true
  if grep -q SKIPPED "$log/out"; then
    verdict=skipped skipped=$((skipped + 1))
  elif [ $status = 0 ]; then
    verdict=passed passed=$((passed + 1))
  else
    verdict=failed failed=$((failed + 1))
  fi
  printf '%-8s %s\n' "$verdict" "$name"
done
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
