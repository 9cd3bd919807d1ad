"""One run of an experiment's case, and the result line that it leaves."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from statistics import median
from typing import Any

import numpy as np

from fasim.data import Data, load, standardise
from fasim.diagnostics import Diagnostics
from fasim.errors import ConfigError
from fasim.experiments.experiment import Case, Experiment
from fasim.experiments.keys import ANGLES, NETWORK, PLAN, STEP
from fasim.training import Epoch, Run, train

Cell = dict[str, Any]
Line = dict[str, Any]


def cell_of(
    experiment: Experiment, case: Case, seed: int, *, variant: str = "", epochs: int | None = None, backend: str = "cpu"
) -> Cell:
    """Return everything that decides the result of one run, as plain values; what is at its default is left out.

    Parameters
    ----------
    experiment : Experiment
    case : Case
        Of ``experiment.select(...)``.
    seed : int
    variant : str
    epochs : int, optional
        Default: the paper's.
    backend : str
    """
    cell = {
        "table": experiment.name,
        "variant": variant,
        "case": case.name,
        "rule": case.value("rule"),
        "datapath": case.value("datapath", "float32"),
        "seed": seed,
        "epochs": epochs or case.value("epochs"),
        "learning_rate": case.value("learning_rate"),
        "data": case.value("data"),
        "held_out": case.value("held_out", 0),
        "standardise": case.value("standardise"),
        "backend": backend,
        "network": case.options(NETWORK),
        "settings": case.options(STEP),
        "plan": case.options(PLAN),
    }
    defaults = {"variant": "", "datapath": "float32", "held_out": 0, "backend": "cpu"}
    return {name: value for name, value in cell.items() if name not in defaults or value != defaults[name]}


def command_of(cell: Cell) -> str:
    """Return the command that runs a cell again, with the seeds before it."""
    words = ["fasim", "run", cell["table"], "--case", f'"{cell["case"]}"']
    words += ["--variant", cell["variant"]] if "variant" in cell else []
    words += ["--seeds", str(cell["seed"] + 1), "--epochs", str(cell["epochs"])]
    return " ".join([*words, "--backend", cell["backend"]] if "backend" in cell else words)


@lru_cache(maxsize=2)
def data_of(name: str, how: str, held_out: int) -> Data:
    """Return a data set without its first `held_out` training samples, standardised by the others.

    Raises
    ------
    DataError
        If the data set is absent.
    ConfigError
        If nothing is left to train on.
    """
    data = load(name)
    if held_out >= len(data.x_train):
        raise ConfigError(f"held_out {held_out}: {name} has {len(data.x_train)} training samples; hold out fewer")
    return standardise(replace(data, x_train=data.x_train[held_out:], y_train=data.y_train[held_out:]), how)


def train_case(
    case: Case,
    seed: int,
    *,
    epochs: int | None = None,
    backend: str = "cpu",
    threads: int = 1,
    on_epoch: Callable[[Epoch], None] | None = None,
    after_epoch: Callable[[Run], None] | None = None,
) -> Run:
    """Train what a case says.

    Parameters
    ----------
    case : Case
    seed : int
    epochs : int, optional
        Default: the paper's.
    backend, threads, on_epoch, after_epoch
        As :func:`fasim.training.train` takes them.

    Raises
    ------
    ConfigError, DataError
        In one line, before anything has run.
    """
    return train(
        case.network(),
        data_of(case.value("data"), case.value("standardise"), case.value("held_out", 0)),
        rule=case.value("rule"),
        datapath=case.value("datapath", "float32"),
        epochs=epochs or case.value("epochs"),
        seed=seed,
        learning_rate=case.value("learning_rate"),
        settings=case.step_settings(),
        plan=case.plan(),
        backend=backend,
        threads=threads,
        on_epoch=on_epoch,
        after_epoch=after_epoch,
    )


def run_case(
    case: Case,
    seed: int,
    *,
    epochs: int | None = None,
    backend: str = "cpu",
    threads: int = 1,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Line:
    """Run a case and return the figures of its line, a list over the epochs for each.

    Figures that are not finite become None. See :func:`train_case` for the parameters and what is raised.
    """
    started = time.perf_counter()
    data = data_of(case.value("data"), case.value("standardise"), case.value("held_out", 0))
    angles = Diagnostics(data) if case.measures_angles else None
    run = train_case(case, seed, epochs=epochs, backend=backend, threads=threads, on_epoch=on_epoch, after_epoch=angles)
    measured = {
        "test_error_percent": [_percent_wrong(epoch.test_accuracy) for epoch in run.epochs],
        "train_error_percent": [_percent_wrong(epoch.train_accuracy) for epoch in run.epochs],
    }
    line: Line = {name: values for name, values in measured.items() if values[0] is not None}
    line["test_loss"] = [epoch.test_loss if math.isfinite(epoch.test_loss) else None for epoch in run.epochs]
    if angles is not None:
        for measure, (name, kind) in ANGLES.items():
            entries = [[entry for entry in record[name] if entry["kind"] == kind] for record in angles.records[1:]]
            line[f"{measure}s"] = [[entry["mean"] for entry in epoch] for epoch in entries]
    if case.value("target") == "input":
        mean = data.values(data.x_train).mean(0)
        line["test_loss_of_mean_image"] = float(np.mean((data.values(data.x_test) - mean) ** 2))
    return line | {
        "stopped": run.stopped,
        "seconds_per_epoch": round(median(epoch.seconds for epoch in run.epochs), 2),
        "seconds": round(time.perf_counter() - started, 1),
        "data_note": data.note,
    }


def _percent_wrong(accuracy: float) -> float | None:
    return None if math.isnan(accuracy) else round(100 - 100 * accuracy, 2)
