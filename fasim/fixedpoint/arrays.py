"""Fixed-point arithmetic on plain NumPy arrays of integers: casts, matrix products and convolutions, exact to the bit.

A product sum is formed by the fastest engine that is proven exact for the formats: the CPU's dot products of bytes or words
where 32 bits hold every sum, a float matrix product where every partial sum is a whole number that the float holds, else
loops over integers. What an accumulator of limited width would
make of it is computed addition by addition.
"""

from __future__ import annotations

import math
import zlib
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fasim import kernels
from fasim.errors import FormatError, unknown_name
from fasim.fixedpoint import register
from fasim.fixedpoint.accumulator import Acc
from fasim.fixedpoint.cast import Cast, limits
from fasim.fixedpoint.dot_products import dot_products
from fasim.fixedpoint.format import Fixed
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS

Integers = NDArray[Any]

_MOST_BITS = 63
_EXACT_UP_TO = {"float32": 2**24, "float64": 2**53}
_WORD_BITS = 32
_SHORTEST_CHUNK = 16  # terms for which int32 sums are worth the pass that adds them in int64
# below, copying the matrix, as floats or transposed, costs more than integer loops: 90 and 145 us against 30 for one row of
# 784 x 500
_FEW_ROWS = 4
ENGINES = ("auto", "integer", *_EXACT_UP_TO)


class Counts(NamedTuple):
    """How many numbers left their range: saturated by SAT, SAT_SYM, SAT_ZERO, or wrapped by WRAP, NUMERIC_STD."""

    saturated: int
    wrapped: int


def requantize(
    raw: ArrayLike,
    source: Fixed,
    target: Fixed,
    rounding: str,
    overflow: str,
    *,
    seed: int = 0,
    site: str = "",
    step: int = 0,
    return_counts: bool = False,
) -> Any:  # noqa: ANN401 - an array, or a tuple with counts
    """Cast raw numbers from a format to another: ``overflow(round(raw * 2^(F_target - F_source)))``, one rounding.

    Parameters
    ----------
    raw : array_like of integers
        Any shape, within the range of ``source``.
    source, target : Fixed
        Format before and after.
    rounding, overflow : str
        By our names or those of another tool (`fasim.fixedpoint.aliases`).
    seed, site, step : int, str, int
        What STOCH draws its words from: Philox4x32-10, keyed by the seed and the place's name, at a step.
    return_counts : bool
        Whether to return too how many numbers left the range of ``target``.

    Returns
    -------
    ndarray of target.dtype, or a tuple of it and Counts
        The same shape.

    Raises
    ------
    FormatError
        If numbers are no integers or leave ``source``, a name is unknown, or STOCH is to drop more than 32 bits.
    """
    cast = Cast(target, rounding, overflow)
    given = _checked(raw, source, "raw")
    if cast.rounding == "STOCH" and source.frac - target.frac > _WORD_BITS:
        raise FormatError(
            f"STOCH from {source} to {target} drops {source.frac - target.frac} bits, a word has {_WORD_BITS}: "
            "cast in two steps, the first by TRN"
        )
    if not 0 <= seed < 2**64:
        raise FormatError(f"seed {seed}: must be 0 to 2^64 - 1")
    out, counters = np.empty(given.shape, target.dtype), np.zeros(2, np.int64)
    _cast(given, source.frac, cast, out, counters, seed, zlib.crc32(site.encode()), step)
    return (out, Counts(*counters.tolist())) if return_counts else out


def exact_window(a_format: Fixed, b_format: Fixed, terms: int) -> dict[str, bool]:
    """Return which engines form a sum of products without any rounding.

    A float engine does while ``terms * max|a| * max|b|`` is a whole number that it holds together with all below: 2^24 for
    float32, 2^53 for float64. Then no partial sum is rounded, in whatever order the engine adds. Integers have 63 bits.

    Parameters
    ----------
    a_format, b_format : Fixed
        Formats of the two factors.
    terms : int
        K, products in a sum.

    Returns
    -------
    dict of str to bool
        For ``float32``, ``float64`` and ``integer``.
    """
    most = _most(a_format, b_format, terms)
    return {name: most <= limit for name, limit in _EXACT_UP_TO.items()} | {"integer": most < 2 ** (_MOST_BITS - 1)}


@lru_cache
def sum_format(a_format: Fixed, b_format: Fixed, terms: int, bias_format: Fixed | None = None) -> Fixed:
    """Return the narrowest format that holds every sum of ``terms`` products, bias included.

    Parameters
    ----------
    a_format, b_format : Fixed
        Formats of the two factors.
    terms : int
        K, products in a sum.
    bias_format : Fixed or None
        Format of what is added to the sum; the finer binary point is that of the result.

    Returns
    -------
    Fixed

    Raises
    ------
    FormatError
        If more than 63 bits are needed.
    """
    frac = a_format.frac + b_format.frac
    ends = [x * y for x in (a_format.lo, a_format.hi) for y in (b_format.lo, b_format.hi)]
    lo, hi = terms * min(ends), terms * max(ends)
    if bias_format is not None:
        finest = max(frac, bias_format.frac)
        lo = (lo << finest - frac) + (bias_format.lo << finest - bias_format.frac)
        hi = (hi << finest - frac) + (bias_format.hi << finest - bias_format.frac)
        frac = finest
    signed = lo < 0
    bits = max(hi.bit_length(), (-lo - 1).bit_length()) + 1 if signed else max(hi.bit_length(), 1)
    if bits > _MOST_BITS:
        what = f"a sum of {terms} products {a_format} * {b_format}" + (f" + {bias_format}" if bias_format else "")
        raise FormatError(f"{what} needs {bits} bits, {_MOST_BITS} are possible: use narrower formats")
    return Fixed(bits, frac, signed=signed)


def matmul(
    a: ArrayLike,
    b: ArrayLike,
    a_format: Fixed,
    b_format: Fixed,
    *,
    bias: ArrayLike | None = None,
    bias_format: Fixed | None = None,
    out: Cast | None = None,
    accumulator: str = "exact",
    engine: str = "auto",
    return_counts: bool = False,
) -> tuple[Any, ...]:
    """Multiply matrices of raw numbers: ``cast(sum_k a[n, k] * b[k, j] + bias[j])``.

    Parameters
    ----------
    a : array_like of integers, shape (N, K)
    b : array_like of integers, shape (K, J)
    a_format, b_format : Fixed
        Their formats.
    bias : array_like of integers, shape (J,), or None
        Added to the exact sum at the finer of both binary points; an accumulator starts from it.
    bias_format : Fixed or None
        Its format.
    out : Cast or None
        Applied to the sums, any mode but STOCH; None: the sums as they are.
    accumulator : str
        ``exact``, or a register such as ``20 SAT every_mac RND:12 lanes:4`` (`fasim.fixedpoint.accumulator.Acc`).
    engine : str
        How exact sums are formed, with the same result: ``integer`` (compiled loops), ``float32`` or ``float64`` (BLAS,
        only where `exact_window` allows it), ``auto`` the fastest that is allowed (which may be the CPU's dot products).
    return_counts : bool
        Whether to return too what left its range.

    Returns
    -------
    tuple (raw, Fixed) or (raw, Fixed, dict of str to Counts)
        Raw numbers of shape (N, J), their format; counts at ``sum`` (the accumulator) and ``out`` (the cast).

    Raises
    ------
    FormatError
        If shapes do not fit, numbers leave their format, the engine would round, or more than 63 bits are needed.
    """
    left, right = _checked(a, a_format, "a"), _checked(b, b_format, "b")
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
        raise FormatError(f"matmul of shapes {left.shape} and {right.shape}: needs (N, K) and (K, J)")
    start = _bias(bias, bias_format, right.shape[1])
    if out is not None and out.rounding == "STOCH":
        raise FormatError("matmul with a STOCH cast: leave out=None and call requantize, which takes a seed")
    if engine not in ENGINES:
        raise FormatError(unknown_name("engine", engine, ENGINES))
    limited = Acc.parse(accumulator)
    counts = {"sum": Counts(0, 0), "out": Counts(0, 0)}
    counters = np.zeros(2, np.int64)
    if limited is None:
        total = sum_format(a_format, b_format, left.shape[1], bias_format)
        sums = _exact(left, right, a_format, b_format, engine)
        if start is not None and bias_format is not None:
            frac = a_format.frac + b_format.frac
            # In place where the type is wide enough for the bias too
            sums = sums.astype(np.int32 if total.bits < 32 else np.int64, copy=False)
            sums <<= total.frac - frac
            sums += start.astype(sums.dtype) << (total.frac - bias_format.frac)
    else:
        sums, total = register.accumulate(left, right, a_format, b_format, start, bias_format, limited, counters)
        counts["sum"] = Counts(*counters.tolist())
    if out is not None:
        counters[:] = 0
        result = np.empty(sums.shape, out.format.dtype)
        _cast(sums, total.frac, out, result, counters, 0, 0, 0)
        counts["out"] = Counts(*counters.tolist())
        sums, total = result, out.format
    return (sums, total, counts) if return_counts else (sums, total)


def conv2d(
    x: ArrayLike,
    w: ArrayLike,
    x_format: Fixed,
    w_format: Fixed,
    *,
    stride: int = 1,
    padding: int = 0,
    **how: Any,  # noqa: ANN401 - the keywords of matmul
) -> tuple[Any, ...]:
    """Convolve maps of raw numbers: ``cast(sum_(r,s,c) x[n, p t + r - d, q t + s - d, c] * w[j, r, s, c] + bias[j])``.

    Here t is the stride, d the padding with zeros.

    Parameters
    ----------
    x : array_like of integers, shape (N, H, W, C)
    w : array_like of integers, shape (J, R, S, C)
    x_format, w_format : Fixed
        Their formats.
    stride, padding : int
        At least 1; at least 0.
    **how
        ``bias`` (J,), ``bias_format``, ``out``, ``accumulator``, ``engine``, ``return_counts`` as for `matmul`; products
        are added in the order of (r, s, c), row-major.

    Returns
    -------
    tuple (raw, Fixed) or (raw, Fixed, dict of str to Counts)
        Raw numbers of shape (N, P, Q, J), as for `matmul`.

    Raises
    ------
    FormatError
        As for `matmul`.
    """
    maps, kernel = _checked(x, x_format, "x"), _checked(w, w_format, "w")
    if maps.ndim != 4 or kernel.ndim != 4 or maps.shape[3] != kernel.shape[3] or stride < 1 or padding < 0:
        raise FormatError(
            f"conv2d of shapes {maps.shape} and {kernel.shape}, stride {stride}, padding {padding}: needs (N, H, W, C) and "
            "(J, R, S, C), a stride of at least 1, a padding of at least 0"
        )
    if not x_format.lo <= 0 <= x_format.hi:
        raise FormatError(f"conv2d: {x_format} has no 0 to pad with")
    units, rows, columns, _ = kernel.shape
    padded = np.pad(maps, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    if padded.shape[1] < rows or padded.shape[2] < columns:
        raise FormatError(
            f"conv2d: maps of {padded.shape[1]} x {padded.shape[2]} are smaller than the {rows} x {columns} kernel"
        )
    windows = np.lib.stride_tricks.sliding_window_view(padded, (rows, columns), axis=(1, 2))
    windows = windows[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)
    places = windows.shape[:3]
    size = math.prod(kernel.shape[1:])
    flat = windows.reshape(math.prod(places), size), kernel.reshape(units, size).T
    sums, *rest = matmul(*flat, x_format, w_format, **how)
    return sums.reshape(*places, units), *rest


def _most(a_format: Fixed, b_format: Fixed, terms: int) -> int:
    """Return the largest magnitude that a sum of products can have."""
    return terms * max(-a_format.lo, a_format.hi) * max(-b_format.lo, b_format.hi)


def _checked(values: ArrayLike, fmt: Fixed, name: str) -> Integers:
    """Return contiguous integers of at most 64 bits, all within the format."""
    given = np.ascontiguousarray(values)
    if not given.dtype.isnative:
        given = given.astype(given.dtype.newbyteorder("="))
    whole = fmt.bits == 8 * given.itemsize and not fmt.symmetric
    if given.dtype == fmt.dtype and whole and given.ndim == np.ndim(values):
        return given
    if given.dtype.kind not in "iu":
        raise FormatError(f"{name} holds {given.dtype}: raw integers are needed; quantize makes them from floats")
    held = np.iinfo(given.dtype)
    if given.size and (held.min < fmt.lo or held.max > fmt.hi):
        lowest, highest = int(given.min()), int(given.max())
        if lowest < fmt.lo or highest > fmt.hi:
            raise FormatError(
                f"{name} holds {lowest} .. {highest}, outside of {fmt}, {fmt.lo} .. {fmt.hi}: give its format"
            )
    return given.reshape(np.shape(values))


def _bias(bias: ArrayLike | None, fmt: Fixed | None, units: int) -> Integers | None:
    if (bias is None) != (fmt is None):
        raise FormatError("bias and bias_format come together: give both or none")
    if bias is None or fmt is None:
        return None
    given = _checked(bias, fmt, "bias")
    if given.shape != (units,):
        raise FormatError(f"bias of shape {given.shape}: needs one for each of the {units} columns")
    return given


def _cast(raw: Integers, frac: int, cast: Cast, out: Integers, counters: Integers, seed: int, site: int, step: int) -> None:
    lo, hi = limits(cast.format, cast.overflow)
    codes = ROUNDINGS[cast.rounding], OVERFLOWS[cast.overflow]
    flat = (raw.reshape(-1), frac - cast.format.frac, lo, hi, *codes, np.uint64(seed), site, step, 0)
    kernels.requantize(*flat, out.reshape(-1), counters)


def _exact(a: Integers, b: Integers, a_format: Fixed, b_format: Fixed, engine: str) -> Integers:
    """Return the exact products' sums, int32 where the bound of the formats allows it."""
    terms = a.shape[1]
    most = _most(a_format, b_format, terms)
    narrow = most < 2**31
    if engine == "auto" and len(a) >= _FEW_ROWS:
        found = dot_products(a, b, a_format, b_format, most)
        if found is not None:
            return found
    allowed = exact_window(a_format, b_format, terms)
    if engine != "auto":
        chosen = engine
    elif len(a) < _FEW_ROWS:
        chosen = "integer"
    else:
        chosen = next(name for name in (*_EXACT_UP_TO, "integer") if allowed[name] or name == "integer")
    if chosen != "integer":
        if not allowed[chosen]:
            raise FormatError(
                f"engine {chosen}: {terms} products {a_format} * {b_format} reach {most}, it is exact up to "
                f"{_EXACT_UP_TO[chosen]}; use auto"
            )
        return np.matmul(a.astype(chosen), b.astype(chosen)).astype(np.int32 if narrow else np.int64)
    sums = np.zeros((a.shape[0], b.shape[1]), np.int32 if narrow else np.int64)
    chunk = (2**31 - 1) // max(_most(a_format, b_format, 1), 1)
    if narrow or chunk < _SHORTEST_CHUNK:
        kernels.project_error_fixed(a, b, sums)
        return sums
    part = np.empty(sums.shape, np.int32)
    for first in range(0, terms, chunk):
        kernels.project_error_fixed(np.ascontiguousarray(a[:, first : first + chunk]), b[first : first + chunk], part)
        sums += part
    return sums
