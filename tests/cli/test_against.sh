# pare eval --against, and the protocol words: numbers that follow from what other commands print, and what is refused.
. "$(dirname "$0")/lib.sh"
small=$SOURCE/models/pare-llama-139k dense=$SOURCE/models/pare-llama-1.31M text=$SOURCE/LICENSE
"$PARE" task make --text "$text" -o "$work/continuation.jsonl" --items 12 --context-words 10 --choice-words 3 -q >/dev/null ||
    fail "task make"
run() { "$PARE" eval "$@" --text "$text" --protocol gguf128 --tasks continuation --data "$work" --json -q; }
run "$small" --items "$work/small.items" --against "$dense" >"$work/both.json" || fail "--against"
run "$dense" --items "$work/dense.items" >"$work/dense.json"
python3 - "$work" <<'PY' || fail "paired numbers"
import json, math, sys
work = sys.argv[1] + "/"
both, dense = (json.load(open(work + name)) for name in ("both.json", "dense.json"))
against = both["against"]
assert abs(against["dense_cross_entropy"] - dense["cross_entropy"]) < 1e-6, against
assert abs(against["difference"] - (both["cross_entropy"] - dense["cross_entropy"])) < 1e-6, against
assert 0 < against["difference_error"] < math.hypot(both["cross_entropy_error"], dense["cross_entropy_error"])
assert against["kl"] > 0 and against["kl_percentiles"]["50"] <= against["kl_percentiles"]["99"] and 0 < against["top1_agreement"] < 1
a, b = ([json.loads(line)["acc"] for line in open(work + name)] for name in ("small.items", "dense.items"))
d = [x - y for x, y in zip(a, b)]
n, mean = len(d), sum(d) / len(d)
task = against["tasks"]["continuation"]["acc"]
assert task["only_model"] == d.count(1) and task["only_dense"] == d.count(-1) and abs(task["difference"] - mean) < 1e-12, task
error = math.sqrt(sum((x - mean) ** 2 for x in d) / (n - 1) / n)
assert abs(task["difference_error"] - error) < 1e-12, (task, error)
total, least = d.count(1) + d.count(-1), min(d.count(1), d.count(-1))
p = min(1, 2 * sum(math.comb(total, k) for k in range(least + 1)) / 2 ** total)
assert abs(task["mcnemar_p"] - p) < 1e-9, (task, p)
PY
"$PARE" eval "$small" --text "$text" --protocol gguf128 --against "$dense" -q | grep -q 'KL divergence from the dense model: mean 0\.' || fail "printed"
"$PARE" eval "$small" --text "$text" --protocol words --json -q >"$work/words.json" || fail "words"
python3 - "$work/words.json" "$text" <<'PY' || fail "words"
import json, math, re, sys
out, page = json.load(open(sys.argv[1])), open(sys.argv[2]).read()
assert out["pages"] == 1 and out["bytes"] == len(page.encode()) and out["words"] == len(re.split(r"\s+", page)), out
assert abs(out["bits_per_byte"] - math.log2(out["byte_perplexity"])) < 1e-9
assert abs(math.log(out["word_perplexity"]) * out["words"] + out["log_likelihood"]) < 1e-6
PY
expect 2 'not words' "$PARE" eval "$small" --text "$text" --protocol words --against "$dense"
expect 1 'No such file' "$PARE" eval "$small" --text "$text" --against "$work/nothing"
expect 1 'tokenizer is another|tokens in its vocabulary' "$PARE" eval "$small" --text "$text" --protocol gguf128 --against "$fixtures/qwen2"
