"""A cast: what happens to a number on its way into a format."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fasim.errors import FormatError
from fasim.fixedpoint import aliases
from fasim.fixedpoint.format import Fixed

_AP_FIXED = re.compile(r"((?:ap|sc)_u?fixed<[^,<>]*,[^,<>]*),\s*(\w+)\s*,\s*(\w+)\s*>")
_WRAPS = ("WRAP", "NUMERIC_STD")


@dataclass(frozen=True)
class Cast:
    """A requantisation point: round to ``format``, then bring into its range.

    Parameters
    ----------
    format : Fixed
        The format after the cast.
    rounding, overflow : str
        Names of `fasim.scalar.rounding`, such as RND and SAT, or of another tool (`fasim.fixedpoint.aliases`); kept as
        ours.

    Raises
    ------
    FormatError
        If a name is unknown, or the overflow wraps into a symmetric format.
    """

    format: Fixed
    rounding: str
    overflow: str

    def __post_init__(self) -> None:
        """Take the names of other tools as ours; refuse unknown ones, and what cannot be computed."""
        object.__setattr__(self, "rounding", aliases.rounding(self.rounding))
        object.__setattr__(self, "overflow", aliases.overflow(self.overflow))
        limits(self.format, self.overflow)

    def __str__(self) -> str:
        """Return ``s8.6 RND SAT``, which `parse` reads."""
        return f"{self.format} {self.rounding} {self.overflow}"

    @classmethod
    def parse(cls, text: str) -> Cast:
        """Read ``s8.6 RND SAT`` or ``ap_fixed<8,2,AP_RND,AP_SAT>``.

        Both modes must stand there: ap_fixed's own defaults, AP_TRN and AP_WRAP, are not filled in.

        Parameters
        ----------
        text : str
            The cast.

        Returns
        -------
        Cast

        Raises
        ------
        FormatError
            If the text is no cast.
        """
        given = text.strip()
        if match := _AP_FIXED.fullmatch(given):
            return cls(Fixed.parse(f"{match[1]}>"), match[2], match[3])
        words = given.rsplit(maxsplit=2)
        if len(words) != 3:
            raise FormatError(
                f"cast {text!r}: write format, rounding and overflow, as in 's8.6 RND SAT' or 'ap_fixed<8,2,AP_RND,AP_SAT>'"
            )
        return cls(Fixed.parse(words[0]), words[1], words[2])


def limits(fmt: Fixed, overflow: str) -> tuple[int, int]:
    """Return the lowest and the highest raw number that a cast may give, as kernels take them.

    Parameters
    ----------
    fmt : Fixed
        The format after the cast.
    overflow : str
        A key of `fasim.scalar.rounding.OVERFLOWS`. SAT_SYM gives up the lowest number of a signed format.

    Returns
    -------
    tuple of int
        lo, hi.

    Raises
    ------
    FormatError
        If a symmetric format, whose size is no power of two, is to be wrapped into.
    """
    if fmt.symmetric and overflow in _WRAPS:
        raise FormatError(
            f"{overflow} into {fmt}: 2^n - 1 numbers cannot wrap; use SAT, or the format s{fmt.bits}.{fmt.frac}"
        )
    return (-fmt.hi if overflow == "SAT_SYM" and fmt.signed else fmt.lo), fmt.hi
