"""What ``fasim format`` prints: what a format holds, its names elsewhere, and what each rounding and overflow does."""

from __future__ import annotations

from fractions import Fraction

from fasim.fixedpoint import aliases
from fasim.fixedpoint.cast import limits
from fasim.fixedpoint.format import Fixed
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS, overflow, shift_round

_EIGHTHS = (-20, -13, -12, -11, -9, -8, -4, -1, 0, 1, 4, 8, 9, 11, 12, 13, 20)
_WIDTH = 61
_LEVELS = 4


def lines(text: str, rounding: str) -> list[str]:
    """Return the page of a format.

    Parameters
    ----------
    text : str
        What `Fixed.parse` reads.
    rounding : str
        The rounding that the staircase shows, by our name or another tool's.

    Raises
    ------
    FormatError
        If either is unknown.
    """
    fmt, mode = Fixed.parse(text), aliases.rounding(rounding)
    if mode == "STOCH":
        shown, note = "TRN", "STOCH has no staircase: it takes the number below or above at random; TRN is shown"
    else:
        shown, note = mode, ", ".join(aliases.names_elsewhere(mode, aliases.ROUNDING_ALIASES)) or "no other names"
    parts = [range_lines(fmt), name_lines(fmt), number_line(fmt), rounding_lines(), overflow_lines(fmt)]
    parts.append([f"{mode} into {fmt}, in steps of {_number(fmt, 1)} ({note})", *staircase(shown)])
    return "\n\n".join("\n".join(part) for part in parts).split("\n")


def range_lines(fmt: Fixed) -> list[str]:
    """Return what the format holds."""
    kind = "symmetric" if fmt.symmetric else "signed" if fmt.signed else "unsigned"
    return [
        f"{fmt}: {kind}, {fmt.bits} bits, {fmt.frac} of them after the point; value = raw * 2^{-fmt.frac}",
        f"  raw    {fmt.lo} .. {fmt.hi}",
        f"  value  {_number(fmt, fmt.lo)} .. {_number(fmt, fmt.hi)}, step {_number(fmt, 1)}",
    ]


def name_lines(fmt: Fixed) -> list[str]:
    """Return what other tools and conventions call the format; TI's Q does not count the sign bit, ARM's does."""
    whole, unsigned = fmt.bits - fmt.frac, "" if fmt.signed else "u"
    letter = "Q" if fmt.signed else "UQ"
    full = " (with one number more, below)" if fmt.symmetric else ""
    names = {
        "ap_fixed": f"ap_{unsigned}fixed<{fmt.bits},{whole}>{full}",
        "MATLAB": f"numerictype({int(fmt.signed)},{fmt.bits},{fmt.frac}){full}",
        "QPyTorch": f"FixedPoint(wl={fmt.bits}, fl={fmt.frac}{', symmetric=True' if fmt.symmetric else ''})"
        if fmt.signed
        else "none: signed alone",
        "TI Q": f"{letter}{whole - fmt.signed}.{fmt.frac}{full}",
        "ARM Q": f"{letter}{whole}.{fmt.frac}{full}",
    }
    return ["elsewhere", *(f"  {name:9} {value}" for name, value in names.items())]


def number_line(fmt: Fixed) -> list[str]:
    """Return the range as a line with a mark for each number, or for each cell that holds some."""
    count = fmt.hi - fmt.lo + 1
    cells = {round(i * (_WIDTH - 1) / max(count - 1, 1)) for i in range(min(count, _WIDTH))} if count <= _WIDTH else None
    line = "".join("|" if cells is None or cell in cells else "-" for cell in range(_WIDTH))
    low, high = _number(fmt, fmt.lo), _number(fmt, fmt.hi)
    each = "a mark is a number" if cells is not None else f"a mark is about {count // _WIDTH} numbers"
    return [f"numbers ({count}; {each})", f"  {line}", f"  {low}{high.rjust(_WIDTH - len(low))}"]


def rounding_lines() -> list[str]:
    """Return the worked table of every rounding without random numbers: x / 8, three bits dropped."""
    rows = [f"  {'x/8':13}" + "".join(f"{x / 8:7.3g}" for x in _EIGHTHS)]
    for name, code in ROUNDINGS.items():
        if name != "STOCH":
            rows.append(f"  {name:13}" + "".join(f"{int(shift_round(x, 3, code, 0)):7d}" for x in _EIGHTHS))
    return ["roundings of x/8 to whole steps (STOCH: floor of x/8 + u, u random in 0 .. 7/8)", *rows]


def overflow_lines(fmt: Fixed) -> list[str]:
    """Return what raw numbers about the ends of the range become."""
    span = fmt.hi - fmt.lo + 1
    given = sorted({fmt.lo - span - 1, fmt.lo - 2, fmt.lo - 1, fmt.lo, fmt.hi, fmt.hi + 1, fmt.hi + 2, fmt.hi + span + 1})
    given = [value for value in given if -(2**63) <= value < 2**63]
    width = max(len(str(value)) for value in given) + 2
    rows = [f"  {'raw':13}" + "".join(f"{value:{width}d}" for value in given)]
    for name, code in OVERFLOWS.items():
        if fmt.symmetric and name in ("WRAP", "NUMERIC_STD"):
            continue
        lo, hi = limits(fmt, name)
        rows.append(f"  {name:13}" + "".join(f"{int(overflow(value, lo, hi, code)):{width}d}" for value in given))
    return [f"overflows of raw numbers into {fmt}", *rows]


def staircase(rounding: str) -> list[str]:
    """Return a picture of a rounding: steps before it to the right in eighths, after it upwards."""
    code = ROUNDINGS[rounding]
    places = range(-8 * _LEVELS + 12, 8 * _LEVELS - 11)
    steps = [int(shift_round(x, 3, code, 0)) for x in places]
    rows = []
    for level in range(max(steps), min(steps) - 1, -1):
        rows.append(
            f"  {level:3d} "
            + "".join("#" if step == level else "." if x == 0 else " " for x, step in zip(places, steps, strict=True))
        )
    marks = "".join("+" if x % 8 == 0 else "-" for x in places)
    labels = "".join(f"{x // 8:8d}" for x in places if x % 8 == 0)[
        8 - 1 - next(i for i, x in enumerate(places) if x % 8 == 0) :
    ]
    return [*(row.rstrip() for row in rows), f"      {marks}", f"      {labels}"]


def _number(fmt: Fixed, raw: int) -> str:
    """Return the value of a raw number, exactly where that is short."""
    value = Fraction(raw) * Fraction(2) ** -fmt.frac
    return str(value) if value.denominator == 1 and abs(value) < 10**9 else f"{float(value):.10g}"
