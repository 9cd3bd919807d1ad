"""What operations and memory words cost, as a linear form in the prices of a processor.

::

    MUL  int   int_mul_bit2 * a b + int_mul_bit * sqrt(a b)        a, b the bits of its operands
    ADD  int   int_add_bit * bits        CMP  as ADD        SHIFT  shift_bit * bits
    DIV  int   a subtraction and a shift for each bit of the quotient: bits * (int_add_bit + shift_bit) * bits
    LUT        lut_bit * bits of the entry                  RNG_BITS  rng_bit each
    float32    float32_mul, float32_add, float32_div, CMP as an addition
    MAC        MUL of its operands + ADD of its accumulator
    word       <level>.read or <level>.write

Because energy is linear in the prices, the ratio of two energies is a quotient of linear forms: over a box of prices its
extremes lie at corners.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from fasim.energy.hierarchy import Move
from fasim.energy.operations import Operations
from fasim.energy.processor import Processor

Vector = NDArray[np.float64]


class Prices:
    """Turns counts into how often each price of a processor is paid.

    Parameters
    ----------
    processor : Processor
    """

    def __init__(self, processor: Processor) -> None:
        self.processor = processor
        self.names = processor.prices
        self._place = {name: place for place, name in enumerate(self.names)}

    def operations(self, rows: Iterable[Operations]) -> Vector:
        """Return what these operations pay, shape (number of prices,): its product with the prices is pJ."""
        paid = np.zeros(len(self.names))
        for row in rows:
            for name, amount in _price(row):
                paid[self._place[name]] += row.count * amount
        return paid

    def moves(self, rows: Iterable[Move]) -> Vector:
        """Return what these words pay, likewise."""
        paid = np.zeros(len(self.names))
        levels = self.processor.levels
        for row in rows:
            paid[self._place[f"{levels[row.level].name}.{'write' if row.write else 'read'}"]] += row.words
        return paid


def _price(row: Operations) -> Iterator[tuple[str, float]]:
    bits = row.bits_accumulator
    match row.kind:
        case "MAC":
            yield from _mul(row)
            yield _add(row)
        case "MUL":
            yield from _mul(row)
        case "ADD" | "CMP":
            yield _add(row)
        case "SHIFT":
            yield "shift_bit", bits
        case "LUT":
            yield "lut_bit", bits
        case "RNG_BITS":
            yield "rng_bit", 1
        case "DIV" if not row.float32:
            yield "int_add_bit", bits * bits
            yield "shift_bit", bits * bits
        case _:
            yield "float32_div", 1


def _mul(row: Operations) -> Iterator[tuple[str, float]]:
    if row.float32:
        yield "float32_mul", 1
        return
    product = row.bits_a * row.bits_b
    yield "int_mul_bit2", product
    yield "int_mul_bit", math.sqrt(product)


def _add(row: Operations) -> tuple[str, float]:
    return ("float32_add", 1) if row.float32 else ("int_add_bit", row.bits_accumulator)


def ratio_ends(paid: Vector, baseline: Vector, low: Vector, high: Vector) -> tuple[float, float]:
    """Return the smallest and largest ``(paid @ x) / (baseline @ x)`` over all prices x between `low` and `high`.

    The largest quotient q has each x_i at its high end where ``paid_i - q * baseline_i > 0`` and at its low end elsewhere.
    Which those are changes with q at the quotients ``paid_i / baseline_i`` alone: sorted by these, one of the n + 1 corners
    "the first k high, the rest low" is the largest, and one of "the first k low, the rest high" the smallest.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        quotients = np.where(baseline > 0, paid / baseline, np.inf)
    order = np.argsort(-quotients, kind="stable")
    first = np.tri(len(order) + 1, len(order), -1, dtype=bool)[:, np.argsort(order)]
    largest = np.where(first, high, low)
    smallest = np.where(first, low, high)
    return (
        float(((smallest @ paid) / (smallest @ baseline)).min()),
        float(((largest @ paid) / (largest @ baseline)).max()),
    )
