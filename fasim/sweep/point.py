"""One point of a sweep: its settings with every default filled in, and the hash of all that decides its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fasim import backends, rules
from fasim.checkpoint import fingerprint
from fasim.checks import default_learning_rate
from fasim.comparison import default_network
from fasim.data import Data
from fasim.energy import load_processor
from fasim.errors import ConfigError, FasimError
from fasim.experiments.running import data_of
from fasim.fixedpoint import Datapath, load_datapath
from fasim.losses import DEFAULT_OUTPUTS
from fasim.network import Network
from fasim.plan import Plan
from fasim.schedule import StepSettings
from fasim.sweep.keys import KEYS, NETWORK, PLAN, RUN, STEP
from fasim.target import check_validation

Settings = dict[str, Any]

# settings whose text may be the path of a file: what it holds decides, not where it lies
FILES = ("data", "datapath", "processor")
_ENDINGS = (".toml", ".npz", ".csv")
# settings that stand in every configuration; of the others only those that are not at their defaults
_ALWAYS = (*(key for key in RUN if key not in ("sparsity", "validation", "backend")), "net", "hidden", "output")
HASH_DIGITS = 16


@dataclass(frozen=True)
class Point:
    """A run that is fully described.

    Parameters
    ----------
    settings : dict
        Every setting of :data:`fasim.sweep.keys.KEYS` with its value; files by their absolute paths.
    identity : dict
        What decides the result: the settings that are not at their defaults, and contents in place of paths.
    """

    settings: Settings
    identity: Settings

    @property
    def identity_text(self) -> str:
        """The identity as JSON, as it is hashed."""
        return json.dumps(self.identity, sort_keys=True, allow_nan=False)

    @property
    def name(self) -> str:
        """The hash of the identity, by which the point's folder is named."""
        return hashlib.sha256(self.identity_text.encode()).hexdigest()[:HASH_DIGITS]

    def label(self, axes: tuple[str, ...]) -> str:
        """Return the point in a few words: what differs from point to point."""
        return ", ".join(f"{key} {shown(self.settings[key])}" for key in axes if self.settings.get(key) != "")


def shown(value: object) -> str:
    """Return a setting as tables and messages write it; the path of a file by its name."""
    if isinstance(value, str) and value.endswith(_ENDINGS):
        return Path(value).stem
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def resolve(given: Mapping[str, Any]) -> Point:
    """Return the point of some settings, with defaults by data, task and loss where none is given.

    Parameters
    ----------
    given : mapping
        By the keys of :data:`fasim.sweep.keys.KEYS`; values as :func:`fasim.sweep.keys.checked` returns them.

    Raises
    ------
    ConfigError, DataError, FormatError, ProcessorError
        If a name is unknown, a file cannot be read, or network, step or plan cannot be. Whether they go together is
        found when the point runs.
    """
    settings = KEYS | dict(given)
    for key in FILES:
        if settings[key].endswith(_ENDINGS):
            settings[key] = str(Path(settings[key]).expanduser().resolve())
    rules.get(settings["rule"])
    backends.get(settings["backend"])
    data = data_of_point(settings)
    if "target" not in given:
        settings["target"] = "label" if data.task == "classification" else "value"
    if "loss" not in given:
        settings["loss"] = "bce" if settings["target"] == "label" else "mse"
    if settings["net"] is None:
        settings["net"] = default_network(data, settings["target"])
    if "output" not in given:
        settings["output"] = DEFAULT_OUTPUTS.get(settings["loss"], settings["output"])
    check_validation(settings["validation"], data, settings["target"])
    if settings["learning_rate"] is None:
        settings["learning_rate"] = default_learning_rate(step_of(settings), network_of(settings).outputs)
    network_of(settings), step_of(settings), plan_of(settings)
    return Point(settings, _identity(settings, data))


def _identity(settings: Settings, data: Data) -> Settings:
    identity = {key: value for key, value in settings.items() if key in _ALWAYS or value != KEYS[key]}
    identity["data"] = data.name
    identity["samples"] = fingerprint(data.x_train, data.y_train, data.x_test, data.y_test)
    datapath = load_datapath(settings["datapath"])
    identity["datapath"] = "float32" if datapath is None else datapath.name
    identity["datapath_toml"] = None if datapath is None else datapath.to_toml()
    processor = load_processor(settings["processor"])
    identity["processor"] = processor.name
    if settings["processor"].endswith(".toml"):
        identity["processor_toml"] = Path(settings["processor"]).read_text(encoding="utf-8")
    return identity


def data_of_point(settings: Mapping[str, Any]) -> Data:
    """Return the data of a point, its validation split still among the training samples; kept for the next point."""
    return data_of(settings["data"], settings["standardise"], 0)


def network_of(settings: Mapping[str, Any]) -> Network:
    """Return the network of a point."""
    options = {key: settings[key] for key in NETWORK if key != "net"}
    return Network.parse(settings["net"], **options)


def step_of(settings: Mapping[str, Any]) -> StepSettings:
    """Return the settings of a point's training step; its sparsity is one more word of the feedback."""
    return StepSettings(**{key: settings[key] for key in STEP} | {"feedback": feedback_of(settings)})


def feedback_of(settings: Mapping[str, Any]) -> str:
    """Return the feedback of a point, its sparsity among the words."""
    return "+".join(filter(None, (settings["feedback"], settings["sparsity"])))


def plan_of(settings: Mapping[str, Any]) -> Plan:
    """Return the plan of a point."""
    return Plan(**{key: settings[key] for key in PLAN})


@lru_cache(maxsize=32)
def datapath_of(text: str) -> Datapath | None:
    """Return a datapath, read once in a process."""
    return load_datapath(text)


def resolve_all(cases: tuple[Settings, ...], axes: tuple[str, ...]) -> list[Point]:
    """Return the points of some cases, each only once.

    Raises
    ------
    FasimError
        Naming the first point that cannot be.
    """
    points: dict[str, Point] = {}
    for case in cases:
        try:
            point = resolve(case)
        except FasimError as error:
            words = ", ".join(f"{key} {shown(case[key])}" for key in axes if key in case)
            raise type(error)(f"{words}: {error}" if words else str(error)) from None
        points.setdefault(point.name, point)
    if len(labelled := {point.settings["target"] == "label" for point in points.values()}) > 1:
        raise ConfigError(f"{len(labelled)} kinds of targets: accuracies and losses do not compare; make two sweeps of it")
    return list(points.values())
