#!/bin/bash
# Every command and option of the contract exists, is in --help, and is taken in a job file.
. "$2/tests/cli/lib.bash"

# command and its options beyond --json, --quiet, --verbose, --no-color, --help
run_options="max-time max-energy max-cost max-co2 max-power max-memory max-disk finish-by price carbon country tariff prefer
method rank alpha rslora dropout targets train-layers virtual-tokens weights compute
epochs steps batch micro-batch-tokens seq-len lr schedule warmup optimizer weight-decay weight-decay-on max-grad-norm beta1 beta2 eps
checkpointing seed no-shuffle threads deterministic template train-on eval-data eval-fraction eval-every early-stop
resume init-adapter save-every sysfs meter pause-on-battery max-temp model data out force job"
declare -A contract=(
  [profile]="out quick no-calibrate sysfs sensors"
  [fetch]="out revision sha256 include dry-run"
  [data]="data model template seq-len"
  [estimate]="$run_options probe top"
  [run]="$run_options"
  [eval]="model adapter data"
  [generate]="model adapter prompt chat max-tokens temperature top-p top-k seed ids ignore-eos"
  [export]="model adapter format out dtype"
  [init]="config out tokenizer seed"
  [tokenize]="model special decode"
  [report]="format out"
  [history]="limit"
  [demo]="out"
)
for command in "${!contract[@]}"; do
  if ! has_command "$command"; then
    echo "note: no command $command"
    continue
  fi
  expect 0 "$command" --help
  silent err
  for o in ${contract[$command]} json quiet verbose no-color help; do
    checks=$((checks + 1))
    grep -qE -- "--$o( |$)" "$T/out" || fail "$command --help lacks --$o"
  done
done

choices() { # command option choices
  has_command "$1" || return
  "$W" "$1" --help | grep -qF -- "--$2 $3" || fail "$1 --$2 does not offer $3"
  checks=$((checks + 1))
}
choices run method "auto|prompt|prompt-tuning|prefix|ia3|bitfit|lora|dora|layers|badam|full|pretrain"
choices run weights "auto|f32|bf16|int8|nf4"
choices run compute "auto|f32|int16"
choices run prefer "quality|energy|time|cost"
choices run schedule "cosine|linear|constant"
choices run optimizer "adamw|adamw8bit|adafactor|lion|sgd"
choices run weight-decay-on "matrices|all"
choices run checkpointing "auto|none|selective|full"
choices export format "safetensors|gguf|peft|gguf-lora"
choices export dtype "f32|bf16|f16|q8_0"
finish
