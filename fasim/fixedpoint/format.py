"""A number format: how many bits, and where the point is."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from fasim.errors import FormatError

_BITS_FRAC = re.compile(r"(s|u|sym)(\d{1,4})\.(-?\d{1,4})")
_AP_FIXED = re.compile(r"(?:ap|sc)_(u?)fixed<\s*(\d{1,4})\s*,\s*(-?\d{1,4})\s*>")
_Q = re.compile(r"(U?)Q(\d{1,4})\.(\d{1,4})", re.IGNORECASE)


@dataclass(frozen=True)
class Fixed:
    """A fixed-point format: an integer "raw" of ``bits`` bits stands for ``raw * 2^-frac``.

    Parameters
    ----------
    bits : int
        All bits, the sign included; 1 to 63.
    frac : int
        Fraction bits; may be negative (steps larger than 1) or larger than ``bits`` (numbers far
        below 1). The step and the range must be ordinary float32 numbers.
    signed : bool
        Two's complement if true, else from 0 up.
    symmetric : bool
        Without the lowest number of a signed format: ``-hi`` to ``hi``, so that every number has its negative.

    Raises
    ------
    FormatError
        If the format cannot be.
    """

    bits: int
    frac: int
    signed: bool = True
    symmetric: bool = False

    def __post_init__(self) -> None:
        """Refuse what no array or no float32 can hold."""
        for name, value in (("bits", self.bits), ("frac", self.frac)):
            if not isinstance(value, int) or isinstance(value, bool):
                raise FormatError(f"{name} is {value!r}: write a whole number, as in Fixed(8, 6)")
        if not 1 <= self.bits <= 63:
            raise FormatError(f"format {self}: bits must be 1 to 63, got {self.bits}")
        if self.symmetric and (not self.signed or self.bits < 2):
            raise FormatError(f"format {self}: symmetric needs a sign and at least 2 bits; leave symmetric out")
        if self.frac > 126 or self.bits - self.frac > 127:
            raise FormatError(
                f"format {self}: its step 2^{-self.frac} and range up to 2^{self.bits - self.frac}"
                " must lie in float32's 2^-126 .. 2^127; move the point"
            )

    @property
    def lo(self) -> int:
        """Smallest raw number."""
        return -(1 << (self.bits - 1)) + self.symmetric if self.signed else 0

    @property
    def hi(self) -> int:
        """Largest raw number."""
        return (1 << (self.bits - 1 if self.signed else self.bits)) - 1

    @property
    def step(self) -> float:
        """Distance of two neighbours, 2^-frac."""
        return math.ldexp(1.0, -self.frac)

    @property
    def min(self) -> float:
        """Smallest value (the nearest float64, from 54 bits on)."""
        return math.ldexp(float(self.lo), -self.frac)

    @property
    def max(self) -> float:
        """Largest value (the nearest float64, from 54 bits on)."""
        return math.ldexp(float(self.hi), -self.frac)

    @property
    def dtype(self) -> np.dtype:
        """Smallest NumPy integer type that holds every raw number."""
        for width in (8, 16, 32):
            if self.bits <= width:
                return np.dtype(f"{'' if self.signed else 'u'}int{width}")
        return np.dtype(np.int64)

    def __str__(self) -> str:
        """Return ``s8.6``: signedness (``sym``: symmetric), bits, fraction bits."""
        kind = "sym" if self.symmetric else "s" if self.signed else "u"
        return f"{kind}{self.bits}.{self.frac}"

    @classmethod
    def parse(cls, text: str) -> Fixed:
        """Read ``s8.6``, ``u8.8``, ``sym8.7``, ``s8.-2``, ``ap_fixed<8,2>`` or ``ap_ufixed<8,0>``.

        The number after the point counts fraction bits; the second one of ``ap_fixed`` (SystemC: ``sc_fixed``) counts
        integer bits with the sign.

        Parameters
        ----------
        text : str
            The format.

        Returns
        -------
        Fixed

        Raises
        ------
        FormatError
            If the text is no format, or one with two meanings such as ``Q1.7``.
        """
        given = text.strip()
        if match := _BITS_FRAC.fullmatch(given):
            return cls(int(match[2]), int(match[3]), signed=match[1] != "u", symmetric=match[1] == "sym")
        if match := _AP_FIXED.fullmatch(given):
            bits = int(match[2])
            return cls(bits, bits - int(match[3]), signed=not match[1])
        if match := _Q.fullmatch(given):
            whole, frac = int(match[2]), int(match[3])
            if match[1]:
                raise FormatError(f"format {given!r}: write u{whole + frac}.{frac} (bits.frac)")
            raise FormatError(
                f"format {given!r} has two meanings, as conventions differ whether the {whole} "
                f"counts the sign bit: write s{whole + frac}.{frac} if it does, "
                f"s{whole + frac + 1}.{frac} if not"
            )
        raise FormatError(
            f"unknown format {text!r}: write s8.6 or u8.8 (bits.frac), sym8.7 (symmetric), or ap_fixed<8,2>, "
            "ap_ufixed<8,0> (bits, integer bits)"
        )
