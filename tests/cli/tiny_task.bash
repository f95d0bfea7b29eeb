# A model and rows of our own, for tests that need some training and no folder of real models: sets tiny_task (options of run).
cat >"$T/config.json" <<'J'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 172, "num_hidden_layers": 2, "num_attention_heads": 4,
 "num_key_value_heads": 2, "vocab_size": 512, "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true, "hidden_act": "silu"}
J
expect 0 init --config "$T/config.json" --out "$T/model" --seed 1
python3 - "$T/rows.jsonl" <<'P'
import json, sys
with open(sys.argv[1], "w") as f:
    for i in range(64):
        ids = [(7 * i + 13 * k) % 500 + 3 for k in range(60)]
        f.write(json.dumps({"input_ids": ids, "labels": ids}) + "\n")
P
tiny_task=(--model "$T/model" --data "$T/rows.jsonl" --method lora --rank 4 --batch 2 --micro-batch-tokens 128 --threads 1 --eval-fraction 0 -q)
