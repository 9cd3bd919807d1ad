"""Sums of int16 that int32 is proven to hold, and those that it just does not: the same exact int64, whichever way."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from fasim import kernels
from fasim.kernels import micro
from fasim.kernels.micro import bounds, turned_wide
from tests.kernel_checks import by_turning, new

LOW, HIGH = -(2**15), 2**15 - 1
ENDS = (LOW, LOW + 1, -1, 0, 1, HIGH)
TERMS = (1, 2, 63, 64, 65, 129, 254, 255, 256, 257, 258, 1023, 1024, 1025)
SAMPLES, UNITS = 64, 7
TILES = pytest.mark.skipif(micro.TARGET == "portable", reason="plain loops prove nothing")


def exact(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a.astype(np.int64) @ b.astype(np.int64).T


def wide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the product both by dot products and in broadcast tiles, whose bits are the same."""
    out, turned = (new(np.int64, len(a), len(b)) for _ in range(2))
    micro.gemm_nt_int16_wide(a, b, True, out)
    by_turning("gemm_nt_int16_wide")(a, b, True, turned)
    np.testing.assert_array_equal(out, turned)
    return out


def outer(a: np.ndarray, b: np.ndarray, at_once: int = 5) -> np.ndarray:
    """Sum the outer products of the rows of two factors, as a backend does a gradient."""
    groups = -(-len(a) // 2)
    left, right = np.empty((2, groups, a.shape[1], 2), np.int16), np.empty((groups, b.shape[1], 2), np.int16)
    kernels.interleave_halves(a, left)
    kernels.interleave(b, 0, right)
    out = new(np.int64, a.shape[1], b.shape[1])
    kernels.outer_sums_halves(left, right, new(np.int32, 2, at_once, b.shape[1]), out)
    return out


@njit
def _largest(matrix):  # type: ignore[no-untyped-def]
    return bounds.largest_of(matrix.ctypes.data, matrix.strides[0], matrix.shape[0], matrix.shape[1])


@njit
def _sums(words, lanes, piece):  # type: ignore[no-untyped-def]
    return bounds.sums_of(words.reshape(words.size), lanes, words.shape[0], piece, np.empty(lanes, np.int32))


@TILES
def test_the_largest_is_found_wherever_it_lies() -> None:
    for rows, terms in product((1, 2, 3, 4, 5, 9), (1, 15, 16, 17, 31, 32, 33, 64, 70)):
        memory = np.full((rows, terms + 40), LOW, np.int16)
        matrix = memory[:, 20 : 20 + terms]
        for n, k, number in product(range(rows), {0, terms // 2, terms - 1}, (LOW, HIGH, 300)):
            matrix[:] = -7
            matrix[n, k] = number
            assert _largest(matrix) == abs(number)
    assert _largest(np.zeros((3, 5), np.int16)) == 0


def test_sums_of_magnitudes_bound_every_piece() -> None:
    random = np.random.default_rng(1)
    for lanes, lines in product((16, 48), (1, 31, 32, 33, 100)):
        words = random.integers(-(2**31), 2**31, (lines, lanes)).astype(np.int32)
        words[::3] = -(2**31) + 2**15  # pairs of -2^15
        pairs = abs(words.view(np.int16).astype(np.int64)).reshape(lines, lanes, 2).sum(2)
        pieces = [pairs[begin : begin + 32].sum(0) for begin in range(0, lines, 32)]
        of_piece, of_all = _sums(words, lanes, 32)
        assert of_piece == max(piece.max() for piece in pieces)
        assert pairs.sum(0).max() <= of_all == sum(piece.max() for piece in pieces)


@njit
def _lanes(matrix):  # type: ignore[no-untyped-def]
    return bounds.lanes_of(matrix.ctypes.data, matrix.strides[0], matrix.shape[0], matrix.shape[1])


@njit
def _pieces(matrix):  # type: ignore[no-untyped-def]
    return bounds.pieces_of(matrix.ctypes.data, matrix.strides[0], matrix.shape[0], matrix.shape[1])


@TILES
def test_sums_of_lanes_and_of_pieces() -> None:
    """Numbers of the whole range, -2^15 among them, and one large number in every place of a row."""
    random, lanes = np.random.default_rng(2), 2 * bounds.INT16.sums.count
    for rows, terms in product((1, 2, 3, 4, 5, 9), (1, 16, 31, 32, 64, 65, 96, 200, 256)):
        memory = np.full((rows, terms + 40), LOW, np.int16)
        matrix = memory[:, 20 : 20 + terms]
        large = [(row, k) for row in range(rows) for k in (0, terms // 2, terms - 1)]
        for place in [None, *large]:
            matrix[:] = random.integers(LOW, HIGH, matrix.shape, np.int16, endpoint=True) if place is None else -3
            if place:
                matrix[place] = LOW
            magnitudes = abs(matrix.astype(np.int64))
            whole = magnitudes[:, : terms // lanes * lanes].reshape(rows, -1, lanes // 2, 2)
            expected = whole.sum((1, 3)).max(initial=0)
            rest = 2 * magnitudes.max() if terms % lanes else 0
            assert _lanes(matrix) == expected + rest
            starts = range(0, terms, 2 * bounds.PIECE)
            assert _pieces(matrix) == max(magnitudes[:, k : k + 2 * bounds.PIECE].sum(1).max() for k in starts)


def test_int32_is_used_as_far_as_it_reaches() -> None:
    reach = turned_wide._reach.py_func
    assert reach(2_000_000, 2_000_000_000, 0, 500) == 500
    assert reach(200_000_000, 3_000_000_000, 0, 500) == 10 * 32  # ten pieces of 2e8
    assert reach(200_000_000, 3_000_000_000, 2, 500) == 9 * 32  # and one that begins with the last term
    assert reach(2**31, 2**32, 0, 500) == 0
    assert turned_wide._reach_of_halves.py_func(2**15) == 128  # 257 products of 255 and 2^15


@TILES
@pytest.mark.parametrize("terms", [64, 128, 129, 200, 1000])
@pytest.mark.parametrize("samples", [2, 16, 23, 24, 64])
def test_large_in_a_or_in_b(samples: int, terms: int) -> None:
    """One factor all at an end of its range; of the other numbers the largest are just small enough, or not."""
    random = np.random.default_rng(terms)
    for large, most in product((0, 1), (1, 300, 1023, 1024, 2100, 4500, 40_000)):
        matrices = [new(np.int16, rows, terms) for rows in (samples, 70)]
        matrices[large][:] = random.choice([LOW, HIGH], matrices[large].shape)
        matrices[large][0] = LOW
        small = matrices[1 - large]
        small[:] = np.clip(random.integers(-most, most, small.shape, endpoint=True), LOW, HIGH)
        small[:2], small[-1] = max(-most, LOW), min(most, HIGH)
        np.testing.assert_array_equal(wide(*matrices), exact(*matrices))


@pytest.mark.parametrize("terms", TERMS)
def test_full_scale(terms: int) -> None:
    """Every sign and end of the range in all places: two products of -2^15 are one more than int32 holds."""
    for left, right in product(ENDS, ENDS):
        a, b = np.full((SAMPLES, terms), left, np.int16), np.full((UNITS, terms), right, np.int16)
        assert (wide(a, b) == terms * left * right).all()
    for left, right in product((LOW, HIGH), (LOW, -1, 0, HIGH)):
        a, b = np.full((terms, UNITS), left, np.int16), np.full((terms, 20), right, np.int16)
        assert (outer(a, b) == terms * left * right).all()


@TILES
def test_one_large_block_of_long_rows() -> None:
    """Numbers all at an end of the range in a few hundred terms of 4400, of some units, and small ones elsewhere."""
    random = np.random.default_rng(8)
    for samples, start, units in product((3, 64), (0, 2000, 4000), (slice(0, 70), slice(64, 70), slice(0, 2))):
        a, b = (random.integers(-9, 10, (rows, 4400), np.int16) for rows in (samples, 70))
        a[:, start : start + 400], b[units, start : start + 400] = LOW, HIGH
        np.testing.assert_array_equal(wide(a, b), exact(a, b))


@pytest.mark.parametrize("terms", [1, 2, 255, 257, 1024, 5000])
def test_one_large_number(terms: int) -> None:
    """Small numbers all over, and one at an end of the range in A or in B, in any place."""
    random = np.random.default_rng(terms)
    a, b = (random.integers(-9, 10, (rows, terms), np.int16) for rows in (SAMPLES, 100))
    for number, k in product((LOW, HIGH), {0, terms // 2, terms - 1}):
        for large, rows in ((a, (0, 63)), (b, (0, 47, 48, 99))):
            for row in rows:
                kept, large[row, k] = large[row, k], number
                np.testing.assert_array_equal(wide(a, b), exact(a, b))
                np.testing.assert_array_equal(outer(a.T[:300], b.T[:300]), exact(a[:, :300], b[:, :300]))
                large[row, k] = kept


def test_a_last_term_behind_whole_pieces() -> None:
    """Two pieces of 64 terms just fit, and so does what a last term adds to one of them, but not to both."""
    for terms, big in ((129, (0, 64, 128)), (193, (0, 64, 128, 192)), (257, (0, 70, 140, 256))):
        a, b = np.zeros((SAMPLES, terms), np.int16), np.full((UNITS, terms), HIGH, np.int16)
        a[:, list(big)] = HIGH
        assert (wide(a, b) == len(big) * HIGH**2).all()
        a[:, list(big)] = 2**31 // HIGH // 2 // len(big)
        np.testing.assert_array_equal(wide(a, b), exact(a, b))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from((2, 5, 23, 24, 33, 64, 65, 130)),
    st.sampled_from((1, 6, 47, 48, 49, 97)),
    st.integers(0, 600),
    st.lists(st.integers(0, 15), min_size=8, max_size=8),
)
def test_any_scales(seed: int, samples: int, units: int, terms: int, shifts: list[int]) -> None:
    """Stretches of rows and of terms of all sizes: blocks of every kind beside one another."""
    random = np.random.default_rng(seed)
    a, b = (random.integers(LOW, HIGH, (rows, terms), np.int16, endpoint=True) for rows in (samples, units))
    for place, shift in enumerate(shifts):
        matrix, by_rows = (a, b)[place % 2], place % 4 < 2
        half = (matrix if by_rows else matrix.T)[place // 4 :: 2]
        half >>= np.int16(shift)
    expected = exact(a, b)
    np.testing.assert_array_equal(wide(a, b), expected)
    # any division of the work
    row, column = int(random.integers(samples + 1)), int(random.integers(units + 1))
    parts = [[wide(left, right) for right in (b[:column], b[column:])] for left in (a[:row], a[row:])]
    np.testing.assert_array_equal(np.block(parts), expected)
    if terms:
        np.testing.assert_array_equal(outer(a.T, b.T), expected)
