"""Deferral: updates join the next forward pass, weights are read once for both, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fasim.backends import Samples
from fasim.backends.cpu import CpuProgram
from fasim.backends.reference import ReferenceProgram
from fasim.energy import OPERATIONS, count
from fasim.errors import ConfigError
from fasim.fixedpoint import load_datapath
from fasim.fixedpoint.trace import Trace
from fasim.network import Network
from fasim.rules import names, training_step
from fasim.schedule import StepSettings, lifetimes
from fasim.schedule import ops as kinds
from fasim.schedule.defer import PREVIOUS
from fasim.state import initial_state, set_learning_rate
from tests.schedules import DENSE_RULES

MLP = Network.parse("784-1000-1000-10")
SMALL = Network.parse("12-9x7-4")
CONV = Network.parse("8x8x2-3c3-2p-12-5")


def step(network, rule, fuse_by, n=1, datapath=None, **settings):
    datapath = load_datapath(datapath) if datapath else None
    return training_step(network, rule, StepSettings(n, **settings), datapath, fuse_by=fuse_by)


@pytest.mark.parametrize(
    ("rule", "none", "deferred"),
    [
        ("bp", 6_392_000, 4_598_000),
        ("fa", 5_382_000, 3_588_000),
        ("dfa", 5_382_000, 3_588_000),
        ("drtp", 5_382_000, 3_588_000),
        ("kp", 5_382_000, 3_588_000),
    ],
)
def test_weight_accesses_at_one_sample(rule, none, deferred):
    """Reads and writes: 4 W - W_1 for backpropagation, 3 W for direct feedback; one of the reads is saved for each."""
    for fuse_by, expected in (("none", none), ("within_layer", none), ("deferred", deferred)):
        assert count(step(MLP, rule, fuse_by)).elements("weight") == expected


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("datapath", [None, "s8"])
@pytest.mark.parametrize("rule", names())
def test_the_same_operations_and_no_more_words(rule, datapath, n):
    for network in (SMALL,) if rule in DENSE_RULES else (SMALL, CONV):
        schedules = [step(network, rule, fuse_by, n, datapath) for fuse_by in ("none", "deferred")]
        plain, deferred = (count(schedule) for schedule in schedules)
        assert [plain.total(kind) for kind in OPERATIONS] == [deferred.total(kind) for kind in OPERATIONS]
        assert deferred.words() < plain.words()
        assert sorted(op.kind for op in schedules[0].ops) == sorted(op.kind for op in schedules[1].ops)


def test_what_is_kept_lives_to_the_end_and_what_was_kept_from_the_start():
    schedule = step(SMALL, "dfa", "deferred", 2)
    lives = {life.tensor.name: life for life in lifetimes(schedule)}
    last = len(schedule.ops) - 1
    for name in ("act.1", "delta.1", "error"):
        assert lives[name].last == last
        assert lives[f"{name}.previous"].first == 0
        assert lives[f"{name}.previous"].last < last
    # this step's input is the one that the next step's update needs
    assert lives["act.0"].first == 0
    assert lives["act.0"].last == last
    # the way that each weight goes: updated with what was kept, then used, by every op of this step
    update = next(op for op in schedule.find(kinds.UPDATE, 2) if op.attrs["group"] == "weight")
    gradient = next(op for op in schedule.find(kinds.GRAD, 2))
    forward = next(op for op in schedule.find(kinds.DENSE, 2))
    assert [value.tensor for value in gradient.reads] == ["delta.2.previous", "act.1.previous"]
    assert forward.reads[1] == update.writes[0]
    assert update.group == gradient.group == forward.group == "forward.2"


def test_gradients_that_are_read_as_a_whole_wait_for_nobody():
    """Clipping by the norm of all gradients, and exponents chosen from a gradient."""
    relu = Network.parse("12-9x7-4", hidden="relu", output="softmax")
    dynamic = step(relu, "bp", "deferred", 2, "niti", loss="cross_entropy")
    for schedule in (step(SMALL, "bp", "deferred", 2, clip="norm:1.0"), dynamic):
        weights = [op for op in schedule.find(kinds.UPDATE) if op.attrs["group"] == "weight"]
        assert weights
        assert not any(op.group.startswith("forward") for op in weights)


@pytest.mark.parametrize("datapath", [None, "s8"])
@pytest.mark.parametrize("rule", ["bp", "dfa", "drtp", "kp", "lafs"])
def test_weights_are_those_of_plain_steps(rule, datapath):
    """Four steps, of which the first updates with nothing and the fourth with what the third has kept: three plain ones."""
    rng = np.random.default_rng(3)
    data = Samples(rng.integers(0, 256, (8, 12), dtype=np.uint8), rng.integers(0, 4, 8))
    plain, body = (step(SMALL, rule, fuse_by, 2, datapath) for fuse_by in ("none", "deferred"))
    state = initial_state(SMALL, plain, seed=5)
    set_learning_rate(state, plain, 2.0**-6)
    names_ = [
        t.name for t in plain.tensors.values() if t.storage == "state" and t.cls in ("weight", "bias", "feedback", "master")
    ]
    start = {name: state[name].copy() for name in names_}
    deferred = {name: value.copy() for name, value in state.items()}
    ReferenceProgram(plain).run(state, data, np.arange(6), 0)
    previous = [t for t in body.tensors.values() if t.storage == "previous"]
    deferred |= {t.name: np.zeros(t.shape) if datapath is None else np.zeros(t.shape, np.int64) for t in previous}
    roles = {"previous": "state", "kept": "temp"}
    tensors = {name: replace(t, storage=roles.get(t.storage, t.storage)) for name, t in body.tensors.items()}
    program = ReferenceProgram(replace(body, tensors=tensors))
    for index in range(4):
        values = program._step(deferred, data, np.arange(2 * index, 2 * index + 2), index, Trace())
        deferred |= {t.name: values[t.name.removesuffix(PREVIOUS)].reshape(t.shape) for t in previous}
    assert any((state[name] != start[name]).any() for name in names_)
    for name in names_:
        np.testing.assert_array_equal(deferred[name], state[name], name)


def test_cpu_runs_none():
    with pytest.raises(ConfigError, match="fuse deferred: the cpu backend runs no deferred updates"):
        CpuProgram(step(SMALL, "dfa", "deferred"))


def test_unknown_fusion_is_refused():
    with pytest.raises(ConfigError, match="unknown fusion 'defered'.*did you mean 'deferred'"):
        step(SMALL, "bp", "defered")
