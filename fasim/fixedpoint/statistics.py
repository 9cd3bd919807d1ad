"""What range a tensor took in a run, and how its values were distributed by size."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from fasim.fixedpoint.format import Fixed

# of fasim.kernels.observe_float: bin i holds 2^(i - 64) <= |x| < 2^(i - 63); of observe: bin b holds bit_length(|raw|) = b
FLOAT_BINS = 64


@dataclass(frozen=True)
class TensorStatistics:
    """Range and sizes of all values that were written to a tensor; sums of runs are sums of these.

    Parameters
    ----------
    name, cls : str
        The tensor and its class.
    layer : int
        0 for what belongs to none.
    format : Fixed or None
        None is float32.
    lowest, highest : int or float
        Raw numbers in fixed point, values in float (infinities the wrong way round if there was no finite one).
    zeros, elements : int
    histogram : tuple of int
        As the kernels `observe` and `observe_float` count.
    not_finite : int
        NaN and infinities.
    saturations, wraps : int
        Of the sites at which the tensor is written.
    """

    name: str
    cls: str
    layer: int
    format: Fixed | None
    lowest: float
    highest: float
    zeros: int
    elements: int
    histogram: tuple[int, ...]
    not_finite: int = 0
    saturations: int = 0
    wraps: int = 0

    def __add__(self, other: TensorStatistics) -> TensorStatistics:
        return replace(
            self,
            lowest=min(self.lowest, other.lowest),
            highest=max(self.highest, other.highest),
            zeros=self.zeros + other.zeros,
            elements=self.elements + other.elements,
            histogram=tuple(one + two for one, two in zip(self.histogram, other.histogram, strict=True)),
            not_finite=self.not_finite + other.not_finite,
            saturations=self.saturations + other.saturations,
            wraps=self.wraps + other.wraps,
        )

    def with_counts(self, saturations: int, wraps: int) -> TensorStatistics:
        """Return the same with so many more saturations and wraps."""
        return replace(self, saturations=self.saturations + saturations, wraps=self.wraps + wraps)

    @property
    def min(self) -> float:
        """Smallest value."""
        return self._value(self.lowest)

    @property
    def max(self) -> float:
        """Largest value."""
        return self._value(self.highest)

    @property
    def largest(self) -> float:
        """Largest magnitude; 0 where no value was finite."""
        return max(abs(self.min), abs(self.max)) if self.elements > self.not_finite else 0.0

    @property
    def used_bits(self) -> int | None:
        """Bits of the narrowest format, signed as the tensor's, that holds all raw values; None in float."""
        if self.format is None:
            return None
        low, high = int(self.lowest), int(self.highest)
        if not self.format.signed:
            return high.bit_length()
        return max(high.bit_length() if high > 0 else 0, (~low).bit_length() if low < 0 else 0) + 1

    @property
    def zero_fraction(self) -> float:
        """Share of the values that are 0."""
        return self.zeros / self.elements if self.elements else 0.0

    @property
    def saturated_fraction(self) -> float:
        """Saturations and wraps by the number of elements."""
        return (self.saturations + self.wraps) / self.elements if self.elements else 0.0

    @property
    def exponents(self) -> dict[int, int]:
        """How many values lie in ``2^e <= |x| < 2^(e + 1)``, by e, where there are any; no zeros."""
        shift = FLOAT_BINS if self.format is None else 1 + self.format.frac
        first = 0 if self.format is None else 1
        return {size - shift: count for size, count in enumerate(self.histogram) if count and size >= first}

    def share_beyond(self, exponent: int) -> float:
        """Return the share of the values with ``|x| >= 2^exponent``: what a format of that range cuts off.

        NaN and infinities count among them. A power of two that just fits below zero counts too.
        """
        beyond = sum(count for e, count in self.exponents.items() if e >= exponent)
        return (beyond + self.not_finite) / self.elements if self.elements else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; what is not a finite number is None."""
        return {
            "name": self.name,
            "class": self.cls,
            "layer": self.layer,
            "format": None if self.format is None else str(self.format),
            "min": self.min if math.isfinite(self.min) else None,
            "max": self.max if math.isfinite(self.max) else None,
            "used_bits": self.used_bits,
            "zero_fraction": self.zero_fraction,
            "elements": self.elements,
            "not_finite": self.not_finite,
            "saturations": self.saturations,
            "wraps": self.wraps,
            "exponents": {str(e): count for e, count in self.exponents.items()},
        }

    def _value(self, raw: float) -> float:
        return raw if self.format is None else math.ldexp(raw, -self.format.frac)
