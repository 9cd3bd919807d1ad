"""Arrays that begin where a cache line begins, and where they must."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from fasim import checkpoint
from fasim.backends.cpu import CpuProgram
from fasim.fixedpoint import load_datapath
from fasim.memory import LINE_BYTES, aligned_copy, aligned_zeros
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import StepSettings
from fasim.state import initial_state


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.float32, np.int64])
@pytest.mark.parametrize("shape", [(), 5, (3,), (0, 4), (1, 1), (7, 13), (2, 3, 5, 7)])
def test_zeros_are_numpys_at_another_place(shape, dtype):
    kept = []
    for _ in range(20):
        array, expected = aligned_zeros(shape, dtype), np.zeros(shape, dtype)
        kept.append(array)
        assert array.ctypes.data % LINE_BYTES == 0
        assert (array.shape, array.dtype) == (expected.shape, expected.dtype)
        assert array.strides == expected.strides or not array.size
        assert array.flags.c_contiguous
        assert array.flags.writeable
        np.testing.assert_array_equal(array, expected)
        array[...] = 1
    assert all((array == 1).all() for array in kept), "each has memory of its own"


def test_a_copy_is_in_c_order_and_no_view():
    source = np.arange(12, dtype=np.int16).reshape(3, 4).T
    copy = aligned_copy(source)
    np.testing.assert_array_equal(copy, source)
    assert copy.flags.c_contiguous
    assert copy.ctypes.data % LINE_BYTES == 0
    copy[0, 0] = 99
    assert source[0, 0] == 0


@pytest.mark.parametrize("datapath", ["float32", "s8"])
def test_state_and_buffers_begin_on_cache_lines(datapath, tmp_path):
    network = Network.parse("36-9-4")
    schedule = training_step(network, "dfa", StepSettings(), load_datapath(datapath))
    state = initial_state(network, schedule, 0)
    checkpoint.save(tmp_path, checkpoint.Checkpoint({}, [], {}, state))
    again = checkpoint.load(tmp_path).state
    for arrays in (state, again, CpuProgram(schedule).buffers):
        assert arrays
        away = [name for name, array in arrays.items() if array.ctypes.data % LINE_BYTES]
        assert away == []
    for name, array in state.items():
        np.testing.assert_array_equal(again[name], array)


@pytest.mark.parametrize("datapath", ["float32", "s8", "s16"])
def test_building_a_state_takes_little_beside_it(datapath):
    """Draws in float64 and a dozen arrays of their rounding are made of some thousand numbers at once, not of a layer."""
    network = Network.parse("3000-400-10")
    schedule = training_step(network, "dfa", StepSettings(), load_datapath(datapath))
    tracemalloc.start()
    state = initial_state(network, schedule, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    held = sum(array.nbytes for array in state.values())
    # 1.2 million weights are 9.6 MB in float64
    assert held < peak < held + 5e6


def test_draws_do_not_depend_on_how_many_are_made_at_once(monkeypatch):
    network = replace(Network.parse("30-20-10"), bias_init="normal")
    for init in ("torch", "lecun"):
        for datapath in ("float32", "s8"):
            drawn = replace(network, init=init)
            schedule = training_step(drawn, "kp", StepSettings(), load_datapath(datapath))
            states = []
            for at_once in (7, 1 << 16):
                monkeypatch.setattr("fasim.state._AT_ONCE", at_once)
                monkeypatch.setattr(import_module("fasim.fixedpoint.quantize"), "_AT_ONCE", at_once)
                states.append(initial_state(drawn, schedule, 5))
            assert states[0].keys() == states[1].keys()
            for name, array in states[0].items():
                np.testing.assert_array_equal(array, states[1][name], err_msg=name)
