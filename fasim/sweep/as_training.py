"""A point of a sweep as a training of its own: the options of ``fasim train`` that repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fasim import config
from fasim.sweep.point import FILES, feedback_of

# settings of a point that `fasim train` has under another name, or as a part of another option
_OTHERWISE = ("learning_rate", "sparsity", "feedback")


def options_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of ``fasim train``, by their keys in a configuration, that train a resolved point.

    Parameters
    ----------
    settings : mapping
        Of a :class:`fasim.sweep.Point`; what is None has no option.
    """
    options = {key: value for key, value in settings.items() if key not in _OTHERWISE and value is not None}
    return options | {"lr": settings["learning_rate"], "feedback": feedback_of(settings)}


def config_toml(settings: Mapping[str, Any]) -> str:
    """Return the configuration of a resolved point, for ``fasim run`` and for ``fasim train --config``.

    Raises
    ------
    OutputError
        If a path has characters that TOML has not.
    """
    files = [settings[key] for key in FILES if Path(settings[key]).is_absolute()]
    return config.to_toml("train", options_of(settings), files)
