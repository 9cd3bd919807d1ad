"""What a schedule moves between the arithmetic and the memory.

The rules, the same for every learning rule:

- Each op reads every operand once and writes every result once: perfect reuse inside an op.
- Values of storage ``register`` or ``generated`` have no traffic; look-up tables are charged as LUT operations;
  ``Op.scalars`` are free.
- Within one fusion group (``Op.group`` equal and not empty) a value that the group itself writes is not read again, and a
  value that several of its ops read is read once, by the first. What it writes is written, unless it is a register.
- SELECT reads the rows that the labels choose: at most N of the K rows of its matrix, each once.
- A transfer of one tensor takes ``ceil(elements * bits / word_bits)`` words: elements lie packed. Weights that are read
  against their order (PROJECT, where the forward pass reads them too) are charged as ``transpose`` says.
- The rank-1 update at N = 1 has its gradient in a register; UPDATE reads and writes the weight (or its master) once, or
  only the rows with a delta other than 0 where zeros are skipped; a forward pass in the same group reads the other rows.
- Ops that are not costed move nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

from fasim.energy.options import DEFAULTS, CostOptions
from fasim.schedule import Op, Schedule, Tensor, Value
from fasim.schedule import ops as kinds

WORD_BITS = 64

# ops that read a matrix in the order in which its rows are stored, and those that read it by columns
_BY_ROWS = (kinds.DENSE, kinds.CONV, kinds.PROJECT_UP)
_BY_COLUMNS = (kinds.PROJECT, kinds.PROJECT_CONV)


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
    elements, bits : int
        How many, and how wide each is.
    scattered : bool
        Whether each element has a word of its own.
    word_bits : int
        Of the memory that :attr:`words` are counted for.
    """

    op: int
    phase: str
    layer: int
    cls: str
    tensor: str
    write: bool
    elements: int
    bits: int
    scattered: bool = False
    word_bits: int = WORD_BITS

    @property
    def words(self) -> int:
        """Accesses to a memory whose words have `word_bits`."""
        return self.words_of(self.word_bits)

    def words_of(self, word_bits: int) -> int:
        """Return the accesses to a memory with other words."""
        if self.scattered:
            return self.elements * math.ceil(self.bits / word_bits)
        return math.ceil(self.elements * self.bits / word_bits)


def transfers(schedule: Schedule, word_bits: int = WORD_BITS, options: CostOptions = DEFAULTS) -> list[Transfer]:
    """Return all transfers of a step, by the rules on top of this module."""
    result: list[Transfer] = []
    # by group, the share of a value that the group has read or written
    at_hand: dict[str, dict[Value, float]] = defaultdict(dict)
    both_ways = read_both_ways(schedule) if options.transpose != "free" else frozenset()
    rows = rows_moved(schedule, options)

    def move(index: int, op: Op, tensor: Tensor, elements: int, write: bool, scattered: bool = False) -> None:
        place = (index, op.phase, op.layer, tensor.cls, tensor.name)
        result.append(Transfer(*place, write, elements, tensor.bits, scattered, word_bits))

    for index, op in enumerate(schedule.ops):
        if not op.costed:
            continue
        here, share = at_hand[op.group] if op.group else {}, rows(op)
        for value in op.reads:
            tensor, missing = schedule[value], share - here.get(value, 0.0)
            if missing > 0 and _in_memory(tensor):
                against = op.kind in _BY_COLUMNS and tensor.name in both_ways
                scattered = against and options.transpose == "inefficient"
                move(index, op, tensor, round(missing * elements_read(schedule, op, value)), False, scattered)
                if against and options.transpose == "row_accumulate":
                    sums = _sums(schedule, op)
                    for write in (True, False):
                        move(index, op, sums, sums.elements * (tensor.shape[0] - 1), write)
            here[value] = max(share, here.get(value, 0.0))
        for value in op.writes:
            tensor = schedule[value]
            if _in_memory(tensor):
                elements = round(share * tensor.elements)
                move(index, op, tensor, elements, True)
                if tensor.name in both_ways and options.transpose == "duplicate":
                    move(index, op, tensor, elements, True)
            here[value] = share
    return result


def read_both_ways(schedule: Schedule) -> frozenset[str]:
    """Return the matrices that some op reads by rows and another by columns: against the order of a plain memory."""
    by_rows, by_columns = (
        {op.reads[1].tensor for op in schedule.ops if op.costed and op.kind in way} for way in (_BY_ROWS, _BY_COLUMNS)
    )
    return frozenset(by_rows & by_columns)


def _sums(schedule: Schedule, op: Op) -> Tensor:
    """Return the running sums of a product by columns that goes through the matrix by rows."""
    out = schedule[op.writes[0]]
    return replace(out, name=f"sums.{out.name}", cls="accumulator", storage="temp")


def sums_by_rows(schedule: Schedule) -> list[Tensor]:
    """Return the running sums of all products by columns that would go through their matrix by rows."""
    both_ways = read_both_ways(schedule)
    return [
        _sums(schedule, op)
        for op in schedule.ops
        if op.kind in _BY_COLUMNS and op.reads[1].tensor in both_ways and _in_memory(schedule[op.reads[1]])
    ]


def _in_memory(tensor: Tensor) -> bool:
    return tensor.storage not in ("register", "table", "generated")


def elements_read(schedule: Schedule, op: Op, value: Value) -> int:
    """Return how many elements of an operand an op reads."""
    tensor = schedule[value]
    if op.kind == kinds.SELECT and value == op.reads[1]:
        rows, *row = tensor.shape
        return min(rows, schedule.batch_size) * math.prod(row)
    return tensor.elements


def rows_moved(schedule: Schedule, options: CostOptions) -> Callable[[Op], float]:
    """Return which share of its rows an op moves: an update of rank one leaves alone those with a delta of 0."""
    share = {
        op.writes[0]: options.density(op.reads[0].tensor)
        for op in schedule.find(kinds.GRAD)
        if options.skips_acts and not op.attrs.get("materialised", True)
    }
    # what remembers earlier gradients, or decays, moves all rows
    moved = {
        op.writes[0]: share[op.reads[1]]
        for op in schedule.find(kinds.UPDATE)
        if op.reads[1] in share and len(op.reads) == 2 and not op.attrs.get("decay") and op.attrs.get("decay_shift", -1) < 0
    }

    def rows(op: Op) -> float:
        if op.kind == kinds.UPDATE:
            return moved.get(op.writes[0], 1.0)
        return moved.get(op.reads[0], 1.0) if op.kind == kinds.REQUANT else 1.0

    return rows
