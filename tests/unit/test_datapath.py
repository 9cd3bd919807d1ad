"""Datapaths: the presets, their texts, their tables, and what is refused."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from fasim.errors import FormatError
from fasim.fixedpoint import Cast, Datapath, Fixed, load_datapath, names
from fasim.fixedpoint.tables import act_table, slope_table
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import StepSettings

RND_SAT = ("RND", "SAT")


@pytest.fixture
def s8() -> Datapath:
    return load_datapath("s8")


@pytest.fixture
def written(tmp_path, s8):
    """Return a function that writes s8's text, changed, and returns the path."""

    def write(old: str = "", new: str = "") -> str:
        text = s8.to_toml()
        assert old in text
        path = tmp_path / "own.toml"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return str(path)

    return write


def test_names():
    assert names() == ["gupta16", "niti", "pocketnn", "reckon_pm1", "s16", "s8", "s8_stoch", "wage"]
    assert load_datapath("float32") is None


def test_s8(s8):
    byte = Cast(Fixed(8, 7), *RND_SAT)
    assert s8 == Datapath(
        name="s8",
        source="fasim",
        input=Fixed(8, 8, signed=False),
        weight=byte,
        master=Fixed(16, 15),
        bias=Fixed(16, 15),
        update_rounding="RND",
        update_overflow="SAT",
        preact=Cast(Fixed(10, 6), *RND_SAT),
        act=byte,
        slope=byte,
        error=byte,
        delta=byte,
        feedback_bits=8,
        feedback_master_bits=16,
        accumulator="exact",
    )


def test_s8_stoch_differs_in_the_update_only(s8):
    stoch = load_datapath("s8_stoch")
    assert stoch == dataclasses.replace(s8, name="s8_stoch", update_rounding="STOCH")


def test_s16():
    word = Cast(Fixed(16, 15), *RND_SAT)
    s16 = load_datapath("s16")
    assert s16.weight == Cast(Fixed(16, 14), *RND_SAT)
    assert s16.master == s16.bias == Fixed(16, 14)
    assert s16.preact == Cast(Fixed(12, 8), *RND_SAT)
    assert s16.act == s16.slope == s16.error == s16.delta == word
    assert (s16.input, s16.feedback_bits) == (Fixed(8, 8, signed=False), 16)
    assert (s16.update_rounding, s16.update_overflow) == RND_SAT


@pytest.mark.parametrize("name", names())
def test_toml_round_trip(name, tmp_path):
    datapath = load_datapath(name)
    assert datapath.name == name
    path = tmp_path / "copy.toml"
    path.write_text(datapath.to_toml(), encoding="utf-8")
    assert load_datapath(str(path)) == Datapath.from_toml(path) == datapath


def test_own_datapath_without_master(written):
    path = written('[master]\nformat = "s16.15"', '[master]\nformat = "none"')
    datapath = load_datapath(path)
    assert datapath.master is None
    assert '[master]\nformat = "none"' in datapath.to_toml()


def test_odd_texts_survive(s8, tmp_path):
    odd = dataclasses.replace(s8, name='a "quoted" \\ name', source="line\nbreak, é, 漢")
    (tmp_path / "odd.toml").write_text(odd.to_toml(), encoding="utf-8")
    assert Datapath.from_toml(tmp_path / "odd.toml") == odd


@pytest.mark.parametrize(
    ("bound", "frac"),
    [
        (1.0, 7),
        (1.0000001, 6),
        (0.5, 8),
        (0.51, 7),
        (2.0, 6),
        (3.0, 5),
        (0.0774596669, 10),
        (64, 1),
    ],
)
def test_feedback_format(s8, bound, frac):
    assert s8.feedback_format(bound) == Fixed(8, frac)
    assert s8.feedback_format(bound).max + s8.feedback_format(bound).step >= bound
    assert load_datapath("s16").feedback_format(bound) == Fixed(16, frac + 8)


@pytest.mark.parametrize("bound", [0.0, -1.0, math.inf, math.nan])
def test_feedback_bound_must_be_a_size(s8, bound):
    with pytest.raises(FormatError, match="finite and above 0"):
        s8.feedback_format(bound)


@pytest.mark.parametrize(("rule", "fracs"), [("dfa", (8, 16)), ("kp", (7, 14)), ("dkp", (7, 14))])
def test_feedback_that_learns_has_room_for_weights(rule, fracs):
    """Drawn within 0.31, it grows to the range of the weights, 1 in s8 and 2 in s16."""
    found = []
    for name in ("s8", "s16"):
        schedule = training_step(Network.parse("64-32-10"), rule, StepSettings(4), load_datapath(name))
        found.append(schedule["feedback.1"].format.frac)
    assert tuple(found) == fracs


FUNCTIONS = {
    ("tanh", "act"): math.tanh,
    ("tanh", "slope"): lambda x: 1 / math.cosh(x) ** 2,
    ("sigmoid", "act"): lambda x: (1 + math.tanh(x / 2)) / 2,
    ("sigmoid", "slope"): lambda x: 1 / (4 * math.cosh(x / 2) ** 2),
    ("linear", "act"): lambda x: x,
}


@pytest.mark.parametrize("name", ["s8", "s16"])
@pytest.mark.parametrize(("function", "kind"), FUNCTIONS)
def test_every_entry_of_every_table(name, function, kind):
    datapath = load_datapath(name)
    table = getattr(datapath, f"{kind}_table")(function)
    preact, fmt = datapath.preact.format, getattr(datapath, kind).format
    assert table.shape == (2**preact.bits,)
    assert table.dtype == fmt.dtype
    for code, entry in zip(range(preact.lo, preact.hi + 1), table.tolist(), strict=True):
        value = FUNCTIONS[function, kind](code / 2**preact.frac)
        assert entry == min(max(math.floor(value * 2**fmt.frac + 0.5), fmt.lo), fmt.hi)


def test_table_landmarks(s8):
    zero = -s8.preact.format.lo
    assert s8.act_table("tanh")[[0, zero, -1]].tolist() == [-128, 0, 127]
    assert s8.slope_table("tanh")[[0, zero, -1]].tolist() == [0, 127, 0]
    assert s8.act_table("sigmoid")[[0, zero, -1]].tolist() == [0, 64, 127]
    assert s8.slope_table("sigmoid")[[0, zero, -1]].tolist() == [0, 32, 0]
    # preact steps of 2^-6 are two act steps of 2^-7 each, up to the ends of the act format
    linear = s8.act_table("linear")
    assert linear[zero - 3 : zero + 4].tolist() == [-6, -4, -2, 0, 2, 4, 6]
    assert linear[[0, -1]].tolist() == [-128, 127]


def test_tables_round_halves_up_on_both_sides():
    table = act_table("linear", Fixed(4, 1), Fixed(8, 0))
    assert table.tolist() == [-4, -3, -3, -2, -2, -1, -1, 0, 0, 1, 1, 2, 2, 3, 3, 4]


def test_tables_are_exact_beyond_float64():
    preact, wide = Fixed(6, 3), Fixed(62, 61)
    table, slope = act_table("tanh", preact, wide), slope_table("tanh", preact, wide)
    # tanh(1) and its slope 1 - tanh(1)^2, from their published digits
    one = 10**30
    tanh_1 = 761594155955764888119458282604
    sech_1 = 419974341614026069394473967390
    assert table[32 + 8] == (tanh_1 * 2**62 + one) // (2 * one)
    assert slope[32 + 8] == (sech_1 * 2**62 + one) // (2 * one)


def test_tables_far_out():
    table = act_table("tanh", Fixed(8, -60), Fixed(8, 7))
    assert table.tolist() == [-128] * 128 + [0] + [127] * 127


def test_tables_are_built_once_and_kept(s8):
    table = s8.act_table("tanh")
    assert s8.act_table("tanh") is table
    assert load_datapath("s8_stoch").act_table("tanh") is table
    assert load_datapath("s16").act_table("tanh") is not table
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 1


@pytest.mark.parametrize("function", ["relu", "softmax", "tan"])
def test_other_functions_are_refused(s8, function):
    for make in (s8.act_table, s8.slope_table):
        with pytest.raises(FormatError, match="in fixed point: use tanh, sigmoid or linear"):
            make(function)


def test_linear_has_no_slope(s8):
    with pytest.raises(FormatError, match="linear layer has no slope"):
        s8.slope_table("linear")


@pytest.mark.parametrize("text", ["s8.6", "u8.8", "ap_fixed<8,2>"])
def test_a_bare_format_is_no_datapath(text):
    with pytest.raises(
        FormatError,
        match=r"every tensor: presets are gupta16, niti, pocketnn, reckon_pm1, s16, s8, s8_stoch, wage; or write",
    ):
        load_datapath(text)


@pytest.mark.parametrize("text", ["s8_stock", "int8", "Q1.7", ""])
def test_unknown_datapaths_list_the_known(text):
    with pytest.raises(
        FormatError, match="there are float32, gupta16, niti, pocketnn, reckon_pm1, s16, s8, s8_stoch, wage"
    ):
        load_datapath(text)


def test_nearest_datapath():
    with pytest.raises(FormatError, match="did you mean 's8_stoch'"):
        load_datapath("s8_stock")


def test_missing_file(tmp_path):
    with pytest.raises(FormatError, match="own.toml: cannot be read"):
        load_datapath(str(tmp_path / "own.toml"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[act]", "[akt]", r"unknown key 'akt'.*did you mean 'act'"),
        ("bits = 8", "bit = 8", r"unknown key in \[feedback\] 'bit'.*did you mean 'bits'"),
        ("overflow =", "overflw =", r"unknown key in \[weight\] .*did you mean 'overflow'"),
        ('rounding = "RND"\n', "", r"\[weight\] lacks rounding"),
        ('[input]\nformat = "u8.8"\n', "", r"table \[input\] is missing: write it with format"),
        ('name = "s8"\n', "", "name is missing"),
        ('accumulator = "exact"\n', "", "accumulator is missing"),
        ('accumulator = "exact"', 'accumulator = "int32"', 'write "exact", or bits, overflow'),
        ('"s10.6"', '"Q4.6"', r"\[preact\] format 'Q4\.6' has two meanings"),
        ('"s10.6"', '"s20.6"', r"\[preact\] s20\.6 .*at most 16 bits"),
        ('"s10.6"', "10.6", r"\[preact\] format = 10\.6: write it as text"),
        ('"s10.6"', '"u10.6"', r"\[preact\] u10\.6 holds no negative numbers"),
        ('[bias]\nformat = "s16', '[bias]\nformat = "u16', r"\[bias\] u16\.15 holds no negative"),
        ('"RND"', '"RNDCONV"', r"\[weight\] unknown rounding 'RNDCONV'.*mean 'RND_CONV'"),
        ('"SAT"', '"SATURATE"', r"\[weight\] unknown overflow 'SATURATE'"),
        ('[update]\nrounding = "RND"', '[update]\nrounding = "X"', r"\[update\] unknown rounding"),
        ("bits = 8", "bits = 1", r"\[feedback\] bits = 1: write 2 to 32"),
        ("bits = 8", "bits = 8.0", r"\[feedback\] bits = 8\.0: write it as a whole number"),
        ("bits = 8", "bits = true", r"\[feedback\] bits = True: write it as a whole number"),
        ("[act]", "[act", "no TOML"),
    ],
)
def test_impossible_files_are_refused_in_one_line(written, old, new, message):
    path = written(old, new)
    with pytest.raises(FormatError, match=message) as caught:
        load_datapath(path)
    assert str(caught.value).startswith(f"datapath {path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("table", ["act", "slope"])
@pytest.mark.parametrize("modes", [("STOCH", "SAT"), ("TRN", "SAT"), ("RND", "WRAP")])
def test_tables_are_built_with_rnd_and_sat(s8, table, modes):
    cast = Cast(Fixed(8, 7), *modes)
    with pytest.raises(FormatError, match=rf"\[{table}\] names .* RND, SAT: write these"):
        dataclasses.replace(s8, **{table: cast})


@pytest.mark.parametrize("table", ["weight", "preact", "error", "delta"])
def test_stochastic_rounding_is_allowed_elsewhere(s8, table):
    cast = dataclasses.replace(getattr(s8, table), rounding="STOCH")
    assert getattr(dataclasses.replace(s8, **{table: cast}), table).rounding == "STOCH"


def test_unsigned_acts_are_allowed(s8):
    unsigned = Cast(Fixed(8, 8, signed=False), *RND_SAT)
    table = dataclasses.replace(s8, act=unsigned).act_table("sigmoid")
    assert table.dtype == np.uint8
    assert table[[0, 512, 1023]].tolist() == [0, 128, 255]
