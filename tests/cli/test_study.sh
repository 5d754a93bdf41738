# A study from spec to report: run, run again, export, fit, predict, report; kill -9 in the middle; Ctrl-C.
. "$(dirname "$0")/lib.sh"
text=$SOURCE/tests/eval/fixtures/text.txt
cat >"$work/study.yaml" <<YAML
models: [$fixtures/qwen2, $fixtures/llama3]
evaluate: {text: $text, protocol: joined48}
calibrate: {text: $text, windows: 4, length: 64}
methods: [random, wanda-sp]
ratios: {from: 0.1, to: 0.9, step: 0.1}
multiple: 4
YAML
run() { "$PARE" study run "$work/study.yaml" --ledger "$work/study.ledger" --threads 1 "$@"; }

expect 0 '' "$PARE" study status "$work/study.yaml" --json
total=$(json total)
[ "$(json missing)" = "$total" ] || fail "a study that never ran is not all missing"

# killed in the middle: what is in the ledger stays, the rest is done later, nothing twice
run >/dev/null 2>&1 & pid=$!
for _ in $(seq 100); do [ "$("$PARE" study export "$work/study.ledger" 2>/dev/null | wc -l)" -gt 4 ] && break; sleep 0.02; done
kill -9 $pid; wait $pid 2>/dev/null
"$PARE" study export "$work/study.ledger" | sort >"$work/before"
expect 0 '' run --json
[ "$(json total)" = "$total" ] && [ "$(json failed)" = 0 ] || fail "the second run: $(cat "$work/stdout")"
[ $(($(json present) + $(json done))) = "$total" ] || fail "runs lost or done twice: $(cat "$work/stdout")"
"$PARE" study export "$work/study.ledger" | sort >"$work/after"
[ -z "$(comm -23 "$work/before" "$work/after")" ] || fail "a row changed after the kill"
[ "$(wc -l <"$work/after")" = $((total + 1)) ] || fail "the ledger has $(wc -l <"$work/after") lines"

expect 0 '' run --json
[ "$(json done)" = 0 ] && [ "$(json present)" = "$total" ] || fail "a third run did something"
expect 0 "$total done, 0 failed, 0 missing" "$PARE" study status "$work/study.yaml" --ledger "$work/study.ledger"
expect 0 '^model,method,l0,r,d,l' "$PARE" study export "$work/study.ledger"
cp "$work/stdout" "$work/runs.csv"
expect 0 '' "$PARE" study export "$work/study.ledger" --format json
keys runs.0.method
expect 0 '' "$PARE" study export "$work/study.ledger" --json
keys runs.0.method
expect 0 '' "$PARE" study export "$work/study.ledger" --json -o "$work/exported.csv"
[ "$(json runs)" = "$total" ] && cmp -s "$work/exported.csv" "$work/runs.csv" || fail "export -o: $(cat "$work/stdout")"
expect 2 'needs -o FILE' "$PARE" study export "$work/study.ledger" --json --format csv

# two at once: one is stopped in the middle of a run, the other does the rest and waits for that run; each run is computed once
rows() { "$PARE" study export "$1" 2>/dev/null | tail -n +2 | wc -l; }
wait_for() { # ROWS
    for _ in $(seq 300); do [ "$(rows "$work/shared.ledger")" -ge "$1" ] && break; sleep 0.02; done
}
share() { "$PARE" study run "$work/study.yaml" --ledger "$work/shared.ledger" --threads 1 --json; }
# on a busy machine the first may have done all before it can be stopped: then once more, in a new ledger
shared=
for _ in 1 2 3 4 5 6; do
    rm -f "$work"/shared.ledger*
    share >"$work/one" 2>/dev/null & one=$!
    wait_for 1
    kill -STOP $one
    before=$(rows "$work/shared.ledger")
    share >"$work/two" 2>/dev/null & two=$!
    wait_for $((before + 1))
    kill -CONT $one
    wait $one; wait $two
    cp "$work/one" "$work/stdout"; one=$(json done)
    cp "$work/two" "$work/stdout"; two=$(json done)
    [ $((one + two)) = "$total" ] || fail "of $total runs one worker did $one, the other $two"
    [ "$one" -gt 0 ] && [ "$two" -gt 0 ] && { shared=yes; break; }
done
[ "$shared" ] || fail "six times one worker did all $total runs"

# the ledger and its export give the same law
for form in v1 v1i v2 quadratic; do
    expect 0 '' "$PARE" fit "$work/study.ledger" --form $form --include-broken --json
    keys form n coefficients.0.name coefficients.0.value coefficients.0.standard_error coefficients.0.p r2 r2_kind r2_adjusted f f_p loo_error critical_ratio
    ledger_value=$(json coefficients.0.value)
    expect 0 '' "$PARE" fit "$work/runs.csv" --form $form --include-broken --json
    [ "$(json coefficients.0.value)" = "$ledger_value" ] || fail "$form: ledger and CSV differ"
done
expect 0 'one law for all [0-9]+ methods' "$PARE" fit "$work/study.ledger" --include-broken # the dense model is no method of its own
grep -q '^dense' "$work/stdout" && fail "fit: a law of the dense model"
expect 1 'runs.csv: not a law file .*pare fit LEDGER' "$PARE" predict "$work/runs.csv" --l0 3 --ratio 0.2
expect 0 'by how much each misses L - L0' "$PARE" fit "$work/study.ledger" --form v2 --include-broken -o "$work/law.json" --ratio-kind non_embedding
expect 0 'times the dense loss' "$PARE" predict "$work/law.json" --l0 6 --ratio 0.2 --method wanda-sp
expect 2 'its laws are random, wanda-sp, pooled' "$PARE" predict "$work/law.json" --l0 6 --ratio 0.2 --method nonsense
expect 1 'has no term for D' "$PARE" predict "$work/law.json" --l0 6 --ratio 0.2 --method wanda-sp --tokens 1M
expect 2 'write --ratio 0.2' "$PARE" predict "$work/law.json" --l0 6 --ratio 20 --method wanda-sp
expect 2 '--threshold X' "$PARE" predict "$work/law.json" --l0 6 --method wanda-sp
expect 0 '' "$PARE" predict "$work/law.json" --l0 6 --threshold 1.001 --method wanda-sp --json
keys critical.value critical.low critical.l0 critical.d
[ "$(json critical.l0)" = 6.0 ] || fail "the critical ratio is not at one's own L0: $(cat "$work/stdout")"
# rows that say nothing, or say it twice
head='model,method,l0,r,l'
rows='m,x,3,0.1,3.3\nm,x,3,0.2,3.7\nm,x,3,0.3,4.1\nm,x,3,0.4,4.8\n'
printf "$head\n$rows" >"$work/once.csv"; expect 0 '' "$PARE" fit "$work/once.csv" --json; once=$(json coefficients)
printf "$head\n$rows$rows$rows" >"$work/thrice.csv"; expect 0 '8 exact copies' "$PARE" fit "$work/thrice.csv"
expect 0 '' "$PARE" fit "$work/thrice.csv" --json; [ "$(json coefficients)" = "$once" ] || fail "copies of rows count"
printf "$head\n$(sed 's/,0\./,/g' <<<"$rows")" | sed 's/,\([1-4]\),/,\10,/' >"$work/percent.csv"
expect 1 'outside \[0, 1\).*line 2.*10 % is 0.1' "$PARE" fit "$work/percent.csv"
printf "$head\n$(sed 's/,3,/,0,/g' <<<"$rows")" >"$work/dense0.csv"; expect 1 'l0 is missing, not finite or not above 0' "$PARE" fit "$work/dense0.csv"
expect 0 'at L0 = 2.5, ' "$PARE" fit "$work/once.csv" --l0 2.5
printf "$head,d\n$(sed 's/\\n/,0\\n/g' <<<"$rows")$(sed 's/,\([0-9.]*\)\\n/,\1,0.1\\n/g; s/4\./3./g' <<<"$rows")" >"$work/trained.csv"
expect 0 'at L0 = 3, D = 0.1 million tokens' "$PARE" fit "$work/trained.csv" --tokens 100k
expect 1 'does not extrapolate' "$PARE" fit "$work/trained.csv" --tokens 5M

expect 0 'report.html' "$PARE" report "$work/study.ledger" -o "$work/report.html"
grep -q '</html>' "$work/report.html" || fail "the report is not whole"

# SIGTERM: exit code 143, and what was done stays
rm -f "$work/study.ledger"
setsid "$PARE" study run "$work/study.yaml" --ledger "$work/study.ledger" --threads 1 >"$work/interrupted" 2>&1 & pid=$!
for _ in $(seq 100); do [ "$("$PARE" study export "$work/study.ledger" 2>/dev/null | wc -l)" -gt 2 ] && break; sleep 0.02; done
kill -TERM $pid; wait $pid; code=$?
[ $code = 143 ] || [ $code = 0 ] || fail "an interrupted study exits with $code"
expect 0 '' run --json
[ "$(json total)" = "$total" ] || fail "after Ctrl-C"
finish
