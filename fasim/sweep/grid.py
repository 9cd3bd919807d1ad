"""A sweep as a TOML document: what all points share, lists of which every combination is a point, or a random sample.

::

    title = "which rule at which width"       # optional

    [settings]                                # of all points, one value each
    data = "digits"
    epochs = 10

    [grid]                                    # lists: every combination is a point
    rule = ["bp", "dfa"]
    datapath = ["float32", "s8"]
    seed = [0, 1, 2]

    [[cases]]                                 # optional: the grid is run for each of these
    learning_rate = "2^-6"
    hidden = "tanh"

    [sample]                                  # optional: so many combinations at random, each with every seed
    points = 20
    seed = 0

    [sample.ranges.learning_rate]             # optional, in a sample alone: drawn between two ends
    low = 1e-4
    high = 1e-1
    scale = "log"                             # or "linear", or "power_of_two"

Nothing is read over: an unknown key is refused with the nearest known name.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fasim import tomlfiles
from fasim.errors import ConfigError, unknown_name
from fasim.rng import stream
from fasim.sweep.keys import SAME, checked
from fasim.tomlfiles import TomlError, parse_toml

Settings = dict[str, Any]

_TOP = ("title", "settings", "grid", "cases", "sample")
_SAMPLE = ("points", "seed", "ranges")
_RANGE = ("low", "high", "scale")
SCALES = ("linear", "log", "power_of_two")
# a list of this many points is a mistake in a grid, not a plan
MOST_POINTS = 100_000


@dataclass(frozen=True)
class Sweep:
    """The points of a document, before their defaults are filled in.

    Parameters
    ----------
    name : str
        Of the file, without its ending.
    title : str
    cases : tuple of dict
        Settings of each point.
    axes : tuple of str
        The settings in which points may differ, in the order of the document.
    text : str
        The document.
    """

    name: str
    title: str
    cases: tuple[Settings, ...]
    axes: tuple[str, ...]
    text: str


def read_sweep(path: Path) -> Sweep:
    """Return the sweep of a TOML file.

    Raises
    ------
    ConfigError
        In one line: what cannot be read, is unknown or cannot be.
    """
    try:
        text = tomlfiles.read_text(path)
    except TomlError as error:
        raise ConfigError(f"sweep {path}: cannot be read: {error}") from None
    return read_text(text, path.stem)


def read_text(text: str, name: str = "sweep") -> Sweep:
    """Return the sweep of a TOML text.

    Parameters
    ----------
    text : str
    name : str
        What messages and result folders call it.

    Raises
    ------
    ConfigError
        In one line.
    """
    try:
        document = parse_toml(text)
    except TomlError as error:
        raise ConfigError(f"sweep {name}: cannot be read as TOML: {error}") from None
    try:
        return _sweep(name, document, text)
    except ConfigError as error:
        raise ConfigError(f"sweep {name}: {error}") from None


def _sweep(name: str, document: Mapping[str, Any], text: str) -> Sweep:
    _check_keys("key", document, _TOP)
    title = document.get("title", name)
    if not isinstance(title, str):
        raise ConfigError(f"title = {title!r}: write text")
    shared = _checked_all("settings", _table("settings", document))
    grid = {key: _values(key, given) for key, given in _table("grid", document).items()}
    cases = _cases(document)
    ranges: dict[str, tuple[float, float, str]] = {}
    sample = _table("sample", document) if "sample" in document else None
    if sample is not None:
        _check_keys("key of [sample]", sample, _SAMPLE, needed=("points",))
        ranges = {key: _range(key, given) for key, given in _table("sample.ranges", sample, "ranges").items()}
    in_cases = tuple(dict.fromkeys(key for case in cases for key in case))
    for key in (*grid, *in_cases, *ranges):
        places = [
            place
            for place, keys in (
                ("[settings]", shared),
                ("[grid]", grid),
                ("[[cases]]", in_cases),
                ("[sample.ranges]", ranges),
            )
            if key in keys
        ]
        if len(places) > 1:
            raise ConfigError(f"{key} is given in {' and '.join(places)}; write it in one of them")
    if not grid and not in_cases and not ranges:
        raise ConfigError('nothing varies; write [grid] with lists, such as rule = ["bp", "dfa"]')
    points = [shared | case for case in cases]
    if sample is None:
        if len(points) * math.prod(map(len, grid.values())) > MOST_POINTS:
            raise ConfigError(f"the grid has more than {MOST_POINTS:,} points; shorten its lists, or write [sample]")
        points = [case | chosen for case in points for chosen in _combinations(grid)]
    else:
        points = _sampled(points, grid, ranges, sample)
    return Sweep(name, title, tuple(points), (*in_cases, *grid, *ranges), text)


def _combinations(grid: Mapping[str, list[Any]]) -> list[Settings]:
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def _sampled(
    cases: list[Settings],
    grid: Mapping[str, list[Any]],
    ranges: Mapping[str, tuple[float, float, str]],
    sample: Mapping[str, Any],
) -> list[Settings]:
    """Draw combinations of cases, lists and ranges; each is then run with every seed of the grid."""
    count, seed = checked("epochs", sample["points"]), checked("seed", sample.get("seed", 0))
    seeds = [{"seed": one} for one in grid["seed"]] if "seed" in grid else [{}]
    lists: dict[str, list[Any]] = {"": cases} | {key: values for key, values in grid.items() if key != "seed"}
    whole = math.prod(map(len, lists.values()))
    random = stream(seed, "sweep")
    if not ranges and count > whole:
        raise ConfigError(f"[sample] points = {count}: the lists have {whole} combinations; ask for fewer, or leave it out")
    # without ranges a combination that was drawn is gone, or the sample would be smaller than asked for
    drawn = random.integers(0, whole, count) if ranges else random.choice(whole, count, replace=False)
    points = []
    for number in drawn.tolist():
        point: Settings = {}
        for key, values in lists.items():
            number, place = divmod(number, len(values))
            point |= values[place] if key == "" else {key: values[place]}
        point |= {key: _drawn(random.random(), *ends) for key, ends in ranges.items()}
        points += [point | one for one in seeds]
    return points


def _drawn(share: float, low: float, high: float, scale: str) -> float:
    """Return what lies at a share, 0 to 1, of a range: four digits of it, or a power of two."""
    if scale == "linear":
        return float(f"{low + share * (high - low):.4g}")
    if scale == "log":
        return float(f"{low * (high / low) ** share:.4g}")
    first, last = round(math.log2(low)), round(math.log2(high))
    return 2.0 ** min(last, first + int(share * (last - first + 1)))


def _cases(document: Mapping[str, Any]) -> list[Settings]:
    given = document.get("cases", [{}])
    if not isinstance(given, list) or not given or not all(isinstance(case, dict) for case in given):
        raise ConfigError("cases is no list of tables: write [[cases]] above each")
    places = [(f"cases, number {number}", case) for number, case in enumerate(given, 1)]
    return [_checked_all(where, _renamed(where, case)) for where, case in places]


def _range(key: str, given: object) -> tuple[float, float, str]:
    where = f"[sample.ranges.{key}]"
    if not isinstance(given, dict):
        raise ConfigError(f"{where} is no table: write low, high and scale")
    _check_keys(f"key of {where}", given, _RANGE, needed=("low", "high"))
    low, high, scale = checked(key, given["low"]), checked(key, given["high"]), given.get("scale", "linear")
    if scale not in SCALES:
        raise ConfigError(f"{where}: {unknown_name('scale', str(scale), SCALES)}")
    if type(low) is not float or type(high) is not float:
        raise ConfigError(f"{where}: only a setting that is a real number has a range; list the values in [grid]")
    if not (0 if scale != "linear" else -math.inf) < low < high < math.inf:
        raise ConfigError(f"{where}: low {low:g} and high {high:g} are no range on the scale {scale}")
    if scale == "power_of_two" and any(math.frexp(end)[0] != 0.5 for end in (low, high)):
        raise ConfigError(f"{where}: the ends must be powers of two, such as '2^-10'")
    return low, high, scale


def _values(key: str, given: object) -> list[Any]:
    if not isinstance(given, list) or not given:
        raise ConfigError(
            f"[grid] {key} = {given!r}: write a list, such as [0, 1, 2]; one value for all goes to [settings]"
        )
    values = [_one("grid", key, value) for value in given]
    if len(set(values)) != len(values):
        raise ConfigError(f"[grid] {key}: a value stands twice")
    return values


def _checked_all(where: str, given: Mapping[str, Any]) -> Settings:
    return {key: _one(where, key, value) for key, value in given.items()}


def _one(where: str, key: str, value: object) -> Any:  # noqa: ANN401
    try:
        return checked(key, value)
    except ConfigError as error:
        raise ConfigError(f"[{where}] {error}") from None


def _table(where: str, document: Mapping[str, Any], key: str = "") -> dict[str, Any]:
    found = document.get(key or where, {})
    if not isinstance(found, dict):
        raise ConfigError(f"{where} is no table: write [{where}]")
    return _renamed(where, found)


def _renamed(where: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table whose settings have one name each."""
    for key, name in SAME.items():
        if key in given and name in given:
            raise ConfigError(f"[{where}] {key} and {name} are the same; write one of them")
    return {SAME.get(key, key): value for key, value in given.items()}


def _check_keys(what: str, given: Mapping[str, Any], known: Iterable[str], needed: Iterable[str] = ()) -> None:
    for key in given:
        if key not in known:
            raise ConfigError(unknown_name(what, key, known))
    for key in needed:
        if key not in given:
            raise ConfigError(f"{what} {key} is missing; write it")
