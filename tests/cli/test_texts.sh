# Texts as every command reads them: what is none is refused by all, compressed ones and rows are read by all with a note; and chat
# templates, which messages need and outputs carry.
. "$(dirname "$0")/lib.sh"
qwen=$fixtures/qwen2
text=$SOURCE/tests/eval/fixtures/text.txt

commands() { # file: each command that reads a text, as words
    cat <<COMMANDS
eval $qwen --text $1 --protocol joined48 --windows 1
logits $qwen --text $1 -o $work/out.f32
tokenize $qwen --text $1
compress $qwen --method wanda-sp --ratio 0.5 --multiple 8 --windows 1 --length 32 --calibrate $1 -o $work/out
finetune $qwen --data $1 --steps 1 --seq 32 --batch 1 -o $work/out
finetune $qwen --data $text --eval $1 --steps 1 --seq 32 --batch 1 -o $work/out
tokenizer train --data $1 --vocab 300 -o $work/out
COMMANDS
}
each() { # code pattern file
    commands "$3" | while read -r words; do
        rm -rf "$work"/out*
        # shellcheck disable=SC2086
        expect "$1" "$2" "$PARE" $words --threads 1
        [ "$failures" = 0 ] || echo "  with $words"
        if [ "$1" != 0 ] && ls -d "$work"/out* 2>/dev/null; then fail "an output of a text that is none"; fi
        exit "$failures"
    done || fail "with $3"
}

python3 - "$work" "$text" <<'PY'
import bz2, gzip, json, sys
work, path = sys.argv[1:]
text = open(path, encoding="utf-8", newline="").read()[:1200]
lines = [line for line in text.split("\n") if line.strip()]
rows = "".join(json.dumps({"text": line}) + "\n" for line in lines)
def write(name, data):
    open(f"{work}/{name}", "wb").write(data)
write("plain.txt", text.encode())
write("notepad.txt", text.encode("utf-16"))
write("table.txt", b"PAR1" + bytes(range(256)) * 4)
write("short.txt.gz", gzip.compress(text.encode())[:-20])
write("plain.gz", gzip.compress(text.encode()))
write("rows.JSON.bz2", bz2.compress(rows.encode()))
write("rows.txt", rows.encode())
write("array.json", json.dumps([json.loads(row) for row in rows.splitlines()]).encode())
write("crlf.txt", text.replace("\n", "\r\n").encode())
write("rows.jsonl", "".join(json.dumps({"text": line + "\n" if line.strip() else ""}) + "\n" for line in text.split("\n")).encode())
turn = [{"role": "user", "content": "What is written here?"}, {"role": "assistant", "content": text[:300]}]
write("chat.jsonl", "".join(json.dumps({"messages": turn}) + "\n" for _ in range(3)).encode())
PY
each 1 'UTF-16 text.*iconv' "$work/notepad.txt"
each 1 'Parquet' "$work/table.txt"
each 1 'short.txt.gz: its gzip data end too early' "$work/short.txt.gz"
each 0 'note: .*plain.gz: gzip' "$work/plain.gz"
each 0 'rows of JSON, read by "text"' "$work/rows.JSON.bz2"
each 0 'it holds JSON rows' "$work/rows.txt"
expect 1 'line 1: it holds messages, but the model.s chat template is none of ChatML' "$PARE" finetune "$qwen" --data "$work/chat.jsonl" --steps 1 -o "$work/out"
expect 0 '' "$PARE" tokenizer train --data "$work/chat.jsonl" --vocab 300 -o "$work/chat_tokenizer"

# the same text is the same number, however it stands there
number() { expect 0 '' "$PARE" eval "$qwen" --text "$1" --protocol "$2" --windows 4 --threads 1 --json; json cross_entropy; }
plain=$(number "$work/plain.txt" joined48)
for way in plain.gz crlf.txt; do [ "$(number "$work/$way" joined48)" = "$plain" ] || fail "$way has another loss than plain.txt"; done
[ "$(number "$work/plain.gz" gguf48)" = "$(number "$work/plain.txt" gguf48)" ] || fail "plain.gz has another loss by gguf48"
[ "$(number "$work/rows.txt" joined48)" = "$(number "$work/array.json" joined48)" ] || fail "lines and an array differ"
expect 0 '' "$PARE" eval "$qwen" --text "$work/plain.txt" --protocol joined48 --windows 1 --quiet; [ ! -s "$work/stderr" ] || fail "--quiet talks"

# a study says its notes once, and refuses before it begins
cat >"$work/spec.yaml" <<YAML
models: [$qwen, $fixtures/llama3]
evaluate: {text: $work/plain.gz, protocol: joined48, windows: 2}
calibrate: {text: $work/plain.gz, windows: 2, length: 32}
methods: [wanda-sp]
ratios: [0.5]
multiple: 8
YAML
expect 0 'plain.gz: gzip' "$PARE" study run "$work/spec.yaml" --ledger "$work/study.ledger" --threads 1
[ "$(grep -c 'plain.gz: gzip' "$work/stderr")" = 1 ] || fail "notes: $(cat "$work/stderr")"
sed -i "s|plain.gz|table.txt|" "$work/spec.yaml"; expect 1 'Parquet' "$PARE" study run "$work/spec.yaml" --ledger "$work/other.ledger" --threads 1

# chat templates: messages, and what outputs carry
cp -r "$qwen" "$work/chat_model"
python3 - "$work/chat_model" <<'PY'
import json, os, sys
folder = sys.argv[1]
path = f"{folder}/tokenizer_config.json"
config = json.load(open(path)) if os.path.exists(path) else {}
chatml = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
config["chat_template"] = [{"name": "default", "template": chatml}, {"name": "in-config", "template": "C"}]
json.dump(config, open(path, "w"))
os.mkdir(f"{folder}/additional_chat_templates")
open(f"{folder}/additional_chat_templates/tool_use.jinja", "w").write("T")
os.symlink("gone", f"{folder}/additional_chat_templates/dangling.jinja")
PY
chat=$work/chat_model
expect 0 '3 rows of JSON, read by "messages"' "$PARE" finetune "$chat" --data "$work/chat.jsonl" --steps 2 --seq 64 --batch 1 -o "$work/tuned" --threads 1
expect 0 '<.im_start.>assistant' sh -c "'$PARE' tokenize '$chat' --text '$work/chat.jsonl' --pieces | cut -f2 | tr -d '\"\n'"
expect 0 '' "$PARE" compress "$chat" --method random --ratio 0.5 --multiple 8 -o "$work/cut" --threads 1
for out in tuned cut; do
    [ "$(cat "$work/$out/additional_chat_templates/tool_use.jinja")" = T ] || fail "$out has no tool_use.jinja"
    [ ! -e "$work/$out/additional_chat_templates/dangling.jinja" ] || fail "$out has a template that is not there"
done
expect 0 '' "$PARE" export "$work/cut" -o "$work/cut.gguf" --type f32
expect 0 '' "$PARE" compress "$work/cut.gguf" --method random --ratio 0 --multiple 8 -o "$work/back" --threads 1
python3 - "$work/back/tokenizer_config.json" <<'PY' || fail "chat templates through a GGUF: $(cat "$work/back/tokenizer_config.json")"
import json, sys
found = {item["name"]: item["template"] for item in json.load(open(sys.argv[1]))["chat_template"]}
assert sorted(found) == ["default", "in_config", "tool_use"] and found["tool_use"] == "T" and "im_start" in found["default"], found
PY
# a template's lines end as transformers reads them; what is no text is no template
printf '{%% for message in messages %%}\r\n{{x}}\r{%% endfor %%}' >"$work/cut/chat_template.jinja"
expect 0 '' "$PARE" export "$work/cut" -o "$work/cut.gguf" --force
grep -qaPz 'messages %}\n{{x}}\n{% endfor %}' "$work/cut.gguf" || fail "a template with CRLF"
printf 'caf\351' >"$work/cut/chat_template.jinja"
expect 1 'chat_template.jinja: is not UTF-8 text' "$PARE" export "$work/cut" -o "$work/latin.gguf"
rm "$work/cut/chat_template.jinja"
for odd in 7 '[{"template": "x"}]' '[{"name": "default", "template": 1}]' '{"default": ["x"]}' '["x"]' true; do
    python3 - "$work/cut/tokenizer_config.json" "$odd" <<'PY'
import json, sys
config = json.load(open(sys.argv[1]))
config["chat_template"] = json.loads(sys.argv[2])
json.dump(config, open(sys.argv[1], "w"))
PY
    expect 1 'tokenizer_config.json: "chat_template" is neither a text nor texts with names' "$PARE" export "$work/cut" -o "$work/odd.gguf"
done
expect 0 '' "$PARE" info "$work/cut"
# a full disk leaves nothing, the folder of templates neither: the last of them does not fit
head -c 4000000 /dev/zero | tr '\0' x >"$chat/additional_chat_templates/z.jinja"
(ulimit -f 2000; expect 1 'cannot write|File too large' "$PARE" compress "$chat" --method random --ratio 0.1 --multiple 8 -o "$work/full"; exit "$failures") || fail "a full disk"
[ -z "$(ls -d "$work"/full* 2>/dev/null)" ] || fail "something half-written was left: $(find "$work"/full*)"
finish
