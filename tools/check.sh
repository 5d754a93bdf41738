#!/usr/bin/env bash
# The whole test suite: the suite under AddressSanitizer and UndefinedBehaviorSanitizer, a clean build by clang, and last the
# suite itself; closes on ctest's summary. Warnings are errors in all three.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=$(nproc)
log=build/check.log
mkdir -p build
: >$log

build() { # preset
    echo "check: building $1"
    if ! { cmake --preset "$1" && cmake --build "build/$1" --parallel "$jobs"; } >>$log 2>&1; then
        tail -40 $log
        exit 1
    fi
}

build clang
build asan
echo "check: the suite under ASan and UBSan"
ctest --test-dir build/asan --output-on-failure --parallel "$jobs" -LE 'plain'
build dev
echo "check: the suite"
ctest --test-dir build/dev --output-on-failure --parallel "$jobs"
