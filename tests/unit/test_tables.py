"""Tables of functions: every entry against integers alone, files, softmax."""

from __future__ import annotations

import numpy as np
import pytest

from fasim.errors import FormatError
from fasim.fixedpoint import Fixed
from fasim.fixedpoint.tables import act_table, inverse_slope_table, slope_table, softmax_table

ONE = 1 << 200  # 1.0 for the integers below


def exp(numerator, denominator):
    """``exp(-numerator / denominator)`` as an integer over ONE: halve until it is small, Taylor, square again."""
    halvings = max(0, (numerator // denominator).bit_length() + 4)
    x = (numerator * ONE // denominator) >> halvings
    total, term = 0, ONE
    for k in range(1, 60):
        total += term
        term = -term * x // (k * ONE)
    for _ in range(halvings):
        total = total * total // ONE
    return total


def stated(function, kind, code, frac):
    """f or f' at ``code * 2^-frac`` as an integer over ONE."""
    factor = 2 if function == "tanh" else 1
    t = exp(factor * abs(code) << max(-frac, 0), 1 << max(frac, 0))
    if kind == "slope":
        return factor * factor * t * ONE // (ONE + t) * ONE // (ONE + t)
    if function == "tanh":
        value = (ONE - t) * ONE // (ONE + t)
        return value if code >= 0 else -value
    return (ONE if code >= 0 else t) * ONE // (ONE + t)


@pytest.mark.parametrize("function", ["tanh", "sigmoid"])
@pytest.mark.parametrize(
    ("preact", "fmt"),
    [(Fixed(10, 6), Fixed(8, 7)), (Fixed(8, 3), Fixed(16, 14)), (Fixed(9, 4), Fixed(8, 8, signed=False))],
)
def test_every_entry_against_integers(function, preact, fmt):
    for kind, make in (("act", act_table), ("slope", slope_table)):
        table = make(function, preact, fmt)
        assert table.dtype == fmt.dtype
        assert len(table) == 2**preact.bits
        for code, entry in zip(range(preact.lo, preact.hi + 1), table.tolist(), strict=True):
            exact = stated(function, kind, code, preact.frac)
            rounded = ((exact << fmt.frac + 1) + ONE) // (2 * ONE)
            assert entry == min(max(rounded, fmt.lo), fmt.hi), (kind, code)


@pytest.mark.parametrize("form", ["hard", "pwl"])
def test_forms_saturate_and_are_kept(form):
    preact, act = Fixed(10, 6), Fixed(8, 7)
    table = act_table("tanh", preact, act, form)
    assert table[[0, 512, -1]].tolist() == [-128, 0, 127]
    assert act_table("tanh", preact, act, form) is table
    assert act_table("tanh", preact, act) is not table
    assert slope_table("tanh", preact, act, form)[[0, 512, -1]].tolist() == [0, 127, 0]
    assert slope_table("sigmoid", preact, act, form)[[0, 512, -1]].tolist() == [0, 32, 0]
    assert not table.flags.writeable


def test_pocket():
    preact, act = Fixed(9, 0), Fixed(8, 0)
    assert act_table("tanh", preact, act, "pocket")[[0, 129, 256, 288, 331, 384]].tolist() == [-127, -119, 0, 64, 106, 127]
    d = inverse_slope_table("tanh", preact, "pocket")
    assert d.dtype == np.int32
    assert d[[0, 129, 256, 288, 331, 384]].tolist() == [127, 8, 1, 2, 8, 127]
    assert sorted(set(d.tolist())) == [1, 2, 8, 127]


@pytest.mark.parametrize("form", ["table", "hard", "pwl"])
def test_only_pocket_and_files_divide(form):
    with pytest.raises(FormatError, match=f'{form} has none: write tanh = "pocket"'):
        inverse_slope_table("tanh", Fixed(8, 0), form)


def test_linear_has_one_form_and_no_slope():
    preact, act = Fixed(4, 1), Fixed(8, 0)
    assert act_table("linear", preact, act)[:3].tolist() == [-4, -3, -3]
    for make in (slope_table, inverse_slope_table):
        with pytest.raises(FormatError, match="linear layer has no slope table"):
            make("linear", preact, act if make is slope_table else "pocket")


def test_files(tmp_path):
    preact, fmt, path = Fixed(3, 1), Fixed(4, 3), tmp_path / "own.txt"
    path.write_text("-8\n-7\n-3\n+0\n0\n 2\n7\n7\n")
    expected = [-8, -7, -3, 0, 0, 2, 7, 7]
    assert act_table("tanh", preact, fmt, str(path)).tolist() == expected
    assert slope_table("tanh", preact, fmt, str(path)).dtype == np.int8
    path.write_text("1\n2\n3\n4\n5\n6\n7\n2147483647\n")
    found = inverse_slope_table("sigmoid", preact, str(path))
    assert found.tolist() == [1, 2, 3, 4, 5, 6, 7, 2**31 - 1]
    assert not found.flags.writeable


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1\n2\n", "has 2 lines: preact s3.1 needs 8"),
        ("1\n" * 9, "has 9 lines"),
        ("1\n" * 7 + "8\n", r"line 8: '8', write a whole number from -8 to 7"),
        ("-9\n" + "1\n" * 7, "line 1: '-9'"),
        ("1\n" * 3 + "0.5\n" + "1\n" * 4, "line 4: '0.5'"),
        ("1\n" * 3 + "\n" + "1\n" * 4, "line 4: ''"),
        ("1\n" * 3 + "1" * 5000 + "\n" + "1\n" * 4, "line 4: '1111"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, text, words):
    path = tmp_path / "own.txt"
    path.write_text(text)
    for make in (act_table, slope_table):
        with pytest.raises(FormatError, match=words) as caught:
            make("tanh", Fixed(3, 1), Fixed(4, 3), str(path))
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_divisors_in_files_are_at_least_one(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("1\n" * 7 + "0\n")
    with pytest.raises(FormatError, match="line 8: '0', write a whole number from 1 to 2147483647"):
        inverse_slope_table("tanh", Fixed(3, 1), str(path))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name, words in (("hrad", "No such file or directory"), ("bytes", "no text")):
        with pytest.raises(FormatError, match=f"{words}; give a file of whole numbers, or table, hard, pwl, pocket"):
            act_table("tanh", Fixed(3, 1), Fixed(4, 3), str(tmp_path / name))


@pytest.mark.parametrize("bits", range(9))
def test_softmax_table_against_integers(bits):
    table, count = softmax_table(bits), 1 << bits
    assert table.dtype == np.uint32
    assert len(table) == count
    assert not table.flags.writeable
    for i, entry in enumerate(table.tolist()):
        # entry - 1/2 <= 2^(15 + i / count) < entry + 1/2, both sides doubled and to the power of count
        assert (2 * entry - 1) ** count <= 1 << (16 * count + i) < (2 * entry + 1) ** count


@pytest.mark.parametrize("bits", [-1, 9])
def test_softmax_bits_are_limited(bits):
    with pytest.raises(FormatError, match="0 to 8"):
        softmax_table(bits)
