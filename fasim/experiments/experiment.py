"""An experiment: cases with their settings, where each setting is from, and what was published of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from fasim.errors import ConfigError, unknown_name
from fasim.experiments.keys import ANGLES, NETWORK, NUMBERS, PLAN, STEP
from fasim.experiments.orders import Order
from fasim.network import Network
from fasim.plan import Plan
from fasim.schedule import StepSettings

SOURCES = ("paper", "original code", "inferred")
# what may stand in the place of a published figure
NO_FIGURES = ("figure only", "not given")
_FIGURE = re.compile(r"(\d*\.?\d+)(?: ±(\d*\.?\d+))?", re.ASCII)
# a measured mean this many published deviations, or this many points, away still counts as reproduced
DEVIATIONS = 3.0
POINTS = 0.3


@dataclass(frozen=True)
class Setting:
    """A value and where it is from.

    Parameters
    ----------
    value : str, int, float or bool
    source : str
        Begins with ``paper``, ``original code`` or ``inferred``; mostly with the words of where or why.
    """

    value: Any
    source: str

    def __post_init__(self) -> None:
        kind = self.source.partition(":")[0]
        if kind not in SOURCES:
            raise ConfigError(f"source {self.source!r}: write {', '.join(SOURCES)}, then a colon and where or why")
        if kind == "inferred" and not self.source.partition(":")[2].strip():
            raise ConfigError("source 'inferred': write why, such as 'inferred: the paper does not say, ...'")


@dataclass(frozen=True)
class Published:
    """A published figure, or why there is none.

    Parameters
    ----------
    text : str
        ``1.72 ±.08``, ``2.19``, ``figure only`` (a curve or picture) or ``not given``.
    source : str
        See :class:`Setting`.
    """

    text: str
    source: str

    def __post_init__(self) -> None:
        _ = Setting(self.text, self.source)
        if self.text not in NO_FIGURES and not _FIGURE.fullmatch(self.text):
            raise ConfigError(f"published {self.text!r}: write a figure such as '1.72 ±.08', or {' or '.join(NO_FIGURES)}")

    @property
    def figure(self) -> float | None:
        """The number, None where there is none."""
        found = _FIGURE.fullmatch(self.text)
        return float(found[1]) if found else None

    @property
    def spread(self) -> float | None:
        """The number after ±, None where there is none."""
        found = _FIGURE.fullmatch(self.text)
        return float(found[2]) if found and found[2] else None

    def band(self) -> tuple[float, float] | None:
        """Return what a measured mean lies in if it counts as reproduced: 3 deviations, at least 0.3 points."""
        if self.figure is None:
            return None
        reach = max(POINTS, DEVIATIONS * (self.spread or 0.0))
        return self.figure - reach, self.figure + reach


@dataclass(frozen=True)
class Case:
    """One cell of a table: all that decides a run but its seed.

    Parameters
    ----------
    name : str
        Row and column of the table.
    settings : mapping of str to Setting
        By the keys of :data:`fasim.experiments.keys.KEYS`.
    published : mapping of str to Published
        By what is measured, see :data:`fasim.experiments.keys.MEASURES`.
    """

    name: str
    settings: Mapping[str, Setting]
    published: Mapping[str, Published]

    def value(self, key: str, default: Any = None) -> Any:  # noqa: ANN401
        """Return the value of a setting; numbers as float, however the file writes them."""
        if key not in self.settings:
            return default
        value = self.settings[key].value
        return float(value) if key in NUMBERS else value

    def options(self, keys: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings among `keys` that are not at their defaults."""
        given = {key: self.value(key) for key in keys if key in self.settings}
        return {key: value for key, value in given.items() if value != keys[key]}

    def network(self) -> Network:
        """Return the network."""
        options = self.options(NETWORK)
        return Network.parse(options.pop("net"), **options)

    def step_settings(self) -> StepSettings:
        """Return the settings of a training step."""
        return StepSettings(**self.options(STEP))

    def plan(self) -> Plan:
        """Return the plan; the training set is measured where a figure of it was published."""
        return Plan(**self.options(PLAN), train_accuracy=any(name.startswith("train_") for name in self.published))

    @property
    def measures_angles(self) -> bool:
        """Whether angles are measured after every epoch."""
        return not ANGLES.keys().isdisjoint(self.published)


@dataclass(frozen=True)
class Variant:
    """Another reading of an experiment, such as that of the authors' code where it differs from the paper.

    Parameters
    ----------
    title : str
    settings : mapping of str to Setting
        These replace a case's own.
    cases : tuple of str
        Patterns of the cases that it is about; empty: all.
    published : mapping of str to mapping of str to Published
        What was published of it, by measure and case; cases that are not named: not given. Empty: it is held against what
        was published of the paper's own reading.
    """

    title: str
    settings: Mapping[str, Setting]
    cases: tuple[str, ...] = ()
    published: Mapping[str, Mapping[str, Published]] = field(default_factory=dict)


@dataclass(frozen=True)
class Quick:
    """A short run of some cases with seed 0, and the bands that its first measure must lie in.

    Parameters
    ----------
    epochs : int
    source : str
        How the bands were measured.
    bands : mapping of str to (float, float)
        By case: the lowest and the highest that is right.
    """

    epochs: int
    source: str
    bands: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Experiment:
    """A table, figure or listing of a paper.

    Parameters
    ----------
    name, title, paper : str
    cases : tuple of Case
        As the paper has them.
    variants : mapping of str to Variant
    note : str
        What a reader must know beside the figures.
    cannot_run : str
        Why fasim cannot run it; empty if it can.
    quick : Quick, optional
        A short run that shows whether all is still as it was measured.
    orders : tuple of Order
        What the paper claims of the cases beside its figures.
    """

    name: str
    title: str
    paper: str
    cases: tuple[Case, ...]
    variants: Mapping[str, Variant] = field(default_factory=dict)
    note: str = ""
    cannot_run: str = ""
    quick: Quick | None = None
    orders: tuple[Order, ...] = ()

    @property
    def measures(self) -> tuple[str, ...]:
        """What is measured, the first one foremost."""
        return tuple(self.cases[0].published)

    def select(self, pattern: str = "*", variant: str = "") -> tuple[Case, ...]:
        """Return the cases whose names match a pattern, as a variant has them.

        Parameters
        ----------
        pattern : str
            With ``*`` and ``?``; several separated by commas.
        variant : str
            A name of `variants`; empty: as the paper has it.

        Raises
        ------
        ConfigError
            If there is no such variant or case.
        """
        cases = self.cases
        if variant:
            if variant not in self.variants:
                raise ConfigError(unknown_name(f"variant of {self.name}", variant, self.variants))
            cases = _varied(self.cases, self.variants[variant])
        wanted = [item.strip() for item in pattern.split(",")]
        found = tuple(case for case in cases if any(matches(case.name, item) for item in wanted))
        if not found:
            raise ConfigError(unknown_name(f"case of {self.name}", pattern, [case.name for case in cases]))
        return found


def matches(name: str, pattern: str) -> bool:
    """Return whether a case's name is `pattern`, with ``*`` and ``?``; one word of it matches alone too."""
    return name == pattern or fnmatchcase(name, pattern) or pattern in name.split()


def _varied(cases: tuple[Case, ...], variant: Variant) -> tuple[Case, ...]:
    chosen = [case for case in cases if not variant.cases or any(matches(case.name, text) for text in variant.cases)]

    def published(case: Case) -> dict[str, Published]:
        if not variant.published:
            return dict(case.published)
        nothing = Published("not given", "inferred: not said of this variant")
        return {name: variant.published.get(name, {}).get(case.name, nothing) for name in case.published}

    return tuple(
        replace(case, settings={**case.settings, **variant.settings}, published=published(case)) for case in chosen
    )
