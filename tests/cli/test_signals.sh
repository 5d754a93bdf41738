# Signals: exit codes, the state that a stop leaves, a model that is cut while it is in use; and names that are not UTF-8.
. "$(dirname "$0")/lib.sh"
model=$fixtures/qwen2
for i in $(seq 12); do sed "s/^/$i /" "$SOURCE/tests/eval/fixtures/text.txt"; done >"$work/text.txt"
tune=(finetune "$model" --data "$work/text.txt" --seq 32 --batch 2 --epochs 4000 --steps 20000 --threads 1 --save-every 1)
begin() { # OUT COMMAND…: starts it and waits for its state
    local out=$1
    shift
    "$@" -o "$work/$out" >"$work/$out.stdout" 2>"$work/$out.stderr" &
    pid=$!
    for _ in $(seq 1000); do [ -e "$work/$out.state" ] && return; sleep 0.02; done
    fail "$out: no state after 20 s: $(cat "$work/$out.stderr")"
}

for signal in INT:130 TERM:143 HUP:129 PIPE:141 XCPU:152; do
    name=${signal%:*}
    begin "$name" "$PARE" "${tune[@]}"
    kill -s "$name" $pid; wait $pid; code=$?
    [ $code = "${signal#*:}" ] || fail "SIG$name: exit code $code, wanted ${signal#*:}"
    grep -q -- '--resume goes on' "$work/$name.stderr" || fail "SIG$name: nothing tells how to go on: $(cat "$work/$name.stderr")"
done
for text in prompt text; do # a reader that goes: quiet, as of other programs, for long and for short outputs
    head -c 200 "$work/text.txt" >"$work/prompt.txt"
    "$PARE" tokenize "$model" --text "$work/$text.txt" 2>"$work/stderr" | true
    code=${PIPESTATUS[0]}
    [ $code = 141 ] || [ $code = 0 ] || fail "| true: exit code $code"
    [ -s "$work/stderr" ] && fail "| true: $(cat "$work/stderr")"
done
trap '' HUP # as nohup does
begin nohup "$PARE" "${tune[@]}"
trap - HUP
kill -HUP $pid; sleep 0.1
kill -TERM $pid; wait $pid; code=$?
[ $code = 143 ] || fail "under nohup SIGHUP is not ignored: exit code $code"

# a model that becomes shorter while its weights are read: the file is named
cp -r "$model" "$work/cut"
begin bus "$PARE" finetune "$work/cut" "${tune[@]:2}"
: >"$work/cut/model.safetensors"
wait $pid; code=$?
[ $code = 1 ] || fail "a model that was cut: exit code $code, wanted 1"
grep -q "pare: $work/cut/model.safetensors: cannot be read any more" "$work/bus.stderr" || fail "a model that was cut: $(cat "$work/bus.stderr")"

# names that JSON cannot carry: refused before any work, whatever they name
bad=$work/$'mod\xe8le'
cp -r "$model" "$bad"; cp "$work/text.txt" "$bad.txt"
refused() { expect 2 'is not UTF-8.*rename' "$PARE" "$@"; grep -qF 'mod\xe8le' "$work/stderr" || fail "the name is not spelled out: $*"; }
refused info "$bad"
refused info "$bad" --json
refused compress "$bad" --method random --ratio 0.5 --multiple 8 -o "$work/out"
refused compress "$model" --method random --ratio 0.5 --multiple 8 -o "$bad.out"
refused compress "$model" --method random --ratio 0.5 --multiple 8 --plan --output="$bad.out"
refused finetune "$model" --data "$bad.txt" --seq 32 --steps 2 -o "$work/out"
refused finetune "$model" --data "$work/text.txt" --seq 32 --steps 2 -o "$bad.out"
refused report "$work/x.ledger" -o "$bad.html"
for name in $'\xc0\xaf' $'\xed\xa0\x80' $'\xf5\x80\x80\x80' $'\xe2\x82' $'\x80'; do expect 2 'is not UTF-8' "$PARE" info "$name"; done
expect 1 'No such file' "$PARE" info $'\xe2\x82\xac\xf0\x9f\x98\x80\xc3\xa8'
[ -z "$(ls -d "$work"/out* "$bad".out* 2>/dev/null)" ] || fail "something refused left an output"
finish
