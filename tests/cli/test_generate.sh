# pare generate: streamed text, JSON, two models side by side, and what it refuses.
. "$(dirname "$0")/lib.sh"
large=$SOURCE/models/pare-llama-431k small=$SOURCE/models/pare-llama-40k
"$PARE" generate "$large" -p 'The government of' --tokens 12 -q >"$work/out.txt" || fail "generate"
grep -q '^The government of ' "$work/out.txt" || fail "the text begins with the prompt: $(cat "$work/out.txt")"
"$PARE" generate "$large" -p 'The government of' --tokens 12 --json >"$work/out.json"
python3 - "$work/out.json" "$work/out.txt" <<'PY' || fail "generate --json"
import json, sys
out = json.load(open(sys.argv[1]))
assert len(out["ids"]) == 12 and out["prompt_tokens"] == 4 and not out["stopped"], out
assert "The government of" + out["text"] == open(sys.argv[2]).read()[:-1], out
PY
printf 'The government of' >"$work/prompt.txt"
"$PARE" generate "$large" --prompt-file "$work/prompt.txt" --tokens 12 -q | cmp - "$work/out.txt" || fail "--prompt-file"
for threads in 1 2; do
    "$PARE" generate "$large" -p 'In the year' --tokens 20 --temperature 0.9 --top-p 0.9 --seed 4 -t $threads -q >"$work/drawn$threads.txt"
done
cmp "$work/drawn1.txt" "$work/drawn2.txt" || fail "the same seed gives the same text at any thread count"
"$PARE" generate "$large" -p 'The government of' --tokens 12 --beside "$small" -q >"$work/both.txt" || fail "--beside"
[ "$(grep -c ' | ' "$work/both.txt")" -ge 2 ] || fail "two columns: $(cat "$work/both.txt")"
expect 2 'prompt once' "$PARE" generate "$large"
expect 2 'prompt once' "$PARE" generate "$large" -p a --prompt-file "$work/prompt.txt"
expect 1 'no token' "$PARE" generate "$large" -p ''
expect 1 'positions' "$PARE" generate "$large" -p a --tokens 100000
expect 1 'top_p' "$PARE" generate "$large" -p a --top-p 1.5
expect 1 'no chat template' "$PARE" generate "$large" -p hello --chat
