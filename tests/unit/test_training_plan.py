"""What a plan does from epoch to epoch (stages, rates, last batch, stopping, augmentation), and targets without labels."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from fasim import backends, checks, stopping, trainer, training
from fasim.data import Data, load, standardise
from fasim.errors import ConfigError
from fasim.fixedpoint import load_datapath
from fasim.network import Network
from fasim.plan import Plan, Stage
from fasim.rng import stream
from fasim.rules import training_step
from fasim.schedule import StepSettings
from fasim.state import initial_state, set_learning_rate
from fasim.training import train

FLAT = StepSettings(batch_size=16)


def small(samples, test=40):
    """Return digits with few samples."""
    data = load("digits")
    return replace(
        data,
        x_train=data.x_train[:samples],
        y_train=data.y_train[:samples],
        x_test=data.x_test[:test],
        y_test=data.y_test[:test],
    )


def states_after(monkeypatch, data, steps, **plan):
    """Return the state after each step of one epoch, `steps` of 16 samples."""
    found = []
    get = backends.get

    def recording(name):
        def make(schedule, *, threads=1):
            program = get(name)(schedule, threads=threads)
            if schedule.pass_name == "evaluation":
                return program
            run = program.run

            def each(state, samples, order, first_step):
                for start in range(0, len(order), schedule.batch_size):
                    rows = order[start : start + schedule.batch_size]
                    trace = run(state, samples, rows, first_step + start // schedule.batch_size)
                    found.append(
                        (first_step + start // schedule.batch_size, len(rows), {k: v.copy() for k, v in state.items()})
                    )
                return trace

            program.run = each
            return program

        return make

    monkeypatch.setattr(trainer.backends, "get", recording)
    monkeypatch.setattr(training, "warm_up", lambda *_: None)
    train("64-7-6-10", data, rule="dfa", epochs=1, settings=FLAT, plan=Plan(**plan))
    assert [number for number, _, _ in found] == list(range(steps))
    return found


BAD = {
    "stage": ({"stages": "hidden"}, "stage 'hidden': write hidden, output or all"),
    "stage of no steps": ({"stages": "hidden:0"}, "stage 'hidden:0'"),
    "unknown stage": ({"stages": "conv:3,all:1"}, "stage 'conv:3'"),
    "steps in words": ({"stages": "all:many"}, "stage 'all:many'"),
    "rate schedule": ({"rate_schedule": "linear"}, "unknown learning-rate schedule 'linear'"),
    "feedback schedule": ({"feedback_schedule": "step:1"}, "step:1"),
    "feedback rate": ({"feedback_rate": math.nan}, "feedback learning rate nan"),
    "last batch": ({"last_batch": "fill"}, "unknown treatment of the last batch 'fill'"),
    "stop": ({"stop": "loss:1"}, "stopping rule 'loss:1'"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_plan_that_cannot_be_read_is_refused(name):
    given, message = BAD[name]
    with pytest.raises(ConfigError, match=message):
        Plan(**given)


def test_stages_are_divided_among_the_epochs():
    plan = Plan(stages="hidden:3,output:4,all:2")
    assert plan.parts(0, 5) == [Stage("output", 3), Stage("hidden", 2)]
    assert plan.parts(5, 5) == [Stage("hidden", 2), Stage("", 3)]
    assert plan.parts(10, 5) == [Stage("", 5)]
    assert Plan().parts(7, 5) == [Stage("", 5)]


def test_each_stage_moves_its_layers_alone(monkeypatch):
    steps = states_after(monkeypatch, small(80), 5, stages="hidden:2,output:2,all:1")
    before = initial_state(Network.parse("64-7-6-10"), training_step(Network.parse("64-7-6-10"), "dfa", FLAT), 0)
    moved = []
    for _, _, state in steps:
        moved.append(
            {layer for layer in (1, 2, 3) if not np.array_equal(state[f"weight.{layer}"], before[f"weight.{layer}"])}
        )
        before = state
    assert moved == [{1, 2}, {1, 2}, {3}, {3}, {1, 2, 3}]


@pytest.mark.parametrize(("last_batch", "sizes"), [("drop", [16, 16]), ("keep", [16, 16, 9])])
def test_a_last_batch_is_dropped_or_kept(monkeypatch, last_batch, sizes):
    steps = states_after(monkeypatch, small(41), len(sizes), last_batch=last_batch)
    assert [size for _, size, _ in steps] == sizes


def test_a_kept_last_batch_takes_the_mean_over_its_own_samples():
    data, settings = small(25), StepSettings(batch_size=16, reduction="mean")
    run = train("64-7-10", data, rule="bp", epochs=2, learning_rate=0.5, settings=settings, plan=Plan(last_batch="keep"))
    assert run.samples_per_epoch == 25
    network = Network.parse("64-7-10")
    schedules = [training_step(network, "bp", replace(settings, batch_size=size)) for size in (16, 9)]
    state = initial_state(network, schedules[0], 0)
    samples = backends.Samples(data.x_train, data.y_train)
    set_learning_rate(state, schedules[0], 0.5)
    for epoch in (0, 1):
        order = stream(0, "shuffle", epoch).permutation(25)
        for schedule, rows, step in zip(schedules, (order[:16], order[16:]), (2 * epoch, 2 * epoch + 1), strict=True):
            backends.get("cpu")(schedule).run(state, samples, rows, step)
    assert [name for name in state if not np.array_equal(state[name], run.state[name])] == []


def test_rates_follow_their_schedules_epoch_by_epoch():
    plan = Plan(rate_schedule="step:0.5:2", feedback_schedule="exponential:0.1", feedback_rate=0.25)
    rates = []
    run = train(
        "64-7-10",
        small(32),
        rule="kp",
        epochs=4,
        learning_rate=2.0**-6,
        plan=plan,
        after_epoch=lambda run: rates.append((run.state["learning_rate"][0], run.state["feedback_rate"][0])),
    )
    assert [epoch.learning_rate for epoch in run.epochs] == [2.0**-6, 2.0**-6, 2.0**-7, 2.0**-7]
    assert [rate for rate, _ in rates] == [2.0**-6, 2.0**-6, 2.0**-7, 2.0**-7]
    assert [rate for _, rate in rates] == pytest.approx([0.25, 0.025, 0.0025, 0.00025])
    constant = train("64-7-10", small(32), rule="kp", epochs=4, learning_rate=2.0**-6)
    assert not np.array_equal(run.state["weight.1"], constant.state["weight.1"])
    assert not np.array_equal(run.state["feedback.1"], constant.state["feedback.1"])


def test_a_rate_of_a_later_epoch_is_refused_before_the_first():
    done = []
    with pytest.raises(ConfigError, match="power of two"):
        train(
            "64-7-10",
            small(32),
            datapath="s8",
            epochs=3,
            plan=Plan(rate_schedule="step:0.6:2"),
            on_epoch=lambda _: done.append(1),
        )
    assert not done


def test_a_run_stops_once_its_training_error_is_small():
    plan = Plan(stop="train_error:0.4")
    run = train("64-32-10", rule="bp", epochs=30, learning_rate=2.0**-5, plan=plan)
    errors = [1 - epoch.train_accuracy for epoch in run.epochs]
    rule = stopping.parse(plan.stop)
    assert run.stopped
    assert [rule.stops(errors[:count]) for count in range(len(errors) + 1)] == [False] * len(errors) + [True]


def test_figures_of_the_training_set_are_those_of_its_samples():
    data = small(64)
    twin = replace(data, x_test=data.x_train, y_test=data.y_train)
    run = train("64-16-10", twin, epochs=2, plan=Plan(train_accuracy=True))
    for epoch in run.epochs:
        assert (epoch.train_accuracy, epoch.train_loss) == (epoch.test_accuracy, epoch.test_loss)
    unmeasured = train("64-16-10", twin, epochs=1).epochs[0]
    assert math.isnan(unmeasured.train_accuracy)
    assert math.isnan(unmeasured.train_loss)


def test_augmentation_varies_training_alone():
    data = small(64)
    blank = replace(data, x_train=np.zeros_like(data.x_train))
    # a crop of an image of zeros is the image: what is evaluated cannot have been augmented in either run
    runs = [train("64-8-10", data, epochs=2, plan=Plan(augment=how, train_accuracy=True)) for how in ("", "flip+crop:2")]
    assert not np.array_equal(runs[0].state["weight.1"], runs[1].state["weight.1"])
    zeros = [train("64-8-10", blank, epochs=2, plan=Plan(augment=how, train_accuracy=True)) for how in ("", "flip+crop:2")]
    assert np.array_equal(zeros[0].state["weight.1"], zeros[1].state["weight.1"])
    frozen = [
        train("64-8-10", data, epochs=1, learning_rate=2.0**-80, plan=Plan(augment=how, train_accuracy=True)).epochs[0]
        for how in ("", "flip+crop:2")
    ]
    for name in ("test_accuracy", "test_loss", "train_accuracy", "train_loss"):
        assert getattr(frozen[0], name) == getattr(frozen[1], name)


def test_each_epoch_is_augmented_anew():
    data = replace(small(16), y_train=np.zeros(16, np.int64))
    seen = []
    original = trainer.augment

    def spy(*given):
        seen.append(original(*given))
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "augment", spy)
        train("64-8-10", data, epochs=2, settings=FLAT, plan=Plan(augment="crop:2"))
    assert len(seen) == 2
    assert not np.array_equal(seen[0], seen[1])


@pytest.fixture(scope="module")
def cosines():
    """Return a regression of float inputs: targets of a smooth function."""
    random = np.random.default_rng(0)
    x = random.normal(0, 1, (192, 6)).astype(np.float32)
    y = np.stack([np.cos(x[:, :3].mean(1)), x[:, 3:].mean(1)], 1).astype(np.float32)
    return Data("cosines", x[:160], y[:160], x[160:], y[160:], (6,), 2, 1.0, task="regression")


@pytest.mark.parametrize("rule", ["bp", "dfa", "kp"])
def test_the_loss_of_a_regression_falls(cosines, rule):
    settings = StepSettings(loss="mse", target="value")
    network = Network.parse("6-16-2", output="linear")
    run = train(
        network, cosines, rule=rule, epochs=12, learning_rate=2.0**-9, settings=settings, plan=Plan(train_accuracy=True)
    )
    assert run.epochs[-1].train_loss < 0.6 * run.epochs[0].train_loss
    assert run.epochs[-1].test_loss < 0.7 * run.epochs[0].test_loss
    assert math.isnan(run.test_accuracy)
    assert not run.diverged


@pytest.mark.parametrize(("loss", "output"), [("mse", "linear"), ("mse", "sigmoid"), ("bce", "sigmoid")])
def test_the_loss_of_an_auto_encoder_falls(loss, output):
    settings = StepSettings(loss=loss, target="input", optimizer="adam")
    run = train(
        Network.parse("64-24-64", output=output), small(320), rule="dfa", epochs=6, learning_rate=0.005, settings=settings
    )
    assert run.epochs[-1].test_loss < 0.8 * run.epochs[0].test_loss
    assert math.isnan(run.test_accuracy)


@pytest.mark.parametrize("how", ["unit", "channel", "pixel"])
@pytest.mark.parametrize("target", ["label", "input"])
def test_standardised_inputs_give_the_same_run_on_both_backends(how, target):
    data = standardise(small(32), how)
    settings = StepSettings(batch_size=16, loss="mse", target=target)
    network = Network.parse("64-9-10" if target == "label" else "64-9-64", output="linear")
    runs = [
        train(
            network, data, epochs=2, learning_rate=2.0**-10, settings=settings, plan=Plan(last_batch="keep"), backend=name
        )
        for name in ("cpu", "reference")
    ]
    for name, array in runs[0].state.items():
        assert np.abs(array - runs[1].state[name]).max() <= 1e-5 * max(1e-3, np.abs(runs[1].state[name]).max()), name
    assert runs[0].test_loss == pytest.approx(runs[1].test_loss, rel=1e-5)
    plain = train(network, small(32), epochs=2, learning_rate=2.0**-10, settings=settings)
    assert plain.test_loss != runs[0].test_loss


def test_what_does_not_fit_the_task_is_refused(cosines):
    network = Network.parse("6-4-2", output="linear")
    value = StepSettings(loss="mse", target="value")
    with pytest.raises(ConfigError, match="regression task; use target value or input"):
        checks.check_fit(network, cosines, replace(value, target="label"), 1)
    with pytest.raises(ConfigError, match="no labels to count errors of"):
        checks.check_fit(network, cosines, value, 1, Plan(stop="train_error:0.1"))
    with pytest.raises(ConfigError, match="is no image"):
        checks.check_fit(network, cosines, value, 1, Plan(augment="flip"))
    for target, wide in (("value", network), ("input", Network.parse("6-4-6"))):
        with pytest.raises(ConfigError, match="leave 0..1"):
            checks.check_fit(wide, cosines, StepSettings(loss="bce", target=target), 1)
    with pytest.raises(ConfigError, match="real numbers"):
        checks.check_input(load_datapath("s8"), cosines)


def test_a_rule_that_is_left_nothing_to_train_is_refused():
    with pytest.raises(ConfigError, match="rule shallow, freeze 'output': nothing is left to train"):
        train("64-7-10", small(32), rule="shallow", epochs=1, settings=StepSettings(freeze="output"))


def test_a_kept_last_batch_of_one_sample_cannot_be_normalised():
    network, plan = Network.parse("64-7-10", batch_norm=True), Plan(last_batch="keep")
    with pytest.raises(ConfigError, match="in a batch of 1; use a batch size that leaves 2 .* or drop the last"):
        train(network, small(33), epochs=1, settings=FLAT, plan=plan)


def test_feedback_follows_the_schedule_of_the_weights_unless_it_has_its_own():
    assert Plan(rate_schedule="exponential:0.5").rates(1.0, 2, 4) == (0.25, 0.25)
    assert Plan(rate_schedule="exponential:0.5", feedback_rate=0.5).rates(1.0, 2, 4) == (0.25, 0.125)
    assert Plan(rate_schedule="exponential:0.5", feedback_schedule="constant").rates(1.0, 2, 4) == (0.25, 1.0)


@pytest.mark.parametrize(("loss", "times"), [("bce", 32 * 10), ("cross_entropy", 32), ("mse", 32 * 10)])
def test_default_rate_makes_up_for_the_mean(loss, times):
    by_sum, by_mean = (
        checks.default_learning_rate(StepSettings(32, loss=loss, reduction=reduction), 10) for reduction in ("sum", "mean")
    )
    assert by_mean == times * by_sum


@pytest.mark.parametrize("rule", ["fa", "dfa", "hybrid"])
def test_the_default_rate_trains_the_default_auto_encoder(rule):
    run = train("64-128-32-128-64", "digits", rule=rule, epochs=3, settings=StepSettings(target="input", loss="mse"))
    assert not run.diverged
    assert run.epochs[2].test_loss < run.epochs[0].test_loss


def test_updates_of_single_samples_wait_for_the_next_step_and_leave_the_same(monkeypatch):
    """Of float32 and of weights of 8 bits; what is traced is written op by op, and a batch gains nothing."""
    fused = []

    def noting(*arguments, fuse_by="none"):
        fused.append(fuse_by)
        return training_step(*arguments, fuse_by=fuse_by)

    def after(batch, datapath="float32", **more):
        fused.clear()
        run = train("64-9-10", small(60), datapath=datapath, epochs=2, settings=StepSettings(batch), **more)
        return run, fused[0]

    monkeypatch.setattr(trainer, "training_step", noting)
    late = [after(1), after(1, "s8")]
    assert [how for _, how in late] == ["deferred"] * 2
    for _, how in (after(1, trace=True), after(2), after(2, "s8"), after(1, "s16")):
        assert how == "within_layer"
    monkeypatch.setattr(trainer, "executed", lambda *_: "within_layer")
    for (run, _), datapath in zip(late, ("float32", "s8"), strict=True):
        plain, how = after(1, datapath)
        assert how == "within_layer"
        for name, array in plain.state.items():
            np.testing.assert_array_equal(run.state[name], array, name)
