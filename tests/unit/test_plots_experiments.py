"""The picture of an experiment over the epochs."""

from __future__ import annotations

import io
import math

import pytest
from matplotlib import image

from fasim.experiments import cell_of, load_experiment, summary
from fasim.plots_experiments import experiment_curves, over_seeds

EXPERIMENT = load_experiment("004-C")


def line(case, seed, errors, losses=None):
    cell = cell_of(EXPERIMENT, EXPERIMENT.select(case)[0], seed, epochs=len(errors))
    angles = [[] if case == "shallow" else [40.0, 20.0] for _ in errors]
    return {
        "cell": cell,
        "test_error_percent": errors,
        "train_error_percent": [0.0 if value is not None else None for value in errors],
        "test_loss": losses or errors,
        "signal_angles": angles,
    }


def pixels(png):
    return image.imread(io.BytesIO(png), format="png")


def test_a_curve_is_the_mean_and_range_over_the_seeds():
    rows = summary(EXPERIMENT, [line("dfa", 0, [4.0, 2.0, 1.0]), line("dfa", 1, [6.0, None, 3.0])])
    row = next(row for row in rows if (row.case, row.measure) == ("dfa", "test_error"))
    mean, low, high = over_seeds(row)
    assert (mean[0], low[0], high[0]) == (5.0, 4.0, 6.0)
    assert all(math.isnan(values[1]) for values in (mean, low, high))
    assert (mean[2], low[2], high[2]) == (2.0, 1.0, 3.0)


def test_every_measure_has_a_panel():
    rows = summary(EXPERIMENT, [line("dfa", 0, [4.0, 2.0]), line("shallow", 0, [9.0, 8.0])])
    whole = pixels(experiment_curves(EXPERIMENT, rows))
    one = pixels(experiment_curves(EXPERIMENT, [row for row in rows if row.measure == "test_error"]))
    assert whole.shape[0] == one.shape[0]
    assert whole.shape[1] == pytest.approx(one.shape[1] + 2 * 5.2 * 140, abs=2)


@pytest.mark.parametrize("errors", [[4.0], [400.0, 0.5], [None, None]])
def test_any_curve_can_be_drawn_and_shows(errors):
    rows = summary(EXPERIMENT, [line("dfa", 0, errors)])
    assert pixels(experiment_curves(EXPERIMENT, rows)).size
    assert experiment_curves(EXPERIMENT, rows) != experiment_curves(EXPERIMENT, summary(EXPERIMENT, []))


def test_a_published_figure_shows():
    lines = [line("dfa", 0, [4.0, 2.0])]
    plain = [row for row in summary(EXPERIMENT, lines) if row.measure == "test_error"]
    other = [row for row in summary(EXPERIMENT, lines, variant="adam") if row.measure == "test_error"]
    assert [row.published.figure for row in other if row.lines] == []
    assert (pixels(experiment_curves(EXPERIMENT, plain)) != pixels(experiment_curves(EXPERIMENT, other))).any()


def test_the_same_rows_give_the_same_picture():
    rows = summary(EXPERIMENT, [line("dfa", 0, [4.0, 2.0])])
    assert experiment_curves(EXPERIMENT, rows) == experiment_curves(EXPERIMENT, rows)
