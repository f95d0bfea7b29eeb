#!/usr/bin/env bash
# Reports of a finished, a stopped, a paused, an unmeasured and a failed run, and a comparison, in headless Chromium (tests/cli/report_browser.mjs).
# Needs chromium, node, and a folder with the modules playwright-core and axe-core: WT_NODE_MODULES, or node_modules in the source folder.
# WT_SHOTS=FOLDER keeps screenshots there.
set -u
wattune=$1
source_dir=$(cd "$2" && pwd)
modules=${WT_NODE_MODULES:-$source_dir/node_modules}
browser=$(command -v chromium || command -v chromium-browser)
[ -n "$browser" ] || { echo "skipped: chromium is not installed"; exit 77; }
command -v node >/dev/null || { echo "skipped: node is not installed"; exit 77; }
[ -d "$modules/playwright-core" ] && [ -d "$modules/axe-core" ] || { echo "skipped: no playwright-core and axe-core in '$modules' (WT_NODE_MODULES names another folder)"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 "$source_dir/tests/cli/make_runs.py" "$work" || exit 1
pages=()
for run in finished stopped paused unmeasured failed; do
  "$wattune" report "$work/$run" --format html --out "$work/$run.html" || exit 1
  pages+=("$work/$run.html")
done
"$wattune" report "$work/finished" "$work/paused" "$work/stopped" --format html --out "$work/compared.html" || exit 1
node "$source_dir/tests/cli/report_browser.mjs" "$browser" "$(dirname "$modules/x")" "${WT_SHOTS:--}" "${pages[@]}" "$work/compared.html"
