#!/usr/bin/env bash
# Runs one benchmark, crates/*/benches/NAME.rs or a target of benches/Cargo.toml: scripts/bench.sh NAME
set -euo pipefail
cd "$(dirname "$0")/.."

die() { printf 'bench: %s\n' "$*" >&2; exit 2; }

known() {
  find crates -path 'crates/*/benches/*.rs' -printf '%f\n' | sed 's/\.rs$//'
  awk '/^\[\[bench\]\]/ { bench = 1 } bench && /^name = / { gsub(/"/, ""); print $3; bench = 0 }' benches/Cargo.toml
}

name=${1:-}
grep -qx -- "$name" < <(known) ||
  die "${name:+no benchmark is named $name; }say which: NAME=$(known | sort | paste -sd '|')"

manifest=$(find crates -path "crates/*/benches/$name.rs" -print -quit)
if [ -n "$manifest" ]; then
  manifest=${manifest%/benches/*}/Cargo.toml
  # Benchmarks that run a whole node find the enclave beside the program.
  cargo build --release --locked -p nautilus-enclave
else
  manifest=benches/Cargo.toml
fi
exec cargo bench --locked --manifest-path "$manifest" --bench "$name"
