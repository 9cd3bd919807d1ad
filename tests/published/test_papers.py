"""Bands that the committed lines of the papers' short runs must lie in; the runs themselves take hours."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import fmean

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import render_papers  # noqa: E402 - a script beside the results, not a package


def final(table, case, what):
    return render_papers.last(render_papers.by_case(table)[case], what)


@pytest.mark.parametrize("rule", ["bp", "dfa", "strategy1", "strategy2", "strategy3"])
def test_auto_encoders_beat_the_mean_image(rule):
    case = render_papers.by_case("003-E3")[rule]
    assert sorted(case) == [0, 1, 2]
    for line in case.values():
        assert line["test_loss"][-1] < 0.25 * line["test_loss_of_mean_image"]
        assert line["test_loss"][-1] < line["test_loss"][0]


def test_bp_reconstructs_best_and_strategy_2_worst():
    """The paper says so of its pictures."""
    losses = {rule: fmean(final("003-E3", rule, "test_loss")) for rule in render_papers.by_case("003-E3")}
    assert min(losses, key=losses.get) == "bp"
    assert max(losses, key=losses.get) == "strategy2"


def test_a_hundred_layers_learn_with_dfa():
    assert fmean(final("000-L1", "dfa 0.001", "test_error_percent")) < 15
    assert fmean(final("000-L1", "bp 0.001", "test_error_percent")) < 10


def test_two_convolutions_order():
    """Of one seed: direct Kolen-Pollack ahead of direct feedback alignment, DRTP behind it."""
    errors = {case: final("001-T1", case, "test_error_percent")[0] for case in ("dkp", "dfa", "drtp", "bp")}
    assert errors["bp"] < errors["dkp"] < errors["dfa"] < errors["drtp"] < 80


def test_ones_in_the_feedback_are_invisible_to_a_softmax():
    """B1 is B7 plus ones: the same run but for rounding, seed by seed."""
    for seed in range(5):
        first, other = (render_papers.by_case("003-E4")[family][seed]["test_loss"] for family in ("b1", "b7"))
        assert first == pytest.approx(other, rel=0.02)


@pytest.mark.parametrize("family", ["b1", "b2", "b3", "b4", "b5", "b6", "b7"])
def test_families_learn(family):
    errors = final("003-E4", family, "test_error_percent")
    assert len(errors) == 5
    assert max(errors) < 12
    assert render_papers.interval_95(errors) < 1
