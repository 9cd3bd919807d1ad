"""Tables of what ran on GPUs, from the lines of ``throughput.py --backend cuda`` and of ``gpu.py``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "gpu.jsonl"
NONE = ["Not measured yet: `make gpu`, on a machine with one."]

Line = dict[str, Any]


def _lines() -> list[Line]:
    """Return what ran on a device, not in the simulator; of those with one identity the last."""
    found = [json.loads(text) for text in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    return list({json.dumps(line["cell"], sort_keys=True): line for line in found if line["kind"] == "gpu"}.values())


def gpu_tables() -> list[str]:
    """Return for each device its training steps beside PyTorch's, and its products of int8 matrices."""
    found = _lines()
    text: list[str] = []
    for device in dict.fromkeys(line["cell"]["device"] for line in found):
        here = [line for line in found if line["cell"]["device"] == device]
        steps = [line for line in here if "net" in line["cell"]]
        products = [line for line in here if "net" not in line["cell"]]
        driver = f"driver {here[-1]['driver']}, numba-cuda {here[-1]['numba_cuda']}"
        text += ["", f"{device}, {driver}, commits {', '.join(sorted({line['commit'] for line in here}))}:", ""]
        if steps:
            text += ["| network | rule | format | batch | networks | graphs | samples/s | beside one network of PyTorch |"]
            text += ["|---" * 8 + "|", *map(_step, steps), ""]
        if products:
            text += ["| product of int8 | by | GOP/s | share of the peak |", "|---" * 4 + "|", *map(_product, products)]
    return text[1:] or NONE


def _step(line: Line) -> str:
    cell = line["cell"]
    beside = ", ".join(f"{ratio:.2f} {name}" for name, ratio in line.get("times_faster_than", {}).items()) or "-"
    texts = [cell[name] for name in ("net", "rule", "format", "batch", "replicas", "graphs")]
    return "| " + " | ".join([*map(str, texts), f"{line['samples_per_s']:,}", beside]) + " |"


def _product(line: Line) -> str:
    cell, share = line["cell"], line["share_of_peak"]
    part = "-" if share is None else f"{100 * share:.3g} %"
    return f"| {cell['size']}^3 | {cell['way']} | {line['giga_operations_per_s']:,} | {part} |"
