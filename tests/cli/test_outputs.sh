# Outputs: no command replaces what it reads, under any name and with --force; --force means the same everywhere; an empty folder is a fine
# -o; what killed runs left goes; of two that write the same, one succeeds; a full disk leaves nothing.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
for i in 1 2 3 4; do sed "s/^/$i /" "$SOURCE/tests/eval/fixtures/text.txt"; done >text.txt
head -c 300 text.txt >prompt.txt
cp -r "$fixtures/qwen2" model
"$PARE" export model -o model.gguf --quiet >/dev/null || fail "export"
tune=(--data text.txt --seq 32 --batch 2 --steps 2 --threads 1)
"$PARE" finetune model "${tune[@]}" --save-adapter adapter -o tuned --quiet >/dev/null || fail "finetune"
"$PARE" policy train model.gguf --episodes 1 -o kept.policy --quiet >/dev/null || fail "policy"
cat >spec.yaml <<YAML
models: [model]
evaluate: {text: text.txt, protocol: joined48, windows: 2}
methods: [random]
ratios: [0.1, 0.2, 0.3, 0.4, 0.5]
multiple: 4
ledger: runs.ledger
YAML
"$PARE" study run spec.yaml --quiet >/dev/null || fail "study"
"$PARE" study export runs.ledger -o runs.csv || fail "study export"
fit=(--include-broken --quiet)
"$PARE" fit runs.csv "${fit[@]}" -o law.json >/dev/null || fail "fit"
"$PARE" report runs.ledger -o page.html >/dev/null || fail "report"
sed 's/"vocab_size": 4096/"vocab_size": 320/' "$SOURCE/examples/tiny.json" >config.json
"$PARE" task make --text text.txt --items 5 --context-words 8 --choice-words 4 -o continuation.jsonl --quiet >/dev/null || fail "task make"
python3 -c 'import json; print(json.dumps({"text": open("text.txt").read()}))' >text.jsonl; ln text.jsonl hard.jsonl; printf 'mine' >notes
mkdir sub; ln -s ../text.txt sub/link.txt; ln text.txt hard.txt; ln -s model linked; ln runs.ledger hard.ledger

compress=(compress model --method wanda-sp --ratio 0.5 --multiple 8 --calibrate text.txt --windows 2 --length 32)
prunenet=(compress model.gguf --method prunenet --policy kept.policy --ratio 0.5 --multiple 8)
snapshot() { find . -type f ! -name std\* ! -name sums\* ! -name '*-shm' -exec sha256sum {} + | sort -k2; }
snapshot >sums.before
replaces() { # OUT COMMAND…: refused with both names, plainly and with --force, and nothing changes
    local out=$1
    shift
    for force in '' --force; do
        # shellcheck disable=SC2086
        expect 1 'which this command reads' "$PARE" "$@" -o "$out" $force
        grep -qF "pare: $out: " stderr || fail "the message does not name the output $out: $(cat stderr)"
    done
}
for out in model.gguf ./sub/../model.gguf "$work/model.gguf" prompt.txt; do replaces "$out" logits model.gguf --text prompt.txt; done
for out in model/model.safetensors linked/model.safetensors model/config.json model/tokenizer.json; do
    replaces "$out" logits model --text prompt.txt
    replaces "$out" export model
done
for out in text.txt hard.txt sub/link.txt; do
    replaces "$out" logits model --text text.txt
    replaces "$out" tokenizer train --data prompt.txt text.txt --vocab 300
    replaces "$out" "${compress[@]}"
    replaces "$out" finetune model "${tune[@]}"
    replaces "$out" finetune model --data prompt.txt --eval text.txt --seq 32 --steps 1
    replaces "$out" train --config config.json --tokenizer model --data text.txt
done
replaces config.json train --config config.json --tokenizer model --data text.txt
replaces model train --config config.json --tokenizer model --data text.txt
for out in model linked model/.; do
    replaces "$out" "${compress[@]}"
    replaces "$out" merge model adapter
    replaces "$out" finetune model "${tune[@]}"
    replaces "$out" finetune tuned --teacher model "${tune[@]}"
done
replaces model.gguf export model.gguf
replaces model.gguf policy train model.gguf
replaces adapter merge model adapter
replaces adapter finetune model --adapter adapter "${tune[@]}"
replaces kept.policy "${prunenet[@]}"
replaces tuned finetune model --data tuned/pare.json --seq 32 --steps 1 # a folder takes its files with it
for out in runs.ledger hard.ledger sub/../runs.ledger runs.ledger-wal runs.ledger-shm; do
    replaces "$out" fit runs.ledger
    replaces "$out" report runs.ledger
    replaces "$out" study export runs.ledger
    replaces "$out" study export runs.ledger --format json
done
replaces runs.csv fit runs.csv
make=(task make --items 5 --context-words 8 --choice-words 4)
for out in text.jsonl ./hard.jsonl; do replaces "$out" "${make[@]}" --text text.jsonl; done
tasks=(eval model --tasks continuation --data . --threads 1)
for out in model/config.json ./continuation.jsonl; do
    expect 1 'which this command reads' "$PARE" "${tasks[@]}" --items "$out" --force
    expect 1 'which this command reads' "$PARE" "${tasks[@]}" --resume "$out"
done
expect 1 'which this command reads' "$PARE" "${tasks[@]}" --against tuned --items tuned/config.json --force
expect 2 'are one file' "$PARE" "${tasks[@]}" --items new --resume ./new # the state goes at the end
expect 1 'no state of an evaluation' "$PARE" "${tasks[@]}" --resume notes # without a line of its own
cp text.txt words.state
expect 1 'words.state: would replace words.state' "$PARE" finetune model --data words.state --seq 32 --steps 1 -o words
rm words.state
expect 1 'would replace model' "$PARE" finetune model "${tune[@]}" --save-adapter model -o new --force
expect 2 'are one folder' "$PARE" finetune model "${tune[@]}" --save-adapter new -o new/
for cache in new ./other new.state; do
    expect 2 'a folder of its own' "$PARE" finetune model "${tune[@]}" --save-adapter other --cache "$cache" -o new
done
snapshot | diff sums.before - || fail "an input was changed"

# something of another kind: only with --force; of its own kind: replaced where it is written again and again
foreign() { # FILE COMMAND…
    local file=$1
    shift
    cp "$file" victim
    expect 1 'exists already' "$PARE" "$@" -o victim
    cmp -s "$file" victim || fail "$1 replaced $file without --force"
    expect 0 '' "$PARE" "$@" -o victim --force
    cmp -s "$file" victim && fail "$1 --force did not replace $file"
    rm -f victim
}
for file in model.gguf spec.yaml text.txt tuned/model.safetensors tuned/config.json; do
    foreign "$file" fit runs.ledger "${fit[@]}"
    foreign "$file" report runs.ledger
    foreign "$file" study export runs.ledger
done
foreign page.html fit runs.ledger "${fit[@]}"
foreign law.json report runs.ledger
foreign law.json study export runs.ledger --format json
foreign_items() { foreign_out=$1; shift; cp text.txt "$foreign_out"; expect 1 'exists already' "$PARE" "$@"; cmp -s text.txt "$foreign_out" || fail "$1 replaced $foreign_out"
    expect 0 '' "$PARE" "$@" --force; expect 0 '' "$PARE" "$@"; rm "$foreign_out"; }
foreign_items items.jsonl "${tasks[@]}" --items items.jsonl
foreign_items own.jsonl "${make[@]}" --text text.txt -o own.jsonl
foreign_items own.yaml "${make[@]}" --text text.txt -o own.jsonl
rm own.jsonl
printf '<!doctype html>\n<html><body>notes</body></html>\n' >notes.html
foreign notes.html report runs.ledger
printf 'model,method,l0,r,d,l\nmine,random,3,0.1,0,3.2\n' >own.csv # what anybody fits, and not what pare exported
foreign own.csv study export runs.ledger
foreign text.txt export model
foreign model.gguf logits model --text prompt.txt
foreign text.txt policy train model --episodes 1
cp model/tokenizer.json kept.json
expect 1 'exists already' "$PARE" tokenizer train --data text.txt --vocab 300 -o kept.json
expect 0 '' "$PARE" tokenizer train --data text.txt --vocab 300 -o kept.json --force
expect 0 '' "$PARE" fit runs.ledger "${fit[@]}" -o law.json
expect 0 '' "$PARE" report runs.ledger -o page.html
expect 0 '' "$PARE" study export runs.ledger -o runs.csv
: >empty.html
expect 0 '' "$PARE" report runs.ledger -o empty.html # nothing is lost

# folders: an empty one is filled; another of the same kind goes with --force, anything else never
whole() { expect 0 '' "$PARE" info "$1"; [ -z "$(find . -name '*.partial-*')" ] || fail "temporary files are left: $(find . -name '*.partial-*')"; }
folder() { # OUT COMMAND…
    local out=$1
    shift
    mkdir "$out" && expect 0 '' "$PARE" "$@" -o "$out" && whole "$out"
    expect 1 'exists already.*--force' "$PARE" "$@" -o "$out"
    echo old >"$out/old"
    expect 0 '' "$PARE" "$@" -o "$out" --force
    [ ! -e "$out/old" ] || fail "$1 --force left a file of the old folder"
    whole "$out"
    mkdir "$out/inner"; expect 1 'remove it yourself' "$PARE" "$@" -o "$out" --force
    rm -r "$out"
    mkdir "$out"; echo mine >"$out/mine"; expect 1 'remove it yourself' "$PARE" "$@" -o "$out" --force
    rm -r "$out"
    echo mine >"$out"; expect 1 'is a file' "$PARE" "$@" -o "$out" --force
    rm "$out"
    expect 1 'cannot create' "$PARE" "$@" -o "no/such/$out"
}
folder smaller compress model --method random --ratio 0.5 --multiple 8
folder merged merge model adapter
folder again finetune model "${tune[@]}"
mkdir words; expect 0 '' "$PARE" tokenizer train --data text.txt --vocab 300 -o words
expect 0 '' "$PARE" tokenizer train --data text.txt --vocab 300 -o words/ --force
expect 1 'remove it yourself' "$PARE" tokenizer train --data text.txt --vocab 300 -o tuned --force # a model has more to lose
expect 1 'is a folder' "$PARE" report runs.ledger -o words --force
mkdir real; ln -s real through; expect 0 '' "$PARE" merge model adapter -o through; whole real

# two at once: one result, one conflict
for way in json folder; do
    for i in 1 2; do
        { "$PARE" tokenizer train --data text.txt --vocab $((300 + i)) -o "both.$way" --quiet >/dev/null 2>"both$i"; echo $? >"code$i"; } &
    done
    wait
    [ "$(sort code1 code2 | tr '\n' ' ')" = "0 1 " ] || fail "two at once ($way): exit codes $(cat code1 code2): $(cat both1 both2)"
    cat both1 both2 | grep -q 'exists already' || fail "two at once ($way): no conflict told"
done

# the remains of dead processes go with the next run of that output, those of others stay
mkdir smaller.partial-1; echo x >smaller.partial-1/model.safetensors; echo x >page.html.partial-12-3; echo x >other.html.partial-1
expect 0 '' "$PARE" compress model --method random --ratio 0.5 --multiple 8 -o smaller
expect 0 '' "$PARE" report runs.ledger -o page.html
[ "$(find . -name '*.partial-*')" = ./other.html.partial-1 ] || fail "remains: $(find . -name '*.partial-*')"
rm other.html.partial-1

# a full disk: files can be no longer than so many KiB
rm -rf out; snapshot >sums.before
full() { # KIB COMMAND…
    grep -q '^PARE_SANITIZE:[A-Z]*=thread' "$BUILD/CMakeCache.txt" && return # it keeps its own memory in a file
    expect 1 'cannot write|File too large|disk is full|disk I/O' bash -c "ulimit -f $1; shift; \"\$@\"" full "$@"
}
full 1 "$PARE" logits model --text prompt.txt -o out
full 16 "$PARE" export model -o out
full 16 "$PARE" compress model --method random --ratio 0.1 --multiple 8 -o out
full 16 "$PARE" merge model adapter -o out
full 1 "$PARE" policy train model --episodes 1 -o out
full 4 "$PARE" tokenizer train --data text.txt --vocab 400 -o out
full 1 "$PARE" tokenizer train --data text.txt --vocab 300 -o out.json
full 100 "$PARE" report runs.ledger -o out
full 1 "$PARE" study export runs.ledger -o out
full 1 "$PARE" study run spec.yaml --ledger out
full 8 "$PARE" finetune model "${tune[@]}" -o out
snapshot | diff sums.before - || fail "a full disk left something"
finish
