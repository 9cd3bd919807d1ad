"""Names of other tools for our roundings and overflows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fasim.errors import FormatError
from fasim.fixedpoint import aliases
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS, shift_round


def test_our_own_names_are_known():
    assert [aliases.rounding(name) for name in ROUNDINGS] == list(ROUNDINGS)
    assert [aliases.overflow(name) for name in OVERFLOWS] == list(OVERFLOWS)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("AP_RND", "RND"),
        ("SC_RND_CONV", "RND_CONV"),
        ("AP_TRN_ZERO", "TRN_ZERO"),
        ("Nearest", "RND"),
        ("Round", "RND_INF"),
        ("Convergent", "RND_CONV"),
        ("Ceiling", "TRN_INF"),
        ("TO_AWAY", "TRN_AWAY"),
        ("TIES_NEG", "RND_MIN_INF"),
        ("STOCH_WEIGHTED", "STOCH"),
    ],
)
def test_roundings(name, ours):
    assert aliases.rounding(name) == ours


def test_overflows():
    names = ("AP_WRAP", "SC_SAT_SYM", "AP_SAT_ZERO", "Saturate", "Wrap")
    assert [aliases.overflow(name) for name in names] == ["WRAP", "SAT_SYM", "SAT_ZERO", "SAT", "WRAP"]


@pytest.mark.parametrize("name", aliases.ROUNDING_ALIASES["NumPy"])
def test_numpy_names_do_what_numpy_does(name):
    values = np.arange(-20, 21) / 4
    mode = ROUNDINGS[aliases.rounding(name)]
    assert [shift_round(int(v * 4), 2, mode, 0) for v in values] == getattr(np, name)(values).tolist()


def test_matlab_names_do_what_their_pages_say():
    values = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]
    stated = {
        "Round": [math.copysign(math.floor(abs(v) + 0.5), v) for v in values],
        "Nearest": [math.floor(v + 0.5) for v in values],
        "Convergent": [round(v) for v in values],
        "Zero": [math.trunc(v) for v in values],
    }
    for name, expected in stated.items():
        mode = ROUNDINGS[aliases.rounding(name)]
        assert [shift_round(int(2 * v), 1, mode, 0) for v in values] == expected


def test_apytypes_has_these_names_for_the_same_modes():
    apytypes = pytest.importorskip("apytypes")
    x = list(range(-32, 32))
    source = apytypes.APyFixedArray(x, bits=8, int_bits=5)
    for theirs, ours in aliases.ROUNDING_ALIASES["APyTypes"].items():
        if ours != "STOCH":
            codes = source.cast(int_bits=5, frac_bits=0, quantization=getattr(apytypes.QuantizationMode, theirs)).to_bits()
            found = [shift_round(number, 3, ROUNDINGS[ours], 0) for number in x]
            assert found == [code - 32 * (code >= 16) for code in codes]


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(FormatError, match=r"unknown rounding 'RMD'.*TRN_MAG.*did you mean 'RND'.*MATLAB"):
        aliases.rounding("RMD")
    for name in ("round", "nearest", "", None):
        with pytest.raises(FormatError, match="unknown rounding"):
            aliases.rounding(name)
    with pytest.raises(FormatError, match=r"unknown overflow 'AP_WRAP_SM'.*NUMERIC_STD"):
        aliases.overflow("AP_WRAP_SM")


def test_names_elsewhere():
    assert aliases.names_elsewhere("RND", aliases.ROUNDING_ALIASES) == ["AP_RND", "SC_RND", "Nearest", "TIES_POS"]
    assert aliases.names_elsewhere("JAM", aliases.ROUNDING_ALIASES) == []
