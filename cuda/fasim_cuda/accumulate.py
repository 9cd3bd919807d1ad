"""Sums in a register of limited width: what a multiply-accumulate unit computes when its accumulator is narrow.

`fasim.kernels.accumulate` says what a register does; here one thread keeps that of one result. Lanes do not meet before the
end, so a thread goes through one after the other. Every kernel takes, after its operands, ``product_shift,
product_rounding, lo, hi, overflow_mode, every_mac, order, lanes`` (int64) and ends in the counters of its events.
"""

from __future__ import annotations

from numba import int64

from fasim.scalar.constants import LANES, TREE
from fasim_cuda.scalars import column, limited, rounded_product
from fasim_cuda.target import cuda, device, jit


@device
def _register(left, left_first, left_step, right, right_first, right_step, terms, start, given):
    """Add up products of two flat arrays from their first elements on, in steps; return the register and its events."""
    shift, rounding, lo, hi, mode, every_mac, order, lanes = given
    stride = int64(lanes) if every_mac and order == LANES else int64(1)
    # how many products are added exactly before the register takes their sum
    group = int64(1)
    if not every_mac:
        group = int64(terms)
    elif order == TREE:
        group = int64(lanes)
    events = int64(0)
    total = int64(start)
    if every_mac:
        total, beyond = limited(total, lo, hi, mode)
        events = int64(events + beyond)
    for lane in range(stride):
        part = total if lane == 0 else int64(0)
        held = int64(0)
        count = int64(0)
        for k in range(lane, terms, stride):
            x = int64(left[left_first + k * left_step])
            y = int64(right[right_first + k * right_step])
            held = int64(held + rounded_product(x, y, shift, rounding))
            count = int64(count + int64(1))
            if count == group or k + stride >= terms:
                part, beyond = limited(int64(part + held), lo, hi, mode)
                events = int64(events + beyond)
                held = int64(0)
                count = int64(0)
        if lane == 0:
            total = part
        else:
            total, beyond = limited(int64(total + part), lo, hi, mode)
            events = int64(events + beyond)
    return total, events


@jit
def dense_accumulate(
    act, weight, bias, bias_shift, shift, rounding, lo, hi, overflow_mode, every_mac, order, lanes, out, counters
):
    """Pre-activations of a dense layer in limited registers; with biases of 0 also a transport ``signal @ matrix.T``.

    ``out[n, j] = register(bias[j] << bias_shift, act[n, i] * weight[j, i] for all i)``

    Parameters
    ----------
    act : integer[N I]
    weight : integer[J I]
    bias : integer[J]
    bias_shift : int64, >= 0
    out : integer[N, J]         written; must hold lo .. hi
    counters : int64[2]         grow
    """
    given = shift, rounding, lo, hi, overflow_mode, every_mac, order, lanes
    events = int64(0)
    units = out.shape[1]
    terms = weight.size // units
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n = p // units
        j = p - n * units
        start = int64(bias[j]) << int64(bias_shift)
        value, beyond = _register(act, n * terms, 1, weight, j * terms, 1, terms, start, given)
        out[n, j] = value
        events = int64(events + beyond)
    if events > int64(0):
        cuda.atomic.add(counters, column(overflow_mode), events)


@jit
def project_accumulate(signal, matrix, shift, rounding, lo, hi, overflow_mode, every_mac, order, lanes, out, counters):
    """Bring a signal through a matrix in limited registers: ``out[n, j] = register(0, signal[n, k] * matrix[k, j])``.

    Parameters
    ----------
    signal : integer[N K]
    matrix : integer[K J]
    out : integer[N, J]         written; must hold lo .. hi
    counters : int64[2]         grow
    """
    given = shift, rounding, lo, hi, overflow_mode, every_mac, order, lanes
    events = int64(0)
    units = out.shape[1]
    terms = matrix.size // units
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n = p // units
        j = p - n * units
        value, beyond = _register(signal, n * terms, 1, matrix, j, units, terms, int64(0), given)
        out[n, j] = value
        events = int64(events + beyond)
    if events > int64(0):
        cuda.atomic.add(counters, column(overflow_mode), events)


@jit
def weight_gradient_accumulate(delta, act, shift, rounding, lo, hi, overflow_mode, every_mac, order, lanes, out, counters):
    """Gradient in limited registers, samples in the order: ``out[j, i] = register(0, delta[n, j] * act[n, i] for all n)``.

    Parameters
    ----------
    delta : integer[N J]
    act : integer[N I]
    out : integer[J, I]         written; must hold lo .. hi
    counters : int64[2]         grow
    """
    given = shift, rounding, lo, hi, overflow_mode, every_mac, order, lanes
    events = int64(0)
    units, inputs = out.shape
    terms = delta.size // units
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        j = p // inputs
        i = p - j * inputs
        value, beyond = _register(delta, j, units, act, i, inputs, terms, int64(0), given)
        out[j, i] = value
        events = int64(events + beyond)
    if events > int64(0):
        cuda.atomic.add(counters, column(overflow_mode), events)


@jit
def bias_gradient_accumulate(delta, ones, shift, rounding, lo, hi, overflow_mode, every_mac, order, lanes, out, counters):
    """Bias gradient in limited registers, deltas rounded as products are: ``out[j] = register(0, delta[n, j] for all n)``.

    Parameters
    ----------
    delta : integer[N J]
    ones : integer[1]           a 1, by which each delta is multiplied
    out : integer[J]            written; must hold lo .. hi
    counters : int64[2]         grow
    """
    given = shift, rounding, lo, hi, overflow_mode, every_mac, order, lanes
    events = int64(0)
    terms = delta.size // out.size
    for j in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        value, beyond = _register(delta, j, out.size, ones, 0, 0, terms, int64(0), given)
        out[j] = value
        events = int64(events + beyond)
    if events > int64(0):
        cuda.atomic.add(counters, column(overflow_mode), events)
