"""Beyond the papers: their networks in fixed point, with other feedback, and what a training costs.

One resumable line a cell and seed in ``benchmarks/results/front.jsonl``. Each rule of 004-M (MNIST) and of 001-T1
(CIFAR-10) runs with each kind of feedback that it can use in float32, s16 and s8, by plain SGD, which all three have. How
energy, memory and the energy to a target accuracy are found: ``fasim.estimate`` and ``fasim.target``.

A comparison of rules must not be one of learning rates: the rate of each rule with each feedback is the best of a few on
the validation split of a seed that is in no table (tables ``...-rates``); a main run waits until those are measured.
``--table NAME`` runs one table, ``--list`` shows what is missing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

from result_lines import done, key, provenance, run_missing

from fasim import Network, StepSettings, compare
from fasim.comparison import Comparison
from fasim.data import load
from fasim.fixedpoint import Datapath, Fixed, load_datapath
from fasim.network import Dense
from fasim.target import Target

RESULTS = Path(__file__).parent / "results" / "front.jsonl"
DATAPATHS = ("float32", "s16", "s8")
# what reaches a layer: any number, few outputs a unit, signs, words of a shift register
KINDS = {"dense": "", "k1": "+k:1", "k2": "+k:2", "k4": "+k:4", "sign": "+sign", "generated": "+lfsr:8"}
RATES_SEED = 1000
NO_FEEDBACK = "none"

_load = cache(load)


@dataclass(frozen=True)
class Task:
    """What all cells of a table have in common."""

    data: str
    net: str
    hidden: str
    output: str
    loss: str
    batch_size: int
    base: str
    rules: tuple[str, ...]
    learned: tuple[str, ...]
    epochs: int
    rate_epochs: int
    seeds: int
    target: float
    evaluate_every: int
    rates: tuple[float, ...]
    batch_norm: bool = False


TASKS = {
    "mnist": Task(
        *("mnist", "784-500-500-10", "tanh", "sigmoid", "bce", 60, "uniform"),
        rules=("bp", "fa", "dfa", "sdfa", "drtp"),
        learned=(),
        epochs=5,
        rate_epochs=2,
        seeds=3,
        target=0.95,
        evaluate_every=6000,
        rates=(2**-6, 2**-7, 2**-8, 2**-9, 2**-10),
    ),
    "cifar10": Task(
        *("cifar10", "32x32x3-32c3p0-32c3p0-2p-128-10", "relu", "softmax", "cross_entropy", 64, "kaiming"),
        rules=("bp", "fa", "dfa", "drtp", "kp", "dkp"),
        learned=("kp", "dkp"),
        epochs=2,
        rate_epochs=1,
        seeds=1,
        target=0.5,
        evaluate_every=12800,
        rates=(2**-8, 2**-9, 2**-10, 2**-11),
        batch_norm=True,
    ),
}


@dataclass(frozen=True)
class Cell:
    """One run: everything that decides its result."""

    table: str
    rule: str
    feedback: str
    datapath: str
    seed: int
    epochs: int
    learning_rate: float


def kinds_of(task: Task, rule: str) -> tuple[str, ...]:
    """Return the kinds of feedback that a rule runs with; what is learned starts dense, and backpropagation has none.

    FA's has the shape of the weights: that of a convolution's cannot be sparse.
    """
    if rule == "bp":
        return (NO_FEEDBACK,)
    if rule in task.learned:
        return ("dense",)
    sparse = rule != "fa" or all(isinstance(layer, Dense) for layer in network_of(task).layers)
    return tuple(kind for kind in KINDS if sparse or not kind.startswith("k"))


def cells() -> Iterator[Cell]:
    """Yield all cells whose learning rate is known: the rates' own first, then those of one seed after the other."""
    for name, task in TASKS.items():
        pairs = [(rule, kind) for rule in task.rules for kind in kinds_of(task, rule)]
        for rule, kind in pairs:
            for rate in task.rates:
                yield Cell(f"{name}-rates", rule, kind, "float32", RATES_SEED, task.rate_epochs, rate)
        for seed in range(task.seeds):
            for rule, kind in pairs:
                rate = best_rate(name, rule, kind)
                for datapath in DATAPATHS if rate else ():
                    yield Cell(name, rule, kind, datapath, seed, task.epochs, rate)


def key_of(cell: Cell) -> str:
    """Return what identifies a cell in the file of lines."""
    return key(asdict(cell))


@cache
def _lines() -> dict[str, dict[str, Any]]:
    return done(RESULTS)


def best_rate(table: str, rule: str, feedback: str) -> float:
    """Return the rate with the best validation accuracy (mean of the last two evaluations); 0 while one is not measured."""
    found = {}
    for line in _lines().values():
        cell = line["cell"]
        if (cell["table"], cell["rule"], cell["feedback"]) == (f"{table}-rates", rule, feedback):
            found[cell["learning_rate"]] = fmean(accuracy for _, accuracy in line["points"][-2:])
    return max(found, key=lambda rate: (found[rate], -rate)) if found.keys() >= set(TASKS[table].rates) else 0.0


def network_of(task: Task) -> Network:
    """Return the network of a table."""
    return Network.parse(task.net, hidden=task.hidden, output=task.output, batch_norm=task.batch_norm)


def datapath_of(task: Task, name: str) -> Datapath | None:
    """Return a datapath with what batch normalisation needs, None for float32.

    Gain and shift have 16 bits; normalised activations go up to 4 in place of 1, with as many bits as before. Where they
    were cut at 1, BP on s8 with a rate of 2^-9 fell to chance within its first epoch. Sums before the normalisation go up
    to 32, in 12 bits at least: in float32 (``fasim calibrate``) 7 % of a dense layer's are beyond the presets' 8, and BP
    with 2^-8 fell to chance. Deltas of 8 bits go up to a quarter: 99.99 % are below a half (``fasim calibrate``), and
    after one epoch BP on s8 is at 50 % accuracy, where it was at 26 % with 1 and 41 % with an eighth (float32: 62 %).
    """
    datapath = load_datapath(name)
    if datapath is None or not task.batch_norm:
        return datapath
    act, preact = datapath.act.format.bits, max(12, datapath.preact.format.bits)
    delta = Fixed(8, 9) if datapath.delta.format.bits == 8 else datapath.delta.format
    return replace(
        datapath,
        norm=Fixed(16, 12),
        delta=replace(datapath.delta, format=delta),
        act=replace(datapath.act, format=Fixed(act, act - 3)),
        preact=replace(datapath.preact, format=Fixed(preact, preact - 6)),
    )


def settings_of(task: Task, kind: str) -> StepSettings:
    """Return the settings of a step with a kind of feedback."""
    return StepSettings(task.batch_size, loss=task.loss, feedback=task.base + KINDS.get(kind, ""))


def comparison_of(cell: Cell) -> Comparison:
    """Return a comparison of one rule, datapath and seed: the run beside its costs."""
    task = TASKS[cell.table.removesuffix("-rates")]
    return compare(
        _load(task.data),
        network_of(task),
        rules=[cell.rule],
        datapaths=[datapath_of(task, cell.datapath) or cell.datapath],
        epochs=cell.epochs,
        seeds=[cell.seed],
        learning_rate=cell.learning_rate,
        settings=settings_of(task, cell.feedback),
        target=Target(task.target, validation=0.05, evaluate_every=task.evaluate_every),
    )


def run(cell: Cell) -> dict[str, Any]:
    """Run one cell and return its line."""
    comparison = comparison_of(cell)
    (row,) = comparison.as_dict()["rows"]  # type: ignore[misc]
    (result,) = comparison.rows[0].runs
    kept = ("energy_pj_per_sample", "energy_ratio_to_bp", "samples_to_target", "energy_pj_to_target", "peak_live_bytes")
    kept += ("peak_activation_bytes", "feedback_bytes", "saturation_fraction", "wraps", "diverged_seeds")
    errors = [round(100 - 100 * epoch.test_accuracy, 2) for epoch in result.epochs]
    return {
        "cell": asdict(cell),
        "test_error_percent": errors,
        "shown": errors[-1:],
        "points": [[point.samples, round(point.accuracy, 5)] for point in result.points],
        **{name: row[name] for name in kept},
        "seconds": round(sum(epoch.seconds for epoch in result.epochs), 1),
        "command": f"python benchmarks/front.py --table {cell.table}",
        **provenance(),
    }


if __name__ == "__main__":
    sys.exit(run_missing(__doc__, RESULTS, list(cells()), run))
