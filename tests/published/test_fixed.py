"""Bands that the committed lines of the fixed-point runs must lie in; the runs themselves take about an hour."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import fmean

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import render_fixed  # noqa: E402 - a script beside the results, not a package

TANH = "tanh, bce"


def errors(family, rule, datapath):
    return render_fixed.presets()[family, rule, datapath]


def test_pocketnn_ends_where_its_own_code_does():
    """Its C++ ends at 95.9 and 96.4 %; the band is 95.5 to 97.0."""
    accuracies = [100 - line["test_error_percent"][-1] for line in render_fixed.lines("pocketnn")]
    assert accuracies
    assert all(95.5 <= accuracy <= 97.0 for accuracy in accuracies)


@pytest.mark.parametrize("rule", ["bp", "dfa", "sdfa", "drtp", "kp", "lafs", "shallow"])
@pytest.mark.parametrize("datapath", ["s16", "s8"])
def test_sixteen_and_eight_bits_keep_the_accuracy(rule, datapath):
    """Paired by seed, against float32 from the same draws."""
    quantized, exact = errors(TANH, rule, datapath), errors(TANH, rule, "float32")
    assert abs(fmean(quantized[seed] - exact[seed] for seed in quantized)) < 0.5


@pytest.mark.parametrize(("family", "datapath"), [("relu, half_mse", "wage"), ("relu, softmax", "niti")])
def test_backpropagation_learns_in_wage_and_niti(family, datapath):
    assert max(errors(family, "bp", datapath).values()) < 5


def test_no_line_wraps():
    assert not any(line.get("wraps") for table in ("presets", "pocketnn") for line in render_fixed.lines(table))


def test_matmul_and_cast_beat_apytypes():
    lines = [json.loads(text) for text in render_fixed.PEERS.read_text().splitlines()]
    assert {line["bits"] for line in lines} == {8, 16}
    assert all(line["ratio_to_fasim"]["APyTypes"] > 1 for line in lines)
