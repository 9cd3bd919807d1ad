"""Comparison and training as a library: pairing of seeds, aggregation, interruption, bits of the input."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean, stdev

import numpy as np
import pytest

import fasim
from fasim import backends, compare, train
from fasim.data import load
from fasim.errors import ConfigError
from fasim.fixedpoint import Cast, Fixed, load_datapath
from fasim.network import Network
from fasim.rng import stream
from fasim.rules import evaluation_pass, training_step
from fasim.schedule import StepSettings
from fasim.state import initial_state, set_learning_rate

PROGRAMS = (("reference", 1), ("cpu", 1), ("cpu", 3))


def test_public_names():
    for name in fasim.__all__:
        assert getattr(fasim, name) is not None
    assert str(fasim.Fixed(8, 6)) == "s8.6"
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = fasim.nothing_like_it


def test_rows_aggregate_their_seeds():
    result = compare("digits", "64-24-10", rules=["dfa"], datapaths=["s8"], epochs=2, seeds=[4, 7])
    (row,) = result.rows
    accuracies = [run.test_accuracy for run in row.runs]
    content = row.as_dict()
    assert content["seeds"] == [4, 7]
    assert content["test_accuracy_mean"] == fmean(accuracies)
    assert content["test_accuracy_std"] == stdev(accuracies)
    assert content["saturations"] == fmean(run.trace.total.saturations for run in row.runs)
    assert content["saturations"] > 0
    assert 0 < content["saturation_fraction"] < 1
    assert result.complete


def test_differences_are_taken_seed_by_seed_to_the_first_rule_on_the_same_datapath():
    result = compare("digits", "64-24-10", rules=["bp", "dfa"], datapaths=["float32", "s8"], epochs=2, seeds=[4, 7, 9])
    rows = result.as_dict()["rows"]
    for row, first in ((1, 0), (3, 2)):
        own, base = (result.rows[place].runs for place in (row, first))
        pairs = [one.test_accuracy - other.test_accuracy for one, other in zip(own, base, strict=True)]
        found = rows[row]["difference_to_first"]
        assert (found["versus"], found["seeds"]) == ("bp", 3)
        assert found["mean"] == pytest.approx(fmean(pairs))
        # 4.3027 is Student's quantile 0.975 for 2 degrees of freedom
        reach = 4.3027 * stdev(pairs) / 3**0.5
        assert (found["low"], found["high"]) == pytest.approx((fmean(pairs) - reach, fmean(pairs) + reach), abs=1e-5)
    assert rows[0]["difference_to_first"] == {"versus": "bp", "mean": None, "low": None, "high": None, "seeds": 0}


def test_an_interrupted_comparison_takes_differences_over_the_seeds_that_both_rules_have():
    result = compare("digits", "64-8-10", rules=["bp", "dfa"], datapaths=["float32"], epochs=1, seeds=[1, 2, 3])
    first, second = result.rows
    del second.runs[1:]
    found = result.difference_to_first(second)
    assert found["mean"] == second.runs[0].test_accuracy - first.runs[0].test_accuracy
    assert (found["low"], found["high"], found["seeds"]) == (None, None, 1)


def test_without_labels_the_difference_is_that_of_the_losses():
    settings = StepSettings(target="input", loss="mse")
    net = Network.parse("64-8-64", output="linear")
    result = compare("digits", net, rules=["bp", "dfa"], datapaths=["float32"], epochs=1, seeds=[0, 1], settings=settings)
    losses = [[run.test_loss for run in row.runs] for row in result.rows]
    found = result.difference_to_first(result.rows[1])
    assert found["mean"] == pytest.approx(fmean(losses[1]) - fmean(losses[0]))


def test_a_cell_of_a_comparison_equals_its_single_run():
    (row,) = compare("digits", "64-24-10", rules=["fa"], datapaths=["s8_stoch"], epochs=2, seeds=[5]).rows
    alone = train("64-24-10", "digits", rule="fa", datapath="s8_stoch", epochs=2, seed=5)
    again = row.runs[0]
    assert alone.state.keys() == again.state.keys()
    assert all(np.array_equal(alone.state[name], again.state[name]) for name in alone.state)
    assert alone.trace == again.trace


def test_threads_change_no_bit_of_a_whole_training():
    runs = [train("64-24-24-10", rule="bp", datapath="s8_stoch", epochs=1, threads=threads) for threads in (1, 2, 3)]
    for name in runs[0].state:
        assert all(np.array_equal(runs[0].state[name], run.state[name]) for run in runs[1:]), name
    assert runs[0].trace == runs[1].trace == runs[2].trace


def test_float_and_fixed_point_start_from_the_same_draws():
    states = []

    def first_state(rule):
        for datapath in ("float32", "s16"):
            run = train("64-8-10", rule=rule, datapath=datapath, epochs=1, learning_rate=2.0**-40)
            states.append(run.state)

    first_state("dfa")
    for name in ("weight.1", "bias.1", "weight.2"):
        assert np.abs(states[0][name] - states[1][name] * 2.0**-14).max() <= 2.0**-15


def test_seeds_move_the_draws():
    one, two = (train("64-8-10", rule="dfa", epochs=1, seed=seed, learning_rate=2.0**-40) for seed in (0, 1))
    assert not np.array_equal(one.state["weight.1"], two.state["weight.1"])
    assert not np.array_equal(one.state["feedback.1"], two.state["feedback.1"])


def test_interruption_keeps_what_has_finished():
    kept = []

    def stop(result, run):
        kept[:] = [result]
        if len(result.rows) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare("digits", "64-8-10", rules=["bp", "fa", "dfa"], datapaths=["s8"], epochs=1, seeds=[0], on_run=stop)
    (result,) = kept
    assert [row.rule for row in result.rows] == ["bp", "fa"]
    assert not result.complete
    assert result.as_dict()["rows"]


def test_everything_is_checked_before_the_first_run():
    done = []
    with pytest.raises(ConfigError, match="power of two"):
        compare("digits", datapaths=["float32", "s8"], learning_rate=0.01, on_run=lambda *_: done.append(1))
    assert not done


def test_a_rate_that_one_stochastic_datapath_cannot_take_is_refused_before_the_first_run():
    done = []
    with pytest.raises(ConfigError, match="random word has 32"):
        compare("digits", datapaths=["float32", "s8_stoch"], learning_rate=2.0**-40, on_run=lambda *_: done.append(1))
    assert not done


def test_an_input_format_that_reads_other_values_is_refused():
    wrong = replace(load_datapath("s8"), name="wrong", input=Fixed(8, 7, signed=False))
    with pytest.raises(ConfigError, match="u8.8"):
        train("64-8-10", datapath=wrong, epochs=1)


def test_a_run_that_diverges_says_so():
    run = train(
        fasim.Network.parse("64-16-10", hidden="relu", output="linear"),
        rule="bp",
        epochs=2,
        learning_rate=1e6,
        settings=StepSettings(loss="mse"),
    )
    assert run.diverged
    assert run.test_accuracy < 0.3
    assert run.summary()["epochs"][-1]["test_loss"] is None


def test_epochs_have_orders_of_their_own_and_count_their_steps_on():
    """A whole training is its program run epoch by epoch, with own shuffles and step numbers that go on."""
    network, settings, data = fasim.Network.parse("64-6-10"), StepSettings(batch_size=64), load("digits")
    schedule = training_step(network, "dfa", settings, load_datapath("s8_stoch"))
    state = initial_state(network, schedule, 2)
    set_learning_rate(state, schedule, 2.0**-7)
    program = backends.get("cpu")(schedule)
    steps = len(data.x_train) // 64
    for epoch in (0, 1):
        order = stream(2, "shuffle", epoch).permutation(len(data.x_train))
        program.run(state, backends.Samples(data.x_train, data.y_train), order, epoch * steps)
    run = train(network, data, rule="dfa", datapath="s8_stoch", epochs=2, seed=2, settings=settings)
    assert all(np.array_equal(run.state[name], state[name]) for name in state)


def test_every_layer_has_feedback_and_weights_of_its_own():
    for rule in ("fa", "dfa"):
        state = train("64-8-8-8-10", rule=rule, epochs=1, learning_rate=2.0**-60).state
        for name in ("feedback", "weight"):
            assert not np.array_equal(state[f"{name}.2"], state[f"{name}.3"][: len(state[f"{name}.2"])])
    assert not np.array_equal(state["feedback.1"], state["feedback.2"])


def test_rules_learn_on_digits():
    accuracies = {
        (row.rule, row.datapath): row.as_dict()["test_accuracy_mean"]
        for row in compare("digits", rules=["bp", "dfa", "drtp", "shallow"], datapaths=["float32", "s8"], epochs=5).rows
    }
    assert accuracies["bp", "float32"] > 0.95
    assert accuracies["dfa", "float32"] > 0.93
    assert accuracies["drtp", "float32"] > 0.92
    for rule in ("bp", "dfa", "drtp"):
        assert accuracies[rule, "s8"] == pytest.approx(accuracies[rule, "float32"], abs=0.015)
        assert accuracies[rule, "float32"] > accuracies["shallow", "float32"]


def test_outputs_that_are_not_finite_are_wrong_answers():
    from fasim.trainer import score

    labels = np.array([1, 0, 1, 1])
    # argmax takes a NaN for the largest: here that would be the right answer
    output = np.float32([[0.1, 0.9], [0.8, 0.2], [0.9, np.nan], [0.2, 0.7]])
    accuracy, loss = score(output, labels, "bce")
    assert accuracy == 0.75
    assert loss == float("inf")
    assert score(output[[0, 1, 3, 3]], labels, "bce")[0] == 1.0


def test_evaluation_with_stochastic_casts_has_the_same_bits_on_both_backends():
    base = load_datapath("s8")
    datapath = replace(base, name="stochastic", preact=replace(base.preact, rounding="STOCH"))
    network = fasim.Network.parse("9-6-4")
    schedule = evaluation_pass(network, StepSettings(batch_size=16), datapath)
    state = initial_state(network, training_step(network, "dfa", StepSettings(), datapath), 3)
    codes = np.random.default_rng(0).integers(0, 256, (41, 9)).astype(np.uint8)
    data = backends.Samples(codes, np.zeros(41, np.int64))
    found = [backends.get(name)(schedule, threads=threads).outputs(state, data) for name, threads in PROGRAMS]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert found[0].shape == (41, 4)


def test_evaluation_sums_nothing_over_the_batch():
    """A datapath whose gradients of a batch of 256 need more than 63 bits may still train with a smaller batch."""
    wide = replace(
        load_datapath("s16"),
        name="wide",
        error=Cast(Fixed(26, 25), "RND", "SAT"),
        delta=Cast(Fixed(26, 25), "RND", "SAT"),
        act=Cast(Fixed(30, 29), "RND", "SAT"),
    )
    assert train("64-4-10", rule="shallow", datapath=wide, epochs=1, settings=StepSettings(batch_size=16)).epochs
    with pytest.raises(ConfigError, match="bits"):
        train("64-4-10", rule="shallow", datapath=wide, epochs=1, settings=StepSettings(batch_size=512))
