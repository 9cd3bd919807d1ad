"""Deferral: updates join the next forward pass, weights are read once for both, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from fasim import backends
from fasim.backends import Samples, cpu_float
from fasim.backends.cpu import CpuProgram
from fasim.energy import OPERATIONS, count
from fasim.errors import ConfigError
from fasim.fixedpoint import load_datapath
from fasim.network import Network
from fasim.rules import names, training_step
from fasim.schedule import StepSettings, lifetimes
from fasim.schedule import ops as kinds
from fasim.state import initial_state, set_learning_rate
from tests.schedules import DENSE_RULES

MLP = Network.parse("784-1000-1000-10")
SMALL = Network.parse("12-9x7-4")
CONV = Network.parse("8x8x2-3c3-2p-12-5")
# tests/cuda has deferred steps on CUDA, on networks that are small enough for its simulator
BACKENDS = ("cpu", "reference")


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


def run(network, rule, fuse_by, steps, backend, n=2, datapath=None, threads=1, **settings):
    """Return the schedule, the state after so many steps and what was counted; steps start at number 7."""
    rng = np.random.default_rng(3)
    data = Samples(rng.integers(0, 256, (8 * n, network.inputs), np.uint8), rng.integers(0, network.outputs, 8 * n))
    schedule = step(network, rule, fuse_by, n, datapath, **settings)
    state = initial_state(network, schedule, seed=5)
    set_learning_rate(state, schedule, 2.0**-4)
    trace = backends.get(backend)(schedule, threads=threads).run(state, data, np.arange(n * steps + n - 1), 7)
    return schedule, state, trace


def assert_same(first, other):
    (schedule, state, trace), (_, found, counts) = first, other
    assert schedule.fuse == "none"
    assert state.keys() == found.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(found[name], array, name)
    assert counts.sites == trace.sites


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("datapath", [None, "s8", "s8_stoch"])
@pytest.mark.parametrize("rule", names())
def test_deferred_steps_leave_the_bits_of_plain_ones(rule, datapath, backend):
    """From no step at all, whose update nobody waits for, to both parities of the buffers that take turns."""
    network = SMALL if rule in DENSE_RULES else CONV
    for steps in (0, 1, 2, 3, 4):
        first, other = (run(network, rule, how, steps, backend, 2, datapath) for how in ("none", "deferred"))
        assert_same(first, other)
    if backend == "cpu":
        assert_same(first, run(network, rule, "deferred", 4, backend, 2, datapath, threads=2))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "momentum"},
        {"optimizer": "adam", "weight_decay": 0.01, "decay_kind": "adamw"},
        {"optimizer": "rmsprop", "clip": "value:0.01"},
        {"clip": "norm:0.5"},
        {"freeze": "1"},
    ],
    ids=str,
)
def test_deferred_optimizers_see_the_number_of_their_own_step(settings, backend):
    first, other = (run(SMALL, "dfa", how, 3, backend, 4, **settings) for how in ("none", "deferred"))
    assert_same(first, other)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("datapath", [None, "s8"])
def test_masks_of_dropout_stay_with_their_step(datapath, backend):
    network = Network.parse("12-9x7-4", dropout=0.5, input_dropout=0.5)
    first, other = (run(network, "bp", how, 3, backend, 4, datapath) for how in ("none", "deferred"))
    assert_same(first, other)


def test_normalised_layers_can_wait_too():
    network = Network.parse("12-9x7-4", batch_norm=True)
    first, other = (run(network, "dfa", how, 3, "cpu", 4) for how in ("none", "deferred"))
    assert_same(first, other)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("settings", [{}, {"weight_decay": 0.01}, {"optimizer": "momentum"}], ids=str)
@pytest.mark.parametrize("rule", ["bp", "dfa", "kp"])
def test_weights_of_one_sample_are_updated_and_used_in_registers(rule, settings, threads):
    """By gradient descent without decay; feedback that learns reads the gradient: op by op then."""
    first, other = (run(SMALL, rule, how, 3, "cpu", 1, threads=threads, **settings) for how in ("none", "deferred"))
    assert_same(first, other)
    program = CpuProgram(other[0])
    data = Samples(np.zeros((1, 12), np.uint8), np.zeros(1, np.int64))
    calls = program.bind(other[1], data, program.parts.body[:1]).workers[0].table.calls
    shapes = [arguments[2].shape for kernel, arguments in calls if kernel.__name__ == "dense_forward_updated"]
    above = [] if rule == "kp" else [*[(7, 7)] * 8, (4, 7)]  # the first layer has no feedback
    assert shapes == ([] if settings else [(7, 12), *above])


@pytest.mark.parametrize("n", [3, 33])
@pytest.mark.parametrize("rule", ["bp", "dfa", "kp"])
def test_a_layer_is_updated_and_used_block_by_block(rule, n, monkeypatch):
    """Two units at a time, so that the last block is smaller; feedback that learns reads the gradient: op by op then."""
    monkeypatch.setattr(cpu_float, "BLOCK_BYTES", 2 * 4 * 12)
    first = run(SMALL, rule, "none", 3, "cpu", n)
    for threads in (1, 2):
        assert_same(first, run(SMALL, rule, "deferred", 3, "cpu", n, threads=threads))
    schedule = step(SMALL, rule, "deferred", n)
    program = CpuProgram(schedule)
    data = Samples(np.zeros((n, 12), np.uint8), np.zeros(n, np.int64))
    state = initial_state(SMALL, schedule, 5)
    set_learning_rate(state, schedule, 0.5)
    calls = program.bind(state, data, program.parts.body[:1]).workers[0].table.calls
    shapes = [arguments[1].shape for kernel, arguments in calls if kernel.__name__.startswith("dense_forward")]
    above = [(7, 7)] if rule == "kp" else [(3, 7), (3, 7), (1, 7)]  # the first layer has no feedback
    expected = [*[(2, 12)] * 3, (1, 12), *above]
    assert shapes[: len(expected)] == expected


def test_unknown_fusion_is_refused():
    with pytest.raises(ConfigError, match="unknown fusion 'defered'.*did you mean 'deferred'"):
        step(SMALL, "bp", "defered")
