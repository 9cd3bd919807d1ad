"""The experiments that come with fasim, by name; others by the path of a TOML file."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

from fasim.errors import ConfigError, unknown_name
from fasim.experiments.document import read_experiment
from fasim.experiments.experiment import Experiment

FOLDER = Path(__file__).parent


class Times(NamedTuple):
    """How long one run of the paper's epochs takes on one thread of a CPU, in words, by the name of the experiment."""

    cpu: str
    one_run: dict[str, str]


def measured_times() -> Times:
    """Return the times of the runs behind ``docs/papers.md``; ``benchmarks/render.py`` writes the file."""
    return Times(**json.loads((FOLDER / "times.json").read_text(encoding="utf-8")))


def names() -> list[str]:
    """Return the names of the experiments that come with fasim."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


@cache
def load_experiment(name_or_path: str) -> Experiment:
    """Return an experiment by its name or from a TOML file; :mod:`fasim.experiments.document` says how one is written.

    Parameters
    ----------
    name_or_path : str
        One of :func:`names`, or a path that ends in ``.toml``.

    Returns
    -------
    Experiment

    Raises
    ------
    ConfigError
        If there is no such experiment; the message lists the names. Or if the file is not as it must be.
    """
    if name_or_path in names():
        return read_experiment(FOLDER / f"{name_or_path}.toml")
    if name_or_path.endswith(".toml"):
        return read_experiment(Path(name_or_path))
    raise ConfigError(unknown_name("experiment", name_or_path, names()) + "; or give the path of a .toml file")
