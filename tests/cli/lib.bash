# Shared by the tests of the command line: W = the program, S = the source folder, T = a folder of our own that vanishes at the end.
W=$1
S=$2
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
export XDG_STATE_HOME=$T/state XDG_CACHE_HOME=$T/cache HF_HOME=$T/hf
unset HF_HUB_CACHE NO_COLOR
# Where python3 is a script that looks for its interpreter at every start (a second each), it looks once.
# A link, not a function: of a function in the background `kill $!` ends the shell around it only.
real_python=$(python3 -c 'import sys; print(sys.executable)')
[ -x "$real_python" ] && mkdir "$T/python" && ln -s "$real_python" "$T/python/python3" && PATH=$T/python:$PATH
bad=0
checks=0

fail() { echo "FAIL: $*"; bad=$((bad + 1)); }

# expect CODE ARGS...: runs the program with stdin from /dev/null; stdout in $T/out, stderr in $T/err.
expect() {
  local want=$1 got=0
  shift
  "$W" "$@" >"$T/out" 2>"$T/err" </dev/null || got=$?
  checks=$((checks + 1))
  [ "$got" = "$want" ] || fail "wattune $*: exit $got, expected $want: $(head -c 300 "$T/err")"
}

# says TEXT: the last command's stderr has this line, whole.
says() {
  checks=$((checks + 1))
  grep -qxF -- "$1" "$T/err" || fail "stderr lacks '$1': $(head -c 300 "$T/err")"
}

# shows TEXT: the last command's stdout holds this text.
shows() {
  checks=$((checks + 1))
  grep -qF -- "$1" "$T/out" || fail "stdout lacks '$1': $(head -c 300 "$T/out")"
}

silent() {
  checks=$((checks + 1))
  [ -s "$T/$1" ] && fail "std$1 should be empty: $(head -c 300 "$T/$1")"
  return 0
}

has_command() { "$W" --help | grep -qE "^  $1 "; }

# Real models and data; a test that cannot do without them ends as skipped.
shared() {
  for d in "$S/../shared" "$S/../../shared"; do
    if [ -d "$d/data" ]; then
      (cd "$d" && pwd)
      return
    fi
  done
}
shared_or_skip() {
  SHARED=$(shared)
  if [ -z "$SHARED" ]; then
    echo "skipped: no folder with real models and data"
    exit 77
  fi
}

finish() {
  echo "$checks checks, $bad failed"
  [ "$bad" = 0 ] && [ "$checks" -gt 0 ]
  exit
}
