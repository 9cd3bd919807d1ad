"""Published against measured: what the result lines of an experiment come to, case by case."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from fasim.experiments.experiment import Case, Experiment, Published
from fasim.experiments.keys import ANGLES
from fasim.experiments.running import cell_of

Line = dict[str, Any]

REPRODUCED = "reproduced"
NOT_REPRODUCED = "not reproduced"
SHORT = "short run"
NO_FIGURE = ""


@dataclass(frozen=True)
class Row:
    """One measure of one case.

    Parameters
    ----------
    case : str
    measure : str
        See :data:`fasim.experiments.keys.MEASURES`.
    published : Published
    values : mapping of int to float
        Measured, by seed; a seed whose run diverged has none.
    seeds : tuple of int
        All that have a line.
    epochs, epochs_of : int
        That these runs were to have, and of the paper.
    lines : tuple of dict
        By ascending seed.
    """

    case: str
    measure: str
    published: Published
    values: Mapping[int, float]
    seeds: tuple[int, ...]
    epochs: int
    epochs_of: int
    lines: tuple[Line, ...]

    @property
    def mean(self) -> float | None:
        """Mean over the seeds; None where there is none."""
        return fmean(self.values.values()) if self.values else None

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds; None of fewer than two."""
        return stdev(self.values.values()) if len(self.values) > 1 else None

    @property
    def seconds_per_epoch(self) -> float:
        """Of the seed that took the least, s: others may have shared the machine with more."""
        return min(line["seconds_per_epoch"] for line in self.lines)

    @property
    def seconds_of_a_run(self) -> float:
        """Wall time of the seed that took the least, s, in proportion where it had fewer epochs than the paper's.

        The first lines say how long they trained alone.
        """
        times = [
            line["seconds"] if "seconds" in line else line["seconds_per_epoch"] * epochs
            for line, epochs in zip(self.lines, self.lengths, strict=True)
        ]
        least: float = min(times)
        return least * self.epochs_of / self.epochs if self.short else least

    @property
    def lengths(self) -> tuple[int, ...]:
        """Epochs that each run had."""
        return tuple(len(line["test_loss"]) for line in self.lines)

    @property
    def stopped(self) -> bool:
        """Whether the paper's stopping rule ended all runs."""
        return bool(self.lines) and all(line.get("stopped", False) for line in self.lines)

    @property
    def short(self) -> bool:
        """Whether the runs had fewer epochs than the paper's; those that its stopping rule ended had not."""
        return self.epochs < self.epochs_of and not self.stopped

    @property
    def difference(self) -> float | None:
        """Measured minus published."""
        if self.mean is None or self.published.figure is None:
            return None
        return self.mean - self.published.figure

    @property
    def verdict(self) -> str:
        """``reproduced`` or ``not reproduced`` by :meth:`Published.band`, ``short run``, or nothing without a figure."""
        band = self.published.band()
        if not self.seeds or band is None:
            return NO_FIGURE
        if self.short:
            return SHORT
        inside = self.mean is not None and len(self.values) == len(self.seeds) and band[0] <= self.mean <= band[1]
        return REPRODUCED if inside else NOT_REPRODUCED

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "case": self.case,
            "measure": self.measure,
            "published": self.published.text,
            "published_source": self.published.source,
            "mean": self.mean,
            "spread": self.spread,
            "difference": self.difference,
            "values": {str(seed): value for seed, value in self.values.items()},
            "seeds": list(self.seeds),
            "epochs": self.epochs,
            "epochs_of_paper": self.epochs_of,
            "epochs_run": list(self.lengths),
            "stopped": self.stopped,
            "verdict": self.verdict,
        }


def summary(
    experiment: Experiment,
    lines: Iterable[Line],
    *,
    pattern: str = "*",
    variant: str = "",
    epochs: int | None = None,
    seeds: int | None = None,
    backend: str = "cpu",
) -> list[Row]:
    """Return a row for each measure of each case: of lines that were made with the very settings of the case.

    Parameters
    ----------
    experiment : Experiment
    lines : iterable of dict
        Of any experiments.
    pattern, variant : str
        See :meth:`Experiment.select`.
    epochs : int, optional
        Only runs of so many; default: for each case the longest that there are.
    seeds : int, optional
        Only seeds 0 .. seeds - 1; default: all that there are.
    backend : str

    Returns
    -------
    list of Row
        By measure, then by case. A case without a line has a row without seeds.
    """
    by_case: dict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in lines:
        cell = line["cell"]
        if cell["table"] == experiment.name:
            by_case[cell.get("variant", ""), cell["case"]].append(line)
    cases = experiment.select(pattern, variant)
    return [
        _row(experiment, case, measure, variant, by_case[variant, case.name], epochs, seeds, backend)
        for measure in experiment.measures
        for case in cases
    ]


def _row(
    experiment: Experiment,
    case: Case,
    measure: str,
    variant: str,
    lines: list[Line],
    epochs: int | None,
    seeds: int | None,
    backend: str,
) -> Row:
    def is_of_case(line: Line) -> bool:
        cell = line["cell"]
        run = cell_of(experiment, case, cell["seed"], variant=variant, epochs=cell["epochs"], backend=backend)
        return bool(run == cell) and (seeds is None or cell["seed"] < seeds) and epochs in (None, cell["epochs"])

    found = [line for line in lines if is_of_case(line)]
    longest = max((line["cell"]["epochs"] for line in found), default=0)
    used = {line["cell"]["seed"]: line for line in found if line["cell"]["epochs"] == longest}
    ordered = {seed: used[seed] for seed in sorted(used)}
    paper = case.value("epochs")
    last = max(1, round(case.value("average_last", 1) * min(longest, paper) / paper))
    values = {seed: figure(line, measure, last) for seed, line in ordered.items()}
    return Row(
        case.name,
        measure,
        case.published[measure],
        {seed: value for seed, value in values.items() if value is not None},
        tuple(ordered),
        longest,
        paper,
        tuple(ordered.values()),
    )


def figure(line: Line, measure: str, last: int = 1) -> float | None:
    """Return the mean of a measure over the last epochs of a run; None if it diverged.

    Parameters
    ----------
    line : dict
    measure : str
    last : int
    """
    curve = curve_of(line, measure)[-last:]
    numbers = [value for value in curve if value is not None]
    return fmean(numbers) if numbers and len(numbers) == len(curve) else None


def curve_of(line: Line, measure: str) -> list[float | None]:
    """Return a measure after every epoch; None where a run had diverged."""
    if measure in ANGLES:
        return [_mean(layers) for layers in line[f"{measure}s"]]
    if measure == "test_loss":
        return list(line["test_loss"])
    errors = line[f"{measure.partition('_')[0]}_error_percent"]
    return [value if measure.endswith("_error") else 100 - value for value in errors]


def _mean(values: list[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return fmean(numbers) if numbers and len(numbers) == len(values) else None
