#!/usr/bin/env bash
# Training speed and memory beside PyTorch and peft, in turns within one run: LoRA and full steps, short and long windows.
# Usage: bench/train.sh HF_FOLDER TEXT [THREADS] [ROUNDS]     PEER_PYTHON: a Python with torch, transformers and peft (else pare alone)
# MODES ("lora full"), LENGTHS ("512 2048") and STEPS (6) say what is run.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,4p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
folder=$1 text=$2 threads=${3:-2} rounds=${4:-3} steps=${STEPS:-6}
pare=${PARE:-$here/../build/pare}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

by_pare() { # mode, length: tokens/s and MiB
    rm -rf "$work/out"
    local full=()
    [ "$1" = lora ] || full=(--full)
    "$pare" finetune "$folder" --data "$text" --steps "$steps" --seq "$2" --batch 1 --lr 1e-4 --schedule constant --warmup 0 --weight-decay 0 \
        --clip 0 --order given "${full[@]}" --threads "$threads" -o "$work/out" --json >"$work/json" 2>/dev/null
    sed -n 's/.*"tokens_per_s": \([0-9.]*\).*/\1/p; s/.*"max_rss_mib": \([0-9]*\).*/\1/p' "$work/json" | paste -sd' '
}
by_torch() {
    "$PEER_PYTHON" "$here/train_torch.py" "$folder" "$text" "$1" "$2" "$steps" "$threads" 2>/dev/null | cut -d' ' -f1,2
}
for mode in ${MODES:-lora full}; do
    for length in ${LENGTHS:-512 2048}; do
        for round in $(seq "$rounds"); do
            for who in pare ${PEER_PYTHON:+torch}; do
                read -r rate memory < <("by_$who" "$mode" "$length")
                echo "$mode $length round $round: $who $rate tokens/s, $memory MiB"
            done
        done
    done
done
