"""Populations whose replicas have numbers of their own in each launch, or maps: each is a run of its own, bit for bit."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fasim_cuda import Tile

from fasim.backends import Samples
from fasim.backends.alike import difference
from fasim.backends.cpu import CpuProgram
from fasim.backends.cuda import CudaProgram, Grid
from fasim.backends.cuda_bind import Constant, DeviceArray, Launch
from fasim.backends.cuda_merge import Scratch, merged
from fasim.backends.population import outputs_of_all, run_all
from fasim.errors import ConfigError
from fasim.network import Network
from fasim.rules import evaluation_pass, training_step
from fasim.schedule import Schedule, StepSettings
from fasim.state import State, initial_state, set_learning_rate
from tests.cuda_runs import quick_switches
from tests.fixed_bridge import Case

# threads of a block wait for each other, which takes the simulator longest: that any tile does the same is shown elsewhere
GRID = Grid(2, 1, Tile(1, 4, 8))
NET, SIZE, STEPS, FIRST = "6-5-4", 2, 3, 4
SEEDS, RATES = (3, 2**40 + 1, 5), (0.5, 0.125, 2.0)

# other binary points, roundings and overflows in the storage types of s8
POINTS: dict[str, Any] = {
    "preact": {"format": "s10.5", "rounding": "TRN", "overflow": "SAT"},
    "act": {"format": "s8.6", "rounding": "RND", "overflow": "SAT"},
    "slope": {"format": "s8.5", "rounding": "RND", "overflow": "SAT"},
    "error": {"format": "s8.5", "rounding": "RND_CONV", "overflow": "WRAP"},
    "delta": {"format": "s8.6", "rounding": "RND", "overflow": "WRAP"},
    "weight": {"format": "s8.6", "rounding": "RND", "overflow": "SAT"},
    "master": {"format": "s16.14"},
    "bias": {"format": "s16.13"},
    "update": {"rounding": "TRN", "overflow": "WRAP"},
}
LFSR = {"source": "lfsr", "width": 16}
REGISTERS = {"bias": {"format": "s12.10"}}
DATAPATHS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "points": [("s8", {}), ("s8_stoch", {}), ("s8", POINTS)],
    "registers": [
        ("s8", {"accumulator": "14 SAT every_mac RND:11 lanes:2", **REGISTERS}),
        ("s8", {"accumulator": "12 WRAP every_mac RND:11 tree:3", **REGISTERS}),
        ("s8", {"accumulator": "13 SAT end TRN:10", **REGISTERS}),
    ],
    "shift registers": [
        ("s8_stoch", {"random": {**LFSR, "taps": [16, 15, 13, 4]}}),
        ("s8_stoch", {"random": {**LFSR, "taps": [16, 14, 13, 11], "shifts": 3, "bits": 6, "half": True}}),
        ("s8_stoch", {"random": {**LFSR, "taps": [16, 15, 13, 4], "seed": 9}}),
    ],
    "exponents from the data": [
        ("s8", {"dynamic": {"error": "keep nearest", "delta": "discard"}}),
        ("s8", {"dynamic": {"error": "keep nearest", "delta": "discard"}, "weight": POINTS["weight"]}),
        ("s8", {"dynamic": {"error": "keep", "delta": "discard"}}),
    ],
}


def steps_of(name: str, rule: str, folder: Path, net: str = NET, **options: Any) -> list[Schedule]:  # noqa: ANN401
    """Return a step for each datapath of a group."""
    found = []
    for preset, tables in DATAPATHS[name]:
        case = Case(net, rule, StepSettings(SIZE), options, preset, tables)
        found.append(training_step(case.network, case.rule, case.settings, case.datapath(folder)))
    assert all(not difference(found[0], other) for other in found[1:])
    return found


def states_of(schedules: list[Schedule], net: str) -> list[State]:
    network = Network.parse(net)
    states = [initial_state(network, schedule, seed) for schedule, seed in zip(schedules, SEEDS, strict=True)]
    for state, schedule, rate in zip(states, schedules, RATES, strict=True):
        set_learning_rate(state, schedule, rate)
    return states


def samples(net: str) -> Samples:
    random, network = np.random.default_rng(2), Network.parse(net)
    codes = random.integers(0, 256, (STEPS * SIZE, network.inputs), dtype=np.uint8)
    return Samples(codes, random.integers(0, network.outputs, STEPS * SIZE))


def each_is_its_own_run(schedules: list[Schedule], net: str = NET, single: Any = CpuProgram) -> list[Any]:  # noqa: ANN401
    """Train replicas together on the device, and each alone with its own schedule; return what was counted."""
    together, alone = states_of(schedules, net), states_of(schedules, net)
    orders = [np.random.default_rng(seed).permutation(STEPS * SIZE) for seed in range(len(SEEDS))]
    made = {id(one): CudaProgram(one, grid=GRID) for one in schedules}
    with quick_switches():
        traces = run_all([made[id(one)] for one in schedules], together, samples(net), orders, FIRST)
        singles = zip(schedules, alone, orders, strict=True)
        counted = [single(one).run(state, samples(net), order, FIRST) for one, state, order in singles]
    for found, expected in zip(together, alone, strict=True):
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert [trace.sites for trace in traces] == [trace.sites for trace in counted]
    last = max(name for name in alone[0] if name.startswith("weight."))
    assert not any(np.array_equal(alone[0][last], other[last]) for other in alone[1:])
    return counted


@pytest.mark.parametrize(("name", "rule"), [("points", "bp"), ("points", "kp"), *((name, "dfa") for name in DATAPATHS)])
def test_datapaths_of_one_width(name: str, rule: str, tmp_path: Path) -> None:
    counted = each_is_its_own_run(steps_of(name, rule, tmp_path))
    if name == "points":
        assert len({(trace.total.saturations, trace.total.wraps) for trace in counted}) == len(SEEDS)


def test_outputs_have_the_binary_point_of_their_replica(tmp_path: Path) -> None:
    """Of the third, whose outputs have one fraction bit less, a raw 1 is worth twice as much; rows are its own."""
    schedules = []
    for preset, tables in DATAPATHS["points"]:
        case = Case(NET, "bp", StepSettings(SIZE), {}, preset, tables)
        schedules.append(evaluation_pass(case.network, case.settings, case.datapath(tmp_path)))
    data, states = samples(NET), states_of(steps_of("points", "bp", tmp_path), NET)
    rows = [np.random.default_rng(seed).permutation(len(data.codes))[:3] for seed in SEEDS]
    with quick_switches():
        found = outputs_of_all([CudaProgram(one, grid=GRID) for one in schedules], states, data, rows)
    expected = outputs_of_all([CpuProgram(one) for one in schedules], states, data, rows)
    np.testing.assert_array_equal(found, expected)
    assert found[0].shape == (3, 4)


@pytest.mark.parametrize(("rule", "datapath"), [("dfa", None), ("dfa", "s8"), ("drtp", "s8")])
def test_feedback_of_other_scales(rule: str, datapath: str | None) -> None:
    """In fixed point the matrix has another binary point, and so has the signal that it brings."""
    schedules = []
    for family in ("uniform", "uniform+scale:0.25", "uniform+scale:3"):
        case = Case(NET, rule, StepSettings(SIZE, feedback=family))
        loaded = None if datapath is None else case.datapath(Path())
        schedules.append(training_step(case.network, rule, case.settings, loaded))
    assert all(not difference(schedules[0], other) for other in schedules[1:])
    single = partial(CudaProgram, grid=GRID) if datapath is None else CpuProgram
    each_is_its_own_run(schedules, single=single)


MAPS = {
    "pooled": ("4x4x2-2c3-2p-3", {}, ""),
    "strided averages": ("5x5x1-2c2s2-2as1-3", {}, ""),
    "normalised": ("4x4x1-2c2-2p-3", {"batch_norm": True}, "norm:1.0"),
}


@pytest.mark.parametrize("datapath", ["float32", "s8"])
@pytest.mark.parametrize("name", MAPS)
def test_maps(name: str, datapath: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients of two samples wait to be added up in a single network, of one sample beside two others."""
    net, options, clip = MAPS[name]
    tables = {"norm": {"format": "s16.12"}} if options else {}
    settings = StepSettings(SIZE, clip=clip if datapath == "float32" else "")
    case = Case(net, "bp", settings, options, tables=tables)
    schedule = training_step(case.network, "bp", settings, None if datapath == "float32" else case.datapath(tmp_path))
    largest = max(tensor.elements for tensor in schedule.of_class("gradient") if len(tensor.shape) == 4)
    monkeypatch.setattr("fasim.backends.cuda_maps.WAITING_BYTES", SIZE * 4 * largest)
    # fewer parts of the squares of all gradients, which the simulator adds up one thread at a time
    monkeypatch.setattr("fasim.backends.cuda_float.NORM_PARTS", 4)
    single = partial(CudaProgram, grid=GRID) if datapath == "float32" else CpuProgram
    each_is_its_own_run([schedule] * 3, net, single)


def test_maps_of_datapaths_of_one_width(tmp_path: Path) -> None:
    net = "4x4x1-2c2-2p-3"
    each_is_its_own_run(steps_of("points", "bp", tmp_path, net), net)


def test_memory_of_a_replica_holds_what_ops_need_for_themselves() -> None:
    """Of a convolution of 2 x 2 x 1 to 2 maps the gradients of samples wait, each 8 numbers beside the 8 of their sum."""
    dense, maps = (training_step(Network.parse(net), "bp", StepSettings(SIZE)) for net in ("9-5-3", "4x4x1-2c2-3"))
    for schedule, waiting in ((dense, 0), (maps, SIZE * 8 * 4)):
        tensors = [one for one in schedule.tensors.values() if one.storage in ("state", "temp")]
        own = sum(4 * one.elements for one in tensors) + SIZE * (4 * Network.parse(schedule.network).inputs + 8)
        # sums of the gradients of biases by stretches of rows, two maps of 9 pixels a sample
        stretches = 5 * 2 * 4 if waiting else 0
        assert CudaProgram(schedule).replica_bytes == own + waiting + stretches


class Kernel:
    """A kernel that is never launched."""

    def __init__(self, name: str) -> None:
        self.__name__ = name


def test_numbers_that_differ_become_entries_and_constants_stay_one() -> None:
    kernel, array = Kernel("twice"), DeviceArray(np.zeros((3, 2), np.int8))  # type: ignore[arg-type]
    view = array.reshape(2, 1)

    def launch(shift: int, scale: float, same: int) -> list[Launch]:
        constants = Constant(np.full((1, 1), 7)), Constant(np.full((1, 1), shift))
        arguments = array.reshape(2, 1), shift, np.float32(scale), same, shift > 1, *constants
        return [Launch(kernel, arguments, 2)]  # type: ignore[arg-type]

    def found(*given: list[Launch]) -> Any:  # noqa: ANN401
        ((_, arguments, extent),) = merged(given, [0, 1, 0], lambda one: DeviceArray(one))  # type: ignore[arg-type]
        assert extent == 2
        return [one.array if isinstance(one, DeviceArray) else one for one in arguments]

    parts = found(launch(1, 0.5, 4), launch(2, 0.5, 4))
    assert parts[0].shape == view.array.shape
    kinds = [(one.dtype.str, one.tolist()) for one in parts[1:]]
    assert kinds == [
        ("<i8", [1, 2, 1]),
        ("<f4", [0.5]),
        ("<i8", [4]),
        ("|b1", [False, True, False]),
        ("<i8", [[7]]),
        ("<i8", [[1], [2], [1]]),
    ]
    assert found(launch(1, 0.5, 4), launch(1, 0.5, 4))[1:5] == [1, np.float32(0.5), 4, False]


def test_other_kernels_or_arrays_are_no_population() -> None:
    one, other = (DeviceArray(np.zeros((3, 2))) for _ in range(2))  # type: ignore[arg-type]
    first, second = Kernel("first"), Kernel("second")
    base = [Launch(first, (one,), 2)]  # type: ignore[arg-type]
    for launches in ([Launch(second, (one,), 2)], [Launch(first, (other,), 2)], [Launch(first, (one,), 3)], []):  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="need other kernels than first; train them apart"):
            merged([base, launches], [0, 1], lambda array: DeviceArray(array))  # type: ignore[arg-type]
    scratch = Scratch(lambda size, dtype: DeviceArray(np.zeros((3, size), dtype)))  # type: ignore[arg-type]
    made = scratch.zeros(4, np.int64)
    scratch.rewind()
    assert scratch.zeros(4, np.int64) is made
    scratch.rewind()
    with pytest.raises(ConfigError, match="arrays of 4 and of 5; train them apart"):
        scratch.zeros(5, np.int64)
