"""Short runs of an experiment that show whether all is still as it was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fasim.errors import ConfigError
from fasim.experiments.experiment import Experiment
from fasim.experiments.running import run_case
from fasim.experiments.summary import figure

SEED = 0


@dataclass(frozen=True)
class QuickRow:
    """A short run's figure after its last epoch, None if it diverged, and the band that it must lie in."""

    experiment: str
    case: str
    measure: str
    epochs: int
    value: float | None
    band: tuple[float, float]

    @property
    def inside(self) -> bool:
        """Whether the figure lies in its band."""
        return self.value is not None and self.band[0] <= self.value <= self.band[1]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**vars(self), "band": list(self.band), "inside": self.inside}


def run_quick(experiment: Experiment, *, backend: str = "cpu", threads: int = 1) -> Iterator[QuickRow]:
    """Run an experiment's short runs, one after the other; nothing that was run before is taken for it.

    Parameters
    ----------
    experiment : Experiment
        With ``quick``.
    backend : str
    threads : int

    Raises
    ------
    ConfigError
        If the experiment has none.
    """
    if experiment.quick is None:
        raise ConfigError(f"{experiment.name} has no quick runs; run its cases")
    measure, epochs = experiment.measures[0], experiment.quick.epochs
    for name, band in experiment.quick.bands.items():
        (case,) = experiment.select(name)
        line = run_case(case, SEED, epochs=epochs, backend=backend, threads=threads)
        yield QuickRow(experiment.name, name, measure, epochs, figure(line, measure), band)
