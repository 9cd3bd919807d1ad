"""Fixed point beside float32 on MNIST, one resumable line a cell and seed in ``benchmarks/results/fixed.jsonl``.

``python benchmarks/fixed.py`` runs what has no line yet (MNIST must be in ``FASIM_DATA``, about an hour on two cores);
``--table NAME`` runs one table, ``--list`` shows what there is; several processes share the work. ``benchmarks/render.py``
makes the tables of ``docs/fixed-point-results.md`` from the lines.

- ``presets``: each rule in float32 and on presets, 784-500-10. One hidden layer: fa, ifa, hybrid and the strategies are dfa
  there, dkp is kp (the same matrix, the same steps).
- ``pocketnn``: PocketNN's own network and settings.
- ``widths``: weights, or errors and deltas, from 16 bits down until the test error has doubled.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from result_lines import done, key, provenance, run_missing

from fasim import Network, StepSettings, train
from fasim.data import load
from fasim.fixedpoint import Cast, Datapath, Fixed, load_datapath
from fasim.training import Run

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "fixed.jsonl"
RULES = ("bp", "dfa", "sdfa", "drtp", "kp", "lafs", "shallow")
SEEDS = (0, 1, 2)
WIDTHS = (16, 12, 10, 8, 7, 6, 5, 4, 3)
# families of networks: what a preset was made for, beside float32 with the same network and loss
FAMILIES: dict[str, dict[str, Any]] = {
    "tanh, bce": {"network": {"hidden": "tanh", "output": "sigmoid"}, "loss": "bce", "rate": 2.0**-8},
    "relu, half_mse": {
        "network": {"hidden": "relu", "output": "linear", "init": "he"},
        "loss": "half_mse",
        "rate": 2.0**-10,
        "datapath": {"wage": {"init": "wage"}},
    },
    "relu, softmax": {
        "network": {"hidden": "relu", "output": "softmax", "init": "xavier"},
        "loss": "cross_entropy",
        "rate": 2.0**-8,
    },
}
PRESETS = {
    "tanh, bce": ("float32", "s16", "s8", "s8_stoch", "gupta16", "reckon_pm1"),
    "relu, half_mse": ("float32", "wage"),
    "relu, softmax": ("float32", "niti"),
}
# a tensor fails where so many more of its numbers than with 16 bits are 0, or leave the range
MORE_ZEROS, MORE_SATURATED = 0.2, 0.02
BATCH = 64


@dataclass(frozen=True)
class Cell:
    """One run: everything that decides its result."""

    table: str
    family: str
    rule: str
    datapath: str
    seed: int
    epochs: int
    net: str = "784-500-10"
    what: str = ""
    bits: int = 0


def cells() -> Iterator[Cell]:
    """Yield all cells, those with one seed first."""
    for seed in SEEDS:
        yield Cell("pocketnn", "pocketnn", "dfa", "pocketnn", seed, 3, "784-100-50-10")
        for family, datapaths in PRESETS.items():
            for rule in RULES:
                for datapath in datapaths:
                    yield Cell("presets", family, rule, datapath, seed, 5)
    for rule in RULES[:-1]:
        for what in ("weight", "error"):
            for bits in WIDTHS:
                yield Cell("widths", "tanh, bce", rule, "s16", 0, 2, what=what, bits=bits)


def narrowed(what: str, bits: int) -> Datapath:
    """Return s16 with weights (their master keeps 16 bits), or errors and deltas, of so many bits in the same range."""
    base = load_datapath("s16")
    assert base is not None

    def narrow(cast: Cast) -> Cast:
        return replace(cast, format=Fixed(bits, cast.format.frac - (cast.format.bits - bits)))

    changes = (
        {"weight": narrow(base.weight)} if what == "weight" else {n: narrow(getattr(base, n)) for n in ("error", "delta")}
    )
    return replace(base, name=f"s16 with {what} of {bits}", **changes)


def run(cell: Cell) -> dict[str, Any]:
    """Run one cell and return its line."""
    if cell.table == "widths" and (stopped := _doubled_before(cell)):
        return _line(cell, [], {}) | {"skipped": stopped, "shown": "not run"}
    result = _train(cell, trace=cell.bits == WIDTHS[0])
    errors = [round(100 - 100 * epoch.test_accuracy, 2) for epoch in result.epochs]
    if cell.table == "widths" and _has_doubled(cell, errors):
        result = _train(cell, trace=True)  # the same bits once more, now watched
    total = result.trace.total
    line = _line(
        cell, errors, {s: c.saturations + c.wraps for s, c in result.trace.sites.items() if c.saturations + c.wraps}
    )
    line |= {"casts": total.elements, "saturations": total.saturations, "wraps": total.wraps}
    line |= {"diverged": result.diverged, "train_samples_per_s": round(result.train_samples_per_s)}
    if result.last_tensors:
        line["tensors"] = {
            name: [round(found.zero_fraction, 4), round(found.saturated_fraction, 4)]
            for name, found in result.last_tensors.items()
            if found.cls in ("weight", "preact", "act", "output", "error", "delta")
        }
        line["first_failing"] = first_failing(line["tensors"], _widest(cell))
    return line


def first_failing(tensors: dict[str, list[float]], widest: dict[str, list[float]]) -> str:
    """Return the first tensor, in the order of the step, with far more zeros or saturations than with 16 bits."""
    for name, (zeros, saturated) in tensors.items():
        before = widest.get(name, [zeros, saturated])
        if zeros - before[0] > MORE_ZEROS:
            return f"{name} ({100 * zeros:.0f} % zeros, {100 * before[0]:.0f} with 16 bits)"
        if saturated - before[1] > MORE_SATURATED:
            return f"{name} ({100 * saturated:.0f} % saturated, {100 * before[1]:.0f} with 16 bits)"
    return ""


def _train(cell: Cell, *, trace: bool) -> Run:
    if cell.table == "pocketnn":
        network = Network.parse(cell.net, hidden="tanh", output="tanh", init="zero")
        settings = StepSettings(20, loss="half_mse", error_scale="raw", feedback="pocketnn")
        return train(
            network,
            load("mnist"),
            rule="dfa",
            datapath="pocketnn",
            epochs=3,
            seed=cell.seed,
            learning_rate=0.001,
            settings=settings,
        )
    family = FAMILIES[cell.family]
    network = Network.parse(cell.net, **(family["network"] | family.get("datapath", {}).get(cell.datapath, {})))
    datapath = narrowed(cell.what, cell.bits) if cell.what else load_datapath(cell.datapath)
    return train(
        network,
        load("mnist"),
        rule=cell.rule,
        datapath=datapath,
        epochs=cell.epochs,
        seed=cell.seed,
        learning_rate=family["rate"],
        settings=StepSettings(BATCH, loss=family["loss"]),
        trace=trace,
    )


def _line(cell: Cell, errors: list[float], sites: dict[str, int]) -> dict[str, Any]:
    command = f"python benchmarks/fixed.py --table {cell.table}"
    line = {"cell": asdict(cell), "test_error_percent": errors, "shown": errors, "sites": sites, "command": command}
    return line | provenance()


def _widest(cell: Cell) -> dict[str, list[float]]:
    line = done(RESULTS).get(key(asdict(replace(cell, bits=WIDTHS[0]))))
    return {} if line is None else line["tensors"]


def _has_doubled(cell: Cell, errors: list[float]) -> bool:
    """Tell whether these errors end above twice those with 16 bits."""
    first = done(RESULTS).get(key(asdict(replace(cell, bits=WIDTHS[0]))))
    return bool(first and errors) and errors[-1] > 2 * first["test_error_percent"][-1]  # type: ignore[index]


def _doubled_before(cell: Cell) -> str:
    """Return at how many bits the error had doubled already; empty if it has not."""
    for bits in WIDTHS[1 : WIDTHS.index(cell.bits)]:
        wider = replace(cell, bits=bits)
        line = done(RESULTS).get(key(asdict(wider)))
        if line and _has_doubled(wider, line["test_error_percent"]):
            return f"doubled at {bits} bits"
    return ""


if __name__ == "__main__":
    sys.exit(run_missing(__doc__, RESULTS, list(cells()), run))
