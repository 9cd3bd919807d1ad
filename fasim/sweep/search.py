"""Search of learning rate and feedback scale with an equal budget for every rule on every datapath.

A comparison of rules at one learning rate is a comparison of how well that rate happens to suit each. Here every rule on
every datapath gets the same trials: pairs of a rate and a scale that are spread evenly over both ranges, on logarithmic
axes, by a shifted Halton sequence. More trials later begin with those that are there. The best is chosen by the accuracy on
a validation split; the test set has no part in it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fasim.errors import ConfigError, FasimError
from fasim.feedback import parse
from fasim.intervals import MeanInterval, t_interval
from fasim.rng import stream
from fasim.rules import training_step
from fasim.sweep.as_training import config_toml
from fasim.sweep.grid import Settings, Sweep
from fasim.sweep.point import datapath_of, network_of, resolve, step_of

AXES = ("rule", "datapath", "learning_rate", "feedback", "seed")


class Trial(NamedTuple):
    """A learning rate, and a factor of all feedback."""

    rate: float
    scale: float


@dataclass(frozen=True)
class Search:
    """What is searched.

    Parameters
    ----------
    rules, datapaths : tuple of str
    settings : dict
        Of all points.
    seeds : tuple of int
        Every trial is run with each.
    trials : int
        For each rule on each datapath.
    rates, scales : (float, float)
        The ends of both ranges; equal ends search nothing.
    seed : int
        Of the shift of the trials.

    Raises
    ------
    ConfigError
        If a range or number cannot be.
    """

    rules: tuple[str, ...]
    datapaths: tuple[str, ...]
    settings: Settings
    seeds: tuple[int, ...]
    trials: int = 16
    rates: tuple[float, float] = (2.0**-11, 2.0**-3)
    scales: tuple[float, float] = (0.25, 4.0)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.trials < 2:
            raise ConfigError(f"trials {self.trials}: at least 2 are needed to choose from")
        for what, (low, high) in (("lr-range", self.rates), ("scale-range", self.scales)):
            if not 0 < low <= high < math.inf:
                raise ConfigError(f"--{what} {low:g}..{high:g}: write two positive numbers, the smaller one first")
        for what, given in (("rules", self.rules), ("datapaths", self.datapaths), ("seeds", self.seeds)):
            if not given or len(set(given)) != len(given):
                raise ConfigError(f"{what}: at least one is needed, and each only once")
        if self.powers and math.ceil(math.log2(self.rates[0])) > math.floor(math.log2(self.rates[1])):
            raise ConfigError("--lr-range: fixed point takes powers of two, and none lies within; widen it")

    @property
    def powers(self) -> bool:
        """Whether rates are powers of two: as soon as one datapath is fixed point, so that all get the same trials."""
        return any(datapath != "float32" for datapath in self.datapaths)


def trials(search: Search) -> list[Trial]:
    """Return the trials, the same for every rule and datapath."""
    shifts = stream(search.seed, "tune").random(2)
    found = []
    for number in range(1, search.trials + 1):
        across, up = ((_halton(number, base) + shift) % 1.0 for base, shift in zip((2, 3), shifts, strict=True))
        found.append(Trial(_rate(across, search), _between(up, *search.scales)))
    return found


def sweep_of(search: Search) -> Sweep:
    """Return the points of a search as a sweep.

    A rule that has no feedback tries the rates alone; trials that are then the same are run once.

    Raises
    ------
    FasimError
        If a name is unknown or settings cannot be.
    """
    cases = []
    for datapath in search.datapaths:
        for rule in search.rules:
            shared = search.settings | {"rule": rule, "datapath": datapath}
            base = resolve(shared)
            scaled = _has_feedback(base.settings)
            for rate, scale in trials(search):
                case = shared | {"learning_rate": rate}
                if scaled and scale != 1:
                    case["feedback"] = f"{base.settings['feedback']}+scale:{scale!r}"
                cases += [case | {"seed": seed} for seed in search.seeds]
    title = f"tune {', '.join(search.rules)} on {', '.join(search.datapaths)}"
    return Sweep("tune", title, tuple(cases), AXES, document(title, {}, {}, cases))


@dataclass(frozen=True)
class Best:
    """The trial of a rule on a datapath with the highest mean accuracy on the validation split.

    Parameters
    ----------
    rule, datapath : str
    settings : dict
        Of the trial, without the seed.
    rate, scale : float
        `scale` is 1 for a rule without feedback.
    validation, test : MeanInterval
        Over the seeds; the first is that of the best of many, and so too high by a little.
    trials : int
        Different ones that have finished with every seed.
    as_good : (float, float)
        Smallest and largest rate of trials whose mean lies within the interval of the best.
    edges : tuple of str
        ``learning_rate``, ``feedback scale``: where the best lies at the end of the range.
    """

    rule: str
    datapath: str
    settings: Settings
    rate: float
    scale: float
    validation: MeanInterval
    test: MeanInterval
    trials: int
    as_good: tuple[float, float]
    edges: tuple[str, ...]


def best(search: Search, rows: Sequence[Mapping[str, Any]]) -> list[Best]:
    """Return the best trial of every rule on every datapath that has a trial with all of its seeds.

    Of trials with the same mean the one with the smaller rate is taken. A best is on the edge if it lies within one trial's
    share of the range from its end.

    Parameters
    ----------
    search : Search
    rows : sequence of dict
        Finished points, from :meth:`fasim.sweep.SweepFolder.rows`.
    """
    names = {text: "float32" if (one := datapath_of(text)) is None else one.name for text in search.datapaths}
    found = []
    for text in search.datapaths:
        for rule in search.rules:
            of_cell = [row for row in rows if (row["rule"], row["datapath"]) == (rule, names[text])]
            by_trial: dict[tuple[float, str], list[Mapping[str, Any]]] = {}
            for row in of_cell:
                by_trial.setdefault((row["learning_rate"], row["feedback"]), []).append(row)
            whole = {key: same for key, same in by_trial.items() if len(same) == len(search.seeds)}
            if whole:
                found.append(_best(search, rule, text, whole))
    return found


def _best(search: Search, rule: str, datapath: str, whole: Mapping[tuple[float, str], list[Mapping[str, Any]]]) -> Best:
    means = {key: t_interval([row["validation_accuracy"] for row in same]) for key, same in whole.items()}
    key = min(means, key=lambda one: (-means[one].mean, one))
    rate, feedback = key
    scale = parse(feedback).factor
    floor = means[key].mean if means[key].low is None else means[key].low
    good = [one[0] for one in means if means[one].mean >= floor]  # type: ignore[operator]
    scaled = len({one[1] for one in means}) > 1
    edges = []
    if _on_edge(rate, *search.rates, search.trials):
        edges.append("learning rate")
    if scaled and _on_edge(scale, *search.scales, search.trials):
        edges.append("feedback scale")
    settings = search.settings | {"rule": rule, "datapath": datapath, "learning_rate": rate, "feedback": feedback}
    test = t_interval([row["test_accuracy"] for row in whole[key]])
    return Best(rule, datapath, settings, rate, scale, means[key], test, len(means), (min(good), max(good)), tuple(edges))


def best_document(search: Search, found: Sequence[Best]) -> str:
    """Return the sweep that trains with what was found, on the whole training set."""
    shared = {key: value for key, value in search.settings.items() if key not in ("validation", "feedback")}
    cases = [{key: one.settings[key] for key in ("rule", "datapath", "learning_rate", "feedback")} for one in found]
    return document("the best settings that fasim tune has found", shared, {"seed": list(search.seeds)}, cases)


def best_configurations(search: Search, found: Sequence[Best]) -> dict[str, str]:
    """Return what was found as configurations of ``fasim train`` on the whole training set, by ``<rule>-<datapath>``.

    The seed is the first of the search.
    """
    configurations = {}
    for one in found:
        point = resolve(one.settings | {"validation": 0.0, "seed": search.seeds[0]})
        configurations[f"{one.rule}-{point.identity['datapath']}"] = config_toml(point.settings)
    return configurations


def document(title: str, settings: Settings, grid: Mapping[str, list[Any]], cases: Sequence[Settings]) -> str:
    """Return a sweep as a TOML document that :func:`fasim.sweep.read_text` reads."""
    parts = [f"title = {json.dumps(title)}"]
    for name, table in (("settings", settings), ("grid", grid)):
        if table:
            parts.append("\n".join([f"[{name}]", *_lines(table)]))
    parts += ["\n".join(["[[cases]]", *_lines(case)]) for case in cases]
    return "\n\n".join(parts) + "\n"


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items() if value is not None]


def _has_feedback(settings: Settings) -> bool:
    """Return whether a training step reads feedback; one that cannot be is found when it runs."""
    try:
        step = training_step(network_of(settings), settings["rule"], step_of(settings), datapath_of(settings["datapath"]))
    except FasimError:
        return False
    return any(tensor.cls == "feedback" for tensor in step.tensors.values())


def _halton(number: int, base: int) -> float:
    """Return the digits of a number, mirrored behind the point: evenly spread over 0..1, however many are taken."""
    found, share = 0.0, 1.0 / base
    while number:
        number, digit = divmod(number, base)
        found += digit * share
        share /= base
    return found


def _rate(share: float, search: Search) -> float:
    low, high = search.rates
    if not search.powers:
        return _between(share, low, high)
    first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
    return 2.0 ** min(last, first + int(share * (last - first + 1)))


def _between(share: float, low: float, high: float) -> float:
    """Return what lies at a share of a range on a logarithmic axis, to three digits."""
    return low if low == high else float(f"{low * (high / low) ** share:.3g}")


def _on_edge(value: float, low: float, high: float, count: int) -> bool:
    if low == high:
        return False
    share = math.log(value / low) / math.log(high / low)
    return not 1 / count < share < 1 - 1 / count
