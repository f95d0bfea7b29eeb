#!/usr/bin/env python3
"""Validates documents against a JSON Schema: json_schema.py SCHEMA FILE...   (a .jsonl file: each line is a document)

Knows what docs/schema uses: type, enum, const, required, properties, additionalProperties, items, maxItems, minimum, maximum, anyOf, $ref into $defs.
A keyword that it does not know is an error, so that no rule is silently passed over. Also refuses NaN, Infinity and doubled keys.
"""
import json
import sys

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
KNOWN = {"$schema", "$defs", "$ref", "title", "type", "enum", "const", "required", "properties", "additionalProperties", "items", "maxItems", "minimum", "maximum", "anyOf"}


def is_type(v, name):
    if name in ("number", "integer"):
        return isinstance(v, (int, float)) and not isinstance(v, bool) and (name == "number" or float(v).is_integer())
    return isinstance(v, TYPES[name])


def check(v, schema, root, at, faults):
    for k in schema:
        if k not in KNOWN:
            raise SystemExit(f"schema: unknown keyword {k}")
    if "$ref" in schema:
        return check(v, root["$defs"][schema["$ref"].rpartition("/")[2]], root, at, faults)
    types = schema.get("type")
    if types and not any(is_type(v, t) for t in ([types] if isinstance(types, str) else types)):
        return faults.append(f"{at}: {json.dumps(v)[:60]} is not {types}")
    if "const" in schema and v != schema["const"]:
        faults.append(f"{at}: {json.dumps(v)} is not {schema['const']!r}")
    if "enum" in schema and v not in schema["enum"]:
        faults.append(f"{at}: {json.dumps(v)} is none of {schema['enum']}")
    if "anyOf" in schema:
        tries = []
        for s in schema["anyOf"]:
            tries.append([])
            check(v, s, root, at, tries[-1])
        if all(tries):
            faults.extend(min(tries, key=len))
    if isinstance(v, (int, float)) and not isinstance(v, bool):
        if v < schema.get("minimum", v) or v > schema.get("maximum", v):
            faults.append(f"{at}: {v} is out of range")
    if isinstance(v, dict):
        for k in schema.get("required", []):
            if k not in v:
                faults.append(f"{at}: lacks {k}")
        for k, x in v.items():
            s = schema.get("properties", {}).get(k, schema.get("additionalProperties"))
            if isinstance(s, dict):
                check(x, s, root, f"{at}.{k}", faults)
    if isinstance(v, list):
        if len(v) > schema.get("maxItems", len(v)):
            faults.append(f"{at}: {len(v)} items, more than {schema['maxItems']}")
        for i, x in enumerate(v):
            check(x, schema.get("items", {}), root, f"{at}[{i}]", faults)


def pairs(items):
    keys = [k for k, _ in items]
    if len(set(keys)) != len(keys):
        raise SystemExit(f"a key stands twice: {sorted(k for k in keys if keys.count(k) > 1)[0]}")
    return dict(items)


def refuse(text):
    raise SystemExit(f"{text} is no JSON")


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        schema = json.load(f)
    bad = 0
    for path in sys.argv[2:]:
        with open(path, encoding="utf-8") as f:
            texts = f.read().splitlines() if path.endswith(".jsonl") else [f.read()]
        for n, text in enumerate(texts, 1):
            faults = []
            check(json.loads(text, object_pairs_hook=pairs, parse_constant=refuse), schema, schema, "$", faults)
            for fault in faults[:20]:
                print(f"{path}:{n}: {fault}")
            bad += len(faults)
    sys.exit(1 if bad else 0)


main()
