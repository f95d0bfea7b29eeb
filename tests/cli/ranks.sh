#!/bin/bash
# Two ranks take the trajectory of one; rank 0 alone writes.
. "$2/tests/cli/lib.bash"
has_command run || { echo "skipped: this build has no run"; exit 77; }
command -v mpirun >/dev/null || { echo "skipped: no mpirun"; exit 77; }
ldd "$W" | grep -q libmpi || { echo "skipped: built without MPI"; exit 77; }
shared_or_skip
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
args=(--model "$SHARED/data/models/stories260K" --data "$SHARED/data/datasets/identity.json" --method lora --steps 6 --batch 4 --threads 1 --micro-batch-tokens 256 -q)

expect 0 run "${args[@]}" --out "$T/one"
timeout 120 mpirun --oversubscribe -n 2 "$W" run "${args[@]}" --out "$T/two" >"$T/out" 2>"$T/err" </dev/null
code=$?
checks=$((checks + 2))
[ "$code" = 0 ] || fail "two ranks: exit $code: $(head -c 300 "$T/err")"
python3 - "$T" <<'P' || fail "two ranks took another way than one"
import json, sys
one, two = ([json.loads(l)["loss"] for l in open(f"{sys.argv[1]}/{d}/metrics.jsonl")] for d in ("one", "two"))
assert len(one) == len(two) == 6
assert max(abs(a - b) / a for a, b in zip(one, two)) < 1e-5, (one, two)
r = json.load(open(sys.argv[1] + "/two/report.json"))
assert r["ranks"] == 2 and len(r["machines"]) == 2
P
# one rank that cannot go on ends all
timeout 60 mpirun --oversubscribe -n 2 "$W" run "${args[@]}" --out "$T/two" >"$T/out" 2>"$T/err" </dev/null
code=$?
checks=$((checks + 1))
[ "$code" = 2 ] || fail "a folder that holds a run: exit $code, expected 2"
finish
