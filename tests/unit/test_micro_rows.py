"""Weights updated and used in one pass: every remainder, the stated order, the same bits on every path."""

from __future__ import annotations

import hashlib
import re
from itertools import pairwise, product
from math import ceil
from typing import Any

import numpy as np
import pytest
from numba import float32, int64, njit
from numba.core.errors import TypingError

from fasim.kernels import micro
from fasim.kernels.micro import rows
from tests.assembly import LINUX, PATHS, REGISTER, X86, assert_unharmed, at_an_edge, blocks, counting, machine_code, on_path
from tests.kernel_checks import check, inside, new

UNITS = (1, 2, 3, 4, 5, 7, 8, 9, 13)
TERMS = (1, 7, 15, 16, 17, 31, 32, 33, 240, 784, 1023, 1024, 1025, 2050, 3072)
RATE = np.array([0.03])


def drawn(units: int, terms: int) -> tuple[np.ndarray, ...]:
    """Return delta, before, weight and act."""
    random = np.random.default_rng([units, terms])
    weight = random.standard_normal((units, terms), np.float32)
    weight.flat[::7] = -0.0
    delta, before, act = (random.standard_normal((1, size), np.float32) for size in (units, terms, terms))
    before[0, ::5] = 0.0
    return delta, before, weight, act


def run(delta: np.ndarray, before: np.ndarray, weight: np.ndarray, act: np.ndarray) -> np.ndarray:
    out = new(np.float32, 1, len(weight))
    micro.sgd_nt_float32(delta, before, weight, RATE, act, out)
    return out


def stated(delta: np.ndarray, before: np.ndarray, weight: np.ndarray, act: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Update, then add in 16 lanes, block by block of at most 1024 terms; a product is exact in float64."""
    gradient = delta.T * before + np.float32(0)
    weight = weight - np.float32(RATE[0]) * gradient
    terms, total = act.shape[1], np.zeros(len(weight), np.float32)
    length = 16 * ceil(ceil(terms / ceil(terms / 1024)) / 16)
    for start in range(0, terms, length):
        s = np.zeros((len(weight), 16), np.float32)
        for k in range(start, min(start + length, terms)):
            lane = (k - start) % 16
            s[:, lane] = s[:, lane] + weight[:, k].astype(np.float64) * float(act[0, k])
        g = [(s[:, i] + s[:, i + 2]) + (s[:, i + 1] + s[:, i + 3]) for i in (0, 4, 8, 12)]
        total = total + ((g[0] + g[2]) + (g[1] + g[3]))
    return weight, total[None]


def test_every_remainder_in_the_stated_order() -> None:
    for units, terms in product(UNITS, TERMS):
        delta, before, weight, act = drawn(units, terms)
        expected, total = stated(delta, before, weight, act)
        out = run(delta, before, weight, act)
        assert weight.tobytes() == expected.tobytes()
        if micro.FUSED:
            np.testing.assert_array_equal(out, total)
        else:
            np.testing.assert_allclose(out, total, rtol=0, atol=1e-3)


def test_the_bits_of_update_and_product() -> None:
    for units, terms in ((1, 20), (6, 784), (11, 1100)):
        delta, before, weight, act = drawn(units, terms)
        apart, expected = weight.copy(), new(np.float32, 1, units)
        micro.sgd_tn_float32(delta, before, apart, RATE, np.float32(0), 0)
        micro.gemm_nt_float32(act, apart, expected)
        assert run(delta, before, weight, act).tobytes() == expected.tobytes()
        assert weight.tobytes() == apart.tobytes()


@pytest.mark.parametrize("shape", [(0, 4), (5, 0), (0, 0)])
def test_nothing_to_add(shape: tuple[int, int]) -> None:
    assert not run(*drawn(*shape)).any()


def test_only_weights_and_out_are_written_and_nothing_beside_is_read() -> None:
    for units, terms in ((1, 300), (7, 65), (26, 130), (3, 17), (4, 1)):
        delta, before, weight, act = (np.round(4 * m) for m in drawn(units, terms))
        updated = weight - 0.5 * delta.T * before
        check(
            micro.sgd_nt_float32,
            (delta, before, weight, np.array([0.5]), act, new(np.float32, 1, units)),
            {2: updated, 5: act @ updated.T},
        )


def test_a_unit_knows_no_other_units() -> None:
    delta, before, weight, act = drawn(37, 140)
    parts = weight.copy()
    whole = run(delta, before, weight, act)
    for cuts in ((0, 1, 37), (0, 2, 30, 37), tuple(range(38))):
        found, mine = [], parts.copy()
        for i, j in pairwise(cuts):
            found.append(run(delta[:, i:j], before, mine[i:j], act))
        np.testing.assert_array_equal(np.concatenate(found, 1), whole)
        np.testing.assert_array_equal(mine, weight)


def test_layouts() -> None:
    """Steps between units, also backwards; addresses that are no multiple of an element."""
    delta, before, weight, act = drawn(13, 70)
    wide, memory = np.full((1, 39), 99, np.float32), np.full((26, 90), 99, np.float32)
    wide[:, ::3], memory[::-2, 5:75] = delta, weight
    plain = run(delta, before, weight, act)
    odd = np.zeros(act.nbytes + 8, np.uint8)[3 : 3 + act.nbytes].view(np.float32).reshape(act.shape)
    odd[...] = act
    np.testing.assert_array_equal(run(wide[:, ::3], before, memory[::-2, 5:75], odd), plain)
    np.testing.assert_array_equal(memory[::-2, 5:75], weight)
    memory[::-2, 5:75] = 99
    assert (memory == 99).all()


def test_inside_a_compiled_function() -> None:
    delta, before, weight, act = drawn(9, 40)
    apart, out = weight.copy(), new(np.float32, 1, 9)
    inside(micro.sgd_nt_float32)(delta, before, apart, RATE, act, out)
    np.testing.assert_array_equal(out, run(delta, before, weight, act))
    np.testing.assert_array_equal(apart, weight)


def test_refusals() -> None:
    delta, before, weight, act = drawn(3, 5)
    out = new(np.float32, 1, 3)
    two = np.zeros((2, 5), np.float32)
    for wrong in (
        (delta[:, :2], before, weight, RATE, act, out),
        (delta, before[:, :4], weight, RATE, act, out),
        (delta, before, weight, RATE, act[:, :4], out),
        (delta, before, weight, RATE, act, out[:, :2]),
        (delta, two, weight, RATE, two, out),
    ):
        with pytest.raises(ValueError, match=r"needs shapes \(1, J\), \(1, K\), \(J, K\), \(1, K\) and \(1, J\)"):
            micro.sgd_nt_float32(*wrong)
    for wrong in (
        (delta, before[:, ::-1], weight, RATE, act, out),
        (delta, before, np.zeros((5, 3), np.float32).T, RATE, act, out),
        (delta, before, weight, RATE, act[:, ::-1], out),
        (delta, before, weight, RATE, act, out[:, ::-1]),
    ):
        with pytest.raises(ValueError, match="side by side; copy by numpy.ascontiguousarray"):
            micro.sgd_nt_float32(*wrong)
    with pytest.raises(TypingError, match=r"product of .*: needs a matrix of float32"):
        micro.sgd_nt_float32(delta, before, weight.astype(np.float64), RATE, act, out)


def test_assembly() -> None:
    """The inner loop keeps its sums in registers, stores each weight that it loads, and asks for those of the next tile."""
    if micro.TARGET == "portable":
        pytest.skip("no register tiles for the target portable")
    function = njit(error_model="numpy")(rows.cover_rows.py_func)
    function.compile((*[int64] * 5, float32, *[int64] * 4))
    # two rounds of four vectors
    inner = counting(blocks(machine_code(function)).values(), "vsubps", 8)
    assert inner
    for text in inner:
        assert len(re.findall(rf"vfmadd\d+ps.*{REGISTER}", text)) == 16
        assert len(re.findall(rf"vmovups\t{REGISTER}\d+, .*\(", text)) == 8
        assert text.count("prefetch") == 8
        assert not re.search(rf"{REGISTER}\d+, .*\(%rsp\)", text)


def edges() -> None:
    kept: list[Any] = []
    for units, terms in ((1, 1), (3, 260), (7, 17), (6, 64), (13, 50), (30, 70)):
        arrays = drawn(units, terms)
        expected = stated(*arrays)[0]
        for front in (True, False):
            moved = [at_an_edge(one, front, kept) for one in arrays]
            run(*moved)
            assert moved[2].tobytes() == expected.tobytes()


@LINUX
def test_nothing_beyond_a_page_is_touched() -> None:
    """Arrays end, or begin, where memory does: a row or a vector too many is the end of that process."""
    assert_unharmed(edges)


def digest() -> str:
    """Return a hash of results for all sizes that meet a remainder."""
    found = hashlib.sha256()
    for units, terms in product(UNITS, TERMS):
        arrays = drawn(units, terms)
        found.update(run(*arrays).tobytes())
        found.update(arrays[2].tobytes())
    return found.hexdigest()


@X86
@PATHS
def test_same_bits_on_every_path(cpu: str, features: str, target: str) -> None:
    assert on_path(digest, cpu, target, features, fused=True) == [digest()]
