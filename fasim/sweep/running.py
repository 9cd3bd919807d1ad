"""What a worker does with a point: train, evaluate, estimate, and return figures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from fasim import machine
from fasim.energy import estimate
from fasim.execution import is_worth_threads
from fasim.prediction import predict
from fasim.sweep.point import data_of_point, datapath_of, network_of, plan_of, step_of
from fasim.target import split
from fasim.trainer import score
from fasim.training import Epoch, train

Figures = dict[str, Any]
# of the estimate: what tables and pictures show
_COSTS = (
    *("energy_pj_per_sample", "energy_ratio_to_bp", "macs_per_sample", "peak_activation_bytes", "peak_live_bytes"),
    *("feedback_bytes", "external_bytes", "fits"),
)


class Outcome(NamedTuple):
    """What a run came to: figures, which depend on nothing but the point; its epochs; and times, which do."""

    figures: Figures
    epochs: list[dict[str, Any]]
    made: dict[str, Any]


def run_point(settings: Mapping[str, Any], threads: int = 1, on_epoch: Callable[[Epoch], None] | None = None) -> Outcome:
    """Train a point.

    Parameters
    ----------
    settings : mapping
        Of a resolved point.
    threads : int
        At most this many; a small step takes one.
    on_epoch : callable, optional

    Returns
    -------
    Outcome
        Accuracies 0..1, energies in pJ per training sample, memory in bytes; figures that are not finite are None.

    Raises
    ------
    ConfigError, FormatError, DataError
        In one line, if rule, network, data, datapath and learning rate do not go together.
    """
    started = time.perf_counter()
    machine.commit()
    network, step, plan = network_of(settings), step_of(settings), plan_of(settings)
    datapath, data = datapath_of(settings["datapath"]), data_of_point(settings)
    used, held_out = split(data, settings["validation"], settings["seed"])
    threads = threads if is_worth_threads(network, step.batch_size) else 1
    costs = estimate(network, settings["rule"], datapath, settings=step, processor=settings["processor"]).as_dict()
    run = train(
        network,
        used,
        rule=settings["rule"],
        datapath=datapath,
        epochs=settings["epochs"],
        seed=settings["seed"],
        learning_rate=settings["learning_rate"],
        settings=step,
        plan=plan,
        backend=settings["backend"],
        threads=threads,
        on_epoch=on_epoch,
    )
    total = run.trace.total
    figures: Figures = {
        "test_accuracy": _finite(run.test_accuracy),
        "test_loss": _finite(run.test_loss),
        "validation_accuracy": None,
        "train_accuracy": _finite(run.epochs[-1].train_accuracy),
        "diverged": run.diverged,
        "epochs": len(run.epochs),
        "stopped": run.stopped,
        "saturations": total.saturations,
        "saturation_fraction": total.saturations / total.elements if total.elements else 0.0,
        "wraps": total.wraps,
        "data_note": run.data_note,
    }
    if held_out is not None:
        outputs = predict(run, used, held_out.x, datapath=settings["datapath"], backend=settings["backend"])
        figures["validation_accuracy"], _ = score(outputs, held_out.y, step.loss)
    epochs = [_epoch(epoch) for epoch in run.epochs]
    made = {
        "seconds": round(time.perf_counter() - started, 3),
        "train_samples_per_s": round(run.train_samples_per_s),
        **machine.provenance(threads),
    }
    return Outcome(figures | {name: costs[name] for name in _COSTS}, epochs, made)


def _epoch(epoch: Epoch) -> dict[str, Any]:
    names = ("epoch", "test_accuracy", "test_loss", "train_accuracy", "train_loss", "saturations", "wraps", "learning_rate")
    return {name: _finite(getattr(epoch, name)) for name in names}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
