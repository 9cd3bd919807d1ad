"""What one training step pays on a processor: the rows of its bill, what lives in which memory, and its time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fasim.energy.counts import count
from fasim.energy.hierarchy import Place, allocate, moves, needed_bytes
from fasim.energy.options import DEFAULTS, CostOptions
from fasim.energy.price import Prices, Vector
from fasim.energy.processor import Processor
from fasim.energy.timing import Timing, time_step
from fasim.schedule import CLASSES, Schedule, peak_bytes

OPERATIONS_PART = "operations"


@dataclass(frozen=True)
class Interval:
    """A number over the interval of the processor's constants."""

    low: float
    typical: float
    high: float


@dataclass(frozen=True)
class Row:
    """One line of the tidy table of a step: equal operations, or words of one tensor class through one memory's port.

    Parameters
    ----------
    phase : str
    layer : int
    part : str
        ``operations``, or a tensor class.
    kind : str
        A kind of operation, or ``read`` or ``write``.
    level : str
        Name of the memory; empty for operations.
    count : int
        Operations or words of the whole step.
    pj_per_sample : Interval
    """

    phase: str
    layer: int
    part: str
    kind: str
    level: str
    count: int
    pj_per_sample: Interval


@dataclass(frozen=True)
class Memory:
    """One memory of the processor and what lives there.

    Parameters
    ----------
    name, technology : str
    capacity_bytes, word_bits : int
    external : bool
    needed_bytes : dict of float
        By tensor class, most bytes that are live at once.
    """

    name: str
    technology: str
    capacity_bytes: int
    word_bits: int
    external: bool
    needed_bytes: dict[str, float]


def as_chosen(processor: Processor, options: CostOptions) -> Processor:
    """Return the processor with the memories that the options choose.

    Raises
    ------
    ConfigError
        If it has no such memory.
    """
    chosen = processor.with_dram(options.dram)
    return chosen.with_capacity("sram", options.sram_bytes) if options.sram_bytes else chosen


def time_training(schedule: Schedule, processor: Processor, options: CostOptions = DEFAULTS) -> Timing | None:
    """Return how long a step takes, also on a processor whose energies no one has published.

    Parameters
    ----------
    schedule : Schedule
    processor : Processor
    options : CostOptions

    Returns
    -------
    Timing or None
        None where the processor states nothing of its speed.
    """
    return Bill(schedule, as_chosen(processor, options), options).timing


class Bill:
    """What one step pays, for its operations and for every word through every memory's port.

    Parameters
    ----------
    schedule : Schedule
    processor : Processor
        With one technology of its external memory, see :func:`as_chosen`.
    options : CostOptions
    """

    def __init__(self, schedule: Schedule, processor: Processor, options: CostOptions) -> None:
        self.schedule, self.processor, self.prices = schedule, processor, Prices(processor)
        self.counts = count(schedule, options=options)
        self.places: dict[str, Place] = {}
        if processor.levels:
            self.places = allocate(schedule, self.counts.traffic, processor, options)
        self.moves = moves(schedule, self.counts.traffic, self.places, processor) if processor.levels else []
        self.paid = self.prices.operations(self.counts.operations) + self.prices.moves(self.moves)
        self.timing = time_step(schedule, self.counts, self.moves, processor)
        # how many bytes the choices of the hardware add to what the schedule says
        self.copies_bytes = sum(needed_bytes(schedule, processor, options).values()) - sum(
            peak_bytes(schedule, cls, gradients=options.gradients) for cls in CLASSES if cls != "table"
        )

    @property
    def macs_per_sample(self) -> int | float:
        """Multiply-accumulates; int if N divides them."""
        macs, rest = divmod(self.counts.macs, self.counts.batch_size)
        return self.counts.macs / self.counts.batch_size if rest else macs

    def energy(self, paid: Vector) -> tuple[float, float, float]:
        """Return pJ per sample with all constants low, typical and high."""
        low, typical, high = (float(paid @ end) / self.counts.batch_size for end in self.ends)
        return low, typical, high

    @cached_property
    def ends(self) -> tuple[Vector, ...]:
        """Low, typical and high ends of all prices."""
        return self.processor.ends(self.paid)

    @property
    def memories(self) -> tuple[Memory, ...]:
        """What lives where."""
        return tuple(
            Memory(
                level.name,
                level.technology,
                level.capacity_bytes,
                level.word_bits,
                level.external,
                {place.cls: place.needed_bytes for place in self.places.values() if place.level == index},
            )
            for index, level in enumerate(self.processor.levels)
        )

    def rows(self) -> list[Row]:
        """Return the tidy table, equal lines summed."""
        amounts: dict[tuple[str, int, str, str, str], tuple[int, Vector]] = {}

        def add(key: tuple[str, int, str, str, str], number: int, paid: Vector) -> None:
            before, vector = amounts.get(key, (0, np.zeros(len(paid))))
            amounts[key] = before + number, vector + paid

        for row in self.counts.operations:
            add((row.phase, row.layer, OPERATIONS_PART, row.kind, ""), row.count, self.prices.operations([row]))
        for move in self.moves:
            why, level = move.transfer, self.processor.levels[move.level].name
            add(
                (why.phase, why.layer, why.cls, "write" if move.write else "read", level),
                move.words,
                self.prices.moves([move]),
            )
        return [Row(*key, number, Interval(*self.energy(paid))) for key, (number, paid) in amounts.items()]
