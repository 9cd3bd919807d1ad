"""Which memory each tensor class lives in, and what then crosses each memory's ports.

Memory by memory, from the arithmetic outwards, those classes live there that fit together and of which the most bits move,
read or written; a class needs room for the most of it that is ever live at once, and is not split. (Weights first, as
is often assumed, can make a larger memory the dearer one: a class that is seldom touched drives others out.) What the last
memory cannot hold is put there all the same, and reported: the step does not fit.

A value that lives further out crosses every memory on its way: a read from DRAM is also a write into and a read from the
SRAM and the registers before it, and a write the other way round. What an array reads again and again, and its unfinished
sums, cross the ports of the memory beside it (:mod:`fasim.energy.ports`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from fasim.energy.options import CostOptions
from fasim.energy.ports import array_of, ports
from fasim.energy.processor import Level, Processor
from fasim.energy.traffic import Transfer, read_both_ways, sums_by_rows
from fasim.schedule import CLASSES, Schedule, peak_bytes

# a memory of this name is part of the arithmetic: the memory behind it is the one that is read against its order, and again
REGISTERS = "registers"


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


def needed_bytes(schedule: Schedule, processor: Processor, options: CostOptions) -> dict[str, float]:
    """Return the most bytes of each tensor class that are live at once, of those that need any."""
    needed = {cls: peak_bytes(schedule, cls, gradients=options.gradients) for cls in CLASSES if cls != "table"}
    if options.transpose == "duplicate":
        stored = (schedule[name] for name in read_both_ways(schedule) if schedule[name].storage != "generated")
        # slices of a shared matrix are one copy
        for name in {tensor.view or tensor.name for tensor in stored}:
            needed[schedule[name].cls] += schedule[name].nbytes
    unfinished = ports(schedule, array_of(processor)).sums_bytes
    if options.transpose == "row_accumulate":
        unfinished = max(unfinished, *(sums.nbytes for sums in sums_by_rows(schedule)), 0.0)
    needed["accumulator"] += unfinished
    return {cls: size for cls, size in needed.items() if size}


def allocate(
    schedule: Schedule, transfers: Iterable[Transfer], processor: Processor, options: CostOptions
) -> dict[str, Place]:
    """Return the place of each tensor class that needs one."""
    needed = needed_bytes(schedule, processor, options)
    bits = dict.fromkeys(needed, 0)
    for transfer in (*transfers, *ports(schedule, array_of(processor)).sums):
        if transfer.cls in bits:
            bits[transfer.cls] += transfer.elements * transfer.bits
    places: dict[str, Place] = {}
    for index, level in enumerate(processor.levels):
        left = [cls for cls in needed if cls not in places]
        last = index == len(processor.levels) - 1
        kept = left if last else _most_moved(left, needed, bits, level.capacity_bytes)
        places |= {cls: Place(cls, index, needed[cls]) for cls in kept}
    return places


def _most_moved(classes: list[str], needed: dict[str, float], bits: dict[str, int], room: float) -> list[str]:
    """Return those classes that fit together and of which the most bits move; of equals, those that need the least room.

    All 2^n choices are looked at (n at most 19): then more room never moves more bits further out, as taking one class
    after the other may.
    """
    fitting = [cls for cls in classes if needed[cls] <= room]
    if sum(needed[cls] for cls in fitting) <= room:
        return fitting
    choices = (np.arange(2 ** len(fitting))[:, np.newaxis] >> np.arange(len(fitting))) & 1
    sizes = choices @ np.array([needed[cls] for cls in fitting])
    moved = choices @ np.array([float(bits[cls]) for cls in fitting])
    best = np.lexsort((sizes, np.where(sizes <= room, -moved, np.inf)))[0]
    return [cls for cls, chosen in zip(fitting, choices[best], strict=True) if chosen]


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
            if index <= picked and not transfer.write:
                read = replace(read, elements=again.elements.get((transfer.op, transfer.tensor), transfer.elements))
            result.append(Move(transfer, index, transfer.write, read.words_of(levels[index].word_bits)))
            if index < home:
                into = read if index < picked else packed
                result.append(Move(transfer, index, not transfer.write, into.words_of(levels[index].word_bits)))
    return result
