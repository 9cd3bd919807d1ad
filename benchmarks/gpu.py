"""Training steps a second on a GPU, one JSON line a cell, after a proof that they compute what the CPU does.

``python benchmarks/gpu.py`` prints a line a cell and appends it to ``benchmarks/results/gpu.jsonl``; ``--nets``,
``--rules``, ``--batches`` and ``--formats`` choose. A step is timed by the difference of two runs, one of S steps and one
of 2 S, so that neither the way to the device nor the way back is in it. Where ``FASIM_CUDA=sim`` asks for the simulator,
lines say ``simulated kernel`` and their times mean nothing: it is there to try this script.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import fasim_cuda
import numpy as np
from cases import LEARNING_RATE, PROOF_STEPS, SEED, TOLERANCE, samples_of
from result_lines import append, provenance

from fasim.backends.cpu import CpuProgram
from fasim.backends.cuda import CudaProgram
from fasim.fixedpoint import load_datapath
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import StepSettings
from fasim.state import initial_state, set_learning_rate

RESULTS = Path(__file__).parent / "results" / "gpu.jsonl"
NETS, RULES, BATCHES, FORMATS = ("784-500-10", "784-1000-1000-10"), ("bp", "dfa"), (64, 1024), ("float32", "s8")
ROUNDS, TURN_S = 5, 0.3


@dataclass(frozen=True)
class Cell:
    """One measurement on one device."""

    net: str
    batch: int
    rule: str
    format: str
    device: str


class Run:
    """Programs of a cell on both backends, on the same samples and from the same state.

    Parameters
    ----------
    cell : Cell
    """

    def __init__(self, cell: Cell) -> None:
        self.cell, self.network = cell, Network.parse(cell.net)
        self.data, self.order = samples_of(self.network)
        schedule = training_step(self.network, cell.rule, StepSettings(cell.batch), load_datapath(cell.format))
        self.programs = {"cpu": CpuProgram(schedule), "cuda": CudaProgram(schedule)}
        self.schedule = schedule

    def run(self, backend: str, steps: int) -> tuple[dict[str, np.ndarray], float]:
        """Return the state after some steps from the start, and the seconds they took."""
        state = initial_state(self.network, self.schedule, SEED)
        set_learning_rate(state, self.schedule, LEARNING_RATE)
        order = np.resize(self.order, steps * self.cell.batch)
        started = time.perf_counter()
        self.programs[backend].run(state, self.data, order, 0)
        return state, time.perf_counter() - started

    def prove(self) -> dict[str, Any]:
        """Hold the GPU's steps against the CPU's: the same bits in fixed point, a relative difference in float32.

        Raises
        ------
        SystemExit
            If they differ by more.
        """
        (cpu, _), (gpu, _) = (self.run(name, PROOF_STEPS) for name in ("cpu", "cuda"))
        if self.cell.format == "float32":
            largest = max(float(np.abs(gpu[name] - cpu[name]).max() / max(np.abs(cpu[name]).max(), 1e-30)) for name in cpu)
            if not largest <= TOLERANCE:
                raise SystemExit(f"{self.cell}: differs by {largest:.2g} after {PROOF_STEPS} steps")
            return {"against": "cpu", "steps": PROOF_STEPS, "largest_difference": float(f"{largest:.2g}")}
        if wrong := [name for name, array in cpu.items() if not np.array_equal(array, gpu[name])]:
            raise SystemExit(f"{self.cell}: {wrong} differ from the CPU's bits")
        return {"against": "cpu", "steps": PROOF_STEPS, "same_bits": True}

    def seconds_of_a_step(self, rounds: int, turn_s: float) -> float:
        """Return the median over rounds of (2 S steps - S steps) / S, S being enough for a turn."""
        steps = 1
        while self.run("cuda", steps)[1] < turn_s and steps < 1 << 16:
            steps *= 2
        return median((self.run("cuda", 2 * steps)[1] - self.run("cuda", steps)[1]) / steps for _ in range(rounds))


def line_of(cell: Cell, rounds: int, turn_s: float) -> dict[str, Any]:
    """Prove and measure a cell."""
    run = Run(cell)
    proof = run.prove()
    seconds = run.seconds_of_a_step(rounds, turn_s)
    return {
        "cell": asdict(cell),
        "kind": "simulated kernel" if fasim_cuda.is_simulated else "gpu",
        "samples_per_s": round(cell.batch / seconds),
        "proof": proof,
        "rounds": rounds,
        "turn_s": turn_s,
        "command": "python benchmarks/gpu.py",
        "numba_cuda": _version("numba-cuda"),
        "driver": _driver(),
        **provenance(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _driver() -> str:
    """Return the version of the driver's module in the kernel, where the system shows it."""
    try:
        return Path("/proc/driver/nvidia/version").read_text().splitlines()[0]
    except OSError:
        return "unknown"


def cells(options: argparse.Namespace) -> Iterator[Cell]:
    """Yield what is to be measured."""
    for net, batch, rule, name in product(options.nets, options.batches, options.rules, options.formats):
        yield Cell(net, batch, rule, name, fasim_cuda.device_name())


def main(given: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, known in (("nets", NETS), ("rules", RULES), ("batches", BATCHES), ("formats", FORMATS)):
        parser.add_argument(f"--{name}", nargs="+", type=type(known[0]), default=known)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--turn", type=float, default=TURN_S, help="seconds of a turn")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(given)
    for cell in cells(options):
        line = line_of(cell, options.rounds, options.turn)
        append(options.results, line)
        where = f"{line['kind']}, {cell.device}"
        print(f"{cell.net} {cell.rule} {cell.format} batch {cell.batch}: {line['samples_per_s']} samples/s ({where})")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
