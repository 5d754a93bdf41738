#!/usr/bin/env python3
"""Holds the includes of src/ against the layers that CMakeLists.txt declares: a file may include the public header of its own layer
and of those below, its own folder's private headers, and nothing else of pare. Intrinsics live in src/tensor/kernel alone, sqlite3.h
in src/store, libyaml in src/base, prints and exits in src/cli, the heap in src/base; ARCHITECTURE.md names every folder.
Usage: check_layers.py (prints what is wrong, exit code 1)"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRA_HEADERS = {"json": "base", "yaml": "base", "score": "eval", "rolling": "eval", "task": "eval", "generate": "eval", "cut": "model", "stream": "model", "sequence": "model", "corpus": "text", "dataset": "text", "gradient": "model", "trainable": "model"}
ONLY_IN = [
    (r'#include <\w*mmintrin\.h>|#include <arm_neon\.h>', "src/tensor/kernel", "intrinsics"),
    (r'#include <sqlite3\.h>', "src/store", "SQLite"),
    (r'#include <yaml\.h>', "src/base", "libyaml"),
    (r'#include <cblas\.h>', "src/tensor", "BLAS"),
    (r'#include <pcre2\.h>', "src/text", "PCRE2"),
    (r'\b(printf|puts|fputs|putchar|exit|_exit|abort)\s*\(', "src/cli", "printing or ending the process"),
    (r'(?<![\w.])(malloc|calloc|realloc|aligned_alloc|strdup)\s*\(', "src/base", "the heap"),
    (r'(?<!\w)json_((v?pack|load|dump)\w*|object|array|stringn?(_nocheck)?|integer|real|v?sprintf|copy|deep_copy|(object_|array_)?(set|update|append|insert|extend)\w*)\s*\(',
     "src/base", "JSON that is not checked for memory (pare_json_…)"),
    (r'(?<![\w.])(sprintf|strcpy|strcat|gets|atoi|rand|strtok)\s*\(', "nowhere", "a banned function"),
]


def layers():
    table, below = {}, {}
    for name, rest in re.findall(r"pare_layer\((\w+)([^)]*)\)", (ROOT / "CMakeLists.txt").read_text()):
        match = re.search(r"DEPENDS ([\w ]+?)(?: LIBRARIES|$)", rest)
        table[name] = match.group(1).split() if match else []
        below[name] = {name}.union(*(below[d] for d in table[name]))
    below["cli"] = set(below) | {"cli"}
    return below


def without_comments(text):
    return re.sub(r"/\*.*?\*/|\"(?:\\.|[^\"\\])*\"", lambda m: m.group(0) if m.group(0)[0] == '"' and m.group(0).endswith('.h"') else "", text, flags=re.S)


def main():
    below, wrong = layers(), []
    for path in sorted((ROOT / "src").rglob("*.[ch]")):
        name = path.relative_to(ROOT).as_posix()
        layer = name.split("/")[1]
        if layer not in below:
            wrong.append(f"{name}: {layer} is no layer of CMakeLists.txt")
            continue
        text = path.read_text()
        for header in re.findall(r'#include "pare/(\w+)\.h"', text):
            owner = EXTRA_HEADERS.get(header, header)
            if owner not in below[layer]:
                wrong.append(f"{name}: includes pare/{header}.h, but {layer} may use only {', '.join(sorted(below[layer]))}")
        for header in re.findall(r'#include "(?!pare/)([^"]+)"', text):
            found = [base / header for base in (path.parent, ROOT / "src" / layer) if (base / header).exists()]
            if not found or not found[0].resolve().is_relative_to(ROOT / "src" / layer):
                wrong.append(f"{name}: includes {header}, which is not in src/{layer}")
        code = without_comments(text)
        for pattern, home, what in ONLY_IN:
            if not name.startswith(home) and re.search(pattern, code):
                wrong.append(f"{name}: {what}: belongs to {home}")
    map_text = (ROOT / "ARCHITECTURE.md").read_text() if (ROOT / "ARCHITECTURE.md").exists() else ""
    for folder in sorted(p for p in (ROOT / "src").rglob("*") if p.is_dir()):
        if f"{folder.relative_to(ROOT).as_posix()}/" not in map_text:
            wrong.append(f"ARCHITECTURE.md: says nothing of {folder.relative_to(ROOT).as_posix()}/")
    print("\n".join(wrong) if wrong else "layers: as declared")
    sys.exit(bool(wrong))


main()
