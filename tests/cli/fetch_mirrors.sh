#!/usr/bin/env bash
# `wattune fetch` from servers that are no huggingface.co: mirrors without HEAD, etags, commits or a listing, with encoded answers, moved repositories, damaged
# listings; and what its JSON says.
set -u
wattune=$1
source_dir=$2
# shellcheck source=tests/cli/hub.bash
. "$source_dir/tests/cli/hub.bash"
: >"$work/root/org/tiny/merges.txt"
export HF_HUB_CACHE="$work/cache/hub" HF_HOME="$work/cache" XDG_CACHE_HOME="$work/cache/xdg" XDG_STATE_HOME="$work/state" HOME="$work/home"
fetch() { timeout 60 "$wattune" fetch "$@" >"$work/out" 2>"$work/err"; code=$?; folder=$(cat "$work/out"); return 0; }
whole() { for name in config.json tokenizer.json model.safetensors merges.txt; do cmp -s "$1/$name" "$work/root/org/tiny/$name" || { echo "no $name"; return; }; done; echo whole; }
keep() { cp "$work/out" "$work/json-$1"; } # judged at the end, all at once

for mirror in "--no-head 405" "--no-head 501" "--no-etag" "--no-etag --no-head 405" "--gzip" "--gzip --no-head 405" "--gzip --no-etag" "--no-list" "--no-list --no-etag --no-head 501" "--prefix /hf"; do
  # shellcheck disable=SC2086
  start $mirror
  [ "$mirror" = "--prefix /hf" ] && HF_ENDPOINT=$hub/hf/
  fetch hf://org/tiny; ok "$code $(whole "$folder")" "0 whole" "$mirror: the repository"
  fetch hf://org/tiny; ok "$code $(whole "$folder")" "0 whole" "$mirror: once more"
  ok "$(grep -c '"store", "method": "GET".*"sent": [2-9][0-9]\{5\}' "$work/log")" 1 "$mirror: the weights come once"
  fetch hf://org/tiny --include model.safetensors --out "$work/out-$RANDOM"; ok "$code $(cmp "$folder/model.safetensors" "$work/root/org/tiny/model.safetensors" 2>&1)" "0 " "$mirror: one file"
  rm -rf "$work/plain"; fetch "$store/org/tiny/model.safetensors" --out "$work/plain"; ok "$code $(cmp "$work/plain/model.safetensors" "$work/root/org/tiny/model.safetensors" 2>&1)" "0 " "$mirror: a plain address"
  rm -rf "$work/plain"; fetch "$store/org/tiny/merges.txt" --out "$work/plain"; ok "$code $([ -f "$work/plain/merges.txt" ] && [ ! -s "$work/plain/merges.txt" ]; echo $?)" "0 0" "$mirror: a plain address of an empty file"
done
start --no-list; fetch hf://org/none; ok "$code" 6 "no listing, no such repository"
start --moved org/old; fetch hf://org/old; ok "$code $(whole "$folder")" "0 whole" "renamed repository"
start --moved org/old --token sesame; HF_TOKEN=$' sesame\n' fetch hf://org/old; ok "$code $(whole "$folder")" "0 whole" "renamed repository, token with a line break"
grep '"store"' "$work/log" | grep -q '"authorized": true'; ok "$?" 1 "renamed repository: the store never sees the token"
mkdir -p "$HOME/.cache/huggingface"; echo sesame >"$HOME/.cache/huggingface/token"
start --token sesame; (unset HF_HOME; fetch hf://org/tiny; exit "$code"); ok "$?" 0 "token of ~/.cache/huggingface/token"

# names that differ only in case
cp "$work/root/org/tiny/config.json" "$work/root/org/tiny/Model.safetensors"
start; fetch hf://org/tiny; ok "$code $(whole "$folder")" "0 whole" "names that differ only in case"
cmp -s "$folder/Model.safetensors" "$work/root/org/tiny/config.json"; ok "$?" 0 "names that differ only in case: each has its own bytes"
fetch hf://org/tiny --out "$work/out-case"; ok "$code $(whole "$folder")" "0 whole" "names that differ only in case, --out"
cmp -s "$folder/Model.safetensors" "$work/root/org/tiny/config.json"; ok "$?" 0 "names that differ only in case, --out: each has its own bytes"
# where such names are one file (skipped where no such file system can be made): refused before the first byte
truncate -s 8M "$work/fold.img"; mkdir "$work/fold"
fold() { mkfs.vfat "$work/fold.img" && mount -o loop "$work/fold.img" "$work/fold" && return; mke2fs -q -t ext4 -O casefold -E encoding=utf8 "$work/fold.img" && mount -o loop "$work/fold.img" "$work/fold" && chattr +F "$work/fold"; }
if fold >/dev/null 2>&1; then
  start; fetch hf://org/tiny --out "$work/fold/out"; ok "$code $(grep -c 'differ only in case' "$work/err") $(grep -c '"store"' "$work/log")" "6 1 0" "names that are one file here: refused"
  fetch hf://org/tiny --out "$work/fold/out" --include model.safetensors; ok "$code" 0 "names that are one file here: one of them"
  umount "$work/fold"
else
  umount "$work/fold" 2>/dev/null; echo "skip names that are one file: no such file system here"
fi
rm "$work/root/org/tiny/Model.safetensors"

# symbolic links inside the folder of --out are never written through
mkdir -p "$work/outside" "$work/linked" "$work/root/org/tiny/sub"; echo mine >"$work/outside/mine"; cp "$work/root/org/tiny/config.json" "$work/root/org/tiny/sub/deep.json"
untouched() { echo "$(find "$work/outside" -type f) $(cat "$work/outside/mine")"; }
ln -s "$work/outside" "$work/linked/sub"; start --hostile sub/deep.json
fetch hf://org/tiny --include 'sub/*' --out "$work/linked"; ok "$code $(grep -c 'symbolic link' "$work/err") $(untouched)" "6 1 $work/outside/mine mine" "a folder on the way is a link: refused"
rm "$work/linked/sub"; fetch hf://org/tiny --include 'sub/*' --out "$work/linked"; ok "$code $(cmp "$work/linked/sub/deep.json" "$work/root/org/tiny/config.json" 2>&1)" "0 " "a folder on the way is none: made"
rm -r "$work/root/org/tiny/sub"; start
for ending in '' .wattune.incomplete .wattune.parts; do
  rm -rf "$work/linked"; mkdir "$work/linked"; ln -s "$work/outside/mine" "$work/linked/model.safetensors$ending"; ln -s "$work/outside/new" "$work/linked/config.json$ending"
  for source in hf://org/tiny ms://org/tiny "$store/org/tiny/model.safetensors"; do
    fetch "$source" --out "$work/linked"; ok "$([ -z "$ending" ] && [ "$code" != 0 ]; echo $?) $(untouched)" "1 $work/outside/mine mine" "a link at the place of a file$ending: not written through ($source, exit $code)"
  done
done
rm -rf "$work/linked"; mkdir "$work/linked"; ln -s "$work/outside" "$work/linked/.cache"
fetch hf://org/tiny --out "$work/linked"; ok "$code $(untouched)" "6 $work/outside/mine mine" "the folder of locks is a link: refused"
rm -rf "$work/linked"; mkdir -p "$work/linked/.cache/huggingface/download"; ln -s "$work/outside/new" "$work/linked/.cache/huggingface/download/model.safetensors.lock"
fetch hf://org/tiny --out "$work/linked"; ok "$code $(untouched)" "6 $work/outside/mine mine" "a lock is a link: refused"
rm -rf "$work/linked"; mkdir "$work/linked"; ln -s "$work/outside/mine" "$work/linked/config.json"
fetch "file://$work/root/org/tiny/config.json" --out "$work/linked"; ok "$code $(untouched) $(cmp "$work/linked/config.json" "$work/root/org/tiny/config.json" 2>&1)" "0 $work/outside/mine mine " "file://: a link is replaced, not written through"

# HTTPS with certificates of an authority of our own
authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority -keyout "$work/ca.key" -out "$work/ca.pem" &&
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=hub -keyout "$work/hub.key" -out "$work/hub.csr" &&
    echo 'subjectAltName=IP:127.0.0.1' >"$work/hub.ext" &&
    openssl x509 -req -in "$work/hub.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 2 -extfile "$work/hub.ext" -out "$work/hub.crt" &&
    cat "$work/hub.crt" "$work/hub.key" >"$work/hub.pem" && mkdir "$work/trust" && cp "$work/ca.pem" "$work/trust" && openssl rehash "$work/trust"
}
if command -v openssl >/dev/null; then
  authority >/dev/null 2>"$work/err"; ok "$?" 0 "a certificate authority"
  stop; start --tls "$work/hub.pem" --token sesame
  export HF_TOKEN=sesame
  fetch hf://org/tiny; ok "$code $(grep -ci certificate "$work/err")" "6 1" "https: an unknown authority is not trusted"
  for variable in CURL_CA_BUNDLE=$work/ca.pem SSL_CERT_FILE=$work/ca.pem "SSL_CERT_DIR=$work/trust" "REQUESTS_CA_BUNDLE=$work/ca.pem"; do
    rm -rf "$work/cache"
    (export "${variable?}"; fetch hf://org/tiny; echo "$code $(whole "$folder")" >"$work/result")
    ok "$(cat "$work/result")" "0 whole" "https: ${variable%%=*}"
  done
  [ "$(grep -c '"store"' "$work/log")" -ge 4 ] && ! grep '"store"' "$work/log" | grep -q '"authorized": true'; ok "$?" 0 "https: the store never sees the token"
  CURL_CA_BUNDLE="$work/ca.pem" fetch "$store/org/tiny/model.safetensors" --out "$work/out-https"; cmp -s "$folder" "$work/root/org/tiny/model.safetensors"; ok "$code $?" "0 0" "https: a plain address"
  stop; start --tls "$work/hub.pem" --downgrade
  CURL_CA_BUNDLE="$work/ca.pem" fetch hf://org/tiny; ok "$code $(grep -c '"store"' "$work/log")" "6 0" "https: a redirect to http is not followed"
  CURL_CA_BUNDLE="$work/ca.pem" fetch "$hub/org/tiny/resolve/main/model.safetensors" --out "$work/out-down"; ok "$code $(grep -c '"store"' "$work/log")" "6 0" "https: nor from a plain address"
  stop; unset HF_TOKEN
fi

# listings that are damaged or hostile
names='{"rfilename":"config.json"},{"rfilename":"model.safetensors"}'
sha='"sha":"0123456789abcdef0123456789abcdef01234567"'
listing() { printf '%b' "$1" >"$work/listing"; start --raw "$work/listing"; fetch hf://org/tiny --json; }
listing "{$sha,\"siblings\":[$names,$names]}"; keep twice; ok "$code" 0 "a name twice"
listing "{$sha,\"siblings\":[$names,{\"rfilename\":7},{\"rfilename\":null},3,\"x\",{}]}"; keep rows; ok "$code" 0 "rows that are none"
for text in "{$sha,\"siblings\":[$names" '' '[]' '7' '{}' "{$sha}" "{$sha,\"siblings\":7}" "{$sha,\"siblings\":{\"rfilename\":\"config.json\"}}" '{"sha":7,"siblings":[]}' "{$sha,\"siblings\":[{\"rfilename\":\"tokenizer\\u0000.json\"}]}" \
  "{$sha,\"siblings\":[{\"rfilename\":\"tokenizer\\xff.json\"}]}" '<html>not found</html>'; do
  listing "$text"; ok "$code $(grep -c . "$work/out")" "6 0" "listing ${text:0:60}"
done

# what --json says
start
fetch hf://org/tiny --json; keep fetched; ok "$code" 0 "json: fetched"
fetch hf://org/tiny --json; keep cached; ok "$code" 0 "json: cached"
HF_HUB_OFFLINE=1 fetch hf://org/tiny --json; keep offline; ok "$code" 0 "json: without a connection"
HF_HUB_OFFLINE=1 fetch hf://org/tiny --include 'pytorch*' --json; ok "$code $(grep -c . "$work/out")" "6 0" "offline: --include that matches nothing in the cache"
fetch "$store/org/tiny/model.safetensors" --json; keep plain; ok "$code" 0 "json: a plain address"
stop; fetch "$store/org/tiny/model.safetensors" --json; keep gone; ok "$code" 0 "a plain address whose server is gone: the file that is here"
python3 - "$work" <<'PYTHON'
import json, sys
doc = {n: json.load(open(f"{sys.argv[1]}/json-{n}")) for n in ("twice", "rows", "fetched", "cached", "offline", "plain", "gone")}
names = {n: [f["name"] for f in d["files"]] for n, d in doc.items()}
cached = {n: {f["cached"] for f in d["files"]} for n, d in doc.items()}
for what, good in (("a name twice is one file", names["twice"] == ["config.json", "model.safetensors"]),
                   ("rows that are none are passed over", names["rows"] == names["twice"]),
                   ("the total is the sum", doc["fetched"]["total_bytes"] == sum(f["bytes"] for f in doc["fetched"]["files"])),
                   ("the commit is told", len(doc["fetched"]["commit"]) == 40),
                   ("fetched, then cached", cached["fetched"] == {False} and cached["cached"] == {True}),
                   ("the same without a connection", {**doc["offline"], "files": 0} == {**doc["cached"], "files": 0}),
                   ("the same files without a connection", sorted(map(str, doc["offline"]["files"])) == sorted(map(str, doc["cached"]["files"]))),
                   ("a plain address has no commit", doc["plain"]["commit"] is None and doc["plain"]["total_bytes"] == 300000),
                   ("a server that is gone", doc["gone"]["path"] == doc["plain"]["path"] and doc["gone"]["files"][0]["cached"])):
    print("ok  " if good else "FAIL", "json:", what)
    if not good:
        print(json.dumps(doc, indent=1)[:3000])
        sys.exit(1)
PYTHON
ok "$?" 0 "json: all of it"
exit $failed
