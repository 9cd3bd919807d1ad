"""Casts: their texts, their names, and what they refuse."""

from __future__ import annotations

import pytest

from fasim.errors import FormatError
from fasim.fixedpoint import Cast, Fixed, limits


@pytest.mark.parametrize(
    ("text", "cast"),
    [
        ("s8.6 RND SAT", Cast(Fixed(8, 6), "RND", "SAT")),
        ("  u8.8  TRN_ZERO   SAT_ZERO ", Cast(Fixed(8, 8, signed=False), "TRN_ZERO", "SAT_ZERO")),
        ("sym8.7 Nearest Saturate", Cast(Fixed(8, 7, symmetric=True), "RND", "SAT")),
        ("ap_fixed<8,2,AP_RND,AP_SAT>", Cast(Fixed(8, 6), "RND", "SAT")),
        ("ap_ufixed< 8, 0 , AP_TRN , AP_WRAP >", Cast(Fixed(8, 8, signed=False), "TRN", "WRAP")),
        ("sc_fixed<8,2,SC_RND_CONV,SC_SAT_SYM>", Cast(Fixed(8, 6), "RND_CONV", "SAT_SYM")),
        ("ap_fixed<8,2> RND SAT", Cast(Fixed(8, 6), "RND", "SAT")),
    ],
)
def test_texts(text, cast):
    assert Cast.parse(text) == cast
    assert Cast.parse(str(cast)) == cast


def test_names_of_other_tools_become_ours():
    cast = Cast(Fixed(8, 6), "AP_RND", "Saturate")
    assert (cast.rounding, cast.overflow) == ("RND", "SAT")
    assert str(cast) == "s8.6 RND SAT"


@pytest.mark.parametrize("text", ["", "s8.6", "s8.6 RND", "ap_fixed<8,2>", "ap_fixed<8,2,AP_RND>"])
def test_no_mode_is_filled_in(text):
    with pytest.raises(FormatError, match="write format, rounding and overflow"):
        Cast.parse(text)


def test_unknown_parts_are_refused():
    with pytest.raises(FormatError, match="unknown rounding 'RDN'"):
        Cast.parse("s8.6 RDN SAT")
    with pytest.raises(FormatError, match="unknown overflow 'AP_WRAP_SM'"):
        Cast.parse("ap_fixed<8,2,AP_RND,AP_WRAP_SM>")
    with pytest.raises(FormatError, match="two meanings"):
        Cast.parse("Q1.7 RND SAT")


def test_limits():
    assert limits(Fixed(8, 6), "SAT") == (-128, 127)
    assert limits(Fixed(8, 6), "SAT_SYM") == (-127, 127)
    assert limits(Fixed(8, 6, signed=False), "SAT_SYM") == (0, 255)
    for overflow in ("SAT", "SAT_SYM", "SAT_ZERO"):
        assert limits(Fixed(8, 6, symmetric=True), overflow) == (-127, 127)


@pytest.mark.parametrize("overflow", ["WRAP", "NUMERIC_STD"])
def test_a_symmetric_format_cannot_wrap(overflow):
    with pytest.raises(FormatError, match=rf"{overflow} into sym8\.7.*use SAT, or the format s8\.7"):
        Cast(Fixed(8, 7, symmetric=True), "RND", overflow)
