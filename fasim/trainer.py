"""Epochs: the one loop over the steps of runs that train side by side. It knows no backend and no number format.

A run of its own is a population of one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fasim import backends, losses
from fasim.backends.population import outputs_of_all, run_all
from fasim.data import Data, augment
from fasim.errors import ConfigError
from fasim.execution import executed, steps_to_warm
from fasim.fixedpoint import Datapath
from fasim.fixedpoint.trace import Trace
from fasim.network import Network
from fasim.plan import Plan
from fasim.rng import stream
from fasim.rules import Rule, evaluation_pass, training_step
from fasim.rules import get as get_rule
from fasim.runs import Epoch, Run
from fasim.schedule import StepSettings
from fasim.schedule import ops as kinds
from fasim.state import initial_state, set_learning_rate
from fasim.target import Point, Validation, divide, samples_to_target

EVALUATION_BATCH = 256


class Trainer:
    """The programs and the data of a run, or of several that differ in seed, learning rate and first state alone.

    Parameters are those of `train`; besides, `samples` is how many of the training set a run learns from, by default all.
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
        samples: int | None = None,
    ) -> None:
        count = len(data.x_train) if samples is None else samples
        self.network, self.data, self.datapath, self.plan, self.rule = network, data, datapath, plan, get_rule(rule)
        self.size, self.settings, self.validation = settings.batch_size, settings, validation
        self.between = 0 if validation is None else validation.target.steps_between(self.size)
        self.last = count % self.size if plan.last_batch == "keep" else 0
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
        self.samples, self.steps_per_epoch = count, count // self.size + bool(self.last)
        self.samples_per_epoch = count // self.size * self.size + self.last

    def start(self, seed: int, learning_rate: float) -> Run:
        """Return a run before its first epoch."""
        state = initial_state(self.network, self.schedule, seed)
        run = Run(self.network, self.rule, self.schedule, self.settings, seed, learning_rate, state)
        run.data_note, run.plan, run.samples_per_epoch = self.data.note, self.plan, self.samples_per_epoch
        run.datapath_toml = None if self.datapath is None else self.datapath.to_toml()
        return run

    def stops_at_target(self, run: Run) -> bool:
        """Return whether the run ends with this epoch, since it has reached its target accuracy."""
        if self.validation is None or not self.validation.target.stop:
            return False
        return samples_to_target(run.points, self.validation.target.accuracy) is not None

    def samples_of(self, x: np.ndarray, y: np.ndarray) -> backends.Samples:
        """Return inputs and labels as programs take them."""
        return backends.Samples(x, y, self.data.gain, self.data.offset)


class Member(NamedTuple):
    """A run that trains beside others, and the samples that it has of its own.

    Parameters
    ----------
    trainer : Trainer
        One for all runs that differ in seed and learning rate alone; trainers of one population share data and plan.
    run : Run
    rows, held : ndarray of int, optional
        The training samples that it learns from, and the validation samples that it is evaluated on; None: all.
    """

    trainer: Trainer
    run: Run
    rows: np.ndarray | None = None
    held: np.ndarray | None = None


def warm_up(members: Sequence[Member]) -> None:
    """Compile what the first steps of runs would, on copies of their states."""
    trainer = members[0].trainer
    samples = trainer.samples_of(trainer.data.x_train, trainer.data.y_train)
    for key, program in trainer.programs.items():
        scratch = [{name: array.copy() for name, array in one.run.state.items()} for one in members]
        for state, one in zip(scratch, members, strict=True):
            set_learning_rate(state, one.trainer.schedule, one.run.learning_rate)
        order = np.tile(np.arange(key[0]), steps_to_warm(program.schedule))
        run_all([one.trainer.programs[key] for one in members], scratch, samples, [order] * len(members), 0)


def train_epoch(members: Sequence[Member], epoch: int, epochs: int) -> None:
    """Train runs for one epoch, evaluate them and append what it came to; each takes its share of the time."""
    trainer, states = members[0].trainer, [one.run.state for one in members]
    data, plan = trainer.data, trainer.plan
    rates = [plan.rates(one.run.learning_rate, epoch, epochs) for one in members]
    for state, one, given in zip(states, members, rates, strict=True):
        set_learning_rate(state, one.trainer.schedule, *given)
    orders = [stream(one.run.seed, "shuffle", epoch).permutation(trainer.samples) for one in members]
    if plan.augment:  # by the seed of a run, which has no others beside it then
        rows = slice(None) if members[0].rows is None else members[0].rows
        x = augment(data.x_train[rows], data.shape, plan.augment, members[0].run.seed, epoch)
        samples = trainer.samples_of(x, data.y_train[rows])
    else:
        samples = trainer.samples_of(data.x_train, data.y_train)
        orders = [order if one.rows is None else one.rows[order] for one, order in zip(members, orders, strict=True)]
    counted, first, taken = [Trace() for _ in members], epoch * trainer.steps_per_epoch, 0
    parts = plan.parts(first, trainer.steps_per_epoch)
    if trainer.between:
        parts = divide(parts, first, trainer.between)
    seconds = 0.0

    def take(size: int, freeze: str, count: int, step: int) -> None:
        chosen = [order[taken : taken + count] for order in orders]
        traces = run_all([one.trainer.programs[size, freeze] for one in members], states, samples, chosen, step)
        for total, trace in zip(counted, traces, strict=True):
            total.update(trace)

    for stage in parts:
        started = time.perf_counter()
        with_last = bool(trainer.last) and stage.steps + first == (epoch + 1) * trainer.steps_per_epoch
        whole = (stage.steps - with_last) * trainer.size
        take(trainer.size, stage.freeze, whole, first)
        taken += whole
        if with_last:
            take(trainer.last, stage.freeze, trainer.last, first + stage.steps - 1)
            taken += trainer.last
        first += stage.steps
        seconds += time.perf_counter() - started
        if trainer.validation is not None and first % trainer.between == 0:
            found = evaluate(members, *trainer.validation[:2], [one.held for one in members])
            for one, (accuracy, _) in zip(members, found, strict=True):
                one.run.points.append(Point(epoch * trainer.samples_per_epoch + taken, accuracy))
    on_test = evaluate(members, data.x_test, data.y_test)
    on_training = [(math.nan, math.nan)] * len(members)
    if plan.measures_training_set:
        on_training = evaluate(members, data.x_train, data.y_train, [one.rows for one in members])
    for one, trace, (rate, _), tested, trained in zip(members, counted, rates, on_test, on_training, strict=True):
        one.run.trace.update(trace)
        one.run.last_tensors, total = trace.tensors, trace.total
        share = seconds / len(members)
        one.run.epochs.append(Epoch(epoch + 1, *tested, share, total.saturations, total.wraps, rate, *trained))


def evaluate(
    members: Sequence[Member], x: np.ndarray, y: np.ndarray, rows: Sequence[np.ndarray | None] | None = None
) -> list[tuple[float, float]]:
    """Return accuracy and loss of each run on a set, or on rows of its own."""
    trainer = members[0].trainer
    own = [one for one in rows or [] if one is not None]
    target = trainer.data.values(x) if trainer.settings.target == "input" else y
    programs = [one.trainer.evaluator for one in members]
    outputs = outputs_of_all(programs, [one.run.state for one in members], trainer.samples_of(x, y), own or None)
    targets = [target[one] for one in own] or [target] * len(members)
    return [score(output, its, trainer.settings.loss) for output, its in zip(outputs, targets, strict=True)]


def score(output: np.ndarray, target: np.ndarray, loss: str) -> tuple[float, float]:
    """Return accuracy and mean loss of outputs (N, K) for labels (N,), or for targets (N, K) the loss alone (and NaN).

    An output that is not finite is a wrong answer and an infinite loss.
    """
    finite = np.isfinite(output).all(1)
    accuracy = float(np.mean((output.argmax(1) == target) & finite)) if target.ndim == 1 else math.nan
    return accuracy, losses.value(loss, output, target) if finite.all() else math.inf
