#!/usr/bin/env bash
# `wattune fetch` against a hub on 127.0.0.1 with faults: what arrives, what is asked for, what is refused.
set -u
wattune=$1
source_dir=$2
# shellcheck source=tests/cli/hub.bash
. "$source_dir/tests/cli/hub.bash"
mkdir -p "$work/root/org/big"
echo 'pickle' >"$work/root/org/tiny/pytorch_model.bin"
head -c 40000000 /dev/urandom >"$work/root/org/big/model.safetensors"
echo '{}' >"$work/root/org/big/config.json"
events() { grep -c "\"method\": \"$1\"" "$work/log"; }
export HF_HUB_CACHE="$work/cache/hub" HF_HOME="$work/cache" XDG_CACHE_HOME="$work/cache/xdg" XDG_STATE_HOME="$work/state"
fetch() { "$wattune" fetch "$@" >"$work/out" 2>"$work/err"; code=$?; folder=$(cat "$work/out"); return 0; }
sum_sent() { sed -n "s|.*\"method\": \"GET\", \"path\": \"[^\"]*$1[^\"]*\".*\"sent\": \([0-9]*\)}|\1|p" "$work/log" | awk '{ sum += $1 } END { printf "%d\n", sum }'; }

# what waits for a server that is not there runs beside all the rest
(HF_ENDPOINT=http://127.0.0.1:9 HF_HUB_CACHE="$work/none" "$wattune" fetch hf://org/nothing >/dev/null 2>"$work/unreached"; echo $? >"$work/unreached.code") &
unreached=$!
start
fetch hf://org/tiny
ok "$code" 0 "plain: exit"
cmp -s "$folder/model.safetensors" "$work/root/org/tiny/model.safetensors"; ok "$?" 0 "plain: same bytes"
[ -e "$folder/pytorch_model.bin" ]; ok "$?" 1 "plain: no pickle duplicates"
commit=$(basename "$folder")
ok "$(cat "$work/cache/hub/models--org--tiny/refs/main")" "$commit" "layout: refs/main names the snapshot, without a newline"
ok "$(readlink "$folder/model.safetensors")" "../../blobs/$(sha256sum <"$work/root/org/tiny/model.safetensors" | cut -d' ' -f1)" "layout: relative link to the blob named by sha256"
ok "$(readlink "$folder/config.json")" "../../blobs/$(git hash-object "$work/root/org/tiny/config.json" 2>/dev/null || python3 -c "import hashlib,sys;d=open('$work/root/org/tiny/config.json','rb').read();print(hashlib.sha1(b'blob %d\0'%len(d)+d).hexdigest())")" "layout: small files by git's sha1"
ok "$(grep -c '"GET".*resolve.*/config.json' "$work/log") $(grep -c '"HEAD".*/config.json' "$work/log")" "2 0" "a small file: no HEAD, it comes with the answer (once by the branch beside the listing, once by the commit)"
fetch hf://org/tiny; ok "$(grep -c '"GET".*resolve' "$work/log")" "$(grep -c . <<<"$(grep '"GET".*resolve' "$work/log")")" "second time: exit $code"
stop
HF_HUB_OFFLINE=1 fetch hf://org/tiny; ok "$code" 0 "offline: the cache serves"
HF_HUB_OFFLINE=1 fetch hf://org/other; ok "$code" 6 "offline: what is not there is exit 6"

start; fetch hf://org/tiny@refs/pr/1; ok "$code $(cat "$work/cache/hub/models--org--tiny/refs/refs/pr/1")" "0 $(basename "$folder")" "layout: the ref of a revision with slashes"
grep -q '"path": "/api/models/org/tiny/revision/refs%2Fpr%2F1' "$work/log"; ok "$?" 0 "a revision with slashes is one component of the address"
head -n 1 "$work/cache/hub/CACHEDIR.TAG" | grep -q '^Signature: 8a477f597d28d172789f06886806bc55$'; ok "$?" 0 "layout: CACHEDIR.TAG"
mkdir "$work/root/org/tiny/sub"; cp "$work/root/org/tiny/config.json" "$work/root/org/tiny/sub/deep.json"
start --hostile sub/deep.json; (unset HF_HUB_CACHE; fetch hf://org/tiny --include 'sub/*'; echo "$code $(readlink "$folder/sub/deep.json" | sed 's|[0-9a-f]\{40\}$|SHA1|') ${folder%/models--*}" >"$work/result")
ok "$(cat "$work/result")" "0 ../../../blobs/SHA1 $HF_HOME/hub" "layout: the link of a file in a folder, and the cache below HF_HOME"
rm -r "$work/root/org/tiny/sub"

# an index decides what is fetched; it comes once, and not at all from a cache that has it
echo '{"weight_map":{"a":"model.safetensors"}}' >"$work/root/org/tiny/model.safetensors.index.json"
start; fetch hf://org/tiny; ok "$code $(grep -c '"GET".*resolve.*index.json' "$work/log")" "0 1" "index: fetched once"
cmp -s "$folder/model.safetensors.index.json" "$work/root/org/tiny/model.safetensors.index.json"; ok "$?" 0 "index: same bytes"
fetch hf://org/tiny; ok "$code $(grep -c '"GET".*resolve.*index.json' "$work/log")" "0 1" "index: taken from the cache"
rm "$work/root/org/tiny/model.safetensors.index.json"
start --drop 3000000
fetch hf://org/big; ok "$code" 0 "cut connections: exit"
cmp -s "$folder/model.safetensors" "$work/root/org/big/model.safetensors"; ok "$?" 0 "cut connections: same bytes"
ok "$(sum_sent org/big/model)" 40000000 "cut connections: no byte twice"

start --busy 6; fetch hf://org/tiny; ok "$code" 0 "busy server: tried again"
start --no-range --slow 0; fetch hf://org/big; ok "$code" 0 "no ranges: exit"
cmp -s "$folder/model.safetensors" "$work/root/org/big/model.safetensors"; ok "$?" 0 "no ranges: same bytes"
# the same first bytes again and again are no progress: a server without ranges that always cuts is not asked without a pause or an end
start --no-range --drop 100000; timeout 3 "$wattune" fetch hf://org/tiny >/dev/null 2>&1
n=$(grep -c '"where": "store", "method": "GET"' "$work/log"); [ "$n" -ge 1 ] && [ "$n" -le 12 ]; ok "$?" 0 "no ranges, always cut: $n requests in 3 s"
start --drop 5000000 --expire 2; fetch hf://org/big; ok "$code" 0 "expired addresses are asked for again"
start --token sesame
fetch hf://org/tiny; ok "$code" 6 "token absent"
HF_TOKEN=wrong fetch hf://org/tiny; ok "$code" 6 "token wrong"
grep -q wrong "$work/err"; ok "$?" 1 "token is not printed"
HF_TOKEN=sesame fetch hf://org/tiny; ok "$code" 0 "token right"
grep '"store"' "$work/log" | grep -q '"authorized": true'; ok "$?" 1 "the store never sees the token"
start --corrupt model.safetensors
fetch hf://org/tiny; ok "$code" 6 "damaged file: exit"
find "$work/cache/hub" -name '*incomplete*' | grep -q .; ok "$?" 1 "damaged file: nothing is left of it"
ok "$(grep -c 'GET.*tiny/model' "$work/log")" 2 "damaged file: tried once more"
start --corrupt config.json; fetch hf://org/tiny; ok "$code $(grep -c 'once more' "$work/err")" "6 1" "damaged small file: tried once more, then exit"
for name in ../evil.safetensors /etc/evil.safetensors a/../../evil.safetensors 'NUL.safetensors'; do
  start --hostile "$name"; fetch hf://org/tiny --include '*evil.safetensors'; [ "$name" = NUL.safetensors ] && fetch hf://org/tiny
  ok "$code" 6 "hostile name $name"
done
start --loop; fetch hf://org/tiny; ok "$code" 6 "redirect loop"
start --lie 100; fetch hf://org/tiny; ok "$code" 6 "a Content-Length that lies: exit"
find "$work/cache/hub" -path '*snapshots*' -name config.json | grep -q .; ok "$?" 1 "a Content-Length that lies: no file takes its name"

start --slow 0.004
for i in $(seq 10); do
  begun=$(grep -c '"BEGIN".*big/model' "$work/log")
  "$wattune" fetch hf://org/big >/dev/null 2>&1 & victim=$!
  for _ in $(seq 1000); do # killed a random while after its body has begun
    [ "$(grep -c '"BEGIN".*big/model' "$work/log")" -gt "$begun" ] || ! kill -0 "$victim" 2>/dev/null && break
    sleep 0.01
  done
  sleep "0.0$((RANDOM % 10))"
  { kill -KILL "$victim" && wait "$victim"; } 2>/dev/null
done
fetch hf://org/big; ok "$code" 0 "killed ten times: exit"
cmp -s "$folder/model.safetensors" "$work/root/org/big/model.safetensors"; ok "$?" 0 "killed ten times: same bytes"
connections=$(grep -c '"GET".*big/model' "$work/log")
twice=$(($(sum_sent org/big/model) - 40000000))
echo "     killed ten times: $twice bytes came twice over $connections connections"
[ "$connections" -gt 5 ] && [ "$twice" -le $((connections * 131072)) ]; ok "$?" 0 "killed ten times: no more than a block and what its socket held twice a connection"
start --slow 0.006; fetch hf://org/big; ok "$code" 0 "slow line: exit"
cmp -s "$folder/model.safetensors" "$work/root/org/big/model.safetensors"; ok "$?" 0 "slow line: same bytes"
ok "$(grep -c '"GET".*org/big/model' "$work/log")" 2 "slow line: a second connection"
start --slow 0.001
fetch hf://org/big & a=$!
"$wattune" fetch hf://org/big >"$work/out2" 2>/dev/null; ok "$?" 0 "two at once: exit"
wait "$a"
[ "$(sum_sent org/big/model)" -lt 44000000 ]; ok "$?" 0 "two at once: one of them fetched (what is on the wire when a range is split may come twice)"
if mkdir "$work/small" && mount -t tmpfs -o size=8m tmpfs "$work/small" 2>/dev/null; then
  start; HF_HUB_CACHE="$work/small/hub" fetch hf://org/big; ok "$code" 6 "disk full: exit"; grep -q 'disk' "$work/err"; ok "$?" 0 "disk full: says so"
  ok "$(grep -c '"store"' "$work/log")" 0 "disk full: before the first byte"
  umount "$work/small"
fi

start
fetch hf://org/tiny; stop
fetch hf://org/tiny; ok "$code" 0 "no connection, but a cache: it serves"
start --pages 2; fetch hf://org/tiny; ok "$code" 0 "listing of several pages: exit"
cmp -s "$folder/tokenizer.json" "$work/root/org/tiny/tokenizer.json"; ok "$?" 0 "listing of several pages: the last name has come"
start --header 90000; fetch hf://org/tiny; ok "$code" 0 "a header of 90 kB: passed over"
start --header 400000; HF_HUB_CACHE="$work/none" timeout 100 "$wattune" fetch hf://org/tiny >/dev/null 2>&1; ok "$?" 6 "a header of 400 kB: refused"
start --busy 2 --date; begun=$(date +%s%N); fetch hf://org/tiny; ok "$code" 0 "Retry-After as a date: exit"
[ $((($(date +%s%N) - begun) / 1000000)) -lt 15000 ]; ok "$?" 0 "Retry-After as a date: waited for no longer than it says"
start --stall 1; HF_HUB_DOWNLOAD_TIMEOUT=2 fetch hf://org/tiny; ok "$code" 0 "stalled connection: exit"
for _ in $(seq 100); do [ "$(events STALL)" = 1 ] && break; sleep 0.05; done
ok "$(grep -c '"STALL".*"status": "client"' "$work/log")" 1 "stalled connection: dropped by the client, not ended by the server"
start --big 5000000000; fetch hf://org/big --dry-run; ok "$code" 0 "5 GB: exit"
grep -q '4.66 GiB' "$work/out"; ok "$?" 0 "5 GB: the size is told"
start; http_proxy=$HF_ENDPOINT HF_ENDPOINT=http://models.example fetch hf://org/tiny --include config.json; ok "$code" 0 "through a proxy"
no_proxy=127.0.0.1 http_proxy=http://127.0.0.1:9 fetch hf://org/tiny --include tokenizer.json; ok "$code" 0 "no_proxy is honoured"
start; cp "$work/root/org/tiny/config.json" "$work/root/org/big/generation_config.json"; cp "$work/root/org/tiny/config.json" "$work/root/org/big/tokenizer.json"
fetch hf://org/big; ok "$code" 0 "files of the same content: one blob, no wait for itself"
rm "$work/root/org/big/generation_config.json" "$work/root/org/big/tokenizer.json"
# a cache that another program has written: same layout, no connection
other="$work/other/models--org--made"; sha=0123456789abcdef0123456789abcdef01234567
mkdir -p "$other/refs" "$other/blobs" "$other/snapshots/$sha/sub"
printf %s "$sha" >"$other/refs/main"; cp "$work/root/org/tiny/config.json" "$other/blobs/aaaa"; cp "$work/root/org/tiny/model.safetensors" "$other/blobs/bbbb"
ln -s ../../blobs/aaaa "$other/snapshots/$sha/config.json"; ln -s ../../blobs/bbbb "$other/snapshots/$sha/model.safetensors"; ln -s ../../../blobs/aaaa "$other/snapshots/$sha/sub/x.json"
stop
HF_ENDPOINT=http://127.0.0.1:9 HF_HUB_OFFLINE=1 HF_HUB_CACHE="$work/other" fetch hf://org/made; ok "$folder" "$other/snapshots/$sha" "offline: a cache written elsewhere is used"
HF_ENDPOINT=http://127.0.0.1:9 HF_HUB_OFFLINE=1 HF_HUB_CACHE="$work/other" fetch "hf://org/made@$sha"; ok "$folder" "$other/snapshots/$sha" "offline: by commit"
echo '{"weight_map":{"w":"model-2.safetensors"}}' >"$other/snapshots/$sha/model.safetensors.index.json"
HF_ENDPOINT=http://127.0.0.1:9 HF_HUB_OFFLINE=1 HF_HUB_CACHE="$work/other" fetch hf://org/made; ok "$code" 6 "offline: a torn snapshot is refused"
start
fetch "$store/org/tiny/model.safetensors" --out "$work/plain" --sha256 "$(sha256sum <"$work/root/org/tiny/model.safetensors" | cut -d' ' -f1)"; ok "$code" 0 "plain address"
fetch "$store/org/big/model.safetensors" --out "$work/parts"; cmp -s "$folder" "$work/root/org/big/model.safetensors"; ok "$code $?" "0 0" "plain address of a large file: same bytes"
ok "$(sum_sent org/big/model) $(grep -c '"GET".*big/model' "$work/log") $(grep -c HEAD "$work/log")" "40000000 1 0" "plain address of a large file: one request, no byte twice"
: >"$work/root/org/big/empty"; fetch "$store/org/big/empty" --out "$work/empty"; rm "$work/root/org/big/empty"
[ "$code" = 0 ] && [ -e "$work/empty/empty" ] && [ ! -s "$work/empty/empty" ]; ok "$?" 0 "plain address of an empty file, which has no first byte to ask for"
start --no-range; fetch "$store/org/big/model.safetensors" --out "$work/whole"; cmp -s "$folder" "$work/root/org/big/model.safetensors"; ok "$code $?" "0 0" "plain address, no ranges: same bytes"
ok "$(sum_sent org/big/model)" 40000000 "plain address, no ranges: no byte twice"
start
fetch "$store/org/tiny/model.safetensors" --out "$work/plain2" --sha256 "$(printf '0%.0s' $(seq 64))"; ok "$code" 6 "wrong --sha256"
[ -e "$work/plain2/model.safetensors" ]; ok "$?" 1 "wrong --sha256: nothing is left"
fetch "file://$work/root/org/tiny/config.json"; ok "$folder" "$work/root/org/tiny/config.json" "file://"
fetch gopher://x/y; ok "$code" 2 "unknown scheme"
# the other hubs
start; fetch ms://org/tiny; ok "$code" 0 "ModelScope: exit"
cmp -s "$folder/model.safetensors" "$work/root/org/tiny/model.safetensors"; ok "$?" 0 "ModelScope: same bytes"
[ -e "$folder/pytorch_model.bin" ]; ok "$?" 1 "ModelScope: only what training needs"
start --corrupt model.safetensors; fetch ms://org/tiny; ok "$code" 6 "ModelScope: damaged file"
start; fetch hf://datasets/org/tiny/config.json; ok "$(basename "$folder") $code" "config.json 0" "dataset: the one file"
[ -e "$work/cache/hub/datasets--org--tiny/refs/main" ]; ok "$?" 0 "dataset: in the cache's layout"
fetch hf://datasets/org/tiny; [ -e "$folder/pytorch_model.bin" ]; ok "$?" 0 "dataset: all of it"
# planning before the weights: a model of a megabyte, of which the headers are read
cat >"$work/config.json" <<'J'
{"model_type":"llama","architectures":["LlamaForCausalLM"],"hidden_size":64,"intermediate_size":176,"num_hidden_layers":5,"num_attention_heads":8,"num_key_value_heads":4,"vocab_size":512,
 "max_position_embeddings":256,"rms_norm_eps":1e-5,"rope_theta":10000.0,"tie_word_embeddings":true,"hidden_act":"silu"}
J
"$wattune" init --config "$work/config.json" --out "$work/root/org/model" >/dev/null 2>&1; ok "$?" 0 "a model to plan for"
for i in 1 2 3 4 5 6 7 8; do echo '{"input_ids":[3,4,5,6,7,8],"labels":[3,4,5,6,7,8]}'; done >"$work/data.jsonl"
plans() { "$wattune" estimate --model "$1" --data "$work/data.jsonl" --steps 2 --json >"$work/out" 2>"$work/err"; ok "$?" 0 "$2: exit"; grep -q '"params": 263872' "$work/out"; ok "$?" 0 "$2: its parameters"; }
start; plans hf://org/model "headers of a repository"
[ "$(sum_sent org/model/model)" -gt 1000 ] && [ "$(sum_sent org/model/model)" -le 100000 ]; ok "$?" 0 "headers of a repository: no weights have come"
plans "$store/org/model/model.safetensors" "headers of an address"
[ "$(sum_sent org/model/model)" -le 200000 ]; ok "$?" 0 "headers of an address: no weights have come"
"$wattune" eval --model "$store/org/model/model.safetensors" --data "$work/data.jsonl" >/dev/null 2>"$work/err"; ok "$?" 0 "weights by an address, config beside it"
mkdir "$work/root/org/rows"; cp "$work/data.jsonl" "$work/root/org/rows"
"$wattune" eval --model hf://org/model --data hf://datasets/org/rows/data.jsonl >/dev/null 2>"$work/err"; ok "$?" 0 "model and data by the names of the hub"
wait "$unreached"; ok "$(cat "$work/unreached.code")" 6 "no connection: exit"
grep -q 'connect' "$work/unreached"; ok "$?" 0 "no connection: says so"
exit $failed
