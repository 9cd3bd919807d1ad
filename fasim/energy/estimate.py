"""Energy and memory of one training step of a rule, per sample, with an interval and the ratio to backpropagation."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fasim.energy.counts import Counts, count
from fasim.energy.operations import OPERATIONS
from fasim.energy.price import coefficients
from fasim.energy.processor import CONSTANTS, Processor, load_processor
from fasim.errors import ProcessorError
from fasim.fixedpoint import Datapath, load_datapath
from fasim.network import Network
from fasim.rules import Rule, training_step
from fasim.schedule import CLASSES, PHASES, Schedule, StepSettings, Tensor, peak_bytes

BASELINE = "bp"
OPERATIONS_PART = "operations"
_DEFAULT_SETTINGS = StepSettings()


@dataclass(frozen=True)
class Interval:
    """A number over the interval of the processor's constants."""

    low: float
    typical: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """What one training sample costs: the step at the stated batch size divided by N.

    Parameters
    ----------
    network, rule, datapath, processor, order, fuse : str
        What was asked for.
    batch_size : int
        N.
    energy_pj_per_sample : Interval
        All constants low, typical, high.
    energy_ratio_to_bp : Interval
        Energy over that of backpropagation with everything else equal: at typical constants, and the smallest and largest
        over all corners of the constants, the same corner for both.
    macs_per_sample : int or float
        Multiply-accumulates; int if N divides them.
    operations_per_step : dict
        Operations of the whole step by phase and kind.
    words_per_step : dict
        Memory words of the whole step by tensor class, ``read`` and ``write``.
    phase_pj_per_sample : dict
        Typical energy by phase.
    class_pj_per_sample : dict
        Typical energy of the memory traffic by tensor class, and of all ``operations``.
    peak_activation_bytes : float
        Most bytes of activations (class ``act``, the input included) that live at once.
    peak_live_bytes : float
        Most bytes of everything, parameters included, that live at once.
    feedback_bytes : float
        Bytes of all feedback that is stored, places of non-zeros included: a matrix that layers share counts once, one that
        a shift register makes anew not at all.
    memory_bytes, word_bits : int
        Of the processor.
    fits : bool
        Whether ``peak_live_bytes`` fits there. The energy holds for a memory of that size and cost per word; if it does not
        fit, it is too low.
    """

    network: str
    rule: str
    datapath: str
    processor: str
    order: str
    fuse: str
    batch_size: int
    energy_pj_per_sample: Interval
    energy_ratio_to_bp: Interval
    macs_per_sample: int | float
    operations_per_step: dict[str, dict[str, int]]
    words_per_step: dict[str, dict[str, int]]
    phase_pj_per_sample: dict[str, float]
    class_pj_per_sample: dict[str, float]
    peak_activation_bytes: float
    peak_live_bytes: float
    feedback_bytes: float
    memory_bytes: int
    word_bits: int
    fits: bool

    def as_dict(self) -> dict[str, Any]:
        """Return everything as dicts, texts and numbers, ready for JSON."""
        return asdict(self)


def estimate(
    network: Network | str,
    rule: str | Rule,
    datapath: Datapath | str | None = None,
    *,
    settings: StepSettings = _DEFAULT_SETTINGS,
    processor: Processor | str | Path = "generic_45nm",
    order_by: str = "eager",
    fuse_by: str = "none",
) -> Estimate:
    """Estimate energy and memory of a rule's training step.

    ``energy = sum of (constant * how often it is paid)``, see :mod:`fasim.energy.price`.

    Parameters
    ----------
    network : Network or str
        A topology string gets the default activations.
    rule : str or Rule
    datapath : Datapath, str or None
        A name is looked up; None is float32.
    settings : StepSettings
        Batch size, loss and the rest of the step.
    processor : Processor, str or Path
        A name or a path is loaded by :func:`fasim.energy.load_processor`.
    order_by, fuse_by : str
        See :func:`fasim.rules.training_step`.

    Returns
    -------
    Estimate

    Raises
    ------
    ConfigError
        If a name is unknown or the step cannot be built, as :func:`fasim.rules.training_step` does.
    ProcessorError
        If the processor's file is wrong, or all that backpropagation pays for may be free.
    """
    network = Network.parse(network) if isinstance(network, str) else network
    if isinstance(datapath, str):
        datapath = load_datapath(datapath)
    if not isinstance(processor, Processor):
        processor = load_processor(processor)

    def step_of(name: str | Rule) -> Schedule:
        return training_step(network, name, settings, datapath, order_by=order_by, fuse_by=fuse_by)

    schedule = step_of(rule)
    counts = count(schedule, processor.word_bits)
    baseline = count(step_of(BASELINE), processor.word_bits)
    size = counts.batch_size
    low, typical, high = (_constants(processor, end) for end in ("low", "typical", "high"))
    paid = coefficients(counts.operations, counts.traffic)
    macs, rest = divmod(counts.macs, size)
    live = peak_bytes(schedule)
    return Estimate(
        network=str(network),
        rule=schedule.rule,
        datapath=schedule.datapath,
        processor=processor.name,
        order=schedule.order,
        fuse=schedule.fuse,
        batch_size=size,
        energy_pj_per_sample=Interval(*(float(paid @ constants) / size for constants in (low, typical, high))),
        energy_ratio_to_bp=_ratio(paid, coefficients(baseline.operations, baseline.traffic), processor),
        macs_per_sample=counts.macs / size if rest else macs,
        operations_per_step={phase: _operations(counts, phase) for phase in PHASES},
        words_per_step=_words(counts),
        phase_pj_per_sample=_by_phase(counts, typical),
        class_pj_per_sample=_by_class(counts, typical),
        peak_activation_bytes=peak_bytes(schedule, "act"),
        peak_live_bytes=live,
        feedback_bytes=float(sum(tensor.nbytes for tensor in _stored_feedback(schedule))),
        memory_bytes=processor.memory_bytes,
        word_bits=processor.word_bits,
        fits=live <= processor.memory_bytes,
    )


def _stored_feedback(schedule: Schedule) -> list[Tensor]:
    return [tensor for tensor in schedule.of_class("feedback") if tensor.storage == "state" and not tensor.view]


def _constants(processor: Processor, end: str) -> NDArray[np.float64]:
    """Return the constants' low, typical or high ends in the order of CONSTANTS."""
    return np.array([getattr(processor.constants[name], end) for name in CONSTANTS], np.float64)


@cache
def _corner_choices() -> NDArray[np.bool_]:
    """Return low or high for each constant, all combinations: (2^constants, constants)."""
    return np.array(list(itertools.product((False, True), repeat=len(CONSTANTS))))


def _ratio(paid: NDArray[np.float64], baseline: NDArray[np.float64], processor: Processor) -> Interval:
    low, typical, high = (_constants(processor, end) for end in ("low", "typical", "high"))
    # the typical point comes along, so that rounding cannot leave it outside of its interval
    points = np.vstack([typical, np.where(_corner_choices(), high, low)])
    energy = points @ baseline
    if not energy.min() > 0:
        raise ProcessorError(
            f"processor {processor.name}: all that a step of {BASELINE} pays for costs 0 at the low "
            "end; a ratio needs a constant above 0"
        )
    ratio = (points @ paid) / energy
    return Interval(float(ratio.min()), float(ratio[0]), float(ratio.max()))


def _operations(counts: Counts, phase: str) -> dict[str, int]:
    """Return the operations of a phase by kind, without kinds that do not occur."""
    totals = {kind: counts.total(kind, phase) for kind in OPERATIONS}
    return {kind: total for kind, total in totals.items() if total}


def _words(counts: Counts) -> dict[str, dict[str, int]]:
    """Return the words read and written by tensor class, without classes that are not moved."""
    words = {cls: {"read": 0, "write": 0} for cls in CLASSES}
    for row in counts.traffic:
        words[row.cls]["write" if row.write else "read"] += row.words
    return {cls: moved for cls, moved in words.items() if any(moved.values())}


def _by_phase(counts: Counts, constants: NDArray[np.float64]) -> dict[str, float]:
    result = {}
    for phase in PHASES:
        operations = (row for row in counts.operations if row.phase == phase)
        traffic = (row for row in counts.traffic if row.phase == phase)
        paid = coefficients(operations, traffic)
        result[phase] = float(paid @ constants) / counts.batch_size
    return result


def _by_class(counts: Counts, constants: NDArray[np.float64]) -> dict[str, float]:
    paid = {OPERATIONS_PART: coefficients(counts.operations, ())}
    for cls in CLASSES:
        if rows := [row for row in counts.traffic if row.cls == cls]:
            paid[cls] = coefficients((), rows)
    return {part: float(row @ constants) / counts.batch_size for part, row in paid.items()}
