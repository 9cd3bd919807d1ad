"""Number formats: their ranges, their texts, and the way in and out."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from fasim.errors import FormatError
from fasim.fixedpoint import Fixed, dequantize, quantize


@pytest.mark.parametrize(
    ("fmt", "lo", "hi", "step", "dtype"),
    [
        (Fixed(8, 6), -128, 127, 2.0**-6, np.int8),
        (Fixed(8, 8, signed=False), 0, 255, 2.0**-8, np.uint8),
        (Fixed(8, -2), -128, 127, 4.0, np.int8),
        (Fixed(8, 12), -128, 127, 2.0**-12, np.int8),
        (Fixed(1, 0), -1, 0, 1.0, np.int8),
        (Fixed(1, 0, signed=False), 0, 1, 1.0, np.uint8),
        (Fixed(9, 0), -256, 255, 1.0, np.int16),
        (Fixed(9, 0, signed=False), 0, 511, 1.0, np.uint16),
        (Fixed(17, 0), -65536, 65535, 1.0, np.int32),
        (Fixed(32, 0, signed=False), 0, 2**32 - 1, 1.0, np.uint32),
        (Fixed(33, 0, signed=False), 0, 2**33 - 1, 1.0, np.int64),
        (Fixed(63, 20), -(2**62), 2**62 - 1, 2.0**-20, np.int64),
        (Fixed(63, 0, signed=False), 0, 2**63 - 1, 1.0, np.int64),
    ],
)
def test_range_step_and_storage(fmt, lo, hi, step, dtype):
    assert (fmt.lo, fmt.hi, fmt.step, fmt.dtype) == (lo, hi, step, np.dtype(dtype))
    assert (fmt.min, fmt.max) == (lo * step, float(hi) * step)
    assert np.iinfo(fmt.dtype).min <= lo
    assert np.iinfo(fmt.dtype).max >= hi


@pytest.mark.parametrize(
    ("text", "fmt"),
    [
        ("s8.6", Fixed(8, 6)),
        ("u8.8", Fixed(8, 8, signed=False)),
        (" s16.15 ", Fixed(16, 15)),
        ("s8.-2", Fixed(8, -2)),
        ("s8.12", Fixed(8, 12)),
        ("ap_fixed<8,2>", Fixed(8, 6)),
        ("ap_fixed< 8, 1 >", Fixed(8, 7)),
        ("ap_fixed<8,-4>", Fixed(8, 12)),
        ("ap_fixed<8,10>", Fixed(8, -2)),
        ("ap_ufixed<8,0>", Fixed(8, 8, signed=False)),
    ],
)
def test_texts(text, fmt):
    assert Fixed.parse(text) == fmt
    assert Fixed.parse(str(fmt)) == fmt


def test_text_form():
    assert str(Fixed(8, 6)) == "s8.6"
    assert str(Fixed(8, 8, signed=False)) == "u8.8"
    assert str(Fixed(8, -2)) == "s8.-2"


def test_q_is_refused_with_both_readings():
    with pytest.raises(FormatError, match=r"sign bit: write s8\.7 .*, s9\.7 if not"):
        Fixed.parse("Q1.7")
    with pytest.raises(FormatError, match=r"write u9\.8"):
        Fixed.parse("UQ1.8")


@pytest.mark.parametrize(
    "text",
    ["", "8.6", "s8", "s8.6.1", "S8.6", "int8", "fixed<8,2>", "ap_fixed<8,2,AP_RND>", "s-8.6"],
)
def test_other_texts_are_refused_with_what_to_write(text):
    with pytest.raises(FormatError, match=r"write s8\.6 or u8\.8"):
        Fixed.parse(text)


@pytest.mark.parametrize("text", ["s0.0", "s64.0", "u64.8", "s8.127", "s8.-120", "ap_fixed<70,2>"])
def test_impossible_formats_are_refused(text):
    with pytest.raises(FormatError, match="must"):
        Fixed.parse(text)


@pytest.mark.parametrize("bits", [8.0, "8", True])
def test_bits_are_whole_numbers(bits):
    with pytest.raises(FormatError, match="whole number"):
        Fixed(bits, 6)


def test_a_format_is_frozen_and_hashable():
    assert len({Fixed(8, 6), Fixed(8, 6), Fixed(8, 6, signed=False)}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        Fixed(8, 6).bits = 9


def by_fractions(value: float, fmt: Fixed) -> int:
    """State RND and SAT without any rounding on the way."""
    scaled = Fraction(value) * Fraction(2) ** fmt.frac
    nearest = (scaled + Fraction(1, 2)).__floor__()
    return min(max(nearest, fmt.lo), fmt.hi)


FORMATS = [
    Fixed(8, 7),
    Fixed(8, -2),
    Fixed(8, 12),
    Fixed(8, 8, signed=False),
    Fixed(16, 15),
    Fixed(53, 40),
    Fixed(62, 61),
    Fixed(63, 0),
    Fixed(63, 0, signed=False),
]


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_quantize_is_one_exact_rounding(fmt):
    rng = np.random.default_rng(20)
    codes = rng.integers(-300, 300, 400)
    halves = np.ldexp(codes + 0.5, -fmt.frac)
    values = np.concatenate(
        [
            halves,
            np.nextafter(halves, np.inf),
            np.nextafter(halves, -np.inf),
            rng.normal(scale=fmt.max / 2, size=400),
            np.ldexp(rng.integers(2**52, 2**53, 50) * 1.0, -fmt.frac),
            [0.0, -0.0, 5e-324, -5e-324, 1.7e308, -1.7e308, fmt.min, fmt.max],
        ]
    )
    raw = quantize(values, fmt)
    assert raw.dtype == fmt.dtype
    assert raw.tolist() == [by_fractions(value, fmt) for value in values.tolist()]


def test_quantize_pins_negative_halves_and_the_number_below_one_half():
    fmt = Fixed(8, 0)
    values = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49999999999999994, 2.0**52 + 1]
    assert quantize(values, fmt).tolist() == [-2, -1, 0, 1, 2, 3, 0, 127]


def test_quantize_keeps_the_shape():
    assert quantize(np.zeros((2, 0, 3)), Fixed(8, 7)).shape == (2, 0, 3)
    assert quantize(np.full((2, 3), 0.25), Fixed(8, 7)).tolist() == [[32] * 3] * 2
    assert quantize(0.25, Fixed(8, 7)).shape == ()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_quantize_refuses_what_is_no_number(value):
    with pytest.raises(FormatError, match="NaN or infinity"):
        quantize([0.0, value], Fixed(8, 7))


@pytest.mark.parametrize("fmt", [Fixed(8, 7), Fixed(8, -2), Fixed(8, 8, signed=False), Fixed(10, 6)])
def test_every_code_comes_back(fmt):
    raw = np.arange(fmt.lo, fmt.hi + 1).astype(fmt.dtype)
    values = dequantize(raw, fmt)
    assert values.dtype == np.float32
    assert values.tolist() == [float(Fraction(r) * Fraction(2) ** -fmt.frac) for r in raw.tolist()]
    np.testing.assert_array_equal(quantize(values, fmt), raw)


def test_dequantize_rounds_wide_numbers_once():
    # Through float64 this number would become a tie and then fall to the even neighbour below.
    raw = np.array([(1 << 60) + (1 << 36) + 1])
    assert dequantize(raw, Fixed(63, 60)).tolist() == [1.0 + 2.0**-23]
