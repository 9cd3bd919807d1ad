"""Published against measured, of lines written by hand."""

from __future__ import annotations

import math

import pytest

from fasim.experiments import cell_of, load_experiment, summary
from fasim.experiments.experiment import Published
from fasim.experiments.summary import NOT_REPRODUCED, REPRODUCED, SHORT, curve_of, figure

EXPERIMENT = load_experiment("004-M")
CASE = EXPERIMENT.select("784-500-10 dfa")[0]


def line(seed, errors, *, epochs=None, change=None, **more):
    cell = cell_of(EXPERIMENT, CASE, seed, epochs=epochs or len(errors), **more)
    return {"cell": {**cell, **(change or {})}, "test_error_percent": errors, "test_loss": errors, "seconds": 1.0}


def only(rows):
    rows = [row for row in rows if row.case == CASE.name]
    assert len(rows) == 1
    return rows[0]


def test_mean_and_spread_are_of_the_last_ten_epochs_of_each_seed():
    curves = {0: [9.0] * 90 + [2.5] * 10, 1: [9.0] * 90 + [2.0, 3.0] * 5, 2: [9.0] * 90 + [2.8] * 10}
    row = only(summary(EXPERIMENT, [line(seed, curve) for seed, curve in curves.items()]))
    assert row.values == pytest.approx({0: 2.5, 1: 2.5, 2: 2.8})
    assert row.mean == pytest.approx(2.6)
    assert row.spread == pytest.approx(math.sqrt(0.03))
    assert row.difference == pytest.approx(2.6 - 2.59)
    assert (row.seeds, row.epochs, row.epochs_of, row.verdict) == ((0, 1, 2), 100, 100, REPRODUCED)


def test_the_time_of_a_case_is_that_of_its_fastest_seed():
    lines = [line(seed, [2.5] * 100) | {"seconds_per_epoch": seconds} for seed, seconds in enumerate((9.0, 2.0, 30.0))]
    row = only(summary(EXPERIMENT, lines))
    assert (row.seconds_per_epoch, row.seconds_of_a_run) == (2.0, 1.0)
    for line_of_old in lines:
        del line_of_old["seconds"]
    assert only(summary(EXPERIMENT, lines)).seconds_of_a_run == 200.0


def test_the_time_of_a_short_run_is_taken_in_proportion():
    short = line(0, [2.5] * 10, epochs=10) | {"seconds_per_epoch": 1.0, "seconds": 12.0}
    assert only(summary(EXPERIMENT, [short])).seconds_of_a_run == 120.0


@pytest.mark.parametrize(
    ("error", "verdict"), [(2.93, NOT_REPRODUCED), (2.91, REPRODUCED), (2.27, REPRODUCED), (2.25, NOT_REPRODUCED)]
)
def test_verdict_is_by_three_published_deviations(error, verdict):
    assert only(summary(EXPERIMENT, [line(0, [error] * 100)])).verdict == verdict


@pytest.mark.parametrize(("epochs", "value"), [(10, 1.0), (20, 1.5), (50, 3.0)])
def test_a_short_run_averages_over_as_small_a_share_and_is_called_short(epochs, value):
    row = only(summary(EXPERIMENT, [line(0, [float(epoch) for epoch in range(epochs, 0, -1)])]))
    assert row.mean == value
    assert row.verdict == SHORT


def test_longest_runs_hold_unless_others_are_asked_for():
    lines = [line(0, [3.0] * 100), line(1, [4.0] * 10), line(2, [5.0] * 10)]
    assert only(summary(EXPERIMENT, lines)).seeds == (0,)
    assert only(summary(EXPERIMENT, lines, epochs=10)).seeds == (1, 2)
    assert only(summary(EXPERIMENT, lines, epochs=10, seeds=2)).seeds == (1,)


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 1e-3},
        {"settings": {"batch_size": 64}},
        {"standardise": "none"},
        {"variant": "nag"},
        {"case": "784-500-10 bp"},
        {"table": "004-CI"},
        {"backend": "reference"},
        {"datapath": "s8"},
    ],
)
def test_lines_of_other_settings_do_not_count(change):
    assert only(summary(EXPERIMENT, [line(0, [2.5] * 100, change=change)])).seeds == ()


def test_a_diverged_run_is_counted_and_not_reproduced():
    row = only(summary(EXPERIMENT, [line(0, [2.59] * 100), line(1, [2.59] * 95 + [None] * 5)]))
    assert (row.seeds, list(row.values), row.mean, row.verdict) == ((0, 1), [0], pytest.approx(2.59), NOT_REPRODUCED)


def test_a_variant_has_lines_of_its_own():
    fast = EXPERIMENT.select("784-500-10 dfa", "nag")[0]
    cell = cell_of(EXPERIMENT, fast, 0, variant="nag")
    found = summary(EXPERIMENT, [{"cell": cell, "test_error_percent": [2.0] * 100}], variant="nag")
    assert only(found).mean == pytest.approx(2.0)
    assert only(found).verdict == "not reproduced"


def test_figures_of_a_line():
    found = {"test_error_percent": [4.0, 2.0], "train_error_percent": [1.0, 0.0], "test_loss": [0.5, None]}
    found["readout_angles"] = [[90.0, 80.0], [60.0, 40.0]]
    found["signal_angles"] = [[], [None, 40.0]]
    assert figure(found, "test_error") == 2.0
    assert figure(found, "test_error", 2) == 3.0
    assert figure(found, "test_accuracy") == 98.0
    assert figure(found, "train_accuracy", 2) == 99.5
    assert figure(found, "readout_angle") == 50.0
    assert curve_of(found, "signal_angle") == [None, None]
    assert figure(found, "test_loss") is None


def test_a_published_figure_needs_no_leading_zero():
    assert (Published(".99 ±.05", "paper").figure, Published("100.00 ±.00", "paper").spread) == (0.99, 0.0)
