#!/bin/bash
# Losses, greedy ids and training trajectories of tiny random models through the program.
. "$2/tests/cli/lib.bash"
shared_or_skip
if [ ! -f "$SHARED/checks/golden.py" ]; then
  echo "skipped: the checker of golden numbers is absent"
  exit 77
fi
only=()
has_command run || only=(--only forward)
python3 "$SHARED/checks/golden.py" --wattune "$W" "$SHARED/data/golden" "${only[@]}"
