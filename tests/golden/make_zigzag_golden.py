"""Write how many DRAM words ZigZag 3.9.1 moves for the matrix products of training steps.

Run ``python tests/golden/make_zigzag_golden.py`` with ``zigzag-dse==3.9.1`` and ``six`` installed (nothing of fasim is
needed, about a minute): it writes ``zigzag.json`` beside this file.
``python make_zigzag_golden.py OUT.json WORKLOAD.yaml`` runs a workload file instead.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import logging
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from zigzag.api import get_hardware_performance_zigzag

HERE = Path(__file__).resolve().parent
FORWARD = "O[b][k]+=W[k][c]*I[b][c]"
GRADIENT = "O[k][c]+=I[b][k]*W[b][c]"
# name: equation, sizes of B, K, C, OY, OX, FY, FX, height and width of the map, bits; all with stride 1 and padding 2
CONVS = {
    "conv 28x28x1-32c5p2 b1": (
        "O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]",
        (1, 32, 1, 28, 28, 5, 5),
        (8, 8, 24, 8),
    ),
    "conv error 8x8x3-16c5p2 b2": (
        "O[b][c][iy][ix]+=W[k][c][fy][fx]*I[b][k][oy][ox]",
        (2, 16, 3, 8, 8, 5, 5),
        (8, 8, 24, 8),
    ),
    "conv gradient 8x8x3-16c5p2 b2": (
        "O[k][c][fy][fx]+=W[b][k][oy][ox]*I[b][c][iy][ix]",
        (2, 16, 3, 8, 8, 5, 5),
        (8, 8, 24, 24),
    ),
}
# factors into which a search splits the loops at most; the DRAM words below are the same for more
LOOPS = 4
# name: equation, sizes of B, K, C, bits of I, W, partial sums and results
PRODUCTS = {
    "forward.1 b1": (FORWARD, (1, 500, 784), (8, 8, 24, 8)),
    "forward.1 b64": (FORWARD, (64, 500, 784), (8, 8, 24, 8)),
    "forward.2 b1": (FORWARD, (1, 10, 500), (8, 8, 24, 8)),
    "input error b1": (FORWARD, (1, 784, 500), (8, 8, 24, 8)),
    "feedback.1 b1": (FORWARD, (1, 500, 10), (8, 8, 24, 8)),
    "feedback.1 b64": (FORWARD, (64, 500, 10), (8, 8, 24, 8)),
    "gradient.1 b1": (GRADIENT, (1, 500, 784), (8, 8, 24, 24)),
    "gradient.1 b64": (GRADIENT, (64, 500, 784), (8, 8, 24, 24)),
}


def port(number: int, kind: str, low: int, high: int, uses: list[str]) -> dict[str, Any]:
    """Return a port of a memory; each use is an operand and a direction (to or from the level below (low) or above)."""
    name = {"read": "r", "write": "w", "read_write": "rw"}[kind] + f"_port_{number}"
    return {"name": name, "type": kind, "bandwidth_min": low, "bandwidth_max": high, "allocation": uses}


def memory(size: int, cost: float, operands: list[str], served: list[str], ports: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a memory of `size` bits at `cost` pJ for an access."""
    energies = {"size": size, "r_cost": cost, "w_cost": cost, "area": 0, "latency": 1}
    return energies | {"operands": operands, "served_dimensions": served, "ports": ports}


def accelerator() -> dict[str, Any]:
    """Return an array of 10 x 8 multipliers with partial sums of 32 bits, 1 MiB of SRAM, and DRAM with words of 64 bits."""
    register = [
        port(number, kind, 32, 32, [f"O, {use}"])
        for number, kind, use in ((1, "read", "tl"), (2, "read", "th"), (1, "write", "fh"), (2, "write", "fl"))
    ]
    read, write = ["I1, tl", "I2, tl", "O, tl", "O, th"], ["I1, fh", "I2, fh", "O, fh", "O, fl"]
    sram = [port(1, "read", 8, 64, read), port(1, "write", 8, 64, write)]
    everything = ["I1", "I2", "O"]
    return {
        "name": "small",
        "memories": {
            "register": memory(32, 0.02, ["O"], ["D2"], register),
            "sram": memory(2**23, 100, everything, ["D1", "D2"], sram),
            "dram": memory(10**10, 1300, everything, ["D1", "D2"], [port(1, "read_write", 64, 64, read + write)]),
        },
        "operational_array": {"unit_energy": 0.23, "unit_area": 1, "dimensions": ["D1", "D2"], "sizes": [10, 8]},
    }


LINKS = {"O": "O", "W": "I2", "I": "I1"}
MAPPING = [
    {"name": "default", "spatial_mapping": {"D1": ["K, 10"], "D2": ["C, 8"]}, "memory_operand_links": LINKS},
    {"name": "Conv", "spatial_mapping": {"D1": ["K, 8"], "D2": ["FX, 5"]}, "memory_operand_links": LINKS},
]


def golden_workload() -> list[dict[str, Any]]:
    """Return the products and convolutions above in ZigZag's form."""
    layers: list[dict[str, Any]] = []
    for name, (equation, sizes, bits) in (PRODUCTS | CONVS).items():
        number = len(layers)
        layer: dict[str, Any] = {
            "id": number,
            "name": name,
            "operator_type": "Gemm",
            "equation": equation,
            "loop_dims": ["B", "K", "C"],
            "loop_sizes": list(sizes),
            "operand_precision": dict(zip(("I", "W", "O", "O_final"), bits, strict=True)),
            "operand_source": {"I": number, "W": number},
        }
        if name in CONVS:
            layer |= {
                "operator_type": "Conv",
                "dimension_relations": ["iy=1*oy+1*fy", "ix=1*ox+1*fx"],
                "loop_dims": ["B", "K", "C", "OY", "OX", "FY", "FX"],
                "pr_loop_dims": ["IY", "IX"],
                "pr_loop_sizes": list(sizes[3:5]),
                "padding": [[2, 2], [2, 2]],
            }
        layers.append(layer)
    return layers


def evaluate(workload: list[dict[str, Any]] | str) -> list[dict[str, Any]]:
    """Return multiply-accumulates and DRAM words (reads of I and W, writes of O) of each layer."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        # JSON is YAML
        (here / "accelerator.yaml").write_text(json.dumps(accelerator()))
        (here / "mapping.yaml").write_text(json.dumps(MAPPING))
        *_, (layers, *_) = get_hardware_performance_zigzag(
            workload,
            str(here / "accelerator.yaml"),
            str(here / "mapping.yaml"),
            opt="energy",
            dump_folder=str(here / "out"),
            lpf_limit=LOOPS,
            nb_spatial_mappings_generated=1,
            loma_show_progress_bar=False,
        )
    rows = []
    for cost, _ in layers[1]:
        layer, bits = cost.layer, cost.layer.operand_precision.data
        row = {"name": layer.name, "sizes": {str(dim): size for dim, size in layer.layer_dim_sizes.items()}}
        row |= {"bits": {str(operand): number for operand, number in bits.items()}, "macs": layer.total_mac_count}
        dram = {str(operand): levels[-1].data for operand, levels in cost.memory_word_access.items()}
        row["dram_words"] = {operand: sum(moved.values()) for operand, moved in sorted(dram.items())}
        rows.append(row)
    return rows


def main() -> None:
    """Write the golden file, or the rows of a given workload."""
    logging.disable(logging.CRITICAL)
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "zigzag.json"
    record = {
        "oracle": "ZigZag, words of 64 bits that DRAM reads (I, W) and writes (O)",
        "command": "python tests/golden/make_zigzag_golden.py",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "zigzag": importlib.metadata.version("zigzag-dse"),
        "python": platform.python_version(),
    }
    rows = evaluate(sys.argv[2] if len(sys.argv) > 2 else golden_workload())
    lines = ",\n".join("    " + json.dumps(row) for row in rows)
    head = json.dumps(record, indent=2).removesuffix("\n}")
    out.write_text(f'{head},\n  "runs": [\n{lines}\n  ]\n}}\n')


if __name__ == "__main__":
    main()
