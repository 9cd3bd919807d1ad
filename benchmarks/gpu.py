"""Training steps a second on a GPU, one JSON line a cell, after a proof that they compute what the CPU does.

``python benchmarks/gpu.py`` prints a line a cell and appends it to ``benchmarks/results/gpu.jsonl``; ``--nets``,
``--rules``, ``--batches``, ``--formats``, ``--replicas`` and ``--graphs`` choose. A step is timed by the difference of two
runs, one of S steps and one of 2 S, so that neither the way to the device nor the way back is in it. A population trains
many replicas in the same launches, and its samples are those of all; populations, and steps recorded as a graph, are timed
for the last of the nets and of the rules alone. Where ``FASIM_CUDA=sim`` asks for the simulator, lines say ``simulated
kernel``, or ``twin only`` where plain integers stood in for ``dp4a`` or tensor cores, and their times mean nothing: it is
there to try this script.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import fasim_cuda
import numpy as np
from cases import LEARNING_RATE, PROOF_STEPS, SEED, TOLERANCE, samples_of
from fasim_cuda import graphs
from result_lines import append, provenance

from fasim.backends.cpu import CpuProgram
from fasim.backends.cuda import CudaProgram
from fasim.backends.cuda_products import LOOP
from fasim.backends.population import largest
from fasim.fixedpoint import load_datapath
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import StepSettings
from fasim.state import State, initial_state, set_learning_rate

RESULTS = Path(__file__).parent / "results" / "gpu.jsonl"
NETS, RULES, BATCHES, FORMATS = ("784-500-10", "784-1000-1000-10"), ("bp", "dfa"), (64, 1024), ("float32", "s8")
REPLICAS, GRAPHS = (1, 256), (0, 1)
ROUNDS, TURN_S = 5, 0.3
MOST_STEPS = 1 << 16


@dataclass(frozen=True)
class Cell:
    """One measurement on one device."""

    net: str
    batch: int
    rule: str
    format: str
    device: str
    replicas: int = 1
    graphs: int = 0


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

        if self.cell.replicas > (most := largest([self.programs["cuda"]])):
            raise SystemExit(f"{cell}: the device has memory for {most} replicas; give --replicas {most}")

    def state(self, number: int) -> State:
        """Return a replica's state at the start: weights and feedback of its own seed."""
        state = initial_state(self.network, self.schedule, SEED + number)
        set_learning_rate(state, self.schedule, LEARNING_RATE)
        return state

    def states(self) -> list[State]:
        """Return the states of all replicas at the start."""
        return [self.state(number) for number in range(self.cell.replicas)]

    def orders(self, steps: int) -> list[np.ndarray]:
        """Return the samples of some steps, for each replica from another place on."""
        size = steps * self.cell.batch
        return [np.resize(np.roll(self.order, number), size) for number in range(self.cell.replicas)]

    def prove(self) -> dict[str, Any]:
        """Hold the GPU's steps against the CPU's: the same bits in fixed point, a relative difference in float32.

        Of a population the first replica is held against the CPU, and some against runs of their own on the GPU, which must
        have the same bits.

        Raises
        ------
        SystemExit
            If they differ by more.
        """
        found, orders = self.states(), self.orders(PROOF_STEPS)
        cuda, count = self.programs["cuda"], self.cell.replicas
        if count == 1:
            cuda.run(found[0], self.data, orders[0], 0)
        else:
            cuda.run_together(found, self.data, orders, 0)
            for number in sorted({0, 1, count // 2, count - 1}):
                alone = self.state(number)
                cuda.run(alone, self.data, orders[number], 0)
                if wrong := _differing(alone, found[number]):
                    raise SystemExit(f"{self.cell}: {wrong} of replica {number} differ from its own run")
        cpu, gpu = self.state(0), found[0]
        self.programs["cpu"].run(cpu, self.data, orders[0], 0)
        proof: dict[str, Any] = {"against": "cpu", "steps": PROOF_STEPS}
        if count > 1:
            proof["replicas_are_their_own_runs"] = True
        if self.cell.format == "float32":
            largest_of_all = max(
                float(np.abs(gpu[name] - cpu[name]).max() / max(np.abs(cpu[name]).max(), 1e-30)) for name in cpu
            )
            if not largest_of_all <= TOLERANCE:
                raise SystemExit(f"{self.cell}: differs by {largest_of_all:.2g} after {PROOF_STEPS} steps")
            return {**proof, "largest_difference": float(f"{largest_of_all:.2g}")}
        if wrong := _differing(cpu, gpu):
            raise SystemExit(f"{self.cell}: {wrong} differ from the CPU's bits")
        return {**proof, "same_bits": True}

    def seconds_of_a_step(self, rounds: int, turn_s: float) -> float:
        """Return the seconds of a step of all replicas, see `seconds_between`."""
        states, program = self.states(), self.programs["cuda"]

        def taken(steps: int) -> float:
            orders = self.orders(steps)
            started = time.perf_counter()
            if len(states) == 1:
                program.run(states[0], self.data, orders[0], 0)
            else:
                program.run_together(states, self.data, orders, 0)
            return time.perf_counter() - started

        return seconds_between(taken, rounds, turn_s)


def seconds_between(taken: Callable[[int], float], rounds: int, turn_s: float) -> float:
    """Return the median over rounds of (2 S steps - S steps) / S, S being enough for a turn.

    The way to the device and back, which a difference is to be rid of, varies; S steps take half as long at least.

    Parameters
    ----------
    taken : callable
        Seconds of so many steps, the device being done with them.
    rounds : int
    turn_s : float
    """
    taken(1)  # compiles
    steps, before = 1, taken(1)
    turn_s = max(turn_s, before / 2)
    while (after := taken(2 * steps)) - before < turn_s and steps < MOST_STEPS:
        steps, before = 2 * steps, after
    return median((taken(2 * steps) - taken(steps)) / steps for _ in range(rounds))


def _differing(one: State, other: State) -> list[str]:
    return [name for name, array in one.items() if not np.array_equal(array, other[name])]


def line_of(cell: Cell, rounds: int, turn_s: float) -> dict[str, Any]:
    """Prove and measure a cell."""
    os.environ[graphs.VARIABLE] = str(cell.graphs)
    run = Run(cell)
    proof = run.prove()
    seconds = run.seconds_of_a_step(rounds, turn_s)
    return {
        "cell": asdict(cell),
        "kind": kind_of(run.programs["cuda"].ways),
        "products": sorted(run.programs["cuda"].ways),
        "samples_per_s": round(cell.replicas * cell.batch / seconds),
        "proof": proof,
        "rounds": rounds,
        "turn_s": turn_s,
        "command": "python benchmarks/gpu.py",
        **described(),
    }


def described() -> dict[str, Any]:
    """Return what belongs to every line: versions, the driver, the machine."""
    return {"numba_cuda": _version("numba-cuda"), "driver": _driver(), **provenance()}


def kind_of(ways: set[str]) -> str:
    """Return what a program that multiplied integer matrices in these ways ran on, or how much of it was simulated."""
    if not fasim_cuda.is_simulated:
        return "gpu"
    return "twin only" if ways - {LOOP} else "simulated kernel"


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
    lists = options.nets, options.rules, options.batches, options.formats, options.replicas, options.graphs
    for net, rule, batch, name, replicas, recorded in product(*lists):
        is_last = net == options.nets[-1] and rule == options.rules[-1]
        if is_last or (replicas, recorded) == (1, 0):
            yield Cell(net, batch, rule, name, fasim_cuda.device_name(), replicas, recorded)


def main(given: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known_lists = {"nets": NETS, "rules": RULES, "batches": BATCHES, "formats": FORMATS}
    for name, known in {**known_lists, "replicas": REPLICAS, "graphs": GRAPHS}.items():
        parser.add_argument(f"--{name}", nargs="+", type=type(known[0]), default=known)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--turn", type=float, default=TURN_S, help="seconds of a turn")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(given)
    for cell in cells(options):
        line = line_of(cell, options.rounds, options.turn)
        append(options.results, line)
        where = f"{line['kind']}, {cell.device}"
        what = f"{cell.net} {cell.rule} {cell.format} batch {cell.batch} replicas {cell.replicas} graphs {cell.graphs}"
        print(f"{what}: {line['samples_per_s']} samples/s ({where})")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
