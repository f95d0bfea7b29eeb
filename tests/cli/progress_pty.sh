#!/usr/bin/env bash
# The live line of a run through a pseudo-terminal of 40, 80 and 200 columns, one that is resized, one with NO_COLOR, and none at all.
set -u
. "$2/tests/cli/lib.bash"
has_command run && has_command init || { echo "skipped: this build cannot train"; exit 77; }
cat >"$T/config.json" <<'J'
{"model_type":"llama","architectures":["LlamaForCausalLM"],"hidden_size":64,"intermediate_size":128,"num_hidden_layers":4,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":256,
 "max_position_embeddings":256,"rms_norm_eps":1e-5,"rope_theta":10000.0,"tie_word_embeddings":true,"hidden_act":"silu"}
J
python3 -c "
import json
for i in range(200):
    ids = [(7 * i + 3 * k) % 250 + 2 for k in range(120)]
    print(json.dumps({'input_ids': ids, 'labels': ids}))" >"$T/data.jsonl"
expect 0 init --config "$T/config.json" --out "$T/model"
cat >"$T/terminal.py" <<'P'
import fcntl, os, pty, re, struct, sys, termios, time, select
columns, resize, color, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "color", sys.argv[4:]
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    os.environ["TERM"] = "xterm"
    os.environ.pop("NO_COLOR", None)
    if not color:
        os.environ["NO_COLOR"] = "1"
    os.execvp(command[0], command)
text, begun, resized = b"", time.time(), resize == 0
while True:
    if not select.select([fd], [], [], 60)[0]:
        os.kill(pid, 9)
        sys.exit("no output for 60 s")
    if not resized and b"step" in text:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, resize, 0, 0))
        resized, text = True, b""
        time.sleep(0.1)
    try:
        data = os.read(fd, 65536)
    except OSError:
        break
    if not data:
        break
    text += data
status = os.waitpid(pid, 0)[1]
text = text.decode("utf-8")
widest = max(columns, resize)
lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", l) for l in re.split(r"[\r\n]+", text)]
live = [l for l in lines if re.search(r"step \d+/\d+", l)]
assert os.waitstatus_to_exitcode(status) == 0, f"exit {status}: {text[-300:]}"
assert live, "no live line"
assert all(len(l) <= widest for l in live), f"a line of {max(map(len, live))} columns on {widest}"
if widest >= 80:
    assert any("tok/s" in l for l in live), "no rate"
if not color:
    assert not re.search(r"\x1b\[[0-9;]*m", text), "colours despite NO_COLOR"
print(f"{columns} columns: {len(live)} live lines, the longest {max(map(len, live))}")
P
run=(run --model "$T/model" --data "$T/data.jsonl" --method lora --rank 4 --steps 30 --eval-fraction 0 --force)
for case in "40 0 color" "80 0 color" "200 0 color" "200 60 color" "80 0 plain"; do
  checks=$((checks + 1))
  read -r columns resize color <<<"$case"
  python3 "$T/terminal.py" "$columns" "$resize" "$color" "$W" "${run[@]}" --out "$T/run-pty" || fail "pseudo-terminal: $case"
done
expect 0 "${run[@]}" --out "$T/run-plain"
checks=$((checks + 1))
LC_ALL=C grep -q $'\033' "$T/err" && fail "control sequences without a terminal"
finish
