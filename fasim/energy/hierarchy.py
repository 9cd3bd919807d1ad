"""Which memory each tensor class lives in, and what then crosses each memory's ports.

A class lives in the nearest memory that still has room for the most of it that is ever live at once; what is used most
often chooses first: weights, then feedback, then activations. Nothing is split. What the last memory cannot hold is put
there all the same, and reported: the step does not fit.

A value that lives further out crosses every memory on its way: a read from DRAM is also a write into and a read from the
SRAM and the registers before it, and a write the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fasim.energy.options import CostOptions
from fasim.energy.ports import array_of, ports
from fasim.energy.processor import Level, Processor
from fasim.energy.traffic import Transfer, read_both_ways, sums_by_rows
from fasim.schedule import CLASSES, Schedule, peak_bytes

REGISTERS = "registers"
# who chooses first; classes that are not named come after, in the order of CLASSES
_FIRST = ("weight", "bias", "norm", "feedback", "master", "state", "act", "accumulator")
ORDER = (*_FIRST, *(cls for cls in CLASSES if cls not in _FIRST))


@dataclass(frozen=True)
class Place:
    """Where a tensor class lives.

    Parameters
    ----------
    cls : str
    level : int
        Index into the processor's levels.
    needed_bytes : float
        Most bytes of the class that are live at once.
    """

    cls: str
    level: int
    needed_bytes: float


@dataclass(frozen=True)
class Move:
    """Words of one tensor that cross the port of one memory.

    Parameters
    ----------
    transfer : Transfer
        Why.
    level : int
        Index into the processor's levels.
    write : bool
        Into that memory, else out of it.
    words : int
    """

    transfer: Transfer
    level: int
    write: bool
    words: int


def needed_bytes(schedule: Schedule, options: CostOptions) -> dict[str, float]:
    """Return the most bytes of each tensor class that are live at once, of those that need any."""
    needed = {cls: peak_bytes(schedule, cls, gradients=options.gradients) for cls in CLASSES if cls != "table"}
    if options.transpose == "duplicate":
        for name in read_both_ways(schedule):
            needed[schedule[name].cls] += schedule[name].nbytes
    if options.transpose == "row_accumulate":
        needed["accumulator"] += max((sums.nbytes / sums.shape[0] for sums in sums_by_rows(schedule)), default=0.0)
    return {cls: size for cls, size in needed.items() if size}


def allocate(schedule: Schedule, processor: Processor, options: CostOptions) -> dict[str, Place]:
    """Return the place of each tensor class that needs one."""
    needed = needed_bytes(schedule, options)
    free = [float(level.capacity_bytes) for level in processor.levels]
    places = {}
    for cls in (cls for cls in ORDER if cls in needed):
        level = next((i for i, room in enumerate(free) if needed[cls] <= room), len(free) - 1)
        free[level] -= needed[cls]
        places[cls] = Place(cls, level, needed[cls])
    return places


def overflow_bytes(places: Iterable[Place], levels: tuple[Level, ...]) -> float:
    """Return by how many bytes the last memory is too small; 0 if all fits."""
    last = len(levels) - 1
    return max(0.0, sum(place.needed_bytes for place in places if place.level == last) - levels[last].capacity_bytes)


def moves(schedule: Schedule, transfers: Iterable[Transfer], places: dict[str, Place], processor: Processor) -> list[Move]:
    """Return what crosses each port, for each transfer from its home to the arithmetic or back."""
    levels, again = processor.levels, ports(schedule, array_of(processor))
    # what is read against its order is picked out of the first memory behind the registers; further out whole words move
    picked = next((index for index, level in enumerate(levels) if level.name != REGISTERS), 0)
    result = []
    for transfer in (*transfers, *again.sums):
        home = places[transfer.cls].level if transfer.cls in places else 0
        packed = replace(transfer, scattered=False)
        for index in range(home + 1):
            read = transfer if index == min(picked, home) else packed
            if index == 0 and not transfer.write:
                read = replace(read, elements=again.elements.get((transfer.op, transfer.tensor), transfer.elements))
            result.append(Move(transfer, index, transfer.write, read.words_of(levels[index].word_bits)))
            if index < home:
                result.append(Move(transfer, index, not transfer.write, packed.words_of(levels[index].word_bits)))
    return result
