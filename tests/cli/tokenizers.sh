#!/bin/bash
# Golden ids of real tokenizers through the program.
. "$2/tests/cli/lib.bash"
shared_or_skip
if [ ! -f "$SHARED/checks/tokenizers.py" ]; then
  echo "skipped: the checker of token ids is absent"
  exit 77
fi
python3 "$SHARED/checks/tokenizers.py" --wattune "$W" "$SHARED/data/tokenizers"
