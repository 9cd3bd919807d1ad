"""A number of a processor, which never stands without its unit, its source and what kind of number it is."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fasim.errors import ProcessorError, unknown_name

KINDS = ("measured", "published", "derived", "assumed")

_NUMBERS = ("low", "typical", "high")
_TEXTS = ("unit", "source", "kind")


@dataclass(frozen=True)
class Constant:
    """A number with its interval and where it comes from.

    Parameters
    ----------
    low, typical, high : float
        Interval over the sources; finite, ``0 <= low <= typical <= high``.
    unit : str
        Such as ``pJ/bit``.
    source : str
        Where the numbers stand, low and high included.
    kind : str
        ``measured``, ``published``, ``derived`` (computed from published numbers) or ``assumed``.
    node_nm : int
        Of the technology that the number was found for; 0: that of the processor.

    Raises
    ------
    ProcessorError
        If a number is impossible or a text is missing.
    """

    low: float
    typical: float
    high: float
    unit: str
    source: str
    kind: str
    node_nm: int = 0

    def __post_init__(self) -> None:
        """Refuse a number without provenance, or no number."""
        for key in _NUMBERS:
            number = getattr(self, key)
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                raise ProcessorError(f"{key} = {number!r}: write a number")
            # which whole numbers of TOML may exceed
            if not 0 <= number <= sys.float_info.max:
                given = number if isinstance(number, float) or number < 0 else "a whole number above 1e308"
                raise ProcessorError(f"{key} = {given}: write a finite number, 0 or above")
        if not self.low <= self.typical <= self.high:
            raise ProcessorError(
                f"low {self.low}, typical {self.typical}, high {self.high}: low <= typical <= high is needed"
            )
        for key in _TEXTS:
            text = getattr(self, key)
            if not isinstance(text, str) or not text.strip():
                raise ProcessorError(f"{key} = {text!r}: write a text, no constant goes without")
        if self.kind not in KINDS:
            raise ProcessorError(unknown_name("kind", self.kind, KINDS))
        if type(self.node_nm) is not int or self.node_nm < 0:
            raise ProcessorError(f"node_nm = {self.node_nm!r}: write a whole number of nanometres")

    def whole(self, what: str) -> int:
        """Return a number without an interval that counts something, such as bits or rows; `what` names it in the refusal.

        Raises
        ------
        ProcessorError
            If it is none, or less than 1.
        """
        if not (self.low == self.typical == self.high and self.typical == int(self.typical) and self.typical >= 1):
            given = f"{self.typical}" if self.low == self.high else f"{self.low} to {self.high}"
            raise ProcessorError(f"{what} is {given} {self.unit}: one whole number, 1 or above, is needed")
        return int(self.typical)

    def positive(self, what: str) -> None:
        """Refuse a speed that would stand still; `what` names it in the refusal.

        Raises
        ------
        ProcessorError
            If its low end is 0.
        """
        if not self.low > 0:
            given = f"{self.low}" if self.low == self.high else f"{self.low} to {self.high}"
            raise ProcessorError(f"{what} is {given} {self.unit}: more than 0 is needed; leave it out if it is not known")


def read_constant(what: str, entries: object, unit: str) -> Constant:
    """Return the constant of a TOML table: low, typical, high (or ``value`` for all three), unit, source, kind.

    Raises
    ------
    ProcessorError
        If it is no table, a key is missing or unknown, or the unit is another one.
    """
    if not isinstance(entries, dict):
        needed = ", ".join(("value", *_TEXTS))
        raise ProcessorError(f"{what} is a bare value: write a table with {needed} (or low, typical, high for value)")
    numbers: dict[str, Any] = dict(entries)
    try:
        if "value" in numbers:
            value = numbers.pop("value")
            for key in _NUMBERS:
                if key in numbers:
                    raise ProcessorError(f"value and {key} are both given: write value alone, or low, typical and high")
                numbers[key] = value
        check_keys("key", numbers, (*_NUMBERS, *_TEXTS), optional=("node_nm",))
        constant = Constant(**numbers)
        if constant.unit != unit:
            raise ProcessorError(f"unit is {constant.unit!r}, {unit!r} is needed")
    except ProcessorError as error:
        raise ProcessorError(f"{what}: {error}") from None
    return constant


def check_keys(what: str, given: Mapping[str, object], needed: Iterable[str], *, optional: Iterable[str] = ()) -> None:
    """Refuse keys that are missing or unknown.

    Raises
    ------
    ProcessorError
        Naming the first of them.
    """
    needed = list(needed)
    known = [*needed, *optional]
    for key in given:
        if key not in known:
            raise ProcessorError(unknown_name(what, key, known))
    missing = [key for key in needed if key not in given]
    if missing:
        raise ProcessorError(f"{what} {missing[0]} is missing: there is no default, write it")
