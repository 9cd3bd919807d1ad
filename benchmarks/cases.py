"""What `throughput.py` times: the cells, fasim's programs ready to run, and the proof that they compute the right thing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from plain_steps import PlainSteps

from fasim.backends import Samples
from fasim.backends.cpu import CpuProgram
from fasim.backends.reference import ReferenceProgram
from fasim.fixedpoint import load_datapath
from fasim.kernels import micro
from fasim.machine import cpu_model
from fasim.memory import aligned_copy
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import FUSIONS, Schedule, StepSettings
from fasim.state import State, initial_state, set_learning_rate

NETS = (
    "784-500-10",
    "784-1000-1000-10",
    "784-800-800-10",
    "3072-1000-1000-10",
    "784-7x240-10",
    "784-100x240-10",
    "28x28x1-32c5-2p-1000-10",
    "32x32x3-32c3p0-32c3p0-2p-128-10",
)
BATCHES = (1, 16, 64, 100)
RULES = ("bp", "fa", "dfa", "sdfa", "drtp", "dkp")
FORMATS = ("float32", "s16", "s8")
# Reported without a goal, and for one network: its random words cost most of the step.
STOCHASTIC, STOCHASTIC_NET = "s8_stoch", NETS[0]
THREADS = (1, 2)
FASTEST = "fastest"
QUICK = {"nets": NETS[:2], "batches": (1, 64), "rules": ("dfa", "bp"), "formats": ("float32", "s8"), "threads": (1,)}

LEARNING_RATE = 2.0**-8
SEED = 1
SAMPLES = 10_000
PROOF_STEPS = 3
# Largest difference between float32 parameters, over the largest of the same tensor,
TOLERANCE = 1e-5
# and so many times more the step must have moved what it is compared in.
MOVED = 100
# fa through a hundred layers of the usual feedback would grow without bound; the values change no time.
DEEP, DEEP_FEEDBACK = 20, "nokland"


@dataclass(frozen=True)
class Cell:
    """One measurement on one machine."""

    net: str
    batch: int
    rule: str
    format: str
    threads: int
    fuse: str
    cpu: str
    target: str


def cells(
    nets: Iterable[str],
    batches: Iterable[int],
    rules: Iterable[str],
    formats: Iterable[str],
    threads: Iterable[int],
    fuse: str,
) -> Iterator[Cell]:
    """Yield the cells of this machine, those that are measured together one after the other."""
    formats = tuple(formats)
    for count in threads:
        for net in nets:
            for batch in batches:
                for rule in rules:
                    stochastic = formats == FORMATS and net == STOCHASTIC_NET and count == 1
                    for name in (*formats, STOCHASTIC) if stochastic else formats:
                        yield Cell(net, batch, rule, name, count, fuse, cpu_model(), micro.TARGET)


def samples_of(network: Network, count: int = SAMPLES) -> tuple[Samples, np.ndarray]:
    """Return random pixels and labels, and an order."""
    random = np.random.default_rng(SEED)
    codes = random.integers(0, 256, (count, network.inputs), dtype=np.uint8)
    return Samples(codes, random.integers(0, network.outputs, count)), random.permutation(count)


class Fasim:
    """A program of fasim and its state, bound as `fasim.training` does.

    Parameters
    ----------
    cell : Cell
        Its net, rule and format.
    data : Samples
    order : ndarray of int64
    threads : int
    fuse : str
        One of `FUSIONS`.
    """

    def __init__(self, cell: Cell, data: Samples, order: np.ndarray, threads: int, fuse: str) -> None:
        self.network, self.batch, self.data, self.fuse = Network.parse(cell.net), cell.batch, data, fuse
        self.order = order[: len(order) // cell.batch * cell.batch]
        deep = cell.rule == "fa" and len(self.network.segments) > DEEP
        settings = StepSettings(cell.batch, feedback=DEEP_FEEDBACK) if deep else StepSettings(cell.batch)
        datapath = load_datapath(cell.format)
        self.schedule = training_step(self.network, cell.rule, settings, datapath, fuse_by=fuse)
        self.unfused = training_step(self.network, cell.rule, settings, datapath)
        self.program = CpuProgram(self.schedule, threads=threads)
        self.initial = fresh_state(self.network, self.schedule)
        self.state = copied(self.initial)
        self.orders: dict[int, np.ndarray] = {}

    def restart(self) -> None:
        """Go back to the initial state."""
        for name, array in self.initial.items():
            self.state[name][...] = array

    def run(self, steps: int) -> None:
        """Train over so many batches."""
        if steps not in self.orders:
            self.orders[steps] = np.resize(self.order, steps * self.batch)
        self.program.run(self.state, self.data, self.orders[steps], 0)


def fresh_state(network: Network, schedule: Schedule) -> State:
    """Return the state of a run that begins."""
    state = initial_state(network, schedule, SEED)
    set_learning_rate(state, schedule, LEARNING_RATE)
    return state


def copied(state: State) -> State:
    """Return a state of its own arrays, aligned as fasim's own are: one that is not takes 8 % longer at batch 1."""
    return {name: aligned_copy(array) for name, array in state.items()}


def programs(cell: Cell, data: Samples, order: np.ndarray, threads: int) -> dict[str, Fasim]:
    """Return the programs among which the fastest is to be found, by fusion."""
    fusions = FUSIONS if cell.fuse == FASTEST else (cell.fuse,)
    return {fuse: Fasim(cell, data, order, threads, fuse) for fuse in fusions}


def prove_fixed(fasim: Fasim) -> dict[str, Any]:
    """Hold a fixed-point program against plain NumPy, bit for bit, on the network, batch, fusion and threads as timed.

    Raises
    ------
    SystemExit
        If a bit differs.
    """
    plain = copied(fasim.initial)
    PlainSteps(fasim.unfused).run(plain, fasim.data, np.resize(fasim.order, PROOF_STEPS * fasim.batch), 0)
    fasim.restart()
    fasim.run(PROOF_STEPS)
    wrong = [name for name, array in plain.items() if not np.array_equal(array, fasim.state[name])]
    moved = [name for name, array in plain.items() if not np.array_equal(array, fasim.initial[name])]
    if wrong or not moved:
        raise SystemExit(f"{fasim.network} {fasim.schedule.rule} {fasim.schedule.datapath}: {wrong or 'nothing'} differs")
    return {"against": "plain NumPy", "steps": PROOF_STEPS, "same_bits": True, "tensors_moved": len(moved)}


def prove_float(fasim: Fasim, peer: Any = None) -> dict[str, Any]:  # noqa: ANN401 - steps_torch.HandWritten
    """Hold a float32 program against the hand-written PyTorch step, or without PyTorch against the interpreter in float64.

    Raises
    ------
    SystemExit
        If a parameter differs by more than `TOLERANCE`, or none has moved by `MOVED` times as much.
    """
    fasim.restart()
    fasim.run(PROOF_STEPS)
    if peer is None:
        other = copied(fasim.initial)
        order = np.resize(fasim.order, PROOF_STEPS * fasim.batch)
        ReferenceProgram(fasim.unfused).run(other, fasim.data, order, 0)
        other = {name: array for name, array in other.items() if name.partition(".")[0] in ("weight", "bias", "feedback")}
    else:
        peer.restart()
        peer.run(PROOF_STEPS)
        other = peer.parameters()
    difference, moved = 0.0, 0.0
    for name, array in other.items():
        initial, own = (state[name].reshape(array.shape).astype(np.float64) for state in (fasim.initial, fasim.state))
        largest = max(np.abs(initial).max(), np.abs(array).max())
        difference = max(difference, float(np.abs(own - array).max() / largest))
        moved = max(moved, float(np.abs(array - initial).max() / largest))
    if not difference <= TOLERANCE or moved < MOVED * TOLERANCE:
        where = f"{fasim.network} {fasim.schedule.rule} float32, batch {fasim.batch}, fuse {fasim.fuse}"
        raise SystemExit(f"{where}: differs by {difference:.2g} after {PROOF_STEPS} steps, which moved by {moved:.2g}")
    against = "the interpreter in float64" if peer is None else "PyTorch by hand"
    return {"against": against, "steps": PROOF_STEPS, "largest_difference": float(f"{difference:.2g}")}
