# Every command explains itself with an example; wrong usage exits with 2 and names the way out.
. "$(dirname "$0")/lib.sh"
expect 0 'Usage: pare COMMAND' "$PARE" --help
expect 0 '^pare [0-9]' "$PARE" --version
expect 2 'a command is missing' "$PARE"
expect 2 'did you mean compress' "$PARE" compres
expect 0 'shortgpt' "$PARE" methods
expect 0 '"unit": "query heads"' "$PARE" methods --json
for command in info tokenize tokenizer logits eval compress policy export study fit predict report; do
    expect 0 '^Example:' "$PARE" "$command" --help
    grep -qE "^  pare $command" "$work/stdout" || fail "$command --help has no example of it"
    expect 2 'unknown option "--nonsense"' "$PARE" "$command" --nonsense
    expect 2 'something is missing|too many' "$PARE" "$command"
done
expect 2 'did you mean --protocol' "$PARE" eval x --protocl gguf512
expect 2 'a value is missing' "$PARE" eval x --text
expect 2 'not a whole number' "$PARE" eval x --threads two
expect 2 'not a number' "$PARE" compress x --ratio half

# the examples run as they are written, in a folder that looks as `make demo` leaves it (with a tiny model and shorter windows)
mkdir "$work/demo" "$work/examples" "$work/bin"
ln -s "$PARE" "$work/bin/pare"
cp -r "$fixtures/qwen2" "$work/demo/model.gguf"
cat "$SOURCE"/tests/eval/fixtures/text.txt{,,} >"$work/demo/test.txt"
cp "$work/demo/test.txt" "$work/demo/calibration.txt"
sed 's/joined2048/joined256/; s/length: 512/length: 256/; s/multiple: 32/multiple: 4/' "$SOURCE/examples/demo.yaml" >"$work/examples/demo.yaml"
head -c 300 "$SOURCE/examples/demo.yaml" >"$work/examples/short"
for command in info methods tokenize logits eval compress policy export study fit predict report; do
    "$PARE" "$command" --help | sed -n '/^Example:/,$p' | grep '^  pare ' >"$work/example"
    # the tiny model has 512 positions, and random weights: it is worse than a uniform guess
    sed -i '/pare logits/s/demo.yaml/short/; s/pare fit/pare fit --include-broken/' "$work/example"
    (cd "$work" && PATH=$work/bin:$PATH bash -e "$work/example") >"$work/stdout" 2>"$work/stderr" || fail "$command's example: $(tail -1 "$work/stderr")"
done
for file in logits.f32 smaller/model.safetensors model-q8_0.gguf runs.csv law.json report.html; do [ -s "$work/$file" ] || fail "no $file from the examples"; done
finish
