"""Populations: many small networks that differ in seed, learning rate, feedback or datapath, trained side by side.

A backend that can (``cuda``) runs them in the same launches, as many at a time as its memory holds; any other runs them one
after another. The results are the same: each replica has the bits of a run of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from fasim import stopping
from fasim.backends.alike import difference
from fasim.backends.population import has_populations, largest
from fasim.checks import check_fit, check_input, check_rates, default_learning_rate
from fasim.data import Data, load
from fasim.errors import ConfigError
from fasim.fixedpoint import Datapath, load_datapath
from fasim.network import Network
from fasim.plan import Plan
from fasim.rng import check_seed
from fasim.rules import Rule
from fasim.runs import Epoch, Run
from fasim.schedule import StepSettings
from fasim.target import Target, Validation, check_target, held_rows
from fasim.trainer import Member, Trainer, train_epoch, warm_up


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
    datapath : Datapath or str
        Its datapath, of the same storage types as the others'; empty: that of the population.
    """

    seed: int = 0
    learning_rate: float | None = None
    feedback: str = ""
    datapath: Datapath | str = ""


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
    target: Target | None = None,
) -> Iterator[Run]:
    """Train replicas of one network, as many at a time as the backend can; yield each run, in order, once it is done.

    Every run equals that of :func:`fasim.train` with its seed, learning rate, feedback and datapath, bit for bit; the
    seconds of an epoch are its share of the time that all replicas beside it took.

    Parameters
    ----------
    network, data, rule, datapath, epochs, settings, plan, backend, threads
        As for :func:`fasim.train`, the same for all replicas.
    replicas : sequence of Replica
    on_epoch : callable, optional
        Called with a replica and each of its epochs.
    target : Target, optional
        Hold out a validation split for each replica, by its seed as :func:`fasim.target.hold_out` does, and evaluate it
        within the epochs.

    Yields
    ------
    Run

    Raises
    ------
    ConfigError, FormatError, DataError
        In one line, before anything has run: also where a replica's feedback or datapath asks for another step than the
        others', see :mod:`fasim.backends.alike`.

    Cost: of the device R times the state and what a step computes; data and equal orders of samples are there once.
    """
    network = Network.parse(network) if isinstance(network, str) else network
    data = load(data) if isinstance(data, str) else data
    datapath = load_datapath(datapath) if isinstance(datapath, str) else datapath
    settings, plan = settings or StepSettings(), plan or Plan()
    check_fit(network, data, settings, epochs, plan)
    if target is not None:
        check_target(target, data, settings, plan, epochs)
    if not replicas:
        raise ConfigError("a population of no replicas: give at least one")
    make = partial(_trainer, network, data, rule, plan, backend, threads, target)
    trainers, rates = _Trainers(make, settings, datapath), []
    for one in replicas:
        check_seed(one.seed)
        trainer = trainers.of(one)
        rates.append(default_learning_rate(settings, network.outputs) if one.learning_rate is None else one.learning_rate)
        check_rates(trainer.schedule, plan, rates[-1], epochs)
    trainer = trainers.of(replicas[0])
    # augmentation draws new samples by seed: such replicas have no data in common
    together = 1 if plan.augment else largest([*trainer.programs.values(), trainer.evaluator], _beside(trainer, target))

    def member(one: Replica, rate: float) -> Member:
        its = trainers.of(one)
        rows, held = (None, None) if target is None else held_rows(data, target, one.seed)
        return Member(its, its.start(one.seed, rate), rows, held)

    def trained() -> Iterator[Run]:
        for first in range(0, len(replicas), together):
            part = replicas[first : first + together]
            members = [member(one, rate) for one, rate in zip(part, rates[first:], strict=False)]
            if not first:
                warm_up(list({id(one.trainer): one for one in members}.values()))
            _train(list(zip(part, members, strict=True)), epochs, on_epoch)
            yield from (one.run for one in members)

    return trained()


def groups(
    network: Network,
    data: Data,
    datapaths: Sequence[Datapath | None],
    *,
    rule: str | Rule,
    settings: StepSettings,
    plan: Plan,
    backend: str,
) -> list[list[Datapath | None]]:
    """Divide datapaths into those whose replicas can train in the same launches; each alone where a backend has none.

    Parameters are those of :func:`train_population`.
    """
    if not has_populations(backend):
        return [[datapath] for datapath in datapaths]
    found: list[list[tuple[Datapath | None, Trainer]]] = []
    for datapath in datapaths:
        trainer = Trainer(network, data, rule, datapath, settings, plan, backend, 1)
        fitting = next((group for group in found if not _difference(group[0][1], trainer)), None)
        if fitting is None:
            fitting = []
            found.append(fitting)
        fitting.append((datapath, trainer))
    return [[datapath for datapath, _ in group] for group in found]


class _Trainers:
    """The trainers of a population: one for all replicas of one datapath and family of feedback."""

    def __init__(
        self, make: Callable[[StepSettings, Datapath | None], Trainer], settings: StepSettings, datapath: Datapath | None
    ) -> None:
        self._make, self._settings, self._datapath = make, settings, datapath
        self._made: dict[tuple[str, str | None], Trainer] = {}
        self._loaded: dict[str, Datapath | None] = {}

    def of(self, one: Replica) -> Trainer:
        """Return the trainer of a replica.

        Raises
        ------
        ConfigError
            If its step is no other with other numbers than that of the first replica.
        """
        datapath = self._datapath_of(one)
        feedback = one.feedback or self._settings.feedback
        key = feedback, None if datapath is None else datapath.to_toml()
        if key not in self._made:
            trainer = self._make(replace(self._settings, feedback=feedback), datapath)
            first = next(iter(self._made.values()), trainer)
            if what := _difference(first, trainer):
                beside = f"{_named(trainer.datapath)} beside {_named(first.datapath)}"
                if feedback != first.settings.feedback:
                    beside = f"feedback {feedback} beside {first.settings.feedback}"
                raise ConfigError(f"{beside} in one population: {what}; train them apart")
            self._made[key] = trainer
        return self._made[key]

    def _datapath_of(self, one: Replica) -> Datapath | None:
        if isinstance(one.datapath, Datapath):
            return one.datapath
        if one.datapath not in self._loaded:
            self._loaded[one.datapath] = load_datapath(one.datapath) if one.datapath else self._datapath
        return self._loaded[one.datapath]


def _named(datapath: Datapath | None) -> str:
    return "float32" if datapath is None else datapath.name


def _trainer(
    network: Network,
    data: Data,
    rule: str | Rule,
    plan: Plan,
    backend: str,
    threads: int,
    target: Target | None,
    settings: StepSettings,
    datapath: Datapath | None,
) -> Trainer:
    """Return the programs of replicas of one datapath; each of them has a split of its own where there is a target."""
    check_input(datapath, data)
    if target is None:
        return Trainer(network, data, rule, datapath, settings, plan, backend, threads)
    validation = Validation(data.x_train, data.y_train, target)
    kept, _ = held_rows(data, target, 0)
    return Trainer(
        network, data, rule, datapath, settings, plan, backend, threads, validation=validation, samples=len(kept)
    )


def _difference(one: Trainer, other: Trainer) -> str:
    """Return why the programs of two trainers cannot share launches, in a few words; nothing if they can."""
    pairs = [(program, other.programs[key]) for key, program in one.programs.items()]
    found = (difference(a.schedule, b.schedule) for a, b in [*pairs, (one.evaluator, other.evaluator)])
    return next(filter(None, found), "") if one is not other else ""


def _train(members: list[tuple[Replica, Member]], epochs: int, on_epoch: Callable[[Replica, Epoch], None] | None) -> None:
    """Train for all epochs; a replica that its plan stops, or that has reached its target, leaves the others."""
    stop = stopping.parse(members[0][1].trainer.plan.stop)
    for epoch in range(epochs):
        for _, (trainer, run, *_) in members:
            run.stopped = stop.stops([1.0 - done.train_accuracy for done in run.epochs]) or trainer.stops_at_target(run)
        active = [(one, member) for one, member in members if not member.run.stopped]
        if not active:
            return
        train_epoch([member for _, member in active], epoch, epochs)
        if on_epoch is not None:
            for one, member in active:
                on_epoch(one, member.run.epochs[-1])
    for _, (trainer, run, *_) in members:
        run.stopped = run.stopped or trainer.stops_at_target(run)


def _beside(trainer: Trainer, target: Target | None) -> int:
    """Return the bytes of a replica's order of samples (int64) and of its outputs (float32) on the largest set.

    With a split of its own it has an order of the samples that it is evaluated on too.
    """
    data = trainer.data
    trained = trainer.samples if trainer.plan.measures_training_set else 0
    held = len(data.x_train) - trainer.samples
    evaluated = max(len(data.x_test), trained, held)
    return 8 * max(trainer.samples, evaluated if target is not None else 0) + 4 * trainer.network.outputs * evaluated
