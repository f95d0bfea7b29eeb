# The opening of the fetch tests and their server (hub_server.py): from a script that has set wattune and source_dir; sets work, and `failed` at the first failure.
# shellcheck shell=bash
"$wattune" fetch --help >/dev/null 2>&1 || { echo "skipped: this build has no fetch"; exit 77; }
work=$(mktemp -d)
failed=0
server=
trap '[ -n "$server" ] && kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
mkdir -p "$work/root/org/tiny"
echo '{"model_type":"llama"}' >"$work/root/org/tiny/config.json"
echo '{}' >"$work/root/org/tiny/tokenizer.json"
head -c 300000 /dev/urandom >"$work/root/org/tiny/model.safetensors"
ok() { if [ "$1" = "$2" ]; then echo "ok   $3"; else echo "FAIL $3: got '$1', expected '$2'"; failed=1; fi; }
stop() { kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; server=; }
# The hub begins anew with these options; one server process serves the whole test.
start() {
  rm -rf "$work/cache" "$work/state"
  [ -z "$server" ] || export HF_ENDPOINT=$hub MODELSCOPE_ENDPOINT=$hub
  if [ -n "$server" ]; then
    local body
    body=$(printf '%s\n' "$@")
    exec 9<>"/dev/tcp/127.0.0.1/${hub##*:}"
    printf 'POST /control HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' "${#body}" "$body" >&9
    grep -q ' 204 ' <&9 || { echo "FAIL: the server does not take $*"; failed=1; }
    exec 9>&-
    return
  fi
  rm -f "$work/log" "$work/address"
  python3 "$source_dir/tests/cli/hub_server.py" "$work/root" "$work/log" "$@" >"$work/address" 2>"$work/server-errors" &
  server=$!
  for _ in $(seq 200); do [ -s "$work/address" ] && break; sleep 0.05; done
  read -r hub store <"$work/address"
  export HF_ENDPOINT=$hub MODELSCOPE_ENDPOINT=$hub
}
unset http_proxy https_proxy all_proxy no_proxy CURL_CA_BUNDLE SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE HF_TOKEN HF_TOKEN_PATH HF_HUB_OFFLINE
