#!/usr/bin/env python3
"""What methods lose at equal weights removed: from the CSV of a study without recovery (examples/methods.yaml), for each model a table of
cross-entropy at given shares of non-embedding parameters removed, straight lines between a method's neighbouring ratios (dense is one of
them), best first; a share that a method does not reach is left open. --picture OUT.svg draws the same, a panel per model. --table
src/compress/measured.c writes what `pare compress --method auto` goes by.
Usage: methods.py RUNS.csv… [--shares 0.1,0.2,0.3,0.5] [--picture OUT.svg] [--table OUT.c]"""
import argparse
import csv
import math

COLOURS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#17becf"]


def curves(paths):
    models = {}
    for row in (row for path in paths for row in csv.DictReader(open(path, newline=""))):
        loss, share = float(row["l"] or "nan"), float(row["non_embedding"] or 0)
        methods = models.setdefault(row["model"], {})
        if row["method"] == "dense":
            methods.setdefault("dense", []).append((0.0, loss))
        elif not math.isnan(loss):
            methods.setdefault(row["method"], []).append((share, loss))
    for methods in models.values():
        dense = methods.pop("dense")[0]
        for points in methods.values():
            points.append(dense)
            points.sort()
    return models


def at(points, share):
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        if x0 <= share <= x1 and x1 > x0:
            return y0 + (y1 - y0) * (share - x0) / (x1 - x0)
    return math.nan


def print_tables(models, shares):
    for model, methods in models.items():
        print(f"\n| {model} | " + " | ".join(f"{s:g}" for s in shares) + " |\n| --- |" + " --- |" * len(shares))
        rows = {m: [at(p, s) for s in shares] for m, p in methods.items()}
        order = sorted(rows, key=lambda m: [math.isnan(v) for v in rows[m]] + [v for v in rows[m] if not math.isnan(v)][:1])
        for m in sorted(order, key=lambda m: sum(1 if math.isnan(v) else sum(v > rows[o][i] for o in rows) / len(rows) for i, v in enumerate(rows[m]))):
            print(f"| {m} | " + " | ".join("-" if math.isnan(v) else f"{v:.3f}" for v in rows[m]) + " |")


def panel(out, model, methods, left, top, width, height, shown):
    x = lambda s: left + width * min(s, 0.6) / 0.6
    low = min(min(y for _, y in p) for p in methods.values())
    y = lambda v: top + height * (1 - (min(v, low + 3) - low) / 3)
    out.append(f'<text x="{left}" y="{top - 8}" font-weight="bold">{model}</text>')
    for tick in range(7):
        out.append(f'<line x1="{x(tick / 10):.1f}" x2="{x(tick / 10):.1f}" y1="{top}" y2="{top + height}" stroke="#ddd"/>'
                   f'<text x="{x(tick / 10):.1f}" y="{top + height + 14}" text-anchor="middle">{tick / 10:g}</text>')
    for tick in range(4):
        out.append(f'<line x1="{left}" x2="{left + width}" y1="{y(low + tick):.1f}" y2="{y(low + tick):.1f}" stroke="#ddd"/>'
                   f'<text x="{left - 4}" y="{y(low + tick) + 4:.1f}" text-anchor="end">{low + tick:.1f}</text>')
    for m, points in methods.items():
        line = " ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in points if 0 <= s <= 0.6)
        colour = COLOURS[shown.index(m)] if m in shown else "#bbb"
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="{2.2 if m in shown else 0.8}"><title>{m}</title></polyline>')


def draw(models, path, shares):
    width, height, left = 380, 300, 50
    best = lambda methods: sorted(methods, key=lambda m: sum(v if not math.isnan(v) else 9 for v in (at(methods[m], s) for s in shares)))[:6]
    shown = best(next(iter(models.values())))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{(width + 90) * len(models)}" height="{height + 120}" font-family="sans-serif" font-size="11">',
           '<rect width="100%" height="100%" fill="white"/>']
    for i, (model, methods) in enumerate(models.items()):
        panel(out, model, methods, left + i * (width + 80), 30, width, height, shown)
    out.append(f'<text x="{left}" y="{height + 66}">share of non-embedding parameters removed (across), cross-entropy in nats per token, cut at 3 above dense (up); grey: all other methods</text>')
    for i, m in enumerate(shown):
        out.append(f'<text x="{left + i * 120}" y="{height + 90}" fill="{COLOURS[i]}" font-weight="bold">{m}</text>')
    open(path, "w").write("\n".join(out + ["</svg>"]) + "\n")


def c_table(models, path):
    """Excess over dense at each share of weights removed, by model; methods that no model was cut by at any share are left out."""
    shares = [0.1, 0.2, 0.3, 0.5, 0.65]
    names = sorted({m for methods in models.values() for m in methods})
    number = lambda v: "NONE" if math.isnan(v) else f"{v:.3f}"
    lines = ["/* measured: what methods lost, in nats per token above the dense model. Written by bench/methods.py --table; not by hand. */",
             '#include "measured.h"', "", "#include <math.h>", "#include <stddef.h>", "", "#define NONE ((double)NAN) /* not measured */", "", "/* clang-format off */",
             f"const double measured_shares[MEASURED_SHARES] = {{{', '.join(f'{s:g}' for s in shares)}}};",
             "const char *const measured_models[MEASURED_MODELS] = {" + ", ".join(f'"{m}"' for m in models) + "};",
             "const measured_method measured_methods[] = {"]
    for name in names:
        rows = []
        for methods in models.values():
            dense = min(methods["dense"] if "dense" in methods else next(iter(methods.values())))[1]
            rows.append([at(methods.get(name, [(0.0, dense)]), s) - dense for s in shares])
        if not all(math.isnan(v) for row in rows for v in row):
            lines.append(f'    {{"{name}", {{' + ", ".join("{" + ", ".join(map(number, row)) + "}" for row in rows) + "}},")
    lines += ["    {NULL, {{0}}},", "};", "/* clang-format on */"]
    open(path, "w").write("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--shares", default="0.1,0.2,0.3,0.5")
    parser.add_argument("--picture")
    parser.add_argument("--table")
    given = parser.parse_args()
    models, shares = curves(given.runs), [float(s) for s in given.shares.split(",")]
    print_tables(models, shares)
    if given.picture:
        draw(models, given.picture, shares)
    if given.table:
        c_table(models, given.table)


main()
