# export: GGUF files that pare reads back with the same loss, what is said about them, and failures that leave nothing.
. "$(dirname "$0")/lib.sh"
text=$SOURCE/tests/eval/fixtures/text.txt
loss() { # the cross-entropy of a model
    expect 0 '' "$PARE" eval "$1" --text "$text" --protocol joined48 --windows 3 --json --threads 1
    json cross_entropy
}

expect 0 'qwen2.gguf: qwen2, 26 tensors, .* as bf16' "$PARE" export "$fixtures/qwen2" -o "$work/qwen2.gguf"
[ ! -s "$work/stderr" ] || fail "export talks on stderr: $(cat "$work/stderr")"
[ "$(loss "$work/qwen2.gguf")" = "$(loss "$fixtures/qwen2")" ] || fail "qwen2 has another loss as GGUF"
expect 0 'qwen2, GGUF' "$PARE" info "$work/qwen2.gguf"
expect 0 '' "$PARE" export "$fixtures/qwen2" --type Q8_0 -o "$work/q8.gguf" --json
keys version output type architecture bytes tensors f16_instead seconds max_rss_mib
[ "$(json bytes)" = "$(stat -c %s "$work/q8.gguf")" ] || fail "export: the size of the file is $(stat -c %s "$work/q8.gguf"), not $(json bytes)"
[ "$(json f16_instead)" = "[]" ] || fail "export: f16_instead is $(json f16_instead)"

# rows that are no whole blocks are named, and so is another architecture
expect 0 '2 tensors are written as f16 instead of q4_0, .* 32: blk.\*.attn_output.weight$' "$PARE" export "$fixtures/mistral" --type q4_0 -o "$work/m.gguf"
expect 0 '' "$PARE" compress "$fixtures/qwen2" --method random-heads --ratio 0.5 -o "$work/heads"
expect 0 "written as llama.cpp's llama" "$PARE" export "$work/heads" --type f32 -o "$work/heads.gguf"
[ "$(loss "$work/heads.gguf")" = "$(loss "$work/heads")" ] || fail "a model without some heads has another loss as GGUF"
expect 0 '' "$PARE" export "$fixtures/types.gguf" -o "$work/types.gguf"
[ "$(loss "$work/types.gguf")" = "$(loss "$fixtures/types.gguf")" ] || fail "without --type a GGUF has another loss"
expect 0 '' "$PARE" export "$fixtures/types.gguf" --quiet --type q4_1 -o "$work/types-q4_1.gguf"
expect 0 '' "$PARE" compress "$work/types-q4_1.gguf" --method random --ratio 0.5 -o "$work/cut-again"

# bad input
expect 2 'OUT.gguf is missing' "$PARE" export "$fixtures/qwen2"
expect 2 'f32, f16, bf16, q8_0, q4_0 or q4_1' "$PARE" export "$fixtures/qwen2" --type q4_k -o "$work/out.gguf"
expect 2 '--type nonsense' "$PARE" export "$fixtures/qwen2" --type nonsense -o "$work/out.gguf"
expect 1 'exists already' "$PARE" export "$fixtures/qwen2" -o "$work/q8.gguf"
expect 1 'No such file' "$PARE" export "$work/nothing" -o "$work/out.gguf"
expect 1 'cannot create' "$PARE" export "$fixtures/qwen2" -o "$work/no/such/out.gguf"
cp -r "$fixtures/qwen2" "$work/bare"; rm "$work/bare/tokenizer.json"
expect 1 'tokenizer.json is missing' "$PARE" export "$work/bare" -o "$work/out.gguf"
python3 -c '
import json, sys
tokenizer = json.load(open(sys.argv[1]))
tokenizer["pre_tokenizer"]["add_prefix_space"] = True
json.dump(tokenizer, open(sys.argv[2], "w"))' "$fixtures/qwen2/tokenizer.json" "$work/bare/tokenizer.json"
expect 1 'none that GGUF has a name for' "$PARE" export "$work/bare" -o "$work/out.gguf"
if ! grep -q '^PARE_SANITIZE:[A-Z]*=thread' "$BUILD/CMakeCache.txt"; then # it keeps its own memory in a file
    expect 1 'cannot write|File too large' bash -c 'ulimit -f 16; "$@"' full "$PARE" export "$fixtures/qwen2" -o "$work/out.gguf"
fi
[ -z "$(ls -d "$work"/out* "$work"/*partial* 2>/dev/null)" ] || fail "something half-written was left: $(ls -d "$work"/out* "$work"/*partial*)"
finish
