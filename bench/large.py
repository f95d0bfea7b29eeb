#!/usr/bin/env python3
"""Whether a large model can be trained on a small machine: some steps on random weights of a large shape, memory and time as said and as taken.

  large.py --wattune BIN --work DIR [--shape 7b] [-- OPTION ...]

Writes a Llama checkpoint in bf16 (a piece of normal numbers, repeated: 13.5 GB for 7b), which is kept in --work, and runs with OPTION (else: --method lora --rank 8
--weights nf4 --batch 1 --seq-len 256 --steps 3 --max-memory 6.5GB). Prints one row for bench/RESULTS.md. Converted weights go to --work too.
"""
import argparse
import json
import os
import random
import struct
import subprocess
import sys
import time

SHAPES = {  # hidden, feed-forward, blocks, heads, key-value heads, vocabulary
    "7b": (4096, 11008, 32, 32, 32, 32000),
    "1.5b": (1536, 8960, 28, 12, 2, 151936),
    "tiny": (64, 128, 2, 4, 2, 512),
}
USUAL = "--method lora --rank 8 --weights nf4 --batch 1 --seq-len 256 --steps 3 --max-memory 6.5GB --eval-fraction 0".split()
PIECE = 1 << 20  # numbers


def bf16(x):
    return struct.unpack("<I", struct.pack("<f", x))[0] >> 16


def tensors(shape):
    h, f, blocks, heads, kv, vocab = shape
    narrow = h // heads * kv
    yield "model.embed_tokens.weight", [vocab, h]
    for i in range(blocks):
        p = f"model.layers.{i}."
        for name, out, width in (("self_attn.q_proj", h, h), ("self_attn.k_proj", narrow, h), ("self_attn.v_proj", narrow, h), ("self_attn.o_proj", h, h),
                                 ("mlp.gate_proj", f, h), ("mlp.up_proj", f, h), ("mlp.down_proj", h, f)):
            yield f"{p}{name}.weight", [out, width]
        yield p + "input_layernorm.weight", [h]
        yield p + "post_attention_layernorm.weight", [h]
    yield "model.norm.weight", [h]
    yield "lm_head.weight", [vocab, h]


def write_model(folder, shape):
    h, f, blocks, heads, kv, vocab = shape
    rng = random.Random(7)
    piece = b"".join(struct.pack("<H", bf16(rng.gauss(0, 0.02))) for _ in range(PIECE))
    one = struct.pack("<H", bf16(1.0))
    head, at = {}, 0
    for name, dims in tensors(shape):
        n = dims[0] * (dims[1] if len(dims) > 1 else 1)
        head[name] = {"dtype": "BF16", "shape": dims, "data_offsets": [at, at + 2 * n]}
        at += 2 * n
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    os.makedirs(folder)
    with open(folder + "/model.safetensors.new", "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for name, dims in tensors(shape):
            n = dims[0] * (dims[1] if len(dims) > 1 else 1)
            if len(dims) == 1:
                out.write(one * n)
                continue
            turn = 2 * rng.randrange(PIECE)  # so that no two weights are alike
            for done in range(0, 2 * n, len(piece)):
                part = piece[turn:] + piece[:turn]
                out.write(part[:2 * n - done])
        out.flush()
        os.fsync(out.fileno())
    os.rename(folder + "/model.safetensors.new", folder + "/model.safetensors")
    with open(folder + "/config.json", "w") as out:
        json.dump({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": vocab, "hidden_size": h, "intermediate_size": f,
                   "num_hidden_layers": blocks, "num_attention_heads": heads, "num_key_value_heads": kv, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
                   "max_position_embeddings": 4096, "hidden_act": "silu", "tie_word_embeddings": False, "torch_dtype": "bfloat16", "bos_token_id": 1,
                   "eos_token_id": 2}, out)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--wattune", required=True)
    ap.add_argument("--work", required=True)
    ap.add_argument("--shape", choices=SHAPES, default="7b")
    ap.add_argument("options", nargs="*")
    opt = ap.parse_args()
    folder = os.path.join(opt.work, opt.shape)
    if not os.path.exists(folder + "/config.json"):
        write_model(folder, SHAPES[opt.shape])
    data = os.path.join(opt.work, "data.jsonl")
    rng = random.Random(1)
    with open(data, "w") as f:
        for _ in range(64):
            f.write(json.dumps({"input_ids": [rng.randrange(SHAPES[opt.shape][5]) for _ in range(256)]}) + "\n")
    env = dict(os.environ, XDG_CACHE_HOME=opt.work + "/cache", XDG_STATE_HOME=opt.work + "/state")
    out = os.path.join(opt.work, "run")
    began = time.monotonic()
    run = subprocess.Popen([opt.wattune, "run", "--model", folder, "--data", data, "--out", out, "--force", "-q", *(opt.options or USUAL)], env=env, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(run.pid, 0)
    if status:
        sys.exit(f"wattune: exit {os.waitstatus_to_exitcode(status)}")
    with open(out + "/report.json") as f:
        report = json.load(f)
    with open(out + "/metrics.jsonl") as f:
        steps = [json.loads(line) for line in f]
    gb = lambda n: f"{n / 1e9:.3f}"
    print(f"| {opt.shape} | `{' '.join(opt.options or USUAL)}` | {gb(report['plan']['memory_bytes'])} | {gb(report['actual']['peak_rss_bytes'])} | {gb(usage.ru_maxrss * 1024)} | "
          f"{', '.join(format(s['step_s'], '.1f') for s in steps)} | {time.monotonic() - began:.0f} | {steps[0]['loss']:.3f} |")
    print({p["name"]: round(p["time_s"], 1) for p in report["phases"]})


main()
