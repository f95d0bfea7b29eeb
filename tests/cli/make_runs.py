#!/usr/bin/env python3
"""Made-up runs' folders for looking at reports: make_runs.py FOLDER -> FOLDER/{finished,stopped,paused,unmeasured,failed}/report.json. Every figure is computed, none random."""
import json
import math
import os
import sys

HOSTILE = "<script>alert(1)</script>"


def interval(mean, spread):
    return {"mean": mean, "low": mean * (1 - spread), "high": mean * (1 + spread)}


def plan(name, time_s, energy_wh, rank):
    return {"id": name, "method": "lora", "rank": rank, "alpha": 32, "targets": ["all-linear"], "train_layers": None, "weights": "bf16", "optimizer": "adamw", "lr": 2e-4, "seq_len": 512,
            "batch": 8, "micro_batch_tokens": 512, "checkpointing": "none", "threads": 4, "max_mhz": None, "steps": 400, "epochs": 2, "trainable_params": 921600 * rank,
            "time_s": interval(time_s, .2), "energy_wh": interval(energy_wh, .3), "cost": dict(interval(energy_wh * 3e-4, .3), currency="EUR"), "co2_g": interval(energy_wh * .38, .3),
            "power_w": interval(24, .15), "memory_bytes": 612_000_000, "disk_bytes": 40_000_000, "quality_rank": 1 if rank > 8 else 2,
            "why": "adapters in all linear layers are level with full fine-tuning on data of this size, at a fraction of the cost"}


def run(status, reason, steps, measured=True, pause_at=None):
    t, wh, series = 8.0, 0.02, []
    for i in range(1, steps + 1):
        if pause_at and i == pause_at:
            t, wh = t + 700, wh + 700 * 6 / 3600
        dt = 2.2 + .2 * math.sin(i / 9)
        power = 24 + 3 * math.sin(i / 17) + (2 if i % 7 == 0 else 0)
        t, wh = t + dt, wh + power * dt / 3600
        loss = .9 + 1.9 * math.exp(-i / 90) + .12 * math.sin(i * 1.7) * math.exp(-i / 300)
        series.append({"t_s": t, "step": i, "loss": loss, "power_w": power, "energy_wh": wh, "tokens_per_s": 4096 / dt, "lr": 2e-4 * min(i / 12, .5 + .5 * math.cos(math.pi * i / 400)),
                       "grad_norm": .6 + .3 * math.exp(-i / 50) + .05 * math.sin(i)})
    p, other = plan("lora-r16-bf16", 900, 6, 16), plan("lora-r8-bf16", 840, 5.6, 8)
    heavy = dict(plan("full-f32", 5200, 39, 16), method="full", rank=None)
    trained = steps > 0
    phases = [{"name": "load", "time_s": 3.1, "energy_wh": .012}, {"name": "tokenise", "time_s": 1.2, "energy_wh": .006}, {"name": "train", "time_s": max(t - 30, 0), "energy_wh": wh * .93},
              {"name": "eval", "time_s": 21, "energy_wh": wh * .05}, {"name": "save", "time_s": 4.7, "energy_wh": wh * .01}]
    if pause_at:
        phases.append({"name": "paused", "time_s": 700, "energy_wh": 700 * 6 / 3600})
    return {"schema": "wattune.report/1", "status": status, "stop_reason": reason, "plan": p,
            "actual": {"time_s": t, "energy_wh": wh, "source": "powercap" if measured else "model", "measured": measured, "cost": {"amount": wh * 3e-4, "currency": "EUR"}, "co2_g": wh * .38,
                       "co2_embodied_g": t / 3600 * 4.1, "power_mean_w": wh * 3600 / t, "power_max_w": 31.5, "peak_rss_bytes": 702_000_000, "fixed_bytes": 84_000_000, "memory_bytes": 618_000_000,
                       "arena_bytes": 410_000_000, "tokens": 4096 * steps, "supervised_tokens": 2100 * steps, "tokens_per_s": 1800 if trained else None, "gflops": 88.5 if trained else None,
                       "peak_pct": 47.1 if trained else None, "steps": steps, "steps_planned": 400, "skipped_steps": 0},
            "predicted": {k: p[k] for k in ("time_s", "energy_wh", "cost", "co2_g", "power_w", "memory_bytes")},
            "error_pct": {"time": 100 * (t / 900 - 1), "energy": 100 * (wh / 6 - 1), "memory": 1.0},
            "energy": {"source": "powercap" if measured else "model", "measured": measured, "uncertainty_pct": 5 if measured else 45, "boundary": "package+dram" if measured else None, "low_wh": wh * .95,
                       "high_wh": wh * 1.05, "measured_wh": wh * .98 if measured else 0, "modelled_wh": 0 if measured else wh, "imputed_wh": wh * .02 if measured else 0, "gap_s": 2, "suspended_s": 0,
                       "paused_s": 700 if pause_at else 0},
            "budgets": {"time": {"limit": 1800, "used": t, "used_pct": t / 18}, "energy": {"limit": 4 if status == "stopped" else 9, "used": wh, "used_pct": 100 * wh / (4 if status == "stopped" else 9)},
                        "power": {"limit": 30, "used": 25, "used_pct": 83.3}},
            "phases": phases, "loss": {"first": series[0]["loss"] if trained else None, "last": series[-1]["loss"] if trained else None, "eval_before": 2.7431, "eval_after": 1.0124 if status != "failed" else None,
                                       "eval_best": 1.0124}, "series": series,
            "decisions": [{"t_s": 210, "what": "duty 0.85", "why": "31.2 W over 10 s, cap 30 W"}] + ([{"t_s": series[pause_at - 2]["t_s"], "what": "pause", "why": "tariff: 0.41 EUR/kWh until 21:00"}] if pause_at else []),
            "samples": [{"prompt": "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\nDescribe the moon.\n\n### Response:\n", "before": "The moon the moon is of", "after": "The moon is the Earth's only natural satellite."}, {"prompt": "What is the capital of France?", "before": "The the of of capital", "after": "Paris is the capital of France.\nIt lies on the Seine. " + HOSTILE}] if status != "failed" else [],
            "pareto": [p, other], "rejected": [{"plan": heavy, "violates": ["time", "energy"]}],
            "environment": {"model": "/home/ada/.cache/huggingface/hub/models--HuggingFaceTB--SmolLM2-135M", "model_source": "hf://HuggingFaceTB/SmolLM2-135M", "data_source": "alpaca_en.json", "base_model": "HuggingFaceTB/SmolLM2-135M", "arch": "llama", "data": "alpaca " + HOSTILE, "cpu": "Intel Core i5-8250U", "threads": 4, "version": "0.1.0",
                            "blas": "OpenBLAS 0.3.21 Haswell", "seed": 0, "command": "wattune run --model hf://HuggingFaceTB/SmolLM2-135M --data alpaca.json --max-energy 9Wh", "model_sha256": "5f" * 32, "data_sha256": "a7" * 32, "params": 134515008, "system": "Linux 6.1.0-30-amd64 x86_64", "country": "DE",
                            "price_source": "0.30 EUR/kWh (given)", "carbon_source": "380 g/kWh, Germany 2024", "finished": "2026-03-01T10:00:00Z"},
            "files": {"adapter": "adapter"} if trained else {}, "ranks": 1, "machines": None}


RUNS = {"finished": run("done", None, 400), "stopped": run("stopped", "the energy budget of 4 Wh is used up", 260), "paused": run("done", None, 400, pause_at=180),
        "unmeasured": run("done", None, 400, measured=False), "failed": run("failed", "step 1: the loss is not a number", 0)}
for name, doc in RUNS.items():
    os.makedirs(os.path.join(sys.argv[1], name), exist_ok=True)
    with open(os.path.join(sys.argv[1], name, "report.json"), "w", encoding="utf-8") as f:
        json.dump(doc, f)
