"""The integer reference's numbers by hand: rounding, overflow, random bits, exponents, registers, tables, softmax."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from tests.reference.fixed_casts import Run
from tests.reference.fixed_datapath import Tables
from tests.reference.fixed_numbers import Fmt, Num, ceil_log2, integers, into_range, read_format, round_shift, rounded_log2
from tests.reference.fixed_softmax import powers, softmax_row
from tests.reference.fixed_tables import FORMS, pocket
from tests.reference.fixed_updates import multiplier
from tests.reference.fixed_words import Words
from tests.reference.philox import random_word

XS = (-24, -20, -13, -12, -11, -9, -8, -7, -4, -1, 0, 1, 4, 7, 9, 11, 12, 13, 20)
EIGHTHS = {
    "TRN": (-3, -3, -2, -2, -2, -2, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2),
    "TRN_INF": (-3, -2, -1, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3),
    "TRN_ZERO": (-3, -2, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2),
    "TRN_AWAY": (-3, -3, -2, -2, -2, -2, -1, -1, -1, -1, 0, 1, 1, 1, 2, 2, 2, 2, 3),
    "TRN_MAG": (-2, -2, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2),
    "RND": (-3, -2, -2, -1, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3),
    "RND_MIN_INF": (-3, -3, -2, -2, -1, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2),
    "RND_INF": (-3, -3, -2, -2, -1, -1, -1, -1, -1, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3),
    "RND_ZERO": (-3, -2, -2, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2),
    "RND_CONV": (-3, -2, -2, -2, -1, -1, -1, -1, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2),
    "RND_CONV_ODD": (-3, -3, -2, -1, -1, -1, -1, -1, -1, 0, 0, 0, 1, 1, 1, 1, 1, 2, 3),
    "JAM": (-3, -3, -1, -1, -1, -1, -1, -1, -1, -1, 1, 1, 1, 1, 1, 1, 1, 1, 3),
    "JAM_UNBIASED": (-3, -3, -1, -1, -1, -1, -1, -1, -1, -1, 0, 1, 1, 1, 1, 1, 1, 1, 3),
}
VS = (-19, -17, -16, -9, -8, -7, 7, 8, 9, 15, 16, 19)
FOUR_BITS = {
    "WRAP": (-3, -1, 0, 7, -8, -7, 7, -8, -7, -1, 0, 3),
    "SAT": (-8, -8, -8, -8, -8, -7, 7, 7, 7, 7, 7, 7),
    "SAT_SYM": (-7, -7, -7, -7, -7, -7, 7, 7, 7, 7, 7, 7),
    "SAT_ZERO": (0, 0, 0, 0, -8, -7, 7, 0, 0, 0, 0, 0),
    "NUMERIC_STD": (-3, -1, -8, -1, -8, -7, 7, 0, 1, 7, 0, 3),
}
RND_SAT = {"rounding": "RND", "overflow": "SAT"}


def run_of(**tables: Any) -> Run:
    """Return an empty step of a datapath with these tables."""
    return Run(Tables({"accumulator": "exact", "bias": {"format": "s16.15"}} | tables), 7, 0)


@pytest.mark.parametrize("mode", EIGHTHS)
def test_eighths_by_hand(mode: str) -> None:
    """The worked table that two libraries for hardware types gave too."""
    assert tuple(round_shift(x, 3, mode) for x in XS) == EIGHTHS[mode]
    assert [round_shift(x, -2, mode) for x in (-3, 0, 5)] == [-12, 0, 20]
    assert round_shift(4, 0, mode) == (5 if mode == "JAM" else 4)


@pytest.mark.parametrize("overflow", FOUR_BITS)
def test_four_bits_by_hand(overflow: str) -> None:
    """The worked table; what changed is counted as saturated or wrapped, SAT_SYM's -8 too."""
    wraps = overflow in ("WRAP", "NUMERIC_STD")
    for v, expected in zip(VS, FOUR_BITS[overflow], strict=True):
        value, saturated, wrapped = into_range(v, Fmt(4, 0), overflow)
        outside = v < (-7 if overflow == "SAT_SYM" else -8) or v > 7
        assert (value, saturated, wrapped) == (expected, outside and not wraps, outside and wraps)


def test_formats_by_hand() -> None:
    """Unsigned and symmetric ones; no wrapping into the latter."""
    assert read_format("sym8.7") == Fmt(8, 7, True, True)
    assert into_range(-128, read_format("sym8.7"), "SAT") == (-127, True, False)
    assert into_range(-1, read_format("u8.8"), "SAT_SYM") == (0, True, False)
    assert into_range(-1, read_format("u4.0"), "NUMERIC_STD") == (15, False, True)
    with pytest.raises(ValueError, match="symmetric"):
        into_range(0, read_format("sym8.7"), "WRAP")


@pytest.mark.parametrize(
    ("x", "shift", "expected"),
    # 0b1011_10 01: s = 4, dropped 1001: 10 > 01; s = 3, dropped 001: k = 1, 00 > 1 << 1 is false; s = 1: k = 0, 1 > 0 << 1
    [
        (0b101110_01, 4, 12),
        (-0b101110_01, 4, -12),
        (0b1011_0110, 4, 11),
        (0b1001, 3, 1),
        (0b1111, 3, 2),
        (3, 1, 2),
        (-3, 1, -2),
    ],
)
def test_pseudo_random_rounding_by_hand(x: int, shift: int, expected: int) -> None:
    """High half of the dropped bits against the low half; 111: 11 > 1 << 1 = 10."""
    assert round_shift(x, shift, "STOCH_PSEUDO") == expected


def test_random_bits_by_hand() -> None:
    """All low bits, few bits moved up, half of the last one; a site of more bits than a word is refused."""
    word = random_word(7, "delta.1", 3, 5)
    assert Words({}, 7, 3).u("delta.1", 5, 8, 12) == word & 0xFFF
    assert Words({"bits": 3}, 7, 3).u("delta.1", 5, 8, 12) == (word & 7) << 9
    assert Words({"bits": 3, "half": True}, 7, 3).u("delta.1", 5, 8, 12) == ((word & 7) << 9) + (1 << 8)
    assert Words({"bits": 12, "half": True}, 7, 3).u("delta.1", 5, 8, 12) == word & 0xFFF
    with pytest.raises(ValueError, match="33 random bits"):
        Words({}, 7, 3).u("delta.1", 5, 8, 33)


def test_register_of_four_bits_by_hand() -> None:
    """x^4 + x^3 + 1 runs through 15 states; the CRC of 123456789, cbf43926, is 2 mod 15: seeds 3 and 10 start at 1 + 0."""
    table = {"source": "lfsr", "width": 4, "taps": [4, 3], "shifts": 1, "seed": 3}
    assert 0xCBF43926 % 15 == 2
    states = [2, 4, 9, 3, 6, 13, 10, 5, 11, 7, 15, 14, 12, 8, 1]
    words = Words(table, 10, 0)
    assert [words.word("123456789", index, 15) for index in range(15)] == states
    assert Words(table, 10, 2).word("123456789", 1, 4) == states[9]
    twice = Words(table | {"shifts": 2}, 10, 0)
    assert [twice.word("123456789", index, 3) for index in range(3)] == [4, 3, 13]


def test_logarithms_by_hand() -> None:
    """Nearest: 2^1.5 = 2.83, 2^2.5 = 5.66, 2^3.5 = 11.3; upwards: 0.3 lies below 2^-1."""
    assert [rounded_log2(m) for m in (1, 2, 3, 5, 6, 11, 12)] == [0, 1, 2, 2, 3, 3, 4]
    assert [ceil_log2(x) for x in (0.3, 0.5, 0.51, 1.0, 3.0)] == [-1, -1, 0, 0, 2]


@pytest.mark.parametrize(
    ("text", "expected", "frac"),
    # the largest magnitude is 300, 9 bits: s = max(0, 9 - 3) = 6; nearest 2^8: s = 8 - 3 = 5, with one bit of headroom 6
    [
        ("keep", [5, -2, 0], 4),
        ("discard", [5, -2, 0], 2),
        ("keep nearest", [7, -3, 0], 5),
        ("discard nearest:1", [5, -2, 0], 2),
    ],
)
def test_exponents_by_hand(text: str, expected: list[int], frac: int) -> None:
    """300, -100 and 10 at 10 fraction bits into s4.2."""
    run = run_of(delta={"format": "s4.2", **RND_SAT}, dynamic={"delta": text})
    found = run.cast("delta.1", Num(integers([300, -100, 10]), 10), "delta")
    assert (list(found.raw), found.frac) == (expected, frac)
    assert run.counts == {"delta.1": (int(text == "keep nearest"), 0)}
    zero = run.cast("delta.2", Num(integers([0, 0]), 10), "delta")
    assert (list(zero.raw), zero.frac) == ([0, 0], 10 if "keep" in text else 2)


def test_small_numbers_move_up_to_the_nearest_power() -> None:
    """The largest is 1: s = 0 - 3, so that 1 becomes 8 and saturates at 7; without nearest nothing moves."""
    for text, expected, frac in (("keep nearest", [7, -7], 13), ("keep", [1, -1], 10)):
        run = run_of(delta={"format": "sym4.2", **RND_SAT}, dynamic={"delta": text})
        found = run.cast("delta.1", Num(integers([1, -1]), 10), "delta")
        assert (list(found.raw), found.frac) == (expected, frac)


PRODUCTS = [100, 40, -30, 90, -120]


@pytest.mark.parametrize(
    ("text", "expected", "counts"),
    [
        ("8 SAT end", 100, (0, 0)),  # 20 + 100 + 40 - 30 + 90 - 120
        ("7 SAT end", 63, (1, 0)),
        # 20, 120, 160 -> 127, 97, 187 -> 127, 7
        ("8 SAT every_mac", 7, (2, 0)),
        # 20, 120, 160 - 256 = -96, -126, -36, -156 + 256 = 100
        ("8 WRAP every_mac", 100, (0, 2)),
        # 20, 120, 0, -30, 60, -60
        ("8 SAT_ZERO every_mac", -60, (1, 0)),
        # registers 20 + 100 - 30 - 120 = -30 and 40 + 90 = 130 -> 127; together 97
        ("8 SAT every_mac lanes:2", 97, (1, 0)),
        # 20 + 140 = 160 -> 127, + 60 = 187 -> 127, - 120 = 7
        ("8 SAT every_mac tree:2", 7, (2, 0)),
    ],
)
def test_registers_by_hand(text: str, expected: int, counts: tuple[int, int]) -> None:
    """Five products and a bias of 20."""
    run = run_of(accumulator=text)
    total = run.sum("preact.1", "forward", integers([PRODUCTS]), 4, Num(integers([20]), 4))
    assert (list(total.raw), total.frac) == ([expected], 4)
    assert run.counts == {"sum.preact.1": counts}


def test_the_bias_is_brought_into_range_first() -> None:
    """200 becomes 127 before 100 is taken away; at the end alone 100 is left."""
    for when, expected in (("every_mac", 27), ("end", 100)):
        run = run_of(accumulator=f"8 SAT {when}")
        assert list(run.sum("x.1", "forward", integers([[-100]]), 0, Num(integers([200]), 0)).raw) == [expected]


def test_rounded_products_by_hand() -> None:
    """At 4 fraction bits 6, 6, -6 become 2, 2, -1 at 2 (ties up); a coarser bias is aligned, a finer one refused."""
    run = run_of(accumulator="8 SAT end RND:2")
    total = run.sum("x.1", "forward", integers([[6, 6, -6]]), 4, Num(integers([3]), 1))
    assert (list(total.raw), total.frac) == ([9], 2)
    assert run.sum("x.2", "forward", integers([[6]]), 1).frac == 1
    with pytest.raises(ValueError, match="bias of 3 fraction bits"):
        run.sum("x.1", "forward", integers([[6]]), 4, Num(integers([3]), 3))


def test_gradients_are_summed_in_ascending_order() -> None:
    """Lanes name no order of samples."""
    run = run_of(accumulator="8 SAT every_mac lanes:2")
    assert list(run.sum("gradient.bias.1", "gradient", integers([PRODUCTS]), 4).raw) == [7]


def test_pieces_by_hand() -> None:
    """Amin, Curtis and Hayes-Gill at 0.5, at both joints and beyond, mirrored; the hard functions at their corners."""
    sigmoid = FORMS["pwl"]
    points = {"0.5": ("0.625", "0.25"), "1": ("0.75", "0.125"), "2.375": ("0.91796875", "0.03125"), "5": ("1", "0")}
    for x, (value, slope) in points.items():
        assert sigmoid("sigmoid", Fraction(x)) == (Fraction(value), Fraction(slope))
        assert sigmoid("sigmoid", -Fraction(x)) == (1 - Fraction(value), Fraction(slope))
    assert sigmoid("tanh", Fraction("0.5")) == (Fraction("0.5"), Fraction("0.5"))
    assert FORMS["hard"]("tanh", Fraction(1)) == (1, 0)
    assert FORMS["hard"]("tanh", Fraction("-0.75")) == (Fraction("-0.75"), 1)
    assert FORMS["hard"]("sigmoid", Fraction("-1.5")) == (Fraction("0.125"), Fraction("0.25"))
    assert FORMS["hard"]("sigmoid", Fraction(2)) == (1, 0)


def test_exact_functions_are_those_of_the_library() -> None:
    """To the last bits of a float."""
    for x in (-7.5, -0.25, 0.0, 0.0625, 3.0):
        value, slope = FORMS["table"]("tanh", Fraction(x))
        assert float(value) == pytest.approx(math.tanh(x), rel=1e-14)
        assert float(slope) == pytest.approx(1 - math.tanh(x) ** 2, rel=1e-12)
        value, slope = FORMS["table"]("sigmoid", Fraction(x))
        assert float(value) == pytest.approx(1 / (1 + math.exp(-x)), rel=1e-14)
        assert float(slope) == pytest.approx(float(value) * (1 - float(value)), rel=1e-12)
    assert FORMS["table"]("sigmoid", Fraction(0)) == (Fraction(1, 2), Fraction(1, 4))


def test_pocket_by_hand() -> None:
    """Each piece, division toward zero: -77 / 4 = -19."""
    xs = (-128, -127, -77, -74, -31, 31, 32, 75, 127, 128)
    assert [pocket(x) for x in xs] == [
        (-127, 127), (-119, 8), (-107, 8), (-106, 2), (-62, 1), (62, 1), (64, 2), (106, 8), (119, 8), (127, 127),
    ]  # fmt: skip


def test_softmax_by_hand() -> None:
    """x = 1 and 0 at F = 0 with f = 1: t = floor(2.885) = 2 and 0, d = 0 and -2, e = 2^15 and 2^14: 2/3 and 1/3."""
    assert powers(1) == [32768, 46341]
    assert softmax_row([1, 0], 0, 8, 1) == [171, 85]
    # f = 0: t = floor(1.44) = 1; a distance of 40 is held at 31, where nothing is left
    assert softmax_row([1, 0], 0, 8, 0) == [171, 85]
    assert softmax_row([40, 0], 0, 7, 8) == [128, 0]


def test_softmax_approaches_the_function() -> None:
    """Within 2^-7 of the exact one with 8 bits of exponent."""
    row = [37, -20, 5, 64]
    exact = np.exp(np.array(row) / 32) / np.exp(np.array(row) / 32).sum()
    np.testing.assert_allclose(np.array(softmax_row(row, 5, 15, 8)) / 2**15, exact, rtol=0, atol=2.0**-7)


def test_multipliers_by_hand() -> None:
    """0.03 = 7.68 / 256: 15 / 2^9 is 0.0293, 8 / 2^8 is 0.03125 with 4 bits; 0.1 is 205 / 2^11; 15.84 / 16 becomes 1."""
    assert multiplier(0.03, 4) == (15, 9)
    assert multiplier(0.1, 8) == (205, 11)
    assert multiplier(0.99, 4) == (8, 3)
    assert multiplier(0.5, 1) == (1, 1)
