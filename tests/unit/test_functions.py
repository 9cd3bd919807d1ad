"""The forms of tanh and sigmoid: every code against a second statement, and how far each form is from the function."""

from __future__ import annotations

import math
from fractions import Fraction as F

import numpy as np
import pytest

from fasim.errors import FormatError
from fasim.fixedpoint import functions
from fasim.fixedpoint.functions import circuit, divisors, entries

EVERY = range(-(2**9), 2**9)
FAR = 40  # fraction bits of entries that stand for exact values


def lines(function, x):
    """Act and slope of ``hard`` and of ``pwl`` at x, written out case by case."""
    if function == "tanh":
        hard = (F(-1), F(0)) if x <= -1 else (F(1), F(0)) if x >= 1 else (x, F(1))
    else:
        hard = (F(0), F(0)) if x <= -2 else (F(1), F(0)) if x >= 2 else ((x + 2) / 4, F(1, 4))
    y = 2 * x if function == "tanh" else x
    if abs(y) < 1:
        act, slope = F(1, 4) * abs(y) + F(1, 2), F(1, 4)
    elif abs(y) < F("2.375"):
        act, slope = F("0.125") * abs(y) + F("0.625"), F("0.125")
    elif abs(y) < 5:
        act, slope = F("0.03125") * abs(y) + F("0.84375"), F("0.03125")
    else:
        act, slope = F(1), F(0)
    act = act if y >= 0 else 1 - act
    pwl = (2 * act - 1, 4 * slope) if function == "tanh" else (act, slope)
    return {"hard": hard, "pwl": pwl}


@pytest.mark.parametrize("form", ["hard", "pwl"])
@pytest.mark.parametrize("function", ["tanh", "sigmoid"])
@pytest.mark.parametrize(("frac", "out"), [(6, 7), (6, FAR), (3, 4), (0, 7), (-1, 7), (8, -1)])
def test_lines_at_every_code(form, function, frac, out):
    for kind in (0, 1):
        found = entries(function, ("act", "slope")[kind], form, EVERY, frac, out)
        for code, entry in zip(EVERY, found, strict=True):
            exact = lines(function, F(code) / F(2) ** frac)[form][kind]
            assert entry == math.floor(exact * F(2) ** out + F(1, 2)), (code, kind)


def test_a_joint_takes_the_slope_on_its_right_and_its_mirror():
    found = entries("sigmoid", "slope", "pwl", [-8, -7, 7, 8, 18, 19, 39, 40, -40], 3, 5)
    assert found == [4, 8, 8, 4, 4, 1, 1, 0, 0]
    assert entries("sigmoid", "slope", "hard", [-16, -15, 15, 16], 3, 2) == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("form", "function", "distance", "at"),
    [
        ("hard", "tanh", 0.2384, 1),
        ("hard", "sigmoid", 0.1192, 2),
        ("pwl", "tanh", 0.0379, 0.5),
        ("pwl", "sigmoid", 0.0189, 1),
    ],
)
def test_largest_distances_are_those_of_the_documentation(form, function, distance, at):
    codes = range(-16 * 2**8, 16 * 2**8 + 1)
    x = np.array(codes) / 2**8
    exact = np.tanh(x) if function == "tanh" else 1 / (1 + np.exp(-x))
    apart = np.abs(np.array(entries(function, "act", form, codes, 8, FAR)) / 2**FAR - exact)
    assert apart.max() == pytest.approx(distance, abs=5e-5)
    assert abs(x[apart.argmax()]) == at
    assert f"``{form}``" in functions.__doc__
    assert f"{distance} at {at}" in functions.__doc__


@pytest.mark.parametrize("form", ["table", "hard", "pwl"])
def test_shapes(form):
    tanh, sigmoid = (entries(name, "act", form, EVERY, 5, FAR) for name in ("tanh", "sigmoid"))
    for act in (tanh, sigmoid):
        assert act == sorted(act)
    odd = [x + y for x, y in zip(tanh[1:], tanh[:0:-1], strict=True)]
    even = [x + y - 2**FAR for x, y in zip(sigmoid[1:], sigmoid[:0:-1], strict=True)]
    # where a half falls, rounding up on both sides is one step apart
    assert set(odd) | set(even) <= {0, 1}
    assert (tanh[512], sigmoid[512]) == (0, 2 ** (FAR - 1))
    slopes = entries("tanh", "slope", form, EVERY, 5, FAR)
    assert slopes[512] == 2**FAR
    assert slopes[513:] == slopes[511:0:-1]


def test_pocket_at_every_code():
    joints = (-127, -74, -31, 32, 75, 128)
    for x in range(-300, 300):
        below = sum(x >= joint for joint in joints)
        expected = (-127, int(x / 4) - 88, x - 32, 2 * x, x + 32, int(x / 4) + 88, 127)[below]
        assert entries("tanh", "act", "pocket", [x], 0, 0) == [expected]
        d = (127, 8, 2, 1, 2, 8, 127)[below]
        assert divisors("tanh", [x], 0) == [d]
        assert entries("tanh", "slope", "pocket", [x], 0, 7) == [math.floor(F(128, d) + F(1, 2))]
    # the jump at the upper end and that division goes toward zero are PocketNN's own
    assert entries("tanh", "act", "pocket", [127, 128, -128, -127, -75], 0, 0) == [119, 127, -127, -119, -106]


def test_pocket_follows_tanh_as_documented():
    codes = range(-400, 400)
    found = entries("tanh", "act", "pocket", codes, 0, 0)
    apart = [abs(y - 127 * math.tanh(2 * x / 127)) for x, y in zip(codes, found, strict=True)]
    assert max(apart) == pytest.approx(4.92, abs=5e-3)


@pytest.mark.parametrize(("function", "frac", "words"), [("sigmoid", 0, "not for sigmoid"), ("tanh", 6, "6 fraction bits")])
def test_pocket_refuses_what_it_is_not_made_for(function, frac, words):
    with pytest.raises(FormatError, match=words):
        entries(function, "act", "pocket", [0], frac, 0)
    with pytest.raises(FormatError, match=words):
        divisors(function, [0], frac)


def test_circuits():
    forms = {"table": "LUT", "hard": "CMP", "pwl": "PWL", "pocket": "PWL", "own/tanh.txt": "LUT"}
    assert {form: circuit(form) for form in forms} == forms


@pytest.mark.parametrize("kind", ["act", "slope"])
@pytest.mark.parametrize("function", ["tanh", "sigmoid"])
def test_entries_from_floats_are_those_of_exact_decimals(monkeypatch, function, kind):
    """Also for as many fraction bits as floats are asked for, where one entry in four million is left in doubt."""
    for frac, out in ((6, 7), (8, 15), (12, 24)):
        codes = range(-(8 << frac), 8 << frac, 1 + (frac > 8) * 97)
        found = entries(function, kind, "table", codes, frac, out)
        with monkeypatch.context() as patch:
            patch.setattr(functions, "SURE_BITS", -1)
            assert found == entries(function, kind, "table", codes, frac, out)
        with monkeypatch.context() as patch:
            patch.setattr(functions, "Decimal", None)  # floats decide all of these
            assert found == entries(function, kind, "table", codes, frac, out)


def test_an_entry_in_doubt_is_formed_exactly(monkeypatch):
    """The float may be off by what DOUBT says: a wrong one near a tie decides nothing."""
    exact = functions._value
    for past, entry in ((functions.DOUBT / 2, 2), (3 * functions.DOUBT, 3)):
        wrong = (2.5 + past) / 2**7
        monkeypatch.setattr(
            functions, "_value", lambda *of, wrong=wrong: wrong if isinstance(of[-1], float) else exact(*of)
        )
        assert entries("tanh", "act", "table", [1], 6, 7) == [entry]  # 128 tanh(1 / 64) is 1.9998
