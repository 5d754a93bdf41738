#!/usr/bin/env bash
# Fuzzes every target of a fuzz build for some seconds each, on a copy of its corpus. Usage: tools/fuzz.sh BUILD_FOLDER SECONDS
set -euo pipefail
build=${1:?usage: fuzz.sh BUILD_FOLDER SECONDS}
seconds=${2:?usage: fuzz.sh BUILD_FOLDER SECONDS}
source=$(cd "$(dirname "$0")/.." && pwd)
for target in "$build"/tests/fuzz/fuzz_*; do
    [ -x "$target" ] && [ -f "$target" ] || continue
    name=$(basename "$target")
    corpus=$build/corpus/${name#fuzz_}
    mkdir -p "$corpus"
    echo "fuzz: $name for $seconds s"
    (cd "$build" && "tests/fuzz/$name" -max_total_time="$seconds" -rss_limit_mb=2000 -timeout=20 "corpus/${name#fuzz_}" \
        "$source/tests/fuzz/corpus/${name#fuzz_}" 2>&1 | tail -2)
done
