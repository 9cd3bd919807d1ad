"""Rounding and overflow of one integer: the two halves of every cast in fixed point.

Every function is exact for every 64-bit argument: nothing is added before a shift, so no sum can
leave 64 bits, and shift counts are clamped because LLVM leaves large ones undefined. The arguments
are converted to int64 first: the CUDA simulator and ``.py_func`` would else compute in the
narrow type of an array element.

A deterministic mode is a truth table of 16 bits, so that one form without branches serves all: the
floor of the quotient grows by the bit at ``remainder + 4 * negative + 8 * odd``, where remainder is
0 (nothing was dropped), 1 (less than half), 2 (half) or 3 (more), negative says the sign of the
number, odd the last bit of the floor.
"""

from __future__ import annotations

import numpy as np
from numba import njit

TRN, RND, RND_CONV, STOCH = 0, 1, 2, 3
TRN_INF, TRN_ZERO, TRN_AWAY, TRN_MAG = 4, 5, 6, 7
RND_MIN_INF, RND_INF, RND_ZERO, RND_CONV_ODD = 8, 9, 10, 11
JAM, JAM_UNBIASED, STOCH_PSEUDO = 12, 13, 14
WRAP, SAT, SAT_SYM, SAT_ZERO, NUMERIC_STD = 0, 1, 2, 3, 4

ROUNDINGS = {
    "TRN": TRN,
    "RND": RND,
    "RND_CONV": RND_CONV,
    "STOCH": STOCH,
    "TRN_INF": TRN_INF,
    "TRN_ZERO": TRN_ZERO,
    "TRN_AWAY": TRN_AWAY,
    "TRN_MAG": TRN_MAG,
    "RND_MIN_INF": RND_MIN_INF,
    "RND_INF": RND_INF,
    "RND_ZERO": RND_ZERO,
    "RND_CONV_ODD": RND_CONV_ODD,
    "JAM": JAM,
    "JAM_UNBIASED": JAM_UNBIASED,
    "STOCH_PSEUDO": STOCH_PSEUDO,
}
OVERFLOWS = {"WRAP": WRAP, "SAT": SAT, "SAT_SYM": SAT_SYM, "SAT_ZERO": SAT_ZERO, "NUMERIC_STD": NUMERIC_STD}

# Columns of a truth table: remainder "0<=>" of a number >= 0, then of one < 0; first for an even floor, then for an odd.
_UP = {
    RND: "0011 0011 0011 0011",
    RND_CONV: "0001 0001 0011 0011",
    TRN_INF: "0111 0111 0111 0111",
    TRN_ZERO: "0000 0111 0000 0111",
    TRN_AWAY: "0111 0000 0111 0000",
    TRN_MAG: "0000 1111 0000 1111",
    RND_MIN_INF: "0001 0001 0001 0001",
    RND_INF: "0011 0001 0011 0001",
    RND_ZERO: "0001 0011 0001 0011",
    RND_CONV_ODD: "0011 0011 0001 0001",
    JAM: "1111 1111 0000 0000",
    JAM_UNBIASED: "0111 0111 0000 0000",
}
# By code; TRN never goes up, and the stochastic modes are no tables
TABLES = tuple(int(_UP.get(code, "0").replace(" ", "")[::-1], 2) for code in range(len(ROUNDINGS)))


@njit(inline="always", cache=True)
def table_round(x, shift, table):
    """Drop ``shift`` > 0 bits of ``x`` by the truth table of a deterministic mode.

    Parameters
    ----------
    x : int64
    shift : int64
        1 or more.
    table : int64
        ``TABLES[rounding]``.

    Returns
    -------
    int64
    """
    value = np.int64(x)
    count = np.int64(shift)
    whole = value >> min(count, 63)
    half = (value >> min(count - 1, 63)) & 1
    # From 65 bits on the half lies above bit 63: all of the number is below it.
    below = value & (np.int64(-1) if count > 64 else ~(np.int64(-1) << min(count - 1, 63)))
    place = 2 * half + np.int64(below != 0) + ((value >> 63) & 4) + ((whole & 1) << 3)
    return whole + ((np.int64(table) >> place) & 1)


@njit(inline="always", cache=True)
def pseudo_round(x, shift):
    """Drop ``shift`` > 0 bits of the magnitude of ``x``; its own low bits are the random number (STOCH_PSEUDO).

    With a = abs(x), m = a mod 2^s, k = s div 2 the magnitude is ``(a >> s) + 1`` where
    ``m >> k > (m mod 2^k) << (s mod 2)``, else ``a >> s``.

    Parameters
    ----------
    x : int64
    shift : int64
        1 or more.

    Returns
    -------
    int64
    """
    value = np.int64(x)
    count = min(np.int64(shift), 128)
    sign = value >> 63
    # The magnitude of -2^63 is no int64
    size = np.uint64(value ^ sign) + np.uint64(sign & 1)
    whole = np.int64(size >> np.uint64(count)) if count < 64 else np.int64(0)
    dropped = size & ~(np.uint64(0xFFFFFFFFFFFFFFFF) << np.uint64(count)) if count < 64 else size
    middle = count >> 1
    if middle < 64:
        high = dropped >> np.uint64(middle)
        low = dropped & ~(np.uint64(0xFFFFFFFFFFFFFFFF) << np.uint64(middle))
        whole += np.int64(high > (low << np.uint64(count & 1)))
    return (whole ^ sign) - sign


@njit(inline="always", cache=True)
def random_round(x, shift, word, bits, half):
    """Drop ``shift`` bits of ``x`` with STOCH, from all or a few bits of a random word.

    ``floor((x + u) / 2^s)``: u is the low s bits of the word where bits is 0 or at least s; else its low ``bits`` bits
    moved left by s - bits, plus 2^(s - bits - 1) if ``half``. With s <= 0 the result is ``x << -s`` modulo 2^64.

    Parameters
    ----------
    x : int64
    shift : int64
        Any value; at most the bits of the word (32) where all s bits are needed, not checked here.
    word : int64
        Random bits.
    bits : int64
        Bits used of the word, 0: as many as are dropped.
    half : bool
        Whether half of the last random bit's weight is added.

    Returns
    -------
    int64
    """
    value = np.int64(x)
    count = np.int64(shift)
    if count <= 0:
        return value << -count if count > -64 else np.int64(0)
    few = bits > 0 and bits < count
    # u is a multiple of 2^rest: only the bits of x from there on decide
    drawn = np.int64(bits) if few else min(count, 62)
    rest = count - drawn - 1 if few else np.int64(0)
    width = drawn + 1 if few else drawn
    number = np.int64(word) & ((np.int64(1) << drawn) - 1)
    if few:
        number = 2 * number + np.int64(half)
    part = (value >> min(rest, 63)) & ((np.int64(1) << width) - 1)
    return (value >> min(count, 63)) + ((part + number) >> width)


@njit(inline="always", cache=True)
def shift_round(x, shift, rounding, word):
    """Drop ``shift`` fraction bits of ``x``; a negative shift adds fraction bits.

    With s = shift > 0: TRN ``x >> s``, RND ``(x + 2^(s-1)) >> s``, RND_CONV nearest with ties to
    even, STOCH ``(x + (word mod 2^s)) >> s``, and so on, as ``docs/reference/fixed-point.md`` has it.
    With s <= 0 the result is ``x << -s`` modulo 2^64, for s = 0 with JAM ``x | 1``.

    Parameters
    ----------
    x : int64
        The number before the cast.
    shift : int64
        Fraction bits before minus fraction bits after; any value (STOCH: at most 32, because
        a Philox word has no more bits; not checked here).
    rounding : int64
        A code of `ROUNDINGS`.
    word : int64
        32 random bits, read by STOCH only.

    Returns
    -------
    int64
    """
    value = np.int64(x)
    count = np.int64(shift)
    if count <= 0:
        if count < -63:
            return np.int64(0)
        return (value << -count) | np.int64(rounding == JAM and count == 0)
    if rounding == STOCH:
        return random_round(value, count, word, 0, False)
    if rounding == STOCH_PSEUDO:
        return pseudo_round(value, count)
    # The three modes that datapaths name most are a third faster without their table
    whole = value >> min(count, 63)
    if rounding == TRN:
        return whole
    half = (value >> min(count - 1, 63)) & 1
    if rounding == RND:
        return whole + half
    if rounding == RND_CONV:
        # From 64 bits on, `whole` is odd wherever `half` is set: the lower bits do not matter.
        below = value & ((np.int64(1) << min(count - 1, 62)) - 1)
        return whole + (half & (whole | np.int64(below != 0)))
    return table_round(value, count, TABLES[rounding])


@njit(inline="always", cache=True)
def divide_round(x, divisor, rounding):
    """Divide ``x`` by any whole number and round the quotient.

    Parameters
    ----------
    x : int64
    divisor : int64
        1 or more.
    rounding : int64
        A code of `ROUNDINGS` other than JAM, JAM_UNBIASED and the stochastic ones, which drop bits; not checked here.

    Returns
    -------
    int64
    """
    value = np.int64(x)
    number = np.int64(divisor)
    whole = value // number
    dropped = value % number
    # Twice the remainder may leave 64 bits: it is compared with what lacks to the divisor instead
    lacking = number - dropped
    remainder = 2 * np.int64(dropped >= lacking) + np.int64(dropped != lacking and dropped != 0)
    place = remainder + ((value >> 63) & 4) + ((whole & 1) << 3)
    return whole + ((np.int64(TABLES[rounding]) >> place) & 1)


@njit(inline="always", cache=True)
def overflow(x, lo, hi, mode):
    """Bring ``x`` into ``[lo, hi]``.

    SAT and SAT_SYM clamp, SAT_ZERO gives 0 for a number outside, WRAP keeps it modulo ``hi - lo + 1``, NUMERIC_STD keeps
    the bits below the sign bit under the number's own sign (of an unsigned format: as WRAP).

    Parameters
    ----------
    x : int64
        The number after rounding.
    lo, hi : int64
        The range of the format (`fasim.fixedpoint.cast.limits`: for SAT_SYM lo = -hi); for WRAP and NUMERIC_STD
        ``hi - lo + 1`` is a power of two, at most 2^63.
    mode : int64
        A code of `OVERFLOWS`.

    Returns
    -------
    int64
    """
    value = np.int64(x)
    low = np.int64(lo)
    high = np.int64(hi)
    if mode in (SAT, SAT_SYM):
        return min(max(value, low), high)
    if mode == SAT_ZERO:
        return value if low <= value <= high else np.int64(0)
    if mode == NUMERIC_STD:
        return (value & high) + ((value >> 63) & low)
    span = high - low
    return low + (((value & span) - (low & span)) & span)
