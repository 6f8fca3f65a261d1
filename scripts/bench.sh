#!/usr/bin/env bash
# Runs one benchmark, crates/*/benches/NAME.rs: scripts/bench.sh NAME
set -euo pipefail
cd "$(dirname "$0")/.."

die() { printf 'bench: %s\n' "$*" >&2; exit 2; }

name=${1:-}
known=$(find crates -path 'crates/*/benches/*.rs' -printf '%f\n' | sed 's/\.rs$//' | sort)
[ -n "$known" ] || die "there is no benchmark in crates/*/benches"
grep -qx -- "$name" <<<"$known" ||
  die "${name:+no benchmark is named $name; }say which: NAME=$(paste -sd '|' <<<"$known")"

manifest=$(find crates -path "crates/*/benches/$name.rs" -print -quit)
manifest=${manifest%/benches/*}/Cargo.toml
# Benchmarks that run a whole node find the enclave beside the program.
cargo build --release --locked -p nautilus-enclave
exec cargo bench --locked --manifest-path "$manifest" --bench "$name"
