#!/usr/bin/env bash
# Installs what building (`run`) or testing (`test`) needs and this machine lacks: Debian packages by
# apt-get, nothing from anywhere else; some of them scripts/tools.sh only unpacks. Silent when nothing
# is missing. Everything it says goes to stderr, so that `make run ARGS=--json` prints only JSON.
set -euo pipefail
cd "$(dirname "$0")/.."

main() {
  local for_what=${1:-}
  case $for_what in
    run | test) ;;
    *) say "usage: scripts/setup.sh run|test"; exit 2 ;;
  esac

  check_rust
  [ "$for_what" = run ] || check_rust_components

  # package, why, and the check that it is there
  want gcc "links Rust programs and compiles ring's C and assembly" has cc
  want libc6-dev "headers that ring's C needs" can_include cc c stdlib.h
  if [ "$for_what" = test ]; then
    want g++ "compiles libFuzzer" can_include c++ c++ cstdlib
    want chromium "the browser in which the pages are tested" has chromium
    want chromium-driver "drives that browser" has chromedriver
    want swtpm "the TPM in software that the TPM suite quotes with" has swtpm
    want swtpm-tools "makes that TPM and its maker's certificates" has swtpm_setup
    want tpm2-tools "speaks to that TPM" has tpm2_quote
    want faketime "shows the independent reader of our results the time at which their evidence was fresh" has faketime
    want libssl-dev "headers that this reader's dependencies ask for; Nautilus itself has no OpenSSL" \
      can_include cc c openssl/ssl.h
    want pkg-config "finds these headers" has pkg-config
    want strace "shows that the enclave touches no file and no socket outside its list" has strace
    want openssl "reads the attestation certificate" has openssl
    want util-linux "ends that TPM with its test" has setpriv
    want jq "makes evidence of a TPM's files, as the documentation says" has jq
    want xxd "writes the values of PCRs in hex, likewise" has xxd
    want python3-venv "holds sev-snp-measure, with which launch measurements are compared" has_venv
    want containerd "the container runtime beside which pods and containers are measured" has containerd
    want runc "starts these containers" has runc
    want umoci "makes their image" has umoci
    want busybox-static "is in that image" has_static_busybox
    want containernetworking-plugins "gives these pods a network" test -x /usr/lib/cni/bridge
    want iproute2 "takes that network away again" has ip
    want ovmf "the firmware whose launch measurement is compared" test -e /usr/share/ovmf/OVMF.fd
  fi
  install_missing
  # What tests run beside us, which would start services if it were installed.
  [ "$for_what" = run ] || scripts/tools.sh prometheus prometheus-node-exporter python3-prometheus-client
}

say() { printf '%s\n' "$*" >&2; }
die() { say "setup: $*"; exit 3; }
has() { command -v "$1" >/dev/null; }

# Debian's python3 has the module venv without the wheels that it needs.
has_venv() { has python3 && python3 -c 'import ensurepip, venv' 2>/dev/null; }

# The package busybox has a file of the same name, which needs a libc that the image has not.
has_static_busybox() { test -x /usr/bin/busybox && ! ldd /usr/bin/busybox >/dev/null 2>&1; }

# can_include COMPILER LANGUAGE HEADER
can_include() {
  has "$1" && printf '#include <%s>\n' "$3" | "$1" -E -x "$2" - >/dev/null 2>&1
}

check_rust() {
  has cargo && has rustc || die "cargo is not installed: install Rust from https://rustup.rs and try again"
  local needed found
  needed=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
  found=$(rustc --version | cut -d ' ' -f 2)
  [ "$(printf '%s\n%s\n' "$needed" "$found" | sort -V | head -n 1)" = "$needed" ] ||
    die "rustc is $found, and at least $needed is needed: run \`rustup update stable\` and try again"
}

check_rust_components() {
  cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 ||
    die "rustfmt or clippy is missing: run \`rustup component add clippy rustfmt\` and try again"
}

missing=()
reasons=()

# want PACKAGE WHY CHECK…
want() {
  local package=$1 why=$2
  shift 2
  "$@" && return
  missing+=("$package")
  reasons+=("$package: $why")
}

install_missing() {
  [ ${#missing[@]} -gt 0 ] || return 0
  local as_root=()
  if ! has apt-get; then
    die_by_hand "this machine has no apt-get; install what is equivalent to these Debian packages"
  elif [ "$(id -u)" -ne 0 ]; then
    has sudo || die_by_hand "root is needed and there is no sudo; as root, run: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi

  say "setup: installing ${#missing[@]} Debian packages:"
  printf '  %s\n' "${reasons[@]}" >&2
  as_root+=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=3)
  { "${as_root[@]}" update && "${as_root[@]}" install --no-install-recommends "${missing[@]}"; } >&2 ||
    die "apt-get failed; install by hand and try again: ${missing[*]}"
}

die_by_hand() {
  say "setup: missing:"
  printf '  %s\n' "${reasons[@]}" >&2
  die "$1"
}

main "$@"
