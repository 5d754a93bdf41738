# tokenizer train: a file or a folder, what is told, what is refused; nothing half-written.
. "$(dirname "$0")/lib.sh"
text=$SOURCE/tests/eval/fixtures/text.txt
train() { "$PARE" tokenizer train "$@"; }

expect 0 '400 tokens: 1 special, 256 bytes, 143 merges' train --data "$text" --vocab 400 --min-frequency 1 -o "$work/t.json"
expect 0 '' train --data "$text" --vocab 400 --min-frequency 1 -o "$work/folder" --json
keys output vocabulary merges special.0 pre min_frequency texts bytes words different_words tokens bytes_per_token seconds max_rss_mib sha256 \
    data.0.path data.0.bytes data.0.sha256
[ "$(json vocabulary)" = 400 ] && [ "$(json sha256)" = "\"$(sha256sum <"$text" | cut -d' ' -f1)\"" ] || fail "train --json: $(cat "$work/stdout")"
tokens=$(json tokens)
cmp -s "$work/t.json" "$work/folder/tokenizer.json" || fail "file and folder differ"
expect 0 '"bos_token": "<.endoftext.>"' cat "$work/folder/tokenizer_config.json"

# the tokenizer by itself, by its folder, and in a checkpoint
for place in "$work/t.json" "$work/folder"; do
    expect 0 '' "$PARE" tokenize "$place" --text "$text"
    [ "$(wc -l <"$work/stdout")" = "$tokens" ] || fail "tokenize gives $(wc -l <"$work/stdout") ids, the training said $tokens"
done

# two files, lists in both ways; JSONL is its documents, and no word reaches from one into the next
printf '{"text": "ab"}\n\n{"text": "ab ab"}\n' >"$work/a.jsonl"
for way in "--data $work/a.jsonl $text" "--data $work/a.jsonl --data $text"; do
    # shellcheck disable=SC2086
    expect 0 '' train $way --vocab 400 -o "$work/two.json" --force --json
    [ "$(json texts)" = 3 ] && [ "$(json bytes)" = $((7 + $(wc -c <"$text"))) ] || fail "two files: $(cat "$work/stdout")"
done
expect 0 'the text gives 259 tokens, not 400: no further pair occurs 2 times' train --data "$work/a.jsonl" --vocab 400 --special '<a>,<b>' -o "$work/few.json"
expect 0 '259 tokens: 2 special, 256 bytes, 1 merges' train --data "$work/a.jsonl" --vocab 400 --special '<a>' --special '<b>' -o "$work/few.json" --force
printf '\000\377\000 \000\377\000 x' >"$work/bytes.txt"
expect 0 '' train --data "$work/bytes.txt" --vocab 300 -o "$work/bytes.json"
expect 0 '' "$PARE" tokenize "$work/bytes.json" --text "$work/bytes.txt"

printf '{"prompt": "ab", "response": "ab"}\n' >"$work/answers.jsonl"
expect 0 '259 tokens: 2 special, 256 bytes, 1 merges; from 4 bytes with 1 different' train --data "$work/answers.jsonl" --vocab 300 --special 'a b,<b>' -o "$work/few.json" --force

expect 2 'there is train' "$PARE" tokenizer run
expect 2 '--data FILE is missing' train --vocab 300 -o "$work/out"
expect 2 'too many arguments' train "$text" --vocab 300 -o "$work/out"
expect 2 '--vocab N is missing' train --data "$text" -o "$work/out"
expect 2 '-o OUT is missing' train --data "$text" --vocab 300
expect 2 '256 bytes and 2 special tokens take 258' train --data "$text" --vocab 257 --special '<a>,<b>' -o "$work/out"
expect 2 'smollm, gpt2, llama3 and qwen2' train --data "$text" --vocab 300 --pre bert -o "$work/out"
expect 2 'there twice' train --data "$text" --vocab 300 --special '<a>,<a>' -o "$work/out"
expect 2 'special token 1 is empty' train --data "$text" --vocab 300 --special '<a>,' -o "$work/out"
expect 1 'exists already' train --data "$text" --vocab 300 -o "$work/t.json"
expect 1 'exists already' train --data "$text" --vocab 300 -o "$work/folder"
expect 0 '' train --data "$text" --vocab 300 -o "$work/folder" --force
: >"$work/empty.txt"; expect 1 'empty' train --data "$work/empty.txt" --vocab 300 -o "$work/out"
expect 1 'No such file' train --data "$work/nothing" --vocab 300 -o "$work/out"
printf '{"text": "a"}\n{"other": "b"}\n' >"$work/b.jsonl"; expect 1 'b.jsonl: line 2' train --data "$work/b.jsonl" --vocab 300 -o "$work/out"
expect 1 '' train --data "$text" --vocab 300 -o "$work/no/such/folder"
(ulimit -f 4; expect 1 'cannot write|File too large' train --data "$text" --vocab 400 -o "$work/out"; exit "$failures") || fail "a full disk"
[ -z "$(ls -d "$work"/out* "$work"/*partial* 2>/dev/null)" ] || fail "something half-written was left"
finish
