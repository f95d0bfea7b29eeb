#!/bin/bash
# Models and adapters as people name them: a run's folder of any kind, what is damaged, what would be overwritten.
. "$2/tests/cli/lib.bash"
has_command run || { echo "skipped: this build has no run"; exit 77; }
. "$S/tests/cli/tiny_task.bash"
"$W" profile --quick >/dev/null 2>&1

# a run's folder stands for what the run made, also where that is a whole model
loss() { python3 -c "import json; print(json.load(open('$T/out'))['loss'])"; }
expect 0 run "${tiny_task[@]}" --method full --lr 1e-2 --steps 2 --out "$T/full"
expect 0 eval --model "$T/full/model" --data "$T/rows.jsonl" --json
want=$(loss)
expect 0 eval --model "$T/model" --adapter "$T/full" --data "$T/rows.jsonl" --json
[ "$(loss)" = "$want" ] || fail "the folder of a full run as adapter: loss $(loss) instead of $want"
expect 0 generate --model "$T/model" --adapter "$T/full" --ids 1,2 --max-tokens 2
expect 0 export --model "$T/model" --adapter "$T/full" --format safetensors --out "$T/merged"
cmp -s "$T/merged/model.safetensors" "$T/full/model/model.safetensors" || fail "export of a full run gives another model"
expect 5 eval --model "$T/model" --adapter "$T/model" --data "$T/rows.jsonl"

# what is read is not written over
before=$(cat "$T/model"/* | sha256sum)
expect 2 export --model "$T/model" --format safetensors --dtype bf16 --out "$T/model"
expect 2 export --model "$T/model/model.safetensors" --format safetensors --dtype bf16 --out "$T/../${T##*/}/model"
expect 2 export --model "$T/model/model.safetensors" --format gguf --out "$T/model/model.safetensors"
[ "$(cat "$T/model"/* | sha256sum)" = "$before" ] || fail "export wrote over its own model"

# a GGUF file is one by what it begins with, whatever it is called: config, weights and tokenizer come out of it
expect 0 export --model "$T/model" --format gguf --out "$T/gguf-file"
expect 0 eval --model "$T/model" --data "$T/rows.jsonl" --json
want=$(loss)
mkdir "$T/alone" && mv "$T/gguf-file" "$T/alone/P"
expect 0 eval --model "$T/alone/P" --data "$T/rows.jsonl" --json
[ "$(loss)" = "$want" ] || fail "a GGUF file without its ending: loss $(loss) instead of $want"
expect 0 estimate "${tiny_task[@]}" --model "$T/alone/P" --steps 1

# blanks around the commas of a list are no part of its names
expect 0 estimate "${tiny_task[@]}" --targets " q_proj, v_proj:2 " --steps 1 --json
grep -q '"targets":\["q_proj","v_proj:2"\]' <(tr -d ' \n' <"$T/out") || fail "--targets with blanks: $(cat "$T/err")"

# bad input is exit status 5 and says what is missing
damaged_eval=(eval --data "$T/rows.jsonl" --model "$T/bad")
damaged() { # what must be said; the damage comes before
  expect 5 "${damaged_eval[@]}"
  grep -qF -- "$1" "$T/err" || fail "lacks '$1': $(cat "$T/err")"
  rm -rf "$T/bad"
  cp -r "$T/model" "$T/bad"
}
cp -r "$T/model" "$T/bad"
for key in num_hidden_layers hidden_size num_attention_heads intermediate_size vocab_size; do
  python3 -c "import json; c = json.load(open('$T/model/config.json')); del c['$key']; json.dump(c, open('$T/bad/config.json', 'w'))"
  damaged "'$key' is missing"
done
echo '[]' >"$T/bad/config.json"
damaged "is no JSON object"
rm "$T/bad/config.json" && mkdir "$T/bad/config.json"
damaged "config.json': Is a directory"
rm "$T/bad/model.safetensors" && mkdir "$T/bad/model.safetensors"
damaged "model.safetensors': not a regular file"
ln -sf /none/x "$T/bad/model.safetensors"
damaged "model.safetensors': No such file or directory"
python3 -c "
f = open('$T/bad/model.safetensors', 'r+b')
f.seek(-8, 2)
f.write(bytes([0, 0, 192, 127]))  # NaN
"
expect 5 generate --model "$T/bad" --ids 1,2 --max-tokens 2
grep -qE "tensor '.*': element [0-9]+ is -?nan" "$T/err" || fail "generate with NaN: $(cat "$T/err")"
expect 5 run "${tiny_task[@]}" --model "$T/bad" --steps 4 --out "$T/nan"
grep -qE "tensor '.*': element [0-9]+ is -?nan" "$T/err" || fail "run with NaN: $(cat "$T/err")"
damaged "is nan"
# what would only take hours to get ready
expect 2 estimate "${tiny_task[@]}" --threads 4096
grep -q "^wattune: --threads: 4096 are more than " "$T/err" || fail "threads: $(cat "$T/err")"
expect 2 estimate "${tiny_task[@]}" --batch 1000000000
says "wattune: --batch: 1000000000 is outside of 1 to 1000000"
# rows are read more than once: a pipe is refused at once, also one that nobody writes into
mkfifo "$T/pipe.jsonl"
for command in "data" "eval --model $T/model" "run --model $T/model --out $T/piped"; do
  # shellcheck disable=SC2086
  timeout 20 "$W" $command --data "$T/pipe.jsonl" >"$T/out" 2>"$T/err" </dev/null
  [ $? = 5 ] || fail "${command%% *} of a pipe: $(cat "$T/err")"
  says "wattune: data '$T/pipe.jsonl': is a pipe or a device, but rows are read more than once; write them into a file"
done
expect 5 eval --model org/name --data "$T/rows.jsonl"
says "hint: hf://org/name fetches it from the Hugging Face hub"
expect 2 eval --model http:// --data "$T/rows.jsonl"
says "wattune: source 'http://': an address without a host"

# an adapter whose tensors are of another rank than its config says would be scaled wrongly
expect 0 run "${tiny_task[@]}" --steps 1 --out "$T/lora"
expect 0 eval --model "$T/model" --adapter "$T/lora" --data "$T/rows.jsonl"
# an adapter is written with the kind of number that is asked for
for dtype in f32 bf16 f16; do
  for format in peft gguf-lora; do
    expect 0 export --model "$T/model" --adapter "$T/lora" --format $format --dtype $dtype --out "$T/written-$dtype.$format"
  done
  expect 0 eval --model "$T/model" --adapter "$T/written-$dtype.peft" --data "$T/rows.jsonl"
  grep -q "\"dtype\":\"$(tr a-z A-Z <<<$dtype)\"" <(head -c 400 "$T/written-$dtype.peft/adapter_model.safetensors" | tr -d '\0 ') || fail "--format peft --dtype $dtype writes another one"
done
[ "$(stat -c %s "$T/written-f16.gguf-lora")" -lt "$(stat -c %s "$T/written-f32.gguf-lora")" ] || fail "--format gguf-lora ignores --dtype"
expect 2 export --model "$T/model" --adapter "$T/lora" --format peft --dtype q8_0 --out "$T/written"
# a continuation that is asked for something else says what it goes on with, and says nothing where it is asked for the same
expect 0 run --resume --out "$T/lora" --steps 2 --rank 8 --lr 0.5 --optimizer sgd -q
grep -q "goes on as it began, with --rank 4, --optimizer adamw, --lr 0.0002$" "$T/err" || fail "resume with other options: $(cat "$T/err")"
grep -q "goes on as it began" "$T/lora/run.log" || fail "resume with other options: run.log"
expect 0 run --resume --out "$T/lora" --steps 3 --seed 9 --no-shuffle --template chatml --train-on all --schedule linear --dropout 0.1 --weights nf4 --seq-len 9 -q
grep -qE "with --dropout 0, --weights [a-z0-9]+, --schedule cosine, --seq-len [0-9]+, --seed 0, its rows shuffled, --template auto, --train-on default$" "$T/err" ||
  fail "resume with another seed: $(cat "$T/err")"
expect 0 run "${tiny_task[@]}" --steps 4 --out "$T/lora" --resume
silent err
sed -i 's/"r": *4/"r": 8/' "$T/lora/adapter/adapter_config.json"
expect 5 eval --model "$T/model" --adapter "$T/lora" --data "$T/rows.jsonl"
grep -q "is of rank 4, adapter_config.json says 8" "$T/err" || fail "rank: $(cat "$T/err")"
sed -i 's/"r": *8/"r": 4/; s/"lora_alpha": *[0-9.]*/"lora_alpha": "8"/' "$T/lora/adapter/adapter_config.json"
expect 5 eval --model "$T/model" --adapter "$T/lora" --data "$T/rows.jsonl"
grep -q "'lora_alpha' is no number" "$T/err" || fail "types: $(cat "$T/err")"
finish
