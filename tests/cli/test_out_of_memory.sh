# Out of memory at one allocation: the command says so and ends with 1, or its results are those that it has with memory. A sample of the
# allocations of each command; PARE_FAULTS=all takes every one, PARE_FAULTS=N about N of each command.
. "$(dirname "$0")/lib.sh"
if grep -q '^PARE_SANITIZE:[A-Z]*=.' "$BUILD/CMakeCache.txt"; then echo "SKIP: sanitizers have a malloc of their own"; exit 77; fi
text=$SOURCE/tests/eval/fixtures/text.txt
model=$SOURCE/models/pare-llama-40k
library=$BUILD/tests/cli/libfailing_malloc.so

# what the commands below read
cat >"$work/study.yaml" <<YAML
models: [$fixtures/qwen2]
evaluate: {text: $text, protocol: joined48, windows: 2}
methods: [random]
ratios: [0.1, 0.2, 0.3]
multiple: 4
YAML
"$PARE" study run "$work/study.yaml" --ledger "$work/ledger" --threads 1 --quiet >/dev/null || fail "no ledger"
python3 - >"$work/points.csv" <<'END'
print("model,method,l0,r,l")
for model, l0 in (("a", 3.1), ("b", 2.8), ("c", 2.5)):
    for i in range(1, 7):
        print(f"{model},m,{l0},{i / 12},{l0 * (1 + 0.8 * (i / 12) ** 1.5 * (1 + 0.01 * (i * 7 % 5)))}")
END
"$PARE" fit "$work/points.csv" -o "$work/law.json" >/dev/null || fail "no law"
"$PARE" export "$model" -o "$work/model.gguf" >/dev/null 2>&1 || fail "no GGUF"

python3 - "$PARE" "$library" "$work" "$model" "$text" "${PARE_FAULTS:-24}" <<'END' || fail "out of memory"
import hashlib, os, re, shutil, subprocess, sys
pare, library, work, model, text, wanted = sys.argv[1:]
out = work + "/out"
commands = {
    "info": ["info", model, "--json", "--tensors"],
    "methods": ["methods", "--json"],
    "tokenize": ["tokenize", model, "--text", text, "--json", "--pieces"],
    "compress": ["compress", model, "--method", "magnitude-channels", "--ratio", "0.25", "--json", "-o", out],
    "rebuild": ["compress", work + "/model.gguf", "--method", "magnitude-channels", "--ratio", "0.25", "--json", "-o", out],
    "export": ["export", model, "--json", "-o", out],
    "fit": ["fit", work + "/points.csv", "--json", "-o", out],
    "predict": ["predict", work + "/law.json", "--l0", "5", "--ratio", "0.3", "--json"],
    "report": ["report", work + "/ledger", "--json", "-o", out],
    "study export": ["study", "export", work + "/ledger", "--format", "json"],
    "tokenizer train": ["tokenizer", "train", "--data", text, "--vocab", "300", "--json", "-o", out],
}
# what differs from run to run
volatile = re.compile(rb'"(seconds|max_rss_mib|tokens_per_s|created)": ?[^,\n}]*')

def run(command, fail_at=0):
    shutil.rmtree(out, ignore_errors=True)
    if os.path.exists(out): os.remove(out)
    environment = dict(os.environ, LD_PRELOAD=library, PARE_FAIL_AT=str(fail_at), PARE_FAIL_COUNT=work + "/count", OMP_NUM_THREADS="1")
    done = subprocess.run([pare, *command, "--threads", "1"], capture_output=True, env=environment, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace").strip()

def results(stdout):
    hashed = hashlib.sha256(volatile.sub(b"", stdout))
    paths = [out] if os.path.isfile(out) else sorted(os.path.join(folder, name) for folder, _, names in os.walk(out) for name in names)
    for path in paths:
        hashed.update(path.encode() + volatile.sub(b"", open(path, "rb").read()))
    return hashed.hexdigest()

wrong = tried = 0
for name, command in commands.items():
    code, stdout, told = run(command)
    assert code == 0, f"{name}: {told}"
    whole, n = results(stdout), int(open(work + "/count").read())
    # closer together at the end, where results are put together and printed
    sample = range(1, n + 1) if wanted == "all" else sorted({max(1, round(n * (1 - (i / int(wanted)) ** 2))) for i in range(int(wanted))})
    for at in sample:
        code, stdout, told = run(command, at)
        tried += 1
        reason = ("a crash" if code < 0 or code > 2 else "exit 0 with another result" if code == 0 and results(stdout) != whole
                  else "a failure without a word of memory" if code and "memory" not in told.lower()
                  else "output that failed" if code and stdout else None)
        if reason:
            wrong += 1
            print(f"{name}: allocation {at} of {n}: {reason}: exit {code}: {told[-300:]}")
print(f"{tried} allocations failed, {wrong} wrongly")
sys.exit(wrong > 0)
END
finish
