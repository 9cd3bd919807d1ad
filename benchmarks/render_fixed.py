"""Tables of ``docs/fixed-point-results.md``, from ``benchmarks/results/fixed.jsonl`` and ``peers_fixed.jsonl``."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from fixed import PRESETS, RESULTS, RULES, WIDTHS
from result_lines import done

PEERS = Path(__file__).parent / "results" / "peers_fixed.jsonl"

Line = dict[str, Any]


def lines(table: str) -> list[Line]:
    """Return the lines of a table."""
    return [line for line in done(RESULTS).values() if line["cell"]["table"] == table]


def presets() -> dict[tuple[str, str, str], dict[int, float]]:
    """Return final test errors by family, rule and datapath, then by seed."""
    found: dict[tuple[str, str, str], dict[int, float]] = defaultdict(dict)
    for line in lines("presets"):
        cell = line["cell"]
        found[cell["family"], cell["rule"], cell["datapath"]][cell["seed"]] = line["test_error_percent"][-1]
    return found


def columns() -> list[tuple[str, str]]:
    """Return the pairs of family and datapath that have lines."""
    found = {(line["cell"]["family"], line["cell"]["datapath"]) for line in lines("presets")}
    return [(family, datapath) for family, names in PRESETS.items() for datapath in names if (family, datapath) in found]


def _spread(errors: dict[int, float]) -> str:
    values = list(errors.values())
    if not values:
        return "-"
    return f"{fmean(values):.2f}" + (f" ±{stdev(values):.2f}" if len(values) > 1 else "")


def preset_table() -> list[str]:
    """Return test errors, a row a rule, a column a datapath within its family of networks."""
    found, heads = presets(), columns()
    rows = ["| rule | " + " | ".join(f"{family}: {datapath}" for family, datapath in heads) + " |"]
    rows.append("|---" * (len(heads) + 1) + "|")
    for rule in RULES:
        cells = [_spread(found.get((family, rule, datapath), {})) for family, datapath in heads]
        rows.append(f"| {rule} | " + " | ".join(cells) + " |")
    seeds = sorted({seed for errors in found.values() for seed in errors})
    text = f"Test error in percent after the last of 5 epochs, seeds {', '.join(map(str, seeds))}"
    return [*rows, "", f"{text}; a figure without a deviation is of one seed."]


def pocketnn_table() -> list[str]:
    """Return the accuracies of PocketNN's rules."""
    rows = ["| seed | test accuracy % after epoch 1, 2, 3 | saturated casts |", "|---|---|---|"]
    for line in sorted(lines("pocketnn"), key=lambda line: line["cell"]["seed"]):
        accuracies = ", ".join(f"{100 - error:.2f}" for error in line["test_error_percent"])
        share = 100 * line["saturations"] / line["casts"]
        rows.append(f"| {line['cell']['seed']} | {accuracies} | {line['saturations']:,} ({share:.2g} %) |")
    return rows


def width_table(what: str) -> list[str]:
    """Return test errors by width until they have doubled, and the tensor that failed first there."""
    cells = {(line["cell"]["rule"], line["cell"]["bits"]): line for line in lines("widths") if line["cell"]["what"] == what}
    rows = ["| rule | " + " | ".join(f"{bits}" for bits in WIDTHS) + " | first tensor that fails |"]
    rows.append("|---" * (len(WIDTHS) + 2) + "|")
    for rule in RULES:
        if (rule, WIDTHS[0]) not in cells:
            continue
        errors, failing = [], "-"
        for bits in WIDTHS:
            line = cells.get((rule, bits))
            errors.append(f"{line['test_error_percent'][-1]:.1f}" if line and line["test_error_percent"] else "")
            if line and line.get("first_failing"):
                failing = f"{line['first_failing']}, at {bits} bits" if failing == "-" else failing
        rows.append(f"| {rule} | " + " | ".join(errors) + f" | {failing} |")
    return rows


def peers_table() -> list[str]:
    """Return times beside fasim's, as ratios; the last line of each size holds."""
    found: dict[tuple[int, tuple[int, ...]], Line] = {}
    for text in PEERS.read_text().splitlines():
        line = json.loads(text)
        found[line["bits"], tuple(line["shape"])] = line
    names = list(dict.fromkeys(name for line in found.values() for name in line["ratio_to_fasim"] if name != "fasim"))
    rows = ["| bits | N x K @ K x J | fasim (ms) | " + " | ".join(names) + " |", "|---" * (len(names) + 3) + "|"]
    for (bits, shape), line in found.items():
        samples, inputs, units = shape
        ratios = " | ".join(
            f"{line['ratio_to_fasim'][name]:.2f}" if name in line["ratio_to_fasim"] else "-" for name in names
        )
        size = f"{samples} x {inputs} @ {inputs} x {units}"
        rows.append(f"| {bits} | {size} | {1e3 * line['median_s']['fasim']:.3f} | {ratios} |")
    absent = list(dict.fromkeys(name for line in found.values() for name in line.get("absent", ())))
    return [*rows, "", f"Absent when this was measured: {', '.join(absent)}."] if absent else rows


def machine() -> list[str]:
    """Return what the lines were measured on."""
    all_lines = list(done(RESULTS).values())
    cpus = sorted({line["cpu"] for line in all_lines})
    versions = sorted({", ".join(f"{name} {text}" for name, text in line["versions"].items()) for line in all_lines})
    commits = sorted({line["commit"] for line in all_lines})
    return [f"CPU {'; '.join(cpus)}, one thread a run; {'; '.join(versions)}; commits {', '.join(commits)}."]


SECTIONS = {
    "machine": machine,
    "presets": preset_table,
    "pocketnn": pocketnn_table,
    "weights": lambda: width_table("weight"),
    "errors": lambda: width_table("error"),
    "peers": peers_table,
}
