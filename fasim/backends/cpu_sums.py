"""Binding of sums of products in fixed point: in a register of limited width, or exact.

Exact sums come from register tiles, from a float GEMM where that is proven exact, or from a loop of integers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fasim import kernels
from fasim.backends.cpu_bind import Call
from fasim.backends.cpu_cast import Operands
from fasim.backends.cpu_tiles import factors, outer, rows_with_rows
from fasim.fixedpoint.accumulator import ORDERS, Acc
from fasim.fixedpoint.cast import limits
from fasim.fixedpoint.exact import chunk
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS
from fasim.schedule import Op

# below this many products a float GEMM has nothing to win over the integer loop
WORTH_CONVERTING = 1 << 15
# products that a float sum must hold so that adding the chunks up costs little
LEAST_CHUNK = 64
# rows of a gradient that stay in the cache between the GEMM and the conversion
ROWS_IN_CACHE = 64


def dense(op: Op, o: Operands) -> list[Call]:
    """Bind DENSE."""
    scratch: tuple[np.ndarray, ...]
    rows, weight, bias = o.rows(0), o.part.units_of(o.read[1]), _bias(op, o)
    if "accumulator" in op.attrs:
        registers = _registers(op, o, weight.shape[0])
        arguments = rows, weight, bias, op.attrs["bias_shift"], *_modes(op, o), registers, *_ends(o)
        return [(kernels.dense_accumulate, arguments)]
    shifts = op.attrs["product_shift"], op.attrs["bias_shift"]
    if (found := factors(o, weight.shape[1])) and (tiled := rows_with_rows(found, rows, weight, o.out)):
        return [*_into(o.out, tiled), add_bias(op, o)]
    if engine := _engine(op, o, weight.shape[1], o.out.size * weight.shape[1]):
        size, floats = engine
        scratch = floats(len(rows) * size), floats(len(weight) * size), floats(o.out.size)
        return [(kernels.dense_forward_gemm, (rows, weight, bias, *shifts, size, *scratch, o.out))]
    return [(kernels.dense_forward_fixed, (rows, weight, bias, *shifts, o.out))]


def conv(op: Op, o: Operands) -> list[Call]:
    """Bind CONV."""
    act, weight, out = o.map(op.reads[0]), o.shaped(op.reads[1]), o.map(op.writes[0])
    window, bias = (op.attrs["stride"], op.attrs["padding"]), _bias(op, o)
    if "accumulator" in op.attrs:
        registers = _registers(op, o, len(weight))
        arguments = act, weight, bias, op.attrs["bias_shift"], *_modes(op, o), *window, registers, out, o.counter
        return [(kernels.conv_forward_accumulate, arguments)]
    shifts = op.attrs["product_shift"], op.attrs["bias_shift"]
    return [(kernels.conv_forward_fixed, (act, weight, bias, *shifts, *window, out))]


def project(op: Op, o: Operands) -> list[Call]:
    """Bind PROJECT."""
    rows, matrix = o.rows(0), o.part.columns_of(o.read[1])
    if "accumulator" in op.attrs:
        registers = _registers(op, o, matrix.shape[1])
        return [(kernels.project_accumulate, (rows, matrix, *_modes(op, o), registers, *_ends(o)))]
    if (found := factors(o, len(matrix))) and (tiled := outer(found, rows.T, matrix, o.out.dtype)):
        return tiled.sums(o.out)
    if engine := _engine(op, o, len(matrix), o.out.size * len(matrix)):
        size, floats = engine
        scratch = floats(len(rows) * size), floats(matrix.shape[1] * size), floats(o.out.size)
        return [(kernels.project_error_gemm, (rows, matrix, size, *scratch, o.out))]
    return [(kernels.project_error_fixed, (rows, matrix, o.out))]


def project_up(op: Op, o: Operands) -> list[Call]:
    """Bind PROJECT_UP."""
    rows, matrix = o.rows(0), o.read[1].reshape(len(o.read[1]), -1)
    if "accumulator" in op.attrs:
        nothing, registers = np.zeros(len(matrix), np.int8), _registers(op, o, len(matrix))
        return [(kernels.dense_accumulate, (rows, matrix, nothing, 0, *_modes(op, o), registers, *_ends(o)))]
    if (found := factors(o, matrix.shape[1])) and (tiled := rows_with_rows(found, rows, matrix, o.out)):
        return _into(o.out, tiled)
    return [(kernels.project_up_fixed, (rows, matrix, o.out))]


def project_conv(op: Op, o: Operands) -> list[Call]:
    """Bind PROJECT_CONV, whose signal takes the shape of the maps that the convolution read."""
    delta, weight = o.map(op.reads[0]), o.shaped(op.reads[1])
    out = o.out.reshape(len(o.out), *op.attrs["in_shape"])
    window = op.attrs["stride"], op.attrs["padding"]
    if "accumulator" in op.attrs:
        registers = _registers(op, o, out.shape[3])
        arguments = delta, weight, *_modes(op, o), *window, registers, out, o.counter
        return [(kernels.conv_input_gradient_accumulate, arguments)]
    return [(kernels.conv_input_gradient_fixed, (delta, weight, *window, out))]


def grad(op: Op, o: Operands) -> list[Call]:
    """Bind GRAD: units first, first + 1, ... over the whole batch."""
    delta, act, first = o.read[0], o.read[1], o.part.start
    if "accumulator" in op.attrs:
        registers = _registers(op, o, act.shape[1])
        return [(kernels.weight_gradient_accumulate, (delta, act, first, *_ascending(op, o), registers, *_ends(o)))]
    mine = delta[:, first : first + len(o.out)]
    if (found := factors(o, len(delta))) and (tiled := outer(found, mine, act, o.out.dtype)):
        return tiled.sums(o.out)
    if engine := _engine(op, o, len(delta), o.out.size * len(delta)):
        size, floats = engine
        block = min(len(o.out), ROWS_IN_CACHE)
        scratch = floats(len(o.out) * size), floats(act.shape[1] * size), floats(block * act.shape[1])
        return [(kernels.weight_gradient_gemm, (delta, act, first, size, *scratch, o.out))]
    return [(kernels.weight_gradient_fixed, (delta, act, first, o.out))]


def grad_conv(op: Op, o: Operands) -> list[Call]:
    """Bind GRAD_CONV."""
    delta, act = (o.shaped(value) for value in op.reads)
    out = o.part.of(o.shaped(op.writes[0]))
    window = op.attrs["stride"], op.attrs["padding"]
    if "accumulator" in op.attrs:
        terms = out[0].size
        scratch = _registers(op, o, terms, len(out)), np.empty(terms, act.dtype)
        arguments = delta, act, o.part.start, *_ascending(op, o), *window, *scratch, out, o.counter
        return [(kernels.conv_weight_gradient_accumulate, arguments)]
    return [(kernels.conv_weight_gradient_fixed, (delta, act, o.part.start, *window, out))]


def grad_bias(op: Op, o: Operands) -> list[Call]:
    """Bind GRAD_BIAS: sums of deltas over samples and places."""
    delta = o.channels(op.reads[0], whole=True)
    if "accumulator" in op.attrs:
        registers = _registers(op, o, len(o.out))
        return [(kernels.bias_gradient_accumulate, (delta, o.part.start, *_ascending(op, o), registers, *_ends(o)))]
    return [(kernels.bias_gradient_fixed, (delta, o.part.start, o.out))]


def _into(out: np.ndarray, tiled: tuple[list[Call], np.ndarray]) -> list[Call]:
    """Return the calls of register tiles with their sums in `out`."""
    calls, sums = tiled
    return calls if sums is out else [*calls, (kernels.copy_fixed, (sums, out))]


def add_bias(op: Op, o: Operands) -> Call:
    """Return the call that adds the bias to a dense layer's sums of products."""
    return kernels.add_bias_fixed, (_bias(op, o), op.attrs["product_shift"], op.attrs["bias_shift"], o.out)


def _bias(op: Op, o: Operands) -> np.ndarray:
    """Return the bias, or zeros where the datapath has none."""
    bias = o.read[2] if len(op.reads) == 3 else np.zeros(o.schedule[op.reads[1]].shape[0], np.int8)
    return o.part.units_of(bias)


def _ascending(op: Op, o: Operands) -> tuple[Any, ...]:
    """Return what a register that adds in ascending order needs to know."""
    acc: Acc = op.attrs["accumulator"]
    fmt = o.schedule[op.writes[0]].format
    assert fmt is not None
    rounding = ROUNDINGS[acc.product_rounding or "TRN"]
    return op.attrs.get("product_shift", 0), rounding, *limits(fmt, acc.overflow), OVERFLOWS[acc.overflow], acc.every_mac


def _modes(op: Op, o: Operands) -> tuple[Any, ...]:
    """Return what a register needs to know, its order included."""
    acc: Acc = op.attrs["accumulator"]
    return *_ascending(op, o), ORDERS.index(acc.order), acc.width


def _registers(op: Op, o: Operands, columns: int, rows: int = 0) -> np.ndarray:
    """Return scratch for registers; 32 bits where a register and an addend surely fit."""
    acc: Acc = op.attrs["accumulator"]
    formats = [o.schedule[value].format for value in op.reads[:2]]
    bits = sum(fmt.bits for fmt in formats if fmt is not None) + max(0, -op.attrs.get("product_shift", 0))
    narrow = acc.every_mac and acc.order != "tree" and max(bits, acc.bits) < 31
    lanes = {"ascending": 1, "lanes": acc.width, "tree": 2}[acc.order]
    return np.zeros((rows or lanes, columns), np.int32 if narrow else np.int64)


def _ends(o: Operands) -> tuple[np.ndarray, np.ndarray | None]:
    return o.out, o.counter


def _engine(op: Op, o: Operands, terms: int, products: int) -> tuple[int, Callable[[int], np.ndarray]] | None:
    """Return how many products a float type adds exactly, and what makes scratch of it; None where integers do it.

    float32 is taken where its window holds at least a few dozen products, else float64.
    """
    first, second = (o.schedule[value].format for value in op.reads[:2])
    if products < WORTH_CONVERTING or first is None or second is None:
        return None
    for dtype in (np.float32, np.float64):
        size = min(chunk(first, second, dtype), terms)
        if size >= min(LEAST_CHUNK, terms):
            return size, partial(np.empty, dtype=dtype)
    return None
