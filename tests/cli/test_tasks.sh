# pare eval --tasks, pare tasks, pare task make: what they print and write, and bad input by name.
. "$(dirname "$0")/lib.sh"
model=$fixtures/qwen2 data=$SOURCE/tests/eval/fixtures/tasks
all=piqa,winogrande,hellaswag,arc_easy,arc_challenge,mmlu,boolq,openbookqa,lambada_openai,blimp
run() { "$PARE" eval "$model" --threads 1 "$@"; }

# the numbers of the harness (tests/eval compares every item)
expect 0 '' run --tasks $all --data "$data" --items "$work/items.jsonl" --json
keys model architecture tasks.piqa.items tasks.piqa.acc tasks.piqa.acc_stderr tasks.piqa.acc_norm tasks.piqa.acc_bytes tasks.piqa.chance tasks.piqa.data_sha256 \
    tasks.mmlu.groups.stem.acc tasks.mmlu.subsets.anatomy.items tasks.blimp.subsets tasks.lambada_openai.perplexity mean.acc mean.acc_norm mean.acc_stderr \
    mean.reported bos_rule fewshot limit weight_type kernels threads version items_per_s
[ "$(json tasks.winogrande.acc_norm)" = null ] || fail "winogrande has no acc_norm"
[ "$(json tasks.arc_easy.chance)" = "$(python3 -c 'print((1/4 + 1/3) / 2)')" ] || fail "chance is the mean of 1 / choices"
[ -e "$work/items.jsonl.state" ] && fail "the state of a complete run stays"
python3 - "$work/items.jsonl" "$work/stdout" <<'P' || fail "items and means"
import json, sys
items, result = [json.loads(line) for line in open(sys.argv[1])], json.load(open(sys.argv[2]))
for name, task in result["tasks"].items():
    mine = [i for i in items if i["task"] == name]
    assert len(mine) == task["items"] and [i["index"] for i in mine] == list(range(len(mine))), name
    assert abs(sum(i["acc"] for i in mine) / len(mine) - task["acc"]) < 1e-12, name
    for i in mine:
        assert set(i) == {"task", "index", "gold", "loglikelihoods", "is_greedy", "acc", "acc_norm", "acc_bytes"}
        if len(i["loglikelihoods"]) > 1:
            assert i["acc"] == float(i["loglikelihoods"].index(max(i["loglikelihoods"])) == i["gold"])
names = list(result["tasks"])
assert abs(sum(result["tasks"][n]["acc"] for n in names) / len(names) - result["mean"]["acc"]) < 1e-12
P

# the same bits with more threads, in another company, and beside a text
cp "$work/items.jsonl" "$work/first.jsonl"
expect 0 '"cross_entropy"' run --tasks boolq --data "$data" --items "$work/boolq.jsonl" --text "$SOURCE/tests/eval/fixtures/text.txt" --protocol joined48 --windows 2 --threads 2 --json
keys tasks.boolq.acc tokens_scored
grep '"boolq"' "$work/first.jsonl" | cmp -s - "$work/boolq.jsonl" || fail "an item's score depends on its company"
expect 0 'items in' run --tasks mmlu,blimp --data "$data" --limit 1
grep -qE '^mmlu +3 ' "$work/stdout" && grep -qE '^  stem +2 ' "$work/stdout" || fail "groups, and a limit of each subset"
grep -qE '^mean ' "$work/stdout" || fail "a mean over tasks"

# a state: what is scored is not scored again
expect 1 'cannot create' run --tasks piqa,boolq --data "$data" --items "$work/none/items.jsonl" --resume "$work/state"
[ -e "$work/state" ] && fail "scored before it was known where to write"
expect 2 'resume: the file has an empty name' run --tasks piqa --data "$data" --resume ''
expect 2 '--resume.*--tasks' run --text "$SOURCE/LICENSE" --resume "$work/state"

# few-shot and BOS
expect 0 '1 examples before' run --tasks mmlu --data "$data" --fewshot 1
expect 1 'there are 1 examples for mmlu, subset anatomy' run --tasks mmlu --data "$data" --fewshot 2
expect 2 'names no file of examples' run --tasks lambada_openai --data "$data" --fewshot 1
expect 1 'piqa_train.jsonl|there are 2 examples' run --tasks piqa --data "$data" --fewshot 3
expect 0 '"bos_rule": "always"' run --tasks piqa --data "$data" --bos always --json
expect 2 'default \(as the tokenizer does\), always and never' run --tasks piqa --data "$data" --bos sometimes
cp -r "$model" "$work/no_bos"
sed -i 's/"bos_token": "[^"]*"/"bos_token": null/' "$work/no_bos/tokenizer_config.json"
expect 1 'has no BOS token' "$PARE" eval "$work/no_bos" --tasks piqa --data "$data" --bos always
expect 0 '' "$PARE" eval "$work/no_bos" --tasks blimp --data "$data" --threads 1 # its EOS stands for the empty context
sed -i 's/"eos_token": "[^"]*"/"eos_token": null/' "$work/no_bos/tokenizer_config.json"
expect 1 'blimp.jsonl: document 1, choice 0: the context is empty, and the tokenizer has neither' "$PARE" eval "$work/no_bos" --tasks blimp --data "$data"

# bad input
expect 2 'nothing to evaluate on' run
expect 2 '--data DIR is missing' run --tasks piqa
expect 2 'is no folder' run --tasks piqa --data "$work/nowhere"
expect 2 'unknown task "hellswag"; did you mean hellaswag' run --tasks hellswag --data "$data"
expect 2 'piqa is given twice' run --tasks piqa,piqa --data "$data"
expect 1 'no documents for the task arc_easy: there is no' run --tasks arc_easy --data "$work"
mkdir "$work/bad"
for name in piqa boolq; do cp "$data/$name.jsonl" "$work/bad"; done
mv "$work/bad/boolq.jsonl" "$work/bad/openbookqa.jsonl"
expect 1 'openbookqa.jsonl: line 1: no field "question_stem", which the task openbookqa reads' run --tasks piqa,openbookqa --data "$work/bad"
sed -i '2s/"label": 1/"label": 2/' "$work/bad/piqa.jsonl"
expect 1 'piqa.jsonl: line 2: the answer 2 is none of the 2 choices' run --tasks piqa --data "$work/bad"
sed -i '2s/"sol1": "[^"]*"/"sol1": ""/' "$work/bad/piqa.jsonl"
expect 1 'piqa.jsonl: line 2: a choice is empty' run --tasks piqa --data "$work/bad"
sed -i '2s/$/ and more/' "$work/bad/piqa.jsonl"
expect 1 'piqa.jsonl: line 2: not valid JSON' run --tasks piqa --data "$work/bad"
python3 -c "
import json
print(json.dumps({'goal': 'g', 'sol1': 'word ' * 400, 'sol2': 'x', 'label': 0}))" >"$work/bad/piqa.jsonl"
expect 1 'piqa.jsonl: document 1, choice 0: a continuation of [0-9]+ tokens is longer than the model' run --tasks piqa --data "$work/bad"
python3 -c "
import json
print(json.dumps({'goal': 'word ' * 400, 'sol1': 'y', 'sol2': 'x', 'label': 0}))" >"$work/bad/piqa.jsonl"
expect 0 'contexts are longer than the model.s 512 positions' run --tasks piqa --data "$work/bad"

# documents packed, a task of one's own, a task out of a text
mkdir "$work/own"
python3 -c "import bz2, sys; open(sys.argv[2], 'wb').write(bz2.compress(open(sys.argv[1], 'rb').read()))" "$data/piqa.jsonl" "$work/own/piqa.jsonl.bz2"
expect 0 '' run --tasks piqa --data "$work/own" --items "$work/packed.jsonl"
grep '"piqa"' "$work/first.jsonl" | cmp -s - "$work/packed.jsonl" || fail "bzip2-ed documents give other scores"
python3 -c "
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
open(sys.argv[2], 'w', encoding='utf-8-sig').write(json.dumps(rows))" "$data/piqa.jsonl" "$work/own/piqa.jsonl"
expect 0 '' run --tasks piqa --data "$work/own" --items "$work/array.jsonl" # an array behind a byte order mark
grep '"piqa"' "$work/first.jsonl" | cmp -s - "$work/array.jsonl" || fail "an array of documents gives other scores"
rm "$work/own/piqa.jsonl"
"$PARE" tasks piqa --yaml | sed 's/^task: piqa/task: mine/' >"$work/own/mine.yaml"
expect 0 '^mine ' run --tasks "$work/own/mine.yaml" --data "$data"
expect 0 '^mine ' run --tasks mine --data "$work/own"
echo 'metric: [acc]' >>"$work/own/mine.yaml"
expect 1 'mine.yaml:[0-9]+: unknown key "metric"; did you mean metrics' run --tasks mine --data "$work/own"
expect 0 '^6 items; chance is 0.2500' "$PARE" task make --text "$SOURCE/CONTRIBUTING.md" -o "$work/own/held.jsonl" --items 6
expect 0 '^held +6 ' run --tasks held --data "$work/own"
cp "$work/own/held.jsonl" "$work/held"
"$PARE" task make --text "$SOURCE/CONTRIBUTING.md" -o "$work/own/held.jsonl" --items 6 >/dev/null
cmp -s "$work/held" "$work/own/held.jsonl" || fail "the same seed makes another task"
expect 1 'passages of 60 words; 4 are the least' "$PARE" task make --text "$SOURCE/Makefile" -o "$work/x.jsonl" --context-words 58 --choice-words 2 --items 6
expect 2 'ends in .jsonl' "$PARE" task make --text "$SOURCE/Makefile" -o "$work/x.txt"
for name in 'a b' '#x' '-' '' 'a,b' "$(printf 'x%.0s' {1..64})"; do
    expect 2 'the name is the task' "$PARE" task make --text "$SOURCE/Makefile" -o "$work/$name.jsonl" # eval could not name it
done
expect 2 'piqa is another task' "$PARE" task make --text "$SOURCE/Makefile" -o "$work/piqa.jsonl"

# the list
expect 0 '^lambada_openai$' "$PARE" tasks
expect 0 'fields  goal, label, sol1, sol2' "$PARE" tasks piqa
grep -q "to_json('piqa.jsonl')" "$work/stdout" || fail "how piqa's documents are got"
expect 0 '' "$PARE" tasks --json
keys tasks.0.name tasks.0.files tasks.0.fields tasks.0.metrics tasks.0.get
expect 2 'did you mean piqa' "$PARE" tasks piqaa
expect 0 'wikihow' "$PARE" tasks --filters
finish
