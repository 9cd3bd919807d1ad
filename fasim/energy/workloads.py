"""The matrix products of a schedule as input files of other tools: SCALE-Sim 3 and ZigZag 3.9.

ZigZag's loops are named alike in all directions, so that one spatial mapping (K by C, say) fits them all: B samples, K what
a dense product gives, C what it takes; of a convolution K and C its channels, OY OX its places, FY FX its kernel.

============== ============================================================= =========== ===========
ops            equation                                                      I           W
============== ============================================================= =========== ===========
DENSE, PROJECT ``O[b][k]+=W[k][c]*I[b][c]``                                  act, signal the matrix
GRAD           ``O[k][c]+=I[b][k]*W[b][c]``                                  delta       act
CONV           ``O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]``          act         weight
PROJECT_CONV   ``O[b][c][iy][ix]+=W[k][c][fy][fx]*I[b][k][oy][ox]``          signal      weight
GRAD_CONV      ``O[k][c][fy][fx]+=W[b][k][oy][ox]*I[b][c][iy][ix]``          act         delta
============== ============================================================= =========== ===========

What neither tool knows is not in the files: ops on elements, sparse feedback, values made anew by a shift register, and
updates. Each layer stands alone: all its operands come from memory and its result goes there, so that ZigZag charges even a
gradient that goes straight into the weights (N = 1).
"""

from __future__ import annotations

from fasim.energy.gemms import ConvShape, Gemm, gemms
from fasim.schedule import Op, Schedule
from fasim.schedule import ops as kinds

_EQUATIONS = {
    kinds.GRAD: "O[k][c]+=I[b][k]*W[b][c]",
    kinds.CONV: "O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]",
    kinds.PROJECT_CONV: "O[b][c][iy][ix]+=W[k][c][fy][fx]*I[b][k][oy][ox]",
    kinds.GRAD_CONV: "O[k][c][fy][fx]+=W[b][k][oy][ox]*I[b][c][iy][ix]",
}
_PRODUCT = "O[b][k]+=W[k][c]*I[b][c]"


def scalesim_csv(schedule: Schedule) -> str:
    """Return the matrix products as a topology file of SCALE-Sim 3 (``-i gemm``): a row of name, M, N, K for each.

    Convolutions stand there as products too, see :mod:`fasim.energy.gemms`.

    Parameters
    ----------
    schedule : Schedule

    Returns
    -------
    str
        CSV; SCALE-Sim drops what follows the last comma of a row.
    """
    rows = [f"{gemm.name},{gemm.m},{gemm.n},{gemm.k}," for gemm in gemms(schedule)]
    return "\n".join(["Layer,M,N,K,", *rows, ""])


def zigzag_workload(schedule: Schedule) -> str:
    """Return the matrix products as a workload file of ZigZag 3.9, by the table on top of this module.

    Precisions are the bits of the tensors: ``O`` of the sums, ``O_final`` after the cast that follows them.

    Parameters
    ----------
    schedule : Schedule

    Returns
    -------
    str
        YAML.
    """
    return "".join(_layer(schedule, number, gemm) for number, gemm in enumerate(gemms(schedule)))


def _layer(schedule: Schedule, number: int, gemm: Gemm) -> str:
    op = schedule.ops[gemm.op]
    lines = [
        f"- id: {number}",
        f"  name: {gemm.name}",
        f"  operator_type: {'Conv' if gemm.conv else 'Gemm'}",
        f"  equation: {_EQUATIONS.get(op.kind, _PRODUCT)}",
        *_loops(gemm, op),
        f"  operand_precision: {_precision(schedule, op)}",
        # its own number: from memory, not from another layer
        f"  operand_source: {{I: {number}, W: {number}}}",
        "",
    ]
    return "\n".join(lines)


def _loops(gemm: Gemm, op: Op) -> list[str]:
    if gemm.conv:
        return _conv_loops(gemm.conv)
    sizes = (gemm.k, gemm.n, gemm.m) if op.kind == kinds.GRAD else (gemm.m, gemm.n, gemm.k)
    return ["  loop_dims: [B, K, C]", f"  loop_sizes: {list(sizes)}"]


def _conv_loops(conv: ConvShape) -> list[str]:
    sizes = [conv.batch, conv.out_channels, conv.in_channels]
    sizes += [conv.out_height, conv.out_width, conv.kernel_height, conv.kernel_width]
    height, above = _covered(conv.in_height, conv.out_height, conv.kernel_height, conv)
    width, beside = _covered(conv.in_width, conv.out_width, conv.kernel_width, conv)
    return [
        "  loop_dims: [B, K, C, OY, OX, FY, FX]",
        f"  loop_sizes: {sizes}",
        f'  dimension_relations: ["iy={conv.stride}*oy+1*fy", "ix={conv.stride}*ox+1*fx"]',
        "  pr_loop_dims: [IY, IX]",
        f"  pr_loop_sizes: {[height, width]}",
        f"  padding: {[above, beside]}",
    ]


def _covered(size: int, places: int, kernel: int, conv: ConvShape) -> tuple[int, list[int]]:
    """Return the length of a map that the windows reach, and the padding that they use before and after it."""
    extent = (places - 1) * conv.stride + kernel
    return min(size, extent - conv.padding), [conv.padding, max(0, extent - conv.padding - size)]


def _precision(schedule: Schedule, op: Op) -> str:
    left, right = (schedule[value].bits for value in op.reads[:2])
    # delta is what a gradient reads first
    inputs, weights = (right, left) if op.kind == kinds.GRAD_CONV else (left, right)
    sums = op.writes[0]
    casts = (cast.writes[0] for cast in schedule.find(kinds.REQUANT) if cast.reads[0] == sums)
    final = schedule[next(casts, sums)].bits
    return f"{{I: {inputs}, W: {weights}, O: {schedule[sums].bits}, O_final: {final}}}"
