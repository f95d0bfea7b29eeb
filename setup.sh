#!/bin/sh
# setup.sh deps|build|demo|test|install [PREFIX]: from a fresh Debian 12 to a running program.
#   deps     installs the Debian packages that are missing (apt-get; sudo only when not root; no network when nothing is missing)
#   build    deps, then build/release/wattune
#   demo     builds the program, then the whole way in a minute
#   test     build, then all tests; ends with ctest's summary
#   install  builds what is installed (not the tests), then installs below PREFIX (default /usr/local)
set -eu
cd "$(dirname "$0")"

packages="build-essential cmake ninja-build pkg-config libhwloc-dev libopenblas-openmp-dev libcurl4-openssl-dev libcjson-dev libssl-dev
libpcre2-dev libutf8proc-dev libsqlite3-dev libcsv-dev zlib1g-dev libopenmpi-dev openmpi-bin libcmocka-dev libmicrohttpd-dev file python3 ca-certificates"

say() { echo "setup: $*" >&2; }
die() { say "$*"; exit 1; }

installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q '^install ok installed$'; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then say "sudo $*"; sudo "$@"
  else die "not root and no sudo: run as root: $*"
  fi
}

deps() {
  command -v dpkg-query >/dev/null || die "this is no Debian: install the counterparts of: $(echo $packages)"
  missing=""
  for p in $packages; do installed "$p" || missing="$missing $p"; done
  if [ -z "$missing" ]; then
    say "all packages are here"
    return
  fi
  say "installing:$missing"
  as_root apt-get update -q
  # shellcheck disable=SC2086
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
}

# build [TARGET...]: without targets everything, tests included
build() {
  deps
  cmake --preset release >build-release.log 2>&1 || { cat build-release.log >&2; die "cmake failed"; }
  rm -f build-release.log
  cmake --build --preset release ${1:+--target "$@"}
  say "built build/release/wattune"
}

case "${1:-}" in
  deps) deps ;;
  build) build ;;
  demo) build wattune; exec build/release/wattune demo ;;
  test) build; exec ctest --preset release ;;
  install) build wattune words wattune_shared; as_root cmake --install build/release --prefix "${2:-/usr/local}" ;;
  *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
