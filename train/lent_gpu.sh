#!/usr/bin/env bash
# What a GPU that is lent for minutes is to do, in one call: train one or more configs side by side until MINUTES after the
# start, and leave weights (without the frozen ears, which are known), logs and sample pictures in OUT.
#
#   train/lent_gpu.sh SHARDS OUT MINUTES [CONFIG ...]        (default: train/configs/tiny.yaml)
#
# SHARDS: of `python -m train.compact`, train and val splits. Afterwards, at home:
#   python -m train.export --join OUT/tiny.safetensors --ears train/weights/whisper_tiny_en_local.safetensors --out tiny.safetensors
# Leave a minute for what comes after training: MINUTES counts from the start of this script, loading included.
set -uo pipefail
shards="$1" out="$2" minutes="$3"
shift 3
[ $# -gt 0 ] || set -- train/configs/tiny.yaml
work="$(mktemp -d)"
mkdir -p "$out"
for config in "$@"; do
    name="$(basename "$config" .yaml)"
    python3 -m train.pretrain --config "$config" --data "$shards" --out "$work/$name" --minutes "$minutes" >"$out/$name.log" 2>&1 &
done
wait
for config in "$@"; do
    name="$(basename "$config" .yaml)"
    python3 -m train.export --run "$work/$name" --out "$out/$name.safetensors" --without-ears
    tail -n 3 "$work/$name/log.jsonl"
done
tar -C "$work" -czf "$out/runs.tar.gz" --exclude '*.safetensors' .
