"""How much memory training takes beside its data, and whether it grows with the steps; one JSON line a network and format.

``python benchmarks/peak_memory.py`` starts a process for each and appends to ``benchmarks/results/memory.jsonl``. The peak
is what the system counts as resident (Linux), from after the kernels were compiled.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import subprocess
import sys
from pathlib import Path

import machine
import numpy as np
from cases import FASTEST, FORMATS, NETS, Cell, Fasim, samples_of
from result_lines import append, provenance

from fasim.kernels import micro
from fasim.machine import cpu_model
from fasim.network import Network
from fasim.schedule import FUSIONS

RESULTS = Path(__file__).parent / "results" / "memory.jsonl"
RULE, BATCH = "dfa", 64
FEW, MANY = 8, 80
KIB, MB = 1024, 1e6


def resident(what: str) -> int:
    """Return bytes of the process from /proc: ``VmRSS`` now, ``VmHWM`` at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * KIB
    raise SystemExit(f"the system does not say {what}")


def measure(net: str, datapath: str) -> dict[str, float]:
    """Train a few steps and ten times as many in this process; return megabytes.

    ``held_mb`` are state and buffers that the program owns, ``beside_data_mb`` the peak less the data set, ``growth_mb``
    what the longer run added to the peak.
    """
    cell = Cell(net, BATCH, RULE, datapath, 1, FASTEST, cpu_model(), micro.TARGET)
    network = Network.parse(net)
    warm = Fasim(cell, *samples_of(network, BATCH), 1, FUSIONS[-1])
    warm.run(1)
    del warm
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # else what was freed above counts as resident before and hides as much of the peak
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident("VmRSS")
    data, order = samples_of(network)
    fasim = Fasim(cell, data, order, 1, FUSIONS[-1])
    fasim.initial = {}
    fasim.run(FEW)
    first = resident("VmHWM")
    fasim.run(MANY)
    held = sum(array.nbytes for array in [*fasim.state.values(), *_buffers(fasim)])
    set_bytes = data.codes.nbytes + data.labels.nbytes
    found = {
        "data": set_bytes,
        "held": held,
        "beside_data": first - before - set_bytes,
        "growth": resident("VmHWM") - first,
    }
    return {f"{name}_mb": round(size / MB, 2) for name, size in found.items()}


def _buffers(fasim: Fasim) -> list[np.ndarray]:
    return [array for name, array in fasim.program.buffers.items() if name not in fasim.state]


def main() -> int:
    """Start a process for each network and format; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", default=NETS)
    parser.add_argument("--formats", nargs="+", default=FORMATS)
    parser.add_argument("--no-results", action="store_true", help="print only")
    parser.add_argument("--inside", action="store_true", help="measure in this process and print the figures")
    given = parser.parse_args()
    if given.inside:
        print(json.dumps(measure(given.nets[0], given.formats[0])))
        return 0
    for net in given.nets:
        for datapath in given.formats:
            command = [sys.executable, __file__, "--inside", "--nets", net, "--formats", datapath]
            answer = subprocess.run(command, capture_output=True, text=True)
            if answer.returncode:
                print(answer.stderr, file=sys.stderr)
                return 1
            line = {"net": net, "format": datapath, "rule": RULE, "batch": BATCH, "steps": [FEW, MANY]}
            line |= json.loads(answer.stdout.splitlines()[-1])
            line |= {"command": "python benchmarks/peak_memory.py"} | provenance() | machine.describe(with_torch=False)
            print(net, datapath, {name: value for name, value in line.items() if name.endswith("_mb")}, flush=True)
            if not given.no_results:
                append(RESULTS, line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
