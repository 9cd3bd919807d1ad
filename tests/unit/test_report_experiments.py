"""How rows of an experiment read."""

from __future__ import annotations

import pytest

from fasim.experiments import Published, Row
from fasim.report_experiments import duration, epochs_of, heading, measured, shared_keys
from fasim.report_experiments import text as written


def row(values, *, measure="test_error", seeds=None, epochs=10, lines=()):
    seeds = tuple(values) if seeds is None else seeds
    return Row("case", measure, Published("2.59 ±.11", "paper"), values, seeds, epochs, 100, lines)


def run_of(epochs, *, stopped):
    return {"test_loss": [0.1] * epochs, "stopped": stopped}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (row({}), "-"),
        (row({0: 2.5}), "2.50"),
        (row({0: 2.0, 1: 3.0}), "2.50 ±0.71"),
        (row({0: 2.0, 1: 3.0}, seeds=(0, 1, 2)), "2.50 ±0.71 (1 of 3 diverged)"),
        (row({}, seeds=(0,)), "diverged"),
        (row({}, seeds=(0,), measure="signal_angle"), "-"),
        (row({0: 0.01234}, measure="test_loss"), "0.0123"),
    ],
)
def test_measured(given, text):
    assert measured(given) == text


def test_epochs_and_headings():
    assert [epochs_of(row({0: 1.0}, epochs=count)) for count in (10, 100)] == ["10 of 100", "100"]
    assert epochs_of(row({})) == "-"
    assert [heading(name) for name in ("test_error", "test_loss")] == ["test error %", "test loss"]


@pytest.mark.parametrize(
    ("lengths", "all_stopped", "text", "verdict"),
    [
        ((9, 7), True, "7 .. 9, stopped", "reproduced"),
        ((9,), True, "9, stopped", "reproduced"),
        ((9, 10), False, "10 of 100", "short run"),
    ],
)
def test_runs_that_the_papers_rule_ended_are_whole(lengths, all_stopped, text, verdict):
    found = row({0: 2.5}, lines=tuple(run_of(length, stopped=all_stopped or length < 10) for length in lengths))
    assert (epochs_of(found), found.verdict) == (text, verdict)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (150, "2.5 min"), (1500, "25 min"), (9000, "2.5 h"), (200_000, "2.3 days")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_settings_as_a_file_writes_them():
    assert [written(value) for value in (True, 1e-4, 0.5, 60, "mnist")] == ["true", "0.0001", "0.5", "60", "mnist"]


def test_shared_settings_are_those_with_one_value_and_source():
    from fasim.experiments import load_experiment

    cases = load_experiment("004-M").cases
    shared = shared_keys(cases)
    assert "batch_size" in shared
    assert {"net", "rule", "learning_rate", "freeze"}.isdisjoint(shared)
