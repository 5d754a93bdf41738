# svd and svd-llm: what is written as factors and as their products computes the same, trains, merges and exports; and what is said of it.
. "$(dirname "$0")/lib.sh"
text=$SOURCE/tests/eval/fixtures/text.txt
model=$SOURCE/models/pare-llama-40k
of_config() { # an expression of a folder's config.json
    python3 -c 'import json, sys; c = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1/config.json" "$2"
}
cut() { expect 0 "$1" "$PARE" compress "$model" --method svd-llm --calibrate "$text" --windows 4 --length 64 --ratio 0.3 --type f32 "${@:2}"; }

cut 'keeps 114 of 272 singular directions in each of 2 layers' --own-format -o "$work/factors"
! grep -v "of memory$" "$work/stderr" || fail "factors talk on stderr: $(cat "$work/stderr")"
cut 'warning: the factors are multiplied back .* which saves nothing' -o "$work/product"
close "$(loss "$work/factors")" "$(loss "$work/product")" "factors and their product"
[ "$(of_config "$work/factors" 'c["model_type"], c["pare"]["layers"][1]["ranks"]["up_proj"]')" = "('pare', 22)" ] || fail "config.json of factors"
[ "$(of_config "$work/product" 'c["model_type"], "pare" in c')" = "('llama', False)" ] || fail "config.json of the product"
[ "$(stat -c %s "$work/factors/model.safetensors")" -lt "$(stat -c %s "$work/product/model.safetensors")" ] || fail "factors are no smaller"

# what is said is what was written
for folder in factors product; do
    python3 - "$work/$folder" <<'END' || fail "$folder: pare.json"
import json, sys
note = json.load(open(sys.argv[1] + "/pare.json"))
factored = sys.argv[1].endswith("factors")
assert (note["achieved"]["parameters"] > 0.1) == factored, note["achieved"]
assert ("achieved_as_factors" in note) != factored
assert note["kept_units"][0]["q_proj"] == 16 and note["kept"] == [114, 114] and note["units"] == 272
header = open(sys.argv[1] + "/model.safetensors", "rb").read()
tensors = json.loads(header[8:8 + int.from_bytes(header[:8], "little")])
n = 0
for name, tensor in tensors.items():
    size = 1
    for d in tensor.get("shape", [0]):
        size *= d
    n += size
assert n == note["size"]["parameters"], (n, note["size"])
END
done
expect 0 'factors  *14 of 14 matrices are products of two, of rank 8 to 22' "$PARE" info "$work/factors"
expect 0 '' "$PARE" compress "$model" --method svd --ratio 0 --type f32 -o "$work/same"
close "$(loss "$work/same")" "$(loss "$model")" "svd at ratio 0"

# training, adapters, llama.cpp
train=(--data "$text" --steps 5 --seq 32 --batch 2 --type f32 --quiet)
expect 0 '' "$PARE" finetune "$work/factors" --full "${train[@]}" -o "$work/full"
[ "$(of_config "$work/full" 'c["pare"]["layers"][0]["ranks"]["q_proj"]')" = 16 ] || fail "full training changed the ranks"
expect 0 '' "$PARE" finetune "$work/factors" --lora 2 "${train[@]}" --save-adapter "$work/adapter" -o "$work/lora"
[ "$(of_config "$work/lora" 'c["pare"]["layers"][0]["ranks"]["q_proj"]')" = 18 ] || fail "the factors did not take the adapter up"
expect 0 '' "$PARE" merge "$work/factors" "$work/adapter" --type f32 -o "$work/merged"
close "$(loss "$work/merged")" "$(loss "$work/lora")" "merged by hand and by finetune"
expect 0 'warning: the factors are multiplied back' "$PARE" export "$work/lora" --type f32 -o "$work/lora.gguf"
close "$(loss "$work/lora.gguf")" "$(loss "$work/lora")" "factors as GGUF"

expect 1 'products of two factors already' "$PARE" compress "$work/factors" --method random --ratio 0.2 -o "$work/out"
expect 2 'needs a calibration text' "$PARE" compress "$model" --method svd-llm --ratio 0.2 -o "$work/out"
[ ! -e "$work/out" ] || fail "something was left"
finish
