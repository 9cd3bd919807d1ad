"""What a sweep's document may say of a point: the settings, their kinds and their defaults."""

from __future__ import annotations

import re
from typing import Any

from fasim.errors import ConfigError, unknown_name
from fasim.experiments import keys
from fasim.rng import MAX_SEED

# of an experiment alone: there a run has a list of seeds, and its figure is a mean over its last epochs
_NOT_OF_A_POINT = ("seeds", "average_last", "held_out", *keys.NETWORK, *keys.STEP, *keys.PLAN)
# key -> its value where a document leaves it out (None: it follows from the data or from other settings)
RUN: dict[str, Any] = {key: value for key, value in keys.RUN.items() if key not in _NOT_OF_A_POINT} | {
    "rule": "dfa",
    "data": "digits",
    "standardise": "none",
    "epochs": 20,
    "seed": 0,
    "sparsity": "",
    "validation": 0.0,
    "processor": "generic_45nm",
    "backend": "cpu",
}
NETWORK: dict[str, Any] = keys.NETWORK
# target and loss follow from the data, the output from the loss
STEP: dict[str, Any] = keys.STEP
PLAN: dict[str, Any] = keys.PLAN | {"train_accuracy": False}
KEYS: dict[str, Any] = {**RUN, **NETWORK, **STEP, **PLAN}

# as `fasim train` has it
SAME = {"lr": "learning_rate"}

_POWER = re.compile(r"2\^(-?\d{1,3})", re.ASCII)
_TEXTS = ("sparsity", "processor", "backend")


def checked(key: str, value: object) -> Any:  # noqa: ANN401
    """Return the value of a setting as points have it: learning rates written as ``"2^-7"`` become numbers.

    Raises
    ------
    ConfigError
        If the setting is unknown, or its value is of another kind than it must be.
    """
    if key not in KEYS:
        raise ConfigError(unknown_name("setting", key, KEYS))
    if key in ("learning_rate", "feedback_rate") and isinstance(value, str):
        power = _POWER.fullmatch(value)
        if not power:
            raise ConfigError(f"{key} = {value!r}: write a number such as 0.001, or text such as '2^-7'")
        return 2.0 ** int(power[1])
    if key == "seed":
        right, kind = type(value) is int and 0 <= value <= MAX_SEED, f"a whole number from 0 to {MAX_SEED}"
    elif key == "validation":
        right, kind = isinstance(value, (int, float)) and 0 <= value < 1, "a share from 0 (none) to 1, such as 0.1"
    elif key in _TEXTS:
        right, kind = type(value) is str, "text"
    elif key == "train_accuracy":
        right, kind = type(value) is bool, "true or false"
    else:
        keys.check_setting(key, value)
        return float(value) if key in keys.NUMBERS else value  # type: ignore[arg-type]
    if not right:
        raise ConfigError(f"{key} = {value!r}: write {kind}")
    return float(value) if key == "validation" else value  # type: ignore[arg-type]
