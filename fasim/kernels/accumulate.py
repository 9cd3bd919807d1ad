"""Sums in a register of limited width: what a multiply-accumulate unit computes when its accumulator is narrow.

A register is brought into ``lo .. hi`` after its bias was loaded and after each addition (`every_mac` = 1), or the exact
sum once (0). Saturation makes the order of the additions part of the result:

- ASCENDING: products in the order of k = 0, 1, ...
- LANES: `lanes` registers, product k into register k mod lanes, the bias in register 0; then registers 1, 2, ... are added
  to register 0, each time brought into range
- TREE: the exact sum of `lanes` successive products is added as one; the last group may be smaller

Each product has `product_shift` bits dropped by `product_rounding` (negative: it is shifted left) before it is added.
Padding is products of 0, added like any other. Every addition that leaves the range counts, in ``counters[0]`` for SAT,
SAT_SYM and SAT_ZERO, in ``counters[1]`` for WRAP and NUMERIC_STD.

Every function takes, after its operands:

product_shift, product_rounding : int64     a deterministic code of `fasim.scalar.rounding`
lo, hi, overflow_mode : int64               range of the register; for SAT_SYM lo = -hi
every_mac, order, lanes : int64             0 or 1; ASCENDING, LANES or TREE of `fasim.scalar.constants`; P. Gradients
                                            are ascending and take `every_mac` alone
registers : int32 or int64[P, columns]      scratch, in whose type is reckoned: a product, and a register with an addend
                                            (with `every_mac` = 0: the whole sum) must fit; P = lanes for LANES, 2 for
                                            TREE, else 1

All of a row's registers advance together, one product each, so that LLVM vectorises over them; in ascending order, with
products as they are, additions that provably stay in range are done as exact products (`fasim.kernels.proven`), to the same
bits. Each function works on a slice of the batch rows, gradients on a slice of the units; results and counts do not depend
on the division.
"""

from __future__ import annotations

import numpy as np

from fasim.kernels.compile import kernel
from fasim.kernels.proven import pack_columns, pack_rows, provable, sum_rows
from fasim.kernels.registers import add_all, add_products, count_events, finish, load_bias, transpose
from fasim.scalar.constants import ASCENDING


@kernel
def dense_accumulate(
    act,
    weight,
    bias,
    bias_shift,
    product_shift,
    product_rounding,
    lo,
    hi,
    overflow_mode,
    every_mac,
    order,
    lanes,
    registers,
    out,
    counters,
):
    """Pre-activations of a dense layer in limited registers; k = i.

    ``out[n, j] = register(bias[j] << bias_shift, act[n, i] * weight[j, i] for all i)``; with biases of 0 also the
    transport ``signal @ matrix.T`` of `project_up_fixed`

    Parameters
    ----------
    act : integer[N, I]
    weight : integer[J, I]
    bias : integer[J]
    bias_shift : int64, >= 0
    registers : int32 or int64[P, J]        scratch
    out : integer[N, J]                     written; must hold lo .. hi
    counters : int64[2]                     grow
    """
    events = np.int64(0)
    if provable(act, weight, product_shift, product_rounding, every_mac, order):
        panels, most = pack_columns(weight)
        events += out.shape[0] * load_bias(registers, bias, bias_shift, lo, hi, overflow_mode, every_mac)
        events += sum_rows(act, panels, most, registers[0], lo, hi, overflow_mode, out)
        count_events(counters, overflow_mode, events)
        return
    packed = np.empty((weight.shape[1], weight.shape[0]), weight.dtype)
    transpose(weight, packed)
    for n in range(out.shape[0]):
        events += load_bias(registers, bias, bias_shift, lo, hi, overflow_mode, every_mac)
        events += add_all(
            *(registers, act[n], packed, product_shift, product_rounding, lo, hi, overflow_mode, every_mac, order, lanes)
        )
        events += finish(registers, lo, hi, overflow_mode, every_mac, order, lanes, out[n])
    count_events(counters, overflow_mode, events)


@kernel
def project_accumulate(
    signal,
    matrix,
    product_shift,
    product_rounding,
    lo,
    hi,
    overflow_mode,
    every_mac,
    order,
    lanes,
    registers,
    out,
    counters,
):
    """Bring a signal through a matrix in limited registers, that start at 0; the entries k of the signal are the order.

    ``out[n, j] = register(0, signal[n, k] * matrix[k, j] for all k)``

    Parameters
    ----------
    signal : integer[N, K]
    matrix : integer[K, J]
    registers : int32 or int64[P, J]        scratch
    out : integer[N, J]                     written; must hold lo .. hi
    counters : int64[2]                     grow
    """
    events = np.int64(0)
    if provable(signal, matrix, product_shift, product_rounding, every_mac, order):
        panels, most = pack_rows(matrix)
        registers[:] = 0
        events += sum_rows(signal, panels, most, registers[0], lo, hi, overflow_mode, out)
        count_events(counters, overflow_mode, events)
        return
    for n in range(out.shape[0]):
        registers[:] = 0
        events += add_all(
            *(registers, signal[n], matrix, product_shift, product_rounding, lo, hi, overflow_mode, every_mac, order, lanes)
        )
        events += finish(registers, lo, hi, overflow_mode, every_mac, order, lanes, out[n])
    count_events(counters, overflow_mode, events)


@kernel
def weight_gradient_accumulate(
    delta, act, first, product_shift, product_rounding, lo, hi, overflow_mode, every_mac, registers, out, counters
):
    """Gradient of a dense layer's units first, first+1, ... in limited registers; samples ascending.

    ``out[j, i] = register(0, delta[n, first + j] * act[n, i] for all n)``

    Parameters
    ----------
    delta : integer[N, J]
    act : integer[N, I]
    first : int64                           first unit of this slice
    registers : int32 or int64[1, I]        scratch
    out : integer[j, I]                     written; must hold lo .. hi
    counters : int64[2]                     grow
    """
    events = np.int64(0)
    if provable(delta, act, product_shift, product_rounding, every_mac, ASCENDING):
        panels, most = pack_rows(act)
        registers[:] = 0
        mine = delta[:, first : first + out.shape[0]].T
        events += sum_rows(mine, panels, most, registers[0], lo, hi, overflow_mode, out)
        count_events(counters, overflow_mode, events)
        return
    for j in range(out.shape[0]):
        registers[:] = 0
        factors = delta[:, first + j]
        events += add_all(
            *(registers, factors, act, product_shift, product_rounding, lo, hi, overflow_mode, every_mac, ASCENDING, 1)
        )
        events += finish(registers, lo, hi, overflow_mode, every_mac, ASCENDING, 1, out[j])
    count_events(counters, overflow_mode, events)


@kernel
def bias_gradient_accumulate(
    delta, first, product_shift, product_rounding, lo, hi, overflow_mode, every_mac, registers, out, counters
):
    """Gradient of the biases of units first, first+1, ... in limited registers; samples ascending.

    ``out[j] = register(0, delta[n, first + j] for all n)``; a delta of a convolution comes as [N P Q, J]

    Parameters
    ----------
    delta : integer[N, J]
    first : int64                           first unit of this slice
    product_shift, product_rounding : int64
        round each delta, as if it were a product
    registers : int32 or int64[1, j]        scratch
    out : integer[j]                        written; must hold lo .. hi
    counters : int64[2]                     grow
    """
    events = np.int64(0)
    registers[:] = 0
    for n in range(delta.shape[0]):
        source = delta[n, first : first + out.shape[0]]
        events += add_products(registers[0], 1, source, product_shift, product_rounding, lo, hi, overflow_mode, every_mac)
    events += finish(registers, lo, hi, overflow_mode, every_mac, ASCENDING, 1, out)
    count_events(counters, overflow_mode, events)
