"""Statistics of tensors: used bits, exponents, sums; and what an observed program counts, for any number of threads."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from fasim import backends
from fasim.backends import Samples
from fasim.backends.cpu import CpuProgram
from fasim.errors import ConfigError
from fasim.fixedpoint import Fixed, load_datapath
from fasim.fixedpoint.statistics import TensorStatistics
from fasim.fixedpoint.trace import SiteCount, Trace
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import StepSettings
from fasim.state import initial_state, set_learning_rate


def of(numbers, fmt):
    """Statistics of raw integers, by their definition."""
    bins = [sum(abs(x).bit_length() == b for x in numbers) for b in range(64)]
    return TensorStatistics("t.1", "act", 1, fmt, min(numbers), max(numbers), numbers.count(0), len(numbers), tuple(bins))


def test_used_bits_are_those_of_the_narrowest_format():
    for low in range(-20, 3):
        for high in range(max(low, -3), 20):
            needed = next(bits for bits in range(1, 9) if Fixed(bits, 0).lo <= low and high <= Fixed(bits, 0).hi)
            assert of([low, high], Fixed(8, 3)).used_bits == needed
            if low >= 0:
                needed = next((bits for bits in range(1, 9) if high <= Fixed(bits, 0, signed=False).hi), 0)
                assert of([low, high], Fixed(8, 3, signed=False)).used_bits == (needed if high else 0)


@pytest.mark.parametrize("frac", [-2, 0, 5, 9])
def test_shares_and_exponents_are_those_of_the_values(frac):
    raw = [0, 1, -1, 2, -4, 7, 8, 100, -127, 0]
    found, values = of(raw, Fixed(8, frac)), [abs(x) * 2.0**-frac for x in raw]
    for exponent in range(-12, 12):
        assert found.exponents.get(exponent, 0) == sum(2.0**exponent <= x < 2.0 ** (exponent + 1) for x in values)
        assert found.share_beyond(exponent) == sum(x >= 2.0**exponent for x in values) / 10
    assert (found.min, found.max, found.largest) == (-127 * 2.0**-frac, 100 * 2.0**-frac, 127 * 2.0**-frac)
    assert found.zero_fraction == 0.2


def test_sums():
    one, two = of([1, 2, 0], Fixed(8, 3)).with_counts(1, 2), of([-5, 9, 0, 0], Fixed(8, 3)).with_counts(3, 0)
    assert one + two == of([1, 2, 0, -5, 9, 0, 0], Fixed(8, 3)).with_counts(4, 2)
    trace = Trace({"a": SiteCount(1, 1, 0)}, {"t": one})
    trace.update(Trace({}, {"t": two, "u": two}))
    assert trace.tensors == {"t": one + two, "u": two}
    assert (one + two).saturated_fraction == 6 / 7


def test_json_has_no_infinity():
    nothing = TensorStatistics("t", "act", 0, None, math.inf, -math.inf, 0, 3, (0,) * 128, not_finite=3)
    record = nothing.as_dict()
    assert (record["min"], record["max"], record["used_bits"], record["not_finite"]) == (None, None, None, 3)
    assert nothing.largest == 0
    assert nothing.share_beyond(100) == 1


SAMPLES, SIZE, STEPS = 48, 12, 4


def run(datapath, threads, rule="dfa", observe=True, net="16-9-5", **options):
    random = np.random.default_rng(3)
    codes, labels = random.integers(0, 256, (SAMPLES, 16), np.uint8), random.integers(0, 5, SAMPLES)
    network = Network.parse(net, **options)
    schedule = training_step(network, rule, StepSettings(batch_size=SIZE), load_datapath(datapath))
    state = initial_state(network, schedule, 7)
    set_learning_rate(state, schedule, 2.0**-4)
    program = CpuProgram(schedule, threads=threads, observe=observe)
    return program.run(state, Samples(codes, labels), random.permutation(SAMPLES), 0), state, schedule, program


@pytest.mark.parametrize("datapath", ["float32", "s8", "s16"])
@pytest.mark.parametrize("rule", ["dfa", "drtp"])
def test_observing_changes_nothing_and_threads_agree(datapath, rule):
    trace, state, schedule, _ = run(datapath, 1, rule)
    plain, unobserved, _, _ = run(datapath, 1, rule, observe=False)
    assert plain.tensors == {}
    assert trace.sites == plain.sites
    for name, array in state.items():
        np.testing.assert_array_equal(array, unobserved[name])
    for threads in (2, 3, 5):
        if datapath != "float32":
            assert run(datapath, threads, rule)[0].tensors == trace.tensors
    written = {value.tensor for op in schedule.ops for value in op.writes} | {"act.0"}
    assert set(trace.tensors) == written
    for name, found in trace.tensors.items():
        assert found.elements == STEPS * schedule[name].elements, name
        in_bins = sum(found.histogram) if found.format else sum(found.histogram) + found.zeros
        assert in_bins == found.elements
        assert (found.cls, found.format) == (schedule[name].cls, schedule[name].format)
    assert trace.tensors["act.1"].layer == 1


@pytest.mark.parametrize("datapath", ["float32", "s8"])
def test_the_last_step_is_what_the_buffers_hold(datapath):
    """One step: extremes and zeros of every tensor are those of its array."""
    random = np.random.default_rng(4)
    network = Network.parse("16-9-5")
    schedule = training_step(network, "fa", StepSettings(batch_size=SIZE), load_datapath(datapath))
    state = initial_state(network, schedule, 1)
    set_learning_rate(state, schedule, 2.0**-4)
    program = CpuProgram(schedule, observe=True)
    samples = Samples(random.integers(0, 256, (SIZE, 16), np.uint8), random.integers(0, 5, SIZE))
    trace = program.run(state, samples, np.arange(SIZE), 0)
    for name, found in trace.tensors.items():
        array = (program.buffers | state)[name]
        assert (found.lowest, found.highest) == (array.min(), array.max()), name
        assert found.zeros == (array == 0).sum()


def test_saturations_stand_beside_the_tensor_that_is_cast():
    s8 = load_datapath("s8")
    narrow = replace(s8, preact=replace(s8.preact, format=Fixed(4, 4)))
    schedule = training_step(Network.parse("16-9-5"), "dfa", StepSettings(batch_size=SIZE), narrow)
    state = initial_state(Network.parse("16-9-5"), schedule, 7)
    set_learning_rate(state, schedule, 2.0**-4)
    random = np.random.default_rng(5)
    samples = Samples(random.integers(0, 256, (SIZE, 16), np.uint8), random.integers(0, 5, SIZE))
    trace = CpuProgram(schedule, observe=True).run(state, samples, np.arange(SIZE), 0)
    found = trace.tensors["preact.1"]
    assert found.saturations == trace.sites["preact.1"].saturations > 0
    assert found.used_bits == 4
    assert trace.tensors["master.1"].saturations == trace.sites["update.weight.1"].saturations
    sums = [trace.tensors[tensor.name] for tensor in schedule.of_class("accumulator")]
    assert sums
    assert not any(found.saturations for found in sums)


def test_maps_and_normalisation_are_observed_whole():
    trace, state, schedule, program = run("float32", 1, "bp", net="4x4x1-3c3-2p-9-5", batch_norm=True, dropout=0.5)
    arrays = program.buffers | state
    for name in ("running_mean.1", "running_var.1", "normed.1", "map.1", "act.1", "weight.1", "gain.2"):
        assert trace.tensors[name].elements == STEPS * arrays[name].size == STEPS * schedule[name].elements, name
    assert not any(schedule[name].encoding == "mask" for name in trace.tensors)
    assert not any(schedule[op.writes[1]].name in trace.tensors for op in schedule.find("POOL"))


def test_only_the_cpu_backend_observes():
    with pytest.raises(ConfigError, match="backend reference does not observe"):
        backends.observing("reference")
