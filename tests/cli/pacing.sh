#!/bin/bash
# When to run, and meters from outside: each run waits for what it should wait for, and the result has the bits of the run that never waited.
. "$2/tests/cli/lib.bash"
has_command run || { echo "skipped: this build has no run"; exit 77; }
export TZ=UTC
. "$S/tests/cli/tiny_task.bash"
task=("${tiny_task[@]}" --steps 12)
expect 0 run "${task[@]}" --out "$T/plain"

put() { # path below a tree, value
  mkdir -p "$(dirname "$1")"
  echo "$2" >"$1"
}
put "$T/hot/class/thermal/thermal_zone0/type" x86_pkg_temp
put "$T/hot/class/thermal/thermal_zone0/temp" 95000
for f in type=Battery present=1 status=Discharging energy_full=50000000 energy_now=40000000 power_now=9000000; do
  put "$T/battery/class/power_supply/BAT0/${f%%=*}" "${f#*=}"
done
put "$T/battery/class/power_supply/AC/type" Mains
put "$T/battery/class/power_supply/AC/online" 0
now=$(date +%s)
dear_until=$((now + 15))
stamp() { date -u -d "@$1" '+%Y-%m-%d %H:%M:%S'; }
{
  echo "from,to,price_EUR"
  echo "$(stamp $((now - 60))),$(stamp $dear_until),0.50"
  echo "$(stamp $dear_until),$(stamp $((now + 3600))),0.10"
} >"$T/tariff.csv"
cat >"$T/plug.py" <<'P'
import http.server, json, sys
class Plug(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"meters": [{"power": 17.0}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Plug)
open(sys.argv[1], "w").write(str(s.server_port))
s.serve_forever()
P
python3 "$T/plug.py" "$T/port" &
plug=$!
for _ in $(seq 200); do
  [ -s "$T/port" ] && break
  sleep 0.05
done

# in_background NAME RUN_OPTIONS: exit status in $T/NAME.code
in_background() {
  local name=$1
  shift
  ("$W" run "${task[@]}" --out "$T/$name" "$@" >/dev/null 2>"$T/$name.err" </dev/null; echo $? >"$T/$name.code") &
}
# once_said NAME TEXT: waits until the run's log says so
once_said() {
  checks=$((checks + 1))
  for _ in $(seq 1200); do
    grep -q "$2" "$T/$1/run.log" 2>/dev/null && return
    [ -e "$T/$1.code" ] && break
    sleep 0.05
  done
  grep -q "$2" "$T/$1/run.log" 2>/dev/null || fail "$1: never said '$2': $(cat "$T/$1.err")"
}
# done_alike NAME: ended well, with the plain run's bits
done_alike() {
  checks=$((checks + 2))
  [ "$(cat "$T/$1.code")" = 0 ] || fail "$1: exit $(cat "$T/$1.code"): $(cat "$T/$1.err")"
  cmp -s "$T/plain/adapter/adapter_model.safetensors" "$T/$1/adapter/adapter_model.safetensors" || fail "$1: a pause changed the result"
}
# report NAME EXPRESSION: over r
report() {
  checks=$((checks + 1))
  python3 - "$T/$1/report.json" "$2" <<'P' || fail "$1: not so: $2"
import json, sys
r = json.load(open(sys.argv[1]))
ok = eval(sys.argv[2])
if not ok:
    print(r["actual"], r["energy"])
sys.exit(not ok)
P
}

in_background hot --sysfs "$T/hot" --max-temp 80
in_background battery --sysfs "$T/battery" --pause-on-battery
in_background dear --tariff "$T/tariff.csv" --finish-by "$(stamp $((now + 1800)))"
once_said hot "temperature 95 C"
once_said battery "on battery"
checks=$((checks + 2))
[ ! -e "$T/hot.code" ] || fail "hot: did not wait for the machine to cool"
[ ! -e "$T/battery.code" ] || fail "battery: did not wait for mains"
put "$T/hot/class/thermal/thermal_zone0/temp" 60000
put "$T/battery/class/power_supply/BAT0/status" Charging
put "$T/battery/class/power_supply/AC/online" 1
wait $(jobs -p | grep -vx "$plug")
ended=$(stat -c %Y "$T/dear/report.json" 2>/dev/null || echo 0)
for name in hot battery dear; do
  done_alike "$name"
done
checks=$((checks + 1))
[ "$ended" -ge "$dear_until" ] || fail "dear: ended in the dear window, $((dear_until - ended)) s before the cheap one"
report dear "r['actual']['cost']['amount'] >= 0 and r['actual']['cost']['currency'] == 'EUR'"
report hot "r['energy']['paused_s'] > 0"

in_background command --meter "cmd:echo 12.5"
in_background http --meter "http:http://127.0.0.1:$(cat "$T/port")/status#meters.0.power"
wait $(jobs -p | grep -vx "$plug")
kill "$plug"
done_alike command
done_alike http
report command "r['energy']['source'] == 'cmd' and abs(r['actual']['power_mean_w'] / 12.5 - 1) < 0.35"
report http "r['energy']['source'] == 'http' and abs(r['actual']['power_mean_w'] / 17 - 1) < 0.35"
finish
