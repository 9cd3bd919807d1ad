"""Ten mistakes that fixed-point code makes again and again, each pinned in plain numbers; then a few of training itself.

``tests/planted_fixed.py`` plants each of them in the package.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from fasim import kernels, rules
from fasim.errors import FormatError
from fasim.fixedpoint import Cast, Counts, Fixed, exact_window, load_datapath, matmul, quantize, requantize
from fasim.fixedpoint.tables import act_table, slope_table
from fasim.network import Network
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS, shift_round
from fasim.schedule import StepSettings
from tests.fixed_bridge import Case, compare
from tests.fixed_statements import ROUNDED_HALVES

BYTE = Fixed(8, 0)
SEED, SITE = np.uint64(7), 99
HALVES = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]


def column(*numbers: int) -> np.ndarray:
    return np.array(numbers).reshape(-1, 1)


def register(factors: list[int], accumulator: str) -> tuple[list[list[int]], Counts]:
    """Return the sum of the factors in a register, and what left its range."""
    ones = column(*[1] * len(factors))
    sums, _, counts = matmul([factors], ones, BYTE, BYTE, accumulator=accumulator, return_counts=True)
    return sums.tolist(), counts["sum"]


# --- 1: negative halves ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounding", ROUNDED_HALVES)
def test_mistake_1_negative_halves(rounding: str) -> None:
    """int(x + 0.5), round() and C's round agree on 0.5 alone; every mode says what -0.5, -1.5 and -2.5 become."""
    raw = [int(2 * half) for half in HALVES]
    assert requantize(raw, Fixed(8, 1), BYTE, rounding, "SAT").tolist() == ROUNDED_HALVES[rounding]
    assert quantize(HALVES, BYTE, rounding).tolist() == ROUNDED_HALVES[rounding]


def test_mistake_1_a_negative_number_is_not_truncated() -> None:
    """int(-1.25 + 0.5) is 0."""
    assert quantize([-1.25, -1.75, 1.25], BYTE).tolist() == [-1, -2, 1]
    assert requantize([-5, -7, 5], Fixed(8, 2), BYTE, "RND", "SAT").tolist() == [-1, -2, 1]


# --- 2: the host's // and >> ----------------------------------------------------------------------------------------


def test_mistake_2_division_says_where_it_rounds_to() -> None:
    """// rounds down in Python, toward 0 in C: -7 / 2 is -4 or -3."""
    out, counters = np.empty(2, np.int64), np.zeros(2, np.int64)
    for rounding, expected in (("TRN", [-4, 3]), ("TRN_ZERO", [-3, 3])):
        codes = ROUNDINGS[rounding], OVERFLOWS["SAT"]
        kernels.divide_fixed(np.array([-7, 7]), 2, 0, -128, 127, *codes, out, counters)
        assert out.tolist() == expected
        assert requantize([-7, 7], Fixed(8, 1), BYTE, rounding, "SAT").tolist() == expected
    toward_zero = np.empty((1, 2), np.int64)
    kernels.divide_by_fixed(np.array([[-7, 7]]), np.array([[2, 2]]), toward_zero)
    assert toward_zero.tolist() == [[-3, 3]]


@pytest.mark.parametrize("dropped", [31, 32, 33, 63, 64, 65, 100])
def test_mistake_2_shift_counts_beyond_the_width(dropped: int) -> None:
    """A processor shifts by the count modulo 64: -5 >> 64 is -5 there, -1 in mathematics."""
    assert shift_round(-5, dropped, ROUNDINGS["TRN"], 0) == -1
    assert shift_round(-5, dropped, ROUNDINGS["RND"], 0) == 0
    for rounding, expected in (("TRN", [-1, 0]), ("RND", [0, 0]), ("TRN_INF", [0, 1]), ("RND_CONV", [0, 0])):
        assert requantize([-5, 5], Fixed(8, dropped), BYTE, rounding, "SAT").tolist() == expected


# --- 3: a shift as the learning rate --------------------------------------------------------------------------------


def moved(gradients: list[int], rounding: str, learning_shift: int = 8) -> int:
    """Return how far a weight has moved after one update with each of the gradients."""
    weight = np.zeros(1, np.int32)
    for step, gradient in enumerate(gradients):
        codes = -(2**20), 2**20, ROUNDINGS[rounding], OVERFLOWS["SAT"]
        place = SEED, SITE, np.array([step]), 0, np.zeros(2, np.int64)
        kernels.update_fixed(weight, np.array([gradient]), 0, np.array([learning_shift]), *codes, *place)
    return int(weight[0])


def test_mistake_3_an_arithmetic_shift_drifts() -> None:
    """W -= g >> 8, 1000 times with g = 77 and with g = -77, where 300.8 is meant; and with both signs in turn."""
    assert [moved([g] * 1000, "TRN") for g in (77, -77)] == [0, 1000]
    assert [moved([g] * 1000, "RND") for g in (77, -77)] == [0, 0]
    assert moved([1, -1] * 500, "TRN") == 500
    assert moved([1, -1] * 500, "RND") == moved([1, -1] * 500, "TRN_ZERO") == 0


def test_mistake_3_stochastic_rounding_has_no_dead_zone() -> None:
    five_sigma = 5 * math.sqrt(1000 * 77 / 256 * (1 - 77 / 256))
    for sign in (1, -1):
        assert abs(moved([77 * sign] * 1000, "STOCH") + sign * 1000 * 77 / 256) < five_sigma


# --- 4: width and type of the accumulator ---------------------------------------------------------------------------


def test_mistake_4_products_are_wider_than_their_factors() -> None:
    """np.int8 @ np.int8 stays int8: 4 * 100 * 100 would be 64."""
    hundred = np.full((1, 4), 100, np.int8)
    for engine in ("integer", "float32", "auto"):
        assert matmul(hundred, hundred.T, BYTE, BYTE, engine=engine)[0].tolist() == [[40_000]]


@pytest.mark.parametrize("terms", [1, 2, 3, 1041])
def test_mistake_4_full_scale_sums(terms: int) -> None:
    """16 x 16 bits fill 32 bits with two products; 1041 products of 8 bits no longer fit a float32."""
    for bits in (8, 16):
        fmt = Fixed(bits, 0)
        for a, b in ((fmt.lo, fmt.lo), (fmt.lo, fmt.hi), (fmt.hi, fmt.hi)):
            sums, _ = matmul(np.full((1, terms), a), np.full((terms, 1), b), fmt, fmt)
            assert sums.tolist() == [[terms * a * b]]
    assert exact_window(BYTE, BYTE, 1024) == {"float32": True, "float64": True, "integer": True}
    assert not exact_window(BYTE, BYTE, 1025)["float32"]


def test_mistake_4_a_register_of_32_bits_wraps_at_32_bits() -> None:
    """Numba adds int32 and int32 in int64: two products of (-2^15)^2 would not wrap."""
    lowest, word = np.full((1, 2), -(2**15)), Fixed(16, 0)
    how = {"accumulator": "32 WRAP every_mac", "return_counts": True}
    sums, _, counts = matmul(lowest, lowest.T, word, word, **how)
    assert sums.tolist() == [[-(2**31)]]
    assert counts["sum"] == Counts(0, 1)


@pytest.mark.parametrize("batch", [1, 2, 1000])
@pytest.mark.parametrize("preset", ["s8", "s16"])
def test_mistake_4_sums_of_training_hold_full_scale(preset: str, batch: int) -> None:
    """Also the gradient, which a larger batch makes larger."""
    schedule = rules.training_step(Network.parse("4-4-2"), "bp", StepSettings(batch), load_datapath(preset))
    for total, (first, second), terms in (
        ("accumulator.preact.2", ("act.1", "weight.2"), 4),
        ("gradient.weight.2", ("error", "act.1"), batch),
    ):
        ends = [x * y for x in limits(schedule, first) for y in limits(schedule, second)]
        lowest, highest = limits(schedule, total)
        assert lowest <= terms * min(ends)
        assert terms * max(ends) <= highest


def limits(schedule: object, name: str) -> tuple[int, int]:
    fmt = schedule[name].format  # type: ignore[index]
    return fmt.lo, fmt.hi


# --- 5: saturation at the end or at every addition, and the order ----------------------------------------------------


def test_mistake_5_saturation_at_the_end_is_not_saturation_at_every_addition() -> None:
    """100 + 50 - 100: 150 does not fit 8 bits, 50 does."""
    assert register([100, 50, -100], "8 SAT end") == ([[50]], Counts(0, 0))
    assert register([100, 50, -100], "8 SAT every_mac") == ([[27]], Counts(1, 0))
    # the running sum is brought into range, not the products alone
    assert register([100, 100, 100], "8 SAT every_mac") == ([[127]], Counts(2, 0))
    assert register([100, 100, 100, -50, -50, -50], "8 WRAP every_mac")[0] == [[-106]]


def test_mistake_5_the_order_of_additions_is_part_of_the_result() -> None:
    assert register([-100, 50, 100], "8 SAT every_mac")[0] == [[50]]
    # 100 + 100 in one register, which saturates, -100 + 0 in the other
    assert register([100, -100, 100, 0], "8 SAT every_mac lanes:2")[0] == [[27]]
    # 100 + 100 - 100, whose sum alone is brought into range
    assert register([100, 100, -100, 0], "8 SAT every_mac tree:3") == ([[100]], Counts(0, 0))
    # register 1 comes before register 2: 100 + 100 saturates, then -100; not 100 - 100 + 100
    assert register([100, 100, -100], "8 SAT every_mac lanes:3")[0] == [[27]]


# --- 6: the order of bias, rounding and saturation -------------------------------------------------------------------


def test_mistake_6_the_bias_comes_before_rounding_and_saturation() -> None:
    """SAT(140 - 30) is 110, SAT(SAT(140) - 30) 97; RND((4 + 4) / 8) is 1, RND(4 / 8) + RND(4 / 8) 2."""
    for product, bias, frac, expected in ((140, -30, 0, 110), (4, 4, 3, 1)):
        a, b, fmt = [[product // 2]], [[2]], Fixed(8, frac)
        how = {"bias": [bias], "bias_format": fmt, "out": Cast(BYTE, "RND", "SAT")}
        assert matmul(a, b, fmt, BYTE, **how)[0].tolist() == [[expected]]
        sums, narrow = np.empty((1, 1), np.int32), np.empty(1, np.int8)
        kernels.dense_forward_fixed(np.array(a), np.array(b), np.array([bias]), 0, 0, sums)
        codes = ROUNDINGS["RND"], OVERFLOWS["SAT"], SEED, SITE, 0, 0
        kernels.requantize(sums.ravel(), frac, -128, 127, *codes, narrow, np.zeros(2, np.int64))
        assert narrow.tolist() == [expected]


def test_mistake_6_the_bias_is_aligned_to_the_sum() -> None:
    """A product of 16 / 2^6 and a bias of 8 / 2^3 are 1.25, wherever the finer point is."""
    assert matmul([[4]], [[4]], Fixed(8, 3), Fixed(8, 3), bias=[8], bias_format=Fixed(8, 3))[0].tolist() == [[80]]
    assert matmul([[1]], [[2]], Fixed(8, 3), BYTE, bias=[64], bias_format=Fixed(8, 6))[0].tolist() == [[80]]


# --- 7: double rounding ---------------------------------------------------------------------------------------------


def test_mistake_7_one_rounding_not_two() -> None:
    """7 / 16 is 0; by way of 7 / 4, rounded to 2 / 4, it would be 1."""
    every = np.arange(-128, 128)
    once = requantize(every, Fixed(8, 4), BYTE, "RND", "SAT")
    assert once.tolist() == [(x + 8) // 16 for x in range(-128, 128)]
    halfway = requantize(every, Fixed(8, 4), Fixed(8, 2), "RND", "SAT")
    assert (requantize(halfway, Fixed(8, 2), BYTE, "RND", "SAT") != once).mean() == 0.125
    # TFLite's two roundings make 1 / 4 and -2 / 4 a whole step
    assert requantize([1, -2], Fixed(8, 2), BYTE, "RND", "SAT").tolist() == [0, 0]


def test_mistake_7_floats_are_rounded_once() -> None:
    """The nearest float32 of 0.5 - 2^-40 is 0.5; the nearest float64 of 0.5 - 2^-54 and 0.5 added is 1."""
    assert quantize([0.5 - 2.0**-40, 0.5 - 2.0**-54, 0.5], BYTE).tolist() == [0, 0, 1]
    for value in (math.nan, math.inf):
        with pytest.raises(FormatError, match="NaN or infinity"):
            quantize([value], BYTE)


# --- 8: the lowest number, and the sign of 0 -------------------------------------------------------------------------


def test_mistake_8_the_lowest_number_has_no_negative() -> None:
    """-1 * -1 in 8 bits with 7 fraction bits is 128 / 128."""
    fmt = Fixed(8, 7)
    for overflow, expected in (("SAT", 127), ("SAT_SYM", 127), ("WRAP", -128), ("SAT_ZERO", 0)):
        assert matmul([[-128]], [[-128]], fmt, fmt, out=Cast(fmt, "RND", overflow))[0].tolist() == [[expected]]
    assert requantize([-128, -127], BYTE, BYTE, "RND", "SAT").tolist() == [-128, -127]
    assert requantize([-256, -254, -300], Fixed(10, 1), BYTE, "RND", "SAT").tolist() == [-128, -127, -128]
    low, counts = requantize([-128, -127], BYTE, BYTE, "RND", "SAT_SYM", return_counts=True)
    assert low.tolist() == [-127, -127]
    assert counts == Counts(1, 0)


def test_mistake_8_the_sign_of_an_error_of_zero() -> None:
    """+1, as the sign bit says; in float 0."""
    signs = np.empty((1, 4), np.int8)
    kernels.sign_fixed(np.array([[-128, -1, 0, 127]], np.int8), signs)
    assert signs.tolist() == [[-1, -1, 1, 1]]


# --- 9: addresses and ends of tables ---------------------------------------------------------------------------------


def test_mistake_9_every_code_of_a_table() -> None:
    """All 1024 codes of s10.6, through the kernel: negative ones, both ends, and slopes that fit their function.

    In one row, which is read by vectors where the CPU has them, and in rows too short for that.
    """
    preact, fmt = Fixed(10, 6), Fixed(8, 7)
    every = np.arange(preact.lo, preact.hi + 1, dtype=np.int16)
    for make, function in ((act_table, math.tanh), (slope_table, lambda x: 1 - math.tanh(x) ** 2)):
        exact = [function(code / 64) for code in every.tolist()]
        for codes in (every.reshape(1, -1), every.reshape(-1, 8)):
            found = np.empty(codes.shape, np.int8)
            kernels.look_up(codes, make("tanh", preact, fmt), preact.lo, found)
            assert found.ravel().tolist() == [min(math.floor(value * 128 + 0.5), 127) for value in exact]


def test_mistake_9_the_address_is_clamped_and_all_bins_are_equally_wide() -> None:
    """8.0 is one step above the table, -8.0 its first entry; a conversion by int() makes the bin of 0 twice as wide."""
    preact = Fixed(10, 6)
    assert requantize([8 << 10, -8 << 10, -9 << 10], Fixed(20, 10), preact, "TRN", "SAT").tolist() == [511, -512, -512]
    for rounding in ("TRN", "RND"):
        near_zero = requantize(np.arange(-168, 168), Fixed(20, 10), preact, rounding, "SAT")
        assert np.bincount(near_zero + 11)[2:-2].tolist() == [16] * 18


# --- 10: stochastic rounding -----------------------------------------------------------------------------------------


def test_mistake_10_every_word_once_is_exactly_unbiased() -> None:
    """Up where the random bits reach, not exceed, what is left to the next number: a whole number never moves."""
    words, sums = np.arange(16, dtype=np.uint32), []
    for x in range(-40, 40):
        out = np.empty(16, np.int8)
        raw, counters = np.full(16, x), np.zeros(2, np.int64)
        kernels.requantize_random(raw, 4, -128, 127, OVERFLOWS["SAT"], words, 0, False, out, counters)
        # SR(x), not sign(x) * SR(|x|): both are unbiased, but they use the words differently
        assert out.tolist() == [(x + word) // 16 for word in range(16)]
        sums.append(int(out.sum()))
    assert sums == list(range(-40, 40))


def test_mistake_10_neighbours_have_words_of_their_own() -> None:
    """Halves of a step: neighbours go up independently, and so does one element from step to step."""
    steps = [requantize(np.full(4096, 8), Fixed(16, 4), BYTE, "STOCH", "SAT", seed=3, step=step) for step in (0, 1)]
    pairs = [(steps[0][:-lag], steps[0][lag:]) for lag in (1, 2, 3, 4, 1024)]
    for first, second in (*pairs, tuple(steps)):
        assert abs(np.corrcoef(first, second)[0, 1]) < 5 / math.sqrt(len(first))


def test_mistake_10_the_order_of_work_changes_no_bit() -> None:
    """The second half first, in other slices: as threads would."""
    raw, codes = np.arange(-2000, 2000), (-128, 127, ROUNDINGS["STOCH"], OVERFLOWS["SAT"], SEED, SITE, 5)
    whole, parts, counters = np.empty(4000, np.int8), np.empty(4000, np.int8), np.zeros(2, np.int64)
    kernels.requantize(raw, 4, *codes, 0, whole, counters)
    for start, stop in ((1999, 4000), (3, 1999), (0, 3)):
        kernels.requantize(raw[start:stop], 4, *codes, start, parts[start:stop], counters)
    np.testing.assert_array_equal(parts, whole)
    # rounded up beyond the highest number, then brought back: 127 and 15 / 16
    assert set(requantize(np.full(99, 2047), Fixed(16, 4), BYTE, "STOCH", "SAT").tolist()) == {127}


# --- and in training: both backends against the step by hand ----------------------------------------------------------

TRAINED = {
    "exponents_from_the_data": ("bp", {"dynamic": {"error": "keep", "delta": "keep"}}, {}),
    "feedback_with_a_master": ("kp", {"feedback": {"master_bits": 14}}, {}),
    "no_bias": ("dfa", {"bias": {"format": "none"}}, {}),
    "a_fine_bias": ("dfa", {"bias": {"format": "s16.15"}, "act": {"format": "s8.5"}}, {}),
    "a_coarse_bias": ("dfa", {"bias": {"format": "s12.10"}}, {}),
    "stochastic_casts": ("dfa", {name: {"rounding": "STOCH"} for name in ("preact", "error", "delta", "update")}, {}),
    "lanes": ("dfa", {"accumulator": "14 SAT every_mac lanes:3", "bias": {"format": "s12.10"}}, {}),
    "normalisation": ("bp", {"norm": {"format": "s12.8"}}, {"batch_norm": True}),
}


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_training_is_the_step_by_hand(backend: str, name: str, tmp_path: Path) -> None:
    rule, tables, options = TRAINED[name]
    assert compare(Case("6-5-4-3", rule, StepSettings(4), options, tables=tables), tmp_path, backend=backend)
