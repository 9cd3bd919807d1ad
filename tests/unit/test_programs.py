"""A program: its table against its calls made one by one from Python: the same bits in every array."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from numba.core.runtime import _nrt_python as nrt

from fasim.backends import Samples
from fasim.backends.cpu import CpuProgram
from fasim.backends.table import Table, make
from fasim.rules import evaluation_pass, training_step
from fasim.schedule import StepSettings
from fasim.state import initial_state, set_learning_rate
from tests.fixed_bridge import Case
from tests.fixed_cases import MOMENTUM, NORM

SAMPLES, SIZE = 48, 12
MAPS = "6x6x1-2c3-2p-5-4"
NORMED = {"batch_norm": True, "dropout": 0.5}
CASES = {
    "float_dfa": Case("36-9-4", "dfa", StepSettings(SIZE), preset="float32"),
    "float_bp_maps": Case(MAPS, "bp", StepSettings(SIZE, optimizer="adam", clip="norm:1.0"), NORMED, "float32"),
    "float_dkp": Case("36-9-4", "dkp", StepSettings(SIZE, optimizer="momentum"), preset="float32"),
    "s8_drtp": Case("36-9-4", "drtp", StepSettings(SIZE)),
    "s8_dfa_maps": Case(MAPS, "dfa", StepSettings(SIZE), NORMED, "s8", NORM),
    "s8_stoch_dfa": Case("36-9-4", "dfa", StepSettings(SIZE), preset="s8_stoch"),
    "s16_kp": Case(
        "36-9-4",
        "kp",
        StepSettings(SIZE, optimizer="momentum", weight_decay=2.0**-7, decay_kind="decoupled"),
        {},
        "s16",
        MOMENTUM,
    ),
    "niti_bp": Case("36-9-4", "bp", StepSettings(SIZE, loss="cross_entropy"), {"hidden": "relu"}, "niti"),
    "pocketnn_dfa": Case(
        "36-9-4",
        "dfa",
        StepSettings(SIZE, loss="half_mse", error_scale="raw", feedback="pocketnn"),
        {"hidden": "tanh", "output": "tanh", "init": "zero"},
        "pocketnn",
        rate=2.0**-9,
    ),
}


def made(name, folder, observe=False, threads=1):
    """A program and the state it starts with."""
    case = CASES[name]
    datapath = None if case.preset == "float32" else case.datapath(folder)
    schedule = training_step(case.network, case.rule, case.settings, datapath)
    state = initial_state(case.network, schedule, 7)
    set_learning_rate(state, schedule, case.rate)
    return CpuProgram(schedule, threads=threads, observe=observe), state


def samples():
    random = np.random.default_rng(3)
    codes, labels = random.integers(0, 256, (SAMPLES, 36), np.uint8), random.integers(0, 4, SAMPLES)
    return Samples(codes, labels), random.permutation(SAMPLES)


class OneByOne(Table):
    """Makes each call through Python."""

    def walk(self, order, offset, size, first_step, batch, step, position, calls):
        for number in range(len(order) // size):
            batch[:] = order[number * size + offset : number * size + offset + len(batch)]
            step[0] = first_step + number
            for call in self.calls:
                make(call)
        position[0] = len(order) // size
        return 0


def ran(case, folder, observe=False, threads=1):
    """What a run leaves: trace, state, buffers."""
    program, state = made(case, folder, observe, threads)
    data, order = samples()
    return program.run(state, data, order, 5), state, program.buffers


@pytest.mark.parametrize("observe", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_the_table_is_the_calls(case, observe, monkeypatch, tmp_path):
    trace, state, buffers = ran(case, tmp_path, observe)
    assert any((state[name] != start).any() for name, start in made(case, tmp_path)[1].items()), "nothing was learnt"
    monkeypatch.setattr("fasim.backends.cpu.Table", OneByOne)
    expected, other_state, other_buffers = ran(case, tmp_path, observe)
    assert (trace.sites, trace.tensors) == (expected.sites, expected.tensors)
    for found, wanted in ((state, other_state), (buffers, other_buffers)):
        assert found.keys() == wanted.keys()
        for name in found:
            np.testing.assert_array_equal(found[name], wanted[name], name)


@pytest.mark.parametrize("case", [name for name in CASES if not name.startswith("float")])
def test_more_threads_than_cores_make_the_same_bits(case, tmp_path):
    trace, state, _ = ran(case, tmp_path, observe=True)
    other, other_state, _ = ran(case, tmp_path, observe=True, threads=7)
    assert (trace.sites, trace.tensors) == (other.sites, other.tensors)
    for name in state:
        np.testing.assert_array_equal(state[name], other_state[name], name)


@pytest.mark.parametrize("case", ["float_dfa", "s8_drtp", "niti_bp"])
def test_outputs_of_an_evaluation_are_those_of_runs(case, tmp_path):
    """One table for all batches of an evaluation, the last one filled up."""
    given = CASES[case]
    datapath = None if given.preset == "float32" else given.datapath(tmp_path)
    evaluation = evaluation_pass(given.network, replace(given.settings, batch_size=10), datapath)
    _, state, _ = ran(case, tmp_path)
    data, _ = samples()
    program = CpuProgram(evaluation)
    found = program.outputs(state, data)
    for first in range(0, SAMPLES, 10):
        rows = np.minimum(np.arange(first, first + 10), SAMPLES - 1)
        program.run(state, data, rows, first // 10)
        scale = program.values(state, Samples(data.codes[rows], data.labels[rows]), ["output"])["output"]
        np.testing.assert_array_equal(found[first : first + 10], scale[: SAMPLES - first])


def test_a_failing_kernel_says_what_is_wrong(tmp_path):
    """A rounding that STOCH has too few random bits for, which the state's check would have refused."""
    program, state = made("s8_stoch_dfa", tmp_path)
    state["learning_shift"][0] = 60
    data, order = samples()
    with pytest.raises(ValueError, match="update_fixed: STOCH drops at most 32 bits"):
        program.run(state, data, order, 0)


@pytest.mark.parametrize("case", ["float_bp_maps", "s8_stoch_dfa"])
def test_nothing_grows_with_the_number_of_steps(case, tmp_path):
    """No memory of NumPy's, apart from the order, and none that a kernel asks for is kept."""
    program, state = made(case, tmp_path)
    data, _ = samples()
    long, short = np.zeros(3000 * SIZE, np.int64), np.zeros(SIZE, np.int64)
    program.run(state, data, short, 0)
    nrt.memsys_enable_stats()
    try:
        kept, peaks = [], []
        for order in (short, long):
            before = nrt.memsys_get_stats_alloc() - nrt.memsys_get_stats_free()
            tracemalloc.start()
            program.run(state, data, order, 0)
            peaks.append(tracemalloc.get_traced_memory()[1] - order.nbytes)
            tracemalloc.stop()
            kept.append(nrt.memsys_get_stats_alloc() - nrt.memsys_get_stats_free() - before)
    finally:
        nrt.memsys_disable_stats()
    assert kept == [0, 0]
    assert peaks[1] < peaks[0] + 4096
