# The calibration cache: the same bits with it and without, whatever has become of it.
. "$(dirname "$0")/lib.sh"
text=$SOURCE/tests/eval/fixtures/text.txt
model=$SOURCE/models/pare-llama-139k
cache=$work/a/cache
cut() { # NAME PATTERN OPTIONS…: cuts into $work/NAME with the cache
    rm -rf "${work:?}/$1"
    PARE_CACHE=$cache expect 0 "$2" "$PARE" compress "$model" --method wanda-sp --ratio 0.5 --calibrate "$text" --windows 4 --length 64 --json \
        -o "$work/$1" "${@:3}"
}
same() { cmp -s "$work/$1/model.safetensors" "$work/plain/model.safetensors" || fail "$1 is not what it is without a cache"; }
files() { find "$cache" -type f 2>/dev/null | wc -l; }

cut plain '' --no-cache
[ "$(json calibration_cached)" = false ] && [ "$(files)" = 0 ] || fail "--no-cache kept something"
cut first ''
[ "$(json calibration_cached)" = false ] && [ "$(files)" = 1 ] || fail "nothing was kept"
same first
cut second ''
[ "$(json calibration_cached)" = true ] && [ "$(files)" = 1 ] || fail "nothing was recalled"
same second
cmp -s "$work/first/pare.json" "$work/second/pare.json" || fail "the decision says where its numbers came from"
cut activation '' --method activation
[ "$(json calibration_cached)" = true ] || fail "another method does not share what was found"
cut seeded '' --seed 7
[ "$(json calibration_cached)" = false ] && [ "$(files)" = 2 ] || fail "other windows were taken for the same"

python3 - "$cache" <<'END' || fail "a calibration is no safetensors file"
import json, os, struct, sys
for name in os.listdir(sys.argv[1]):
    data = open(os.path.join(sys.argv[1], name), "rb").read()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    assert header.pop("__metadata__")["format"] == "pare-calibration" and len(header) == 9
    assert max(t["data_offsets"][1] for t in header.values()) == len(data) - 8 - length
END
for damage in 'truncate -s -9' 'truncate -s 3' 'truncate -s 0' "sed -i s/F64/F32/" 'cp /dev/null'; do
    cut second ''
    for file in "$cache"/*; do $damage "$file"; done
    cut damaged 'cached calibration is not used'
    [ "$(json calibration_cached)" = false ] || fail "a damaged file was used ($damage)"
    same damaged
done
printf 'x' | dd of="$(find "$cache" -type f | head -1)" bs=1 seek=2000 conv=notrunc 2>/dev/null
printf 'x' | dd of="$(find "$cache" -type f | tail -1)" bs=1 seek=2000 conv=notrunc 2>/dev/null
cut flipped 'cached calibration is not used'
same flipped
if [ "$(id -u)" != 0 ]; then
    chmod a-w "$cache"
    cut readonly '' --seed 9
    chmod u+w "$cache"
fi
echo >"$work/file"
cache=$work/file/below
cut nowhere 'is not kept for the next time'
same nowhere
finish
