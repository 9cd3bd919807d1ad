"""Exact int64 sums of int16: every remainder, extreme numbers, long rows, the same bits on every path of this CPU."""

from __future__ import annotations

import hashlib
from itertools import product

import numpy as np
import pytest

from fasim.kernels import micro
from tests.assembly import INTEGER_PATHS, X86, on_path
from tests.kernel_checks import check, new

TERMS = (0, 1, 2, 15, 16, 17, 31, 32, 33, 64, 65, 200, 784)
# 2034 to 2048 terms in a block of AVX2 would be 256 products in a lane, of which int32 holds 255 at full scale
BLOCKS = (1023, 1024, 1025, 1040, 2034, 2048, 2049, 4096, 4100)
LOW, HIGH = -(2**15), 2**15 - 1


def drawn(rows: int, columns: int, terms: int, split: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return a and b over the whole range, or a as far as products need not be split; rows of extremes among them."""
    random = np.random.default_rng([rows, columns, terms])
    most = HIGH if split else 255
    a = random.integers(-most - 1, most, (rows, terms), np.int16, endpoint=True)
    b = random.integers(LOW, HIGH, (columns, terms), np.int16, endpoint=True)
    a[::3], a[1::3], b[::3] = -most - 1, most, LOW  # the low byte of 32767 is 255
    return a, b


def exact(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a.astype(np.int64) @ b.astype(np.int64).T


@pytest.mark.parametrize("split", [True, False])
def test_every_remainder(split: bool) -> None:
    for rows, columns, terms in product((1, 2, 3, 4, 5, 7), (1, 2, 3, 4, 5, 8, 9, 17), TERMS):
        a, b = drawn(rows, columns, terms, split)
        out = new(np.int64, rows, columns)
        micro.gemm_nt_int16_wide(a, b, split, out)
        np.testing.assert_array_equal(out, exact(a, b))


@pytest.mark.parametrize("split", [True, False])
def test_long_rows_and_many(split: bool) -> None:
    for rows, columns, terms in [*((n, 9, terms) for n in (1, 5) for terms in BLOCKS), (301, 18, 1030)]:
        a, b = drawn(rows, columns, terms, split)
        out = new(np.int64, rows, columns)
        micro.gemm_nt_int16_wide(a, b, split, out)
        np.testing.assert_array_equal(out, exact(a, b))


@pytest.mark.parametrize("terms", [1, 33, 1100])
def test_only_out_is_written(terms: int) -> None:
    for split, (rows, columns) in product((True, False), ((1, 3), (3, 9), (5, 5))):
        a, b = drawn(rows, columns, terms, split)
        check(micro.gemm_nt_int16_wide, (a, b, split, new(np.int64, rows, columns)), {3: exact(a, b)})


def test_steps_between_rows() -> None:
    a, b = drawn(6, 7, 77, split=True)
    wide_a, wide_b, memory = np.full((12, 90), 9, np.int16), np.full((14, 80), 9, np.int16), new(np.int64, 12, 9)
    wide_a[::2, 3:80], wide_b[::-2, 1:78] = a, b
    micro.gemm_nt_int16_wide(wide_a[::2, 3:80], wide_b[::-2, 1:78], True, memory[::2, 1:8])
    np.testing.assert_array_equal(memory[::2, 1:8], exact(a, b))
    memory[::2, 1:8] = 77
    assert (memory == 77).all()


def test_refusals() -> None:
    a, b, out = np.zeros((3, 4), np.int16), np.zeros((5, 4), np.int16), np.zeros((3, 5), np.int64)
    for wrong in ((a[:2], b, True, out), (a, b[:4], True, out), (a[:, :3], b, True, out)):
        with pytest.raises(ValueError, match="needs shapes"):
            micro.gemm_nt_int16_wide(*wrong)
    with pytest.raises(ValueError, match="side by side"):
        micro.gemm_nt_int16_wide(a, np.zeros((4, 5), np.int16).T, True, out)


def digest() -> str:
    """Return a hash of results that are compared with NumPy's."""
    found = hashlib.sha256()
    for split, rows, columns, terms in product((True, False), (1, 2, 4, 7), (1, 5, 17), (*TERMS, *BLOCKS)):
        a, b = drawn(rows, columns, terms, split)
        out = new(np.int64, rows, columns)
        micro.gemm_nt_int16_wide(a, b, split, out)
        np.testing.assert_array_equal(out, exact(a, b))
        found.update(out.tobytes())
    return found.hexdigest()


@X86
@pytest.mark.parametrize(("cpu", "target"), INTEGER_PATHS)
def test_same_bits_on_every_path(cpu: str, target: str) -> None:
    assert on_path(digest, cpu, target) == [digest()]
