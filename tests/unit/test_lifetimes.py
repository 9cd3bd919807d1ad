"""Lifetimes and peaks: golden numbers of stored activations, and a walk of live sets written again here."""

from __future__ import annotations

import itertools
import json
import math
import random
from dataclasses import replace
from pathlib import Path

import pytest

from fasim.fixedpoint import load_datapath
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import (
    CLASSES,
    FUSIONS,
    ORDERS,
    StepSettings,
    lifetimes,
    live_bytes,
    peak_bytes,
    validate,
)
from tests.schedules import ALL_RULES, FLOAT_RULES, RULES

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "macs.json").read_text(encoding="utf-8"))
FLOAT_BYTES = 4


def step(net, rule, n=1, datapath="float32", *, hook="pre_pool", **options):
    settings = StepSettings(batch_size=n, hook=hook)
    return training_step(Network.parse(net), rule, settings, load_datapath(datapath), **options)


def act_elements(schedule):
    return peak_bytes(schedule, "act") / FLOAT_BYTES


@pytest.mark.parametrize("net", GOLDEN["nets"], ids=lambda net: net["network"])
@pytest.mark.parametrize("fuse_by", FUSIONS[:2])
def test_stored_activations_of_the_golden_nets(net, fuse_by):
    name = net["network"]
    for rule in ("bp", "fa", "dfa", "sdfa"):
        assert act_elements(step(name, rule, fuse_by=fuse_by)) == net["act_bp"], f"{rule} waits for the error"
    for hook in ("pre_pool", "post_pool"):
        assert act_elements(step(name, "drtp", fuse_by=fuse_by, hook=hook)) == net["act_drtp"]
    assert act_elements(step(name, "drtp", order_by="phased", fuse_by=fuse_by)) == net["act_bp"]


def test_stored_activations_grow_with_the_batch():
    assert act_elements(step("784-500-10", "bp", 64)) == 82_176
    assert act_elements(step("784-1000-1000-10", "drtp", 64)) == 64 * 2000


def test_drtp_in_fixed_point_keeps_as_many_activations_as_in_float():
    """The slope comes from the pre-activation, yet a layer is updated only after its own forward pass."""
    for fuse_by in FUSIONS[:2]:
        assert peak_bytes(step("784-1000-1000-10", "drtp", datapath="s8", fuse_by=fuse_by), "act") == 2000


def test_a_fused_pass_has_its_operands_and_its_results_at_once():
    """shallow frees act.1 as soon as act.2 is there, but not while one pass makes it; what waits for an update is kept."""
    assert act_elements(step("784-1000-1000-10", "shallow", fuse_by="within_layer")) == 2000
    for rule in ("bp", "dfa", "drtp"):
        assert act_elements(step("784-1000-10", rule, fuse_by="deferred")) == 2 * (784 + 1000)


def test_late_updates_cost_drtp_its_advantage():
    schedule = step("784-1000-1000-10", "drtp")
    late = [op for op in schedule.ops if op.layer == 1 and op.phase in ("gradient", "update")]
    assert len(late) == 4
    moved = validate(replace(schedule, ops=(*(op for op in schedule.ops if op not in late), *late)))
    assert act_elements(schedule) == 2000
    assert act_elements(moved) == 2784


def test_lifetime_of_each_kind_of_storage():
    schedule = step("6-5-4-3", "drtp", 2, "s8", fuse_by="within_layer")
    life = {entry.tensor.name: entry for entry in lifetimes(schedule)}
    end = len(schedule.ops) - 1
    assert [(life[n].first, life[n].last) for n in ("weight.3", "master.1", "feedback.2")] == [(0, end)] * 3
    assert (life["table.act.tanh.s10.6.s8.7"].first, life["table.act.tanh.s10.6.s8.7"].last) == (0, end)
    # the last op that reads it is part of a pass, which ends with the cast of the weight
    updates = [i for i, op in enumerate(schedule.ops) if op.group == "update.weight.1"]
    assert [schedule.ops[i].kind for i in updates] == ["GRAD", "UPDATE", "REQUANT"]
    assert (life["act.0"].first, life["act.0"].last) == (0, updates[-1])
    passes = [i for i, op in enumerate(schedule.ops) if op.group == "delta.1"]
    assert "delta.1" in [value.tensor for i in passes for value in schedule.ops[i].writes]
    of_bias = [i for i, op in enumerate(schedule.ops) if op.group == "update.bias.1"]
    assert (life["delta.1"].first, life["delta.1"].last) == (passes[0], max(updates[-1], of_bias[-1]))
    assert "accumulator.preact.1" not in life
    # inside a fused group one row is buffered
    assert schedule["signal.1"].storage == "register"
    assert life["signal.1"].tensor.shape == (5,)


# --- 200 random steps ---------------------------------------------------------------------------------------------------


def random_step(rng):
    """Return a schedule of a random small net: dense or with convolutions, any rule, datapath, order and fusion."""
    layers = [str(rng.randint(1, 9)) for _ in range(rng.randint(0, 3))] + [str(rng.randint(2, 5))]
    inputs = str(rng.randint(1, 12))
    if rng.random() < 0.5:
        inputs = f"{rng.randint(6, 9)}x{rng.randint(6, 9)}x{rng.randint(1, 3)}"
        convolutions = [f"{rng.randint(1, 4)}c3{rng.choice(('', 's2', 'p0'))}"]
        if rng.random() < 0.5:
            convolutions.append(rng.choice(("2p", "2ps1", f"{rng.randint(1, 3)}c1")))
        layers = convolutions + layers
    datapath = load_datapath(rng.choice(("float32", "s8")))
    hidden = rng.choice(("tanh", "sigmoid") if datapath else ("tanh", "sigmoid", "relu", "linear"))
    return training_step(
        Network.parse("-".join([inputs, *layers]), hidden=hidden),
        rng.choice(RULES if datapath else (*RULES, *FLOAT_RULES) if "x" in inputs else ALL_RULES),
        StepSettings(
            batch_size=rng.randint(1, 5),
            loss=rng.choice(("bce", "mse")),
            optimizer="sgd" if datapath else rng.choice(("sgd", "momentum", "adam")),
            hook=rng.choice(("pre_pool", "post_pool")),
        ),
        datapath,
        order_by=rng.choice(ORDERS),
        fuse_by=rng.choice(FUSIONS),
    )


def walk(schedule, classes):
    """Return the live bytes at each op: walk the passes, let in what is touched, throw out what nobody touches any more."""

    def touched(*ops):
        return {schedule[value].view or value.tensor for op in ops for value in (*op.reads, *op.writes, *op.scalars)}

    def size(name):
        tensor = schedule[name]
        if tensor.storage != "register":
            return tensor.elements * tensor.bits / 8
        return 0 if tensor.cls == "accumulator" else math.prod(tensor.shape[1:]) * tensor.bits / 8

    used = touched(*schedule.ops)
    always = {name for name in used if schedule[name].storage in ("state", "table")}
    live = always | {name for name in used if schedule[name].storage in ("input", "previous")}
    result = []
    left = list(schedule.ops)
    while left:
        group = left[0].group
        ops = list(itertools.takewhile(lambda op, group=group: op.group == group, left)) if group else left[:1]
        left = left[len(ops) :]
        live |= touched(*ops)
        result += len(ops) * [sum(size(name) for name in live if schedule[name].cls in classes)]
        later = touched(*left)
        # what the next step needs, the input as well
        kept = {name for name in live if schedule[name].storage == "kept" or f"{name}.previous" in schedule.tensors}
        live = {name for name in live if name in later or name in always} | kept
    return result


@pytest.mark.parametrize("block", range(12))
def test_live_bytes_equal_a_walk_of_live_sets(block):
    rng = random.Random(f"lifetimes {block}")
    for _ in range(20):
        schedule = random_step(rng)
        assert live_bytes(schedule) == walk(schedule, CLASSES)
        assert peak_bytes(schedule) == max(walk(schedule, CLASSES))
        for classes in (("act",), ("act", "map", "output"), ("gradient",), ("weight", "master"), ("label", "scalar")):
            assert live_bytes(schedule, *classes) == walk(schedule, classes)


def test_random_steps_are_of_all_kinds():
    made = [random_step(rng) for block in range(12) for rng in [random.Random(f"lifetimes {block}")] for _ in range(20)]
    assert {schedule.rule for schedule in made} == set(ALL_RULES)
    assert {schedule.datapath for schedule in made} == {"float32", "s8"}
    assert {schedule.batch_size for schedule in made} == {1, 2, 3, 4, 5}
    assert {schedule.fuse for schedule in made} == set(FUSIONS)
    assert {schedule.order for schedule in made} == set(ORDERS)
    conv = sum(any(op.kind == "CONV" for op in schedule.ops) for schedule in made)
    assert 50 < conv < 150
    pooled = {op.kind for schedule in made for op in schedule.ops}
    assert {"POOL", "UNPOOL", "PROJECT_CONV", "SELECT", "SIGN", "REQUANT"} <= pooled
    assert len({(schedule.network, schedule.rule) for schedule in made}) > 190
