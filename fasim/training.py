"""Training: a run from its settings to its last epoch, with its checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fasim import checkpoint, stopping
from fasim.checks import check_fit, check_input, check_rates, default_learning_rate
from fasim.data import Data, load
from fasim.errors import ConfigError
from fasim.fixedpoint import Datapath, load_datapath
from fasim.fixedpoint.trace import SiteCount, Trace
from fasim.network import Network
from fasim.plan import Plan
from fasim.rules import Rule
from fasim.runs import Epoch, Run, plain
from fasim.schedule import StepSettings
from fasim.target import Validation
from fasim.trainer import Member, Trainer, train_epoch, warm_up


class TrainingInterruptedError(KeyboardInterrupt):
    """Ctrl-C during training; `run` holds the epochs that have finished (its state may lie within the next one)."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run


def train(
    network: Network | str,
    data: Data | str = "digits",
    *,
    rule: str | Rule = "dfa",
    datapath: Datapath | str | None = "float32",
    epochs: int = 20,
    seed: int = 0,
    learning_rate: float | None = None,
    settings: StepSettings | None = None,
    plan: Plan | None = None,
    backend: str = "cpu",
    threads: int = 1,
    on_epoch: Callable[[Epoch], None] | None = None,
    after_epoch: Callable[[Run], None] | None = None,
    folder: Path | None = None,
    resume: bool = False,
    trace: bool = False,
    validation: Validation | None = None,
) -> Run:
    """Train one network with one rule on one datapath, evaluating after every epoch.

    Parameters
    ----------
    network : Network or str
        A network, or its topology string with default activations.
    data : Data or str
        A data set, its name, or the path of an ``.npz`` or ``.csv``.
    rule : str or Rule
        A name, see :func:`fasim.rules.names`, or a rule of one's own.
    datapath : Datapath, str or None
        ``float32`` (or None), a preset's name, or the path of a TOML file.
    epochs : int
        Passes over the training set, each in a new order.
    seed : int
        Seeds the streams of initial weights, feedback, order, augmentation, dropout and stochastic rounding; never the data
        split.
    learning_rate : float, optional
        A power of two on a fixed-point datapath. Default by optimizer, for sums over the batch.
    settings : StepSettings, optional
        Batch size, loss, reduction, error scale, optimizer, feedback.
    plan : Plan, optional
        Learning-rate schedules, stages, stopping, augmentation, the last batch.
    backend : str
    threads : int
    on_epoch, after_epoch : callable, optional
        Called with each finished :class:`Epoch`, and with the run so far (for diagnostics).
    folder : Path, optional
        Where to write a checkpoint after every epoch.
    resume : bool
        Go on from the checkpoint in `folder`, for more epochs than it was started with if wanted (not with a cosine
        schedule); the run then equals an uninterrupted one bit for bit.
    trace : bool
        Count the range of every tensor; the results stay the same, bit for bit.
    validation : Validation, optional
        Samples to evaluate within the epochs, see :func:`fasim.target.hold_out`; the training stays the same, bit for bit.
        Not with `folder`: a checkpoint does not hold these evaluations.

    Returns
    -------
    Run

    Raises
    ------
    ConfigError, FormatError, DataError
        In one line, before anything has run.
    """
    network = Network.parse(network) if isinstance(network, str) else network
    data = load(data) if isinstance(data, str) else data
    datapath = load_datapath(datapath) if isinstance(datapath, str) else datapath
    settings, plan = settings or StepSettings(), plan or Plan()
    check_fit(network, data, settings, epochs, plan)
    check_input(datapath, data)
    if validation is not None and folder is not None:
        raise ConfigError("a checkpoint does not hold the evaluations of a validation split; leave out one of the two")
    if learning_rate is None:
        learning_rate = default_learning_rate(settings, network.outputs)
    trainer = Trainer(network, data, rule, datapath, settings, plan, backend, threads, trace, validation)
    run = trainer.start(seed, learning_rate)
    check_rates(trainer.schedule, plan, learning_rate, epochs)
    settings_of_run = {} if folder is None else _settings_of_run(run, data, datapath, backend, epochs)
    if resume:
        if folder is None:
            raise ConfigError("resume needs the folder of the run's checkpoint; give it as folder")
        _restore(run, folder, settings_of_run, epochs)
    warm_up([Member(trainer, run)])
    try:
        for epoch in range(len(run.epochs), epochs):
            if stopping.parse(plan.stop).stops([1.0 - done.train_accuracy for done in run.epochs]):
                run.stopped = True
                break
            train_epoch([Member(trainer, run)], epoch, epochs)
            # before the checkpoint: killed between the two, a run repeats the epoch and measures it again
            if after_epoch is not None:
                after_epoch(run)
            if folder is not None:
                sites = {site: asdict(count) for site, count in run.trace.sites.items()}
                done = [plain(one) for one in run.epochs]
                checkpoint.save(folder, checkpoint.Checkpoint(settings_of_run, done, sites, run.state))
            if on_epoch is not None:
                on_epoch(run.epochs[-1])
            if trainer.stops_at_target(run):
                run.stopped = True
                break
    except KeyboardInterrupt as stop:
        raise TrainingInterruptedError(run) from stop
    return run


def _settings_of_run(run: Run, data: Data, datapath: Datapath | None, backend: str, epochs: int) -> dict[str, Any]:
    """Return all that the bits of a run depend on, for its checkpoint; files by the fingerprint of what they hold."""
    summary = run.summary()
    for name in ("epochs", "stopped", "train_samples_per_s", "sites", "diverged"):
        del summary[name]
    return summary | {
        "data": data.name,
        "samples": len(data.x_train),
        "samples_fingerprint": checkpoint.fingerprint(data.x_train, data.y_train, data.x_test, data.y_test),
        "standardisation_fingerprint": checkpoint.fingerprint(data.gain, data.offset),
        "datapath_fingerprint": checkpoint.fingerprint(None if datapath is None else datapath.to_toml()),
        "datapath_toml": None if datapath is None else datapath.to_toml(),
        "backend": backend,
        # only a cosine asks how long the run will be: any other may go on for more epochs than it was started with
        "epochs": epochs if run.plan.depends_on_epochs else None,
    }


def _restore(run: Run, folder: Path, settings: dict[str, Any], epochs: int) -> None:
    """Put the epochs, counts and state of a checkpoint into a run."""
    saved = checkpoint.load(folder)
    checkpoint.check_same(settings, saved.settings, folder)
    if len(saved.epochs) > epochs:
        raise ConfigError(
            f"epochs {epochs}: the run in {folder} has {len(saved.epochs)} already; give that many, or more to go on"
        )
    checkpoint.check_state(run.state, saved.state, folder)
    run.state.update(saved.state)
    try:
        for epoch in saved.epochs:
            figures: dict[str, Any] = {name: math.nan if value is None else value for name, value in epoch.items()}
            run.epochs.append(Epoch(**figures))
        run.trace.update(Trace({site: SiteCount(**count) for site, count in saved.sites.items()}))
    except (TypeError, AttributeError) as error:
        raise checkpoint.damaged(folder, str(error)) from error
