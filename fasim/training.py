"""Training: the one epoch loop. It knows no backend, no number format and no rule beyond their names."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from fasim import backends, checkpoint, losses, stopping
from fasim.backends.population import outputs_of_all, run_all
from fasim.checks import check_fit, check_input, check_rates, default_learning_rate
from fasim.data import Data, augment, load
from fasim.errors import ConfigError
from fasim.execution import executed, steps_to_warm
from fasim.fixedpoint import Datapath, load_datapath
from fasim.fixedpoint.trace import SiteCount, Trace
from fasim.network import Network
from fasim.plan import Plan
from fasim.rng import stream
from fasim.rules import Rule, evaluation_pass, training_step
from fasim.rules import get as get_rule
from fasim.runs import Epoch, Run, plain
from fasim.schedule import Schedule, StepSettings
from fasim.schedule import ops as kinds
from fasim.state import State, initial_state, set_learning_rate
from fasim.target import Point, Validation, divide, samples_to_target

EVALUATION_BATCH = 256


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
        _restore(run, folder, settings_of_run)
    trainer.warm_up([run])
    try:
        for epoch in range(len(run.epochs), epochs):
            if stopping.parse(plan.stop).stops([1.0 - done.train_accuracy for done in run.epochs]):
                run.stopped = True
                break
            trainer.epoch([run], epoch, epochs)
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


class Trainer:
    """The programs and the data of a run, or of several that differ in seed, learning rate and first state alone.

    Parameters are those of `train`.
    """

    def __init__(
        self,
        network: Network,
        data: Data,
        rule: str | Rule,
        datapath: Datapath | None,
        settings: StepSettings,
        plan: Plan,
        backend: str,
        threads: int,
        trace: bool = False,
        validation: Validation | None = None,
    ) -> None:
        self.network, self.data, self.datapath, self.plan, self.rule = network, data, datapath, plan, get_rule(rule)
        self.size, self.settings, self.validation = settings.batch_size, settings, validation
        self.between = 0 if validation is None else validation.target.steps_between(self.size)
        self.last = len(data.x_train) % self.size if plan.last_batch == "keep" else 0
        make = backends.get(backend)
        make_training = backends.observing(backend) if trace else make

        def program(batch_size: int, freeze: str) -> backends.Program:
            frozen = ",".join(filter(None, (settings.freeze, freeze)))
            sized = replace(settings, batch_size=batch_size, freeze=frozen)
            fuse_by = "within_layer" if trace else executed(batch_size, datapath)
            return make_training(training_step(network, self.rule, sized, datapath, fuse_by=fuse_by), threads=threads)

        sizes = [self.size, self.last] if self.last else [self.size]
        freezes = {stage.freeze for stage in plan.parsed_stages}
        self.programs = {(size, freeze): program(size, freeze) for size in sizes for freeze in freezes}
        self.schedule = training_step(network, self.rule, settings, datapath)
        if not list(self.schedule.find(kinds.UPDATE)):
            raise ConfigError(f"rule {self.rule.name}, freeze {settings.freeze!r}: nothing is left to train; freeze fewer")
        evaluation = evaluation_pass(network, replace(settings, batch_size=EVALUATION_BATCH), datapath)
        self.evaluator = make(evaluation, threads=threads)
        self.steps_per_epoch = len(data.x_train) // self.size + bool(self.last)
        self.samples_per_epoch = len(data.x_train) // self.size * self.size + self.last

    def start(self, seed: int, learning_rate: float, schedule: Schedule | None = None) -> Run:
        """Return a run before its first epoch; its state is drawn as `schedule` says, by default as the trainer's own."""
        state = initial_state(self.network, schedule or self.schedule, seed)
        run = Run(self.network, self.rule, schedule or self.schedule, self.settings, seed, learning_rate, state)
        run.data_note, run.plan, run.samples_per_epoch = self.data.note, self.plan, self.samples_per_epoch
        run.datapath_toml = None if self.datapath is None else self.datapath.to_toml()
        return run

    def warm_up(self, runs: Sequence[Run]) -> None:
        """Compile what the first steps would, on copies of the states."""
        samples = self._samples(self.data.x_train, self.data.y_train)
        for (size, _), program in self.programs.items():
            scratch = [{name: array.copy() for name, array in run.state.items()} for run in runs]
            for state, run in zip(scratch, runs, strict=True):
                set_learning_rate(state, self.schedule, run.learning_rate)
            order = np.tile(np.arange(size), steps_to_warm(program.schedule))
            run_all(program, scratch, samples, [order] * len(runs), 0)

    def epoch(self, runs: Sequence[Run], epoch: int, epochs: int) -> None:
        """Train runs for one epoch, evaluate them and append what it came to; each takes its share of the time."""
        data, states = self.data, [run.state for run in runs]
        rates = [self.plan.rates(run.learning_rate, epoch, epochs) for run in runs]
        for state, given in zip(states, rates, strict=True):
            set_learning_rate(state, self.schedule, *given)
        x = data.x_train
        if self.plan.augment:  # by the seed of a run, which has no others beside it then
            x = augment(x, data.shape, self.plan.augment, runs[0].seed, epoch)
        samples = self._samples(x, data.y_train)
        orders = [stream(run.seed, "shuffle", epoch).permutation(len(x)) for run in runs]
        counted, first, taken = [Trace() for _ in runs], epoch * self.steps_per_epoch, 0
        parts = self.plan.parts(first, self.steps_per_epoch)
        if self.between:
            parts = divide(parts, first, self.between)
        seconds = 0.0

        def take(size: int, freeze: str, count: int, step: int) -> None:
            chosen = [order[taken : taken + count] for order in orders]
            traces = run_all(self.programs[size, freeze], states, samples, chosen, step)
            for total, trace in zip(counted, traces, strict=True):
                total.update(trace)

        for stage in parts:
            started = time.perf_counter()
            with_last = bool(self.last) and stage.steps + first == (epoch + 1) * self.steps_per_epoch
            whole = (stage.steps - with_last) * self.size
            take(self.size, stage.freeze, whole, first)
            taken += whole
            if with_last:
                take(self.last, stage.freeze, self.last, first + stage.steps - 1)
                taken += self.last
            first += stage.steps
            seconds += time.perf_counter() - started
            if self.validation is not None and first % self.between == 0:
                for run, (accuracy, _) in zip(runs, self.evaluate(states, *self.validation[:2]), strict=True):
                    run.points.append(Point(epoch * self.samples_per_epoch + taken, accuracy))
        on_test = self.evaluate(states, data.x_test, data.y_test)
        on_training = [(math.nan, math.nan)] * len(runs)
        if self.plan.measures_training_set:
            on_training = self.evaluate(states, data.x_train, data.y_train)
        for run, trace, (rate, _), tested, trained in zip(runs, counted, rates, on_test, on_training, strict=True):
            run.trace.update(trace)
            run.last_tensors, total = trace.tensors, trace.total
            share = seconds / len(runs)
            run.epochs.append(Epoch(epoch + 1, *tested, share, total.saturations, total.wraps, rate, *trained))

    def stops_at_target(self, run: Run) -> bool:
        """Return whether the run ends with this epoch, since it has reached its target accuracy."""
        if self.validation is None or not self.validation.target.stop:
            return False
        return samples_to_target(run.points, self.validation.target.accuracy) is not None

    def evaluate(self, states: Sequence[State], x: np.ndarray, y: np.ndarray) -> list[tuple[float, float]]:
        """Return accuracy and loss on a set, of each state."""
        target = self.data.values(x) if self.settings.target == "input" else y
        outputs = outputs_of_all(self.evaluator, states, self._samples(x, y))
        return [score(output, target, self.settings.loss) for output in outputs]

    def _samples(self, x: np.ndarray, y: np.ndarray) -> backends.Samples:
        return backends.Samples(x, y, self.data.gain, self.data.offset)


def score(output: np.ndarray, target: np.ndarray, loss: str) -> tuple[float, float]:
    """Return accuracy and mean loss of outputs (N, K) for labels (N,), or for targets (N, K) the loss alone (and NaN).

    An output that is not finite is a wrong answer and an infinite loss.
    """
    finite = np.isfinite(output).all(1)
    accuracy = float(np.mean((output.argmax(1) == target) & finite)) if target.ndim == 1 else math.nan
    return accuracy, losses.value(loss, output, target) if finite.all() else math.inf


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


def _restore(run: Run, folder: Path, settings: dict[str, Any]) -> None:
    """Put the epochs, counts and state of a checkpoint into a run."""
    saved = checkpoint.load(folder)
    checkpoint.check_same(settings, saved.settings, folder)
    checkpoint.check_state(run.state, saved.state, folder)
    run.state.update(saved.state)
    try:
        for epoch in saved.epochs:
            figures: dict[str, Any] = {name: math.nan if value is None else value for name, value in epoch.items()}
            run.epochs.append(Epoch(**figures))
        run.trace.update(Trace({site: SiteCount(**count) for site, count in saved.sites.items()}))
    except (TypeError, AttributeError) as error:
        raise checkpoint.damaged(folder, str(error)) from error
