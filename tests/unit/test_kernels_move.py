"""Updates of masters of 16 bits in registers, against the statement of a step and of a cast, and all numbers of a type."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from fasim import kernels
from fasim.kernels.micro.kinds import VNNI
from fasim.kernels.micro.outer_move import SERVES
from fasim.kernels.micro.split import PANEL, column_of
from fasim.scalar.rounding import ROUNDINGS
from tests.fixed_statements import brought, rounded
from tests.kernel_checks import GUARD, guarded, names_of, new

pytestmark = pytest.mark.skipif(not SERVES, reason="these tiles need AVX-512 BW")
RANGE = -(2**15), 2**15 - 1
# kernel, types of delta and act as they are interleaved, the cast's shift and the weight's type
KINDS = {
    "bytes": (kernels.update_weights_bytes, np.int8, np.uint8, 8, np.int8),
    "words": (kernels.update_weights_words, np.int16, np.int16, 8, np.int8),
    "int16": (kernels.update_weights_int16, np.int16, np.int16, 0, np.int16),
}
if not VNNI:
    del KINDS["bytes"]


def test_every_kernel_is_here() -> None:
    updates = {kernel.__name__ for kernel, *_ in KINDS.values()} | {"update_weights_bytes", "update_weights_read"}
    assert names_of("move", "move_one", "split") == sorted({*updates, "split_panels", "update_weights_of_one"})


def drawn(dtype: Any, *shape: int) -> np.ndarray:  # noqa: ANN401
    """Return numbers of the whole range, with both ends among them."""
    info, random = np.iinfo(dtype), np.random.default_rng(shape)
    array = random.integers(info.min, info.max, shape, dtype, endpoint=True)
    array[::2, ::3], array[1::2, ::5] = info.min, info.max
    return array


def factors(a: np.ndarray, b: np.ndarray, flip: int = 0) -> tuple[np.ndarray, np.ndarray]:
    group = 4 // a.itemsize
    groups = -(-len(a) // group)
    left = new(a.dtype, groups, a.shape[1], group)
    right = new(np.uint8 if group == 4 else np.int16, -(-b.shape[1] // PANEL), groups, PANEL, group)
    kernels.interleave(a, 0, left)
    kernels.split_panels(b, flip, right)
    return left, right


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16])
@pytest.mark.parametrize("terms", [1, 2, 3, 4, 5, 8])
def test_split_panels(terms: int, dtype: Any) -> None:  # noqa: ANN401
    assert sorted(column_of(place) for place in range(PANEL)) == list(range(PANEL))
    group = 4 // np.dtype(dtype).itemsize
    flip, by = (0x80808080, 128) if dtype == np.int8 else (0, 0)
    for columns in (1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130):
        source = drawn(dtype, terms, columns)
        out = new(np.uint8 if group == 4 else dtype, -(-columns // PANEL), -(-terms // group), PANEL, group)
        kernels.split_panels(np.pad(source, ((0, 0), (0, 7)))[:, :columns], flip, out)
        for p, place in product(range(len(out)), range(PANEL)):
            column = PANEL * p + column_of(place)
            if column < columns:
                for n in range(terms):
                    assert out[p, n // group, place, n % group] == int(source[n, column]) + by
    with pytest.raises(ValueError, match="room for all"):
        kernels.split_panels(source, flip, out[1:])
    with pytest.raises(ValueError, match="groups of four bytes"):
        kernels.split_panels(source, flip, out[..., :1])


def stated(before: np.ndarray, gradient: np.ndarray, shift: int, rounding: str, drop: int, ends: tuple[int, int]) -> Any:  # noqa: ANN401
    """Return masters and weights after an update, and how many of each left their range."""
    pairs = zip(before.ravel().tolist(), gradient.ravel().tolist(), strict=True)
    masters = [brought(w - rounded(g, shift, rounding), *RANGE, "SAT") for w, g in pairs]
    weights = [brought(rounded(w, drop, "RND"), *ends, "SAT") for w, _ in masters]
    arrays = (np.array([value for value, _ in found]).reshape(before.shape) for found in (masters, weights))
    return *arrays, sum(was for _, was in masters), sum(was for _, was in weights)


@pytest.mark.parametrize("rounding", ["RND", "TRN"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("terms", [1, 3, 9, 30, 63])
def test_update_is_its_statement(terms: int, kind: str, rounding: str) -> None:
    """Shifts that leave steps of 16 bits, and shifts that leave more."""
    kernel, left_type, right_type, drop, weight_type = KINDS[kind]
    info = np.iinfo(weight_type)
    for (units, inputs), more in product(((1, 1), (5, 33), (6, 64), (7, 65), (13, 97), (12, 160)), (-30, -1, 0, 4)):
        a, b = drawn(left_type, terms, units), drawn(right_type, terms, inputs)
        a[:, 0], b[:, 0] = np.iinfo(left_type).min, np.iinfo(right_type).max
        if a.itemsize == 2:
            b >>= 5
        largest = terms * 2**7 * 255 if a.itemsize == 1 else terms * 2**15 * 2**10
        shift = max(int(largest).bit_length() - 15 + more, -2)
        gradient, before = a.astype(np.int64).T @ b.astype(np.int64), drawn(np.int16, units, inputs) // 8 * 8
        before[::2] //= 2
        masters, weights, *outside = stated(before, gradient, shift, rounding, drop, (info.min, info.max))
        (master, left_of), (weight, right_of) = guarded(before, 77), guarded(new(weight_type, units, inputs), 77)
        counters = np.array([[3, 7], [5, 9]])
        kernel(
            *factors(a, b), np.zeros(units, np.int32), new(np.int32, units), largest, master, shift - 2, np.array([2]),
            ROUNDINGS[rounding], counters[0], drop, weight, counters[1],
        )  # fmt: skip
        np.testing.assert_array_equal(master, masters)
        np.testing.assert_array_equal(weight, weights)
        np.testing.assert_array_equal(counters, [[3 + outside[0], 7], [5 + outside[1], 9]])
        for memory in (left_of, right_of):
            assert (np.r_[memory[:GUARD], memory[-GUARD:]] == 77).all()


def given_numbers(delta: np.ndarray, act: np.ndarray, master: np.ndarray, shift: int) -> list[Any]:
    """Return the arguments of `update_weights_read`, the rate at place 12, counts at 14 and 17."""
    (terms, units), inputs = delta.shape, act.shape[1]
    groups, zeros = -(-terms // 2), np.zeros(units, np.int32)
    scratch = new(np.int16, 2, groups, units, 2), new(np.int16, groups, inputs, 2), new(np.int32, 2, 4, inputs)
    sums = *factors(delta, act), zeros, new(np.int32, units), *scratch, new(np.int64, 4, inputs)
    counters = np.array([[3, 7], [5, 9]])
    moves = master, shift - 2, np.array([2]), ROUNDINGS["RND"], counters[0], 0
    return [delta, act, *sums, *moves, new(np.int16, units, inputs), counters[1]]


@pytest.mark.parametrize("terms", [1, 2, 3, 9, 64])
def test_sums_that_int32_may_not_hold(terms: int) -> None:
    """Numbers of the whole range, small ones, and those whose sums are just inside and just outside of int32."""
    random = np.random.default_rng(terms)
    for (units, inputs), kind in product(((1, 1), (6, 64), (13, 97)), ("drawn", "small", "inside", "outside")):
        delta, act = drawn(np.int16, terms, units), drawn(np.int16, terms, inputs)
        if kind == "small":
            delta >>= 9
        elif kind != "drawn":
            # two products of -2^15 are 2^31, one more than int32 holds
            delta, act = np.zeros_like(delta), np.full_like(act, -(2**15))
            delta[:2] = -(2**15)
            delta[0] += kind == "inside"
        gradient = delta.astype(np.int64).T @ act.astype(np.int64)
        for shift in (3, 15, 24, 31):
            before = random.integers(*RANGE, (units, inputs), np.int16, endpoint=True)
            masters, weights, *outside = stated(before, gradient, shift, "RND", 0, RANGE)
            (master, left_of), given = guarded(before, 77), given_numbers(delta, act, before, shift)
            given[10] = master
            kernels.update_weights_read(*given)
            np.testing.assert_array_equal(master, masters)
            np.testing.assert_array_equal(given[16], weights)
            np.testing.assert_array_equal([given[14], given[17]], [[3 + outside[0], 7], [5 + outside[1], 9]])
            assert (np.r_[left_of[:GUARD], left_of[-GUARD:]] == 77).all()


def test_a_batch_whose_magnitudes_are_more_than_int32() -> None:
    """65,536 times 2^15 are 2^31, which wraps to less than nothing: int32 then seemed to hold a sum of 2^32."""
    delta, act = np.full((2**16, 1), -(2**15), np.int16), np.full((2**16, 1), 2, np.int16)
    before = np.zeros((1, 1), np.int16)
    masters, weights, *_ = stated(before, np.array([[-(2**32)]]), 20, "RND", 0, RANGE)
    given = given_numbers(delta, act, before.copy(), 20)
    kernels.update_weights_read(*given)
    np.testing.assert_array_equal(given[10], masters)
    np.testing.assert_array_equal(given[16], weights)
    assert masters[0, 0] == 2**12


def test_what_is_refused_of_numbers() -> None:
    delta, act = np.zeros((3, 5), np.int16), np.zeros((3, 70), np.int16)
    given = given_numbers(delta, act, np.zeros((5, 70), np.int16), 9)
    kernels.update_weights_read(*given)
    for place, other, message in (
        (0, delta[:, :4], "needs delta"),
        (1, act[:1], "needs delta"),
        (1, np.zeros((3, 140), np.int16)[:, ::2], "side by side"),
        (5, given[5][:4], "scratch for them"),
        (6, given[6][:1], "scratch for them"),
        (7, given[7][:1], "scratch for them"),
        (8, given[8][:, :0], "scratch for them"),
        (9, given[9][:, :69], "scratch for them"),
    ):
        with pytest.raises(ValueError, match=message):
            other = other if message == "side by side" else other.copy()
            kernels.update_weights_read(*given[:place], other, *given[place + 1 :])


def update(kind: str, a: np.ndarray, b: np.ndarray, master: np.ndarray, shift: int, **more: Any) -> Any:  # noqa: ANN401
    """Update rows that lie apart; return the weight and the counts."""
    kernel, _, _, drop, weight_type = KINDS[kind]
    drop, rounding, offsets, flip = (more.get(name, value) for name, value in
                                     (("drop", drop), ("rounding", "RND"), ("offsets", None), ("flip", 0)))  # fmt: skip
    units = master.shape[0]
    offsets = np.zeros(units, np.int32) if offsets is None else offsets
    weight, counters = new(weight_type, units, master.shape[1] + 3)[:, :-3], np.zeros((2, 2), np.int64)
    largest = more.get("largest", len(a) * 255 * 128)
    sums = *factors(a, b, flip), offsets, np.zeros(units, np.int32), largest
    kernel(*sums, master, 0, np.array([shift]), ROUNDINGS[rounding], counters[0], drop, weight, counters[1])
    return weight, counters


@pytest.mark.parametrize("rounding", ["RND", "TRN"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_step(kind: str, rounding: str) -> None:
    """All products of int8 and uint8, by all shifts that leave a step of 16 bits."""
    a, b = np.arange(-128, 128)[None], np.arange(256)[None]
    products = a.T * b
    a, b = a.astype(KINDS[kind][1]), b.astype(KINDS[kind][2])
    for shift in range(1, 18):
        memory = np.zeros((256, 300), np.int16)
        update(kind, a, b, memory[:, :256], shift, rounding=rounding)
        half = 2**shift // 2 if rounding == "RND" else 0
        np.testing.assert_array_equal(memory[:, :256], -((products + half) // 2**shift))
        assert not memory[:, 256:].any()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "int16"])
def test_every_cast(kind: str) -> None:
    """All masters, by all casts."""
    masters = np.arange(*RANGE, dtype=np.int16).reshape(-1, 257)
    nothing = np.zeros((1, len(masters)), KINDS[kind][1]), np.zeros((1, 257), KINDS[kind][2])
    for drop in range(1, 16):
        weight, counters = update(kind, *nothing, masters.copy(), 3, drop=drop)
        exact = (masters.astype(np.int64) + 2 ** (drop - 1)) // 2**drop
        np.testing.assert_array_equal(weight, exact.clip(-128, 127))
        assert counters.tolist() == [[0, 0], [((exact < -128) | (exact > 127)).sum(), 0]]


@pytest.mark.parametrize("step", [32767, -32768])
def test_differences_saturate(step: int) -> None:
    """All masters, by the largest steps that there are: each difference is as far outside as any can be."""
    masters = np.arange(*RANGE, dtype=np.int16).reshape(-1, 257)
    a, b = np.full((1, len(masters)), step // 256 * 2, np.int16), np.full((1, 257), 256, np.int16)
    a[0, ::2] = 3
    found = masters.copy()
    _, counters = update("words", a, b, found, 1, largest=65534)
    exact = masters - (a.T.astype(np.int64) * b + 1) // 2
    np.testing.assert_array_equal(found, exact.clip(*RANGE))
    assert counters[0, 0] == ((exact < RANGE[0]) | (exact > RANGE[1])).sum()


@pytest.mark.skipif(not VNNI, reason="these tiles need dot products of bytes")
def test_offsets_of_signed_bytes() -> None:
    """Acts of int8 plus 128: what is too much is in the offsets, of columns that there are not too."""
    a, b = drawn(np.int8, 5, 7), drawn(np.int8, 5, 70)
    offsets = (-128 * a.astype(np.int64).sum(0)).astype(np.int32)
    master = np.zeros((7, 70), np.int16)
    _, counters = update("bytes", a, b, master, 7, offsets=offsets, flip=0x80808080)
    np.testing.assert_array_equal(master, -((a.astype(np.int64).T @ b + 64) // 128))
    assert not counters[0].any()


@pytest.mark.parametrize("act_type", [np.uint8, np.int8])
def test_every_product_of_one_sample(act_type: Any) -> None:  # noqa: ANN401
    """All deltas and acts, by all shifts: those of a single multiplication, 0 to 15, and others."""
    delta, act = np.arange(-128, 128).astype(np.int8), np.arange(256).astype(act_type)
    products = delta[:, None].astype(np.int64) * act
    random = np.random.default_rng(1)
    for shift in range(-1, 18):
        before = random.integers(*RANGE, products.shape, np.int16, endpoint=True)
        memory, counters = np.full((256, 300), 77, np.int16), np.zeros((2, 2), np.int64)
        memory[:, :256] = before
        weight = new(np.int8, 256, 300)
        kernels.update_weights_of_one(
            delta, act, np.full(256, 77, np.int16), memory[:, :256], shift - 5, np.array([5]), counters[0], 8,
            weight[:, :256], counters[1],
        )  # fmt: skip
        steps = (products + 2**shift // 2) // 2**shift if shift >= 0 else products * 2
        exact = before - steps
        after = exact.clip(*RANGE)
        casts = (after + 128) // 256
        np.testing.assert_array_equal(memory[:, :256], after)
        np.testing.assert_array_equal(weight[:, :256], casts.clip(-128, 127))
        assert counters.tolist() == [[(exact != after).sum(), 0], [(casts > 127).sum(), 0]]
        assert (memory[:, 256:] == 77).all()
        assert (weight[:, 256:] == 77).all()


@pytest.mark.parametrize("inputs", [1, 31, 32, 33, 63, 64, 65, 97, 128])
def test_one_sample_of_any_size(inputs: int) -> None:
    """Numbers at the ends of their range, by every cast, between guards."""
    for units, drop in product((1, 3), range(1, 16)):
        delta, act = drawn(np.int8, 1, units)[0], drawn(np.uint8, 1, inputs)[0]
        before = drawn(np.int16, units, inputs)
        gradient = delta[:, None].astype(np.int64) * act
        masters, weights, *outside = stated(before, gradient, 3, "RND", drop, (-128, 127))
        (master, left_of), (weight, right_of) = guarded(before, 77), guarded(new(np.int8, units, inputs), 77)
        counters, acts = np.array([[3, 7], [5, 9]]), np.zeros(-(-inputs // PANEL) * PANEL, np.int16)
        kernels.update_weights_of_one(
            delta, act, acts, master, 1, np.array([2]), counters[0], drop, weight, counters[1]
        )  # fmt: skip
        np.testing.assert_array_equal(master, masters)
        np.testing.assert_array_equal(weight, weights)
        np.testing.assert_array_equal(counters, [[3 + outside[0], 7], [5 + outside[1], 9]])
        for memory in (left_of, right_of):
            assert (np.r_[memory[:GUARD], memory[-GUARD:]] == 77).all()


def test_one_sample_refuses() -> None:
    delta, act, acts = np.zeros(5, np.int8), np.zeros(70, np.uint8), np.zeros(128, np.int16)
    master, weight, rate, counter = np.zeros((5, 70), np.int16), np.zeros((5, 70), np.int8), np.array([9]), np.zeros(2, int)
    given = [delta, act, acts, master, 0, rate, counter, 8, weight, counter.copy()]
    kernels.update_weights_of_one(*given)
    for place, other, message in (
        (0, delta[:4], "needs delta"),
        (1, act[:69], "needs delta"),
        (2, acts[:64], "whole panels"),
        (8, weight[:, :69], "master and weight"),
        (3, np.zeros((5, 140), np.int16)[:, ::2], "side by side"),
        (7, 16, "1 to 15"),
    ):
        with pytest.raises(ValueError, match=message):
            kernels.update_weights_of_one(*given[:place], other, *given[place + 1 :])


def test_what_is_refused() -> None:
    kind = next(iter(KINDS))
    kernel, left_type, right_type, drop, weight_type = KINDS[kind]
    left, right = factors(np.zeros((3, 5), left_type), np.zeros((3, 70), right_type))
    master, weight, zeros = np.zeros((5, 70), np.int16), np.zeros((5, 70), weight_type), np.zeros(5, np.int32)
    rnd, counters, rate = ROUNDINGS["RND"], np.zeros((2, 2), np.int64), np.array([9])

    def call(**other: Any) -> None:  # noqa: ANN401
        given = {
            "left": left, "right": right, "offsets": zeros, "begin": zeros.copy(), "largest": 99, "master": master,
            "base": 0, "rate": rate, "rounding": rnd, "counter": counters[0], "drop": drop, "weight": weight,
            "cast_counter": counters[1],
        }  # fmt: skip
        kernel(*(given | other).values())

    call()
    for other, message in (
        ({"right": right[:1]}, "shapes"),
        ({"left": left[:, ::2]}, "a row of master"),
        ({"left": np.asfortranarray(left)}, "C order"),
        ({"offsets": zeros[:4]}, "an offset"),
        ({"weight": weight[:, :69]}, "a row of master"),
        ({"master": np.zeros((5, 140), np.int16)[:, ::2]}, "side by side"),
        ({"rounding": ROUNDINGS["RND_CONV"]}, "TRN or RND"),
        ({"drop": 16}, "drops 1 to 15"),
    ):
        with pytest.raises(ValueError, match=message):
            call(**other)
