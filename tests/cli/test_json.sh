# JSON that Python reads and a strict reader does not, in a model's files: read, told on stderr, and the same model; where a number is
# needed, one that is not finite is refused. What pare writes of it is strict JSON again.
. "$(dirname "$0")/lib.sh"
text=$SOURCE/tests/eval/fixtures/text.txt
cp -r "$fixtures/qwen2" "$work/odd"
chmod -R u+w "$work/odd"
python3 - "$work/odd" <<'END'
import sys
folder = sys.argv[1]
def add(name, more):
    text = open(f"{folder}/{name}", encoding="utf-8").read().rstrip()
    open(f"{folder}/{name}", "w", encoding="utf-8-sig").write(text[:-1] + ", " + more + "}\n")
add("config.json", '"z_loss": NaN, "limit": [0.0, Infinity], "huge": 1000000000000000019884624838656, "use_cache": true, "use_cache": true')
add("tokenizer.json", '"half": "\\ud83d", "n": -Infinity')
END
expect 0 'note: .*not strict JSON, read as Python does: config.json: 2 numbers that are not finite .*1 whole number beyond 64 bits .*repeated key' \
    "$PARE" info "$work/odd"
expect 0 'tokenizer.json: 1 number that is not finite .*1 half surrogate pair' "$PARE" info "$work/odd" --json
keys parameters.total
plain=$(loss "$fixtures/qwen2")
close "$plain" "$(loss "$work/odd")" "odd JSON"
expect 0 '' "$PARE" compress "$work/odd" --method random --ratio 0 --quiet -o "$work/out"
[ -s "$work/stderr" ] && fail "--quiet: $(cat "$work/stderr")"
python3 -c 'import json, sys
def refuse(word): raise ValueError(word)
json.load(open(sys.argv[1]), parse_constant=refuse)' "$work/out/config.json" || fail "the written config.json is not strict JSON"
sed -i 's/"rms_norm_eps": [^,}]*/"rms_norm_eps": NaN/' "$work/odd/config.json"
expect 1 'config.json: "rms_norm_eps" is not a number' "$PARE" info "$work/odd"
sed -i 's/"rms_norm_eps": NaN/"rms_norm_eps": 1e-6, "bad": "caf\xe9"/' "$work/odd/config.json"
expect 1 'config.json: not valid JSON at line .*not UTF-8' "$PARE" info "$work/odd"
finish
