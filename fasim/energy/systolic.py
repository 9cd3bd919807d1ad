"""Cycles and memory accesses of a matrix product on a systolic array of R x C multipliers.

``(m, k) @ (k, n)`` is cut into tiles of what stays in the multipliers; the other operands stream past, tile by tile, from
neighbour to neighbour, and the memory keeps up. With ``up(a, b) = ceil(a / b)``:

========================= ============================== ============================== ==============================
dataflow                  ``ws`` weights stay            ``os`` outputs stay            ``is`` inputs stay
========================= ============================== ============================== ==============================
tiles                     up(k, R) up(n, C)              up(m, R) up(n, C)              up(k, R) up(m, C)
cycles of a tile          2 R + C + m - 2                R + C + k - 2                  2 R + C + n - 2
reads of the left (m k)   up(n, C) times                 up(n, C) times                 once
reads of the right (k n)  once                           up(m, R) times                 up(m, C) times
writes of sums (m n)      up(k, R) times                 once                           up(k, R) times
reads of sums             once less than writes          none                           once less than writes
========================= ============================== ============================== ==============================

A whole product takes ``tiles * cycles of a tile - 1`` cycles, as SCALE-Sim 3.0.0 (PyPI: scalesim) numbers them, stalls and
the first load of the memory left out. It counts the reads and writes of the table too, except that it adds R + C writes to
each tile of ``os`` (an artefact of how it drains the array), and that it does not count the sums that are read back.
"""

from __future__ import annotations

from dataclasses import dataclass

from fasim.energy.gemms import Gemm
from fasim.errors import ConfigError, unknown_name

DATAFLOWS = ("ws", "os", "is")


@dataclass(frozen=True)
class Array:
    """A systolic array.

    Parameters
    ----------
    rows, columns : int
        R and C; two multipliers or more.
    dataflow : str
        What stays in the multipliers: ``ws`` weights (the right operand), ``os`` outputs, ``is`` inputs (the left one).

    Raises
    ------
    ConfigError
        If a size is no positive whole number, there is one multiplier alone, or the dataflow is unknown.
    """

    rows: int
    columns: int
    dataflow: str = "ws"

    def __post_init__(self) -> None:
        """Refuse what is no array."""
        for key in ("rows", "columns"):
            size = getattr(self, key)
            if type(size) is not int or size < 1:
                raise ConfigError(f"systolic array: {key} = {size!r}: write a whole number, 1 or above")
        if self.rows * self.columns == 1:
            raise ConfigError("systolic array of 1 x 1: one multiplier passes nothing on; give 2 rows or columns, or more")
        if self.dataflow not in DATAFLOWS:
            raise ConfigError(unknown_name("dataflow", self.dataflow, DATAFLOWS))


@dataclass(frozen=True)
class Accesses:
    """Elements that an array and its on-chip memory exchange for one product.

    Parameters
    ----------
    reads_a, reads_w : int
        Of the left operand (m k) and the right one (k n).
    writes_o, reads_o : int
        Of sums, the unfinished ones included.
    """

    reads_a: int
    reads_w: int
    writes_o: int
    reads_o: int


def cycles(gemm: Gemm, array: Array) -> int:
    """Return the cycles of a product, by the table on top of this module.

    Parameters
    ----------
    gemm : Gemm
    array : Array

    Returns
    -------
    int
    """
    rows, columns = array.rows, array.columns
    match array.dataflow:
        case "ws":
            return _up(gemm.k, rows) * _up(gemm.n, columns) * (2 * rows + columns + gemm.m - 2) - 1
        case "os":
            return _up(gemm.m, rows) * _up(gemm.n, columns) * (rows + columns + gemm.k - 2) - 1
        case _:
            return _up(gemm.k, rows) * _up(gemm.m, columns) * (2 * rows + columns + gemm.n - 2) - 1


def accesses(gemm: Gemm, array: Array) -> Accesses:
    """Return what a product moves between array and on-chip memory, by the table on top of this module.

    Parameters
    ----------
    gemm : Gemm
    array : Array

    Returns
    -------
    Accesses
    """
    left, right, out = gemm.m * gemm.k, gemm.k * gemm.n, gemm.m * gemm.n
    sums = _up(gemm.k, array.rows)
    match array.dataflow:
        case "ws":
            return Accesses(left * _up(gemm.n, array.columns), right, out * sums, out * (sums - 1))
        case "os":
            return Accesses(left * _up(gemm.n, array.columns), right * _up(gemm.m, array.rows), out, 0)
        case _:
            return Accesses(left, right * _up(gemm.m, array.columns), out * sums, out * (sums - 1))


def utilisation(gemm: Gemm, array: Array) -> float:
    """Return the share of its multipliers' cycles that an array uses: ``m n k / (cycles R C)``, above 0, at most 1.

    Parameters
    ----------
    gemm : Gemm
    array : Array

    Returns
    -------
    float
    """
    return gemm.products / (cycles(gemm, array) * array.rows * array.columns)


def _up(size: int, by: int) -> int:
    return -(-size // by)
