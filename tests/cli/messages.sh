#!/bin/bash
# Exit codes and messages that do not need a model.
. "$2/tests/cli/lib.bash"

expect 0 --version
shows "wattune "
silent err
expect 0 --help
shows "usage: wattune COMMAND [options]"
expect 0 help
expect 0 help tokenize
shows "usage: wattune tokenize"
expect 2
says "wattune: usage: wattune COMMAND [options]"
silent out
expect 2 tokenise
says "wattune: tokenise: no such command"
says "hint: did you mean wattune tokenize?"
expect 2 --verison
says "wattune: --verison: no such option"
says "hint: did you mean wattune --version?"
expect 2 zzzzzzzz
says "hint: wattune --help lists the commands"

expect 2 tokenize
says "wattune: --model: is needed"
expect 2 tokenize --modell x
says "wattune: --modell: unknown option"
says "hint: did you mean --model?"
expect 2 tokenize --model
says "wattune: --model: needs a value: M"
expect 2 tokenize --decode=1
says "wattune: --decode: takes no value"
expect 2 tokenize --model x y
says "wattune: tokenize: the argument 'y' is one too many"
expect 5 tokenize --model "$T/none"
says "wattune: cannot read '$T/none': No such file or directory"
silent out

expect 2 report
expect 5 report "$T"
expect 0 history
shows "no runs yet"
expect 0 history --json
shows '"schema": "wattune.history/1"'
expect 0 history --calibration --format csv
shows "depth,runs,"
expect 2 history --limit -3
says "wattune: --limit: '-3' is not a whole number of 0 or more"
expect 2 history --format xml
says "wattune: --format: 'xml' is none of text|csv|json"

expect 2 fetch
expect 2 fetch nonsense
printf 'hello' >"$T/file.txt"
expect 0 fetch "file://$T/file.txt"
shows "file.txt"
# a server that does not answer is given a few seconds; a size that is not known is not shown as one
checks=$((checks + 3))
timeout 30 python3 -c 'import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))' "$W" fetch "http://127.0.0.1:9/none" >"$T/out" </dev/null
code=$?
[ "$code" = 6 ] || fail "a server that does not answer: exit $code, expected 6"
grep -q "no byte more in 5 tries" "$T/out" || fail "a server that does not answer: $(head -c 300 "$T/out")"
grep -q "none  0 B" "$T/out" && ! grep -q " of .*iB" "$T/out" || fail "the progress of a file of unknown size: $(head -c 300 "$T/out")"

# a closed standard output is an error, not a silent success
"$W" --help >/dev/full 2>"$T/err"
[ $? = 1 ] || fail "a full standard output goes unnoticed"
says "wattune: cannot write to standard output: No space left on device"

# control characters never reach a terminal
expect 2 "$(printf 'a\033[31mb')"
grep -q "$(printf '\033')" "$T/err" && fail "an escape sequence reached stderr"

if has_command run; then
  expect 2 run
  says "wattune: --model: is needed"
  expect 2 run --max-time soon
  says "wattune: --max-time: 'soon' is not understood; write 90s, 45m, 2h, 1d, 1h30m or a number of seconds"
  expect 2 run --max-cost 5
  says "wattune: --max-cost: '5' is not understood; write an amount with its currency, such as 0.25EUR"
  # the form of an option is looked at before any file is
  for words in "--save-every 10Wh" "--save-every 0s" "--finish-by tomorrow" "--targets ="; do
    expect 2 run ${words/ =/=} --model "$T/none" --data "$T/none" --out "$T/r"
    grep -q "^wattune: ${words%% *}: " "$T/err" || fail "$words: $(cat "$T/err")"
  done
  expect 2 run --finish-by "2026-13-01 07:00" --model "$T/none" --data "$T/none" --out "$T/r"
  says 'wattune: --finish-by: '"'2026-13-01 07:00'"' is no moment; write "2026-12-01 07:00"'
  printf '{"finish_by": "soon"}' >"$T/job.json"
  expect 5 run --job "$T/job.json"
  expect 5 run --job "$T/no-job.json"
  says "wattune: cannot read '$T/no-job.json': No such file or directory"
  expect 5 run --job "$T"
  expect 2 run --method lora2
  expect 2 run --ranc 3
  says "hint: did you mean --rank?"
  printf '{"max_tiem": "1h"}' >"$T/job.json"
  expect 5 run --job "$T/job.json"
  says "wattune: $T/job.json: unknown key 'max_tiem'"
  says "hint: did you mean 'max_time'?"
  printf '{"schema": "wattune.job/2", "max_tiem": "1h"}' >"$T/job.json"
  expect 5 run --job "$T/job.json"
  says "wattune: $T/job.json: schema 'wattune.job/2' is newer than this program, which knows version 1"
  printf '{"max_time": "1h", "max_time": 3}' >"$T/job.json"
  expect 5 run --job "$T/job.json"
  says "wattune: $T/job.json: the key 'max_time' occurs twice in one object"
  expect 5 run --model "$T/none" --data "$T/file.txt" --out "$T/r"
fi
finish
