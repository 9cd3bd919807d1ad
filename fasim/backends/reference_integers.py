"""Single integers as the interpreter states them: rounding by quotient and remainder, overflow, registers, random bits.

Nothing here is shared with the kernels but the random words.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from fasim import kernels
from fasim.fixedpoint.accumulator import Acc
from fasim.fixedpoint.format import Fixed
from fasim.fixedpoint.options import RandomSource
from fasim.scalar.lfsr import lfsr_start, tap_mask

Array = np.ndarray


def integers(array: Array) -> Array:
    """Return the numbers of an array as Python integers."""
    return np.array([int(value) for value in array.reshape(-1)], dtype=object).reshape(array.shape)


def each(function: Callable[[int], int], array: Array) -> Array:
    """Return a function of every number."""
    return np.array([function(value) for value in array.reshape(-1)], dtype=object).reshape(array.shape)


def rounded_number(value: int, divisor: int, rounding: str, added: int = 0) -> int:
    """Return ``value / divisor`` rounded; `added` is what STOCH adds before it takes the floor."""
    quotient, rest = divmod(value, divisor)
    odd = quotient % 2 == 1
    match rounding:
        case "TRN":
            up = False
        case "TRN_INF":
            up = rest > 0
        case "TRN_ZERO":
            up = rest > 0 > value
        case "TRN_AWAY":
            up = rest > 0 and value > 0
        case "TRN_MAG":
            up = value < 0
        case "RND":
            up = 2 * rest >= divisor
        case "RND_MIN_INF":
            up = 2 * rest > divisor
        case "RND_INF":
            up = 2 * rest > divisor or (2 * rest == divisor and value > 0)
        case "RND_ZERO":
            up = 2 * rest > divisor or (2 * rest == divisor and value < 0)
        case "RND_CONV":
            up = 2 * rest > divisor or (2 * rest == divisor and odd)
        case "RND_CONV_ODD":
            up = 2 * rest > divisor or (2 * rest == divisor and not odd)
        case "JAM":
            up = not odd
        case "JAM_UNBIASED":
            up = not odd and rest > 0
        case "STOCH":
            up = rest + added >= divisor
        case "STOCH_PSEUDO":
            return _pseudo(value, divisor)
        case _:
            raise AssertionError(rounding)
    return quotient + int(up)


def _pseudo(value: int, divisor: int) -> int:
    shift = divisor.bit_length() - 1
    whole, rest = divmod(abs(value), divisor)
    low = 2 ** (shift // 2)
    up = rest // low > (rest % low) * 2 ** (shift % 2)
    return (whole + int(up)) * (1 if value >= 0 else -1)


def rounded(raw: Array, shift: int, rounding: str, words: Array | None = None, random: RandomSource | None = None) -> Array:
    """Divide by 2^shift and round; a negative shift multiplies."""
    if shift <= 0:
        if shift == 0 and rounding == "JAM":
            return each(lambda value: value | 1, raw)
        return raw * 2**-shift
    divisor = 2**shift
    if words is None:
        return each(lambda value: rounded_number(value, divisor, rounding), raw)
    random = random or RandomSource()
    values = zip(raw.reshape(-1), words.reshape(-1), strict=True)
    result = [rounded_number(value, divisor, "STOCH", added(int(word), shift, random)) for value, word in values]
    return np.array(result, dtype=object).reshape(raw.shape)


def added(word: int, shift: int, random: RandomSource) -> int:
    """Return the number that a random word adds before the last `shift` bits are cut off."""
    bits = random.bits
    if bits == 0 or bits >= shift:
        return word % 2**shift
    number = (word % 2**bits) * 2 ** (shift - bits)
    return number + (2 ** (shift - bits - 1) if random.half else 0)


def divided(raw: Array, divisor: int, rounding: str) -> Array:
    """Divide by a whole number and round."""
    return each(lambda value: rounded_number(value, divisor, rounding), raw)


def brought_into_range(raw: Array, fmt: Fixed, mode: str) -> tuple[Array, int]:
    """Return the numbers after overflow, and how many were outside."""
    lowest = -fmt.hi if mode == "SAT_SYM" and fmt.signed else fmt.lo
    outside = sum(not lowest <= value <= fmt.hi for value in raw.reshape(-1))

    def into(value: int) -> int:
        if lowest <= value <= fmt.hi:
            return value
        match mode:
            case "SAT" | "SAT_SYM":
                return fmt.hi if value > fmt.hi else lowest
            case "SAT_ZERO":
                return 0
            case "NUMERIC_STD" if fmt.signed:
                low = value % 2 ** (fmt.bits - 1)
                return low - 2 ** (fmt.bits - 1) if value < 0 else low
        return (value - fmt.lo) % (fmt.hi - fmt.lo + 1) + fmt.lo

    return each(into, raw), outside


def registers(products: Array, start: Array, acc: Acc, fmt: Fixed, shift: int) -> tuple[Array, int]:
    """Add up the products along the last axis as an accumulator does.

    Parameters
    ----------
    products : object array (..., K)
    start : object array (...)
        The aligned bias, or zeros.
    acc : Acc
    fmt : Fixed
        Of the register.
    shift : int
        Bits to round away from each product, or -bits to add.

    Returns
    -------
    sums (...), events outside of the range
    """
    terms = rounded(products, shift, acc.product_rounding or "TRN")
    outside = 0
    if not acc.every_mac:
        return brought_into_range(start + terms.sum(-1), fmt, acc.overflow)

    def limited(raw: Array) -> Array:
        nonlocal outside
        result, count = brought_into_range(raw, fmt, acc.overflow)
        outside += count
        return result

    if acc.order == "tree":
        total = limited(start)
        for first in range(0, terms.shape[-1], acc.width):
            total = limited(total + terms[..., first : first + acc.width].sum(-1))
        return total, outside
    lanes = [start] + [np.zeros_like(start) for _ in range(acc.width - 1)]
    lanes[0] = limited(lanes[0])
    for k in range(terms.shape[-1]):
        lanes[k % acc.width] = limited(lanes[k % acc.width] + terms[..., k])
    total = lanes[0]
    for lane in lanes[1:]:
        total = limited(total + lane)
    return total, outside


def words_of(site: str, elements: int, step: int, seed: int, random: RandomSource | None) -> Array:
    """Return the random words of all elements of a tensor at a site in a step."""
    words, number, now = np.zeros(elements, np.uint32), zlib.crc32(site.encode()), np.array([step], np.int64)
    kernel: Any = kernels
    if random is None or random.source == "philox":
        kernel.philox_words(seed, number, now, 0, words)
    else:
        start = lfsr_start(random.width, random.seed, seed, number)
        kernel.lfsr_words(random.width, tap_mask(random.taps), start, random.shifts, elements, now, 0, words)
    return words


def nearest_power(value: int) -> int:
    """Return log2 of a positive number, rounded: b with 2^(2b - 1) <= value^2 < 2^(2b + 1)."""
    return (value * value).bit_length() // 2
