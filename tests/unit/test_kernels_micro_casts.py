"""Vectors of casts and updates against Python integers: every mode, lanes of both widths, the same bits on every CPU."""

from __future__ import annotations

import hashlib
from itertools import product
from typing import Any

import numpy as np
import pytest
from numba import njit

from fasim.kernels.micro.casts import TAKEN, cast_bits, cast_vectors, quick, update_bits, update_vectors
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS
from tests.assembly import INTEGER_PATHS, X86, on_path
from tests.fixed_statements import brought, rounded
from tests.kernel_checks import GUARD, guarded

QUICK = tuple(product(("TRN", "RND", "RND_CONV"), ("SAT", "SAT_SYM", "WRAP")))
SIZE = 3 * TAKEN + 5
CASTS = ((np.int32, np.int8), (np.int16, np.int8), (np.int64, np.int16), (np.uint8, np.int16))
UPDATES = ((np.int16, np.int32), (np.int8, np.int16), (np.int32, np.int32), (np.int16, np.int64))


@njit
def cast(raw, shift, lo, hi, rounding, mode, out):
    if not quick(cast_bits(raw), raw, out, shift, lo, hi, rounding, mode):
        return -1
    return cast_vectors(raw, shift, lo, hi, rounding, mode, out)


@njit
def update(parameter, gradient, shift, lo, hi, rounding, mode):
    if not quick(update_bits(parameter, gradient), gradient, parameter, shift, lo, hi, rounding, mode):
        return -1
    return update_vectors(parameter, gradient, shift, lo, hi, rounding, mode)


def drawn(dtype: Any) -> np.ndarray:  # noqa: ANN401
    """Return both ends, small numbers and ties, and numbers of all sizes."""
    random, info = np.random.default_rng(5), np.iinfo(dtype)
    ends = np.array([info.min, info.min + 1, 0, 1, info.max - 1, info.max], dtype)
    near = random.integers(max(info.min, -300), min(info.max, 300), 50, endpoint=True).astype(dtype)
    return np.resize(np.concatenate([ends, near, random.integers(info.min, info.max, 90, dtype, endpoint=True)]), SIZE)


def limits(fmt: Any, mode: str) -> tuple[int, int]:  # noqa: ANN401
    hi = int(np.iinfo(fmt).max) >> 1
    return -hi - (mode != "SAT_SYM"), hi


SHIFTS = (1, 2, 3, 7, 8, 9, 14, 30, 31, 33, 61, 62)


@pytest.mark.parametrize(("raw_type", "out_type"), CASTS)
def test_casts(raw_type: Any, out_type: Any) -> None:  # noqa: ANN401
    raw = drawn(raw_type)
    bits = max(8 * raw.itemsize, 16)
    for (rounding, mode), shift in product(QUICK, (0, *SHIFTS)):
        if shift > bits - 2 or (rounding == "RND" and shift == 1 and raw.itemsize > 1):
            continue
        lo, hi = limits(out_type, mode)
        out = np.full(SIZE, 77, out_type)
        outside = cast(raw, shift, lo, hi, ROUNDINGS[rounding], OVERFLOWS[mode], out)
        expected = [brought(rounded(x, shift, rounding), lo, hi, mode) for x in raw.tolist()]
        assert out.tolist() == [value for value, _ in expected]
        assert outside == sum(was for _, was in expected)


@pytest.mark.parametrize(("parameter_type", "gradient_type"), UPDATES)
def test_updates(parameter_type: Any, gradient_type: Any) -> None:  # noqa: ANN401
    before, gradient = drawn(parameter_type), np.roll(drawn(gradient_type), 3)
    bits = 32 if (parameter_type, gradient_type) in UPDATES[:2] else 64
    for (rounding, mode), shift in product(QUICK, SHIFTS):
        if shift > bits - 2 or (rounding == "RND" and shift == 1 and 8 * gradient.itemsize == bits):
            continue
        lo, hi = limits(parameter_type, mode)
        parameter = before.copy()
        outside = update(parameter, gradient, shift, lo, hi, ROUNDINGS[rounding], OVERFLOWS[mode])
        pairs = zip(before.tolist(), gradient.tolist(), strict=True)
        expected = [brought(w - rounded(g, shift, rounding), lo, hi, mode) for w, g in pairs]
        assert parameter.tolist() == [value for value, _ in expected]
        assert outside == sum(was for _, was in expected)


@pytest.mark.parametrize("size", [1, 5, TAKEN - 1, TAKEN, TAKEN + 1])
def test_what_is_no_whole_vector(size: int) -> None:
    """Between guards; a range of one number, in which all others are outside, counts those that there are."""
    random, trn, sat = np.random.default_rng(size), ROUNDINGS["TRN"], OVERFLOWS["SAT"]
    raw, gradient = (random.integers(256, 2**31, size, np.int32, endpoint=False) for _ in range(2))
    (out, around), (master, about) = guarded(np.zeros(size, np.int8), 77), guarded(np.zeros(size, np.int16), 77)
    assert cast(raw, 8, 0, 0, trn, sat, out) == size
    assert update(master, -gradient, 8, -1, 0, trn, sat) == size
    assert not out.any()
    assert not master.any()
    for memory in (around, about):
        assert (np.r_[memory[:GUARD], memory[-GUARD:]] == 77).all()


def test_what_no_vector_serves() -> None:
    """Modes without a loop, bits that a lane does not have, a half that would leave it, elements apart."""
    raw, out = np.full(64, 2**31 - 1, np.int32), np.zeros(64, np.int8)
    trn, rnd, sat = ROUNDINGS["TRN"], ROUNDINGS["RND"], OVERFLOWS["SAT"]
    assert cast(raw, 1, -128, 127, trn, sat, out) == 64
    for shift, lo, hi, rounding, mode in (
        (1, -128, 127, rnd, sat),
        (31, -128, 127, trn, sat),
        (-1, -128, 127, trn, sat),
        (1, -(2**31) - 1, 127, trn, sat),
        (1, -128, 2**31, trn, sat),
        (3, 1, 127, trn, sat),
        (3, -128, -1, trn, sat),
        (3, -128, 127, ROUNDINGS["STOCH"], sat),
        (3, -128, 127, ROUNDINGS["JAM"], sat),
        (3, -128, 127, trn, OVERFLOWS["SAT_ZERO"]),
    ):
        assert cast(raw, shift, lo, hi, rounding, mode, out) == -1
    assert cast(raw[::2], 1, -128, 127, trn, sat, out[:32]) == -1
    assert cast(raw[:32], 1, -128, 127, trn, sat, out[::2]) == -1


def digest() -> str:
    """Return a hash of casts and updates."""
    found = hashlib.sha256()
    raw, out, gradient = drawn(np.int32), np.zeros(SIZE, np.int8), drawn(np.int64)
    for (rounding, mode), shift in product(QUICK, (2, 8, 30)):
        codes = ROUNDINGS[rounding], OVERFLOWS[mode]
        parameter = drawn(np.int16)
        counts = cast(raw, shift, -127, 127, *codes, out), update(parameter, gradient, shift, -(2**15), 2**15 - 1, *codes)
        found.update(out.tobytes() + parameter.tobytes() + repr(counts).encode())
    return found.hexdigest()


@X86
@pytest.mark.parametrize(("cpu", "target"), INTEGER_PATHS[::2])
def test_same_bits_on_every_path(cpu: str, target: str) -> None:
    assert on_path(digest, cpu, target) == [digest()]
