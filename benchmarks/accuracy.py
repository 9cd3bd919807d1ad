"""Long accuracy runs, one resumable line a cell and seed in ``benchmarks/results/accuracy.jsonl``.

``python benchmarks/accuracy.py`` runs what has no line yet (MNIST must be in ``FASIM_DATA``, about an hour on two cores);
``--table NAME`` runs one table, ``--list`` shows what there is; several processes share the work. ``benchmarks/render.py``
makes the tables of the documentation from the lines.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from result_lines import provenance, run_missing

from fasim import Network, StepSettings, train
from fasim.data import load

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "accuracy.jsonl"
RULES = ("bp", "fa", "dfa", "sdfa", "drtp")
SEEDS = (0, 1, 2)

# Learning rates of Frenkel et al. for one hidden layer, recovered from two independent third-party configurations of
# their code (a file that quotes "Table 3 in DRTP", and the scripts of a fork)
ADAM_RATES = {"bp": 1.5e-4, "fa": 5e-4, "dfa": 1.5e-4, "sdfa": 5e-4, "drtp": 1.5e-4}
CONTROL = "s8_without_master"


@dataclass(frozen=True)
class Cell:
    """One run: everything that decides its result."""

    table: str
    net: str
    rule: str
    datapath: str
    seed: int
    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: str
    reduction: str
    error_scale: str


def cells() -> Iterator[Cell]:
    """Yield all cells, those with one seed first."""
    for seed in SEEDS:
        for rule in RULES:
            yield Cell("mnist-adam", "784-500-10", rule, "float32", seed, 10, 60, ADAM_RATES[rule], "adam", "mean", "raw")
        for table, net in (("mnist-fixed-1", "784-500-10"), ("mnist-fixed-2", "784-500-500-10")):
            for datapath in ("float32", "s16", "s8", CONTROL):
                for rule in RULES if datapath != CONTROL else ("bp", "dfa"):
                    yield Cell(table, net, rule, datapath, seed, 8, 64, 2.0**-8, "sgd", "sum", "loss_gradient")


def run(cell: Cell) -> dict[str, object]:
    """Run one cell and return its line."""
    settings = StepSettings(
        cell.batch_size,
        reduction=cell.reduction,
        error_scale=cell.error_scale,
        optimizer=cell.optimizer,
    )
    datapath = str(HERE / f"{CONTROL}.toml") if cell.datapath == CONTROL else cell.datapath
    result = train(
        Network.parse(cell.net),
        load("mnist"),
        rule=cell.rule,
        datapath=datapath,
        epochs=cell.epochs,
        seed=cell.seed,
        learning_rate=cell.learning_rate,
        settings=settings,
    )
    total = result.trace.total
    errors = [round(100 - 100 * epoch.test_accuracy, 2) for epoch in result.epochs]
    return {
        "cell": asdict(cell),
        "test_error_percent": errors,
        "shown": errors,
        "saturations": total.saturations,
        "wraps": total.wraps,
        "casts": total.elements,
        "sites": {site: count.saturations for site, count in result.trace.sites.items() if count.saturations},
        "train_samples_per_s": round(result.train_samples_per_s),
        "command": f"python benchmarks/accuracy.py --table {cell.table}",
        **provenance(),
    }


if __name__ == "__main__":
    sys.exit(run_missing(__doc__, RESULTS, list(cells()), run))
