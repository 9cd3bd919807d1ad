"""Calibration: train in float32 while observing, and propose the binary points of a datapath."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from fasim.backends.observer import Counters
from fasim.checks import check_fit, check_input
from fasim.data import Data, load
from fasim.errors import ConfigError
from fasim.fixedpoint import Cast, Datapath, Fixed, load_datapath
from fasim.fixedpoint.datapath import TABLE_BITS
from fasim.fixedpoint.statistics import TensorStatistics
from fasim.network import Network
from fasim.rules import Rule, training_step
from fasim.schedule import Schedule, StepSettings
from fasim.schedule.builder import SIGN_OF_ERROR
from fasim.schedule.lowering import addressable
from fasim.state import initial_state
from fasim.training import Epoch, Run, train

# classes of tensors in a schedule -> the table of a datapath that gives them their format
TABLE_OF = {
    "act": "act",
    "map": "act",
    "output": "act",
    "preact": "preact",
    "slope": "slope",
    "error": "error",
    "delta": "delta",
    "signal": "signal",
    "gradient": "gradient",
    "weight": "weight",
    "bias": "bias",
    "norm": "norm",
    "state": "momentum",
    "feedback": "feedback",
}
# the input's format is that of its codes; these exist in float alone, or get their format from another table
WITHOUT_TABLE = ("act.0", SIGN_OF_ERROR)
ONLY_IN_FLOAT = ("inverse_std.", "running_")
NARROWEST, WIDEST = 2, 32


@dataclass(frozen=True)
class Proposal:
    """The format proposed for a tensor, and what it and others cut off; shares 0..1.

    Parameters
    ----------
    name, table : str
        The tensor and the table of the datapath that gives its format.
    layer : int
    largest : float
        Largest magnitude in the run.
    format, like : Fixed
        Proposed, and that of the given datapath.
    cut, cut_one_less, cut_like : float
        Share of the values beyond the range of the proposed format, of one bit less, of the given format.
    """

    name: str
    table: str
    layer: int
    largest: float
    format: Fixed
    like: Fixed
    cut: float
    cut_one_less: float
    cut_like: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return vars(self) | {"format": str(self.format), "like": str(self.like)}


@dataclass(frozen=True)
class Calibration:
    """A datapath, the tensors that it follows from, and the float32 run in which they were observed."""

    datapath: Datapath
    proposals: list[Proposal]
    run: Run


def calibrate(
    network: Network | str,
    data: Data | str = "digits",
    *,
    rule: str | Rule = "dfa",
    like: Datapath | str = "s8",
    name: str = "calibrated",
    bits: int | None = None,
    epochs: int = 1,
    quantile: float = 1.0,
    per_tensor: bool = False,
    seed: int = 0,
    learning_rate: float | None = None,
    settings: StepSettings | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Calibration:
    """Propose the binary points of a datapath from the ranges of a short float32 run.

    A table gets the smallest range 2^m such that in no tensor of it more than 1 - `quantile` of the values lie beyond; with
    all values inside, the largest may saturate by one step if it is a power of two. Roundings, overflows, widths and
    everything else stay as in `like`.

    Parameters
    ----------
    network : Network or str
    data : Data or str
    rule : str or Rule
    like : Datapath or str
        The datapath to start from.
    name : str
        Name of the new one.
    bits : int, optional
        Width of whatever is as wide as the weight in `like`; other widths stay, but are at least this. Default: no change.
    epochs : int
    quantile : float
        Share of the values that must fit, 0..1.
    per_tensor : bool
        Give each tensor whose range differs from that of its table a format of its own.
    seed : int
    learning_rate : float, optional
    settings : StepSettings, optional
    on_epoch : callable, optional
        Called with each finished :class:`fasim.training.Epoch`.

    Returns
    -------
    Calibration

    Raises
    ------
    ConfigError, FormatError, DataError
        In one line, before anything has run; or if the run diverges, or no datapath can hold what it needs.
    """
    network = Network.parse(network) if isinstance(network, str) else network
    data = load(data) if isinstance(data, str) else data
    start = load_datapath(like) if isinstance(like, str) else like
    settings = settings or StepSettings()
    if start is None:
        raise ConfigError("like float32: it has no formats to start from; name a fixed-point datapath such as s8")
    if not 0 < quantile <= 1:
        raise ConfigError(f"quantile {quantile}: the share of values that must fit is above 0 and at most 1")
    if bits is not None and not NARROWEST <= bits <= WIDEST:
        raise ConfigError(f"bits {bits}: {NARROWEST} to {WIDEST} are possible")
    start = replace(start, name=name)
    check_fit(network, data, settings, epochs)
    check_input(start, data)
    training_step(network, rule, settings, start)
    run = train(
        network,
        data,
        rule=rule,
        epochs=epochs,
        seed=seed,
        learning_rate=learning_rate,
        settings=settings,
        on_epoch=on_epoch,
        trace=True,
    )
    observed = {**run.trace.tensors}
    for first in _initial(network, run.schedule, seed):
        observed[first.name] = observed[first.name] + first if first.name in observed else first
    by_table = _by_table(observed.values(), start)
    widths = {table: _width(table, start, bits) for table in by_table}
    formats = {table: _format(found, widths[table], quantile) for table, found in by_table.items()}
    source = f"fasim calibrate: {run.schedule.rule} on {network}, {data.name}, epochs {epochs}, quantile {quantile:g}"
    datapath = replace(_with_formats(start, formats, bits), source=source)
    own: dict[str, Fixed] = {}
    if per_tensor:
        needed = addressable(run.schedule, datapath)
        own = _own_formats(datapath, by_table, formats, widths, quantile, needed)
        datapath = replace(datapath, tensors=own)
    training_step(network, rule, settings, datapath)
    proposals = [
        _proposal(found, table, own.get(found.name, formats[table]), _format_in(start, table))
        for table, tensors in by_table.items()
        for found in tensors
    ]
    return Calibration(datapath, sorted(proposals, key=lambda proposal: proposal.layer), run)


def _initial(network: Network, schedule: Schedule, seed: int) -> Iterable[TensorStatistics]:
    """Yield the ranges before the first step: an update writes what has moved already, feedback may never move."""
    for name, array in initial_state(network, schedule, seed).items():
        tensor = schedule.tensors.get(name)
        if tensor is not None and TABLE_OF.get(tensor.cls) and array.dtype.kind == "f":
            counters = Counters(fixed=False)
            kernel, arguments = counters.call(array)
            kernel(*arguments)
            layer = name.rpartition(".")[2]
            yield counters.statistics(tensor, int(layer) if layer.isdecimal() else 0)


def _by_table(observed: Iterable[TensorStatistics], start: Datapath) -> dict[str, list[TensorStatistics]]:
    """Return the tensors whose binary point is to be chosen, by the table that gives it."""
    fixed = {"weight", *start.dynamic} if start.weight_range else set(start.dynamic)
    found: dict[str, list[TensorStatistics]] = {}
    for tensor in observed:
        if tensor.not_finite:
            raise ConfigError(f"training in float32 diverged ({tensor.name} holds NaN): give a smaller learning rate")
        table = TABLE_OF.get(tensor.cls, "")
        skipped = tensor.name in WITHOUT_TABLE or tensor.name.startswith(ONLY_IN_FLOAT)
        if table and not skipped and table not in fixed and getattr(start, table) is not None:
            found.setdefault(table, []).append(tensor)
    return found


def _format_in(datapath: Datapath, table: str) -> Fixed:
    """Return the format of a table, which may be a cast, a momentum or the format itself."""
    entry: Any = getattr(datapath, table)
    while not isinstance(entry, Fixed):
        entry = entry.cast if hasattr(entry, "cast") else entry.format
    return entry


def _width(table: str, start: Datapath, bits: int | None) -> Fixed:
    """Return the format to start from, with the width that the proposal has, in the same range."""
    return _widened(_format_in(start, table), start, bits, TABLE_BITS if table == "preact" else WIDEST)


def _widened(given: Fixed, start: Datapath, bits: int | None, most: int = WIDEST) -> Fixed:
    if bits is None:
        return given
    width = bits if given.bits == start.weight.format.bits else max(given.bits, bits)
    width = min(width, max(most, given.bits))
    return replace(given, bits=width, frac=given.frac + width - given.bits)


def _format(tensors: list[TensorStatistics], like: Fixed, quantile: float) -> Fixed:
    """Return the finest format of the width of `like` that suits all these tensors."""
    ranges = [_range(tensor, quantile) for tensor in tensors if tensor.largest > 0]
    signed = like.signed or any(tensor.min < 0 for tensor in tensors)
    frac = like.bits - signed - max(ranges) if ranges else like.frac
    return replace(like, frac=frac, signed=signed)


def _range(tensor: TensorStatistics, quantile: float) -> int:
    """Return the smallest m such that at most 1 - quantile of the values lie beyond 2^m."""
    mantissa, exponent = math.frexp(tensor.largest)
    m = exponent - (mantissa == 0.5)
    # a histogram knows no exact powers of two: the whole range is taken from the largest value
    while quantile < 1 and tensor.share_beyond(m - 1) <= 1 - quantile:
        m -= 1
    return m


def _limit(fmt: Fixed) -> int:
    """Return m of the range 2^m of a format."""
    return fmt.bits - fmt.signed - fmt.frac


def _with_formats(start: Datapath, formats: dict[str, Fixed], bits: int | None) -> Datapath:
    changed: dict[str, Any] = {"tensors": {}}
    for table, fmt in formats.items():
        entry = getattr(start, table)
        if isinstance(entry, Cast):
            changed[table] = replace(entry, format=fmt)
        elif table == "momentum":
            changed[table] = replace(entry, cast=replace(entry.cast, format=fmt))
        else:
            changed[table] = fmt
    weight = formats.get("weight", _widened(start.weight.format, start, bits))
    changed["weight"] = replace(start.weight, format=weight)
    if start.master is not None:
        changed["master"] = _master(start, weight, bits)
    if start.feedback_bits is not None:
        changed["feedback_bits"] = _widened(Fixed(start.feedback_bits, 0), start, bits).bits
    if start.feedback_master_bits is not None and bits is not None:
        changed["feedback_master_bits"] = max(start.feedback_master_bits, bits)
    return replace(start, **changed)


def _master(start: Datapath, weight: Fixed, bits: int | None) -> Fixed:
    """Return the master of a weight: as wide as it was, in the weight's range."""
    assert start.master is not None
    wide = _widened(start.master, start, bits)
    return replace(wide, frac=wide.bits - wide.signed - _limit(weight))


def _own_formats(
    datapath: Datapath,
    by_table: dict[str, list[TensorStatistics]],
    formats: dict[str, Fixed],
    widths: dict[str, Fixed],
    quantile: float,
    needed: frozenset[str],
) -> dict[str, Fixed]:
    """Return the formats of the tensors that need another one than their table's, their masters among them."""
    own: dict[str, Fixed] = {}
    for table, tensors in by_table.items():
        for tensor in tensors:
            fmt = _format([tensor], widths[table], quantile)
            if tensor.largest == 0 or fmt == formats[table] or tensor.name not in needed:
                continue
            own[tensor.name] = fmt
            master = f"master.{tensor.layer}"
            if table == "weight" and datapath.master is not None and master in needed:
                own[master] = _master(datapath, fmt, None)
    return own


def _proposal(found: TensorStatistics, table: str, fmt: Fixed, like: Fixed) -> Proposal:
    def cut(limit: int) -> float:
        # what lies on 2^limit saturates by one step at most
        return 0.0 if found.largest <= math.ldexp(1.0, limit) else found.share_beyond(limit)

    own = _limit(fmt)
    return Proposal(found.name, table, found.layer, found.largest, fmt, like, cut(own), cut(own - 1), cut(_limit(like)))
