#!/bin/bash
# Tests that cannot fail prove nothing: breaks the program in a copy and sees its test fail.
#
#   tests/mutants.sh [NAME...]      each is tests/mutants/NAME.patch; without names, all of them
#
# Nothing of this tree is touched. MUTANTS_TARGET is where the copies are built (kept for the next
# time); the tests themselves are this tree's.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
target=${MUTANTS_TARGET:-$root/target/mutants}

# What has to notice each of them.
declare -A notices=(
  [agent-leaky]=agents::a_hundred_agent_calls_leave_nothing_behind
  [agent-noclose]=agents::a_hundred_agent_calls_leave_nothing_behind
  [forward-nofin]=forwards::every_kind_carries_bytes_and_half_closes
  [gate-anyhost]=gates::a_socks_gate_reaches_the_listed_only
)
[ $# -gt 0 ] || set -- agent-leaky agent-noclose forward-nofin gate-anyhost

# Always the same place, so that what was built there is replaced and does not pile up.
copy=$target/copy
said=$(mktemp)
mkdir -p "$copy"
find "$copy" -mindepth 1 -delete
trap 'rm -rf "$copy" "$said"' EXIT
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$copy"

build() { (cd "$copy" && CARGO_TARGET_DIR=$target cargo build --quiet -p bssh --bin bssh); }
passes() { BSSH=$target/debug/bssh timeout 300 cargo test --quiet -p bssh-tests --test e2e -- --exact "$1"; }

build
failed=0
for name; do
  test=${notices[$name]}
  patch --quiet -d "$copy" -p1 < "tests/mutants/$name.patch"
  build
  if passes "$test" > "$said" 2>&1; then
    echo "$name: SURVIVED: $test passes with it"
    failed=1
  elif grep -q '^test result: FAILED. 0 passed; 1 failed' "$said"; then
    echo "$name: killed by $test: $(grep -A1 -m1 'panicked at' "$said" | tail -1 | cut -c1-120)"
  else
    echo "$name: the test did not run:"
    tail -20 "$said"
    failed=1
  fi
  patch --quiet -R -d "$copy" -p1 < "tests/mutants/$name.patch"
done
exit $failed
