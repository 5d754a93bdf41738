# Every command explains itself with an example; wrong usage exits with 2 and names the way out.
. "$(dirname "$0")/lib.sh"
expect 0 'Usage: pare COMMAND' "$PARE" --help
expect 0 '^pare [0-9]' "$PARE" --version
expect 2 'a command is missing' "$PARE"
expect 2 'did you mean compress' "$PARE" compres
for command in info tokenize logits eval compress study fit predict report; do
    expect 0 '^Example:' "$PARE" "$command" --help
    grep -qE "^  pare $command" "$work/stdout" || fail "$command --help has no example of it"
    expect 2 'unknown option "--nonsense"' "$PARE" "$command" --nonsense
    expect 2 'something is missing|too many' "$PARE" "$command"
done
expect 2 'did you mean --protocol' "$PARE" eval x --protocl gguf512
expect 2 'a value is missing' "$PARE" eval x --text
expect 2 'not a whole number' "$PARE" eval x --threads two
expect 2 'not a number' "$PARE" compress x --ratio half
finish
