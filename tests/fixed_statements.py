"""Roundings and overflows in Python integers: what kernels are compared with. Nothing here comes from the package."""

from __future__ import annotations

DIVIDING = (
    *("TRN", "TRN_INF", "TRN_ZERO", "TRN_AWAY", "TRN_MAG", "RND", "RND_MIN_INF"),
    *("RND_INF", "RND_ZERO", "RND_CONV", "RND_CONV_ODD"),
)
DETERMINISTIC = (*DIVIDING, "JAM", "JAM_UNBIASED")
WRAPPING = ("WRAP", "NUMERIC_STD")
# what -2.5, -1.5, -0.5, 0.5, 1.5 and 2.5 become
ROUNDED_HALVES = {
    "TRN": [-3, -2, -1, 0, 1, 2],
    "TRN_INF": [-2, -1, 0, 1, 2, 3],
    "TRN_ZERO": [-2, -1, 0, 0, 1, 2],
    "TRN_AWAY": [-3, -2, -1, 1, 2, 3],
    "TRN_MAG": [-2, -1, 0, 0, 1, 2],
    "RND": [-2, -1, 0, 1, 2, 3],
    "RND_MIN_INF": [-3, -2, -1, 0, 1, 2],
    "RND_INF": [-3, -2, -1, 1, 2, 3],
    "RND_ZERO": [-2, -1, 0, 0, 1, 2],
    "RND_CONV": [-2, -2, 0, 0, 2, 2],
    "RND_CONV_ODD": [-3, -1, -1, 1, 1, 3],
    "JAM": [-3, -1, -1, 1, 1, 3],
    "JAM_UNBIASED": [-3, -1, -1, 1, 1, 3],
}


def goes_up(x: int, quotient: int, twice: int, divisor: int, name: str) -> bool:
    """Say whether the quotient rounded down grows by one; `twice` is twice the remainder."""
    odd = quotient % 2 == 1
    return {
        "TRN": False,
        "TRN_INF": twice > 0,
        "TRN_ZERO": twice > 0 and x < 0,
        "TRN_AWAY": twice > 0 and x > 0,
        "TRN_MAG": x < 0,
        "RND": twice >= divisor,
        "RND_MIN_INF": twice > divisor,
        "RND_INF": twice > divisor or (twice == divisor and x > 0),
        "RND_ZERO": twice > divisor or (twice == divisor and x < 0),
        "RND_CONV": twice > divisor or (twice == divisor and odd),
        "RND_CONV_ODD": twice > divisor or (twice == divisor and not odd),
        "JAM": not odd,
        "JAM_UNBIASED": not odd and twice > 0,
    }[name]


def divided(x: int, divisor: int, name: str) -> int:
    """Return x / divisor, rounded."""
    quotient, rest = divmod(x, divisor)
    return quotient + goes_up(x, quotient, 2 * rest, divisor, name)


def rounded(x: int, shift: int, name: str, word: int = 0, bits: int = 0, half: bool = False) -> int:
    """Return x / 2^shift, rounded."""
    if shift <= 0:
        return (x << -shift) | (name == "JAM" and shift == 0)
    if name == "STOCH":
        few = 0 < bits < shift
        drawn = word % 2 ** (bits if few else shift)
        u = drawn * 2 ** (shift - bits) + half * 2 ** (shift - bits - 1) if few else drawn
        return (x + u) >> shift
    if name == "STOCH_PSEUDO":
        size, k = abs(x), shift // 2
        m = size % 2**shift
        size = (size >> shift) + (m >> k > (m % 2**k) << (shift % 2))
        return size if x >= 0 else -size
    return divided(x, 2**shift, name)


def brought(value: int, lo: int, hi: int, name: str) -> tuple[int, bool]:
    """Return the number in range, and whether it was outside; for SAT_SYM lo is -hi."""
    outside = not lo <= value <= hi
    if name in ("SAT", "SAT_SYM"):
        return min(max(value, lo), hi), outside
    if name == "SAT_ZERO":
        return 0 if outside else value, outside
    if name == "NUMERIC_STD" and lo < 0:
        return value % (hi + 1) + (lo if value < 0 else 0), outside
    return (value - lo) % (hi - lo + 1) + lo, outside


def cast(raw: list[int], shift: int, lo: int, hi: int, names: tuple[str, str]) -> tuple[list[int], list[int]]:
    """Return the numbers after a cast without random numbers, and the two counters."""
    results = [brought(rounded(x, shift, names[0]), lo, hi, names[1]) for x in raw]
    outside = sum(was for _, was in results)
    return [value for value, _ in results], [0, outside] if names[1] in WRAPPING else [outside, 0]
