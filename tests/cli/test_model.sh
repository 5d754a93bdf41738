# info, tokenize, logits, eval, compress on tiny checkpoints in both formats.
. "$(dirname "$0")/lib.sh"
text=$SOURCE/tests/eval/fixtures/text.txt
qwen=$fixtures/qwen2

expect 0 'qwen2, Hugging Face' "$PARE" info "$qwen"
expect 0 '' "$PARE" info "$qwen" --json --tensors
keys architecture config.hidden_size parameters.total parameters.non_embedding bytes macs_per_token bytes_by_type can_be_cut.0.methods tensors.0.shape
expect 0 'llama, GGUF' "$PARE" info "$fixtures/llama3.gguf"

expect 0 '' "$PARE" tokenize "$qwen" --text "$text"
[ "$(wc -l <"$work/stdout")" = 680 ] || fail "tokenize: $(wc -l <"$work/stdout") ids, wanted 680"
expect 0 '' "$PARE" tokenize "$qwen" --text "$text" --pieces --json
keys tokens ids.0 pieces.0
expect 0 '' "$PARE" tokenize "$qwen" --text "$text" --pieces

printf 'A model that fits' >"$work/prompt"
expect 0 'little-endian f32' "$PARE" logits "$qwen" --text "$work/prompt" -o "$work/logits"
tokens=$("$PARE" tokenize "$qwen" --text "$work/prompt" | wc -l)
[ "$(stat -c %s "$work/logits")" = $((tokens * 320 * 4)) ] || fail "logits: wrong size"

expect 0 'perplexity' "$PARE" eval "$qwen" --text "$text" --protocol gguf64
expect 0 '' "$PARE" eval "$qwen" --text "$text" --protocol joined48 --windows 3 --json --threads 1
keys protocol cross_entropy perplexity perplexity_error tokens_in_text tokens_scored windows seconds tokens_per_s max_rss_mib data_sha256 bos \
    weight_type version context
[ "$(json tokens_scored)" = 141 ] || fail "eval: tokens_scored"
[ ! -s "$work/stderr" ] || fail "eval --json talks on stderr though it is no terminal"
dense=$(json cross_entropy)

# r = 0 gives the same model; a plan writes nothing; a cut is smaller and can be cut again
expect 0 '' "$PARE" compress "$qwen" --method random --ratio 0 -o "$work/same" --json
keys method ratio kept achieved.parameters achieved.non_embedding achieved.bytes achieved.macs size.bytes
expect 0 '' "$PARE" eval "$work/same" --text "$text" --protocol joined48 --windows 3 --json --threads 1
[ "$(json cross_entropy)" = "$dense" ] || fail "r = 0 changed the loss: $(json cross_entropy), $dense"
expect 0 'would be written' "$PARE" compress "$qwen" --method random --ratio 0.5 --multiple 8 --plan
[ ! -e "$work/plan" ] || fail "a plan wrote something"
expect 0 'of weights as bf16' "$PARE" compress "$fixtures/types.gguf" --method random --ratio 0.25 --plan
grep -q 'note: the source is quantised' "$work/stderr" && fail "a plan, which writes nothing, says what type the output will have"
expect 0 '' "$PARE" compress "$qwen" --method wanda-sp --ratio 0.5 --multiple 8 --calibrate "$text" --windows 4 --length 64 -o "$work/half" --json
[ "$(json kept.1)" = 48 ] || fail "compress: kept $(json kept)"
expect 0 '"method": "wanda-sp"' cat "$work/half/pare.json"
expect 0 '' "$PARE" info "$work/half" --json
[ "$(json config.intermediate_size)" = 48 ] || fail "compress: intermediate_size"
expect 0 '' "$PARE" eval "$work/half" --text "$text" --protocol joined48
expect 0 'magnitude fails' "$PARE" compress "$work/half" --method magnitude --ratio 0.5 --multiple 8 -o "$work/quarter"
expect 0 'output will be bf16' "$PARE" compress "$fixtures/types.gguf" --method random --ratio 0.25 -o "$work/from-gguf"
expect 0 '' "$PARE" info "$work/from-gguf" --json
grep -q bf16 "$work/stdout" || fail "a quantised source did not become bf16"

# a name of kernels that there are none of is refused, naming those that there are, even where it is one of another processor
expect 2 'PARE_KERNELS=avx1024: this processor has no such kernels; it has .*reference' env PARE_KERNELS=avx1024 "$PARE" info "$qwen"
there=$(sed -n 's/.*; it has \(.*\)\. Unset.*/\1/p' "$work/stderr" | tr -d ,)
for kernels in amx avx512 avx2 reference; do
    case " $there " in *" $kernels "*) code=0 ;; *) code=2 ;; esac
    expect $code '' env PARE_KERNELS=$kernels "$PARE" info "$qwen"
done
expect 0 '' env PARE_KERNELS= "$PARE" info "$qwen"
expect 0 '' env PARE_KERNELS=avx1024 "$PARE" --help

# every table of kernels that this processor runs gives the same loss
for kernels in $there; do
    expect 0 '' env PARE_KERNELS=$kernels "$PARE" eval "$qwen" --text "$text" --protocol joined48 --windows 3 --json
    awk -v a="$(json cross_entropy)" -v b="$dense" 'BEGIN { gap = a - b; exit !(gap * gap < 1e-10) }' ||
        fail "$kernels: cross-entropy $(json cross_entropy), $dense"
done

# the same seed, the same bits
for i in 1 2; do expect 0 '' "$PARE" compress "$qwen" --method random --ratio 0.5 --multiple 8 --seed 7 -o "$work/seed$i"; done
cmp -s "$work/seed1/model.safetensors" "$work/seed2/model.safetensors" || fail "one seed gave two models"
finish
