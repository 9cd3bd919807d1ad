"""Which register tiles form an exact sum of integer products: chosen from the formats, once, as a schedule is bound."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fasim import kernels
from fasim.backends.cpu_bind import Call
from fasim.backends.cpu_cast import Operands
from fasim.fixedpoint.format import Fixed
from fasim.kernels import micro
from fasim.kernels.micro.outer_integer import GROUP, PORTABLE, ROWS

INT8, UINT8, INT16 = (np.dtype(name) for name in ("int8", "uint8", "int16"))
# what tiles take: the pair of types, or both widened to int16
BYTES = {(INT8, INT8): micro.gemm_nt_int8, (UINT8, INT8): micro.gemm_nt_uint8}
# sums modulo 2^32 are exact below this, and products of int16 need not be split up to this
WINDOW, WHOLE = 1 << 31, 1 << 23
# rows of sums that are formed at once: 12 of 784 int32 stay in a first-level cache of 48 KB
ROWS_AT_ONCE = 2 * ROWS
WORDS = 2


class Factors(NamedTuple):
    """Two formats whose products are added."""

    left: Fixed
    right: Fixed
    terms: int

    @property
    def largest(self) -> int:
        """Return the largest magnitude of a product."""
        left, right = (max(-fmt.lo, fmt.hi) for fmt in (self.left, self.right))
        return left * right

    @property
    def narrow(self) -> bool:
        """Return whether tiles take both."""
        return all(fmt.dtype in (INT8, UINT8, INT16) for fmt in (self.left, self.right))


def factors(o: Operands, terms: int) -> Factors | None:
    """Return the formats of an op's first two operands if register tiles take them."""
    left, right = (o.schedule[value].format for value in o.op.reads[:2])
    if left is None or right is None:
        return None
    found = Factors(left, right, terms)
    return found if found.narrow else None


def rows_with_rows(found: Factors, a: np.ndarray, b: np.ndarray, out: np.ndarray) -> tuple[list[Call], np.ndarray] | None:
    """Return the calls that form ``sums[n, j] = sum_k a[n, k] * b[j, k]``, and the sums: `out` where its type is theirs.

    None where the rows of an operand are not contiguous. An `out` of int32 holds every sum, as the lowering has proven:
    then sums modulo 2^32 are exact.
    """
    if any(matrix.size and matrix.strides[1] != matrix.itemsize for matrix in (a, b)):
        return None
    calls: list[Call] = []
    modular = out.dtype == np.int32 or found.terms * found.largest < WINDOW
    types = a.dtype, b.dtype
    if not (modular and types in BYTES):
        a, b = (widened(matrix, calls) for matrix in (a, b))
    if not modular:
        calls.append((micro.gemm_nt_int16_wide, (a, b, found.largest > WHOLE, out)))
        return calls, out
    sums = out if out.dtype == np.int32 else np.empty(out.shape, np.int32)
    calls.append((BYTES.get(types, micro.gemm_nt_int16), (a, b, sums)))
    return calls, sums


class Outer(NamedTuple):
    """Factors of ``sums[j, i] = sum_n a[n, j] * b[n, i]``, interleaved by calls that come first."""

    calls: list[Call]
    left: np.ndarray
    right: np.ndarray
    offsets: np.ndarray
    columns: int

    @property
    def halves(self) -> bool:
        """Return whether sums are formed in int64, from halves of the left factor."""
        return self.left.ndim == 4

    def parts(self) -> np.ndarray:
        """Return scratch for halves of sums."""
        return np.empty((2, ROWS_AT_ONCE, self.columns), np.int32)

    def sums(self, out: np.ndarray) -> list[Call]:
        """Return all calls that fill `out`."""
        if self.halves:
            return [*self.calls, (kernels.outer_sums_halves, (self.left, self.right, self.parts(), out))]
        return [*self.calls, (micro.outer_sums, (self.left, self.right, self.offsets, out))]


def outer(found: Factors, a: np.ndarray, b: np.ndarray, out: np.dtype) -> Outer | None:
    """Interleave two factors, integer[N, J] and integer[N, I], for sums of type `out`; None where nothing is won.

    An int32 holds every sum, as the lowering has proven: then sums modulo 2^32 are exact.
    """
    if PORTABLE:
        return None
    calls: list[Call] = []
    offsets = np.zeros(a.shape[1], np.int32)
    if out != np.int32:
        groups = -(-len(a) // WORDS)
        left = np.empty((2, groups, a.shape[1], WORDS), INT16)
        right = np.empty((groups, b.shape[1], WORDS), INT16)
        calls += [(kernels.interleave_halves, (a, left)), (kernels.interleave, (b, 0, right))]
        return Outer(calls, left, right, offsets, b.shape[1])
    bytes_ = a.dtype == INT8 and b.dtype in (INT8, UINT8) and GROUP > WORDS
    group, types = (GROUP, (INT8, UINT8)) if bytes_ else (WORDS, (INT16, INT16))
    groups = -(-len(a) // group)
    left, right = (np.empty((groups, m.shape[1], group), dtype) for m, dtype in zip((a, b), types, strict=True))
    flip = 128 if bytes_ and b.dtype == INT8 else 0
    calls += [(kernels.interleave, (a, 0, left)), (kernels.interleave, (b, flip, right))]
    if flip:
        calls.append((kernels.flip_offsets, (left, offsets)))
    return Outer(calls, left, right, offsets, b.shape[1])


def widened(matrix: np.ndarray, calls: list[Call]) -> np.ndarray:
    """Return a matrix of int16 that a call fills, or the one that is of that type."""
    if matrix.dtype == INT16:
        return matrix
    wide = np.empty(matrix.shape, INT16)
    calls.append((kernels.copy_fixed, (matrix, wide)))
    return wide
