"""What one operation or one memory word costs, as a linear form in the constants of a processor.

::

    MUL  int   int_mul_bit2 * a b + int_mul_bit * sqrt(a b)        a, b the bits of its operands
    ADD  int   int_add_bit * bits        CMP  as ADD        SHIFT  shift_bit * bits
    LUT        lut_bit * bits of the entry                  RNG_BITS  rng_bit each
    float32    float32_mul, float32_add, float32_div, CMP as an addition
    MAC        MUL of its operands + ADD of its accumulator
    word       sram_read or sram_write

Because energy is linear in the constants, the ratio of two energies is a quotient of linear forms: over a box of constants
its extremes lie at corners.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fasim.energy.operations import Operations
from fasim.energy.processor import CONSTANTS
from fasim.energy.traffic import Transfer

_PLACE = {name: place for place, name in enumerate(CONSTANTS)}


def coefficients(operations: Iterable[Operations], traffic: Iterable[Transfer]) -> NDArray[np.float64]:
    """Return how often each constant is paid.

    Parameters
    ----------
    operations : iterable of Operations
    traffic : iterable of Transfer

    Returns
    -------
    float64 ndarray, shape (number of constants,)
        In the order of :data:`fasim.energy.processor.CONSTANTS`; its product with the constants is the energy in pJ.
    """
    result = np.zeros(len(CONSTANTS))
    for row in operations:
        for name, amount in _price(row):
            result[_PLACE[name]] += row.count * amount
    for transfer in traffic:
        result[_PLACE["sram_write" if transfer.write else "sram_read"]] += transfer.words
    return result


def _price(row: Operations) -> list[tuple[str, float]]:
    bits = row.bits_accumulator
    match row.kind:
        case "MAC":
            return _mul(row) + _add(row)
        case "MUL":
            return _mul(row)
        case "ADD" | "CMP":
            return _add(row)
        case "SHIFT":
            return [("shift_bit", bits)]
        case "LUT":
            return [("lut_bit", bits)]
        case "RNG_BITS":
            return [("rng_bit", 1)]
        case _:
            # only float32 divides: softmax and Adam have no fixed-point form
            return [("float32_div", 1)]


def _mul(row: Operations) -> list[tuple[str, float]]:
    if row.float32:
        return [("float32_mul", 1)]
    product = row.bits_a * row.bits_b
    return [("int_mul_bit2", product), ("int_mul_bit", math.sqrt(product))]


def _add(row: Operations) -> list[tuple[str, float]]:
    return [("float32_add", 1)] if row.float32 else [("int_add_bit", row.bits_accumulator)]
