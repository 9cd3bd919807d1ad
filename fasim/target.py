"""Energy to a target accuracy: what learning costs until a network is good enough.

A rule that is cheap per sample and needs three times the samples is not cheap. A share of the training set is held out and
evaluated every so many samples; the target is reached at the second of two evaluations in a row that both hold it, since
one alone may be luck. All energy up to that second evaluation is charged::

    energy to target = training samples until then * energy per training sample

The evaluations themselves are not charged: they are how fasim looks at the run, no part of the training step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from fasim.data import Data
from fasim.energy import Interval
from fasim.errors import ConfigError
from fasim.plan import Plan, Stage
from fasim.rng import stream
from fasim.schedule import StepSettings

CONSECUTIVE = 2
ENDS = ("low", "typical", "high")


class Point(NamedTuple):
    """One evaluation: training samples seen so far, and accuracy 0..1 on the validation split."""

    samples: int
    accuracy: float


@dataclass(frozen=True)
class Target:
    """The accuracy that is asked for, and how it is watched.

    Parameters
    ----------
    accuracy : float
        0..1, on the validation split.
    validation : float
        Share of the training set that is held out, between 0 and 1.
    evaluate_every : int
        Training samples between two evaluations; rounded up to whole batches.
    stop : bool
        End a run with the epoch in which it reaches the target; otherwise it trains for all epochs.

    Raises
    ------
    ConfigError
        If a number is out of its range.
    """

    accuracy: float
    validation: float = 0.1
    evaluate_every: int = 1000
    stop: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.accuracy <= 1:
            raise ConfigError(f"target accuracy {self.accuracy}: a share from 0 to 1 is needed, such as 0.95")
        if not 0 < self.validation < 1:
            raise ConfigError(f"validation {self.validation}: a share between 0 and 1 is needed, such as 0.1")
        if self.evaluate_every < 1:
            raise ConfigError(f"evaluate every {self.evaluate_every} samples: at least 1 is needed")

    def steps_between(self, batch_size: int) -> int:
        """Return the training steps from one evaluation to the next: whole batches."""
        return -(-self.evaluate_every // batch_size)


class Validation(NamedTuple):
    """What a run evaluates while it trains: inputs (samples, I), labels (samples,), and what for."""

    x: np.ndarray
    y: np.ndarray
    target: Target


def share(text: str, what: str) -> float:
    """Read ``0.95`` or ``95%``.

    Raises
    ------
    ConfigError
        If it is neither; a number above 1 without ``%`` might mean either.
    """
    number = text.strip().removesuffix("%")
    try:
        # in decimals, so that 94.1% is the float 0.941
        value = float(Decimal(number).scaleb(0 if number == text.strip() else -2))
    except (ArithmeticError, ValueError):
        value = math.nan
    if not 0 <= value <= 1:
        raise ConfigError(f"{what} {text!r}: write a share from 0 to 1, such as 0.95, or a percentage, such as 95%")
    return value


def from_texts(accuracy: str | None, validation: str | None, evaluate_every: int | None, stop: bool) -> Target | None:  # noqa: FBT001
    """Return the target that options give; None without an accuracy.

    Raises
    ------
    ConfigError
        If one cannot be read, or is given without an accuracy.
    """
    given = {"--validation": validation, "--evaluate-every": evaluate_every, "--stop-at-target": stop or None}
    if accuracy is None:
        alone = [name for name, value in given.items() if value is not None]
        if alone:
            raise ConfigError(f"{alone[0]} is for --target-accuracy; give that too, or leave it out")
        return None
    options: dict[str, Any] = {"evaluate_every": evaluate_every}
    options["validation"] = None if validation is None else share(validation, "--validation")
    options = {name: value for name, value in options.items() if value is not None}
    return Target(share(accuracy, "--target-accuracy"), stop=stop, **options)


def hold_out(data: Data, target: Target, seed: int) -> tuple[Data, Validation]:
    """Return the data without a validation split, and the split: the last samples after a shuffle.

    The shuffle is the stream ``"validation"`` of `seed`, which nothing else draws from: with one seed every rule and
    datapath has the same split. The test set stays; a standardisation stays that of the whole training set.

    Raises
    ------
    ConfigError
        If one of the two parts would be empty.
    """
    rest, last = held_rows(data, target, seed)
    smaller = replace(data, x_train=data.x_train[rest], y_train=data.y_train[rest])
    return smaller, Validation(data.x_train[last], data.y_train[last], target)


def held_rows(data: Data, target: Target, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the training samples that :func:`hold_out` leaves, and those that it holds out, by their numbers.

    Raises
    ------
    ConfigError
        If one of the two parts would be empty.
    """
    kept = _kept(data, target)
    order = stream(seed, "validation").permutation(len(data.x_train))
    return order[:kept], order[kept:]


def split(data: Data, held: float, seed: int) -> tuple[Data, Validation | None]:
    """Return the data without a share of the training set, and that share as :func:`hold_out` chooses it; 0 is none.

    Raises
    ------
    ConfigError
        If one of the two parts would be empty.
    """
    return hold_out(data, Target(1.0, held), seed) if held else (data, None)


def check_validation(held: float, data: Data, target: str) -> None:
    """Refuse to hold out samples of a training without labels: the split is evaluated by its accuracy.

    Raises
    ------
    ConfigError
        In one line.
    """
    if held and target != "label":
        raise ConfigError(f"validation {held:g}: {data.name} is trained without labels; leave it out")


def check_target(target: Target, data: Data, settings: StepSettings, plan: Plan, epochs: int) -> None:
    """Refuse a target that no run could reach, or whose energy would not be that of the runs.

    Parameters
    ----------
    target : Target
    data : Data
        Before the split.
    settings : StepSettings
    plan : Plan
    epochs : int

    Raises
    ------
    ConfigError
        In one line.
    """
    if settings.target != "label":
        raise ConfigError(f"target accuracy {target.accuracy:g}: {data.name} is trained without labels; leave it out")
    if plan.stages:
        raise ConfigError(
            f"target accuracy {target.accuracy:g} with stages {plan.stages}: frozen layers cost less, and the energy is "
            "that of a step which trains all; leave out one of the two"
        )
    count, size = _kept(data, target), settings.batch_size
    if size > count:
        raise ConfigError(
            f"batch size {size}: {data.name} has {count} training samples beside its validation split; use a smaller batch"
        )
    steps = epochs * (count // size + (plan.last_batch == "keep" and count % size > 0))
    found = steps // target.steps_between(size)
    if found < CONSECUTIVE:
        raise ConfigError(
            f"evaluate every {target.evaluate_every} samples: {epochs} x {count} training samples give {found} of "
            f"them, {CONSECUTIVE} are needed; evaluate more often or train for more epochs"
        )


def divide(parts: Sequence[Stage], first: int, between: int) -> list[Stage]:
    """Divide the parts of an epoch further, so that one ends at every step whose number is a multiple of `between`.

    Parameters
    ----------
    parts : sequence of Stage
        In order, the first of them starting after `first` steps of the run.
    first : int
    between : int
    """
    divided = []
    for freeze, steps in parts:
        end = first + steps
        while first < end:
            stop = min(end, (first // between + 1) * between)
            divided.append(Stage(freeze, stop - first))
            first = stop
    return divided


def samples_to_target(points: Sequence[Point], accuracy: float) -> int | None:
    """Return the training samples after which two evaluations in a row have held an accuracy; None if none ever did."""
    held = 0
    for point in points:
        held = held + 1 if point.accuracy >= accuracy else 0
        if held == CONSECUTIVE:
            return point.samples
    return None


def reached_figures(samples: Sequence[int | None], energy: Interval, every: int) -> dict[str, Any]:
    """Return what several seeds needed, for JSON.

    A seed that has not reached the target counts as one that needs infinitely much; None stands for infinite.

    Parameters
    ----------
    samples : sequence of int or None
        Of each seed, see :func:`samples_to_target`.
    energy : Interval
        Energy per training sample, pJ.
    every : int
        Training samples between two evaluations.

    Returns
    -------
    dict
        ``target_reached``, the number of seeds that did; ``samples_to_target`` of each seed; ``energy_pj_to_target``, the
        median over the seeds at low, typical and high constants; ``energy_pj_to_target_range``, smallest and largest of the
        seeds at typical constants; ``target_resolution``, `every` as a share of the median of the samples.
    """
    numbers = [math.inf if one is None else one for one in samples]
    middle = median(numbers)
    return {
        "target_reached": sum(map(math.isfinite, numbers)),
        "samples_to_target": list(samples),
        "energy_pj_to_target": {end: _finite(middle * getattr(energy, end)) for end in ENDS},
        "energy_pj_to_target_range": {
            "smallest": _finite(min(numbers) * energy.typical),
            "largest": _finite(max(numbers) * energy.typical),
        },
        "target_resolution": every / middle if math.isfinite(middle) else None,
    }


def ratio_to_baseline(row: Mapping[str, Any], baseline: Mapping[str, Any] | None) -> dict[str, float | None]:
    """Return the ratio of a row's median energy to the target to that of backpropagation on the same datapath.

    ``ratio = median samples / its median samples * ratio of the energies per sample``, so that low and high use the same
    constants for both. All None without a baseline over the same seeds, or if either median is infinite.

    Parameters
    ----------
    row, baseline : mapping
        Rows of a comparison as dicts.
    """
    if baseline is None or row["seeds"] != baseline["seeds"]:
        return dict.fromkeys(ENDS)
    own, other = (
        median(math.inf if one is None else one for one in found["samples_to_target"]) for found in (row, baseline)
    )
    if not math.isfinite(own) or not math.isfinite(other):
        return dict.fromkeys(ENDS)
    return {end: own / other * row["energy_ratio_to_bp"][end] for end in ENDS}


def ratio_range(row: Mapping[str, Any], baseline: Mapping[str, Any] | None) -> dict[str, float | None]:
    """Return the smallest and the largest, over the seeds, of the ratio that :func:`ratio_to_baseline` takes of medians.

    ``ratio of a seed = its samples / the baseline's with the same seed * ratio of the energies per sample``, at typical
    constants: paired, since both start from the same draws and share their validation split. A seed with which only the row
    misses the target has an infinite ratio, for which None stands; one with which only the baseline does has 0; one with
    which both do says nothing.

    Parameters
    ----------
    row, baseline : mapping
        Rows of a comparison as dicts.

    Returns
    -------
    dict
        ``smallest`` and ``largest``; both None without a baseline over the same seeds, or if no seed says anything.
    """
    ratios: list[float] = []
    if baseline is not None and row["seeds"] == baseline["seeds"]:
        for own, other in zip(row["samples_to_target"], baseline["samples_to_target"], strict=True):
            if own is not None or other is not None:
                samples = math.inf if own is None else 0.0 if other is None else own / other
                ratios.append(samples * row["energy_ratio_to_bp"]["typical"])
    return {
        "smallest": _finite(min(ratios, default=math.inf)),
        "largest": _finite(max(ratios, default=math.inf)),
    }


def _kept(data: Data, target: Target) -> int:
    """Return how many training samples a split leaves."""
    count = len(data.x_train)
    held = round(target.validation * count)
    if not 0 < held < count:
        raise ConfigError(
            f"validation {target.validation:g}: {held} of the {count} training samples of {data.name} are held out; "
            "choose a share that leaves samples to both"
        )
    return count - held


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
