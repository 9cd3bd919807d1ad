"""Sums of outer products of interleaved integers, and updates by them, against NumPy and against single kernels."""

from __future__ import annotations

import hashlib
from itertools import product
from typing import Any

import numpy as np
import pytest

from fasim import kernels
from fasim.kernels import micro
from fasim.kernels.micro.outer_integer import GROUP
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS
from tests.assembly import INTEGER_PATHS, X86, on_path
from tests.fixed_statements import brought, rounded
from tests.kernel_checks import check, new

SHAPES = tuple(product((1, 3, 4, 5, 9), (1, 5, 6, 7, 13), (1, 15, 16, 33, 48, 64, 65, 97)))
BYTES = ((np.int8, np.uint8), (np.int8, np.int8))


def drawn(dtype: Any, *shape: int) -> np.ndarray:  # noqa: ANN401
    """Return numbers of the whole range, with rows of the lowest among them."""
    info, random = np.iinfo(dtype), np.random.default_rng(shape)
    array = random.integers(info.min, info.max, shape, dtype, endpoint=True)
    array[::2, ::3] = info.min
    return array


def groups(array: np.ndarray, group: int) -> np.ndarray:
    """Return the factor as the statement has it: out[m, c, g] = array[G m + g, c], zeros behind."""
    padded = np.zeros((-(-len(array) // group) * group, array.shape[1]), array.dtype)
    padded[: len(array)] = array
    return np.ascontiguousarray(padded.reshape(-1, group, array.shape[1]).transpose(0, 2, 1))


def exact(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a.astype(np.int64).T @ b.astype(np.int64)


def outer(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """Interleave and sum, as a backend does."""
    group = GROUP if a.dtype == np.int8 else 2
    flip = 128 if group == 4 and b.dtype == np.int8 else 0
    types = (np.int8, np.uint8) if group == 4 else (np.int16, np.int16)
    left, right = (new(t, -(-len(m) // group), m.shape[1], group) for t, m in zip(types, (a, b), strict=True))
    offsets = np.zeros(a.shape[1], np.int32)
    kernels.interleave(a, 0, left)
    kernels.interleave(b, flip, right)
    if flip:
        kernels.flip_offsets(left, offsets)
    micro.outer_sums(left, right, offsets, out)


@pytest.mark.parametrize(("source", "result", "flip"), [("uint8", "int16", 0), ("int8", "uint8", 128), ("int8", "int8", 0)])
@pytest.mark.parametrize("group", [2, 4])
def test_interleave(source: Any, result: Any, flip: int, group: int) -> None:  # noqa: ANN401
    for terms, columns in product((1, 2, 3, 4, 7, 8), (1, 5, 40)):
        array = drawn(source, terms, columns)
        whole = groups(array.astype(np.int64) + flip, group).astype(result)
        check(kernels.interleave, (array, flip, new(result, *whole.shape)), {2: whole})
    turned = np.ascontiguousarray(array.T)
    out = new(result, *whole.shape)
    kernels.interleave(turned.T, flip, out)
    np.testing.assert_array_equal(out, whole)


def test_interleave_halves() -> None:
    for terms, columns in product((1, 2, 5), (1, 7)):
        array = drawn(np.int16, terms, columns)
        whole = groups(array, 2).astype(np.int64)
        check(kernels.interleave_halves, (array, new(np.int16, 2, *whole.shape)), {1: np.stack([whole & 255, whole >> 8])})


def test_flip_offsets() -> None:
    left = drawn(np.int8, 36, 7).reshape(9, 7, 4)
    check(kernels.flip_offsets, (left, new(np.int32, 7)), {1: -128 * left.astype(int).sum((0, 2))})


@pytest.mark.parametrize("types", [*BYTES, (np.int16, np.uint8)])
def test_outer_sums_of_every_remainder(types: Any) -> None:  # noqa: ANN401
    for terms, rows, columns in SHAPES:
        a, b = drawn(types[0], terms, rows), drawn(types[1], terms, columns)
        out = new(np.int32, rows, columns)
        outer(a, b, out)
        np.testing.assert_array_equal(out, exact(a, b))


def test_outer_sums_of_slices_and_beside_nothing() -> None:
    """Some rows of the left factor, which then lie apart; an out with steps; guards around all."""
    a, b = drawn(np.int16, 6, 20), drawn(np.int16, 6, 70) >> 4
    left, right = groups(a, 2), groups(b, 2)
    offsets = np.zeros(9, np.int32)
    check(micro.outer_sums, (left, right, np.zeros(20, np.int32), new(np.int32, 20, 70)), {3: exact(a, b)})
    memory = new(np.int32, 18, 80)
    micro.outer_sums(left[:, 4:13], right, offsets, memory[::2, 5:75])
    np.testing.assert_array_equal(memory[::2, 5:75], exact(a[:, 4:13], b))
    memory[::2, 5:75] = 77
    assert (memory == 77).all()


def test_outer_sums_wrap_as_32_bits_do() -> None:
    left, right = np.full((3, 2, 2), -(2**15), np.int16), np.full((3, 17, 2), -(2**15), np.int16)
    out = new(np.int32, 2, 17)
    micro.outer_sums(left, right, np.zeros(2, np.int32), out)
    assert (out == (6 * 2**30 + 2**31) % 2**32 - 2**31).all()


def test_outer_sums_refuse() -> None:
    left, right = np.zeros((2, 3, 2), np.int16), np.zeros((2, 5, 2), np.int16)
    offsets, out = np.zeros(3, np.int32), np.zeros((3, 5), np.int32)
    for wrong in ((left[:1], right, offsets, out), (left, right[:, :4], offsets, out), (left[:, :2], right, offsets, out)):
        with pytest.raises(ValueError, match="needs shapes"):
            micro.outer_sums(*wrong)
    for wrong in ((left, right, offsets[:2], out), (left[:, :, :1], right[:, :, :1], offsets, out)):
        with pytest.raises(ValueError, match="groups of four bytes"):
            micro.outer_sums(*wrong)
    if micro.TARGET != "portable":
        with pytest.raises(ValueError, match="side by side"):
            micro.outer_sums(left, np.zeros((2, 10, 2), np.int16)[:, ::2], offsets, out)


@pytest.mark.parametrize("terms", [1, 2, 63, 256, 257, 600])
def test_outer_sums_of_halves(terms: int) -> None:
    for rows, columns in ((1, 1), (5, 17), (13, 64)):
        a, b = drawn(np.int16, terms, rows), drawn(np.int16, terms, columns)
        left = new(np.int16, 2, -(-terms // 2), rows, 2)
        kernels.interleave_halves(a, left)
        out = new(np.int64, rows, columns)
        kernels.outer_sums_halves(left, groups(b, 2), new(np.int32, 2, 4, columns), out)
        np.testing.assert_array_equal(out, exact(a, b))


def test_halves_at_full_scale() -> None:
    """Bytes of 32767 are 127 and 255: 256 products of 255 and -2^15 are all that int32 holds."""
    a, b = np.full((600, 3), 2**15 - 1, np.int16), np.full((600, 17), -(2**15), np.int16)
    left, out = new(np.int16, 2, 300, 3, 2), new(np.int64, 3, 17)
    kernels.interleave_halves(a, left)
    kernels.outer_sums_halves(left, groups(b, 2), new(np.int32, 2, 2, 17), out)
    np.testing.assert_array_equal(out, exact(a, b))


# --- updates ------------------------------------------------------------------------------------

TERMS, UNITS, INPUTS = 5, 9, 50
SEED, SITE, STEP = np.uint64(2**40 + 3), 0xCAFEBABE, np.array([12])
RANGE = -(2**14), 2**14 - 1
CAST = 6, -64, 63


def moved(before: np.ndarray, gradient: np.ndarray, shift: int, modes: tuple[str, str]) -> tuple[np.ndarray, int]:
    """Return the master after an update, and how many numbers left its range."""
    pairs = zip(before.ravel().tolist(), gradient.ravel().tolist(), strict=True)
    results = [brought(w - rounded(g, shift, modes[0]), *RANGE, modes[1]) for w, g in pairs]
    return np.array([value for value, _ in results]).reshape(before.shape), sum(was for _, was in results)


@pytest.mark.parametrize("casts", [True, False])
@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("at_once", [1, 4, 9])
@pytest.mark.parametrize("modes", [("RND", "SAT"), ("RND_CONV", "WRAP"), ("TRN_ZERO", "SAT")])
def test_update_weights(modes: tuple[str, str], at_once: int, halves: bool, casts: bool) -> None:
    a, b = drawn(np.int16, TERMS, UNITS), drawn(np.int16, TERMS, INPUTS)
    if halves:
        a[:, :4] >>= 6  # whose sums int32 holds, unlike those of the units behind them
    else:
        b >>= 4
    gradient, before = exact(a, b), drawn(np.int16, UNITS, INPUTS) >> 1
    base, learning = (16, 3) if halves else (13, 2)
    after, outside = moved(before, gradient, base + learning, modes)
    assert outside
    results = [brought(rounded(w, CAST[0], modes[0]), *CAST[1:], modes[1]) for w in after.ravel().tolist()]
    copy = np.array([value for value, _ in results]).reshape(before.shape)
    column = int(modes[1] == "WRAP")
    counted, cast_counted = np.zeros((2, 2), int)
    counted[column] = outside
    cast_counted[column] = sum(was for _, was in results) * casts
    codes = ROUNDINGS[modes[0]], OVERFLOWS[modes[1]]
    if halves:
        left = new(np.int16, 2, -(-TERMS // 2), UNITS, 2)
        kernels.interleave_halves(a, left)
        kernel, extra = kernels.update_weights_halves, new(np.int32, 2, at_once, INPUTS)
    else:
        left, kernel, extra = groups(a, 2), kernels.update_weights, np.zeros(UNITS, np.int32)
    sums = new(np.int64 if halves else np.int32, at_once, INPUTS)
    master, weight, counters = before.copy(), new(np.int8, UNITS, INPUTS), np.zeros((2, 2), int)
    moves = base, np.array([learning]), *RANGE, *codes, SEED, SITE, STEP, 0, counters[0]
    kernel(left, groups(b, 2), extra, sums, master, *moves, casts, *CAST, *codes, weight, counters[1])
    np.testing.assert_array_equal(master, after)
    np.testing.assert_array_equal(weight, copy if casts else 77)
    np.testing.assert_array_equal(counters, [counted, cast_counted])


@pytest.mark.parametrize("halves", [False, True])
def test_update_weights_draws_what_the_whole_draws(halves: bool) -> None:
    """STOCH: a unit's words go by its place, whatever is done at once."""
    a, b = drawn(np.int16, TERMS, UNITS), drawn(np.int16, TERMS, INPUTS) >> 4
    codes = ROUNDINGS["STOCH"], OVERFLOWS["SAT"]
    expected, counters = (drawn(np.int16, UNITS, INPUTS) >> 1).ravel(), np.zeros((3, 2), int)
    master = expected.reshape(UNITS, INPUTS).copy()
    gradient = exact(a, b).astype(np.int32).ravel()
    moves = 13, np.array([2]), *RANGE, *codes, SEED, SITE, STEP, 300
    kernels.update_fixed(expected, gradient, *moves, counters[0])
    if halves:
        left = new(np.int16, 2, -(-TERMS // 2), UNITS, 2)
        kernels.interleave_halves(a, left)
        kernel, scratch = kernels.update_weights_halves, (new(np.int32, 2, 4, INPUTS), new(np.int64, 4, INPUTS))
    else:
        left, kernel = groups(a, 2), kernels.update_weights
        scratch = np.zeros(UNITS, np.int32), new(np.int32, 4, INPUTS)
    kernel(left, groups(b, 2), *scratch, master, *moves, counters[1], False, 0, 0, 0, 0, 0, new(np.int8, 1, 1), counters[2])
    np.testing.assert_array_equal(master.ravel(), expected)
    np.testing.assert_array_equal(counters[1], counters[0])


# --- targets ------------------------------------------------------------------------------------


def digest() -> str:
    """Return a hash of sums that are compared with NumPy's."""
    found = hashlib.sha256()
    for types, (terms, rows, columns) in product((*BYTES, (np.int16, np.uint8)), SHAPES[::7]):
        a, b = drawn(types[0], terms, rows), drawn(types[1], terms, columns)
        out = new(np.int32, rows, columns)
        outer(a, b, out)
        np.testing.assert_array_equal(out, exact(a, b))
        found.update(out.tobytes())
    for terms, rows, columns in ((1, 1, 1), (5, 5, 17), (600, 13, 64)):
        a, b = drawn(np.int16, terms, rows), drawn(np.int16, terms, columns)
        left, whole = new(np.int16, 2, -(-terms // 2), rows, 2), new(np.int64, rows, columns)
        kernels.interleave_halves(a, left)
        kernels.outer_sums_halves(left, groups(b, 2), new(np.int32, 2, 4, columns), whole)
        np.testing.assert_array_equal(whole, exact(a, b))
        found.update(whole.tobytes())
    return found.hexdigest()


@X86
@pytest.mark.parametrize(("cpu", "target"), INTEGER_PATHS)
def test_same_bits_on_every_path(cpu: str, target: str) -> None:
    assert on_path(digest, cpu, target) == [digest()]
