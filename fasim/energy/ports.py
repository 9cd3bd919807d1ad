"""What a systolic array reads again and again: operands that stream past each tile, and sums that wait for the next.

:mod:`fasim.energy.traffic` lets each op read each operand once. An array whose multipliers hold a tile of R x C numbers
reads the others once for each tile, from the memory beside it (:mod:`fasim.energy.systolic`); memories further out still
see one read. Unfinished sums go to that memory and come back.
"""

from __future__ import annotations

from dataclasses import dataclass

from fasim.energy.gemms import gemms
from fasim.energy.processor import Processor
from fasim.energy.systolic import Array, accesses
from fasim.energy.traffic import Transfer
from fasim.schedule import Schedule
from fasim.schedule import ops as kinds


@dataclass(frozen=True)
class Ports:
    """Reads at the array's own memory.

    Parameters
    ----------
    elements : dict of int
        Elements read, by index of the op and name of the tensor.
    sums : tuple of Transfer
        Unfinished sums, written and read.
    sums_bytes : float
        Most bytes of unfinished sums of one product.
    """

    elements: dict[tuple[int, str], int]
    sums: tuple[Transfer, ...]
    sums_bytes: float


NONE = Ports({}, (), 0.0)


def array_of(processor: Processor) -> Array | None:
    """Return the processor's systolic array, if it has one."""
    if not processor.dataflow:
        return None
    rows, columns = (processor.timing[name].whole(f"timing.{name}") for name in ("rows", "columns"))
    return Array(rows, columns, processor.dataflow)


def ports(schedule: Schedule, array: Array | None) -> Ports:
    """Return what the array reads more often than once, for all matrix products of a schedule.

    Parameters
    ----------
    schedule : Schedule
    array : Array or None
        None: an arithmetic that reads each operand once.

    Returns
    -------
    Ports
    """
    if array is None:
        return NONE
    elements: dict[tuple[int, str], int] = {}
    sums: list[Transfer] = []
    sums_bytes = 0.0
    for gemm in gemms(schedule):
        op = schedule.ops[gemm.op]
        moved = accesses(gemm, array)
        signal, matrix = op.reads[0].tensor, op.reads[1].tensor
        # the gradient is act.T @ delta: its left operand is the op's second
        left, right = (matrix, signal) if op.kind in (kinds.GRAD, kinds.GRAD_CONV) else (signal, matrix)
        elements[gemm.op, left], elements[gemm.op, right] = moved.reads_a, moved.reads_w
        waiting, out = moved.reads_o, schedule[op.writes[0]]
        place = (gemm.op, op.phase, op.layer, "accumulator", f"sums.{out.name}")
        sums += [Transfer(*place, write, waiting, out.bits) for write in (True, False) if waiting]
        sums_bytes = max(sums_bytes, gemm.m * gemm.n * out.bits / 8 if waiting else 0.0)
    return Ports(elements, tuple(sums), sums_bytes)
