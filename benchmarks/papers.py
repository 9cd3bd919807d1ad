"""The runs behind ``docs/papers.md``, one resumable line a case and seed in ``benchmarks/results/papers.jsonl``.

What is run is said by ``fasim/experiments/*.toml``; here stands only how much of it: the papers' own length where a run
takes minutes, else the epochs that fit. ``--table 004-M`` runs one experiment, ``--list`` shows what is missing; several
processes share the work; ``fasim run 004-M --results benchmarks/results/papers.jsonl`` adds any others. MNIST and CIFAR-10
must be in ``FASIM_DATA``; ``benchmarks/render.py`` makes the page from the lines.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from result_lines import provenance, run_missing

from fasim.experiments import cell_of, load_experiment, run_case
from fasim.experiments.running import command_of
from fasim.experiments.summary import curve_of

RESULTS = Path(__file__).parent / "results" / "papers.jsonl"


class Part(NamedTuple):
    """So many seeds of some cases of an experiment; `epochs` None: the paper's."""

    table: str
    pattern: str
    seeds: int
    epochs: int | None = None
    variant: str = ""


PARTS = (
    Part("003-E3", "128 *", 3, 10),
    Part("000-L1", "100x240 *", 3),
    Part("000-L1", "100x240 bp", 3, variant="equal-rates"),
    Part("001-T1", "cifar10 *", 1, 4),
    Part("001-T1", "cifar10 kp,cifar10 dkp", 1, 4, "equal-rates"),
    Part("002-B", "*", 3),
    Part("002-C", "*", 3),
    Part("002-D", "*", 3),
    Part("001-F2", "*", 3),
    Part("000-L2", "*", 3),
    Part("000-L1", "*", 3),
    Part("000-L1", "*", 3, variant="equal-rates"),
    Part("000-L1", "*", 1, variant="rate-1e-2"),
    Part("000-L1", "*", 1, variant="rate-1e-4"),
    Part("004-R", "*", 3),
    *(Part("004-R", "*", 3, variant=name) for name in ("he", "adam", "random-start")),
    Part("004-M", "784-500-10 *", 3),
    Part("004-M", "784-500-10 dfa", 1, variant="dropout-0.1"),
    Part("004-M", "784-500-10 dfa", 1, variant="dropout-0.25"),
    Part("004-M", "784-500-10 dfa", 1, variant="nag"),
    Part("004-M", "784-500-500-10 dfa,784-1000-1000-10 dfa", 1, variant="dropout-0.1"),
    Part("004-M", "784-500-500-10 dfa,784-1000-1000-10 dfa", 1, variant="nag"),
    Part("004-C", "*", 3),
    Part("004-C", "*", 1, variant="random-start"),
    Part("004-C", "*", 1, variant="adam"),
    Part("004-C", "*fa", 3, variant="adam"),
    Part("004-M", "784-500-500-10 *", 3),
    Part("004-M", "784-500-500-10 fa", 10),
    Part("004-M", "784-1000-10 *", 3),
    Part("004-M", "*", 3, variant="slow-one"),
    Part("004-M", "*", 1, variant="slow-two"),
    Part("004-M", "784-1000-1000-10 *", 3),
    Part("003-E4", "dfa *,fa b1", 3),
    Part("003-E4", "dfa b2", 3, variant="repeated"),
    Part("003-E4", "fa b1", 3, variant="mean"),
    Part("003-E4", "fa b1", 1, variant="mean-unit"),
    Part("003-E4", "*", 3, variant="held-out"),
    Part("003-E4", "*", 3, variant="repeated-held-out"),
    Part("002-T", "1x800-tanh *", 3),
    Part("002-T", "2x800-tanh *", 3),
    Part("003-E4", "fa *", 3),
    Part("003-E4", "dfa *", 5, 5, "unit"),
    Part("003-E4", "dfa *,fa b1", 1, variant="unit"),
    # larger ones: the epochs that fit into minutes
    Part("004-M", "conv-*", 1, 4),
    Part("004-CI", "3072-500-10 *", 1, 20),
    Part("004-CI", "3072-1000-10 *,3072-500-500-10 *,3072-1000-1000-10 *", 1, 10),
    Part("004-CI", "conv-*", 1, 4),
    Part("002-T", "100x240-tanh *", 1, 3),
    Part("002-T", "7x240-*,3x800-*,4x800-*,2x800-logistic *,2x800-relu *,2x800-tanh-dropout *,2x800-tanh-fgsm *", 1, 10),
    Part("003-E1", "*", 1, 10),
    Part("003-E2", "*", 1, 10),
    Part("003-E2", "*-relu strategy3", 1, 10, "unit"),
    Part("003-E3", "800 *", 1, 4),
)


def cells() -> Iterator[dict[str, Any]]:
    """Yield all cells, part by part, those with the same seed together."""
    found = {}
    for part in PARTS:
        experiment = load_experiment(part.table)
        for seed in range(part.seeds):
            for case in experiment.select(part.pattern, part.variant):
                cell = cell_of(experiment, case, seed, variant=part.variant, epochs=part.epochs)
                found[str(cell)] = cell
    yield from found.values()


def run(cell: dict[str, Any]) -> dict[str, Any]:
    """Run one cell and return its line."""
    experiment = load_experiment(cell["table"])
    (case,) = experiment.select(cell["case"], cell.get("variant", ""))
    line = {"cell": cell, **run_case(case, cell["seed"], epochs=cell["epochs"])}
    shown = curve_of(line, experiment.measures[0])[-5:]
    return line | {"command": command_of(cell), "shown": shown, **provenance()}


if __name__ == "__main__":
    sys.exit(run_missing(__doc__, RESULTS, list(cells()), run))
