#!/bin/bash
# data, eval and generate on a real small model.
. "$2/tests/cli/lib.bash"
shared_or_skip
model=$SHARED/data/models/stories260K

expect 0 generate --model "$model" --prompt "" --temperature 0 --max-tokens 60
shows "Once upon a time, there was a little girl named Lily. She loved to play outside in the park."
silent err
expect 0 generate --model "$model" --ids 1 --temperature 0 --max-tokens 5 --json
shows '"prompt_ids": [1]'
expect 0 generate --model "$model" --prompt "Lily" --temperature 0 --stop park --json
grep -q park "$T/out" && fail "the stop text is shown"
expect 0 generate --model "$model" --prompt "Lily" --seed 3 --max-tokens 30
cp "$T/out" "$T/first"
expect 0 generate --model "$model" --prompt "Lily" --seed 3 --max-tokens 30
cmp -s "$T/out" "$T/first" || fail "the same seed gave another text"
expect 0 generate --model "$model" --prompt "Lily" --seed 4 --max-tokens 30
cmp -s "$T/out" "$T/first" && fail "another seed gave the same text"

expect 2 generate --model "$model"
says "wattune: generate: one of --prompt, --ids and --chat is needed"
expect 2 generate --model "$model" --ids 512
says "wattune: --ids: 512 is not below the vocabulary's 512"
expect 2 generate --model "$model" --ids 1,x
expect 2 generate --model "$model" --ids 1 --temperature -1
says "wattune: --temperature: -1 is outside of 0 to 100"
expect 5 generate --model "$T" --ids 1

printf 'One day, a girl named Lily went to the park.\n' >"$T/text.txt"
expect 0 eval --model "$model" --data "$T/text.txt"
shows "loss "
expect 0 eval --model "$model" --data "$T/text.txt" --json
shows '"supervised_tokens"'
printf '{"input_ids":[1,2,3],"labels":[-100,2,3]}\n{"input_ids":[1,2,600],"labels":[1,2,600]}\n' >"$T/rows.jsonl"
expect 5 eval --model "$model" --data "$T/rows.jsonl"
grep -q "rows.jsonl" "$T/err" || fail "the message does not name the file"
grep -qE ":2|line 2|row 2" "$T/err" || fail "the message does not name the row: $(cat "$T/err")"
expect 5 eval --model "$model" --data "$T/none.jsonl"
expect 2 eval --model "$model"
says "wattune: --data: is needed"

expect 0 data --model "$model" --data "$T/text.txt"
shows "format      plain text"
expect 0 data --model "$model" --data "$SHARED/data/datasets/alpaca_en_demo.json" --json
shows '"format": "alpaca json"'
expect 5 data --data "$T/text.txt"
says "hint: --model names the model whose tokenizer counts"
finish
