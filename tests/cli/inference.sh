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
# without a model: format, examples and what they look like; what would be counted in tokens is unknown
expect 0 data --data "$T/text.txt"
shows "tokens      unknown: --model names the model whose tokenizer counts"
shows "ne day, a girl named Lily went to the park.⟧"
expect 0 data --data "$SHARED/data/datasets/alpaca_en_demo.json" --json
shows '"examples": 999'
shows '"supervised_tokens": null'
printf '{"input_ids":[1,2,3,4]}\n' >"$T/ids.jsonl"
expect 0 data --data "$T/ids.jsonl" --seq-len 3 --json
shows '"truncated": 1'
[ "$(grep -c '"supervised_tokens": 2' "$T/out")" = 2 ] || fail "data counts the first token's label: $(cat "$T/out")"
expect 2 data --data "$T/text.txt" --raw-text

# --json is one document, however many turns and lines there were
one_document() {
  python3 -c "import json,sys; d = json.load(sys.stdin); sys.exit(not ($2))" <"$1" || fail "not the one document that was asked for: $(head -c 300 "$1")"
}
printf 'hello\nhow are you\n' | "$W" generate --model "$model" --chat --max-tokens 2 --json >"$T/chat" 2>"$T/err" || fail "chat: $(cat "$T/err")"
one_document "$T/chat" "len(d['turns']) == 2 and d['turns'][1]['ids'] == d['ids'] and len(d['ids']) == 2"
grep -q '> ' "$T/err" && fail "a chat asks although nobody is at the keyboard"
"$W" generate --model "$model" --chat --json </dev/null >"$T/chat" 2>/dev/null || fail "an empty chat"
one_document "$T/chat" "d == {'prompt_ids': [], 'ids': [], 'text': None, 'turns': []}"
printf '"a"\n""\n' | "$W" tokenize --model "$model" --json >"$T/ids" || fail "tokenize --json"
one_document "$T/ids" "len(d) == 2 and d[1] == []"
"$W" tokenize --model "$model" --json </dev/null >"$T/ids" || fail "tokenize --json of nothing"
one_document "$T/ids" "d == []"
finish
