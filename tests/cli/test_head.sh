#!/bin/bash
# a head that is the embedding stored again: told, and tied when asked; and info says how a model was made, step by step
. "$(dirname "$0")/lib.sh"
qwen=$fixtures/qwen2
text=$SOURCE/tests/eval/fixtures/text.txt

# the qwen2 fixture with a head of its own that is its embedding, but for a thousandth
twin=$work/twin
mkdir "$twin"
cp "$qwen"/*.json "$twin"
python3 - "$qwen/model.safetensors" "$twin" <<'EOF'
import json, struct, sys
data = open(sys.argv[1], "rb").read()
n = struct.unpack("<Q", data[:8])[0]
head, body = json.loads(data[8:8 + n]), data[8 + n:]
e = head["model.embed_tokens.weight"]
raw = body[e["data_offsets"][0]:e["data_offsets"][1]]
values = [struct.unpack("<f", b"\0\0" + raw[i:i + 2])[0] for i in range(0, len(raw), 2)]
more = struct.pack(f"<{len(values)}f", *(v * (1 + 0.001 * (-1) ** i) for i, v in enumerate(values)))
head["lm_head.weight"] = {"dtype": "F32", "shape": e["shape"], "data_offsets": [len(body), len(body) + len(more)]}
text = json.dumps(head).encode()
open(f"{sys.argv[2]}/model.safetensors", "wb").write(struct.pack("<Q", len(text)) + text + body + more)
c = json.load(open(f"{sys.argv[2]}/config.json"))
c["tie_word_embeddings"] = False
json.dump(c, open(f"{sys.argv[2]}/config.json", "w"))
EOF
expect 0 'head +the embedding stored a second time \(0.1 % apart\): 20,480 weights' "$PARE" info "$twin"
expect 0 '' "$PARE" info "$twin" --json
[ "$(json head_is_embedding.parameters)" = 20480 ] || fail "info --json: head_is_embedding"
whole=$(json parameters.total)
expect 0 'note: the head is the embedding stored a second time.*--tie' "$PARE" compress "$twin" --method random --ratio 0.5 --multiple 8 -o "$work/untied"
expect 0 'note: embedding and head are one matrix of 20,480 weights now, f32' "$PARE" compress "$twin" --method random --ratio 0 --tie -o "$work/tied"
expect 0 '' "$PARE" info "$work/tied" --json
[ "$(json parameters.total)" = $((whole - 20480)) ] || fail "--tie left $(json parameters.total) of $whole parameters"
[ "$(json config.tie_word_embeddings)" = true ] || fail "--tie: tie_word_embeddings"
expect 0 'would be written|parameters' "$PARE" compress "$twin" --method random --ratio 0.5 --multiple 8 --tie --plan
awk -v a="$(loss "$twin")" -v b="$(loss "$work/tied")" 'BEGIN { gap = a - b; exit !(gap * gap < 1e-6) }' || fail "tying changed the loss"
expect 0 'one matrix' "$PARE" export "$twin" --type q8_0 --tie -o "$work/tied.gguf"
expect 0 'head tied to the embedding' "$PARE" info "$work/tied.gguf"
expect 1 'it is a matrix of its own and cannot be tied' "$PARE" export "$fixtures/llama3" --type q8_0 --tie -o "$work/own.gguf"
[ ! -e "$work/own.gguf" ] || fail "a refused export wrote something"
expect 0 'the head is the embedding already' "$PARE" export "$qwen" --type q8_0 --tie -o "$work/already.gguf"

# how it was made: cut, trained, exported
expect 0 '' "$PARE" compress "$qwen" --method wanda-sp --ratio 0.5 --multiple 8 --seed 3 --calibrate "$text" --windows 4 --length 64 -o "$work/cut"
expect 0 'made +cut by wanda-sp, ratio 0.5, seed 3, from .*qwen2' "$PARE" info "$work/cut"
expect 0 'calibrated on .*text.txt, 4 windows of 64 tokens, sha256' "$PARE" info "$work/cut"
expect 0 '' "$PARE" finetune "$work/cut" --data "$text" --steps 2 --seq 48 --batch 1 -o "$work/trained" --save-adapter "$work/adapter"
expect 0 'made +trained with LoRA, rank 8, steps 2' "$PARE" info "$work/trained"
expect 0 'before +cut by wanda-sp' "$PARE" info "$work/trained"
expect 0 '' "$PARE" merge "$work/cut" "$work/adapter" -o "$work/merged"
expect 0 'made +.*adapter merged into .*cut' "$PARE" info "$work/merged"
expect 0 'before +cut by wanda-sp' "$PARE" info "$work/merged"
expect 0 '' "$PARE" export "$work/trained" --type q8_0 -o "$work/trained.gguf"
expect 0 'before +cut by wanda-sp, ratio 0.5' "$PARE" info "$work/trained.gguf"
expect 0 '' "$PARE" info "$work/trained.gguf" --json
[ "$(json made.base.method)" = '"wanda-sp"' ] || fail "info --json: made $(json made)"
expect 0 '' "$PARE" compress "$work/trained.gguf" --method random --ratio 0.25 --multiple 8 -o "$work/again"
expect 0 'made +cut by random, ratio 0.25' "$PARE" info "$work/again"
expect 0 'before +cut by wanda-sp' "$PARE" info "$work/again"
expect 0 '' "$PARE" finetune "$work/trained.gguf" --data "$text" --steps 1 --seq 48 --batch 1 -o "$work/further"
expect 0 'before +trained with LoRA, rank 8, steps 2' "$PARE" info "$work/further"
finish
