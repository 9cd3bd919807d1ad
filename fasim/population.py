"""Populations: many small networks that differ in seed, learning rate or feedback, trained side by side.

A backend that can (``cuda``) runs them in the same launches, as many at a time as its memory holds; any other runs them one
after another. The results are the same: each replica has the bits of a run of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from fasim import stopping
from fasim.backends.population import largest
from fasim.checks import check_fit, check_input, check_rates, default_learning_rate
from fasim.data import Data, load
from fasim.errors import ConfigError
from fasim.fixedpoint import Datapath, load_datapath
from fasim.network import Network
from fasim.plan import Plan
from fasim.rng import check_seed
from fasim.rules import Rule, training_step
from fasim.runs import Epoch, Run
from fasim.schedule import Schedule, StepSettings
from fasim.training import Trainer


@dataclass(frozen=True)
class Replica:
    """What one network of a population has of its own.

    Parameters
    ----------
    seed : int
        Of its weights, feedback, order of samples, dropout and stochastic rounding.
    learning_rate : float, optional
        Default by optimizer.
    feedback : str
        Family of its feedback, see :mod:`fasim.feedback`; empty: that of the settings.
    """

    seed: int = 0
    learning_rate: float | None = None
    feedback: str = ""


def train_population(
    network: Network | str,
    data: Data | str,
    replicas: Sequence[Replica],
    *,
    rule: str | Rule = "dfa",
    datapath: Datapath | str | None = "float32",
    epochs: int = 20,
    settings: StepSettings | None = None,
    plan: Plan | None = None,
    backend: str = "cpu",
    threads: int = 1,
    on_epoch: Callable[[Replica, Epoch], None] | None = None,
) -> Iterator[Run]:
    """Train replicas of one network, as many at a time as the backend can; yield each run, in order, once it has finished.

    Every run equals that of :func:`fasim.train` with its seed, learning rate and feedback, bit for bit; an epoch's seconds
    are its share of the time that all replicas beside it took.

    Parameters
    ----------
    network, data, rule, datapath, epochs, settings, plan, backend, threads
        As for :func:`fasim.train`, the same for all replicas.
    replicas : sequence of Replica
    on_epoch : callable, optional
        Called with a replica and each of its epochs.

    Yields
    ------
    Run

    Raises
    ------
    ConfigError, FormatError, DataError
        In one line, before anything has run: also where a replica's feedback asks for another step than the others'.

    Cost: of the device R times the state and what a step computes; data and equal orders of samples are there once.
    """
    network = Network.parse(network) if isinstance(network, str) else network
    data = load(data) if isinstance(data, str) else data
    datapath = load_datapath(datapath) if isinstance(datapath, str) else datapath
    settings, plan = settings or StepSettings(), plan or Plan()
    check_fit(network, data, settings, epochs, plan)
    check_input(datapath, data)
    if not replicas:
        raise ConfigError("a population of no replicas: give at least one")
    trainer = Trainer(network, data, rule, datapath, settings, plan, backend, threads)
    rates, schedules = [], []
    for one in replicas:
        check_seed(one.seed)
        rates.append(default_learning_rate(settings, network.outputs) if one.learning_rate is None else one.learning_rate)
        check_rates(trainer.schedule, plan, rates[-1], epochs)
        schedules.append(_schedule(trainer, one.feedback))
    # augmentation draws new samples by seed: such replicas have no data in common
    together = 1 if plan.augment else largest([*trainer.programs.values(), trainer.evaluator], _beside(trainer))

    def trained() -> Iterator[Run]:
        for first in range(0, len(replicas), together):
            part = replicas[first : first + together]
            runs = [
                trainer.start(one.seed, rate, schedule)
                for one, rate, schedule in zip(part, rates[first:], schedules[first:], strict=False)
            ]
            for one, run in zip(part, runs, strict=True):
                run.settings = replace(settings, feedback=one.feedback or settings.feedback)
            if not first:
                trainer.warm_up(runs[:1])
            _train(trainer, list(zip(part, runs, strict=True)), epochs, on_epoch)
            yield from runs

    return trained()


def _train(
    trainer: Trainer, runs: list[tuple[Replica, Run]], epochs: int, on_epoch: Callable[[Replica, Epoch], None] | None
) -> None:
    """Train for all epochs; a replica that its plan stops leaves the others."""
    stop = stopping.parse(trainer.plan.stop)
    for epoch in range(epochs):
        for _, run in runs:
            run.stopped = stop.stops([1.0 - done.train_accuracy for done in run.epochs])
        active = [(one, run) for one, run in runs if not run.stopped]
        if not active:
            return
        trainer.epoch([run for _, run in active], epoch, epochs)
        if on_epoch is not None:
            for one, run in active:
                on_epoch(one, run.epochs[-1])


def _beside(trainer: Trainer) -> int:
    """Return the bytes of a replica's order of samples (int64) and of its outputs (float32) on the largest set."""
    data = trainer.data
    evaluated = max(len(data.x_test), len(data.x_train) if trainer.plan.measures_training_set else 0)
    return 8 * len(data.x_train) + 4 * trainer.network.outputs * evaluated


def _schedule(trainer: Trainer, feedback: str) -> Schedule:
    """Return the step with another family of feedback, which may change nothing but how its first values are drawn.

    Raises
    ------
    ConfigError
        If the family asks for another step: other shapes, formats or operations.
    """
    own, settings = trainer.schedule, trainer.settings
    if not feedback or feedback == settings.feedback:
        return own
    other = training_step(trainer.network, trainer.rule, replace(settings, feedback=feedback), trainer.datapath)

    def undrawn(schedule: Schedule) -> object:
        tensors = [replace(tensor, draw=None, bound=None) for tensor in schedule.tensors.values()]
        return tensors, schedule.ops

    if undrawn(other) != undrawn(own):
        raise ConfigError(
            f"feedback {feedback} beside {settings.feedback} in one population: they need other shapes, formats or scales; "
            "train them apart"
        )
    return other
