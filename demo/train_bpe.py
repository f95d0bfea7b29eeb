#!/usr/bin/env python3
"""Learns a small byte-level BPE from a text and writes tokenizer.json and tokenizer_config.json.

  train_bpe.py TEXT OUT_DIR [--vocab N]

256 bytes + merges + <|endoftext|> (the last id). Words are split as GPT-2 splits them, for ASCII text. Ties go to the pair seen first.
"""
import argparse
import collections
import json
import os
import re

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("text")
ap.add_argument("out")
ap.add_argument("--vocab", type=int, default=512)
opt = ap.parse_args()


def byte_chars():
    """The printable stand-in of each byte, as byte-level BPE vocabularies write them."""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, extra = {}, 0
    for b in range(256):
        if b in keep:
            table[b] = chr(b)
        else:
            table[b] = chr(256 + extra)
            extra += 1
    return table


table = byte_chars()
split = re.compile(r"'(?:s|t|re|ve|m|ll|d)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")
counts = collections.Counter(split.findall(open(opt.text, encoding="utf-8").read()))
words = [([table[b] for b in w.encode()], n) for w, n in counts.items()]
vocab = [table[b] for b in range(256)]
merges = []
while len(vocab) < opt.vocab - 1:
    pairs = collections.Counter()
    for symbols, n in words:
        for pair in zip(symbols, symbols[1:]):
            pairs[pair] += n
    if not pairs:
        break
    best = max(pairs.items(), key=lambda kv: (kv[1], [-ord(c) for c in kv[0][0] + kv[0][1]]))[0]
    merges.append(best)
    vocab.append(best[0] + best[1])
    for symbols, _ in words:
        i = 0
        while i + 1 < len(symbols):
            if (symbols[i], symbols[i + 1]) == best:
                symbols[i:i + 2] = [best[0] + best[1]]
            i += 1
end = "<|endoftext|>"
ids = {t: i for i, t in enumerate(vocab)}
ids[end] = len(vocab)
doc = {
    "version": "1.0", "truncation": None, "padding": None,
    "added_tokens": [{"id": ids[end], "content": end, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}],
    "normalizer": None,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    "post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
    "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": False,
              "byte_fallback": False, "vocab": ids, "merges": [f"{a} {b}" for a, b in merges]},
}
os.makedirs(opt.out, exist_ok=True)
with open(os.path.join(opt.out, "tokenizer.json"), "w", encoding="utf-8") as f:
    json.dump(doc, f, ensure_ascii=False, indent=0)
with open(os.path.join(opt.out, "tokenizer_config.json"), "w") as f:
    json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": None, "eos_token": end, "model_max_length": 256}, f, indent=2)
print(f"{len(vocab) + 1} tokens, {len(merges)} merges")
