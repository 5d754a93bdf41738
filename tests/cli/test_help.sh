# Every command explains itself with an example; wrong usage exits with 2 and names the way out.
. "$(dirname "$0")/lib.sh"
expect 0 'Usage: pare COMMAND' "$PARE" --help
expect 0 '^pare [0-9]' "$PARE" --version
expect 0 '^pare [0-9]' "$PARE" version
expect 0 '^Usage: pare compress ' "$PARE" help compress
expect 0 '^Usage: pare study run SPEC' "$PARE" help study run
expect 2 'unknown command "nonsense"' "$PARE" help nonsense
expect 2 'too many arguments' "$PARE" help a b c
expect 2 'a command is missing' "$PARE"
expect 2 'did you mean compress' "$PARE" compres
expect 0 'shortgpt' "$PARE" methods
expect 0 '"unit": "query heads"' "$PARE" methods --json
expect 0 'ratio counts  the FFN neurons of each layer' "$PARE" methods wanda-sp
expect 0 '"ratio_counts": "the weights of each matrix"' "$PARE" methods svd --json
expect 2 'did you mean wanda-sp\? The methods are random, ' "$PARE" methods wanda
expect 2 'compress --method auto' "$PARE" methods auto
expect 1 'No such file' "$PARE" methods ./nothing
commands=$("$PARE" --help | sed -n 's/^  \([a-z]*\) .*/\1/p')
for command in compress finetune merge methods study train version; do grep -qx "$command" <<<"$commands" || fail "pare --help does not name $command"; done
for command in $commands; do
    expect 0 '^Example:' "$PARE" "$command" --help
    grep -qE "^  pare $command" "$work/stdout" || fail "$command --help has no example of it"
    cp "$work/stdout" "$work/help.$command"
    expect 2 'unknown option "--nonsense"' "$PARE" "$command" --nonsense
    case $command in methods | version | train | tasks) ;; *) expect 2 'an argument is missing|too many' "$PARE" "$command" ;; esac
    # what the help names is taken, as is
    for row in $(sed -nE 's/^  (-.,|   ) --([a-z0-9-]+)( [A-Z]+)?( .*)?$/\2\3/p' "$work/help.$command" | sed 's/ /:/'); do
        [ "${row%:*}" = "$row" ] && value=() || value=(1)
        expect 0 '^Usage' "$PARE" "$command" "--${row%:*}" "${value[@]}" --help
    done
    # and what the source has a row for is in the help
    sources=$SOURCE/src/cli/cmd_$command.c
    case $command in train | finetune) sources="$sources $SOURCE/src/cli/training.c" ;; esac
    # shellcheck disable=SC2086
    for name in $(sed -nE 's/^.*\{"([a-z0-9-]+)", [^ ]+, OPTION_.*/\1/p' $sources); do
        grep -qE -- "^  (-.,|   ) --$name( |\$)" "$work/help.$command" || fail "$command takes no --$name"
    done
done
for subcommand in run status export; do
    expect 0 "^Usage: pare study $subcommand " "$PARE" study "$subcommand" --help
    grep -qE "^  pare study $subcommand" "$work/stdout" || fail "study $subcommand --help has no example of it"
done
expect 0 '' "$PARE" study status --help
grep -q -- '--retry-failed' "$work/stdout" && fail "study status --help names an option of study run"
expect 2 'study status takes no --retry-failed' "$PARE" study status x --retry-failed
expect 2 'unknown subcommand "exprot" of pare study; did you mean export.*run, status, export' "$PARE" study exprot x
expect 2 'write a share as a fraction, here --ratio 0.3' "$PARE" compress x --ratio 30%
# what the README calls an option is one
cat "$work"/help.* >"$work/help"
for name in $(grep -oE -- '--[a-z][a-z0-9-]+' "$SOURCE/README.md" | sort -u | grep -vE -- '^--(cflags|libs|user|version)$'); do
    grep -qE -- " $name( |\$)" "$work/help" || fail "README.md names $name, which no command takes"
done
expect 2 'did you mean --protocol' "$PARE" eval x --protocl gguf512
expect 2 'a value is missing' "$PARE" eval x --text
expect 2 'not a whole number' "$PARE" eval x --threads two
expect 2 'not a number' "$PARE" compress x --ratio half
expect 2 'ratio nan: not a finite number' "$PARE" compress x --ratio nan
expect 2 'l0 inf: not a finite number' "$PARE" predict x --l0 inf

# the examples run as they are written, in a folder that looks as `make demo` leaves it (with a tiny model and shorter windows)
mkdir "$work/demo" "$work/examples" "$work/bin"
ln -s "$PARE" "$work/bin/pare"
cp -r "$fixtures/qwen2" "$work/demo/model.gguf"
cat "$SOURCE"/tests/eval/fixtures/text.txt{,,} >"$work/demo/test.txt"
cp "$work/demo/test.txt" "$work/demo/calibration.txt"
sed 's/joined2048/joined256/; s/length: 512/length: 256/; s/multiple: 32/multiple: 4/' "$SOURCE/examples/demo.yaml" >"$work/examples/demo.yaml"
head -c 300 "$SOURCE/examples/demo.yaml" >"$work/examples/short"
ln -s "$SOURCE/models" "$work/models"
for command in info methods tasks task tokenize generate logits eval compress policy export study fit predict report; do
    "$PARE" "$command" --help | sed -n '/^Example:/,$p' | grep '^  pare ' >"$work/example"
    # the tiny model has 512 positions, and random weights: it is worse than a uniform guess
    sed -i '/pare logits/s/demo.yaml/short/; s/pare fit/pare fit --include-broken/' "$work/example"
    (cd "$work" && PATH=$work/bin:$PATH bash -e "$work/example") >"$work/stdout" 2>"$work/stderr" || fail "$command's example: $(tail -1 "$work/stderr")"
done
for file in logits.f32 smaller/model.safetensors model-q8_0.gguf runs.csv law.json report.html; do [ -s "$work/$file" ] || fail "no $file from the examples"; done
finish
