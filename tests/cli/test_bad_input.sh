# Bad input: a message that names what is wrong, exit code 1 (2 for usage), nothing half-written.
. "$(dirname "$0")/lib.sh"
qwen=$fixtures/qwen2
text=$SOURCE/tests/eval/fixtures/text.txt
copy() { rm -rf "$work/model"; cp -r "$qwen" "$work/model"; }

expect 1 'No such file' "$PARE" info "$work/nothing"
mkdir "$work/empty"; expect 1 'config.json' "$PARE" info "$work/empty"
expect 1 '' "$PARE" info "$text"
# what is often given for a model, and the way from there
expect 1 'does not download.*hf download Nobody/No-Model-1B --local-dir No-Model-1B' "$PARE" info Nobody/No-Model-1B
expect 1 'No such file or directory$' "$PARE" info ./Nobody/Nothing
printf 'PK\003\004archive/data.pkl' >"$work/model.pt"; expect 1 'never loads.*save_pretrained' "$PARE" info "$work/model.pt"
printf '\200\002}q' >"$work/model.bin"; expect 1 'pickle.*save_pretrained' "$PARE" eval "$work/model.bin" --text "$text"
printf 'version https://git-lfs.github.com/spec/v1\n' >"$work/lfs.gguf"; expect 1 'git lfs pull' "$PARE" info "$work/lfs.gguf"
cp "$fixtures/llama3.gguf" "$work/cut.gguf"; truncate -s -1000 "$work/cut.gguf"
expect 1 "cut short, it has $(stat -c %s "$work/cut.gguf") bytes and needs [0-9]+\..*complete" "$PARE" info "$work/cut.gguf"
needed=$(sed -E 's/.* needs ([0-9]+)\..*/\1/' "$work/stderr")
[ "$needed" -le "$(stat -c %s "$fixtures/llama3.gguf")" ] && [ "$needed" -gt $(($(stat -c %s "$fixtures/llama3.gguf") - 32)) ] || fail "a GGUF file needs $needed"
copy; size=$(stat -c %s "$work/model/model.safetensors"); truncate -s -10 "$work/model/model.safetensors"
expect 1 "cut short: it has $((size - 10)) bytes and needs $size " "$PARE" info "$work/model"
expect 2 'this command writes a Hugging Face folder.*pare export' "$PARE" compress "$qwen" --method random --ratio 0.5 -o "$work/out.gguf"
expect 2 'this command writes a Hugging Face folder' "$PARE" finetune "$qwen" --data "$text" -o "$work/out.gguf"
expect 2 'joined2048 .what papers report for the data set wikitext2' "$PARE" eval "$qwen" --text "$text" --protocol wikitext2
expect 2 'did you mean wanda-sp' "$PARE" compress "$qwen" --method wanda --ratio 0.5 --plan
expect 2 'did you mean random' "$PARE" compress "$qwen" --method RANDOM --ratio 0.5 --plan
printf 'models: [%s]\nevaluate: {text: %s, protocol: joined48}\nmethods: [random]\nratios: [30]\n' "$qwen" "$text" >"$work/percent.yaml"
expect 1 'percent.yaml:4: .*30 % is 0.3' "$PARE" study run "$work/percent.yaml" --ledger "$work/percent.ledger"
expect 2 'for 30 % write --ratio 0.3' "$PARE" policy train "$qwen" --ratio 30 -o "$work/policy"
copy; truncate -s 1000 "$work/model/model.safetensors"; expect 1 'model.safetensors' "$PARE" info "$work/model"
copy; printf '\377\377\377\377\377\377\377\177' | dd of="$work/model/model.safetensors" conv=notrunc status=none
expect 1 'header' "$PARE" info "$work/model"
copy; sed -i 's/"intermediate_size": 96/"intermediate_size": 128/' "$work/model/config.json"; expect 1 'mlp\.' "$PARE" info "$work/model"
copy; sed -i 's/"model_type": "qwen2"/"model_type": "mamba"/' "$work/model/config.json"; expect 1 'mamba.*llama, mistral and qwen2' "$PARE" info "$work/model"
copy; rm "$work/model/tokenizer.json"; expect 0 'tokenizer' "$PARE" info "$work/model"
expect 1 'no tokenizer' "$PARE" eval "$work/model" --text "$text" --protocol joined48
copy; python3 - "$work/model/model.safetensors" <<'PY'
import json, struct, sys
path = sys.argv[1]
data = bytearray(open(path, "rb").read())
n = struct.unpack("<Q", data[:8])[0]
at = 8 + n + json.loads(data[8:8 + n])["model.layers.0.mlp.up_proj.weight"]["data_offsets"][0]
data[at:at + 4] = b"\xff\x7f\xff\x7f"  # NaN in bf16
open(path, "wb").write(data)
PY
expect 0 '' "$PARE" info "$work/model"
head -c 400 "$text" >"$work/prompt.txt"
for use in "eval --protocol joined48" "logits -o $work/nan" "compress --method wanda-sp --calibrate $text --ratio 0.5 --multiple 8 --windows 2 --length 32 -o $work/nan"; do
    case $use in compress*) input=() ;; *) input=(--text "$work/prompt.txt") ;; esac
    # shellcheck disable=SC2086
    expect 1 'model.safetensors: tensor model.layers.0.mlp.up_proj.weight.*NaN' "$PARE" $use "$work/model" "${input[@]}"
done
expect 1 'model.layers.0.mlp.up_proj.weight' "$PARE" compress "$work/model" --method random --ratio 0 -o "$work/nan"
[ ! -e "$work/nan" ] || fail "a NaN checkpoint was written"
head -c 2000 "$fixtures/llama3.gguf" >"$work/short.gguf"; expect 1 'short.gguf' "$PARE" info "$work/short.gguf"

: >"$work/empty.txt"; expect 1 'empty' "$PARE" eval "$qwen" --text "$work/empty.txt" --protocol joined48
printf short >"$work/short.txt"; expect 1 'needs at least' "$PARE" eval "$qwen" --text "$work/short.txt" --protocol joined48
expect 2 'unknown protocol' "$PARE" eval "$qwen" --text "$text" --protocol gguf
expect 1 'positions' "$PARE" eval "$qwen" --text "$text" --protocol joined600

for ratio in 1 -0.1 1.5 nan inf; do expect 2 'ratio' "$PARE" compress "$qwen" --method random --ratio "$ratio" -o "$work/out"; done
expect 2 'random, magnitude, wanda-sp' "$PARE" compress "$qwen" --method nonsense --ratio 0.1 -o "$work/out"
expect 2 'calibrate' "$PARE" compress "$qwen" --method wanda-sp --ratio 0.1 -o "$work/out"
expect 2 'f32, bf16 and f16' "$PARE" compress "$qwen" --method random --ratio 0.1 --type q4_0 -o "$work/out"
mkdir "$work/exists"; touch "$work/exists/notes.txt"; expect 1 'exists already' "$PARE" compress "$qwen" --method random --ratio 0.1 --multiple 8 -o "$work/exists"
expect 1 '' "$PARE" compress "$qwen" --method random --ratio 0.1 --multiple 8 -o "$work/no/such/folder"
full() { # KIB COMMAND…: with files of at most that size, as on a full disk
    grep -q '^PARE_SANITIZE:[A-Z]*=thread' "$BUILD/CMakeCache.txt" && return # it keeps its own memory in a file
    expect 1 'cannot write|File too large' bash -c "ulimit -f $1; shift; \"\$@\"" full "$@"
}
full 16 "$PARE" compress "$qwen" --method random --ratio 0.1 --multiple 8 -o "$work/full"
[ -z "$(ls -d "$work"/full* "$work"/out* 2>/dev/null)" ] || fail "something half-written was left: $(ls -d "$work"/full* "$work"/out*)"
if [ "$(id -u)" != 0 ]; then
    mkdir "$work/locked"; chmod a-w "$work/locked"
    expect 1 'ermission' "$PARE" compress "$qwen" --method random --ratio 0.1 --multiple 8 -o "$work/locked/out"
fi
expect 1 'cannot write' bash -c "'$PARE' info '$qwen' --json >/dev/full"


wanda() { "$PARE" compress "$qwen" --method wanda-sp --ratio 0.5 --multiple 8 --calibrate "$text" -o "$work/out" "$@"; }
expect 1 'look at nothing' wanda --windows 0
expect 1 'look at nothing' wanda --length 0
expect 1 'knows 512 positions' wanda --length 600 --windows 1
expect 2 'at most 1024' "$PARE" eval "$qwen" --text "$text" --threads 100000
expect 1 'no regular file' "$PARE" logits "$qwen" --text "$work/short.txt" -o /dev/null
[ -c /dev/null ] || fail "/dev/null was replaced"
expect 1 'exists already' "$PARE" compress "$qwen" --method random --ratio 0.1 --multiple 8 -o "$work/exists/"

# tensors that overlap, a shape of the same bytes, a tensor too few
edit() { # python that changes `header`, of the same length or shorter
    copy; python3 - "$work/model/model.safetensors" "$1" <<'PY'
import json, struct, sys
path, change = sys.argv[1:]
data = bytearray(open(path, "rb").read())
n = struct.unpack("<Q", data[:8])[0]
header = json.loads(data[8:8 + n])
exec(change)
data[8:8 + n] = json.dumps(header, separators=(",", ":")).encode().ljust(n)
open(path, "wb").write(data)
PY
}
up='header["model.layers.0.mlp.up_proj.weight"]'
edit "$up['data_offsets'] = header['model.layers.0.mlp.gate_proj.weight']['data_offsets']"; expect 1 'overlap' "$PARE" info "$work/model"
edit "$up['shape'].reverse()"; expect 1 'up_proj.weight has shape .*asks for' "$PARE" info "$work/model"
edit "$up['shape'][0] -= 1"; expect 1 'up_proj.weight: the shape .* needs' "$PARE" info "$work/model"
edit "$up['dtype'] = 'F99'"; expect 1 'unknown dtype' "$PARE" info "$work/model"
for i in $(seq 40); do # a bit turned over in the header: read as it was, or refused; never a crash
    copy; at=$((RANDOM % 2000)); python3 -c "
import sys
with open(sys.argv[1], 'r+b') as file:
    file.seek($at); byte = file.read(1)[0]; file.seek($at); file.write(bytes([byte ^ 1 << $((RANDOM % 8))]))" "$work/model/model.safetensors"
    "$PARE" info "$work/model" >/dev/null 2>&1; code=$?
    [ $code -le 1 ] || fail "byte $at with another bit: exit code $code"
done

expect 1 '' "$PARE" fit "$work/nothing.csv"
printf 'model,method,l0,r\n' >"$work/bad.csv"; expect 1 'bad.csv' "$PARE" fit "$work/bad.csv"
expect 2 'v1, v1i, v2' "$PARE" fit "$work/bad.csv" --form cubic
expect 1 '' "$PARE" predict "$work/bad.csv" --l0 3 --ratio 0.1
expect 1 '' "$PARE" report "$text" -o "$work/report.html"
[ ! -e "$work/report.html" ] || fail "a report without a ledger"
printf 'models: [m]\nnonsense: 1\n' >"$work/spec.yaml"; expect 1 'spec.yaml:2' "$PARE" study run "$work/spec.yaml"

# ledgers that are none, are damaged, or come from a newer version
cat >"$work/good.yaml" <<YAML
models: [$qwen]
evaluate: {text: $text, protocol: joined48}
methods: [random]
ratios: [0.5]
multiple: 8
YAML
expect 0 '' "$PARE" study run "$work/good.yaml" --ledger "$work/good.ledger"
expect 1 'pooled|random.*points' "$PARE" fit "$work/good.ledger"
python3 - "$work" <<'PY'
import sqlite3, sys
for name, change in ("newer", "PRAGMA user_version = 99"), ("foreign", "CREATE TABLE a (b)"):
    if name == "newer":
        open(f"{sys.argv[1]}/newer.ledger", "wb").write(open(f"{sys.argv[1]}/good.ledger", "rb").read())
    db = sqlite3.connect(f"{sys.argv[1]}/{name}.ledger")
    db.execute(change)
    db.commit()
PY
head -c 5000 "$work/good.ledger" >"$work/damaged.ledger"; cp "$text" "$work/text.ledger"; : >"$work/empty.ledger"
try() { # ledger pattern
    cp "$work/$1.ledger" "$work/before"
    expect 1 "$2" "$PARE" study run "$work/good.yaml" --ledger "$work/$1.ledger"
    expect 1 "$2" "$PARE" study export "$work/$1.ledger"
    expect 1 "$2" "$PARE" report "$work/$1.ledger" -o "$work/report.html"
    cmp -s "$work/before" "$work/$1.ledger" || fail "the $1 ledger was changed"
}
try newer 'version 99, made by a newer pare'; try foreign 'no ledger of pare'; try damaged 'damaged'; try text 'no SQLite database'; try empty 'is empty'
expect 1 'version 99' "$PARE" fit "$work/newer.ledger"
[ ! -e "$work/report.html" ] || fail "a report of a bad ledger"
if [ "$(id -u)" != 0 ]; then
    chmod a-w "$work/good.ledger"; expect 1 'not writable' "$PARE" study run "$work/good.yaml" --ledger "$work/good.ledger"
fi
full 100 "$PARE" report "$work/good.ledger" -o "$work/report.html"
[ -z "$(ls "$work"/report.html* 2>/dev/null)" ] || fail "half a report"
expect 2 'run, status, export' "$PARE" study walk "$work/spec.yaml"
finish
