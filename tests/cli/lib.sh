# lib: what the scripts share. PARE is the program, SOURCE the source folder; $work is a fresh folder, removed at the end.
set -u
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
fixtures=$SOURCE/tests/model/fixtures
failures=0
# The interpreter itself: a python3 that is a script which looks for one (pyenv) takes longer to start than what it is asked here.
python=$(python3 -c 'import sys; print(sys.executable)')
python3() { "$python" "$@"; }

fail() {
    echo "FAIL: $*"
    failures=$((failures + 1))
}

# expect CODE PATTERN COMMAND…: the exit code, and an extended regex in stdout or stderr ("" for none)
expect() {
    local code=$1 pattern=$2
    shift 2
    "$@" >"$work/stdout" 2>"$work/stderr" </dev/null
    local got=$?
    [ "$got" = "$code" ] || fail "exit code $got, wanted $code: $* ($(head -3 "$work/stderr"))"
    [ -z "$pattern" ] || cat "$work/stdout" "$work/stderr" | grep -qE -- "$pattern" || fail "no «$pattern» from: $* ($(head -3 "$work/stderr"))"
    if [ "$code" != 0 ] && [ -s "$work/stdout" ]; then fail "a failed command printed to stdout: $*"; fi
}

# loss MODEL: its cross-entropy on three windows of $text
loss() {
    expect 0 '' "$PARE" eval "$1" --text "$text" --protocol joined48 --windows 3 --json --threads 1
    json cross_entropy
}

# close LOSS LOSS WHAT: the same but for rounding
close() {
    python3 -c 'import sys; sys.exit(not abs(float(sys.argv[1]) - float(sys.argv[2])) < 1e-5)' "$1" "$2" || fail "$3: losses $1 and $2"
}

# json KEYPATH: a value of the JSON object in the last stdout
json() {
    python3 -c 'import json, sys
value = json.load(open(sys.argv[1]))
for key in sys.argv[2].split("."):
    value = value[int(key)] if key.lstrip("-").isdigit() else value[key]
print(json.dumps(value))' "$work/stdout" "$1" 2>/dev/null || fail "no $1 in the JSON: $(head -c 300 "$work/stdout")"
}

# keys KEY…: the last stdout is one JSON object that has them all
keys() {
    for key in "$@"; do json "$key" >/dev/null; done
}

finish() {
    [ "$failures" = 0 ] || { echo "$failures checks failed"; exit 1; }
    echo "all checks passed"
}
