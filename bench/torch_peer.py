#!/usr/bin/env python3
"""The peer of bench/train.py: the same fine-tuning problem in eager PyTorch, as people run it (right padding to the longest row, all logits).

  torch_peer.py --model DIR --data ROWS.jsonl --method lora|full --steps N --batch B [--rank R --alpha A] [--adapter-init F] [--threads T] [--lr X]

DIR is a Hugging Face folder (llama, qwen2 or gpt2) in float32 safetensors; ROWS.jsonl holds {"input_ids","labels"} rows, taken in order. Needs torch and numpy only.
Prints one JSON object: losses, seconds of each step, peak memory, the BLAS in use.
"""
import argparse
import ctypes
import json
import math
import os
import resource
import struct
import sys
import time

for i, a in enumerate(sys.argv):
    if a == "--threads":
        for v in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ[v] = sys.argv[i + 1]
import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn as nn  # noqa: E402
import torch.nn.functional as F  # noqa: E402

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--model", required=True)
ap.add_argument("--data", required=True)
ap.add_argument("--method", choices=("lora", "full"), default="lora")
ap.add_argument("--steps", type=int, default=5)
ap.add_argument("--batch", type=int, default=4)
ap.add_argument("--rank", type=int, default=8)
ap.add_argument("--alpha", type=float, default=16)
ap.add_argument("--adapter-init")
ap.add_argument("--threads", type=int, default=2)
ap.add_argument("--lr", type=float, default=1e-4)
ap.add_argument("--weight-decay", type=float, default=0.01)
opt = ap.parse_args()
torch.set_num_threads(opt.threads)
c = json.load(open(os.path.join(opt.model, "config.json")))
gpt2 = c["model_type"] == "gpt2"
hidden = c["n_embd"] if gpt2 else c["hidden_size"]
heads = c["n_head"] if gpt2 else c["num_attention_heads"]
kv = heads if gpt2 else c.get("num_key_value_heads", heads)
layers = c["n_layer"] if gpt2 else c["num_hidden_layers"]
ffn = (c.get("n_inner") or 4 * hidden) if gpt2 else c["intermediate_size"]
dim = hidden // heads if gpt2 else c.get("head_dim") or hidden // heads
qkv_bias = c["model_type"] == "qwen2" or c.get("attention_bias", False)


def tensors(path):
    for name in sorted(os.listdir(path)):
        if not name.endswith(".safetensors"):
            continue
        raw = np.memmap(os.path.join(path, name), dtype=np.uint8, mode="r")
        n = struct.unpack("<Q", raw[:8].tobytes())[0]
        for k, t in json.loads(raw[8:8 + n].tobytes()).items():
            if k != "__metadata__":
                a, b = t["data_offsets"]
                yield k, torch.from_numpy(np.frombuffer(raw[8 + n + a:8 + n + b].tobytes(), np.float32).reshape(t["shape"]).copy())


class Linear(nn.Module):
    def __init__(self, n_in, n_out, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.empty((n_in, n_out) if gpt2 else (n_out, n_in)))
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None
        self.n_in, self.n_out, self.a, self.b = n_in, n_out, None, None

    def forward(self, x):
        if gpt2:
            y = torch.addmm(self.bias, x.reshape(-1, self.n_in), self.weight).view(*x.shape[:-1], self.n_out)
        else:
            y = F.linear(x, self.weight, self.bias)
        return y if self.a is None else y + F.linear(F.linear(x, self.a), self.b) * (opt.alpha / opt.rank)


class RMSNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + c["rms_norm_eps"]))


def attend(q, k, v, mask):
    if heads != kv:
        k, v = k.repeat_interleave(heads // kv, 1), v.repeat_interleave(heads // kv, 1)
    return torch.matmul(F.softmax(torch.matmul(q, k.transpose(2, 3)) / math.sqrt(dim) + mask, -1), v)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        if gpt2:
            self.c_attn, self.c_proj = Linear(hidden, 3 * hidden, True), Linear(hidden, hidden, True)
        else:
            self.q_proj, self.o_proj = Linear(hidden, heads * dim, qkv_bias), Linear(heads * dim, hidden, False)
            self.k_proj, self.v_proj = Linear(hidden, kv * dim, qkv_bias), Linear(hidden, kv * dim, qkv_bias)

    def forward(self, x, mask, rope):
        b, t, _ = x.shape
        if gpt2:
            q, k, v = (u.view(b, t, heads, dim).transpose(1, 2) for u in self.c_attn(x).split(hidden, 2))
            return self.c_proj(attend(q, k, v, mask).transpose(1, 2).reshape(b, t, hidden))
        q, k, v = (p(x).view(b, t, -1, dim).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))

        def rot(u):
            lo, hi = u.chunk(2, -1)
            return u * rope[0] + torch.cat((-hi, lo), -1) * rope[1]

        return self.o_proj(attend(rot(q), rot(k), v, mask).transpose(1, 2).reshape(b, t, heads * dim))


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        if gpt2:
            self.c_fc, self.c_proj = Linear(hidden, ffn, True), Linear(ffn, hidden, True)
        else:
            self.gate_proj, self.up_proj, self.down_proj = Linear(hidden, ffn, False), Linear(hidden, ffn, False), Linear(ffn, hidden, False)

    def forward(self, x):
        if gpt2:
            return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        if gpt2:
            self.ln_1, self.attn, self.ln_2, self.mlp = nn.LayerNorm(hidden), Attention(), nn.LayerNorm(hidden), MLP()
        else:
            self.input_layernorm, self.self_attn, self.post_attention_layernorm, self.mlp = RMSNorm(), Attention(), RMSNorm(), MLP()

    def forward(self, x, mask, rope):
        if gpt2:
            x = x + self.attn(self.ln_1(x), mask, rope)
            return x + self.mlp(self.ln_2(x))
        x = x + self.self_attn(self.input_layernorm(x), mask, rope)
        return x + self.mlp(self.post_attention_layernorm(x))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        if gpt2:
            self.wte, self.wpe = nn.Embedding(c["vocab_size"], hidden), nn.Embedding(c["n_positions"], hidden)
            self.h, self.ln_f = nn.ModuleList(Block() for _ in range(layers)), nn.LayerNorm(hidden)
        else:
            self.embed_tokens, self.layers, self.norm = nn.Embedding(c["vocab_size"], hidden), nn.ModuleList(Block() for _ in range(layers)), RMSNorm()
        self.lm_head = None if c.get("tie_word_embeddings", gpt2) else nn.Linear(hidden, c["vocab_size"], bias=False)

    def forward(self, ids):
        t = ids.shape[1]
        mask = torch.full((t, t), float("-inf")).triu(1)
        if gpt2:
            x, rope = self.wte(ids) + self.wpe.weight[:t], None
        else:
            angle = torch.outer(torch.arange(t, dtype=torch.float64), 1.0 / c["rope_theta"] ** (torch.arange(0, dim, 2, dtype=torch.float64) / dim))
            angle = torch.cat((angle, angle), -1)
            x, rope = self.embed_tokens(ids), (angle.cos().float(), angle.sin().float())
        for block in self.h if gpt2 else self.layers:
            x = block(x, mask, rope)
        x = self.ln_f(x) if gpt2 else self.norm(x)
        table = self.lm_head.weight if self.lm_head is not None else (self.wte if gpt2 else self.embed_tokens).weight
        return F.linear(x, table)


def blas():
    out = []
    for line in open("/proc/self/maps"):
        p = line.split()[-1]
        if "openblas" in os.path.basename(p) and p not in [o["library"] for o in out]:
            lib = ctypes.CDLL(p)
            lib.openblas_get_config.restype = ctypes.c_char_p
            out.append({"library": p, "config": lib.openblas_get_config().decode().strip()})
    return out


model = Model()
named = dict(model.named_parameters())
for name, t in tensors(opt.model):
    key = name.replace("transformer.", "", 1).replace("model.", "", 1)
    if key in named:
        with torch.no_grad():
            named[key].copy_(t)
train = list(model.parameters())
if opt.method == "lora":
    for p in train:
        p.requires_grad_(False)
    have = dict(tensors(opt.adapter_init)) if opt.adapter_init else {}
    train = []
    for n, m in model.named_modules():
        if isinstance(m, Linear):
            m.a, m.b = nn.Parameter(torch.empty(opt.rank, m.n_in)), nn.Parameter(torch.zeros(m.n_out, opt.rank))
            full = "base_model.model." + ("transformer." if gpt2 else "model.") + n
            if have:
                with torch.no_grad():
                    m.a.copy_(have[full + ".lora_A.weight"])
                    m.b.copy_(have[full + ".lora_B.weight"])
            else:
                nn.init.kaiming_uniform_(m.a, a=math.sqrt(5))
            train += [m.a, m.b]
optimizer = torch.optim.AdamW(train, lr=opt.lr, weight_decay=opt.weight_decay)
rows = [json.loads(line) for line in open(opt.data)]
losses, seconds, tokens = [], [], 0
for s in range(opt.steps):
    batch = [rows[(s * opt.batch + i) % len(rows)] for i in range(opt.batch)]
    longest = max(len(r["input_ids"]) for r in batch)
    ids = torch.tensor([r["input_ids"] + [0] * (longest - len(r["input_ids"])) for r in batch])
    labels = torch.tensor([r["labels"] + [-100] * (longest - len(r["labels"])) for r in batch])
    begin = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    logits = model(ids)
    loss = F.cross_entropy(logits[:, :-1].reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1))
    loss.backward()
    optimizer.step()
    losses.append(float(loss))
    seconds.append(time.perf_counter() - begin)
    tokens += sum(len(r["input_ids"]) for r in batch)
print(json.dumps({"losses": losses, "step_s": seconds, "tokens": tokens, "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                  "torch": torch.__version__, "blas": blas()}))
