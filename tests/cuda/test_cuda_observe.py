"""What the device counts of tensors, beside what the CPU counts of them."""

from __future__ import annotations

from typing import Any

import fasim_cuda as kernels
import numpy as np
import pytest

from fasim import backends
from fasim.backends import Samples
from fasim.backends.cuda import CudaProgram
from fasim.fixedpoint import load_datapath
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import StepSettings
from fasim.state import initial_state, set_learning_rate
from tests.cuda_runs import check, quick_switches

ENDS = np.iinfo(np.int64)
GRIDS = [(1, 1), (2, 3), (3, 70)]
DIGITS = "4x4x1-2c2-2p-3-3"


@pytest.mark.parametrize(("blocks", "threads"), GRIDS)
def test_integers_are_counted_by_size(blocks: int, threads: int) -> None:
    array = np.array([0, 0, 1, -1, 2, 3, -128, 127, ENDS.max, ENDS.min], np.int64)
    bins, expected = np.full(64, 7, np.int64), np.full(64, 7, np.int64)
    for value in array.tolist():
        expected[min(abs(value).bit_length(), 63)] += 1
    extremes = np.array([ENDS.max, ENDS.min, 5, 50])
    stated = {1: expected, 2: [ENDS.min, ENDS.max, 7, 60]}
    check(kernels.observe, (array, bins, extremes), stated, blocks=blocks, threads=threads)
    narrow = np.array([-3, 5], np.int8)
    expected = np.full(64, 7, np.int64)
    expected[[2, 3]] += 1
    stated = {1: expected, 2: [-3, 5, 5, 52]}
    check(kernels.observe, (narrow, bins, extremes), stated, blocks=blocks, threads=threads)


@pytest.mark.parametrize(("blocks", "threads"), GRIDS)
def test_floats_are_counted_by_exponent(blocks: int, threads: int) -> None:
    """Bin 64 holds 1 to below 2; beyond 2^63 and below 2^-64 the outermost bins."""
    array = np.array([0, -0.0, 1, -1.99, 2, 0.75, 1e30, 1e-30, 1e-44, np.inf, -np.inf, np.nan], np.float32)
    expected = np.full(128, 7)
    for place, count in ((64, 2), (65, 1), (63, 1), (127, 1), (0, 2)):
        expected[place] += count
    given = array, np.full(128, 7), np.array([np.inf, -np.inf], np.float32), np.array([1, 10, 100])
    stated = {1: expected, 2: np.array([-1.99, 1e30], np.float32), 3: [3, 22, 103]}
    check(kernels.observe_float, given, stated, blocks=blocks, threads=threads)


def trace_of(schedule: Any, backend: str) -> Any:  # noqa: ANN401
    network, random = Network.parse(DIGITS), np.random.default_rng(1)
    data = Samples(random.integers(0, 256, (4, 16), dtype=np.uint8), random.integers(0, 3, 4))
    state = initial_state(network, schedule, 3)
    set_learning_rate(state, schedule, 0.125)
    with quick_switches():
        return backends.observing(backend)(schedule).run(state, data, np.arange(4), 0)


@pytest.mark.parametrize("fuse_by", ["none", "within_layer", "deferred"])
def test_ranges_are_those_of_the_cpu(fuse_by: str) -> None:
    schedule = training_step(Network.parse(DIGITS), "dfa", StepSettings(2), load_datapath("s8"), fuse_by=fuse_by)
    expected, found = (trace_of(schedule, name) for name in ("cpu", "cuda"))
    assert list(found.tensors) == list(expected.tensors)
    assert found.tensors == expected.tensors
    assert {"act.0", "weight.1", "signal.1"} <= found.tensors.keys()


def test_ranges_of_floats_are_those_of_the_cpu() -> None:
    schedule = training_step(Network.parse(DIGITS), "bp", StepSettings(2))
    expected, found = (trace_of(schedule, name).tensors for name in ("cpu", "cuda"))
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        there = found[name]
        assert (there.elements, there.zeros, there.not_finite) == (tensor.elements, tensor.zeros, tensor.not_finite)
        assert sum(there.histogram) == sum(tensor.histogram) == tensor.elements - tensor.zeros
        np.testing.assert_allclose([there.lowest, there.highest], [tensor.lowest, tensor.highest], rtol=1e-4, atol=1e-6)


def test_nothing_is_observed_unasked() -> None:
    schedule = training_step(Network.parse("4-3"), "bp", StepSettings(2), load_datapath("s8"))
    state = initial_state(Network.parse("4-3"), schedule, 3)
    set_learning_rate(state, schedule, 0.125)
    trace = CudaProgram(schedule).run(state, Samples(np.ones((2, 4), np.uint8), np.zeros(2, np.int64)), np.arange(2), 0)
    assert trace.sites
    assert not trace.tensors
