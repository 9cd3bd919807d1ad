"""What an experiment's file may say: the settings of a case and where they go, and what is measured."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

from fasim.errors import ConfigError, unknown_name
from fasim.network import Network
from fasim.plan import Plan
from fasim.schedule import StepSettings

# what is measured -> its unit
MEASURES = {
    "test_error": "%",
    "train_error": "%",
    "test_accuracy": "%",
    "train_accuracy": "%",
    "test_loss": "",
    "signal_angle": "degrees",
    "readout_angle": "degrees",
}
# angles as diagnostics name them, by measure: each is the mean over the hidden layers
ANGLES = {"signal_angle": ("angles", "global"), "readout_angle": ("readout_angles", "readout")}
# A published table rests on all of these; where it does not say one, the file says from where else it is
REQUIRED = (
    *("rule", "data", "standardise", "net", "hidden", "output", "init", "feedback", "learning_rate"),
    *("batch_size", "loss", "reduction", "optimizer", "epochs", "seeds"),
)


def _defaults(cls: Any) -> dict[str, Any]:  # noqa: ANN401 - a dataclass
    return {field.name: field.default for field in fields(cls) if field.default is not MISSING}


# key -> its value where a file leaves it out (None: it has none, or must be given)
RUN: dict[str, Any] = {
    "rule": None,
    "datapath": "float32",
    "learning_rate": None,
    "data": None,
    "held_out": 0,
    "standardise": None,
    "epochs": None,
    "seeds": None,
    "average_last": 1,
}
NETWORK: dict[str, Any] = {"net": None} | _defaults(Network)
STEP = _defaults(StepSettings)
# whether the training set is measured follows from what is published
PLAN = {name: value for name, value in _defaults(Plan).items() if name != "train_accuracy"}
KEYS: dict[str, Any] = {**RUN, **NETWORK, **STEP, **PLAN}

_WHOLE = {"epochs": 1, "seeds": 1, "average_last": 1, "batch_size": 1, "held_out": 0}
NUMBERS = {"learning_rate", "feedback_rate", "feedback_weight_decay"} | {
    key for key, value in KEYS.items() if type(value) is float
}


def check_setting(key: str, value: object) -> None:
    """Refuse a setting that is unknown or of another kind than it must be.

    Raises
    ------
    ConfigError
        In one line.
    """
    if key not in KEYS:
        raise ConfigError(unknown_name("setting", key, KEYS))
    if key in _WHOLE:
        right, kind = type(value) is int and value >= _WHOLE[key], f"a whole number from {_WHOLE[key]}"
    elif key in NUMBERS:
        right, kind = type(value) in (int, float), "a number"
    elif type(KEYS[key]) is bool:
        right, kind = type(value) is bool, "true or false"
    else:
        right, kind = type(value) is str, "text"
    if not right:
        raise ConfigError(f"{key} = {value!r}: write {kind}")
