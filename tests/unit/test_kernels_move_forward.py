"""Updates by one sample with the next forward pass in one: the statement of a step, of a cast and of a product."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasim import kernels
from fasim.kernels.micro.kinds import VNNI
from fasim.kernels.micro.split import PANEL
from fasim.kernels.move_forward import ROWS_AHEAD
from tests.fixed_statements import brought, rounded
from tests.kernel_checks import GUARD, guarded, names_of, new

pytestmark = pytest.mark.skipif(not VNNI, reason="these tiles need AVX-512 VNNI")
RANGE, ENDS = (-(2**15), 2**15 - 1), (-128, 127)
ACTS = (np.uint8, np.int8)


def test_every_kernel_is_here() -> None:
    assert names_of("move_forward") == ["dense_forward_moved"]


def drawn(random: np.random.Generator, dtype: Any, *shape: int) -> np.ndarray:  # noqa: ANN401
    """Return numbers of the whole range, many of them at its ends, some 0."""
    info = np.iinfo(dtype)
    array = random.integers(info.min, info.max, shape, dtype, endpoint=True)
    for share, value in ((0.2, info.min), (0.2, info.max), (0.2, 0)):
        array[random.random(shape) < share] = value
    return array


def run(delta: Any, before: Any, master: Any, shift: int, drop: int, act: Any, *, writes: bool = True) -> Any:  # noqa: ANN401
    """Return master, weight, sums and counts, of arrays between guards; scratch holds rubbish."""
    panels = -(-act.size // PANEL) * PANEL
    (moved, left_of), (weight, right_of) = guarded(master, 77), guarded(np.full(master.shape, 55, np.int8), 77)
    (out, around), counters = guarded(new(np.int32, master.shape[0]), 77), np.array([[3, 7], [5, 9]])
    acts, packed = np.full(panels, 12345, np.int16), np.full(panels, 99, np.uint8)
    rows = np.full(master.shape[0] + ROWS_AHEAD, -1)
    kernels.dense_forward_moved(
        delta, before, moved, shift - 2, np.array([2]), counters[0], drop, weight, writes, counters[1], act, acts, packed,
        rows, out,
    )  # fmt: skip
    for memory in (left_of, right_of, around):
        assert (np.r_[memory[:GUARD], memory[-GUARD:]] == 77).all()
    assert counters[:, 1].tolist() == [7, 9]
    return moved, weight, out, counters[:, 0] - (3, 5)


def assert_stated(delta: Any, before: Any, master: Any, shift: int, drop: int, act: Any) -> None:  # noqa: ANN401
    gradient = delta[:, None].astype(np.int64) * before
    pairs = zip(master.ravel().tolist(), gradient.ravel().tolist(), strict=True)
    masters = [brought(w - rounded(g, shift, "RND"), *RANGE, "SAT") for w, g in pairs]
    weights = [brought(rounded(w, drop, "RND"), *ENDS, "SAT") for w, _ in masters]
    expected, casts = (np.array([value for value, _ in found]).reshape(master.shape) for found in (masters, weights))
    for writes in (True, False):
        moved, weight, out, counts = run(delta, before, master, shift, drop, act, writes=writes)
        np.testing.assert_array_equal(moved, expected)
        np.testing.assert_array_equal(out, casts @ act.astype(np.int64))
        assert counts.tolist() == [sum(was for _, was in masters), sum(was for _, was in weights)]
        if writes:
            np.testing.assert_array_equal(weight, casts)


@pytest.mark.parametrize("dtype", ACTS)
@pytest.mark.parametrize("inputs", [1, 31, 32, 33, 63, 64, 65, 130, 257])
def test_is_its_statement(inputs: int, dtype: Any) -> None:  # noqa: ANN401
    """Any number of rows that move and that do not, columns, casts; shifts of one multiplication, and others."""
    random = np.random.default_rng(inputs)
    for units, shift, drop in ((1, 3, 8), (2, 0, 1), (3, 15, 15), (5, 7, 7), (9, 16, 9), (13, -1, 3), (8, 9, 12)):
        delta, before, act = (drawn(random, kind, n) for kind, n in ((np.int8, units), (dtype, inputs), (dtype, inputs)))
        assert_stated(delta, before, drawn(random, np.int16, units, inputs), shift, drop, act)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 23), st.integers(1, 150), st.integers(-1, 17), st.integers(1, 15), st.booleans(), st.integers(0, 999))
def test_any_size_shift_and_cast(units: int, inputs: int, shift: int, drop: int, signed: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    dtype = ACTS[signed]
    delta, before, act = (drawn(random, kind, n) for kind, n in ((np.int8, units), (dtype, inputs), (dtype, inputs)))
    delta[random.random(units) < random.random()] = 0
    assert_stated(delta, before, drawn(random, np.int16, units, inputs), shift, drop, act)


@pytest.mark.parametrize("delta", [0, 1, -1])
def test_every_master_by_every_cast(delta: int) -> None:
    """Where a number is near an end, all are counted: all masters, moved by as much as they can be or not at all."""
    master = np.arange(*RANGE, dtype=np.int16).reshape(-1, 257)
    deltas = np.full(len(master), 127 * delta, np.int8)
    before, act = np.full(257, 127, np.int8), drawn(np.random.default_rng(1), np.int8, 257)
    exact = master.astype(np.int64) - deltas[0].astype(np.int64) * 127
    after = exact.clip(*RANGE)
    for drop, writes in product(range(1, 16), (True, False)):
        casts = (after + 2 ** (drop - 1)) >> drop
        moved, weight, out, counts = run(deltas, before, master, 0, drop, act, writes=writes)
        np.testing.assert_array_equal(moved, after)
        np.testing.assert_array_equal(out, casts.clip(*ENDS) @ act.astype(np.int64))
        assert counts.tolist() == [(exact != after).sum(), (casts != casts.clip(*ENDS)).sum()]
        assert not writes or (weight == casts.clip(*ENDS)).all()


@pytest.mark.parametrize("dtype", ACTS)
def test_every_product(dtype: Any) -> None:  # noqa: ANN401
    """All weights by all acts, the smallest by the smallest of either type among them."""
    info = np.iinfo(dtype)
    act, weights = np.arange(info.min, info.max + 1).astype(dtype), np.arange(*ENDS)
    for place in range(256):
        one = np.zeros(256, dtype)
        one[place] = act[place]
        master = np.zeros((255, 256), np.int16)
        master[:, place] = weights * 256
        out = run(np.zeros(255, np.int8), np.zeros(256, dtype), master, 5, 8, one, writes=False)[2]
        np.testing.assert_array_equal(out, weights * int(act[place]))


def test_what_is_refused() -> None:
    delta, before, master, weight = (np.zeros(n, t) for n, t in ((5, np.int8), (70, np.uint8), ((5, 70), np.int16),
                                                                 ((5, 70), np.int8)))  # fmt: skip
    counter, scratch = np.zeros(2, int), (np.zeros(128, np.int16), np.zeros(128, np.uint8), np.zeros(13, int))
    given = [delta, before, master, 0, np.array([9]), counter, 8, weight, False, counter.copy(), before.copy(), *scratch,
             np.zeros(5, np.int32)]  # fmt: skip
    kernels.dense_forward_moved(*given)
    for place, other, message in (
        (0, delta[:4], "needs delta and out"),
        (1, before[:69], "before and act"),
        (10, before[:69], "before and act"),
        (14, np.zeros(4, np.int32), "needs delta and out"),
        (7, weight[:, :69], "master and weight"),
        (11, scratch[0][:64], "whole panels"),
        (12, scratch[1][:64], "whole panels"),
        (13, scratch[2][:12], "more rows"),
        (2, np.zeros((5, 140), np.int16)[:, ::2], "side by side"),
        (10, np.zeros(140, np.uint8)[::2], "side by side"),
        (6, 0, "1 to 15"),
        (6, 16, "1 to 15"),
    ):
        with pytest.raises(ValueError, match=message):
            kernels.dense_forward_moved(*given[:place], other, *given[place + 1 :])
