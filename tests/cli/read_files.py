#!/usr/bin/env python3
"""Reads a GGUF or safetensors file by the formats' definitions alone, checks its structure and prints one line a tensor:
name, type, shape, first value (F32 only). Exit 1 with a reason when the file is not as it must be."""
import json
import struct
import sys

BLOCKS = {0: ("F32", 1, 4), 1: ("F16", 1, 2), 8: ("Q8_0", 32, 34), 30: ("BF16", 1, 2)}
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
REQUIRED = ["block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count"]


def fail(why):
    print("bad file:", why)
    sys.exit(1)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        v = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return v[0]

    def string(self):
        n = self.take("Q")
        s = self.data[self.at:self.at + n]
        if len(s) != n:
            fail("a string runs over the end")
        self.at += n
        return s.decode("utf-8")

    def value(self, kind):
        if kind == 8:
            return self.string()
        if kind == 9:
            item, n = self.take("I"), self.take("Q")
            return [self.value(item) for _ in range(n)]
        return self.take(SCALARS[kind])


def check_metadata(kv, tensors):
    arch = kv["general.architecture"]
    if kv.get("general.type") == "adapter":
        if kv["adapter.type"] != "lora" or not kv["adapter.lora.alpha"] > 0:
            fail("adapter keys")
        stems = [n[:-7] for n in tensors if n.endswith(".lora_a")]
        if sorted(tensors) != sorted([s + ".lora_a" for s in stems] + [s + ".lora_b" for s in stems]):
            fail("an adapter holds pairs only")
        return
    for suffix in REQUIRED:
        if not kv.get(arch + "." + suffix):
            fail("no " + arch + "." + suffix)
    if not any(k in kv for k in (arch + ".attention.layer_norm_rms_epsilon", arch + ".attention.layer_norm_epsilon")):
        fail("no epsilon of the norms")
    shape = tensors["token_embd.weight"][1]
    if kv[arch + ".embedding_length"] != shape[1]:
        fail("embedding_length is not the embedding's")
    if kv["tokenizer.ggml.model"] == "no_vocab":
        return
    tokens, types = kv["tokenizer.ggml.tokens"], kv["tokenizer.ggml.token_type"]
    if len(tokens) != shape[0] or len(types) != len(tokens) or len(set(tokens)) != len(tokens):
        fail("tokens: as many as the embedding has rows, each once")
    if kv["tokenizer.ggml.model"] == "llama" and len(kv["tokenizer.ggml.scores"]) != len(tokens):
        fail("one score a token")
    if kv["tokenizer.ggml.model"] == "gpt2":
        known = set(tokens)
        for m in kv["tokenizer.ggml.merges"]:
            left, right = m.split(" ")
            if left not in known or right not in known:
                fail("merge '%s' of unknown pieces" % m)


def read_gguf(data):
    r = Reader(data)
    if data[:4] != b"GGUF":
        fail("no magic")
    r.at = 4
    if r.take("I") != 3:
        fail("version")
    n_tensors, n_kv = r.take("Q"), r.take("Q")
    kv, infos, end = {}, {}, 0
    for _ in range(n_kv):
        key, kind = r.string(), r.take("I")
        if key in kv:
            fail("key twice: " + key)
        kv[key] = r.value(kind)
    for _ in range(n_tensors):
        name, rank = r.string(), r.take("I")
        shape = [r.take("Q") for _ in range(rank)][::-1]
        kind, offset = r.take("I"), r.take("Q")
        label, block, size = BLOCKS[kind]
        count = 1
        for d in shape:
            count *= d
        if name in infos or shape[-1] % block or offset % 32 or offset < end:
            fail("tensor " + name)
        end = offset + count // block * size
        infos[name] = (label, shape, offset)
    start = (r.at + 31) // 32 * 32
    if start + (end + 31) // 32 * 32 != len(data):
        fail("the file ends elsewhere than its last tensor")
    check_metadata(kv, infos)
    return infos, start


def read_safetensors(data):
    n = struct.unpack_from("<Q", data)[0]
    if n % 8 or n + 8 > len(data):
        fail("length of the header")
    infos, end = {}, 0
    for name, t in json.loads(data[8:8 + n]).items():
        if name == "__metadata__":
            continue
        begin, stop = t["data_offsets"]
        count = {"F32": 4, "F16": 2, "BF16": 2}[t["dtype"]]
        for d in t["shape"]:
            count *= d
        if begin != end or stop - begin != count:
            fail("tensor " + name)
        end = stop
        infos[name] = (t["dtype"], t["shape"], begin)
    if 8 + n + end != len(data):
        fail("the file ends elsewhere than its last tensor")
    return infos, 8 + n


def main():
    data = open(sys.argv[1], "rb").read()
    infos, start = read_gguf(data) if sys.argv[1].endswith(".gguf") else read_safetensors(data)
    for name, (label, shape, offset) in infos.items():
        first = "%.9g" % struct.unpack_from("<f", data, start + offset)[0] if label == "F32" and 0 not in shape else "-"
        print(name, label, "x".join(map(str, shape)), first)


main()
