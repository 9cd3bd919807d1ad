"""How far exponents that are chosen in the step can move a binary point."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fasim.fixedpoint.format import Fixed
from fasim.schedule.values import Op

# the least and the most that something can be
Range = tuple[int, int]


def range_of(op: Op, source: Fixed) -> Range:
    """Return the least and the most bits that an EXPONENT can choose to drop.

    Parameters
    ----------
    op : Op
        ``bits`` are left above 0; of a tensor of zeros the exponent is 0.
    source : Fixed
        Format of the tensor of which the largest magnitude decides.
    """
    bits = op.attrs["bits"]
    most = max(0, max(abs(source.lo), source.hi).bit_length() - bits)
    return (min(0, -bits) if op.attrs["nearest"] else 0), most


def shift_range(shift: int, signs: Iterable[int], names: Iterable[str], ranges: Mapping[str, Range]) -> Range:
    """Return the least and the most of ``shift + sum of sign * exponent``.

    Parameters
    ----------
    shift : int
        What is known beforehand.
    signs, names : iterable of int, of str
        Of the exponents.
    ranges : mapping of str to Range
        Of each exponent, see `range_of`.
    """
    ends = [sorted(sign * end for end in ranges[name]) for sign, name in zip(signs, names, strict=True)]
    return shift + sum(end[0] for end in ends), shift + sum(end[1] for end in ends)
