#!/usr/bin/env python3
"""Writes the demo's world: text for pretraining, and questions with answers for fine-tuning.

  make_text.py OUT_DIR [--tokens-kb N] [--seed S]

OUT_DIR/base.txt      plain sentences about the things of a small invented house and the people in it: what the base model learns
OUT_DIR/train.jsonl   {"prompt","completion"}: questions about most of those things, answered as a card (name, place, power, colour, owner)
OUT_DIR/heldout.jsonl the same form for things that train.jsonl never names: the base text knows them, the form is new

Everything is generated here from the tables below; nothing is taken from elsewhere. The same seed gives the same bytes.
"""
import argparse
import json
import os
import random

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("out")
ap.add_argument("--tokens-kb", type=int, default=3000, help="size of base.txt in kB")
ap.add_argument("--seed", type=int, default=1)
opt = ap.parse_args()
rng = random.Random(opt.seed)

THINGS = ("kettle toaster lamp heater fan radio oven freezer fridge washer dryer mixer drill saw pump router printer monitor laptop clock "
          "doorbell vacuum iron blender juicer grill stove boiler charger speaker projector camera scanner sander lathe kiln fountain "
          "aquarium treadmill piano guitar telescope microscope compass lantern candle mirror carpet curtain sofa table chair desk shelf "
          "drawer basket bucket ladder hammer wrench pliers chisel shovel rake hose sprinkler mower tractor bicycle scooter wagon trailer "
          "tent hammock umbrella blanket pillow mattress cradle stroller robot drone kite puzzle globe atlas easel palette violin trumpet "
          "flute drum harp organ typewriter telephone antenna modem switch battery inverter turbine panel meter fuse socket cable plug "
          "thermostat humidifier purifier dishwasher hotplate waffler grinder slicer peeler scale thermos teapot").split()
PLACES = "kitchen cellar attic workshop hall garden study bathroom bedroom garage".split()
COLOURS = "red blue green black white grey yellow brown".split()
PEOPLE = "Anna Ben Clara David Emma Felix Greta Hugo".split()
WATTS = [5, 10, 20, 40, 60, 100, 150, 200, 300, 400, 600, 800, 1000, 1500, 2000, 3000]
TIMES = "morning noon evening night".split()
WEATHER = ["It is raining.", "The sun is shining.", "It is snowing.", "The wind is strong.", "The sky is grey.", "It is a warm day."]

world = {t: {"place": rng.choice(PLACES), "watts": rng.choice(WATTS), "colour": rng.choice(COLOURS), "owner": rng.choice(PEOPLE)} for t in THINGS}


def fact(t):
    w = world[t]
    return rng.choice([
        f"The {t} stands in the {w['place']}.",
        f"In the {w['place']} there is a {w['colour']} {t}.",
        f"The {t} is {w['colour']}.",
        f"The {t} uses {w['watts']} watts.",
        f"The {w['colour']} {t} in the {w['place']} uses {w['watts']} watts.",
        f"The {t} belongs to {w['owner']}.",
        f"{w['owner']} owns the {t} in the {w['place']}.",
        f"{w['owner']} has a {w['colour']} {t} of {w['watts']} watts.",
    ])


def scene():
    t = rng.choice(THINGS)
    w = world[t]
    who = rng.choice([w["owner"], rng.choice(PEOPLE)])
    hours = rng.randint(1, 5)
    wh = w["watts"] * hours
    lines = [rng.choice(WEATHER)] if rng.random() < 0.4 else []
    lines.append(f"{who} goes to the {w['place']} in the {rng.choice(TIMES)}." if rng.random() < 0.5 else f"In the {rng.choice(TIMES)} {who} is in the {w['place']}.")
    lines.append(rng.choice([f"{who} turns on the {t}.", f"{who} turns on the {w['colour']} {t}.", f"{who} needs the {t}."]))
    if rng.random() < 0.6:
        lines.append(f"The {t} runs for {hours} hours and uses {wh} watt hours.")
    for _ in range(rng.randint(0, 2)):
        lines.append(fact(t))
    lines.append(rng.choice([f"Then {who} turns off the {t}.", f"Later {who} goes home.", f"{who} is happy.", f"{w['owner']} says thank you."]))
    return " ".join(lines)


def paragraph():
    if rng.random() < 0.5:
        return scene()
    if rng.random() < 0.5:
        t = rng.choice(THINGS)
        return " ".join(fact(t) for _ in range(rng.randint(2, 4)))
    return " ".join(fact(rng.choice(THINGS)) for _ in range(rng.randint(3, 6)))


QUESTIONS = ["What do you know about the {t}?", "Tell me about the {t}.", "Describe the {t}.", "Where is the {t}?"]


def card(t):
    w = world[t]
    return f"\n* name: {t}\n* place: {w['place']}\n* power: {w['watts']} W\n* colour: {w['colour']}\n* owner: {w['owner']}\n"


def rows(things):
    out = [{"prompt": q.format(t=t), "completion": card(t)} for t in things for q in QUESTIONS]
    rng.shuffle(out)
    return out


os.makedirs(opt.out, exist_ok=True)
with open(os.path.join(opt.out, "base.txt"), "w") as f:
    size = 0
    while size < opt.tokens_kb * 1000:
        p = paragraph() + "\n\n"
        f.write(p)
        size += len(p)
order = THINGS[:]
rng.shuffle(order)
held, kept = order[:12], order[12:]
for name, things in (("train.jsonl", kept), ("heldout.jsonl", held)):
    with open(os.path.join(opt.out, name), "w") as f:
        for r in rows(things):
            f.write(json.dumps(r) + "\n")
