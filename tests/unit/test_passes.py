"""Fusion and lowering: what the passes join, keep and refuse, read off the list."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace

import numpy as np
import pytest

from fasim import backends, rules
from fasim.errors import FormatError
from fasim.fixedpoint import Datapath, Fixed, load_datapath
from fasim.network import Network
from fasim.schedule import (
    FUSIONS,
    ORDERS,
    Op,
    Schedule,
    StepSettings,
    fuse,
    lower,
)
from fasim.state import initial_state, set_learning_rate
from tests.schedules import NETS, RULES, THREE, step


def traffic(schedule: Schedule) -> int:
    """Return the values that ops read and write in memory; within a group each value once."""
    moved = 0
    for index, op in enumerate(schedule.ops):
        group = [other for other in schedule.ops if other.group == op.group] if op.group else [op]
        if group[0] is not op:
            continue
        reads = {value for member in group for value in member.reads}
        writes = {value for member in group for value in member.writes}
        values = [*(reads - writes), *writes]
        moved += sum(schedule[v].elements for v in values if schedule[v].storage != "register")
        assert schedule.ops[index : index + len(group)] == tuple(group), "groups stay together"
    return moved


@pytest.mark.parametrize("datapath", ["float32", "s8"])
@pytest.mark.parametrize("rule", RULES)
def test_fusing_never_adds_traffic(rule: str, datapath: str) -> None:
    for net, how, batch in itertools.product(NETS, ORDERS, (1, 4)):
        apart, joined = (
            step(rule, net, datapath, StepSettings(batch), order_by=how, fuse_by=fusion) for fusion in FUSIONS[:2]
        )
        assert joined.fuse == "within_layer"
        assert traffic(joined) < traffic(apart)
        kept = [t.name for t in joined.tensors.values() if t.storage == "register"]
        assert set(kept) >= {t.name for t in apart.tensors.values() if t.storage == "register"}
        assert not {"act.1", "output", "error"} & set(kept), "read by other groups"


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("datapath", ["float32", "s8_stoch"])
@pytest.mark.parametrize("rule", RULES)
def test_order_and_fusion_keep_every_bit(rule: str, datapath: str, backend: str) -> None:
    random = np.random.default_rng(41)
    data = backends.Samples(random.integers(0, 256, (12, 6), dtype=np.uint8), random.integers(0, 3, 12))
    states = []
    for how, fusion in itertools.product(ORDERS, FUSIONS):
        schedule = step(rule, THREE, datapath, order_by=how, fuse_by=fusion)
        state = initial_state(Network.parse(THREE), schedule, 42)
        set_learning_rate(state, schedule, 2.0**-2)
        before = state["weight.3"].copy()
        backends.get(backend)(schedule).run(state, data, np.arange(12), 0)
        assert not np.array_equal(state["weight.3"], before)
        states.append(state)
    for state in states[1:]:
        assert state.keys() == states[0].keys()
        for name, array in state.items():
            np.testing.assert_array_equal(array, states[0][name], err_msg=name)


def test_what_fusing_joins() -> None:
    schedule = step("bp", fuse_by="within_layer")
    groups: dict[str, list[str]] = {}
    for op in schedule.ops:
        groups.setdefault(op.group, []).append(op.kind)
    assert groups.pop("") == ["ERROR"]
    assert groups == {
        **{f"forward.{layer}": ["DENSE", "ACTIVATE"] for layer in (1, 2, 3)},
        **{f"delta.{layer}": ["PROJECT", "SLOPE", "DELTA"] for layer in (1, 2)},
        **{f"update.weight.{layer}": ["GRAD", "UPDATE"] for layer in (1, 2, 3)},
        **{f"update.bias.{layer}": ["GRAD_BIAS", "UPDATE"] for layer in (1, 2, 3)},
    }


@pytest.mark.parametrize(
    ("network", "settings", "message"),
    [
        (
            Network.parse("4-3-2"),
            StepSettings(4, optimizer="momentum"),
            "optimizer momentum needs the table [momentum] with format, rounding, overflow and factor; or use sgd",
        ),
        (
            Network.parse("4-3-2"),
            StepSettings(4, optimizer="adam"),
            "datapath s8: optimizer adam has no fixed-point form; use sgd or momentum",
        ),
        (
            Network.parse("4-3-2"),
            StepSettings(3, reduction="mean"),
            "use reduction sum, not mean, and dropout that keeps a power of two, such as 0.5",
        ),
        (
            Network.parse("4-3-2"),
            StepSettings(3, loss="mse", reduction="mean", error_scale="raw"),
            "use reduction sum, not mean, and dropout that keeps a power of two, such as 0.5",
        ),
    ],
)
def test_lowering_refuses_in_one_line(network: Network, settings: StepSettings, message: str) -> None:
    for rule in RULES:
        with pytest.raises(FormatError) as refused:
            rules.training_step(network, rule, settings, load_datapath("s8"))
        assert str(refused.value).endswith(message)


def test_lowering_names_what_the_user_asked_for() -> None:
    with pytest.raises(FormatError) as refused:
        rules.training_step(Network.parse("4-3-2"), "dfa", StepSettings(4, clip="norm:1"), load_datapath("s8"))
    assert str(refused.value) == (
        "datapath s8: clipping of the norm of rule dfa on 4-3-2 has no fixed-point form; use the datapath float32 alone"
    )
    with pytest.raises(FormatError, match=r"batch normalisation needs the table \[norm\] with a format"):
        rules.training_step(Network.parse("4-3-2", batch_norm=True), "dfa", StepSettings(4), load_datapath("s8"))


def changed(**entries: object) -> Datapath:
    """Return s8 with other entries."""
    datapath = load_datapath("s8")
    assert datapath is not None
    return replace(datapath, **entries)  # type: ignore[arg-type]


def test_accumulators_beyond_63_bits_are_refused() -> None:
    weight, act = replace(changed().weight, format=Fixed(32, 31)), replace(changed().act, format=Fixed(32, 31))
    network, settings = Network.parse("4-3-2"), StepSettings(4)
    schedule = rules.get("dfa").schedule(network, settings)
    with pytest.raises(FormatError) as refused:
        lower(schedule, changed(weight=weight, act=act, bias=Fixed(8, 0)))
    assert str(refused.value) == (
        "datapath s8: layer 2 DENSE sums 3 products of s32.31 and s32.31, 65 bits; "
        "at most 63 can be accumulated exactly, use narrower formats"
    )


@pytest.mark.parametrize("rule", RULES)
def test_lowered_sites(rule: str) -> None:
    """Every requantisation point that training-step.md names, and no other."""
    bce = {op.site for op in step(rule, "6-5-3", "s8").ops if op.site}
    hidden = {"delta.1", "update.weight.1", "update.bias.1", "weight.1"}
    expected = {"preact.1", "preact.2", "error", "update.weight.2", "update.bias.2", "weight.2"}
    expected |= set() if rule == "shallow" else hidden
    assert bce == expected
    mse = step(rule, "6-5-3", "s8", StepSettings(4, loss="mse"))
    assert {op.site for op in mse.ops if op.site} == expected | {"delta.2"}
    schedule = rules.training_step(Network.parse("6-5-3"), rule, StepSettings(4), changed(master=None))
    assert {op.site for op in schedule.ops if op.site} == expected - {"weight.1", "weight.2"}


def test_every_accumulator_holds_its_extremes() -> None:
    """The sum of the largest products and the bias fits the format that lowering gives; one bit less would not."""
    schedule = step("bp", "6-5-3", "s8")
    act, weight, bias = (schedule[name].format for name in ("act.0", "weight.1", "bias.1"))
    assert act is not None
    assert weight is not None
    assert bias is not None
    frac = max(act.frac + weight.frac, bias.frac)
    largest = 6 * act.hi * weight.lo * 2 ** (frac - act.frac - weight.frac) + bias.lo * 2 ** (frac - bias.frac)
    found = schedule["accumulator.preact.1"].format
    assert found is not None
    assert found.frac == frac
    assert found.lo <= largest < Fixed(found.bits - 1, frac).lo


def test_a_group_that_would_wait_for_itself_stays_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = rules.training_step(Network.parse("4-3-2"), "bp", StepSettings(2))

    def group(_: Schedule, op: Op) -> str:
        if op.layer == 1 and op.kind in ("DENSE", "UPDATE"):
            return "impossible"
        return "forward.2" if op.layer == 2 and op.kind in ("DENSE", "ACTIVATE") else ""

    monkeypatch.setattr(sys.modules["fasim.schedule.fuse"], "_group", group)
    fused = fuse(schedule, "within_layer")
    assert {op.group for op in fused.ops} == {"", "forward.2"}
    assert fused["preact.2"].storage == "register"


@pytest.mark.parametrize("rule", ["bp", "dfa", "lafs"])
def test_both_passes_of_fast_gradient_sign_are_fused(rule: str) -> None:
    network, settings = Network.parse("12-8-6-4"), StepSettings(4, fgsm=0.1)
    fused = rules.training_step(network, rule, settings, fuse_by="within_layer")
    stored = {t.name for t in fused.of_class("preact", "slope") if t.storage == "temp"}
    assert not stored
    assert {op.group for op in fused.ops} >= {"forward.1", "clean.forward.1", "delta.1", "clean.delta.1"}
