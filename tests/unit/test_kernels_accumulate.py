"""Sums in limited registers against Python integers: every order, overflow and rounding, convolutions, slices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import pytest

from fasim import kernels
from fasim.scalar.constants import ASCENDING, LANES, TREE
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS
from tests.kernel_checks import GUARD, check, guarded, inside, names_of, new

N, I, J, K = 4, 11, 5, 7  # noqa: E741 - the letters of the docstrings
C, H, W, SIDE, STRIDE, PADDING = 2, 5, 4, 3, 2, 1
P, Q = 3, 2
MODES = ("SAT", "SAT_SYM", "SAT_ZERO", "WRAP", "NUMERIC_STD")

random = np.random.default_rng(71)


def raw(dtype: Any, *shape: int) -> np.ndarray:  # noqa: ANN401
    """Return integers over the whole range of a type, an eighth of them 0."""
    info = np.iinfo(dtype)
    return random.integers(info.min, info.max, shape, dtype, endpoint=True) * (random.random(shape) > 0.125).astype(dtype)


class Rule(NamedTuple):
    """What a register does, in words."""

    bits: int = 14
    overflow: str = "SAT"
    every_mac: bool = True
    order: str = "ascending"
    lanes: int = 1
    shift: int = 0
    rounding: str = "TRN"

    @property
    def limits(self) -> tuple[int, int]:
        high = 2 ** (self.bits - 1) - 1
        return (-high if self.overflow == "SAT_SYM" else -high - 1), high

    @property
    def gradient(self) -> tuple[int, ...]:
        """Return the arguments of a kernel that adds in ascending order."""
        return self.shift, ROUNDINGS[self.rounding], *self.limits, OVERFLOWS[self.overflow], int(self.every_mac)

    @property
    def arguments(self) -> tuple[int, ...]:
        return *self.gradient, {"ascending": ASCENDING, "lanes": LANES, "tree": TREE}[self.order], self.lanes

    @property
    def rows(self) -> int:
        """Return how many registers an output needs."""
        return {"ascending": 1, "lanes": self.lanes, "tree": 2}[self.order]


def in_range(value: int, rule: Rule) -> tuple[int, int]:
    """Return what an overflow makes of a number, and whether it was outside."""
    low, high = rule.limits
    if low <= value <= high:
        return value, 0
    size = 2 ** (rule.bits - 1)
    return {
        "SAT": min(max(value, low), high),
        "SAT_SYM": min(max(value, low), high),
        "SAT_ZERO": 0,
        "WRAP": (value + size) % (2 * size) - size,
        "NUMERIC_STD": value % size - (size if value < 0 else 0),
    }[rule.overflow], 1


def rounded(product: int, rule: Rule) -> int:
    if rule.shift <= 0:
        return product * 2**-rule.shift
    whole = 2**rule.shift
    quotient, rest = divmod(product, whole)
    up = {
        "TRN": False,
        "TRN_ZERO": rest > 0 and product < 0,
        "RND": 2 * rest >= whole,
        "RND_CONV": 2 * rest > whole or (2 * rest == whole and quotient % 2 == 1),
        "JAM": quotient % 2 == 0,
    }[rule.rounding]
    return quotient + up


def register(bias: int, pairs: Iterable[tuple[int, int]], rule: Rule) -> tuple[int, int]:
    """Return the sum of a bias and of products as a register has it, and how often the register left its range."""
    products = [rounded(a * b, rule) for a, b in pairs]
    if not rule.every_mac:
        return in_range(bias + sum(products), rule)
    events = []

    def load(value: int) -> int:
        value, outside = in_range(value, rule)
        events.append(outside)
        return value

    if rule.order == "tree":
        products = [sum(products[k : k + rule.lanes]) for k in range(0, len(products), rule.lanes)]
    lanes = [load(bias)] + [0] * (rule.lanes - 1 if rule.order == "lanes" else 0)
    for k, product in enumerate(products):
        lanes[k % len(lanes)] = load(lanes[k % len(lanes)] + product)
    for other in lanes[1:]:
        lanes[0] = load(lanes[0] + other)
    return lanes[0], sum(events)


def windows(act: np.ndarray) -> np.ndarray:
    """Return the window of every output pixel, int64[N, P, Q, R S C]."""
    padded = np.pad(act.astype(np.int64), ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)))
    view = np.lib.stride_tricks.sliding_window_view(padded, (SIDE, SIDE), (1, 2))[:, ::STRIDE, ::STRIDE]
    return view.transpose(0, 1, 2, 4, 5, 3).reshape(N, P, Q, SIDE * SIDE * C)


def spread(delta: np.ndarray) -> np.ndarray:
    """Return for every input pixel the deltas of the windows that hold it, by (r, s, j), int64[N, H, W, R S J]."""
    result = np.zeros((N, H, W, SIDE, SIDE, J), np.int64)
    for h, w, r, s in np.ndindex(H, W, SIDE, SIDE):
        (p, no_row), (q, no_column) = divmod(h + PADDING - r, STRIDE), divmod(w + PADDING - s, STRIDE)
        if not no_row and not no_column and 0 <= p < P and 0 <= q < Q:
            result[:, h, w, r, s] = delta[:, p, q]
    return result.reshape(N, H, W, -1)


def all_sums(factors: np.ndarray, sources: np.ndarray, bias: np.ndarray, rule: Rule) -> tuple[np.ndarray, int]:
    """Return the register of each row of factors with each row of sources, and all their events."""
    rows, events = [], 0
    for row in factors.reshape(-1, factors.shape[-1]).tolist():
        pairs = [zip(row, source, strict=True) for source in sources.tolist()]
        results = [register(start, products, rule) for start, products in zip(bias.tolist(), pairs, strict=True)]
        rows.append([value for value, _ in results])
        events += sum(count for _, count in results)
    return np.array(rows).reshape(*factors.shape[:-1], len(sources)), events


def counted(events: int, rule: Rule) -> list[int]:
    return [5, 6 + events] if rule.overflow in ("WRAP", "NUMERIC_STD") else [5 + events, 6]


Case = tuple[tuple[Any, ...], dict[int, Any], tuple[tuple[Any, ...], ...]]


def case(name: str, rule: Rule, dtype: Any = np.int8) -> Case:  # noqa: ANN401
    """Return the arguments without scratch, what is written, and the types and shapes of the scratch before out."""
    act, weight, bias, delta = raw(dtype, N, I), raw(dtype, J, I), raw(np.int16, J), raw(dtype, N, J)
    signal, matrix = raw(dtype, N, K), raw(dtype, K, J)
    maps, filters, deltas = raw(dtype, N, H, W, C), raw(dtype, J, SIDE, SIDE, C), raw(dtype, N, P, Q, J)
    wide = np.int32 if dtype == np.int8 and rule.every_mac else np.int64
    none, window = np.zeros(99, int), SIDE * SIDE * C
    first, units = 1, J - 2
    part = slice(first, first + units)
    given: tuple[Any, ...]
    match name:
        case "dense_accumulate":
            given = act, weight, bias, 3, *rule.arguments
            result = all_sums(act, weight, bias.astype(int) << 3, rule)
            scratch = ((wide, rule.rows, J),)
        case "project_accumulate":
            given = signal, matrix, *rule.arguments
            result = all_sums(signal, matrix.T, none[:J], rule)
            scratch = ((wide, rule.rows, J),)
        case "weight_gradient_accumulate":
            given = delta, act, first, *rule.gradient
            result = all_sums(delta.T[part], act.T, none[:I], rule)
            scratch = ((wide, 1, I),)
        case "bias_gradient_accumulate":
            given = delta, first, *rule.gradient
            values, events = all_sums(delta.T[part], np.ones((1, N), int), none[:1], rule)
            result = values[:, 0], events
            scratch = ((wide, 1, units),)
        case "conv_forward_accumulate":
            given = maps, filters, bias, 3, *rule.arguments, STRIDE, PADDING
            result = all_sums(windows(maps), filters.reshape(J, -1), bias.astype(int) << 3, rule)
            scratch = ((wide, rule.rows, J),)
        case "conv_input_gradient_accumulate":
            given = deltas, filters, *rule.arguments, STRIDE, PADDING
            result = all_sums(spread(deltas), filters.transpose(3, 1, 2, 0).reshape(C, -1), none[:C], rule)
            scratch = ((wide, rule.rows, C),)
        case "conv_weight_gradient_accumulate":
            given = deltas, maps, first, *rule.gradient, STRIDE, PADDING
            sources = windows(maps).reshape(-1, window).T
            values, events = all_sums(deltas.reshape(-1, J).T[part], sources, none[:window], rule)
            result = values.reshape(units, SIDE, SIDE, C), events
            scratch = (wide, units, window), (dtype, window)
        case _:
            raise AssertionError(name)
    out = new(np.int64, *result[0].shape)
    written = {len(given): result[0], len(given) + 1: counted(result[1], rule)}
    return (*given, out, np.array([5, 6])), written, scratch


def with_scratch(kernel: Callable[..., None], scratch: tuple[tuple[Any, ...], ...]) -> Callable[..., None]:
    """Return the kernel with scratch before its last two arguments: full of old numbers and between guards."""

    def call(*arguments: Any) -> None:  # noqa: ANN401
        arrays, memories = zip(*[guarded(new(dtype, *shape), 55) for dtype, *shape in scratch], strict=True)
        kernel(*arguments[:-2], *arrays, *arguments[-2:])
        for memory in memories:
            assert (memory[:GUARD] == 55).all() and (memory[-GUARD:] == 55).all()

    return call


KERNELS = names_of("accumulate", "accumulate_conv")
FORWARD = ("dense_accumulate", "project_accumulate", "conv_forward_accumulate", "conv_input_gradient_accumulate")
RULES = (
    *(Rule(overflow=overflow) for overflow in MODES),
    *(Rule(overflow=overflow, every_mac=False) for overflow in MODES),
    *(Rule(12, overflow, shift=3, rounding=name) for overflow in ("SAT", "WRAP", "SAT_ZERO") for name in ("TRN", "RND")),
    *(Rule(12, shift=3, rounding=name) for name in ("TRN_ZERO", "RND_CONV", "JAM")),
    *(Rule(16, shift=3, rounding=name, every_mac=False) for name in ("TRN", "RND", "RND_CONV", "JAM")),
    Rule(15, shift=-2),
    Rule(15, "NUMERIC_STD", shift=-2),
    Rule(15, shift=-2, every_mac=False),
)
ORDERED = (
    *(Rule(order=order, lanes=lanes) for order in ("lanes", "tree") for lanes in (1, 3, 4, 32)),
    *(Rule(overflow="WRAP", order=order, lanes=4) for order in ("lanes", "tree")),
    *(Rule(12, shift=3, rounding=name, order=order, lanes=4) for name in ("RND", "JAM") for order in ("lanes", "tree")),
    Rule(order="lanes", lanes=4, every_mac=False),
)


def test_every_kernel_of_these_modules_has_its_case() -> None:
    assert len(KERNELS) == 7
    for name in KERNELS:
        assert case(name, Rule())[0]


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("name", KERNELS)
def test_kernel_is_its_statement(name: str, rule: Rule) -> None:
    arguments, expected, scratch = case(name, rule)
    check(with_scratch(getattr(kernels, name), scratch), arguments, expected)


@pytest.mark.parametrize("rule", ORDERED, ids=str)
@pytest.mark.parametrize("name", FORWARD)
def test_every_order_is_its_statement(name: str, rule: Rule) -> None:
    arguments, expected, scratch = case(name, rule)
    check(with_scratch(getattr(kernels, name), scratch), arguments, expected)


WIDE = (Rule(32), Rule(32, "WRAP"), Rule(60, every_mac=False), Rule(30, order="tree", lanes=4))


@pytest.mark.parametrize("rule", WIDE, ids=str)
@pytest.mark.parametrize("name", FORWARD)
def test_sixteen_bits_in_wide_registers(name: str, rule: Rule) -> None:
    arguments, expected, scratch = case(name, rule, np.int16)
    check(with_scratch(getattr(kernels, name), scratch), arguments, expected)


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_inside_a_compiled_function(name: str) -> None:
    arguments, expected, scratch = case(name, Rule())
    check(with_scratch(inside(getattr(kernels, name)), scratch), arguments, expected)


def test_the_cases_leave_the_range() -> None:
    """Else every statement above would hold for plain sums too."""
    for name in set(KERNELS) - {"bias_gradient_accumulate"}:
        _, expected, _ = case(name, Rule())
        assert max(expected)
        assert expected[max(expected)][0] > 5, name


# --- by hand --------------------------------------------------------------------------------------


def dense(act: list[int], weight: list[int], bias: int, rule: Rule) -> tuple[int, int]:
    """Return the register of one output, and its events."""
    x, w = np.array([act], np.int16), np.array([weight], np.int16)
    out, counters = np.empty((1, 1), np.int64), np.zeros(2, np.int64)
    registers = np.empty((rule.rows, 1), np.int64)
    kernels.dense_accumulate(x, w, np.array([bias], np.int16), 0, *rule.arguments, registers, out, counters)
    return int(out[0, 0]), int(counters.sum())


def test_saturation_at_every_step_is_not_saturation_at_the_end() -> None:
    assert dense([100, 100, -100, -100], [1] * 4, 0, Rule(8)) == (-73, 1)
    assert dense([100, 100, -100, -100], [1] * 4, 0, Rule(8, every_mac=False)) == (0, 0)
    assert dense([100, 100, 100], [1] * 3, 0, Rule(8)) == (127, 2)
    assert dense([100, 100, 100], [1] * 3, 0, Rule(8, every_mac=False)) == (127, 1)


@pytest.mark.parametrize("terms", [1, 2, 3, 784])
@pytest.mark.parametrize("sign", [1, -1])
def test_full_scale(terms: int, sign: int) -> None:
    """-2^15 * -2^15 is the one product that needs 32 bits."""
    rule = Rule(34)
    total = sign * 2**30 if sign > 0 else -(2**15) * (2**15 - 1)
    weight = -(2**15) if sign > 0 else 2**15 - 1
    low, high = rule.limits
    expected = min(max(terms * total, low), high)
    assert dense([-(2**15)] * terms, [weight] * terms, 0, rule)[0] == expected
    assert dense([-(2**15)] * terms, [weight] * terms, 0, Rule(60)) == (terms * total, 0)


def test_the_order_is_part_of_a_saturated_sum_and_not_of_a_wrapped_one() -> None:
    act, ones = [90, 90, -60, 20, -90, 7], [1] * 6
    saturated = [dense(row, ones, 0, Rule(8))[0] for row in (act, act[::-1])]
    wrapped = [dense(row, ones, 0, Rule(8, "WRAP"))[0] for row in (act, act[::-1])]
    assert saturated == [4, 57]
    assert wrapped == [57, 57]


def test_lanes_by_hand() -> None:
    """Lane 0: bias 10, 100 -> 110, 30 -> 127; lane 1: -100, -100 -> -128, 5 -> -123; 127 - 123 = 4."""
    rule = Rule(8, order="lanes", lanes=2)
    assert dense([100, -100, 30, -100, 0, 5], [1] * 6, 10, rule) == (4, 2)
    # the addition of the lanes saturates too
    assert dense([100, 100], [1] * 2, 10, rule) == (127, 1)


def test_tree_by_hand() -> None:
    """100 + 100 - 100 is exact within its group; 100 + 60 saturates; the last group has one product."""
    rule = Rule(8, order="tree", lanes=3)
    assert dense([100, 100, -100, 20, 20, 20, -7], [1] * 7, 0, rule) == (120, 1)


def test_bias_is_in_the_register_before_the_products() -> None:
    """100 + 50 saturates to 127, then 127 - 50; last it would be 100."""
    assert dense([50, -50], [1, 1], 100, Rule(8)) == (77, 1)
    assert dense([-50, 50], [1, 1], 100, Rule(8)) == (100, 0)
    assert dense([-50], [1], 1000, Rule(8)) == (77, 1)


def test_products_are_rounded_one_by_one() -> None:
    """4 / 8 + 4 / 8: each product rounds to 1 (RND) or 0 (TRN); their sum, rounded once, is 1."""
    assert dense([4, 4], [1, 1], 0, Rule(8, shift=3, rounding="RND")) == (2, 0)
    assert dense([4, 4], [1, 1], 0, Rule(8, shift=3)) == (0, 0)
    assert dense([-4, -4], [1, 1], 0, Rule(8, shift=3)) == (-2, 0)
    assert dense([4, 4], [1, 1], 0, Rule(8, shift=3, rounding="RND_CONV")) == (0, 0)


@pytest.mark.parametrize("shift", [31, 32, 33, 63, 64, 70])
@pytest.mark.parametrize("rounding", ["TRN", "RND", "RND_CONV"])
def test_shifts_as_wide_as_a_register(shift: int, rounding: str) -> None:
    """In 32-bit and in 64-bit registers; LLVM leaves such shifts undefined."""
    rule = Rule(16, shift=shift, rounding=rounding)
    act, weight = np.array([[-(2**15)]], np.int16), np.array([[2**15 - 1], [-(2**15)]], np.int16)
    for wide in (np.int32, np.int64):
        out, counters = np.empty((1, 2), np.int64), np.zeros(2, np.int64)
        registers = np.empty((1, 2), wide)
        kernels.dense_accumulate(act, weight, np.zeros(2, np.int16), 0, *rule.arguments, registers, out, counters)
        assert out.tolist() == [[rounded(-(2**15) * w, rule) for w in weight[:, 0].tolist()]]


# --- slices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cuts", [(0, 4), (0, 1, 4), (0, 1, 2, 3, 4)])
@pytest.mark.parametrize("name", FORWARD)
def test_rows_of_a_batch(name: str, cuts: tuple[int, ...]) -> None:
    (rows, *rest, out, counters), expected, scratch = case(name, Rule(order="lanes", lanes=3))
    call = with_scratch(getattr(kernels, name), scratch)
    for start, stop in zip(cuts[:-1], cuts[1:], strict=True):
        call(rows[start:stop], *rest, out[start:stop], counters)
    np.testing.assert_array_equal(out, expected[max(expected) - 1])
    np.testing.assert_array_equal(counters, expected[max(expected)])


@pytest.mark.parametrize("name", sorted(set(KERNELS) - set(FORWARD)))
def test_units_of_a_layer(name: str) -> None:
    arguments, expected, scratch = case(name, Rule())
    *given, out, counters = arguments
    place = next(i for i, argument in enumerate(given) if not isinstance(argument, np.ndarray))
    (wide, rows, columns), *others = scratch
    for start in range(len(out)):
        one = (wide, 1, columns if rows == 1 and name != "bias_gradient_accumulate" else 1)
        if name == "conv_weight_gradient_accumulate":
            one = (wide, 1, columns)
        call = with_scratch(getattr(kernels, name), (one, *others))
        call(*given[:place], given[place] + start, *given[place + 1 :], out[start : start + 1], counters)
    np.testing.assert_array_equal(out, expected[max(expected) - 1])
    np.testing.assert_array_equal(counters, expected[max(expected)])
