#!/usr/bin/env bash
# Unpacks programs that tests and benchmarks compare with, without installing them, so that no service
# is started on this machine: scripts/tools.sh PACKAGE…. Debian packages by apt-get, whose signatures
# it checks, into ${NAUTILUS_TOOLS:-target/tools}; programs are then in usr/bin below it, and
# stamps/PACKAGE holds the version. Works as any user. Silent about what is there already.
set -euo pipefail
cd "$(dirname "$0")/.."

main() {
  [ $# -gt 0 ] || { say "usage: scripts/tools.sh PACKAGE…"; exit 2; }
  local package
  for package in "$@"; do
    [[ $package =~ ^[a-z0-9][a-z0-9.+-]+$ ]] || { say "tools: not the name of a package: $package"; exit 2; }
  done

  tools=${NAUTILUS_TOOLS:-target/tools}
  mkdir -p "$tools/stamps"
  tools=$(cd "$tools" && pwd)
  if missing "$@" >/dev/null; then return 0; fi

  has apt-get && has dpkg ||
    die "this machine has no apt-get: put the programs of $* under $tools/usr/bin, and touch $tools/stamps/PACKAGE for each"
  has flock || die "flock is missing: install util-linux and try again"
  exec 9>"$tools/lock"
  flock 9
  # Who held the lock may have unpacked them.
  local wanted=()
  mapfile -t wanted < <(missing "$@" || true)
  for package in "${wanted[@]}"; do unpack "$package"; done
}

say() { printf '%s\n' "$*" >&2; }
die() { say "tools: $*"; exit 3; }
has() { command -v "$1" >/dev/null; }

# Which of the packages are not unpacked; fails if there is one.
missing() {
  local package found=0
  for package in "$@"; do
    [ -e "$tools/stamps/$package" ] || { printf '%s\n' "$package"; found=1; }
  done
  return "$found"
}

# A subshell, so that what it fetched goes when it ends, however it ends.
unpack() (
  package=$1
  work=$(mktemp -d "$tools/unpacking.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  cd "$work"
  # The machine's own lists may be empty, or older than what the mirror still has.
  fetch "$package" || { refresh && fetch "$package"; } || {
    cat log >&2
    die "apt-get cannot download $package: see that this machine reaches its Debian mirror (apt-get update) and try again"
  }
  shopt -s nullglob
  archives=("$package"_*.deb)
  [ ${#archives[@]} -eq 1 ] || die "apt-get left ${#archives[@]} archives of $package"
  dpkg -x "${archives[0]}" "$tools" || die "cannot unpack $package into $tools: see that the disk is not full"
  # Last, and whole at once: what was cut off is unpacked again.
  dpkg-deb -f "${archives[0]}" Version >stamp
  mv stamp "$tools/stamps/$package"
)

fetch() { apt download "$1"; }

# Into lists of our own, which need no root and change nothing on the machine.
refresh() {
  mkdir -p "$tools/apt/lists/partial"
  lists=(-o "Dir::State::lists=$tools/apt/lists")
  apt update
}

lists=()
apt() {
  apt-get -q -y -o Acquire::Retries=3 -o APT::Sandbox::User=root -o "Dir::Cache=$PWD" \
    "${lists[@]}" "$@" >>log 2>&1 9>&-
}

main "$@"
