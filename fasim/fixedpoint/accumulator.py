"""The register in which a sum of products is formed: how wide, and what happens at each addition."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from fasim.errors import FormatError
from fasim.fixedpoint import aliases

MAX_BITS = 62
# registers of a sum, or products that are added at once: more than any chip has side by side
MAX_WIDTH = 4096
ORDERS = ("ascending", "lanes", "tree")
EXACT = "exact"
_WHENS = ("end", "every_mac")
_EXAMPLE = 'write "exact", or bits, overflow and more as in "20 SAT every_mac RND:12 lanes:4"'


LONGEST_WORD = 40


@dataclass(frozen=True)
class Acc:
    """A limited accumulator; ``docs/reference/fixed-point.md`` states it to the bit.

    Parameters
    ----------
    bits : int
        Of the signed register, 2 to 62.
    overflow : str
        A name of `fasim.scalar.rounding`.
    when : str
        ``end``: the exact sum is brought into range once. ``every_mac``: the register is, after its bias was loaded and
        after each addition.
    product_rounding : str
        A deterministic rounding of each product before it is added; empty: none.
    product_frac : int
        Fraction bits of the rounded products, and so of the register.
    order : str
        ``ascending``, ``lanes`` (P registers, added up at the end) or ``tree`` (P products are added exactly, then go to
        the register as one).
    width : int
        P of lanes and tree, 1 to 4096.

    Raises
    ------
    FormatError
        If a part is unknown or out of range.
    """

    bits: int
    overflow: str
    when: str = "end"
    product_rounding: str = ""
    product_frac: int = 0
    order: str = "ascending"
    width: int = 1

    def __post_init__(self) -> None:
        """Refuse what no register can be."""
        if not 2 <= self.bits <= MAX_BITS:
            raise FormatError(f"accumulator of {self.bits} bits: 2 to {MAX_BITS} are possible")
        object.__setattr__(self, "overflow", aliases.overflow(self.overflow))
        if self.product_rounding:
            rounding = aliases.rounding(self.product_rounding)
            if rounding == "STOCH":
                raise FormatError("accumulator: products are rounded by a deterministic mode, not STOCH; use RND")
            object.__setattr__(self, "product_rounding", rounding)
        if not 1 <= self.width <= MAX_WIDTH:
            raise FormatError(
                f"accumulator with {self.order}:{self.width}: write {self.order}:1 to {self.order}:{MAX_WIDTH}"
            )
        if self.when not in _WHENS or self.order not in ORDERS:
            raise FormatError(f"accumulator {self}: {_EXAMPLE}")

    @property
    def every_mac(self) -> bool:
        """Whether the register is brought into range at every addition."""
        return self.when == "every_mac"

    @property
    def plain(self) -> bool:
        """Whether an exact sum that is cast once at the end says it all."""
        return not self.every_mac and not self.product_rounding

    @classmethod
    @lru_cache
    def parse(cls, text: str) -> Acc | None:
        """Read a text such as ``20 SAT every_mac RND:12 lanes:4``; None for ``exact``.

        Raises
        ------
        FormatError
            If the text cannot be read.
        """
        words = text.split()
        if words == [EXACT]:
            return None
        # int() refuses what has thousands of digits in words of its own
        if len(words) < 2 or not words[0].isdecimal() or max(map(len, words)) > LONGEST_WORD:
            raise FormatError(f"accumulator {text!r}: {_EXAMPLE}")
        parts: dict[str, object] = {"bits": int(words[0]), "overflow": words[1]}
        for word in words[2:]:
            name, _, number = word.partition(":")
            if word in _WHENS:
                parts["when"] = word
            elif name in ORDERS and (number.isdecimal() if name != "ascending" else not number):
                parts |= {"order": name, "width": int(number or 1)}
            elif re.fullmatch(r"-?\d+", number):
                parts |= {"product_rounding": name, "product_frac": int(number)}
            else:
                raise FormatError(f"accumulator {text!r}: {word!r} has no meaning; {_EXAMPLE}")
        return cls(**parts)  # type: ignore[arg-type]

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        words = [str(self.bits), self.overflow, self.when]
        if self.product_rounding:
            words.append(f"{self.product_rounding}:{self.product_frac}")
        words.append(self.order if self.order == "ascending" else f"{self.order}:{self.width}")
        return " ".join(words)
