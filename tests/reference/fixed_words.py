"""The random bits of stochastic rounding: a word for every element of a site in a step, and the u made from it."""

from __future__ import annotations

import zlib
from typing import Any

from .philox import random_word


class Words:
    """Words of one training step, from Philox or from one shift register a site, as `[random]` says."""

    def __init__(self, table: dict[str, Any], seed: int, step: int) -> None:
        self.table, self.seed, self.step = table, seed, step
        self.bits = table.get("bits", 0)
        self.half = table.get("half", False)
        self.of_register = table.get("source", "philox") == "lfsr"
        self.width = table.get("width", 32) if self.of_register else 32
        self.drawn: dict[str, list[int]] = {}

    def word(self, site: str, index: int, elements: int) -> int:
        """Return the word of an element, row-major in a tensor of so many elements."""
        if not self.of_register:
            return random_word(self.seed, site, self.step, index)
        if site not in self.drawn:
            first = self.step * elements
            self.drawn[site] = self._register(site, first + elements)[first:]
        return self.drawn[site][index]

    def _register(self, site: str, draws: int) -> list[int]:
        """Return the states after each of the first draws, bit by bit."""
        width, taps = self.width, self.table["taps"]
        start = self.table.get("seed", 0) + self.seed + zlib.crc32(site.encode())
        state = 1 + start % (2**width - 1)
        states = []
        for _ in range(draws):
            for _ in range(self.table.get("shifts", 1)):
                parity = sum(state >> (tap - 1) & 1 for tap in taps) % 2
                state = (state * 2 + parity) % 2**width
            states.append(state)
        return states

    def u(self, site: str, index: int, elements: int, shift: int) -> int:
        """Return the random number that is added before `shift` bits are dropped."""
        needed = shift if self.bits == 0 or self.bits >= shift else self.bits
        if needed > self.width:
            raise ValueError(f"{site} needs {needed} random bits, a word has {self.width}")
        word = self.word(site, index, elements)
        if needed == shift:
            return word % 2**shift
        low = word % 2**self.bits * 2 ** (shift - self.bits)
        return low + (2 ** (shift - self.bits - 1) if self.half else 0)
