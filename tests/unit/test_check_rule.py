"""The battery for rules: the package's pass it, broken ones fail at the check that is meant for them."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from fasim import estimate, rules, train
from fasim.errors import ConfigError
from fasim.network import Network
from fasim.rules import Rule
from fasim.schedule import Builder, StepSettings, Value, locking
from fasim.schedule import ops as kinds
from fasim.testing import CHECKS, check_rule


def rule_of(signal, **options) -> Rule:
    return Rule("mine", "a rule of mine", "this test", signal, 99, **options)


def dfa(step: Builder, layer: int) -> Value:
    return step.project(step.output_signal(), step.feedback(layer), layer, direct=True)


# --- the package's rules ------------------------------------------------------------------------


@pytest.mark.parametrize("name", rules.names())
def test_rules_of_the_package_pass(name: str) -> None:
    report = check_rule(name)
    assert [outcome.check for outcome in report.outcomes] == list(CHECKS)
    report.raise_if_failed()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bp", "reads weights transposed: yes; feedback matrices: 0, is backpropagation"),
        ("fa", "reads weights transposed: no; feedback matrices: 2"),
        ("ifa", "reads weights transposed: no, forward: yes; feedback matrices: 1"),
        ("strategy3", "reads weights transposed: no; feedback matrices: 4"),
    ],
)
def test_what_signals_depend_on_is_reported(name: str, words: str) -> None:
    assert words in str(check_rule(name))


@pytest.mark.parametrize(
    ("name", "update_locked", "backward_locked"),
    [
        ("bp", (1, 2, 3), (1, 2)),
        ("kp", (1, 2, 3), (1, 2)),
        ("dfa", (1, 2, 3), ()),
        ("ifa", (1, 2, 3), ()),
        ("drtp", (), ()),
        ("lafs", (), ()),
        ("strategy1", (1, 2, 3), (1, 2)),
        ("strategy1_aux", (), (1, 2)),
        ("strategy3", (1, 2, 3), ()),
        ("strategy3_aux", (), ()),
    ],
)
def test_locking_is_derived(name: str, update_locked: tuple, backward_locked: tuple) -> None:
    step = rules.training_step(Network.parse("6-5-5-4-3"), name, StepSettings(4))
    assert locking(step) == ((1, 2, 3), update_locked, backward_locked)


def test_the_error_of_a_regression_locks_too() -> None:
    step = rules.training_step(Network.parse("6-5-4-3"), "dfa", StepSettings(4, target="value"))
    assert locking(step) == ((1, 2), (1, 2), ())


# --- broken rules -------------------------------------------------------------------------------


def wrong_sign_scale(step: Builder, layer: int) -> Value:
    return step.project(step.sign_of_error(), step.feedback(layer), layer, direct=True)


def reads_updated_weights(step: Builder, layer: int) -> Value:
    return step.project(step.delta(layer + 1), Value(f"weight.{layer + 1}", 1), layer)


def silently_bp(step: Builder, layer: int) -> Value:
    step.layered_feedback(layer)
    return step.project(step.delta(layer + 1), step.weight(layer + 1), layer)


def unseeded(step: Builder, layer: int) -> Value:
    factor = float(np.random.default_rng().uniform(0.5, 1.0))  # the bug, on purpose
    return step.project(step.output_signal(), step.feedback(layer), layer, direct=True, scale=factor)


def uncounted(step: Builder, layer: int) -> Value:
    signal = dfa(step, layer)
    step.ops[-1] = replace(step.ops[-1], costed=False)
    return signal


def mixes_samples(step: Builder, layer: int) -> Value:
    scale = 1.0 / step.settings.batch_size
    return step.project(step.output_signal(), step.feedback(layer), layer, direct=True, scale=scale)


def output_passed_off_as_error(step: Builder, layer: int) -> Value:
    return step.project(Value("output"), step.feedback(layer), layer, direct=True)


def signs_for_the_output_layer_too(step: Builder, layer: int) -> Value:
    sign = step.sign_of_error()
    place, op = next((i, op) for i, op in enumerate(step.ops) if op.kind == kinds.GRAD and op.layer == step.last)
    step.ops.append(step.ops.pop(place))
    step.ops[-1] = replace(op, reads=(sign, op.reads[1]))
    step.ops += [step.ops.pop(i) for i, op in enumerate(step.ops) if op.kind == kinds.UPDATE and op.layer == step.last][:1]
    return dfa(step, layer)


def refuses_badly(step: Builder, layer: int) -> Value:
    if step.is_conv(layer):
        raise ValueError("not here")
    return dfa(step, layer)


def refuses_at_length(step: Builder, layer: int) -> Value:
    if step.is_conv(layer):
        raise ConfigError("not here\nand not there")
    return dfa(step, layer)


def up_the_hill(step: Builder, layer: int) -> Value:
    return step.project(step.delta(layer + 1), step.weight(layer + 1), layer, scale=-64.0)


def error_of_twice_the_label(step: Builder, layer: int) -> Value:
    def emit() -> Value:
        error = step.tensor("twice", "error", "NK", (step.settings.batch_size, step.outputs))
        step.emit(kinds.ERROR, (Value("output"), Value("label")), (error,), "error", step.last, {"one": 2})
        return error

    return step.project(step.once("twice", emit), step.feedback(layer), layer, direct=True, scale=step.target_scale)


@pytest.mark.parametrize(
    ("signal", "failed"),
    [
        (wrong_sign_scale, ["gradient scale"]),
        (silently_bp, ["not silently bp"]),
        (uncounted, ["all counted"]),
        (mixes_samples, ["samples do not mix"]),
        (refuses_badly, ["other networks"]),
        (refuses_at_length, ["other networks"]),
    ],
)
def test_a_broken_rule_fails_at_the_check_for_it(signal, failed: list[str]) -> None:
    assert check_rule(rule_of(signal)).failed == failed


@pytest.mark.parametrize(
    ("signal", "check"),
    [
        (reads_updated_weights, "values before the update"),
        (reads_updated_weights, "frozen layers stay"),
        (output_passed_off_as_error, "locks"),
        (unseeded, "deterministic"),
        (signs_for_the_output_layer_too, "output layer is exact"),
        (up_the_hill, "learns"),
        (error_of_twice_the_label, "backends agree"),
    ],
)
def test_a_bug_that_shows_in_many_places_fails_at_the_check_for_it_too(signal, check: str) -> None:
    assert check in check_rule(rule_of(signal)).failed


def test_weights_in_one_layer_break_a_claim() -> None:
    def signal(step: Builder, layer: int) -> Value:
        return rules.get("bp").signal(step, layer) if layer == 1 else dfa(step, layer)

    assert check_rule(rule_of(signal)).failed == []
    assert check_rule(rule_of(signal), reads_weights=True).failed == []
    assert check_rule(rule_of(signal), reads_weights=False).failed == ["not silently bp"]
    assert check_rule("dfa", reads_weights=True).failed == ["not silently bp"]
    bp = rule_of(rules.get("bp").signal)
    assert check_rule(bp).failed == ["not silently bp"]
    assert check_rule(bp, reads_weights=True).failed == []


def test_a_rule_that_raises_fails_every_check_in_one_line() -> None:
    def signal(step: Builder, layer: int) -> Value:
        raise RuntimeError("broken\nin two lines")

    report = check_rule(rule_of(signal))
    assert len(report.failed) == len(CHECKS)
    assert all("\n" not in outcome.line for outcome in report.outcomes)


# --- the report ---------------------------------------------------------------------------------


def test_report_is_a_table_and_an_error() -> None:
    report = check_rule(rule_of(uncounted))
    lines = str(report).splitlines()
    assert lines[0] == f"rule mine: {len(CHECKS) - 1} of {len(CHECKS)} checks passed"
    assert [line[:4] for line in lines[1:]].count("FAIL") == 1
    with pytest.raises(AssertionError, match="FAIL  all counted +PROJECT of layer 2 is not counted at batch size 4"):
        report.raise_if_failed()


def test_checks_can_be_skipped() -> None:
    check_rule(rule_of(mixes_samples), skip=["samples do not mix"]).raise_if_failed()
    with pytest.raises(ConfigError, match="unknown check 'samples': there are"):
        check_rule("dfa", skip=["samples"])


@pytest.mark.parametrize("net", ["6-5-3", "6x6x1-3c3-5-4-3", Network.parse("6-5-4-3", batch_norm=True)])
def test_networks_that_hide_differences_are_refused(net: str | Network) -> None:
    with pytest.raises(ConfigError, match="two hidden ones at least"):
        check_rule("dfa", network=net)


# --- a rule where a name is ---------------------------------------------------------------------


def test_a_rule_of_ones_own_trains_and_is_counted() -> None:
    mine = rule_of(dfa)
    run, named = (train("64-16-10", "digits", rule=rule, epochs=1) for rule in (mine, "dfa"))
    assert run.schedule.rule == "mine"
    assert run.test_loss == named.test_loss
    assert estimate("64-16-10", mine).rule == "mine"
    assert estimate("64-16-10", mine).macs_per_sample == estimate("64-16-10", "dfa").macs_per_sample


@pytest.fixture
def entry_point(monkeypatch):
    """Let an installed package have one entry point; its value is found in this module."""

    def install(value: str) -> None:
        found = EntryPoint("mine", f"{__name__}:{value}", "fasim.rules")
        monkeypatch.setattr(rules, "entry_points", lambda group: [found] if group == "fasim.rules" else [])
        monkeypatch.setattr(EntryPoint, "load", lambda self: globals()[value])
        rules._rules.cache_clear()

    yield install
    monkeypatch.undo()
    rules._rules.cache_clear()


MINE = rule_of(dfa)
NAMESAKE = rules.get("fa")


def test_another_package_adds_a_rule(entry_point) -> None:
    before = rules.names()
    entry_point("MINE")
    assert rules.names() == [*before, "mine"]
    assert rules.get("mine") is MINE


@pytest.mark.parametrize("value", ["NAMESAKE", "dfa"])
def test_an_entry_point_that_is_no_new_rule_is_refused(entry_point, value: str) -> None:
    entry_point(value)
    with pytest.raises(ConfigError, match="entry point mine: .* must be a Rule with a name that no other rule has"):
        rules.names()
