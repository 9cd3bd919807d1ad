"""A sweep's document: which points it gives, and what it refuses."""

from __future__ import annotations

import math

import pytest

from fasim.errors import ConfigError
from fasim.sweep import read_sweep, read_text

GRID = '[settings]\nepochs = 2\n[grid]\nrule = ["bp", "dfa"]\nlearning_rate = ["2^-6", 0.5]\nseed = [0, 1]\n'


def test_every_combination_is_a_point_in_the_order_of_the_document():
    sweep = read_text(GRID, "mine")
    assert [(case["rule"], case["learning_rate"], case["seed"]) for case in sweep.cases] == [
        (rule, rate, seed) for rule in ("bp", "dfa") for rate in (2.0**-6, 0.5) for seed in (0, 1)
    ]
    assert all(case["epochs"] == 2 for case in sweep.cases)
    assert (sweep.axes, sweep.title) == (("rule", "learning_rate", "seed"), "mine")


def test_the_grid_runs_for_every_case():
    text = '[[cases]]\nrule = "bp"\nhidden = "tanh"\n[[cases]]\nrule = "dfa"\n[grid]\nseed = [3, 4]\n'
    cases = read_text(text).cases
    assert cases == (
        {"rule": "bp", "hidden": "tanh", "seed": 3},
        {"rule": "bp", "hidden": "tanh", "seed": 4},
        {"rule": "dfa", "seed": 3},
        {"rule": "dfa", "seed": 4},
    )


SAMPLE = (
    '[grid]\nrule = ["bp", "fa", "dfa"]\ndatapath = ["float32", "s8"]\nseed = [0, 1]\n'
    "[sample]\npoints = {points}\nseed = {seed}\n"
)


def test_a_sample_draws_combinations_once_each_and_runs_them_with_every_seed():
    cases = read_text(SAMPLE.format(points=4, seed=0)).cases
    drawn = [(case["rule"], case["datapath"]) for case in cases[::2]]
    assert len(cases) == 8
    assert len(set(drawn)) == 4
    assert [case["seed"] for case in cases] == [0, 1] * 4
    assert read_text(SAMPLE.format(points=4, seed=0)).cases == cases
    assert read_text(SAMPLE.format(points=4, seed=1)).cases != cases
    every = read_text(SAMPLE.format(points=6, seed=0)).cases
    assert len({(case["rule"], case["datapath"]) for case in every}) == 6


@pytest.mark.parametrize(
    ("ends", "median"),
    [
        ('low = 1.0\nhigh = 3.0\nscale = "linear"', 2.0),
        ('low = 1e-4\nhigh = 1.0\nscale = "log"', 1e-2),
        ('low = "2^-6"\nhigh = "2^-2"\nscale = "power_of_two"', 2.0**-4),
    ],
)
def test_a_range_is_drawn_evenly_on_its_scale(ends, median):
    text = f'[grid]\nrule = ["bp", "dfa"]\n[sample]\npoints = 400\n[sample.ranges.learning_rate]\n{ends}\n'
    sweep = read_text(text)
    rates = [case["learning_rate"] for case in sweep.cases]
    low, high = (float(eval(end.partition("=")[2].strip().strip('"').replace("^", "**"))) for end in ends.split("\n")[:2])
    assert low <= min(rates) < max(rates) <= high
    below, above = sum(rate < median for rate in rates), sum(rate > median for rate in rates)
    # of 400 draws a half is 200 with a deviation of 10
    assert abs(below - above) < 80
    if "power" in ends:
        assert {math.log2(rate) for rate in rates} == {-6, -5, -4, -3, -2}
    assert {case["rule"] for case in sweep.cases} == {"bp", "dfa"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[grid\n", "cannot be read as TOML"),
        (
            '[grids]\nrule = ["bp"]',
            "unknown key 'grids': there are cases, grid, sample, settings, title; did you mean 'grid'?",
        ),
        ('[grid]\nrul = ["bp"]', "unknown setting 'rul'"),
        ('[grid]\nrul = ["bp"]', "did you mean 'rule'?"),
        ('[grid]\nrule = "bp"', "write a list"),
        ('[grid]\nrule = ["bp", "bp"]', "a value stands twice"),
        ("[grid]\nepochs = [1.5]", "epochs = 1.5: write a whole number from 1"),
        ('[grid]\nlearning_rate = ["fast"]', "learning_rate = 'fast': write a number such as 0.001"),
        ("[grid]\nseed = [-1]", "seed = -1: write a whole number from 0"),
        ("[grid]\nvalidation = [1.0]", "validation = 1.0: write a share"),
        ('[settings]\nrule = "bp"\n[grid]\nrule = ["dfa"]', "rule is given in [settings] and [grid]"),
        ('[[cases]]\nrule = "bp"\n[grid]\nrule = ["dfa"]', "rule is given in [grid] and [[cases]]"),
        ('[settings]\nrule = "bp"', "nothing varies"),
        ('cases = "all"', "cases is no list of tables"),
        (SAMPLE.format(points=7, seed=0), "points = 7: the lists have 6 combinations"),
        ('[grid]\nrule = ["bp"]\n[sample]\nseed = 1', "points is missing"),
        (
            "[sample]\npoints = 2\n[sample.ranges.learning_rate]\nlow = 1.0\nhigh = 0.1",
            "low 1 and high 0.1 are no range on the scale linear",
        ),
        (
            '[sample]\npoints = 2\n[sample.ranges.learning_rate]\nlow = 0.0\nhigh = 0.1\nscale = "log"',
            "low 0 and high 0.1 are no range on the scale log",
        ),
        (
            '[sample]\npoints = 2\n[sample.ranges.learning_rate]\nlow = 0.1\nhigh = 0.5\nscale = "power_of_two"',
            "the ends must be powers of two",
        ),
        ("[sample]\npoints = 2\n[sample.ranges.epochs]\nlow = 1\nhigh = 5", "only a setting that is a real number"),
        (
            "[grid]\nseed = ["
            + ",".join(map(str, range(1001)))
            + "]\nepochs = ["
            + ",".join(map(str, range(1, 101)))
            + "]",
            "100,000",
        ),
    ],
)
def test_a_document_that_cannot_be_is_refused_in_one_line(text, message):
    with pytest.raises(ConfigError) as refused:
        read_text(text, "mine")
    line = str(refused.value)
    assert line.startswith("sweep mine: ")
    assert message in line
    assert "\n" not in line


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none.toml: cannot be read"):
        read_sweep(tmp_path / "none.toml")
