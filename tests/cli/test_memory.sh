# What is said of memory before the work holds, on a model whose weights are larger than the program: never a tenth too little, and beside
# the program's own share at most a quarter too much.
. "$(dirname "$0")/lib.sh"
if grep -q '^PARE_SANITIZE:[A-Z]*=.' "$BUILD/CMakeCache.txt"; then echo "SKIP: sanitizers take memory of their own"; exit 77; fi
text=$SOURCE/tests/eval/fixtures/text.txt
model=$work/model
python3 "$SOURCE/bench/random_checkpoint.py" "$model" --layers 4 --width 768 --ffn 3072 --heads 12 --kv 4 --dim 64 --vocabulary 1024 || fail "no model"
cp "$SOURCE/models/pare-llama-40k/tokenizer.json" "$model"

for method in wanda-sp taylor-all taylor surgeon surgeon-groups svd-llm slice slice-global perplexity-layers; do
    rm -rf "$work/out"
    expect 0 '' "$PARE" compress "$model" --method "$method" --ratio 0.5 --calibrate "$text" --windows 3 --length 100 --threads 2 --json \
        --own-format -o "$work/out"
    python3 - "$method" "$(json memory_forecast_mib)" "$(json max_rss_mib)" <<'END' || fail "$method: the forecast of memory"
import sys
method, forecast, peak = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
print(f"{method}: {peak:.0f} MiB at most, {forecast:.0f} were told")
assert 0.9 * peak <= forecast <= 1.25 * peak + 40, f"{method}: {peak:.0f} MiB at most, {forecast:.0f} were told"
END
done
finish
