#!/bin/bash
# Which lines the tests reach, those inside the crates and those end to end together, per crate.
#
#   tests/coverage.sh [FILTER...]         run the tests (FILTER: only such), then say the shares
#   tests/coverage.sh report [OPTION...]  of what has been run so far: `cargo llvm-cov report`
#
# The end to end tests clear the environment, kill cores and run copies of bssh on nodes. So an
# executable is not told by LLVM_PROFILE_FILE where to count: that is linked into it. And it counts
# in a mapped file (%c) that all its processes share (%m), whichever way they end.
# Needs `cargo install cargo-llvm-cov` and `rustup component add llvm-tools`.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TARGET_DIR=${COVERAGE_TARGET:-$PWD/target/coverage} CARGO_PROFILE_DEV_DEBUG=0
source <(cargo llvm-cov show-env --sh 2> /dev/null)
counts=${LLVM_PROFILE_FILE%%-%*}
unset LLVM_PROFILE_FILE
# Only test support and the tests themselves are left out.
report=(cargo llvm-cov report --ignore-filename-regex '/fixtures/|/tests/|/tests\.rs$')
if [ "${1-}" = report ]; then
  exec "${report[@]}" "${@:2}"
fi

mkdir -p "$CARGO_TARGET_DIR"
place=$CARGO_TARGET_DIR/place.o
cc -fPIC -x c -c -o "$place" - << END
extern void __llvm_profile_set_filename(const char *) __attribute__((weak));
__attribute__((constructor(101))) static void place(void) {
  if (__llvm_profile_set_filename) __llvm_profile_set_filename("$counts-%m%c.profraw");
}
END
export RUSTFLAGS="-C link-arg=$place -C llvm-args=-runtime-counter-relocation"
rm -f "$counts"-*.profraw

# A test that does not like to be counted (slower, larger) spoils no other's lines.
cargo test --workspace --no-fail-fast -- "$@" || echo "not all tests have passed: see above" >&2
"${report[@]}" --json --summary-only | python3 -c '
import json, os, sys
crates = {}
for file in json.load(sys.stdin)["data"][0]["files"]:
    crate = os.path.relpath(file["filename"]).split("/src/")[0]
    for name in (crate, "all", *["core/*"] * crate.startswith("core/")):
        sums = crates.setdefault(name, [0, 0])
        sums[0] += file["summary"]["lines"]["count"]
        sums[1] += file["summary"]["lines"]["covered"]
for crate, (lines, reached) in sorted(crates.items()):
    print(f"| {crate} | {lines} | {100 * reached / lines:.1f} % |")
'
