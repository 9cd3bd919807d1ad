"""The matrix products of a schedule, in the form that accelerators and their simulators know: M x K times K x N.

N batch, I inputs, J units of the layer, K outputs; a convolution from I channels to J, with R x S kernels and U x V places,
stands as the product that its unrolled windows make (im2col; its way back sums them up, col2im):

======================= ============ ============ ============
op                      m            n            k
======================= ============ ============ ============
DENSE                   N            J            I
PROJECT, any matrix     N            units below  rows of the matrix
PROJECT_UP              N            units above  columns of the matrix
GRAD                    I            J            N
CONV                    N U V        J            R S I
PROJECT_CONV            N U V        R S I        J
GRAD_CONV               R S I        J            N U V
======================= ============ ============ ============

``m n k`` is the number of multiply-accumulates that :mod:`fasim.energy.operations` counts for the op, padding included
(additions, where an operand is a sign). PROJECT_ELL and PROJECT_CSR are no such product, a SELECT is none at all: both are
left out, like all ops that are not costed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fasim.schedule import Op, Schedule, Value
from fasim.schedule import ops as kinds
from fasim.schedule.emitter import CLEAN

_GRADIENTS = (kinds.GRAD, kinds.GRAD_CONV)
_CONVS = (kinds.CONV, kinds.PROJECT_CONV, kinds.GRAD_CONV)
MATRIX_KINDS = (kinds.DENSE, kinds.PROJECT, kinds.PROJECT_UP, kinds.GRAD, *_CONVS)


@dataclass(frozen=True)
class ConvShape:
    """The convolution that a product belongs to, whichever of its three directions the product is.

    Parameters
    ----------
    batch : int
        N.
    in_height, in_width, in_channels : int
        Of the maps that it reads going forward.
    out_height, out_width, out_channels : int
    kernel_height, kernel_width : int
    stride, padding : int
        The same along both axes.
    """

    batch: int
    in_height: int
    in_width: int
    in_channels: int
    out_height: int
    out_width: int
    out_channels: int
    kernel_height: int
    kernel_width: int
    stride: int
    padding: int


@dataclass(frozen=True)
class Gemm:
    """A matrix product ``(m, k) @ (k, n)`` of a schedule.

    Parameters
    ----------
    op : int
        Index of the op in the schedule.
    phase : str
    layer : int
    name : str
        Unique in its schedule: ``forward.2``; ``error.1`` through weights, ``feedback.1`` through a feedback matrix,
        by its name (``_up`` if from inputs to units); ``gradient.2`` of weights, ``gradient_feedback.1``; those of the
        fast gradient sign pass begin with ``clean.``.
    m, n, k : int
        Rows and columns of the result, and what is summed over.
    conv : ConvShape or None
        None for dense layers and feedback.
    """

    op: int
    phase: str
    layer: int
    name: str
    m: int
    n: int
    k: int
    conv: ConvShape | None = None

    @property
    def products(self) -> int:
        """Multiply-accumulates, ``m n k``."""
        return self.m * self.n * self.k


def gemms(schedule: Schedule) -> list[Gemm]:
    """Return the matrix products of a step in the order of its ops, by the table on top of this module.

    Parameters
    ----------
    schedule : Schedule
        Of any datapath, order and fusion.

    Returns
    -------
    list of Gemm
        Options that skip zeros or padding change no shape.
    """
    return [
        Gemm(index, op.phase, op.layer, _name(schedule, op), *_sizes(schedule, op), _conv(schedule, op))
        for index, op in enumerate(schedule.ops)
        if op.costed and op.kind in MATRIX_KINDS
    ]


def _sizes(schedule: Schedule, op: Op) -> tuple[int, int, int]:
    """Return m, n, k."""
    left, right, out = (schedule[value] for value in (*op.reads[:2], op.writes[0]))
    if op.kind in _GRADIENTS:
        units, inputs = out.shape[0], math.prod(out.shape[1:])
        return inputs, units, left.elements // units
    rows, columns = right.shape[0], math.prod(right.shape[1:])
    if op.kind in (kinds.PROJECT, kinds.PROJECT_CONV):
        return left.elements // rows, columns, rows
    return out.elements // rows, rows, columns


def _name(schedule: Schedule, op: Op) -> str:
    written = op.writes[0].tensor
    # a cast gives its source a name of its own: accumulator.clean.preact.1
    clean = CLEAN if f".{CLEAN}" in f".{written}" else ""
    if op.phase == "forward":
        root = "forward"
    elif op.kind in _GRADIENTS:
        root = "gradient_feedback" if "feedback" in written else "gradient"
    else:
        matrix = op.reads[1].tensor
        root = "error" if schedule[matrix].cls == "weight" else matrix.rpartition(".")[0]
        root += "_up" if op.kind == kinds.PROJECT_UP else ""
    return f"{clean}{root}.{op.layer}"


def _conv(schedule: Schedule, op: Op) -> ConvShape | None:
    if op.kind not in _CONVS:
        return None

    def shape(value: Value) -> tuple[int, ...]:
        return schedule[value].shape

    match op.kind:
        case kinds.CONV:
            wide, narrow, kernel = shape(op.reads[0]), shape(op.writes[0]), shape(op.reads[1])
        case kinds.PROJECT_CONV:
            # the signal that it writes is a row for each sample
            narrow, kernel = shape(op.reads[0]), shape(op.reads[1])
            wide = (narrow[0], *op.attrs["in_shape"])
        case _:
            narrow, wide, kernel = shape(op.reads[0]), shape(op.reads[1]), shape(op.writes[0])
    return ConvShape(*(*wide, *narrow[1:], *kernel[1:3], op.attrs["stride"], op.attrs["padding"]))
