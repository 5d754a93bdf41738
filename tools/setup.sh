#!/usr/bin/env bash
# Installs what pare needs on Debian or Ubuntu: packages by name, and the report's chart library. Says what before it does.
# Usage: tools/setup.sh [build|check]     build (default): to build and run pare; check: also what the test suite uses
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-build}
case $what in build | check) ;; *) sed -n '2,3p' "$0" >&2; exit 2 ;; esac

packages=(gcc make cmake ninja-build pkg-config libc6-dev git ca-certificates python3 python3-pip
    libopenblas-pthread-dev libjansson-dev libpcre2-dev libutf8proc-dev libsqlite3-dev libyaml-dev libssl-dev
    zlib1g-dev libbz2-dev libcmocka-dev)
if [ "$what" = check ]; then
    packages+=(clang clang-format libomp-dev)
    # Ubuntu's chromium is a snap, which containers cannot run: there the browser test skips
    grep -q '^ID=ubuntu' /etc/os-release || packages+=(chromium)
fi

installed() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'
}

# clang's sanitizer and fuzzer runtimes carry the version in their name
clang_runtime() {
    local version
    version=$(clang --version | sed -n 's/.*version \([0-9]*\).*/\1/p')
    echo "libclang-rt-$version-dev"
}

apt=()
[ "$(id -u)" = 0 ] || apt=(sudo)

install_missing() {
    local missing=()
    for package in "$@"; do
        installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "setup: installing ${missing[*]}"
    "${apt[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${apt[@]}" apt-get install -yqq --no-install-recommends "${missing[@]}" >/dev/null
}

install_missing "${packages[@]}"
if [ "$what" = check ]; then
    install_missing "$(clang_runtime)"
fi
tools/fetch_chart_library.sh
echo "setup: everything is there"
