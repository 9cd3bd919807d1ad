"""Short runs of the papers' experiments, one resumable line a cell and seed in ``benchmarks/results/papers.jsonl``.

``python benchmarks/papers.py`` runs what has no line yet; ``--table``, ``--list`` and ``--part`` as in ``accuracy.py``.
MNIST and CIFAR-10 must be in ``FASIM_DATA``. Tables, with the settings of the papers and of their authors' code:

======= ==========================================================================================================
000-L1  784-100x240-10 tanh on MNIST, 4 epochs: DFA and BP of Lupia and Fraioli's listing 1, and a rate that suits BP
001-T1  the two-convolution net of the direct Kolen-Pollack manuscript on CIFAR-10 (JPEG copy), 4 of its 50 epochs
003-E3  auto-encoders of Flam-Shepherd's figure 6, 10 epochs
003-E4  DFA with the feedback families B1 .. B7 of Flam-Shepherd's table 4, 5 of its 100 epochs, 5 seeds
======= ==========================================================================================================
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from result_lines import provenance, run_missing

from fasim import Network, StepSettings, train
from fasim.data import Data, load, standardise
from fasim.plan import Plan
from fasim.training import Run

RESULTS = Path(__file__).parent / "results" / "papers.jsonl"

DEEP = {"net": "784-100x240-10", "hidden": "tanh", "output": "softmax", "init": "lecun"}
TWO_CONV = {"net": "32x32x3-32c3p0-32c3p0-2p-128-10", "hidden": "relu", "output": "softmax", "batch_norm": True}
AUTO = {"net": "784-128-128-784", "hidden": "tanh", "output": "sigmoid", "init": "xavier", "bias_init": "normal"}
WIDE = {"net": "784-800-800-10", "hidden": "tanh", "output": "softmax", "init": "xavier", "bias_init": "normal"}


@dataclass(frozen=True)
class Cell:
    """One run: everything that decides its result."""

    table: str
    case: str
    rule: str
    seed: int
    epochs: int
    learning_rate: float
    data: str
    standardise: str
    network: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)


def _listing_1(seed: int) -> Iterator[Cell]:
    """Yield 000-L1: softmax cross-entropy, mean over 64, momentum .9, feedback U(-1, 1), first 5,000 images set aside."""
    settings = {"batch_size": 64, "loss": "cross_entropy", "reduction": "mean", "optimizer": "momentum"}
    for rule, rate in (("dfa", 1e-3), ("bp", 1e-3), ("bp", 1e-2)):
        feedback = settings | {"feedback": "uniform:1"}
        yield Cell(
            *("000-L1", f"{rule} {rate:g}", rule, seed, 4, rate, "mnist", "pixel"),
            *(DEEP, feedback, {"train_accuracy": True}),
        )


def _two_convolutions(seed: int) -> Iterator[Cell]:
    """Yield 001-T1: Nesterov .9 at 1e-2, lambda 1e-6 as PyTorch couples it; feedback at 1e-4, times .85 an epoch."""
    settings = {
        "batch_size": 64,
        "loss": "cross_entropy",
        "reduction": "mean",
        "optimizer": "nesterov",
        "weight_decay": 1e-6,
        "feedback": "kaiming",
    }
    plan = {"feedback_rate": 1e-4, "feedback_schedule": "exponential:0.85", "train_accuracy": True}
    cases = [(rule, rule, {}, {}) for rule in ("dfa", "dkp", "drtp", "bp")]
    cases.append(("kp, feedback at 1e-2", "kp", {}, {"feedback_rate": 1e-2}))
    cases += [("fa", "fa", {}, {}), ("bp, convolutions frozen", "bp", {"freeze": "conv"}, {}), ("kp", "kp", {}, {})]
    for case, rule, more, changed in cases:
        yield Cell(
            *("001-T1", case, rule, seed, 4, 1e-2, "cifar10", "channel"),
            *(TWO_CONV, settings | more, plan | changed),
        )


def _auto_encoders(seed: int) -> Iterator[Cell]:
    """Yield 003-E3: squared error summed over a batch; the paper drops its factor 2, so the rate is half of 1e-3."""
    settings = {"batch_size": 32, "loss": "mse", "target": "input", "feedback": "uniform:0.5"}
    for rule in ("bp", "dfa", "strategy1", "strategy2", "strategy3"):
        yield Cell("003-E3", rule, rule, seed, 10, 5e-4, "mnist", "unit", AUTO, settings)


def _feedback_families(seed: int) -> Iterator[Cell]:
    """Yield 003-E4: softmax cross-entropy, plain gradient descent at 1e-3 on the sum over 32."""
    settings = {"batch_size": 32, "loss": "cross_entropy"}
    for family in ("b1", "b2", "b3", "b4", "b5", "b6", "b7"):
        yield Cell("003-E4", family, "dfa", seed, 5, 1e-3, "mnist", "unit", WIDE, settings | {"feedback": family})


def cells() -> Iterator[Cell]:
    """Yield all cells, those with few seeds first."""
    for seed in range(5):
        if seed < 3:
            yield from _auto_encoders(seed)
        yield from _feedback_families(seed)
        if seed < 3:
            yield from _listing_1(seed)
        if seed < 1:
            yield from _two_convolutions(seed)


@cache
def data_of(name: str, how: str, held_out: int) -> Data:
    """Return a data set, without its first `held_out` training samples, standardised."""
    data = load(name)
    return standardise(replace(data, x_train=data.x_train[held_out:], y_train=data.y_train[held_out:]), how)


def train_cell(cell: Cell, data: Data) -> Run:
    """Train what a cell says."""
    options = dict(cell.network)
    return train(
        Network.parse(options.pop("net"), **options),
        data,
        rule=cell.rule,
        epochs=cell.epochs,
        seed=cell.seed,
        learning_rate=cell.learning_rate,
        settings=StepSettings(**cell.settings),
        plan=Plan(**cell.plan),
    )


def run(cell: Cell) -> dict[str, Any]:
    """Run one cell and return its line."""
    data = data_of(cell.data, cell.standardise, 5_000 if cell.table == "000-L1" else 0)
    result = train_cell(cell, data)
    line: dict[str, Any] = {"cell": asdict(cell)}
    measured = {
        "test_error_percent": [_percent_wrong(epoch.test_accuracy) for epoch in result.epochs],
        "train_error_percent": [_percent_wrong(epoch.train_accuracy) for epoch in result.epochs],
        "test_loss": [_number(epoch.test_loss) for epoch in result.epochs],
    }
    line |= {name: values for name, values in measured.items() if values[0] is not None}
    if cell.settings.get("target") == "input":
        values = data.values(data.x_train).mean(0)
        line["test_loss_of_mean_image"] = float(np.mean((data.values(data.x_test) - values) ** 2))
    line |= {
        "seconds_per_epoch": round(sum(epoch.seconds for epoch in result.epochs) / len(result.epochs), 1),
        "data_note": data.note,
        "command": f"python benchmarks/papers.py --table {cell.table}",
        "shown": line.get("test_error_percent", line["test_loss"]),
        **provenance(),
    }
    return line


def _percent_wrong(accuracy: float) -> float | None:
    return None if np.isnan(accuracy) else round(100 - 100 * accuracy, 2)


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


if __name__ == "__main__":
    sys.exit(run_missing(__doc__, RESULTS, list(cells()), run))
