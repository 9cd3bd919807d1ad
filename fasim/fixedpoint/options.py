"""What a datapath may say beside its formats: random bits, functions, exponents from the data, momentum."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from fasim.errors import FormatError, unknown_name
from fasim.files import user_path
from fasim.fixedpoint.cast import Cast

SOURCES = ("philox", "lfsr")
FORMS = ("table", "hard", "pwl", "pocket")
SLOPES = ("product", "divide")
RELUS = ("plain", "clipped")
DYNAMIC_CLASSES = ("preact", "signal", "error", "delta", "gradient")
MAX_SOFTMAX_BITS = 8


@dataclass(frozen=True)
class RandomSource:
    """Where the bits of stochastic rounding come from.

    Parameters
    ----------
    source : str
        ``philox`` (a function of seed, site, step and element) or ``lfsr`` (one shift register a site).
    bits : int
        Bits used of each word, 0: as many as are rounded away.
    half : bool
        Add half of the last random bit's weight, which takes the bias of few bits away.
    width, taps, shifts, seed : int, tuple of int, int, int
        The register: bits, tapped bits from 1, shifts a draw, a number beside the run's seed.
    """

    source: str = "philox"
    bits: int = 0
    half: bool = False
    width: int = 32
    taps: tuple[int, ...] = ()
    shifts: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what draws nothing."""
        if self.source not in SOURCES:
            raise FormatError(unknown_name("random source", self.source, SOURCES))
        if not 2 <= self.width <= 32 or not 0 <= self.bits <= self.width or self.shifts < 1 or self.seed < 0:
            raise FormatError(
                f"random source of {self.width} bits that uses {self.bits}, {self.shifts} shifts a draw, seed {self.seed}: "
                "width is 2 to 32, bits 0 to width, shifts at least 1, seed at least 0"
            )
        if self.source == "lfsr" and (self.width not in self.taps or not all(1 <= tap <= self.width for tap in self.taps)):
            raise FormatError(
                f"lfsr of {self.width} bits with taps {list(self.taps)}: taps lie in 1 .. width, width among them"
            )

    @property
    def plain(self) -> bool:
        """Whether it is Philox with all bits: what the fast kernels draw themselves."""
        return self == RandomSource()


@dataclass(frozen=True)
class Functions:
    """How activations and their slopes are computed.

    Parameters
    ----------
    tanh, sigmoid : str
        ``table``, ``hard``, ``pwl``, ``pocket``, or a file of whole numbers.
    tanh_slope, sigmoid_slope : str
        The file of the slope where the function comes from a file.
    slope : str
        ``product``, or ``divide``: the slope is a whole number that divides the signal.
    relu : str
        ``plain``, or ``clipped``: no slope where the activation stands at its highest number.
    softmax_bits : int
        Fraction bits of the exponents of softmax in base 2.
    """

    tanh: str = "table"
    sigmoid: str = "table"
    tanh_slope: str = ""
    sigmoid_slope: str = ""
    slope: str = "product"
    relu: str = "plain"
    softmax_bits: int = 8

    def __post_init__(self) -> None:
        """Refuse unknown names."""
        for what, given, known in (("slope", self.slope, SLOPES), ("relu", self.relu, RELUS)):
            if given not in known:
                raise FormatError(unknown_name(what, given, known))
        for name in ("tanh", "sigmoid"):
            form, file = getattr(self, name), getattr(self, f"{name}_slope")
            if (form in FORMS) == bool(file):
                raise FormatError(
                    f"{name} = {form!r}, {name}_slope = {file!r}: {', '.join(FORMS)} stand alone, a file "
                    "of act needs one of the slope"
                )
        if not 0 <= self.softmax_bits <= MAX_SOFTMAX_BITS:
            raise FormatError(f"softmax_bits = {self.softmax_bits}: 0 to {MAX_SOFTMAX_BITS} are possible")

    @property
    def files(self) -> tuple[str, ...]:
        """Files of tables, each once."""
        return tuple(dict.fromkeys(vars(self)[name] for name in self._names_of_files()))

    def beside(self, folder: Path) -> Functions:
        """Return the same with the paths of files absolute, those that are relative being looked for from a folder."""
        found: dict[str, Any] = {
            name: str((folder / user_path(vars(self)[name])).absolute()) for name in self._names_of_files()
        }
        return replace(self, **found)

    def _names_of_files(self) -> list[str]:
        forms = [name for name in ("tanh", "sigmoid") if getattr(self, name) not in FORMS]
        return [name for form in forms for name in (form, f"{form}_slope")]

    def of(self, function: str, what: str) -> str:
        """Return the form (or the file) of ``act`` or ``slope`` of a function."""
        form = {"tanh": self.tanh, "sigmoid": self.sigmoid}.get(function, "table")
        return form if what == "act" or form in FORMS else getattr(self, f"{function}_slope")


@dataclass(frozen=True)
class Dynamic:
    """An exponent that is chosen from the data, in every step, for a whole tensor.

    Parameters
    ----------
    scale : str
        ``keep``: later casts reckon with it; ``discard``: the scale is dropped.
    nearest : bool
        Nearest power of two to the largest magnitude, which may then saturate; else the largest fits.
    headroom : int
        Bits to leave above, with `nearest`.
    """

    scale: str
    nearest: bool = False
    headroom: int = 0

    @classmethod
    def parse(cls, text: str) -> Dynamic:
        """Read ``keep``, ``discard``, ``keep nearest`` or ``discard nearest:1``.

        Raises
        ------
        FormatError
            If the text is none of them.
        """
        match = re.fullmatch(r"(keep|discard)( nearest(:(\d{1,2}))?)?", text)
        if not match:
            raise FormatError(
                f"exponent {text!r}: write keep, discard, or either with nearest or nearest:<bits of headroom>"
            )
        return cls(match[1], bool(match[2]), int(match[4] or 0))

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        return self.scale + (f" nearest:{self.headroom}" if self.nearest else "")


@dataclass(frozen=True)
class Momentum:
    """The velocity of momentum: its cast, and the factor by which the old one is kept, M / 2^m.

    Parameters
    ----------
    cast : Cast
    factor : str
        A fraction whose denominator is a power of two, such as ``115/128``.
    """

    cast: Cast
    factor: str

    def __post_init__(self) -> None:
        """Refuse a factor that shifts and products cannot make."""
        try:
            value = Fraction(self.factor)
        except (ValueError, ZeroDivisionError):
            value = Fraction(-1)
        if not 0 <= value < 1 or value.denominator & (value.denominator - 1):
            raise FormatError(
                f"[momentum] factor = {self.factor!r}: write a fraction below 1 over a power of two, as 115/128"
            )

    @property
    def multiplier(self) -> int:
        """M."""
        return Fraction(self.factor).numerator

    @property
    def bits(self) -> int:
        """Fraction bits of the factor, m."""
        return Fraction(self.factor).denominator.bit_length() - 1
