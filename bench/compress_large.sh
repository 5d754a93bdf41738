#!/usr/bin/env bash
# Time and memory of `pare compress` on a large checkpoint, beside `cp` of the same files. Every run writes to disk until it is there
# (pare by fsync, cp followed by sync) and begins with a page cache that was dropped where that is allowed (root), so that all read
# from disk. Usage: bench/compress_large.sh FOLDER OUT_FOLDER [pare compress's words…]
# FOLDER: for instance what bench/random_checkpoint.py makes. OUT_FOLDER is made, measured and removed; it must not exist.
# STOP_AFTER=SECONDS: only the memory of the first so many seconds, for methods that take hours; no cp then.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,5p' "$0" >&2; exit 2; }
folder=$1 out=$2
shift 2
[ ! -e "$out" ] || { echo "$out exists" >&2; exit 1; }
pare=${PARE:-$(cd "$(dirname "$0")" && pwd)/../build/pare}
drop() {
    sync
    if echo 3 2>/dev/null >/proc/sys/vm/drop_caches; then echo "page cache dropped"; else echo "page cache left as it is"; fi
}
copy() {
    rm -rf "$out"
    cp -r "$folder" "$out" && sync "$out"/*
}
measure() { # command…: seconds, peak resident memory of pare
    python3 - "$@" <<'PY'
import os, resource, subprocess, sys, time
begin, limit = time.monotonic(), float(os.environ.get("STOP_AFTER", 0)) or None
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
try:
    code = process.wait(limit)
except subprocess.TimeoutExpired:
    process.terminate()
    process.wait()
    code = 0
if code:
    sys.exit(code)
print(f"{time.monotonic() - begin:.1f} s, peak resident {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MiB")
PY
}
drop
if [ -z "${STOP_AFTER:-}" ]; then
    begin=$(date +%s.%N)
    copy
    echo "cp: $(echo "$(date +%s.%N) $begin" | awk '{printf "%.1f", $1 - $2}') s for $(du -sBM "$out" | cut -f1)"
    rm -rf "$out"
    drop
fi
echo "pare compress $*: $(measure "$pare" compress "$folder" "$@" -o "$out" --json --quiet)"
[ ! -e "$out" ] || echo "written: $(du -sBM "$out" | cut -f1)"
rm -rf "$out"
