#!/bin/bash
# Tokens stay out of what a meter's program inherits and of all that a run writes; a run's folder follows the umask; two runs do not share a folder;
# a folder that cannot be written is an error.
. "$2/tests/cli/lib.bash"
export HF_TOKEN=hf_secretsecretsecret HUGGING_FACE_HUB_TOKEN=hf_othersecret
cat >"$T/meter" <<X
#!/bin/sh
env >"$T/inherited"
echo 12.5
X
chmod +x "$T/meter"
run=(run --model "$S/demo/model" --data "$S/demo/data/train.jsonl" --template none --steps 3 --eval-fraction 0 --meter "cmd:$T/meter")
umask 027
expect 0 "${run[@]}" --out "$T/run"
checks=$((checks + 3))
grep -q '^PATH=' "$T/inherited" || fail "the meter's program has no environment"
grep -q 'secret' "$T/inherited" && fail "the meter's program inherits a token"
grep -rqF secretsecret "$T/run" "$T/state" && fail "a token is in a file of the run: $(grep -rlF secretsecret "$T/run" "$T/state")"
checks=$((checks + 1))
find "$T/run" "$T/state" -perm /o+rwx | grep -q . && fail "files for everybody in spite of the umask: $(find "$T/run" "$T/state" -perm /o+rwx | head -n 3)"

mkdir "$T/busy"
(
  flock -n 9 || exit 1
  "$W" "${run[@]}" --out "$T/busy" >"$T/out" 2>"$T/err"
  echo $? >"$T/code"
) 9>"$T/busy/.lock"
checks=$((checks + 1))
[ "$(cat "$T/code")" != 0 ] || fail "two runs in one folder"
expect 1 "${run[@]}" --out /proc/none/run
[ "$(wc -l <"$T/err")" -le 2 ] || fail "more than one message: $(cat "$T/err")"
finish
