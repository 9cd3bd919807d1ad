"""Energy and memory of one training step of a rule, per sample, with an interval and the ratio to backpropagation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fasim.energy.bill import OPERATIONS_PART, Bill, Interval, Memory, Row, as_chosen
from fasim.energy.counts import Counts
from fasim.energy.hierarchy import overflow_bytes
from fasim.energy.load import load_processor
from fasim.energy.operations import OPERATIONS
from fasim.energy.options import DEFAULTS, CostOptions
from fasim.energy.price import ratio_ends
from fasim.energy.processor import Processor
from fasim.energy.timing import Timing
from fasim.errors import ConfigError, ProcessorError
from fasim.fixedpoint import Datapath, load_datapath
from fasim.network import Network
from fasim.rules import Rule, training_step
from fasim.schedule import CLASSES, PHASES, Schedule, StepSettings, Tensor, peak_bytes, peak_elements

BASELINE = "bp"
_DEFAULT_SETTINGS = StepSettings()


@dataclass(frozen=True)
class Estimate:
    """What one training sample costs: the step at the stated batch size divided by N.

    Parameters
    ----------
    network, rule, datapath, processor, order, fuse, versus : str
        What was asked for; `versus` is the rule that ratios are taken to.
    options : CostOptions
    batch_size : int
        N.
    energy_pj_per_sample : Interval
        All constants low, typical, high.
    energy_ratio_to_bp : Interval
        Energy over that of `versus` (backpropagation, unless another is named) with everything else equal: at typical
        constants, and the smallest and largest over all of their intervals, the same constants for both.
    macs_per_sample, macs_per_sample_bp : int or float
        Multiply-accumulates, of `versus` the second; int if N divides them.
    operations_per_step : dict
        Operations of the whole step by phase and kind.
    words_per_step : dict
        Words of the whole step through all memories' ports by tensor class, ``read`` and ``write``.
    phase_pj_per_sample : dict
        Typical energy by phase.
    class_pj_per_sample : dict
        Typical energy of the memory traffic by tensor class, and of all ``operations``.
    level_pj_per_sample : dict
        Typical energy by memory, and of all ``operations``.
    layer_pj_per_sample : dict
        Typical energy by layer.
    memories : tuple of Memory
        What lives where.
    weights, feedback_entries : int
        Elements of all weights, and of all feedback that is stored or made anew.
    peak_activation_bytes, peak_activation_elements : float, int
        Most of the activations (class ``act``, the input included) that live at once.
    peak_live_bytes : float
        Most bytes of everything, parameters included, that live at once.
    feedback_bytes : float
        Bytes of all feedback that is stored, places of non-zeros included: a matrix that layers share counts once, one that
        a shift register makes anew not at all.
    table_bytes : float
        Of look-up tables, which count in the peak and are part of the arithmetic: their reads are LUT operations.
    external_bytes : float
        Bytes of what lives in a memory outside of the chip.
    fits : bool
        Whether the memories hold everything. If not, the energy is too low.
    timing : Timing or None
        How long the step takes; None where the processor does not state how fast it is.
    rows : tuple of Row
        Everything that is paid, one line each.
    """

    network: str
    rule: str
    datapath: str
    processor: str
    order: str
    fuse: str
    versus: str
    options: CostOptions
    batch_size: int
    energy_pj_per_sample: Interval
    energy_ratio_to_bp: Interval
    macs_per_sample: int | float
    macs_per_sample_bp: int | float
    operations_per_step: dict[str, dict[str, int]]
    words_per_step: dict[str, dict[str, int]]
    phase_pj_per_sample: dict[str, float]
    class_pj_per_sample: dict[str, float]
    level_pj_per_sample: dict[str, float]
    layer_pj_per_sample: dict[int, float]
    memories: tuple[Memory, ...]
    weights: int
    feedback_entries: int
    peak_activation_bytes: float
    peak_activation_elements: int
    peak_live_bytes: float
    feedback_bytes: float
    table_bytes: float
    external_bytes: float
    fits: bool
    timing: Timing | None
    rows: tuple[Row, ...] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return everything but what is listed op by op as dicts, texts and numbers, ready for JSON."""
        content = asdict(replace(self, rows=()))
        del content["rows"]
        if content["timing"] is not None:
            del content["timing"]["ops"]
        return content


def estimate(
    network: Network | str,
    rule: str | Rule,
    datapath: Datapath | str | None = None,
    *,
    settings: StepSettings = _DEFAULT_SETTINGS,
    processor: Processor | str | Path = "generic_45nm",
    options: CostOptions = DEFAULTS,
    order_by: str = "eager",
    fuse_by: str = "none",
    versus: str | Rule = BASELINE,
    versus_options: CostOptions | None = None,
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
    options : CostOptions
        What the hardware does about padding, transposes, gradients and zeros.
    order_by, fuse_by : str
        See :func:`fasim.rules.training_step`.
    versus : str or Rule
        The rule that ratios are taken to.
    versus_options : CostOptions, optional
        What the hardware does for that rule, such as zeros measured in a run of its own; the same, if left out.

    Returns
    -------
    Estimate

    Raises
    ------
    ConfigError
        If a name is unknown, the step cannot be built, as :func:`fasim.rules.training_step` says, or `versus_options` name
        another memory.
    ProcessorError
        If the processor's file is wrong, it has no number for what is paid, or all that `versus` pays for may be free.
    """
    network = Network.parse(network) if isinstance(network, str) else network
    if isinstance(datapath, str):
        datapath = load_datapath(datapath)
    if not isinstance(processor, Processor):
        processor = load_processor(processor)
    processor = as_chosen(processor, options)
    if versus_options is not None:
        for name in ("dram", "sram_bytes"):
            given, other = getattr(options, name), getattr(versus_options, name)
            if other and other != given:
                raise ConfigError(
                    f"versus_options: {name} {other!r}, but {given!r} in options; a ratio is taken on one processor: "
                    "give the same in both"
                )

    def step_of(name: str | Rule) -> Schedule:
        return training_step(network, name, settings, datapath, order_by=order_by, fuse_by=fuse_by)

    bill = Bill(step_of(rule), processor, options)
    base = Bill(step_of(versus), processor, options if versus_options is None else versus_options)
    schedule, counts = bill.schedule, bill.counts
    low, _, high = processor.ends(bill.paid + base.paid)
    if not base.paid @ low > 0:
        raise ProcessorError(
            f"processor {processor.name}: all that a step of {base.schedule.rule} pays for costs 0 at the low "
            "end; a ratio needs a constant above 0"
        )
    rows = tuple(bill.rows())
    smallest, largest = ratio_ends(bill.paid, base.paid, low, high)
    ratio = bill.energy(bill.paid)[1] / base.energy(base.paid)[1]
    return Estimate(
        network=str(network),
        rule=schedule.rule,
        datapath=schedule.datapath,
        processor=processor.name,
        order=schedule.order,
        fuse=schedule.fuse,
        versus=base.schedule.rule,
        options=options,
        batch_size=counts.batch_size,
        energy_pj_per_sample=Interval(*bill.energy(bill.paid)),
        # rounding must not leave the typical point outside of its interval
        energy_ratio_to_bp=Interval(min(smallest, ratio), ratio, max(largest, ratio)),
        macs_per_sample=bill.macs_per_sample,
        macs_per_sample_bp=base.macs_per_sample,
        operations_per_step={phase: _operations(counts, phase) for phase in PHASES},
        words_per_step=_words(rows),
        phase_pj_per_sample=dict.fromkeys(PHASES, 0.0) | _typical(rows, lambda row: row.phase),
        class_pj_per_sample=_typical(rows, lambda row: row.part),
        level_pj_per_sample=_typical(rows, lambda row: row.level or OPERATIONS_PART),
        layer_pj_per_sample=dict(sorted(_typical(rows, lambda row: row.layer).items())),
        memories=bill.memories,
        weights=sum(tensor.elements for tensor in schedule.of_class("weight")),
        feedback_entries=sum(tensor.elements for tensor in _feedback(schedule) if not tensor.is_place),
        peak_activation_bytes=peak_bytes(schedule, "act"),
        peak_activation_elements=peak_elements(schedule, "act"),
        peak_live_bytes=peak_bytes(schedule, gradients=options.gradients) + bill.copies_bytes,
        feedback_bytes=float(sum(tensor.nbytes for tensor in _feedback(schedule) if tensor.storage == "state")),
        table_bytes=peak_bytes(schedule, "table"),
        external_bytes=sum(sum(memory.needed_bytes.values()) for memory in bill.memories if memory.external),
        fits=not overflow_bytes(bill.places.values(), processor.levels),
        timing=bill.timing,
        rows=rows,
    )


def _feedback(schedule: Schedule) -> list[Tensor]:
    return [
        tensor for tensor in schedule.of_class("feedback") if tensor.storage in ("state", "generated") and not tensor.view
    ]


def _operations(counts: Counts, phase: str) -> dict[str, int]:
    """Return the operations of a phase by kind, without kinds that do not occur."""
    totals = {kind: counts.total(kind, phase) for kind in OPERATIONS}
    return {kind: total for kind, total in totals.items() if total}


def _words(rows: tuple[Row, ...]) -> dict[str, dict[str, int]]:
    """Return the words read and written by tensor class, without classes that are not moved."""
    words = {cls: {"read": 0, "write": 0} for cls in CLASSES}
    for row in rows:
        if row.level:
            words[row.part][row.kind] += row.count
    return {cls: moved for cls, moved in words.items() if any(moved.values())}


def _typical(rows: tuple[Row, ...], key: Callable[[Row], Any]) -> dict[Any, float]:
    """Return the typical energy of the rows by a key."""
    result: dict[Any, float] = {}
    for row in rows:
        result[key(row)] = result.get(key(row), 0.0) + row.pj_per_sample.typical
    return result
