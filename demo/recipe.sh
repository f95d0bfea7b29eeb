#!/usr/bin/env bash
# Makes the demo's base model and data from nothing: text from make_text.py, a tokenizer from train_bpe.py, weights by
# `wattune init` and `wattune run --method pretrain`. Takes some minutes on two cores.
#
#   demo/recipe.sh WATTUNE [WORK_DIR]     e.g. demo/recipe.sh build/release/wattune
#
# The results (config.json, tokenizer*.json, model.safetensors in bf16, train.jsonl, heldout.jsonl) replace demo/model and demo/data.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
wattune=$(realpath "$1")
work=${2:-$(mktemp -d)}
steps=${STEPS:-3000}
python3 "$here/make_text.py" "$work/text"
python3 "$here/train_bpe.py" "$work/text/base.txt" "$work/tokenizer"
"$wattune" init --config "$here/config.json" --tokenizer "$work/tokenizer" --out "$work/init" --seed 1
"$wattune" run --model "$work/init" --data "$work/text/base.txt" --method pretrain --out "$work/run" --force \
  --steps "$steps" --batch 16 --seq-len 128 --lr 3e-3 --warmup 0.05 --weight-decay 0.1 --schedule cosine --eval-fraction 0.01 --seed 1
"$wattune" export --model "$work/run/model" --format safetensors --dtype bf16 --out "$work/model"
mkdir -p "$here/model" "$here/data"
cp "$work/model/config.json" "$work/model/model.safetensors" "$work/model/tokenizer.json" "$work/model/tokenizer_config.json" "$here/model/"
cp "$work/text/train.jsonl" "$work/text/heldout.jsonl" "$here/data/"
echo "demo/model and demo/data are new: build again to embed them"
