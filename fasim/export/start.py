"""What is exported: a network, its settings and the state that it has before the first exported step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from fasim import checkpoint, rules
from fasim.checks import check_fit, check_input, default_learning_rate
from fasim.data import Data, augment, load
from fasim.data import names as datasets
from fasim.errors import ConfigError, FasimError
from fasim.fixedpoint import Datapath, load_datapath
from fasim.fixedpoint import names as datapaths
from fasim.fixedpoint.document import from_document
from fasim.fixedpoint.toml import read_document
from fasim.network import Network
from fasim.plan import Plan
from fasim.rng import stream
from fasim.schedule import Schedule, StepSettings
from fasim.state import State, initial_state, set_learning_rate

_OF_NETWORK = ("hidden", "output", "init", "bias_init", "batch_norm", "dropout", "input_dropout", "dropout_kind")


@dataclass(frozen=True)
class Start:
    """A run at the beginning of an epoch.

    Parameters
    ----------
    network : Network
    rule : str or Rule
    settings : StepSettings
    plan : Plan
    datapath : Datapath or None
        None is float32.
    seed : int
    learning_rate : float
        The one that the run was started with.
    state : dict of str to ndarray
        Weights, biases, feedback, masters and the optimizer's, by tensor.
    data : Data or None
        Only steps need it.
    epoch : int
        Epochs that have finished.
    epochs : int
        Epochs of the whole run, where its learning rates ask for that.
    """

    network: Network
    rule: str | rules.Rule
    settings: StepSettings
    plan: Plan
    datapath: Datapath | None
    seed: int
    learning_rate: float
    state: State = field(repr=False)
    data: Data | None = field(default=None, repr=False)
    epoch: int = 0
    epochs: int = 1

    def schedule(self, freeze: str = "") -> Schedule:
        """Return the training step; `freeze` names layers of a stage that keep their weights."""
        frozen = ",".join(filter(None, (self.settings.freeze, freeze)))
        return rules.training_step(self.network, self.rule, replace(self.settings, freeze=frozen), self.datapath)

    def steps(self, count: int) -> tuple[int, Schedule, State, np.ndarray, np.ndarray, np.ndarray]:
        """Return what the first `count` steps of the next epoch need.

        Returns
        -------
        first : int
            Number of the first step over the whole training.
        schedule : Schedule
        state : dict of str to ndarray
            A copy, with the learning rate of the epoch.
        codes : ndarray, shape (samples, I)
            Of the training set, augmented as the epoch asks.
        labels : ndarray
        order : ndarray of int64, shape (count, N)
            The samples of each batch.

        Raises
        ------
        ConfigError
            If the epoch, or its stage, has fewer whole batches; or there is no data.
        """
        data, size = self.data, self.settings.batch_size
        if data is None:
            raise ConfigError("steps need the data set of the run; give it with --data")
        whole = len(data.x_train) // size
        per_epoch = whole + bool(self.plan.last_batch == "keep" and len(data.x_train) % size)
        first = self.epoch * per_epoch
        stage = self.plan.parts(first, per_epoch)[0] if per_epoch else None
        most = 0 if stage is None else min(whole, stage.steps)
        if not 1 <= count <= most:
            raise ConfigError(f"--steps {count}: the epoch to export has {most} whole batches of {size}; give 1 .. {most}")
        assert stage is not None
        schedule = self.schedule(stage.freeze)
        state = {name: array.copy() for name, array in self.state.items()}
        set_learning_rate(state, schedule, *self.plan.rates(self.learning_rate, self.epoch, self.epochs))
        x = data.x_train
        if self.plan.augment:
            x = augment(x, data.shape, self.plan.augment, self.seed, self.epoch)
        order = stream(self.seed, "shuffle", self.epoch).permutation(len(x))[: count * size].reshape(count, size)
        return first, schedule, state, x, data.y_train, order


def fresh(
    network: Network,
    data: Data,
    *,
    rule: str | rules.Rule = "dfa",
    datapath: Datapath | None = None,
    seed: int = 0,
    learning_rate: float | None = None,
    settings: StepSettings | None = None,
    plan: Plan | None = None,
) -> Start:
    """Return a run before its first step; the arguments are those of :func:`fasim.training.train`.

    Raises
    ------
    ConfigError, FormatError
        As training would.
    """
    settings, plan = settings or StepSettings(), plan or Plan()
    check_fit(network, data, settings, 1, plan)
    check_input(datapath, data)
    rate = default_learning_rate(settings, network.outputs) if learning_rate is None else learning_rate
    schedule = rules.training_step(network, rule, settings, datapath)
    state = initial_state(network, schedule, seed)
    return Start(network, rule, settings, plan, datapath, seed, rate, state, data)


def from_checkpoint(
    folder: Path,
    *,
    data: Data | None = None,
    datapath: Datapath | None = None,
    rule: rules.Rule | None = None,
    needs_data: bool = True,
) -> Start:
    """Return the run of a checkpoint as it goes on.

    Parameters
    ----------
    folder : Path
        Of ``fasim train --checkpoint``.
    data : Data, optional
        The data set of the run; by default the one of the name that the checkpoint gives.
    datapath : Datapath, optional
        The datapath of the run; by default the one that the checkpoint holds.
    rule : Rule, optional
        The rule of the run; by default the one of the name that the checkpoint gives.
    needs_data : bool
        Whether to load the data set.

    Raises
    ------
    DataError
        If there is no checkpoint, or a damaged one.
    ConfigError
        If the data set, the datapath or the rule is another than that of the run, or cannot be found by its name.
    """
    saved = checkpoint.load(folder)
    given = saved.settings
    try:
        network = Network.parse(given["net"], **{name: given[name] for name in _OF_NETWORK})
        settings, plan = _take(StepSettings, given), _take(Plan, given)
        seed, rate, rule_name = int(given["seed"]), float(given["learning_rate"]), str(given["rule"])
        epochs = int(given["epochs"] or len(saved.epochs) + 1)
        names = {"data": str(given["data"]), "datapath": str(given["datapath"])}
        if datapath is None and given.get("datapath_toml"):
            datapath = from_document(read_document(given["datapath_toml"]))
    except FasimError:
        raise
    except (*checkpoint.DAMAGE, OverflowError) as error:
        raise checkpoint.damaged(folder, f"setting {error}") from error
    rule = rules.get(_known(rule_name, rules.names(), folder, "rule")) if rule is None else rule
    if rule.name != rule_name:
        raise ConfigError(f"{folder}: the run there has the rule {rule_name}, not {rule}; give its own with --rule")
    if datapath is None:
        datapath = load_datapath(_known(names["datapath"], ["float32", *datapaths()], folder, "datapath"))
    found = checkpoint.fingerprint(None if datapath is None else datapath.to_toml())
    _check(given, folder, "datapath", found)
    if needs_data:
        data = load(_known(names["data"], datasets(), folder, "data")) if data is None else data
        found = checkpoint.fingerprint(data.x_train, data.y_train, data.x_test, data.y_test)
        _check(given, folder, "samples", found)
    start = Start(network, rule, settings, plan, datapath, seed, rate, saved.state, data, len(saved.epochs), epochs)
    checkpoint.check_state(initial_state(network, start.schedule(), seed), saved.state, folder)
    return start


def _take(cls: type[Any], given: dict[str, Any]) -> Any:  # noqa: ANN401
    """Return settings from the entries of a checkpoint that bear their fields' names."""
    found = {one.name: given[one.name] for one in fields(cls) if one.name in given}
    for one in fields(cls):
        right = (int, float) if type(one.default) is float else (type(one.default),)
        if one.name in found and type(one.default) in (bool, int, float, str) and type(found[one.name]) not in right:
            raise TypeError(f"{one.name} = {found[one.name]!r}")
    return cls(**found)


def _known(name: str, known: Iterable[str], folder: Path, option: str) -> str:
    """Return a name, or refuse one that stood for a file of which the run kept the name alone."""
    if name not in known:
        raise ConfigError(f"{folder}: the run's {option} {name} was a file; give it with --{option}")
    return name


def _check(given: dict[str, Any], folder: Path, what: str, found: str) -> None:
    """Refuse contents that are not those with which the run was started."""
    if given.get(f"{what}_fingerprint") != found:
        option = "data" if what == "samples" else what
        raise ConfigError(f"{folder}: the run there had other {what} than these; give its own with --{option}")
