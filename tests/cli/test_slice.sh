# slice: what is written in pare's own format evaluates as it was, trains and merges; and what is said where it cannot go.
. "$(dirname "$0")/lib.sh"
text=$SOURCE/tests/eval/fixtures/text.txt
model=$SOURCE/models/pare-qwen2-40k
cut=(compress "$model" --method slice --calibrate "$text" --windows 4 --length 64 --ratio 0.25 --multiple 4 --type f32)

expect 2 'give --own-format. The method slice-global makes a plain Llama' "$PARE" "${cut[@]}" -o "$work/out"
[ ! -e "$work/out" ] || fail "something was left"
expect 0 'keeps 36 of 48 residual coordinates of each norm' "$PARE" "${cut[@]}" --plan
expect 0 '' "$PARE" "${cut[@]}" --own-format -o "$work/sliced"
python3 - "$work/sliced" <<'END' || fail "sliced: config.json, pare.json or shapes"
import json, sys
config, note = (json.load(open(f"{sys.argv[1]}/{name}")) for name in ("config.json", "pare.json"))
assert config["model_type"] == "pare" and config["pare"]["shortcuts"] is True and config["hidden_size"] == 36
data = open(sys.argv[1] + "/model.safetensors", "rb").read()
tensors = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
assert tensors["model.layers.1.mlp.shortcut.weight"]["shape"] == [36, 36]
n = sum(t["data_offsets"][1] - t["data_offsets"][0] for name, t in tensors.items() if name != "__metadata__") // 4
assert n == note["size"]["parameters"], (n, note["size"])
END
expect 0 'shortcuts' "$PARE" info "$work/sliced"
expect 0 '' "$PARE" "${cut[@]}" --ratio 0 --own-format -o "$work/same"
close "$(loss "$work/same")" "$(loss "$model")" "slice at ratio 0"

before=$(loss "$work/sliced")
train=(--data "$text" --steps 20 --epochs 4 --seq 32 --batch 2 --type f32 --quiet)
expect 0 '' "$PARE" finetune "$work/sliced" --full "${train[@]}" -o "$work/full"
python3 -c 'import sys; sys.exit(not float(sys.argv[1]) < float(sys.argv[2]))' "$(loss "$work/full")" "$before" || fail "training did not help"
expect 0 '' "$PARE" finetune "$work/sliced" --lora 2 "${train[@]}" --save-adapter "$work/adapter" -o "$work/lora"
expect 0 '' "$PARE" merge "$work/sliced" "$work/adapter" --type f32 -o "$work/merged"
close "$(loss "$work/merged")" "$(loss "$work/lora")" "merged by hand and by finetune"

expect 1 'a rotation for each norm' "$PARE" export "$work/sliced" --type f32 -o "$work/sliced.gguf"
expect 1 'rotated at each norm already' "$PARE" compress "$work/sliced" --method random --ratio 0.2 -o "$work/out"
[ ! -e "$work/out" ] && [ ! -e "$work/sliced.gguf" ] || fail "something was left"

# a shortcut that is no square of the width, and a word that is none
edit_config() { python3 -c 'import json, sys
path, change = sys.argv[1] + "/config.json", sys.argv[2]
c = json.load(open(path)); exec(change); json.dump(c, open(path, "w"))' "$1" "$2"; }
cp -r "$work/sliced" "$work/bad"
edit_config "$work/bad" 'c["pare"]["shortcuts"] = False'
expect 1 'shortcut' "$PARE" info "$work/bad"
edit_config "$work/bad" 'c["pare"]["shortcuts"] = "yes"'
expect 1 'shortcuts' "$PARE" info "$work/bad"

# what each method would take on a model
expect 0 'gradients, .* of memory' "$PARE" methods "$model"
expect 0 'a rotation for each norm' "$PARE" methods
expect 1 'missing' "$PARE" methods "$work/missing"
finish
