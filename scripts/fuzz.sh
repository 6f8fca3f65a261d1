#!/usr/bin/env bash
# Fuzzes one target, or with --all each in turn: scripts/fuzz.sh NAME|--all SECONDS
#
# It builds the targets as cargo-fuzz does, with coverage instrumentation and stable Rust (hence
# RUSTC_BOOTSTRAP), so that nothing is to be installed. No sanitizer: the fuzzed crates forbid `unsafe`,
# and a panic or an overflow is what is looked for. For AddressSanitizer, use cargo-fuzz on the same crate.
# Memory is limited twice: each allocation, in proportion to the input, by fuzz/src/lib.rs (libFuzzer's own
# -malloc_limit_mb does nothing without a sanitizer), and the process as a whole by -rss_limit_mb.
#
# Seeds are the evidence in vectors/ and what fuzz/seeds adds. What a run learns stays in fuzz/corpus, what it
# breaks on goes to fuzz/artifacts. Both are outside of version control: a finding is kept as a test vector.
set -euo pipefail
cd "$(dirname "$0")/.."

# The files whose content a target reads, as arguments of find.
seeds_of() {
  case $1 in
    sgx_quote) echo vectors/sgx -name '*.bin' ;;
    tdx_quote) echo vectors/tdx -name '*.bin' ;;
    endorsement) echo vectors '(' -name 'collateral-*.json' -o -name '*.pem' -o -name 'vek.der' ')' ;;
    event_log) echo vectors/eventlog -not -name '*.json' ;;
    nitro_document) echo vectors/nitro -name '*.cbor' ;;
    psa_token) echo vectors/psa/tf-m vectors/psa/veraison -name '*[nr]' ;;
    cca_token) echo vectors/cca -name '*.cbor' ;;
    snp_report) echo vectors/snp -name '*.bin' ;;
    snp_certificate) echo vectors/snp -name '*.der' ;;
    aesm_message | nsm_response | channel_frame | channel_handshake | channel_payload) echo "fuzz/seeds/$1" -name '*.bin' ;;
    keystone_edge_call) echo fuzz/seeds/keystone_edge_call ;;
    sgx_sigstruct) echo vectors/sgx/launch -type f ;;
    ovmf_image) echo vectors/snp/launch -name '*.fd' ;;
    optee_ta) echo vectors/optee/launch/made '(' -name '*.ta' -o -name '*.elf*' ')' ;;
    keystone_report) echo fuzz/seeds/keystone ;;
    optee_evidence) echo fuzz/seeds/optee -name '*.json' ;;
    pipeline)
      echo vectors fuzz/seeds '(' -name quote.bin -o -name '*report.bin' -o -name '*.cbor' -o -name '*sign1.bin' \
        -o -path 'fuzz/seeds/*' -not -name '*.der' ')'
      ;;
    tpm_attest) echo vectors/tpm '(' -name '*.msg' -o -name '*.sig' -o -name '*.pub' -o -name '*.out' ')' ;;
    tpm_evidence) echo fuzz/seeds/tpm_evidence -name '*.json' ;;
    tpm_response) echo fuzz/seeds/tpm_response -name '*.bin' ;;
    dcap_warm) echo fuzz/seeds/dcap_warm -name '*.bin' ;;
    openmetrics_text) echo fuzz/seeds/openmetrics_text -name '*.txt' ;;
    cgroup_files) echo fuzz/seeds/cgroup_files -name '*.bin' ;;
    store_chunk) echo fuzz/seeds/store_chunk -name '*.bin' ;;
    proc_file) echo fuzz/seeds/proc_file -name '*.bin' ;;
    sev_cert_table) echo fuzz/seeds/sev_cert_table -name '*.bin' ;;
    qgs_message) echo fuzz/seeds/qgs_message -name '*.bin' ;;
    evidence_file) echo fuzz/seeds vectors -path '*evidence*.json' ;;
    *) die "$1 has no seeds: name them in scripts/fuzz.sh" ;;
  esac
}

# A seed as the target takes it: the pipeline's first byte says how the rest is read, and `.` is by its content.
prefixed() {
  [ "$1" != pipeline ] || printf .
  cat "$2"
}

die() { printf 'fuzz: %s\n' "$*" >&2; exit 2; }

targets() {
  find fuzz -path 'fuzz/fuzz_targets/*.rs' -printf '%f\n' | sed 's/\.rs$//' | sort
}

build() {
  local flags=(
    --cfg fuzzing
    -Cdebug-assertions
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
  )
  # With --target, build scripts and macros are not instrumented.
  RUSTC_BOOTSTRAP=1 RUSTFLAGS="${flags[*]}" \
    cargo build --quiet --locked --manifest-path fuzz/Cargo.toml --target "$host" --target-dir fuzz/target --bins
}

fuzz() {
  local name=$1 seconds=$2 corpus=fuzz/corpus/$1 artifacts=fuzz/artifacts/$1 seeds seed where
  mkdir -p "$corpus" "$artifacts"
  seeds=$(seeds_of "$name") || exit
  read -r -a where <<<"$seeds"
  while IFS= read -r seed; do
    prefixed "$name" "$seed" >"$corpus/seed-$(sha256sum "$seed" | cut -c 1-16)"
  done < <(find "${where[@]}" -type f -size -65537c)

  printf 'fuzz: %s for %s s, from %s inputs\n' "$name" "$seconds" "$(find "$corpus" -type f | wc -l)" >&2
  "fuzz/target/$host/debug/$name" "$corpus" -artifact_prefix="$artifacts/" -max_total_time="$seconds" \
    -max_len=65536 -timeout=10 -rss_limit_mb=512 -print_funcs=0
}

# As `fuzz`, but says something only when something is found.
smoke() {
  local log=fuzz/artifacts/$1.log
  mkdir -p fuzz/artifacts
  fuzz "$@" 2>"$log" || { cat "$log" >&2; return 1; }
  grep -E '^(fuzz:|Done )' "$log" >&2
}

# Each target for that long, as many at a time as there are processors. After a finding no other is started.
smoke_all() {
  export host
  export -f smoke fuzz seeds_of prefixed die
  xargs -P "$(nproc)" -I '{}' bash -euo pipefail -c 'smoke "$@" || exit 255' _ '{}' "$1" <<<"$known"
}

name=${1:-} seconds=${2:-60}
known=$(targets)
[ -n "$known" ] || die "there is no target in fuzz/fuzz_targets"
[ "$name" = --all ] || grep -qx -- "$name" <<<"$known" ||
  die "${name:+no target is named $name; }say which: NAME=$(paste -sd '|' <<<"$known")"
[[ $seconds =~ ^[1-9][0-9]*$ ]] || die "SECONDS must be a positive whole number, not $seconds"

host=$(rustc -vV | sed -n 's/^host: //p')
build
if [ "$name" = --all ]; then
  smoke_all "$seconds"
else
  fuzz "$name" "$seconds"
fi
