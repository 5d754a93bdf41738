# How much is to go, said in other words than a ratio; layers that stay whole, padded for stock programs or in pare's own format.
. "$(dirname "$0")/lib.sh"
text=$SOURCE/tests/eval/fixtures/text.txt
model=$SOURCE/models/pare-llama-139k
loss() {
    expect 0 '' "$PARE" eval "$1" --text "$text" --protocol joined48 --windows 3 --json --threads 1
    json cross_entropy
}
plan() { expect "$1" "$2" "$PARE" compress "$model" --method random --multiple 1 --plan "${@:3}"; }

plan 0 '' --params 190k --json
after=$(json size.parameters)
[ "$after" -le 190000 ] && [ "$after" -gt 188000 ] || fail "--params 190k left $after"
plan 0 '' --macs 150000 --json
[ "$(json size.macs)" -le 150000 ] || fail "--macs left $(json size.macs)"
plan 0 '' --bytes 0.38M --type bf16 --json
[ "$(json size.parameters)" -le 190000 ] || fail "--bytes left $(json size.parameters)"
plan 0 '' --bytes 300KiB --json
[ "$(json sizes.output.bytes)" -le 307200 ] && [ "$(json sizes.output.bytes)" -gt 300000 ] || fail "--bytes 300KiB left $(json sizes.output.bytes)"
plan 0 '' --bytes 180kB --as q8_0 --json # vectors are f32 in a GGUF file, and rows that are no whole blocks f16
[ "$(json sizes.output.q8_0)" -le 180000 ] || fail "--bytes 180kB --as q8_0 left $(json sizes.output.q8_0)"
plan 1 '1000 bytes cannot be reached by cutting FFN neurons alone: the smallest sizes are [0-9]+ bytes' --bytes 1k
plan 0 'nothing is removed, because the whole model is within --bytes 1G already' --bytes 1G
plan 2 'a number like 150000000, 150M, 150MiB or 1.5G' --bytes 100MiBs
plan 2 'bytes are counted as' --bytes 1M --as q9
plan 2 'bytes N is missing' --params 1M --as q8_0
plan 2 'for 30 % write --ratio 0.3' --ratio 30
plan 1 'cannot be reached by cutting FFN neurons alone: the smallest sizes are [0-9]+ and [0-9]+' --params 1k
plan 2 'one of them says how much' --params 1M --ratio 0.2
plan 2 'a number like' --params many
plan 2 'ratio R is missing'

expect 0 'padded with zeros' "$PARE" compress "$model" --method magnitude --ratio 0.5 --keep-layers 0 --type f32 -o "$work/padded"
expect 0 '' "$PARE" compress "$model" --method magnitude --ratio 0.5 --keep-layers 0 --type f32 --own-format -o "$work/own"
[ "$(loss "$work/padded")" = "$(loss "$work/own")" ] || fail "padded $(loss "$work/padded"), own $(loss "$work/own")"
python3 - "$work" <<'END' || fail "what is written of layers that differ"
import json, sys
padded, own = (json.load(open(f"{sys.argv[1]}/{n}/config.json")) for n in ("padded", "own"))
widths = [layer["intermediate_size"] for layer in own["pare"]["layers"]]
assert own["model_type"] == "pare" and widths[0] == own["intermediate_size"] and widths[1] < widths[0], widths
assert padded["model_type"] == "llama" and "pare" not in padded and padded["intermediate_size"] == widths[0]
notes = [json.load(open(f"{sys.argv[1]}/{n}/pare.json")) for n in ("padded", "own")]
assert notes[0]["kept_units"] == notes[1]["kept_units"] and len(notes[0]["kept_units"][1]) == widths[1]
assert notes[0]["achieved"]["parameters"] == 0 < notes[1]["achieved"]["parameters"]
END
expect 1 'different shapes' "$PARE" export "$work/own" --type f32 -o "$work/own.gguf"
expect 1 'the layers of this model differ' "$PARE" compress "$work/own" --method random --ratio 0.2 -o "$work/again"
for bad in 99 1-0 x 1, -1; do
    expect 2 'keep-layers|like 0-2,29' "$PARE" compress "$model" --method random --ratio 0.5 "--keep-layers=$bad" --plan
done
expect 2 'no layer can be kept whole' "$PARE" compress "$model" --method magnitude-channels --ratio 0.5 --keep-layers 1 --plan
expect 0 'what is left: [0-9]+ layers with [0-9]+ FFN neurons' "$PARE" compress "$model" --method surgeon-all --calibrate "$text" --windows 4 \
    --length 64 --ratio 0.4 --multiple 8 -o "$work/all"
[ "$(python3 -c 'import json, sys; print(abs(json.load(open(sys.argv[1]))["achieved"]["non_embedding"] - 0.4) < 0.05)' "$work/all/pare.json")" = True ] ||
    fail "surgeon-all removed something else than was asked for"

# a shape in numbers
cut() { expect "$1" "$2" "$PARE" compress "$model" --method "$3" --calibrate "$text" --windows 4 --length 64 --plan "${@:4}"; }
width=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["intermediate_size"])' "$model/config.json")
cut 0 '' magnitude --ffn 40 --json
[ "$(json kept.0)" = 40 ] || fail "--ffn 40 kept $(json kept.0)"
cut 0 '' shortgpt --layers 2 --json
[ "$(json kept.0)" = 2 ] || fail "--layers 2 kept $(json kept.0)"
cut 0 '' slice-global --channels 32 --json
[ "$(json kept.0)" = 32 ] || fail "--channels 32 kept $(json kept.0)"
cut 0 '3 layers with 48 FFN neurons' taylor-all --ffn 48 --layers 3
cut 0 'with 48 FFN neurons' surgeon-all --ffn 48
cut 2 'surgeon-all keeps all layers' surgeon-all --ffn 48 --layers 2
cut 1 "from 1 to $width are possible" magnitude --ffn 100000
cut 1 'multiples of [0-9]+ up to [0-9]+ are possible' magnitude-heads --heads 1
cut 2 'cuts layers alone: --layers N' shortgpt --ffn 40
cut 2 'cuts FFN neurons alone: --ffn N' magnitude --ffn 40 --layers 2
cut 2 'one of them says how much' magnitude --ffn 40 --ratio 0.5
cut 2 'not counted by a shape' svd --ffn 40
cut 0 'removes nothing: there are' magnitude-groups --ratio 0.1
cut 0 'would leave less than the 1 of 2 key-value heads' magnitude-groups --ratio 0.9
for zero in ffn heads groups channels layers; do
    cut 1 "--$zero 0: (multiples of [0-9]+ up to|from 1 to) [0-9]+ are possible" magnitude --$zero 0
    cut 2 'one of them says how much' magnitude --$zero 0 --ratio 0.5
done
cut 0 '' magnitude --ratio 0.5 --keep-blocks 0 --multiple 1 --json
[ "$(json kept.0)" = "$width" ] || fail "--keep-blocks 0 kept $(json kept.0) of $width"

# counts that differ between layers
cut 2 'uniform, global or sensitivity' magnitude --ratio 0.5 --allocation fair
cut 2 'allocations are for FFN neurons' shortgpt --ratio 0.5 --allocation sensitivity
cut 2 'has no scores' surgeon --ratio 0.5 --allocation global
plan 2 'needs a calibration text' --ratio 0.5 --allocation sensitivity
for allocation in global sensitivity; do
    cut 0 '' magnitude --ratio 0.5 --multiple 1 --allocation $allocation --json
    [ "$(json allocation)" = "\"$allocation\"" ] || fail "allocation $(json allocation)"
    python3 -c 'import json, sys; k = json.load(sys.stdin)["kept"]; w = int(sys.argv[1]); assert len(set(k)) > 1 and 0 <= (w // 2) * len(k) - sum(k) < w // 32, k' \
        "$width" <"$work/stdout" || fail "$allocation shares out something else than half"
done
expect 0 'padded with zeros' "$PARE" compress "$model" --method flap --ratio 0.5 --allocation sensitivity --calibrate "$text" --windows 4 \
    --length 64 --keep-layers 1 --type f32 -o "$work/padded2"
expect 0 '' "$PARE" compress "$model" --method flap --ratio 0.5 --allocation sensitivity --calibrate "$text" --windows 4 --length 64 \
    --keep-layers 1 --type f32 --own-format -o "$work/own2"
[ "$(loss "$work/padded2")" = "$(loss "$work/own2")" ] || fail "allocated: padded $(loss "$work/padded2"), own $(loss "$work/own2")"

cut 0 'keeps [0-9]+ to [0-9]+ of [0-9]+ FFN neurons in each of [0-9]+ layers, [0-9.]+ on average:( [0-9]+)+' magnitude --ratio 0.5 --multiple 1 \
    --allocation global
params=(--params 190k --multiple 1 --json)
cut 0 '' magnitude "${params[@]}"
uniform=$(json size.parameters)
cut 0 '' magnitude "${params[@]}" --allocation global --own-format
shared=$(json size.parameters)
[ "$shared" -le "$uniform" ] && [ "$shared" -gt $((uniform - 3000)) ] || fail "--params 190k: uniform left $uniform, shared out $shared"

# where odd numbers of heads can run, said before any work
heads() { expect "$1" "$2" "$PARE" compress "$3" --method "$4" --calibrate "$text" --windows 4 --length 64 --multiple 8 "${@:5}"; }
large=$SOURCE/models # of width 160 with 10 query and 2 key-value heads
heads 0 'written as a Mistral, the same network' "$large/pare-llama-1.31M" magnitude-heads --plan --heads 6
heads 0 'pare export writes it for llama.cpp' "$large/pare-qwen2-1.31M" magnitude-heads --plan --heads 6
heads 1 '3 query heads: multiples of 2 up to 10' "$large/pare-llama-1.31M" magnitude-heads --plan --heads 3
heads 1 'with biases only where its heads divide the width .2, 4, 8, 10.' "$large/pare-llama-1.31M" flap-heads --plan --heads 6
heads 0 'keeps 2 of 5 query heads' "$large/pare-llama-1.31M" flap-heads --plan --heads 4
heads 0 '' "$large/pare-llama-1.31M" flap --ratio 0.5 -o "$work/biased"
heads 1 'with biases only where its heads divide the width' "$work/biased" magnitude-heads --plan --heads 6
heads 0 '' "$work/biased" magnitude-heads --heads 4 -o "$work/biased4"

# what is written beside what the uncut model would be
size() { expect 0 '' "$PARE" export "$1" --type "$2" -o "$work/size.gguf" --json; python3 - "$work/size.gguf" <<'PY'
import struct, sys
data = open(sys.argv[1], "rb").read()  # the weights: from the end of the descriptions on
print(len(data))
PY
    rm "$work/size.gguf"; }
large=$SOURCE/models/pare-llama-1.31M
expect 0 '' "$PARE" compress "$large" --method magnitude --ratio 0.2 -o "$work/sized" --json
for type in q8_0 q4_0; do
    said=$(json sizes.output.$type); whole=$(json sizes.source.$type)
    cp "$work/stdout" "$work/kept"
    for pair in "$work/sized:$said" "$large:$whole"; do
        file=$(size "${pair%:*}" $type)
        [ "${pair##*:}" -lt "$file" ] && [ $((file - ${pair##*:})) -lt 60000 ] || fail "$type of ${pair%:*}: $file bytes in the file, said $pair"
    done
    cp "$work/kept" "$work/stdout"
done
[ "$(json sizes.smaller_uncut.type)" = '"q8_0"' ] || fail "what is smaller uncut: $(json sizes.smaller_uncut)"
expect 0 '' "$PARE" export "$large" --type q4_1 -o "$work/q4_1.gguf"
expect 0 'The output would be larger than the source' "$PARE" compress "$work/q4_1.gguf" --method magnitude --ratio 0.2 --plan
expect 0 'The uncut model as q4_0 is smaller than the output: pare export .*q4_1.gguf --type q4_0' "$PARE" compress "$work/q4_1.gguf" \
    --method magnitude --ratio 0.2 --plan
expect 0 '' "$PARE" compress "$work/q4_1.gguf" --method magnitude --ratio 0.2 --plan --json
[ "$(json sizes.source.bytes)" -lt "$(json sizes.output.bytes)" ] && [ "$(json sizes.smaller_uncut.type)" = '"q4_0"' ] ||
    fail "sizes of a quantised source: $(json sizes)"
# a plan looks at no text and no weights: a text that is too short for its windows is none of its business
head -c 40 "$text" >"$work/short.txt"
for method in wanda-sp surgeon-all svd slice slice-global flap; do # and needs none
    expect 0 '' "$PARE" compress "$large" --method $method --ratio 0.2 --plan --json
    keys sizes.source.bytes sizes.output.bytes achieved.macs size.parameters
done
expect 0 'keeps 320 of 416' "$PARE" compress "$large" --method wanda-sp --ratio 0.2 --plan --calibrate "$work/short.txt"
expect 0 'numbers of FFN neurons, heads and layers are chosen during the work' "$PARE" compress "$large" --method auto --ratio 0.3 --plan --calibrate "$text"

# the method that measurements recommend
cut 0 'auto: surgeon-all, which lost least of [0-9]+ methods' auto --ratio 0.3 --multiple 1 --windows 16
cut 0 '' auto --params 190k --multiple 1 --windows 16 --json
after=$(json size.parameters)
[ "$(json method)" = '"surgeon-all"' ] && [ "$after" -le 190000 ] || fail "auto took $(json method), left $after"
expect 0 'better methods need a calibration text' "$PARE" compress "$model" --method auto --ratio 0.3 --multiple 1 --plan
cut 2 'a shape names its method' auto --ffn 40
auto() { expect 1 "$2" "$PARE" compress "$1" --method auto --plan "${@:3}"; }
auto "$work/q4_1.gguf" 'small enough without a cut: its weights take .* as q4_1' --bytes 1M
auto "$work/q4_1.gguf" 'small enough without a cut: its weights take .* as q8_0 .pare export' --bytes 1.6M --as q8_0
auto "$large" 'small enough without a cut: it has 1,471,200 parameters' --params 1.5M
auto "$large" 'alone of the methods that were measured .* nothing to compare it with' --bytes 1MiB
cut 1 'no method' auto --ratio 0.99
finish
