#!/usr/bin/env bash
# Runs one end-to-end suite, crates/*/tests/e2e_NAME.rs, and ends with `N passed, N failed`:
# scripts/e2e.sh NAME. The exit status is the test runner's.
set -euo pipefail
cd "$(dirname "$0")/.."

die() { printf 'e2e: %s\n' "$*" >&2; exit 2; }

suites() {
  find crates -path '*/tests/e2e_*' -name '*.rs' -printf '%f\n' | sed 's/^e2e_//; s/\.rs$//' | sort
}

# The counts in the runner's summary on stdin, as `PASSED FAILED`; nothing if it has no summary.
# nextest:     Summary [  0.1s] 4 tests run: 2 passed (1 slow), 1 failed, 1 timed out, 3 skipped
# cargo test:  test result: FAILED. 2 passed; 1 failed; 0 ignored; …
counts() {
  sed 's/\x1b\[[0-9;]*m//g' | awk '
    /^ *Summary \[/ || /^test result: / {
      found = 1
      sub(/^.*tests? run:/, "")
      gsub(/\([^)]*\)/, "")
      passed += before($0, "passed")
      failed += before($0, "failed") + before($0, "timed out") + before($0, "exec failed")
    }
    function before(line, word) {
      return match(line, "[0-9]+ +" word) ? substr(line, RSTART) + 0 : 0
    }
    END { if (found) print passed + 0, failed + 0 }
  '
}

name=${1:-}
known=$(suites)
[ -n "$known" ] || die "there is no suite in crates/*/tests"
grep -qx -- "$name" <<<"$known" ||
  die "${name:+no suite is named $name; }say which: NAME=$(paste -sd '|' <<<"$known")"

# The package whose suite it is; a crate's directory has its package's name without `nautilus-`.
crate=$(basename "$(dirname "$(dirname "$(find crates -path "*/tests/e2e_$name.rs")")")")
package=nautilus-$crate
[ "$crate" != nautilus ] || package=nautilus

runner=(test --no-fail-fast)
if cargo nextest --version >/dev/null 2>&1; then runner=(nextest run --no-fail-fast --success-output immediate); fi

# A suite of `nautilus` finds this binary beside it, which cargo builds for the suite itself.
[ "$package" != nautilus ] || cargo build --locked -p nautilus-enclave

output=$(mktemp)
trap 'rm -f "$output"' EXIT
status=0
cargo "${runner[@]}" --locked -p "$package" --test "e2e_$name" 2>&1 | tee "$output" || status=$?

read -r passed failed <<<"$(counts <"$output")" || true
[ -n "$passed" ] || { printf 'e2e: the suite %s did not run\n' "$name" >&2; exit "$((status ? status : 1))"; }
printf '%s passed, %s failed\n' "$passed" "$failed"
# A suite that runs nothing has proved nothing.
[ "$status" -ne 0 ] || [ "$passed" -gt 0 ] || status=1
exit "$status"
