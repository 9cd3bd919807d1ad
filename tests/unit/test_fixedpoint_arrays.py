"""Fixed-point arithmetic on NumPy arrays against Python integers and fractions."""

from __future__ import annotations

import zlib
from fractions import Fraction

import numpy as np
import pytest

from fasim.errors import FormatError
from fasim.fixedpoint import Cast, Counts, Fixed, conv2d, exact_window, matmul, quantize, requantize, sum_format
from fasim.scalar.philox import random_word
from fasim.scalar.rounding import OVERFLOWS
from tests.fixed_statements import DETERMINISTIC, WRAPPING, brought, cast, divided, rounded

random = np.random.default_rng(71)
S8, S16, U8 = Fixed(8, 7), Fixed(16, 15), Fixed(8, 8, signed=False)


def raw(fmt: Fixed, *shape: int) -> np.ndarray:
    return random.integers(fmt.lo, fmt.hi, shape, fmt.dtype, endpoint=True)


def product(a: np.ndarray, b: np.ndarray) -> list[list[int]]:
    """Return the exact product in Python integers."""
    return [[sum(x * y for x, y in zip(row, column, strict=True)) for column in b.T.tolist()] for row in a.tolist()]


@pytest.mark.parametrize("overflow", OVERFLOWS)
@pytest.mark.parametrize("rounding", DETERMINISTIC)
def test_quantize_is_one_exact_rounding_in_every_mode(rounding, overflow):
    values = [*(np.arange(-40, 40) / 8), 5e-324, -5e-324, 0.49999999999999994, -0.49999999999999994, 1e300, -1e300]
    values += [1.7e308, -1.7e308, 2.0**63, -(2.0**63), 2.0**63 + 2.0**11, 3.0 * 2**61, -3.0 * 2**61, -(2.0**62) - 1024]
    for fmt in (
        Fixed(4, 0),
        Fixed(5, 2),
        Fixed(4, 0, signed=False),
        Fixed(63, 3),
        Fixed(63, 1, signed=False),
        Fixed(4, 10),
    ):
        lo = -fmt.hi if overflow == "SAT_SYM" and fmt.signed else fmt.lo
        stated = []
        for value in values:
            scaled = Fraction(value) * 2**fmt.frac
            whole = divided(scaled.numerator, scaled.denominator, rounding)
            stated.append(brought(whole, lo, fmt.hi, overflow))
        found, outside = quantize(values, fmt, rounding, overflow, return_counts=True)
        assert found.tolist() == [number for number, _ in stated]
        assert outside == sum(was for _, was in stated)


def test_quantize_refusals():
    for name in ("STOCH", "STOCH_PSEUDO"):
        with pytest.raises(FormatError, match="deterministic"):
            quantize([0.5], S8, name)
    with pytest.raises(FormatError, match="unknown rounding"):
        quantize([0.5], S8, "round")


@pytest.mark.parametrize("overflow", OVERFLOWS)
@pytest.mark.parametrize("rounding", [*DETERMINISTIC, "STOCH_PSEUDO"])
def test_requantize(rounding, overflow):
    numbers = raw(Fixed(16, 10), 6, 50)
    for target in (Fixed(8, 6), Fixed(12, 12), Fixed(8, 10)):
        lo = -target.hi if overflow == "SAT_SYM" else target.lo
        stated, (saturated, wrapped) = cast(numbers.ravel().tolist(), 10 - target.frac, lo, target.hi, (rounding, overflow))
        found, counts = requantize(numbers, Fixed(16, 10), target, rounding, overflow, return_counts=True)
        assert (found.dtype, found.shape) == (target.dtype, (6, 50))
        assert found.ravel().tolist() == stated
        assert counts == Counts(saturated, wrapped)


def test_requantize_at_random_draws_from_the_site():
    numbers = raw(Fixed(16, 10), 40)
    found = requantize(numbers, Fixed(16, 10), Fixed(8, 2), "STOCH", "SAT", seed=5, site="act.1", step=3)
    words = [int(random_word(np.uint64(5), zlib.crc32(b"act.1"), 3, i)) for i in range(40)]
    values = [rounded(x, 8, "STOCH", word) for x, word in zip(numbers.tolist(), words, strict=True)]
    assert found.tolist() == [min(max(value, -128), 127) for value in values]


def test_requantize_takes_any_layout():
    numbers = raw(S16, 6, 8)
    whole = requantize(numbers, S16, S8, "RND", "SAT")
    np.testing.assert_array_equal(requantize(numbers.T, S16, S8, "RND", "SAT"), whole.T)
    np.testing.assert_array_equal(requantize(numbers[::2, ::-1], S16, S8, "RND", "SAT"), whole[::2, ::-1])
    assert requantize(np.int16(100), S16, S8, "RND", "SAT").shape == ()


def test_requantize_refusals():
    with pytest.raises(FormatError, match=r"holds -3 \.\. 200, outside of s8\.7"):
        requantize([-3, 200], S8, S16, "RND", "SAT")
    with pytest.raises(FormatError, match="raw integers are needed"):
        requantize([0.5], S8, S16, "RND", "SAT")
    with pytest.raises(FormatError, match="drops 40 bits"):
        requantize([1], Fixed(48, 40), Fixed(8, 0), "STOCH", "SAT")
    with pytest.raises(FormatError, match="seed -1"):
        requantize([1], S8, S16, "STOCH", "SAT", seed=-1)


@pytest.mark.parametrize("shape", [(5, 128, 300), (4, 131, 260), (9, 130, 257), (64, 1100, 33)])
@pytest.mark.parametrize("bits", [(8, 8), (16, 16), (9, 8), (12, 12)], ids=str)
def test_products_that_are_large_are_the_exact_ones(bits, shape):
    """B is taken as it lies, in groups of rows where they divide K; sums of 16 bits need 64."""
    rows, terms, columns = shape
    formats = [Fixed(count, 3) for count in bits]
    random = np.random.default_rng(terms)
    sizes = (rows, terms), (terms, columns)
    a, b = (random.integers(fmt.lo, fmt.hi + 1, size, fmt.dtype) for fmt, size in zip(formats, sizes, strict=True))
    a[0], b[:, 0] = formats[0].lo, formats[1].lo
    sums, _ = matmul(a, b, *formats)
    np.testing.assert_array_equal(sums, a.astype(np.int64) @ b.astype(np.int64))


@pytest.mark.parametrize("engine", ["auto", "integer", "float32", "float64"])
@pytest.mark.parametrize(("a_format", "b_format"), [(S8, S8), (U8, S8), (Fixed(8, 7, symmetric=True), Fixed(4, 9))])
def test_every_engine_makes_the_exact_product(a_format, b_format, engine):
    a, b, bias_format = raw(a_format, 5, 33), raw(b_format, 33, 4), Fixed(12, 18)
    bias = raw(bias_format, 4)
    sums, fmt = matmul(a, b, a_format, b_format, engine=engine)
    assert sums.tolist() == product(a, b)
    assert fmt.frac == a_format.frac + b_format.frac
    sums, fmt = matmul(a, b, a_format, b_format, bias=bias, bias_format=bias_format, engine=engine)
    frac = a_format.frac + b_format.frac
    finest = max(frac, 18)
    aligned = [
        [(x << finest - frac) + (y << finest - 18) for x, y in zip(r, bias.tolist(), strict=True)] for r in product(a, b)
    ]
    assert (sums.tolist(), fmt.frac) == (aligned, finest)


@pytest.mark.parametrize("rows", [1, 4, 7])
@pytest.mark.parametrize(
    ("a_format", "b_format"),
    [(S8, S8), (U8, S8), (S8, U8), (U8, U8), (Fixed(12, 3), Fixed(12, 5)), (Fixed(16, 0), Fixed(9, 0)), (S8, Fixed(18, 0))],
    ids=str,
)
def test_words_of_any_width_and_storage_make_the_same_product(a_format, b_format, rows):
    """Whichever of the dot products serves them, and stored as NumPy's default integers too."""
    a, b = raw(a_format, rows, 37), raw(b_format, 37, 6)
    for left, right in ((a, b), (a.astype(np.int64), b.astype(np.int64)), (a, np.asfortranarray(b))):
        assert matmul(left, right, a_format, b_format)[0].tolist() == product(a, b)


@pytest.mark.parametrize("value", ["lo", "hi"])
@pytest.mark.parametrize("terms", [1, 2, 3, 784])
@pytest.mark.parametrize("fmt", [S8, S16, Fixed(24, 0), Fixed(26, 0), U8], ids=str)
def test_full_scale_sums_are_exact(fmt, terms, value):
    a = np.full((2, terms), getattr(fmt, value), fmt.dtype)
    b = np.full((terms, 3), fmt.lo or fmt.hi, fmt.dtype)
    for engine in ("auto", "integer"):
        sums, total = matmul(a, b, fmt, fmt, engine=engine)
        assert sums.tolist() == product(a, b)
        assert total.lo <= sums.min() <= sums.max() <= total.hi


def test_sums_of_chunks_are_exact_beyond_int32():
    fmt = Fixed(14, 0)
    a, b = raw(fmt, 3, 500), raw(fmt, 500, 2)
    a[0], b[:, 0] = fmt.lo, fmt.lo
    assert matmul(a, b, fmt, fmt, engine="integer")[0].tolist() == product(a, b)


def test_exact_window():
    assert exact_window(S8, S8, 1024) == {"float32": True, "float64": True, "integer": True}
    assert exact_window(S8, S8, 1025) == {"float32": False, "float64": True, "integer": True}
    assert exact_window(U8, S8, 514)["float32"] and not exact_window(U8, S8, 515)["float32"]
    assert exact_window(S16, S16, 2**23)["float64"] and not exact_window(S16, S16, 2**23 + 1)["float64"]
    with pytest.raises(
        FormatError, match=r"engine float32: 1025 products s8\.7 \* s8\.7 reach 16793600, .* up to 16777216"
    ):
        matmul(np.zeros((1, 1025), np.int8), np.zeros((1025, 1), np.int8), S8, S8, engine="float32")


def test_sum_format():
    assert sum_format(S8, S8, 784) == Fixed(25, 14)
    assert sum_format(S16, S16, 784) == Fixed(41, 30)
    assert sum_format(U8, U8, 1) == Fixed(16, 16, signed=False)
    assert sum_format(Fixed(8, 7, symmetric=True), Fixed(8, 7, symmetric=True), 1) == Fixed(15, 14)
    with pytest.raises(FormatError, match=r"a sum of 784 products s32\.0 \* s32\.0 needs 73 bits, 63 are possible"):
        sum_format(Fixed(32, 0), Fixed(32, 0), 784)


def test_matmul_casts_and_counts():
    a, b = raw(S8, 9, 40), raw(S8, 40, 7)
    for names in (("RND", "SAT"), ("RND_CONV", "WRAP"), ("TRN", "SAT_ZERO")):
        stated, (saturated, wrapped) = cast(np.ravel(product(a, b)).tolist(), 14 - 6, -128, 127, names)
        found, fmt, counts = matmul(a, b, S8, S8, out=Cast(Fixed(8, 6), *names), return_counts=True)
        assert found.ravel().tolist() == stated
        assert (fmt, found.dtype) == (Fixed(8, 6), np.int8)
        assert counts == {"sum": Counts(0, 0), "out": Counts(saturated, wrapped)}
        assert (saturated or wrapped) > 0


@pytest.mark.parametrize("overflow", OVERFLOWS)
def test_a_narrow_register_overflows_at_every_addition(overflow):
    a, b = raw(S8, 4, 30), raw(S8, 30, 5)
    bias_format = Fixed(8, 14)
    bias = raw(bias_format, 5)
    lo, hi, outside = -(2**15) + (overflow == "SAT_SYM"), 2**15 - 1, 0
    stated = []
    for row in a.tolist():
        stated.append([])
        for column, start in zip(b.T.tolist(), bias.tolist(), strict=True):
            total = start
            for x, y in zip(row, column, strict=True):
                total, was = brought(total + x * y, lo, hi, overflow)
                outside += was
            stated[-1].append(total)
    how = {"bias": bias, "bias_format": bias_format, "accumulator": f"16 {overflow} every_mac", "return_counts": True}
    sums, fmt, counts = matmul(a, b, S8, S8, **how)
    assert sums.tolist() == stated
    assert fmt == Fixed(16, 14)
    assert outside > 0
    assert counts["sum"] == (Counts(0, outside) if overflow in WRAPPING else Counts(outside, 0))


def test_products_are_rounded_before_they_are_added():
    a, b = raw(S8, 4, 30), raw(S8, 30, 5)
    columns = b.T.tolist()
    stated = [[sum(rounded(x * y, 4, "RND") for x, y in zip(r, c, strict=True)) for c in columns] for r in a.tolist()]
    sums, fmt = matmul(a, b, S8, S8, accumulator="30 SAT end RND:10")
    assert (sums.tolist(), fmt) == (stated, Fixed(30, 10))
    with pytest.raises(FormatError, match="cannot be rounded to more"):
        matmul(a, b, S8, S8, accumulator="30 SAT end RND:15")
    with pytest.raises(FormatError, match="more than the register"):
        matmul(a, b, S8, S8, bias=b[0], bias_format=Fixed(8, 12), accumulator="30 SAT end RND:10")


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), (1, 2)])
def test_conv2d(stride, padding):
    x, w, bias = raw(U8, 2, 6, 5, 3), raw(S8, 4, 3, 2, 3), raw(S16, 4)
    padded = np.pad(x.astype(object), ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    rows, columns = (padded.shape[1] - 3) // stride + 1, (padded.shape[2] - 2) // stride + 1
    stated = np.zeros((2, rows, columns, 4), object)
    for n, p, q, j in np.ndindex(stated.shape):
        window = padded[n, p * stride : p * stride + 3, q * stride : q * stride + 2]
        stated[n, p, q, j] = (window * w[j].astype(object)).sum() + int(bias[j])
    for accumulator in ("exact", "40 WRAP every_mac lanes:4"):
        how = {"bias": bias, "bias_format": Fixed(16, 15), "accumulator": accumulator}
        sums, fmt = conv2d(x, w, U8, S8, stride=stride, padding=padding, **how)
        assert sums.tolist() == stated.tolist()
        assert fmt.frac == 15


def test_refusals_of_shapes_and_choices():
    a, b = raw(S8, 3, 4), raw(S8, 4, 5)
    with pytest.raises(FormatError, match=r"needs \(N, K\) and \(K, J\)"):
        matmul(a, a, S8, S8)
    with pytest.raises(FormatError, match="unknown engine 'float16'"):
        matmul(a, b, S8, S8, engine="float16")
    with pytest.raises(FormatError, match="come together"):
        matmul(a, b, S8, S8, bias=b[0])
    with pytest.raises(FormatError, match="one for each of the 5"):
        matmul(a, b, S8, S8, bias=b[0, :3], bias_format=S8)
    with pytest.raises(FormatError, match="takes a seed"):
        matmul(a, b, S8, S8, out=Cast(S8, "STOCH", "SAT"))
    with pytest.raises(FormatError, match=r"\(J, R, S, C\)"):
        conv2d(a, b, S8, S8)
    with pytest.raises(FormatError, match="smaller than the 3 x 3"):
        conv2d(raw(S8, 1, 2, 2, 1), raw(S8, 1, 3, 3, 1), S8, S8)
