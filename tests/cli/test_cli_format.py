"""`fasim format` explains a format, and refuses a bad one in one line."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from fasim.cli import command
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS


def invoke(*arguments):
    return CliRunner().invoke(command, ["format", *arguments])


def test_a_format_is_explained():
    result = invoke("s8.6", "--rounding", "Convergent")
    assert result.exit_code == 0, result.output
    for word in ("-2 .. 1.984375, step 0.015625", "ap_fixed<8,2>", "numerictype(1,8,6)", "Q1.6", "Q2.6", *OVERFLOWS):
        assert word in result.stdout
    rows = {row.split()[0]: row.split()[1:] for row in result.stdout.splitlines() if row.split()}
    assert set(ROUNDINGS) - {"STOCH"} <= set(rows)
    assert rows["TRN_ZERO"] == [str(int(float(x) * 8 / 8)) for x in rows["x/8"]]
    assert "RND_CONV into s8.6" in result.stdout
    assert "    0                 #########" in result.stdout


@pytest.mark.parametrize("text", ["ap_fixed<8,1>", "u8.8", "sym8.7", "s1.0", "u63.0", "s8.-2", "s8.12"])
@pytest.mark.parametrize("rounding", ["TRN_AWAY", "STOCH", "STOCH_PSEUDO"])
def test_every_kind_of_format(text, rounding):
    result = invoke(text, "--rounding", rounding)
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 180


@pytest.mark.parametrize("arguments", [("Q1.7",), ("s99.0",), ("int8",), ("s8.6", "--rounding", "round")])
def test_bad_text_is_one_line(arguments):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
