"""Words of shift registers, and casts and updates that take words which were drawn before.

A register is a matrix over GF(2), `fasim.scalar.lfsr` says how. A thread jumps to the draw of its first element by powers
of that matrix, which the host has made, then draws a run of elements one after the other: same words for any grid.
"""

from __future__ import annotations

from numba import int64, uint64

from fasim_cuda.scalars import by_one, cast, column, less_step, shrunk
from fasim_cuda.target import cuda, device, jit

# elements that a thread draws after one jump, which costs as much as some dozen of them
RUN = 64


@device
def _moved(powers, power, state):
    """Return the product of a matrix, a row of `powers`, and a state."""
    total = uint64(0)
    for b in range(powers.shape[1]):
        if (state >> uint64(b)) & uint64(1) != uint64(0):
            total = uint64(total ^ powers[power, b])
    return total


@jit
def lfsr_words(powers, start, elements, step, out):
    """Draw the words of a site from its shift register: element i of step n is draw ``n * elements + i``.

    Draw t is the state after t + 1 steps from `start`, a step being the matrix ``powers[0]``.

    Parameters
    ----------
    powers : uint64[63, width]  columns of the matrix of one draw, of 2 draws, of 4, ...
    start : int64               state before the first, see `fasim.scalar.lfsr.lfsr_start`
    elements : int64            of the whole tensor
    step : int64[1]             step of the training
    out : uint32[P]             written
    """
    runs = (out.size + RUN - 1) // RUN
    for run in range(cuda.grid(1), runs, cuda.gridsize(1)):
        first = int64(run * RUN)
        state = uint64(start)
        left = int64(int64(step[0] * int64(elements)) + first)
        power = int64(0)
        while left > int64(0):
            if left & int64(1) != int64(0):
                state = _moved(powers, power, state)
            left = int64(left >> int64(1))
            power = int64(power + int64(1))
        for i in range(first, min(first + RUN, out.size)):
            state = _moved(powers, int64(0), state)
            out[i] = state


@jit
def requantize_random(raw, shift, lo, hi, rounding, overflow_mode, words, bits, half, out, counters):
    """Cast with STOCH from words that were drawn before: ``out = overflow(floor((raw + u) / 2^shift))``.

    Parameters
    ----------
    raw : integer[P]
    shift : int64[1]
    lo, hi, rounding, overflow_mode, bits, half : int64
        As for ``requantize``; `rounding` is that of STOCH.
    words : uint32[P]
    out : integer[P]        written
    counters : int64[2]     grows by saturations and wraps
    """
    outside = int64(0)
    count = shift[0]
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        value, beyond = cast(int64(raw[p]), count, lo, hi, rounding, overflow_mode, int64(words[p]), bits, half)
        out[p] = value
        outside = int64(outside + beyond)
    if outside > int64(0):
        cuda.atomic.add(counters, column(overflow_mode), outside)


@jit
def update_scaled(
    parameter,
    gradient,
    base_shift,
    learning_shift,
    factor,
    lo,
    hi,
    rounding,
    overflow_mode,
    words,
    bits,
    half,
    decay_shift,
    counters,
):
    """Gradient descent with learning rate M 2^-k, as ``update_fixed``, with STOCH from words that were drawn before.

    Parameters
    ----------
    parameter : integer[P]      updated
    gradient : integer[P]
    base_shift, learning_shift, factor : int64[1]
    lo, hi, rounding, overflow_mode, bits, half, decay_shift, counters
        As for ``update_fixed``.
    words : uint32[P]
    """
    outside = int64(0)
    shift = int64(base_shift[0] + learning_shift[0])
    for p in range(cuda.grid(1), parameter.size, cuda.gridsize(1)):
        w = shrunk(int64(parameter[p]), decay_shift, rounding)
        product = int64(int64(gradient[p]) * factor[0])
        word = int64(words[p])
        value, beyond = less_step(w, product, shift, lo, hi, rounding, overflow_mode, word, bits, half)
        parameter[p] = value
        outside = int64(outside + beyond)
    if outside > int64(0):
        cuda.atomic.add(counters, column(overflow_mode), outside)


@jit
def update_by_one_random(parameter, gradient, base_shift, learning_shift, lo, hi, overflow_mode, words, bits, counters):
    """Move a parameter by one step of its format, as ``update_by_one``, from words that were drawn before.

    Parameters
    ----------
    parameter, gradient : integer[P]
    base_shift, learning_shift : int64[1]
    lo, hi, overflow_mode, bits, counters
        As for ``update_by_one``.
    words : uint32[P]
    """
    outside = int64(0)
    shift = int64(base_shift[0] + learning_shift[0])
    for p in range(cuda.grid(1), parameter.size, cuda.gridsize(1)):
        word = int64(words[p])
        value, beyond = by_one(int64(parameter[p]), int64(gradient[p]), shift, lo, hi, overflow_mode, word, bits)
        parameter[p] = value
        outside = int64(outside + beyond)
    if outside > int64(0):
        cuda.atomic.add(counters, column(overflow_mode), outside)
