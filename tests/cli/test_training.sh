# finetune, train, merge: JSON, files, stops that lose nothing, and what is refused.
. "$(dirname "$0")/lib.sh"
model=$fixtures/qwen2
for i in $(seq 12); do sed "s/^/$i /" "$SOURCE/tests/eval/fixtures/text.txt"; done >"$work/text.txt"
python3 - "$work/text.txt" "$work/documents.jsonl" <<'PY'
import json, sys
words = open(sys.argv[1]).read().split()
with open(sys.argv[2], "w") as out:
    for i in range(40):
        out.write(json.dumps({"text": " ".join(words[7 * i:7 * i + 60 + i])}) + "\n")
PY
tune=("$PARE" finetune "$model" --data "$work/documents.jsonl" --seq 32 --batch 2 --steps 12)

# LoRA: the result as JSON, files that load, a curve
expect 0 '' "${tune[@]}" --lora 4 --held-out 0.2 --eval-every 5 --save-adapter "$work/adapter" -o "$work/lora" --json
keys losses tokens_per_s max_rss_mib trainable evaluations data.sha256 settings.lr lora.rank output
[ "$(json tokens)" = 768 ] || fail "12 steps of 64 tokens are $(json tokens)"
[ "$(json evaluations.3.step)" = 12 ] || fail "the last evaluation is not after the last step"
python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); assert len(r["losses"]) == 12' "$work/stdout" || fail "not one loss a step"
for file in lora/config.json lora/model.safetensors lora/tokenizer.json lora/pare.json adapter/adapter_config.json; do
    [ -s "$work/$file" ] || fail "no $file"
done
python3 -c 'import sys, xml.dom.minidom as x; x.parse(sys.argv[1])' "$work/lora/loss.svg" || fail "loss.svg is no XML"
[ -e "$work/lora.state" ] && fail "a training that is over left its state"
expect 0 '' "$PARE" eval "$work/lora" --text "$work/text.txt" --protocol joined32 --json
tuned=$(json cross_entropy)

# merging the saved adapter gives the same model; starting from it goes on from there
expect 0 'merged' "$PARE" merge "$model" "$work/adapter" -o "$work/merged"
cmp -s "$work/merged/model.safetensors" "$work/lora/model.safetensors" || fail "merge and finetune wrote different weights"
expect 0 '' "${tune[@]}" --adapter "$work/adapter" --lr 1e-6 -o "$work/more" --json
[ "$(json lora.rank)" = 4 ] || fail "the adapter's rank was not taken over"
expect 1 'another base' "$PARE" merge "$fixtures/mistral" "$work/adapter" -o "$work/no"
expect 1 'not an adapter' "$PARE" merge "$model" "$work/lora" -o "$work/no"

expect 0 'cross-entropy [0-9.]+ after 0 tokens: joined32 of the documents held out' "${tune[@]}" --held-out 0.2 -o "$work/named"

# distillation's options are those of the help: each reaches the training
expect 0 '' "${tune[@]}" --teacher "$model" --temperature 3 --distil-weight 0.25 -o "$work/distilled" --json
[ "$(json distillation.temperature)" = 3.0 ] && [ "$(json distillation.weight)" = 0.25 ] || fail "distillation: $(json distillation)"

# full, with a teacher; a cut model recovers under its dense one
expect 0 '' "$PARE" compress "$model" --method random --ratio 0.5 --multiple 4 -o "$work/cut"
expect 0 'needs .* beside the mapped model; with --checkpoint' "$PARE" finetune "$work/cut" --data "$work/text.txt" --seq 32 --batch 2 --steps 12 \
    --full --teacher "$model" --eval "$work/text.txt" --eval-windows 4 -o "$work/recovered"
python3 - "$work/stdout" <<'PY' || fail "full fine-tuning did not lower the loss"
import re, sys
losses = [float(x) for x in re.findall(r"cross-entropy ([0-9.]+) after", open(sys.argv[1]).read())]
assert len(losses) == 2 and losses[1] < losses[0], losses
PY

# killed in the middle, gone on with: bit for bit the model of an undisturbed run
long=("${tune[@]:0:9}" --epochs 40 --steps 100 --save-every 1)
expect 0 '' "${long[@]}" -o "$work/whole"
"${long[@]}" -o "$work/killed" >/dev/null 2>&1 &
pid=$!
for _ in $(seq 200); do [ -e "$work/killed.state" ] && break; sleep 0.02; done
kill -9 $pid; wait $pid 2>/dev/null
[ -e "$work/killed" ] && fail "a killed training left an output"
expect 1 'resume' "${long[@]}" -o "$work/killed"
expect 0 '' "${long[@]}" --threads 1 -o "$work/killed" --resume --json
cmp -s "$work/whole/model.safetensors" "$work/killed/model.safetensors" || fail "resumed after kill -9, the weights differ"
# SIGTERM
"${long[@]}" -o "$work/stopped" >/dev/null 2>"$work/stderr" &
pid=$!
for _ in $(seq 200); do [ -e "$work/stopped.state" ] && break; sleep 0.02; done
kill -TERM $pid; wait $pid
code=$?
[ $code = 143 ] || [ $code = 0 ] || fail "a stopped training exits with $code"
[ $code = 0 ] || grep -q -- '--resume goes on' "$work/stderr" || fail "nothing tells how to go on"
[ $code = 0 ] || expect 0 '' "${long[@]}" -o "$work/stopped" --resume
cmp -s "$work/whole/model.safetensors" "$work/stopped/model.safetensors" || fail "resumed after a stop, the weights differ"

# all outputs appear together, or the next --resume finishes them
slow=("${tune[@]:0:9}" --epochs 40 --steps 100 --save-every 1 --lora 4 --threads 1 --save-adapter "$work/adapter2")
"${slow[@]}" -o "$work/two" >/dev/null 2>"$work/stderr" &
pid=$!
for _ in $(seq 1000); do [ -e "$work/two.state" ] && break; sleep 0.02; done
mkdir "$work/two"; echo mine >"$work/two/file" # somebody takes the name while it trains
wait $pid && fail "an output took the place of somebody's folder"
grep -q 'exists already' "$work/stderr" && grep -q -- '--resume writes its outputs' "$work/stderr" || fail "a taken name: $(cat "$work/stderr")"
[ "$(cat "$work/two/file")" = mine ] && [ -e "$work/two.state" ] || fail "a taken name: a file or the state is lost"
expect 1 'is not what this training writes' "${slow[@]}" -o "$work/two" --resume
rm -r "$work/two"
[ -e "$work/adapter2/adapter_model.safetensors" ] || fail "the adapter was not there before the model"
cp "$work/two.state" "$work/kept.state"
expect 0 '' "${slow[@]}" -o "$work/two" --resume # as after a kill between the two
[ -s "$work/two/loss.svg" ] && [ ! -e "$work/two.state" ] || fail "--resume did not finish the outputs"
cp "$work/kept.state" "$work/two.state" # as after a kill before the state was removed
expect 0 '' "${slow[@]}" -o "$work/two" --resume
[ ! -e "$work/two.state" ] || fail "--resume left the state of a training whose outputs are there"
cp "$work/kept.state" "$work/two.state"; echo >>"$work/two/pare.json"
expect 1 'is not what this training writes' "${slow[@]}" -o "$work/two" --resume
[ -e "$work/two.state" ] || fail "the state is lost"
rm -r "$work/two" "$work/two.state"
begin() { # stops after some steps
    "${slow[@]}" -o "$work/two" --force >/dev/null 2>&1 &
    pid=$!
    for _ in $(seq 1000); do [ -e "$work/two.state" ] && break; sleep 0.02; done
    kill -9 $pid; wait $pid 2>/dev/null
}
begin
expect 1 'of 100 steps are done, but an output of this training exists already' "${slow[@]}" -o "$work/two" --resume # the adapter
rm -r "$work/adapter2" "$work/two.state"
"${tune[@]}" --lora 4 --threads 1 -o "$work/three" >/dev/null 2>&1 &
pid=$!
while kill -0 $pid 2>/dev/null && [ ! -e "$work/three" ]; do :; done
[ -s "$work/three/loss.svg" ] && [ -s "$work/three/pare.json" ] || fail "the model appeared before its picture"
wait $pid

# a model from nothing
sed 's/"vocab_size": 4096/"vocab_size": 320/' "$SOURCE/examples/tiny.json" >"$work/tiny.json"
expect 0 '' "$PARE" train --config "$work/tiny.json" --tokenizer "$model" --data "$work/text.txt" --seq 32 --batch 4 --steps 20 -o "$work/tiny" --json
expect 0 '' "$PARE" eval "$work/tiny" --text "$work/text.txt" --protocol joined32 --json
sed 's/4096/100/' "$SOURCE/examples/tiny.json" >"$work/small.json"
expect 1 'vocab_size is 100, but the tokenizer' "$PARE" train --config "$work/small.json" --tokenizer "$model" \
    --data "$work/text.txt" -o "$work/no"

# what is refused
expect 2 '--data FILE is missing' "$PARE" finetune "$model" -o "$work/no"
expect 2 'too many arguments' "$PARE" finetune "$model" "$work/text.txt" -o "$work/no"
expect 2 'too many arguments' "${tune[@]}" --steps 5 "$work/text.txt" -o "$work/no"
expect 2 '-o OUT is missing' "$PARE" finetune "$model" --data "$work/text.txt"
expect 1 'exists already' "${tune[@]}" -o "$work/lora"
expect 1 'epochs allows repeats' "$PARE" finetune "$model" --data "$work/text.txt" --seq 32 --tokens 1M -o "$work/no"
expect 1 'no state to go on from' "${tune[@]}" -o "$work/no" --resume
expect 2 'schedule "stairs"' "${tune[@]}" --schedule stairs -o "$work/no"
expect 2 'none of q_proj' "${tune[@]}" --targets q_proj,x_proj -o "$work/no"
expect 2 'are LoRA' "${tune[@]}" --full --adapter "$work/adapter" -o "$work/no"
expect 1 'a rank of 4096 is not possible' "${tune[@]}" --lora 4096 -o "$work/no"
expect 1 'cannot teach' "${tune[@]}" --teacher "$fixtures/mistral" -o "$work/no"
expect 1 'model knows 512 positions' "${tune[@]}" --seq 600 --epochs 9 -o "$work/no"
: >"$work/empty.txt"
expect 1 'empty' "$PARE" finetune "$model" --data "$work/empty.txt" -o "$work/no"
expect 1 'not finite' "${tune[@]}" --full --lr 1e30 --clip 0 --warmup 0 --steps 12 -o "$work/no"
[ -e "$work/no.state" ] || fail "a diverged training kept no state"
rm -f "$work/no.state"
(ulimit -f 20; "${tune[@]}" --full -o "$work/no" >/dev/null 2>"$work/stderr") && fail "a full disk went unseen"
grep -q 'no.state' "$work/stderr" || fail "a full disk: the message names no file: $(cat "$work/stderr")"
[ -e "$work/no" ] && fail "something refused left an output"
ls "$work"/no.state.* "$work"/*.partial* 2>/dev/null && fail "temporary files are left"
finish
