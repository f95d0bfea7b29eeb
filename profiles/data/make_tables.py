#!/usr/bin/env python3
"""Turns the tables of this folder (*.csv) into tables.c, so that the program carries them. Run it after a change of a table:
  python3 profiles/data/make_tables.py
"""
import os

here = os.path.dirname(os.path.abspath(__file__))
out = ["/* Made by make_tables.py from the .csv files beside it: change those, not this. */", '#include "profiles/data/tables.h"', ""]
for name in sorted(f[:-4] for f in os.listdir(here) if f.endswith(".csv")):
    lines = open(os.path.join(here, name + ".csv"), encoding="utf-8").read().splitlines()
    out.append(f"const char *const wt_table_{name}[] = {{")
    out += ['  "' + line.replace("\\", "\\\\").replace('"', '\\"') + '",' for line in lines if line and not line.startswith("#")]
    out += ["  0};", ""]
open(os.path.join(here, "tables.c"), "w", encoding="utf-8").write("\n".join(out))
