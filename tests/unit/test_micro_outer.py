"""Products of columns and the update fused with one: every remainder, the stated order, the same bits on every path."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from numba import float32, float64, int64, njit, types
from numba.core.errors import TypingError

from fasim.kernels import micro
from fasim.kernels.micro import panels
from fasim.kernels.optimize import sgd
from tests.assembly import (
    LINUX,
    PATHS,
    X86,
    assert_in_registers,
    assert_unharmed,
    at_an_edge,
    blocks,
    counting,
    loops,
    machine_code,
    on_path,
)
from tests.kernel_checks import check, inside, new

ROWS = (1, 2, 5, 6, 7, 13, 25)
COLUMNS = (1, 7, 15, 16, 17, 31, 33, 48, 50, 63, 64, 65, 130, 257)
TERMS = (0, 1, 2, 4, 5, 20, 128, 129, 300)
DECAYS = [(0.0, 0), (0.01, 0), (0.01, 1), (0.01, 2)]


def drawn(terms: int, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng([terms, rows, columns])
    return random.standard_normal((terms, rows), np.float32), random.standard_normal((terms, columns), np.float32)


def stated(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Add k by k. A product is exact in float64 and its sum with a float32 is rounded to 53 bits first: the second rounding
    differs from a fused one only at a tie, which these numbers do not have."""
    total = np.zeros((a.shape[1], b.shape[1]), np.float32)
    for x, y in zip(a.astype(np.float64), b.astype(np.float64), strict=True):
        total = (total + np.outer(x, y)).astype(np.float32)
    return total


def product_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    out = new(np.float32, a.shape[1], b.shape[1])
    micro.gemm_tn_float32(a, b, out)
    return out


def assert_stated(out: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    if micro.FUSED:
        np.testing.assert_array_equal(out, stated(a, b))
    else:
        np.testing.assert_allclose(out, stated(a, b), rtol=0, atol=1e-4)


def test_every_remainder_in_the_stated_order() -> None:
    for rows, columns, terms in product(ROWS, COLUMNS, TERMS):
        a, b = drawn(terms, rows, columns)
        assert_stated(product_of(a, b), a, b)


def test_both_layouts_of_a_are_the_same_product() -> None:
    for rows, columns, terms in ((1, 300, 7), (9, 70, 150), (30, 64, 10)):
        a, b = drawn(terms, rows, columns)
        out = new(np.float32, rows, columns)
        for left in (np.ascontiguousarray(a.T), a.T, np.repeat(a.T, 2, 1)[:, ::2]):
            micro.gemm_nn_float32(left, b, out)
            np.testing.assert_array_equal(out, product_of(a, b))


def test_one_row_in_the_stated_order() -> None:
    """Which is not multiplied by panels: numbers of terms and columns that leave a rest, steps between the terms."""
    for columns, terms in product((*COLUMNS, 240, 1000), (*TERMS, 3, 7, 8, 9, 16, 240)):
        a, b = drawn(terms, 3, columns)
        for row in (0, 2):
            out = new(np.float32, 1, columns)
            micro.gemm_nn_float32(a.T[row : row + 1], b, out)
            assert_stated(out, a[:, row : row + 1], b)


@pytest.mark.parametrize("shape", [(0, 3, 4), (5, 0, 4), (5, 3, 0), (0, 0, 0)])
def test_nothing_to_add(shape: tuple[int, int, int]) -> None:
    a, b = drawn(*shape)
    assert not product_of(a, b).any()


def test_only_out_is_written_and_nothing_beside_is_read() -> None:
    for terms, rows, columns in ((3, 1, 300), (5, 7, 65), (40, 26, 130), (1, 3, 17)):
        a, b = (np.round(4 * m) for m in drawn(terms, rows, columns))
        expected = a.T.astype(np.float64) @ b
        check(micro.gemm_tn_float32, (a, b, new(np.float32, rows, columns)), {2: expected})
        check(micro.gemm_nn_float32, (np.ascontiguousarray(a.T), b, new(np.float32, rows, columns)), {2: expected})
        updated = (1 - 0.5 * expected).astype(np.float32)
        weight = np.ones((rows, columns), np.float32)
        check(micro.sgd_tn_float32, (a, b, weight, np.array([0.5]), np.float32(0), 0), {2: updated})


def test_a_row_knows_no_other_rows() -> None:
    """The same bits for any division of the units, and of the columns."""
    for terms in (1, 3, 10, 200):
        a, b = drawn(terms, 37, 140)
        whole = product_of(a, b)
        for cuts in ((0, 1, 37), (0, 2, 30, 37), tuple(range(38))):
            parts = [product_of(a[:, i:j], b) for i, j in pairwise(cuts)]
            np.testing.assert_array_equal(np.concatenate(parts), whole)
        for i, j in pairwise((0, 1, 20, 90, 140)):
            np.testing.assert_array_equal(product_of(a, b[:, i:j]), whole[:, i:j])


@pytest.mark.parametrize(("decay", "kind"), DECAYS)
def test_update_is_the_gradient_then_sgd_to_the_bit(decay: float, kind: int) -> None:
    rate = np.array([0.03])
    for rows, columns, terms in product((1, 6, 8, 31), (1, 16, 40, 64, 70, 257), (1, 4, 17, 130)):
        a, b = drawn(terms, rows, columns)
        before = np.random.default_rng(1).standard_normal((rows, columns), np.float32)
        before.flat[::7] = -0.0
        fused, apart = before.copy(), before.copy()
        micro.sgd_tn_float32(a, b, fused, rate, np.float32(decay), kind)
        sgd(apart.reshape(-1), product_of(a, b).reshape(-1), rate, np.float32(decay), kind)
        assert fused.tobytes() == apart.tobytes()
        assert not np.array_equal(fused, before)


def test_layouts() -> None:
    """Steps between rows, also backwards; addresses that are no multiple of an element."""
    a, b = drawn(9, 27, 70)
    plain = product_of(a, b)
    wide_a, wide_b, memory = (np.full(shape, 99, np.float32) for shape in ((18, 60), (18, 90), (54, 80)))
    wide_a[::2, 3:57:2], wide_b[::-2, 5:75] = a, b
    micro.gemm_tn_float32(wide_a[::2, 3:57:2], wide_b[::-2, 5:75], memory[::2, 4:74])
    np.testing.assert_array_equal(memory[::2, 4:74], plain)
    memory[::2, 4:74] = 99
    assert (memory == 99).all()
    odd = np.zeros(b.nbytes + 8, np.uint8)[3 : 3 + b.nbytes].view(np.float32).reshape(b.shape)
    odd[...] = b
    np.testing.assert_array_equal(product_of(a, odd), plain)


def test_inside_a_compiled_function() -> None:
    a, b = drawn(5, 9, 40)
    out = new(np.float32, 9, 40)
    inside(micro.gemm_tn_float32)(a, b, out)
    np.testing.assert_array_equal(out, product_of(a, b))


@pytest.mark.parametrize("kernel", [micro.gemm_tn_float32, micro.sgd_tn_float32])
def test_refusals(kernel: Callable[..., None]) -> None:
    more = (np.array([0.1]), np.float32(0), 0) if kernel is micro.sgd_tn_float32 else ()
    a, b, out = np.zeros((4, 3), np.float32), np.zeros((4, 5), np.float32), np.zeros((3, 5), np.float32)
    for wrong in ((a[:3], b, out), (a[:, :2], b, out), (a, b[:, :4], out), (a, b, out[:2])):
        with pytest.raises(ValueError, match=r"needs shapes \(K, R\) or \(R, K\), \(K, C\) and \(R, C\)"):
            kernel(*wrong, *more)
    for wrong in ((a, np.zeros((5, 4), np.float32).T, out), (a, b, out[:, ::-1])):
        with pytest.raises(ValueError, match="side by side; copy by numpy.ascontiguousarray"):
            kernel(*wrong, *more)
    for wrong in ((a.astype(np.float64), b, out), (a, b[0], out)):
        with pytest.raises(TypingError, match=r"product of .*: needs a matrix of float32"):
            kernel(*wrong, *more)


@pytest.mark.parametrize("name", ["panels_float32", "panels_descent"])
def test_assembly(name: str) -> None:
    """The inner loop of whole tiles is fused multiply-adds, whose sums are not laid down on the stack."""
    if micro.TARGET == "portable":
        pytest.skip("no register tiles for the target portable")
    function = njit(error_model="numpy")(getattr(panels, name).py_func)
    function.compile((int64,) * 10 + (float32,) * (3 if name == "panels_descent" else 0))
    sums = 12 if micro.TARGET == "avx2" else 24
    assert_in_registers(counting(blocks(machine_code(function)).values(), "vfmadd231ps", sums))


@pytest.mark.parametrize("name", ["gemm_tn_float32", "gemm_nn_float32", "sgd_tn_float32"])
def test_assembly_of_the_copy_in_a_caller(name: str) -> None:
    """A kernel loaded from the cache runs the copy that was optimized again: its sums too stay where they are."""
    if micro.TARGET == "portable":
        pytest.skip("no register tiles for the target portable")
    matrix, rate = types.Array(float32, 2, "C"), types.Array(float64, 1, "C")
    function = njit(error_model="numpy")(getattr(micro, name).py_func)
    function.compile((matrix,) * 3 + ((rate, float32, int64) if name == "sgd_tn_float32" else ()))
    inner = [text for text in loops(machine_code(function)) if "vfmadd231ps" in text]
    assert counting(inner, "vfmadd231ps", 12 if micro.TARGET == "avx2" else 24)
    assert_in_registers(inner)


def edges() -> None:
    kept: list[Any] = []
    for terms, rows, columns in ((1, 1, 1), (3, 1, 260), (5, 7, 17), (9, 6, 64), (2, 13, 50), (5, 30, 70)):
        a, b = drawn(terms, rows, columns)
        for front in (True, False):
            given = (a, np.ascontiguousarray(a.T), b, np.ascontiguousarray(b.T), np.empty((rows, columns), np.float32))
            left, turned, right, turned_right, out = (at_an_edge(matrix, front, kept) for matrix in given)
            for kernel, first in ((micro.gemm_tn_float32, left), (micro.gemm_nn_float32, turned)):
                kernel(first, right, out)
                assert_stated(out, a, b)
            micro.sgd_tn_float32(left, right, out, np.array([0.1]), np.float32(0), 0)
            micro.gemm_nt_ascending_float32(turned, turned_right, out[0, :0], out)
            assert_stated(out, a, b)


@LINUX
def test_nothing_beyond_a_page_is_touched() -> None:
    """Arrays end, or begin, where memory does: a row or a vector too many is the end of that process."""
    assert_unharmed(edges)


def digest() -> str:
    """Return a hash of results for all sizes that meet a remainder."""
    found = hashlib.sha256()
    for rows, columns, terms in product((1, 2, 6, 25), (1, 8, 17, 40, 64, 257), TERMS):
        a, b = drawn(terms, rows, columns)
        out = product_of(a, b)
        found.update(out.tobytes())
        micro.sgd_tn_float32(a, b, out, np.array([0.1]), np.float32(0.01), 0)
        found.update(out.tobytes())
    return found.hexdigest()


@X86
@PATHS
def test_same_bits_on_every_path(cpu: str, features: str, target: str) -> None:
    assert on_path(digest, cpu, target, features, fused=True) == [digest()]
