"""What a schedule moves between the arithmetic and the memory.

The rules, the same for every learning rule:

- Each op reads every operand once and writes every result once: perfect reuse inside an op.
- Values of storage ``register`` or ``generated`` have no traffic; look-up tables are charged as LUT operations;
  ``Op.scalars`` are free.
- Within one fusion group (``Op.group`` equal and not empty) a value that the group itself writes is not read again, and a
  value that several of its ops read is read once, by the first. What it writes is written, unless it is a register.
- SELECT reads the rows that the labels choose: at most N of the K rows of its matrix, each once.
- A transfer of one tensor takes ``ceil(elements * bits / word_bits)`` words: elements lie packed.
- The rank-1 update at N = 1 has its gradient in a register; UPDATE reads and writes the weight (or its master) once.
- Ops that are not costed move nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

from fasim.schedule import Op, Schedule, Tensor, Value
from fasim.schedule import ops as kinds

WORD_BITS = 64


@dataclass(frozen=True)
class Transfer:
    """One tensor (or the rows of it that are needed) that an op reads or writes.

    Parameters
    ----------
    op : int
        Index of the op in the schedule.
    phase : str
    layer : int
    cls : str
        Tensor class, one of :data:`fasim.schedule.CLASSES`.
    tensor : str
    write : bool
        Written, else read.
    elements, words : int
    """

    op: int
    phase: str
    layer: int
    cls: str
    tensor: str
    write: bool
    elements: int
    words: int


def transfers(schedule: Schedule, word_bits: int = WORD_BITS) -> list[Transfer]:
    """Return all transfers of a step, by the rules on top of this module."""
    result: list[Transfer] = []
    at_hand: dict[str, set[Value]] = defaultdict(set)

    def move(index: int, op: Op, tensor: Tensor, elements: int, write: bool) -> None:
        words = math.ceil(elements * tensor.bits / word_bits)
        place = (index, op.phase, op.layer, tensor.cls, tensor.name)
        result.append(Transfer(*place, write, elements, words))

    for index, op in enumerate(schedule.ops):
        if not op.costed:
            continue
        here = at_hand[op.group] if op.group else set()
        for value in op.reads:
            if value not in here and _in_memory(schedule[value]):
                move(index, op, schedule[value], elements_read(schedule, op, value), False)
            here.add(value)
        for value in op.writes:
            if _in_memory(schedule[value]):
                move(index, op, schedule[value], schedule[value].elements, True)
            here.add(value)
    return result


def _in_memory(tensor: Tensor) -> bool:
    return tensor.storage not in ("register", "table", "generated")


def elements_read(schedule: Schedule, op: Op, value: Value) -> int:
    """Return how many elements of an operand an op reads."""
    tensor = schedule[value]
    if op.kind == kinds.SELECT and value == op.reads[1]:
        rows, *row = tensor.shape
        return min(rows, schedule.batch_size) * math.prod(row)
    return tensor.elements
