"""A cast: what happens to a number on its way into a format."""

from __future__ import annotations

from dataclasses import dataclass

from fasim.errors import FormatError, unknown_name
from fasim.fixedpoint.format import Fixed
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS


@dataclass(frozen=True)
class Cast:
    """A requantisation point: round to ``format``, then bring into its range.

    Parameters
    ----------
    format : Fixed
        The format after the cast.
    rounding, overflow : str
        Names of `fasim.scalar.rounding`: TRN, RND, RND_CONV, STOCH; WRAP, SAT.

    Raises
    ------
    FormatError
        If a name is unknown.
    """

    format: Fixed
    rounding: str
    overflow: str

    def __post_init__(self) -> None:
        """Refuse unknown names."""
        check_modes(self.rounding, self.overflow)


def check_modes(rounding: str, overflow: str) -> None:
    """Raise FormatError unless both are names of `fasim.scalar.rounding`."""
    if rounding not in ROUNDINGS:
        raise FormatError(unknown_name("rounding", str(rounding), ROUNDINGS))
    if overflow not in OVERFLOWS:
        raise FormatError(unknown_name("overflow", str(overflow), OVERFLOWS))
