"""How long fasim takes to start: imports, the help, kernels from the cache of an earlier process; a JSON line a kind.

``python benchmarks/start_up.py`` starts new processes, kind by kind in turns, and appends to
``benchmarks/results/start_up.jsonl``. Times are wall clock; the fastest says what is needed, the median what is met here.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import machine
from result_lines import append, provenance

RESULTS = Path(__file__).parent / "results" / "start_up.jsonl"
ROUNDS = 9
NET, RULE, BATCH = "784-500-10", "dfa", 64
# what follows the imports until a step is done: a schedule, its program, kernels of the cache
_IMPORTS = """
import time
import numpy as np
from fasim import Network, StepSettings, backends, rules
from fasim.fixedpoint import load_datapath
from fasim.state import initial_state, set_learning_rate
backends.get("cpu")
"""
_READY = f"""{_IMPORTS}
started = time.perf_counter()
network = Network.parse("{NET}")
step = rules.training_step(network, "{RULE}", StepSettings({BATCH}), load_datapath("{{datapath}}"), fuse_by="within_layer")
state = initial_state(network, step, 1)
set_learning_rate(state, step, 2.0**-8)
data = backends.Samples(np.zeros(({BATCH}, 784), np.uint8), np.zeros({BATCH}, np.int64))
backends.get("cpu")(step).run(state, data, np.arange({BATCH}), 0)
print(time.perf_counter() - started)
"""


class Kind(NamedTuple):
    """A start: its name, what it should take at most, if that was set, and a command that takes it or prints it."""

    name: str
    at_most_s: float | None
    command: list[str]
    prints: bool = False


def kinds() -> list[Kind]:
    """Return what is measured."""
    step = f"first step of {NET}, {{}}, kernels from the cache"
    return [
        Kind("import fasim", 0.6, _python("import fasim")),
        Kind("fasim --help", 0.3, [sys.executable, "-m", "fasim", "--help"]),
        Kind("imports of a training, NumPy and Numba among them", None, _python(_IMPORTS)),
        *(Kind(step.format(name), 0.5, _python(_READY.format(datapath=name)), True) for name in ("float32", "s8")),
    ]


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def seconds_of(kind: Kind, run: Callable[..., Any] = subprocess.run) -> float:
    """Start a process of a kind and return what it took.

    Raises
    ------
    SystemExit
        If it fails.
    """
    started = time.perf_counter()
    done = run(kind.command, capture_output=True, text=True, check=False)
    whole = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{kind.name}: {done.stderr.strip()}")
    return float(done.stdout.split()[-1]) if kind.prints else whole


def main() -> int:
    """Measure all kinds in turns; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--no-results", action="store_true", help="print only")
    given = parser.parse_args()
    found = kinds()
    for kind in found:
        seconds_of(kind)  # which compiles and caches what no earlier process has
    times: dict[str, list[float]] = {kind.name: [] for kind in found}
    for _ in range(given.rounds):
        for kind in found:
            times[kind.name].append(seconds_of(kind))
    for kind in found:
        seconds = times[kind.name]
        line = {
            "kind": kind.name,
            "at_most_s": kind.at_most_s,
            "median_s": round(median(seconds), 3),
            "best_s": round(min(seconds), 3),
            "rounds": given.rounds,
            "command": "python benchmarks/start_up.py",
        }
        print(f"{kind.name}: {line['median_s']} s, at best {line['best_s']}; at most {kind.at_most_s}", flush=True)
        if not given.no_results:
            append(RESULTS, line | provenance() | machine.describe(with_torch=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
