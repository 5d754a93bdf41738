#!/usr/bin/env bash
# What recovery wins back on a real model: cuts by two methods at two ratios, each trained by LoRA on half a million tokens at a constant
# rate, the loss on two texts followed on the way (every 50,000 tokens); then LoRA, full and distillation beside each other on one cut and
# budget. About three and a half hours on two cores; it can be stopped, and the same command goes on.
# Usage: bench/recovery.sh MODEL WORK_FOLDER CALIBRATION TEXT SECOND_TEXT DATA…
set -euo pipefail
[ $# -ge 6 ] || { sed -n '2,5p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
model=$1 work=$2 calibration=$3 first=$4 second=$5
shift 5
pare=${PARE:-$here/../build/pare}
mkdir -p "$work"

cut() { # method, ratio
    [ -d "$work/$1-$2" ] || "$pare" compress "$model" --method "$1" --ratio "$2" --calibrate "$calibration" -o "$work/$1-$2"
}
train() { # name, cut, steps of 2,000 tokens, more options
    local name=$1 cut=$2 steps=$3 resume=()
    shift 3
    [ ! -e "$work/$name.json" ] || return 0
    [ ! -e "$work/$name.state" ] || resume=(--resume)
    "$pare" finetune "$work/$cut" --data "${data[@]}" --seq 500 --batch 4 --steps "$steps" --schedule constant --warmup 10 --eval "$first" \
        --eval "$second" --eval-protocol joined2048 --eval-windows 4 --eval-every 25 --save-every 5 "${resume[@]}" "$@" -o "$work/$name" --json \
        >"$work/$name.partial"
    mv "$work/$name.partial" "$work/$name.json"
}
data=("$@")
for text in "$first" "$second"; do # the dense model under the same windows
    name=$work/dense-$(basename "$text").json
    [ -e "$name" ] || "$pare" eval "$model" --text "$text" --protocol joined2048 --windows 4 --json >"$name"
done
for method in random wanda-sp; do
    for ratio in 0.2 0.4; do
        cut "$method" "$ratio"
    done
done
for run in "wanda-sp 0.2" "random 0.2" "wanda-sp 0.4" "random 0.4"; do
    read -r method ratio <<<"$run"
    train "lora-$method-$ratio" "$method-$ratio" 250
done
train full-wanda-sp-0.2 wanda-sp-0.2 50 --full --lr 5e-5
train distillation-wanda-sp-0.2 wanda-sp-0.2 50 --teacher "$model"
