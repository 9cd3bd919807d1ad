"""Matrix products in an accumulator of limited width, for `fasim.fixedpoint.arrays.matmul`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fasim.errors import FormatError
from fasim.fixedpoint.accumulator import ORDERS, Acc
from fasim.fixedpoint.cast import limits
from fasim.fixedpoint.format import Fixed
from fasim.kernels.accumulate import dense_accumulate, project_accumulate
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS

Integers = NDArray[Any]


def accumulate(
    a: Integers,
    b: Integers,
    a_format: Fixed,
    b_format: Fixed,
    bias: Integers | None,
    bias_format: Fixed | None,
    acc: Acc,
    counters: Integers,
) -> tuple[Integers, Fixed]:
    """Return ``a @ b + bias`` as the register of an accumulator ends up, and its format.

    Parameters
    ----------
    a : integer ndarray, shape (N, K), contiguous
    b : integer ndarray, shape (K, J)
    a_format, b_format : Fixed
    bias : integer ndarray, shape (J,), or None
    bias_format : Fixed or None
    acc : Acc
    counters : int64 ndarray, shape (2,)
        Grow by what saturated and what wrapped.

    Returns
    -------
    tuple (integer ndarray of shape (N, J), Fixed)

    Raises
    ------
    FormatError
        If the binary points contradict each other, or more than 63 bits are needed before the register's range is applied.
    """
    plan = _plan(a_format, b_format, bias_format, acc, a.shape[1])
    registers: Integers = np.empty((plan.rows, b.shape[1]), plan.kind)
    out = np.empty((a.shape[0], b.shape[1]), plan.total.dtype)
    # in the types of the formats kernels take the fast way
    a, b = a.astype(a_format.dtype, copy=False), b.astype(b_format.dtype, copy=False)
    if bias is None:
        project_accumulate(a, b, *plan.codes, registers, out, counters)
    else:
        weight = np.ascontiguousarray(b.T)
        dense_accumulate(a, weight, bias, plan.bias_shift, *plan.codes, registers, out, counters)
    return out, plan.total


class _Plan(NamedTuple):
    """What follows from formats and the accumulator alone."""

    total: Fixed
    bias_shift: int
    codes: tuple[int, ...]
    rows: int
    kind: DTypeLike


@lru_cache
def _plan(a_format: Fixed, b_format: Fixed, bias_format: Fixed | None, acc: Acc, terms: int) -> _Plan:
    """Return the format of the register and how kernels are to reckon it; refuse what `accumulate` refuses."""
    product = a_format.frac + b_format.frac
    if acc.product_rounding and acc.product_frac > product:
        raise FormatError(f"accumulator {acc}: a product has {product} fraction bits, it cannot be rounded to more")
    frac = acc.product_frac if acc.product_rounding else product
    bias_frac = frac if bias_format is None else bias_format.frac
    if bias_frac > frac and acc.product_rounding:
        raise FormatError(f"accumulator {acc}: a bias with {bias_frac} fraction bits has more than the register's {frac}")
    frac = max(frac, bias_frac)
    total = Fixed(acc.bits, frac)
    lo, hi = limits(total, acc.overflow)
    widest = _widest(a_format, b_format, terms, acc, product - frac)
    if bias_format is not None:
        # the register begins with it, and what is added comes on top before anything is brought into range
        widest += max(-bias_format.lo, bias_format.hi) << frac - bias_frac
    needed = (widest + max(-lo, hi) + 1).bit_length() + 1
    if needed > 64:
        raise FormatError(f"accumulator {acc}: {needed} bits are needed before its range is applied, 64 are possible")
    rounding = ROUNDINGS[acc.product_rounding or "TRN"]
    codes = (product - frac, rounding, lo, hi, OVERFLOWS[acc.overflow], acc.every_mac, ORDERS.index(acc.order), acc.width)
    # one bit to spare: kernels add two registers to prove what stays in range
    kind = np.int32 if needed < 32 else np.int64
    return _Plan(total, frac - bias_frac, codes, {"lanes": acc.width, "tree": 2}.get(acc.order, 1), kind)


def _widest(a_format: Fixed, b_format: Fixed, terms: int, acc: Acc, drop: int) -> int:
    """Return the largest magnitude that is added to the register at once: a product, a group of them, or all."""
    largest = max(-a_format.lo, a_format.hi) * max(-b_format.lo, b_format.hi)
    addend = max(largest >> drop if drop >= 0 else largest << -drop, 1) + (drop > 0)
    at_once = terms if not acc.every_mac else min(acc.width, terms) if acc.order == "tree" else 1
    # The product itself is formed before bits are dropped
    return max(largest, addend * at_once)
