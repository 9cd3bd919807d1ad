"""Energy to a target accuracy: the split, evaluations within epochs that change nothing, what seeds come to, refusals."""

from __future__ import annotations

import csv
import math
from dataclasses import replace

import numpy as np
import pytest

from fasim import StepSettings, backends, compare, estimate, population, report, train
from fasim.data import load
from fasim.energy import Interval
from fasim.errors import ConfigError
from fasim.fixedpoint import Fixed, load_datapath
from fasim.network import Network
from fasim.plan import Plan, Stage
from fasim.plots_target import accuracy_over_energy
from fasim.prediction import predict
from fasim.rng import stream
from fasim.rules import training_step
from fasim.state import initial_state, set_learning_rate
from fasim.target import (
    Point,
    Target,
    divide,
    hold_out,
    ratio_range,
    ratio_to_baseline,
    reached_figures,
    samples_to_target,
    share,
)

NET = Network.parse("64-12-10")
REGULARISED = replace(NET, batch_norm=True, dropout=0.5, input_dropout=0.5)
WAGE = Network.parse("64-12-10", hidden="relu", output="linear", init="wage")
ENERGY = Interval(2.0, 3.0, 5.0)
CASES = {
    "float32": {},
    "float32, batch norm, dropout, momentum": {"network": REGULARISED, "settings": StepSettings(optimizer="momentum")},
    "float32, adam, fgsm": {"settings": StepSettings(optimizer="adam", fgsm=0.05)},
    "s8": {"datapath": "s8"},
    "s8, two threads": {"datapath": "s8", "threads": 2},
    "s8_stoch": {"datapath": "s8_stoch"},
    "s8_stoch, batch norm, dropout": {
        "network": REGULARISED,
        "datapath": replace(load_datapath("s8_stoch"), name="norm", norm=Fixed(12, 8)),
    },
    "s8, generated feedback": {"datapath": "s8", "settings": StepSettings(feedback="uniform+lfsr")},
    "exponents from the data": {
        "network": WAGE,
        "datapath": "wage",
        "settings": StepSettings(loss="half_mse"),
        "learning_rate": 1.0,
    },
    "feedback that learns": {"rule": "kp", "datapath": "s8_stoch", "plan": Plan(rate_schedule="step:0.5:1")},
    "stages, augmentation and a last batch": {
        "datapath": "s8_stoch",
        "plan": Plan(stages="hidden:7,output:5,all:20", augment="crop:1", last_batch="keep"),
    },
    "the reference": {"backend": "reference", "datapath": "s8_stoch"},
}


@pytest.fixture(scope="module")
def data():
    digits = load("digits")
    return replace(digits, x_train=digits.x_train[:330], y_train=digits.y_train[:330])


@pytest.fixture(scope="module")
def compared(data):
    options = {"rules": ["bp", "drtp"], "datapaths": ["s8"], "epochs": 4, "seeds": [0, 1, 2]}
    return compare(data, "64-12-10", **options, target=Target(0.3, validation=0.2, evaluate_every=100))


@pytest.mark.parametrize("case", CASES)
def test_evaluations_within_epochs_change_no_bit(case, data):
    given = {"network": NET, "rule": "dfa", "epochs": 2, "seed": 3} | CASES[case]
    network = given.pop("network")
    smaller, validation = hold_out(data, Target(0.9, validation=0.2, evaluate_every=70), 3)
    alone = train(network, smaller, **given)
    watched = train(network, smaller, **given, validation=validation)
    assert len(watched.points) >= 4
    assert alone.points == []
    assert alone.state.keys() == watched.state.keys()
    for name in alone.state:
        assert np.array_equal(alone.state[name], watched.state[name]), name
    assert alone.trace == watched.trace
    for one, other in zip(alone.epochs, watched.epochs, strict=True):
        assert replace(one, seconds=0.0, train_accuracy=0.0, train_loss=0.0) == replace(
            other, seconds=0.0, train_accuracy=0.0, train_loss=0.0
        )


def test_points_are_the_accuracies_of_the_network_after_those_samples(data):
    smaller, validation = hold_out(data, Target(0.9, validation=0.2, evaluate_every=70), 2)
    run = train(NET, smaller, rule="dfa", datapath="s8_stoch", epochs=2, seed=2, validation=validation)
    # 264 samples are left: 8 steps of 32 an epoch; 70 samples are 3 steps, counted on over the epochs
    assert [point.samples for point in run.points] == [96, 192, 288, 384, 480]
    datapath, settings = load_datapath("s8_stoch"), StepSettings()
    schedule = training_step(NET, "dfa", settings, datapath)
    state = initial_state(NET, schedule, 2)
    set_learning_rate(state, schedule, 2.0**-7)
    program = backends.get("cpu")(schedule)
    orders = [stream(2, "shuffle", epoch).permutation(264) for epoch in (0, 1)]
    samples = backends.Samples(smaller.x_train, smaller.y_train)
    program.run(state, samples, orders[0][:256], 0)
    program.run(state, samples, orders[1][:32], 8)
    evaluated = replace(smaller, x_test=validation.x, y_test=validation.y)
    run.state.update(state)
    outputs = predict(run, evaluated, validation.x, datapath="s8_stoch")
    assert run.points[2].accuracy == np.mean(outputs.argmax(1) == validation.y)


def test_a_smaller_last_batch_counts_its_own_samples(data):
    smaller, validation = hold_out(data, Target(0.9, validation=0.2, evaluate_every=96), 0)
    run = train(NET, smaller, epochs=2, plan=Plan(last_batch="keep"), validation=validation)
    # 9 steps an epoch, the ninth of 8 samples
    assert [point.samples for point in run.points] == [96, 192, 264, 360, 456, 528]
    assert run.points[-1].samples == 2 * run.samples_per_epoch


def test_the_split_is_the_last_share_of_a_shuffle(data):
    target = Target(0.9, validation=0.25)
    smaller, validation = hold_out(data, target, 7)
    order = stream(7, "validation").permutation(330)
    assert len(validation.x) == len(validation.y) == 82
    assert np.array_equal(validation.x, data.x_train[order[-82:]])
    assert np.array_equal(validation.y, data.y_train[order[-82:]])
    assert np.array_equal(smaller.x_train, data.x_train[order[:-82]])
    assert np.array_equal(smaller.y_train, data.y_train[order[:-82]])
    assert smaller.x_test is data.x_test
    assert smaller.x_train.flags.c_contiguous
    assert not np.array_equal(validation.x, hold_out(data, target, 8)[1].x)


def test_every_rule_and_datapath_has_the_split_of_its_seed(data, monkeypatch):
    seen, target = {}, Target(0.5, evaluate_every=100)
    train_epoch = population.train_epoch

    def record(members, *given):
        for one in members:
            seen[one.run.schedule.rule, one.run.schedule.datapath, one.run.seed] = one
        return train_epoch(members, *given)

    monkeypatch.setattr(population, "train_epoch", record)
    options = {"rules": ["bp", "dfa"], "datapaths": ["float32", "s8"], "epochs": 1, "seeds": [0, 5]}
    compare(data, NET, **options, target=target)
    assert len(seen) == 8
    for (_, _, seed), one in seen.items():
        smaller, validation = hold_out(data, target, seed)
        assert np.array_equal(data.x_train[one.rows], smaller.x_train)
        assert np.array_equal(one.trainer.validation.x[one.held], validation.x)
        assert np.array_equal(one.trainer.validation.y[one.held], validation.y)
    assert not np.array_equal(seen["bp", "s8", 0].rows, seen["bp", "s8", 5].rows)


@pytest.mark.parametrize(
    ("accuracies", "reached"),
    [
        ([0.9, 0.9], 20),
        ([0.95, 0.8, 0.9, 0.91, 0.99], 40),
        ([0.95, 0.89999, 0.95, 0.8], None),
        ([0.1, 0.2, 0.9], None),
        ([0.9], None),
        ([], None),
    ],
)
def test_a_target_is_reached_at_the_second_of_two_in_a_row(accuracies, reached):
    points = [Point(10 * (place + 1), accuracy) for place, accuracy in enumerate(accuracies)]
    assert samples_to_target(points, 0.9) == reached


def test_seeds_that_do_not_reach_it_count_as_infinite():
    three = reached_figures([30, None, 10], ENERGY, 10)
    assert three["target_reached"] == 2
    assert three["samples_to_target"] == [30, None, 10]
    assert three["energy_pj_to_target"] == {"low": 60.0, "typical": 90.0, "high": 150.0}
    assert three["energy_pj_to_target_range"] == {"smallest": 30.0, "largest": None}
    assert three["target_resolution"] == pytest.approx(1 / 3)
    assert reached_figures([None, 10], ENERGY, 10)["energy_pj_to_target"] == {"low": None, "typical": None, "high": None}
    two = reached_figures([40, 10], ENERGY, 5)
    assert two["energy_pj_to_target"]["typical"] == 75.0
    assert two["energy_pj_to_target_range"] == {"smallest": 30.0, "largest": 120.0}
    assert two["target_resolution"] == 0.2
    none = reached_figures([None], ENERGY, 10)
    assert none["target_resolution"] is None
    assert none["target_reached"] == 0
    assert none["energy_pj_to_target_range"] == {"smallest": None, "largest": None}


def test_the_ratio_is_of_medians_over_the_same_seeds():
    ratio = {"low": 0.5, "typical": 0.8, "high": 0.9}
    row = {"seeds": [0, 1, 2], "samples_to_target": [None, 30, 10], "energy_ratio_to_bp": ratio}
    base = row | {"samples_to_target": [10, 20, 5], "energy_ratio_to_bp": dict.fromkeys(ratio, 1.0)}
    assert ratio_to_baseline(row, base) == pytest.approx({"low": 1.5, "typical": 2.4, "high": 2.7})
    nothing = dict.fromkeys(ratio)
    assert ratio_to_baseline(row, None) == nothing
    assert ratio_to_baseline(row, base | {"seeds": [0, 1]}) == nothing
    assert ratio_to_baseline(row, base | {"samples_to_target": [10, None, None]}) == nothing
    assert ratio_to_baseline(row | {"samples_to_target": [None, None, 1]}, base) == nothing


@pytest.mark.parametrize(
    ("own", "other", "smallest", "largest"),
    [
        ([30, 10, 20], [10, 20, 20], 0.4, 2.4),
        # the pairs count: sorted, or held against the median of the others, these would differ
        ([10, 40, 20], [20, 10, 40], 0.4, 3.2),
        ([None, 10, 20], [10, 20, 20], 0.4, None),
        ([30, 10, 20], [None, 20, 20], 0.0, 0.8),
        ([None, 10, 20], [None, 20, 20], 0.4, 0.8),
        ([None, None, None], [10, 20, 20], None, None),
        ([None, None, None], [None, None, None], None, None),
    ],
)
def test_the_range_of_the_ratio_is_over_pairs_of_one_seed(own, other, smallest, largest):
    row = {"seeds": [0, 1, 2], "samples_to_target": own, "energy_ratio_to_bp": {"low": 0.5, "typical": 0.8, "high": 0.9}}
    base = row | {"samples_to_target": other}
    assert ratio_range(row, base) == {
        "smallest": None if smallest is None else pytest.approx(smallest),
        "largest": None if largest is None else pytest.approx(largest),
    }
    nothing = {"smallest": None, "largest": None}
    assert ratio_range(row, None) == ratio_range(row, base | {"seeds": [2, 1, 0]}) == nothing


def test_a_target_of_0_is_reached_at_the_second_evaluation_and_costs_what_estimate_says(data):
    settings = StepSettings(batch_size=16)
    options = {"rules": ["dfa", "bp"], "datapaths": ["float32", "s8"], "epochs": 1, "seeds": [0, 1]}
    result = compare(data, NET, **options, settings=settings, target=Target(0.0, evaluate_every=60))
    for row in result.as_dict()["rows"]:
        assert row["samples_to_target"] == [128, 128]
        expected = estimate(NET, row["rule"], row["datapath"], settings=settings).energy_pj_per_sample
        assert row["energy_pj_to_target"] == {
            end: pytest.approx(128 * getattr(expected, end)) for end in ("low", "typical", "high")
        }
        assert row["energy_to_target_ratio_to_bp"] == pytest.approx(row["energy_ratio_to_bp"])
    for row in result.rows:
        for point in row.curve():
            assert point["energy_pj"] == pytest.approx(point["samples"] * row.energy.energy_pj_per_sample.typical)


def test_rows_of_a_comparison_say_what_their_curves_say(compared):
    content = compared.as_dict()
    assert content["target"] == {"accuracy": 0.3, "validation": 0.2, "evaluate_every": 128, "stop": False}
    for row, found in zip(compared.rows, content["rows"], strict=True):
        curve = row.curve()
        assert [point["samples"] for point in curve if point["seed"] == 1] == [128, 256, 384, 512, 640, 768, 896, 1024]
        for seed, samples in zip(found["seeds"], found["samples_to_target"], strict=True):
            heights = [point["validation_accuracy"] for point in curve if point["seed"] == seed]
            both = [place for place in range(1, len(heights)) if min(heights[place - 1 : place + 1]) >= 0.3]
            assert samples == (128 * (both[0] + 1) if both else None)
        middle = np.median([math.inf if one is None else one for one in found["samples_to_target"]])
        assert found["target_resolution"] == (128 / middle if math.isfinite(middle) else None)
    samples = [row["samples_to_target"] for row in content["rows"]]
    assert len(set(samples[0])) > 1, "seeds that are alike have no range"
    drtp = content["rows"][1]
    assert drtp["energy_to_target_ratio_to_bp_range"] == ratio_range(drtp, content["rows"][0])
    assert drtp["energy_to_target_ratio_to_bp_range"]["smallest"] is not None
    assert content["rows"][0]["energy_to_target_ratio_to_bp_range"] == {"smallest": 1.0, "largest": 1.0}
    assert any(one != 256 for one in samples[0]), "a case in which all reach it at once shows little"


def test_without_a_target_nothing_is_held_out(data):
    result = compare(data, NET, rules=["dfa"], datapaths=["s8"], epochs=1, seeds=[0])
    assert np.array_equal(
        result.rows[0].runs[0].state["weight.1"], train(NET, data, datapath="s8", epochs=1).state["weight.1"]
    )
    content = result.as_dict()
    assert "target" not in content
    assert not any("target" in key for key in content["rows"][0])
    with pytest.raises(ConfigError, match="without a target"):
        accuracy_over_energy(result)


def test_a_run_may_end_with_the_epoch_that_reaches_the_target(data):
    target = Target(0.0, evaluate_every=200)
    runs = {}
    for stop in (False, True):
        options = {"rules": ["dfa"], "datapaths": ["s8"], "epochs": 4, "seeds": [0]}
        (row,) = compare(data, NET, **options, target=replace(target, stop=stop)).rows
        (runs[stop],) = row.runs
    # 297 samples are left, 9 steps an epoch; 7 steps between evaluations: the second is after 14
    assert len(runs[False].epochs) == 4
    assert not runs[False].stopped
    assert len(runs[True].epochs) == 2
    assert runs[True].stopped
    assert runs[True].points == runs[False].points[:2]


def test_parts_end_at_every_evaluation():
    parts = [Stage("a", 5), Stage("b", 1), Stage("", 6)]
    assert divide(parts, 7, 4) == [Stage("a", 1), Stage("a", 4), Stage("b", 1), Stage("", 3), Stage("", 3)]
    assert divide(parts, 0, 100) == parts


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.95", 0.95),
        ("95%", 0.95),
        (" 94.1 % ", 0.941),
        ("1", 1.0),
        ("0", 0.0),
        ("100%", 1.0),
        ("5e-1", 0.5),
        ("28.7%", 0.287),
    ],
)
def test_shares(text, value):
    assert share(text, "what") == value


@pytest.mark.parametrize("text", ["95", "1.01", "101%", "-0.1", "nan", "high", "", "%", "95%%", "inf", "0,95"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(
        ConfigError, match=r"^--x .*: write a share from 0 to 1, such as 0.95, or a percentage, such as 95%$"
    ):
        share(text, "--x")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"target": lambda: Target(1.01)}, "target accuracy 1.01"),
        ({"target": lambda: Target(math.nan)}, "target accuracy nan"),
        ({"target": lambda: Target(0.9, validation=0.0)}, "validation 0.0"),
        ({"target": lambda: Target(0.9, validation=1.0)}, "validation 1.0"),
        ({"target": lambda: Target(0.9, evaluate_every=0)}, "evaluate every 0 samples"),
        ({"target": lambda: Target(0.9, validation=0.001)}, "0 of the 330 training samples"),
        ({"target": lambda: Target(0.9, validation=0.999)}, "330 of the 330 training samples"),
        ({"target": lambda: Target(0.9, evaluate_every=200), "epochs": 1}, "1 x 297 training samples give 1 of them, 2"),
        ({"target": lambda: Target(0.9), "plan": Plan(stages="hidden:3,all:9")}, "stages hidden:3,all:9"),
        ({"target": lambda: Target(0.9), "settings": StepSettings(batch_size=300)}, "297 training samples beside"),
        (
            {"target": lambda: Target(0.9), "settings": StepSettings(target="input", loss="mse"), "network": "64-9-64"},
            "trained without labels",
        ),
    ],
)
def test_what_no_run_could_reach_is_refused_before_the_first_run(given, words, data):
    done = []
    options = {"network": "64-9-10", "epochs": 4} | given
    with pytest.raises(ConfigError, match=words) as refused:
        compare(data, **options | {"target": options["target"]()}, on_run=lambda *_: done.append(1))
    assert "\n" not in str(refused.value)
    assert not done


def test_a_checkpoint_with_a_validation_split_is_refused(data, tmp_path):
    smaller, validation = hold_out(data, Target(0.9), 0)
    with pytest.raises(ConfigError, match="checkpoint"):
        train(NET, smaller, epochs=1, folder=tmp_path, validation=validation)
    assert list(tmp_path.iterdir()) == []


def test_the_picture_shows_medians_seeds_and_targets(compared, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("fasim.plots_target.png", lambda figure: drawn.append(figure) or b"")
    accuracy_over_energy(compared)
    (axes,) = drawn[0].axes
    assert axes.get_xscale() == "log"
    lines = {width: [line for line in axes.get_lines() if line.get_linewidth() == width] for width in (0.5, 1.8)}
    assert len(lines[0.5]) == 6
    assert len(lines[1.8]) == 2
    row = compared.rows[0]
    heights = np.array([[point.accuracy for point in run.points] for run in row.runs])
    assert lines[1.8][0].get_ydata() == pytest.approx(100 * np.median(heights, axis=0))
    first = 128e-12 * row.energy.energy_pj_per_sample.typical
    assert lines[1.8][0].get_xdata()[0] == pytest.approx(first)
    dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert len(dots) == sum(found["target_reached"] for found in compared.as_dict()["rows"])
    assert {line.get_ydata()[0] for line in dots} <= {30.0}


def test_a_target_that_only_some_reach_after_runs_of_unequal_length(compared, tmp_path):
    row = compared.rows[1]
    short = replace(row.runs[0], points=[Point(128, 1.0), Point(256, 1.0)])
    never = replace(row.runs[1], points=[Point(128 * k, 0.0) for k in range(1, 9)])
    uneven = replace(compared, rows=[compared.rows[0], replace(row, runs=[short, never])])
    pictures = report.write_comparison(uneven, tmp_path)
    assert [path.name for path in pictures] == ["accuracy_energy.png", "accuracy_over_energy.png"]
    assert pictures[1].read_bytes().startswith(b"\x89PNG")
    points = list(csv.DictReader((tmp_path / "curve.csv").read_text().splitlines()))
    assert len(points) == 3 * 8 + 2 + 8
    assert list(points[0]) == ["rule", "datapath", "seed", "samples", "energy_pj", "validation_accuracy"]
    (_, last) = csv.DictReader((tmp_path / "rows.csv").read_text().splitlines())
    assert (last["target_reached"], last["samples_to_target"]) == ("1", "256 None")
    assert (last["energy_pj_to_target_typical"], last["energy_to_target_ratio_to_bp_typical"]) == ("", "")
    assert float(last["energy_pj_to_target_range_smallest"]) > 0
