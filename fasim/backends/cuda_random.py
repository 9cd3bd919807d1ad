"""Shift registers for the CUDA backend: the matrices by which threads jump to their draws, and the launch that draws."""

from __future__ import annotations

from functools import cache

import numpy as np

from fasim.backends.cuda_bind import Constant, DeviceArray, Launch, Operands
from fasim.fixedpoint.options import RandomSource
from fasim.scalar.lfsr import lfsr_start, tap_mask

# of a number of draws, which is an int64 and not negative
BITS = 63


def has_words(random: RandomSource) -> bool:
    """Tell whether the words of a source are drawn before a kernel takes them."""
    return random.source != "philox"


def words(o: Operands, random: RandomSource) -> tuple[DeviceArray, list[Launch]]:
    """Return an array for the words of a register, one for each element that the op writes, and the launch that draws."""
    seed, site, step = o.place
    powers = np.array(draws(random.width, tap_mask(random.taps), random.shifts), np.uint64)
    drawn = o.zeros(o.out.size, np.uint32)
    starts = [lfsr_start(random.width, random.seed, int(one), site) for one in seed.copy_to_host()]
    arguments = Constant(powers[None]), Constant(np.array(starts, np.int64)), drawn.size, step, drawn
    return drawn, [Launch(o.kernels.lfsr_words, arguments, drawn.size)]


@cache
def draws(width: int, taps: int, shifts: int) -> tuple[tuple[int, ...], ...]:
    """Return the columns of the matrices of 1, 2, 4, ... 2^62 draws of a register.

    Parameters
    ----------
    width : int
        Bits of the register.
    taps : int
        Mask of its tapped bits.
    shifts : int
        Shifts a draw.
    """
    mask = (1 << width) - 1
    square = tuple(((1 << b + 1) & mask) | (taps >> b & 1) for b in range(width))
    draw = tuple(1 << b for b in range(width))
    left = shifts
    while left:
        draw = _product(square, draw) if left & 1 else draw
        square, left = _product(square, square), left >> 1
    powers = [draw]
    for _ in range(BITS - 1):
        powers.append(_product(powers[-1], powers[-1]))
    return tuple(powers)


def _product(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    """Return the product of two matrices over GF(2), as columns."""

    def applied(state: int) -> int:
        total = 0
        for b, column in enumerate(left):
            total ^= column if state >> b & 1 else 0
        return total

    return tuple(applied(column) for column in right)
