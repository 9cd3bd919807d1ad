"""Gradient, update and cast as one pass: the same state and counts as op by op, for any batch and threads."""

from __future__ import annotations

import hashlib
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fasim import backends, kernels, rules
from fasim.backends.cpu import CpuProgram
from fasim.fixedpoint import load_datapath
from fasim.fixedpoint.trace import Trace
from fasim.kernels.micro.kinds import VNNI
from fasim.kernels.micro.outer_move import SERVES
from fasim.network import Network
from fasim.schedule import FUSIONS, Schedule, StepSettings
from fasim.state import State, initial_state, set_learning_rate
from tests.assembly import INTEGER_PATHS, X86, on_path

WITHOUT_MASTER = str(Path(__file__).parents[2] / "benchmarks" / "s8_without_master.toml")
PASSES = {
    *(kernels.update_weights, kernels.update_weights_bytes, kernels.update_weights_words),
    *(kernels.update_weights_int16, kernels.update_weights_halves, kernels.update_weights_read),
    kernels.update_weights_of_one,
}
NETWORK = Network.parse("70-37-29-5")
WITH_MAPS = Network.parse("9x8x2-5c3-2p-33-5")
STEPS = 3
SEED = 3


def schedule(datapath: str, batch: int, fuse: str, rule: str = "dfa", network: Network = NETWORK) -> Schedule:
    return rules.training_step(network, rule, StepSettings(batch), load_datapath(datapath), fuse_by=fuse)


def prepared(step: Schedule, network: Network = NETWORK) -> tuple[State, backends.Samples]:
    """Return data, and initial weights of which some stand at an end of their range, so that sites saturate."""
    random = np.random.default_rng(4)
    size = STEPS * step.batch_size
    codes = random.choice(np.array([0, 1, 128, 254, 255], np.uint8), (size, network.inputs))
    data = backends.Samples(codes, random.integers(0, network.outputs, size))
    state = initial_state(network, step, SEED)
    for name, array in state.items():
        if name.startswith(("weight", "master")):
            ends = np.iinfo(array.dtype)
            array[random.random(array.shape) < 0.3] = ends.min
            array[random.random(array.shape) < 0.3] = ends.max
    set_learning_rate(state, step, 2.0**-2)
    return state, data


def trained(step: Schedule, program: Any, network: Network = NETWORK) -> tuple[State, Trace]:  # noqa: ANN401
    state, data = prepared(step, network)
    return state, program.run(state, data, np.arange(len(data.codes)), 0)


def on_cpu(datapath: str, batch: int, fuse: str, threads: int = 1) -> tuple[State, Trace]:
    step = schedule(datapath, batch, fuse)
    return trained(step, CpuProgram(step, threads=threads))


def assert_same(ours: Any, theirs: Any) -> None:  # noqa: ANN401
    assert ours[0].keys() == theirs[0].keys()
    for name, array in ours[0].items():
        np.testing.assert_array_equal(array, theirs[0][name], err_msg=name)
    assert ours[1].sites == theirs[1].sites


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 16, 64])
@pytest.mark.parametrize("datapath", ["s8", "s16", "s8_stoch", WITHOUT_MASTER])
def test_same_as_op_by_op(datapath: str, batch: int) -> None:
    apart = on_cpu(datapath, batch, "none")
    assert any(site.saturations for name, site in apart[1].sites.items() if "weight" in name)
    for threads in (1, 2, 3):
        assert_same(on_cpu(datapath, batch, "within_layer", threads), apart)
        assert_same(on_cpu(datapath, batch, "none", threads), apart)


@pytest.mark.parametrize("datapath", ["s8", "s16"])
@pytest.mark.parametrize("rule", ["bp", "drtp"])
def test_same_as_the_interpreter(rule: str, datapath: str) -> None:
    step = schedule(datapath, 3, "within_layer", rule)
    assert_same(trained(step, CpuProgram(step, threads=2)), trained(step, backends.get("reference")(step)))


def rule_on_cpu(rule: str, fuse: str, inputs: np.ndarray | None = None) -> tuple[State, Trace]:
    step = schedule("s8", 1, fuse, rule)
    state, data = prepared(step)
    order = np.arange(len(data.codes)) if inputs is None else inputs
    return state, CpuProgram(step).run(state, data, order, 5)


@pytest.mark.parametrize("rule", rules.names())
def test_deferred_single_samples_leave_the_same_state_and_counts(rule: str) -> None:
    """With the forward pass that follows; no step, one, and both parities of the buffers that take turns."""
    for order in (np.arange(0), np.arange(1), np.arange(2), np.array([2, 0, 1])):
        assert_same(rule_on_cpu(rule, "deferred", order), rule_on_cpu(rule, "none", order))


@pytest.mark.parametrize("datapath", ["s16", "s8_stoch", WITHOUT_MASTER])
def test_what_cannot_join_the_forward_pass_is_updated_before(datapath: str) -> None:
    assert_same(on_cpu(datapath, 1, "deferred"), on_cpu(datapath, 1, "none"))


@pytest.mark.skipif(not VNNI, reason="the tiles need AVX-512 VNNI")
@pytest.mark.parametrize(("rule", "stored"), [("dfa", [0, 0, 0]), ("drtp", [0, 0, 0]), ("bp", [0, 1, 1])])
def test_weights_are_stored_only_for_who_reads_them(rule: str, stored: list[int]) -> None:
    step = schedule("s8", 1, "deferred", rule)
    state, data = prepared(step)
    program = CpuProgram(step)
    calls = program.bind(state, data, program.parts.body[:1]).workers[0].table.calls
    mine = [given for kernel, given in calls if kernel is kernels.dense_forward_moved]
    assert [given[8] for given in mine] == stored
    assert not {kernels.micro.gemm_nt_uint8, kernels.micro.gemm_nt_int8} & {kernel for kernel, _ in calls}
    watched = CpuProgram(step, observe=True)
    calls = watched.bind(state, data, watched.parts.body[:1]).workers[0].table.calls
    assert kernels.dense_forward_moved not in {kernel for kernel, _ in calls}


def kernels_of(step: Schedule, **options: bool) -> list[object]:
    state, data = prepared(step)
    program = CpuProgram(step, **options)
    return [kernel for kernel, _ in program.bind(state, data, program.parts.body).workers[0].table.calls]


@pytest.mark.skipif(not SERVES, reason="the tiles need AVX-512 BW")
@pytest.mark.parametrize(
    ("datapath", "expected"),
    [
        ("s8", [kernels.update_weights_bytes if VNNI else kernels.update_weights_words] * 3),
        ("s16", [kernels.update_weights_halves, kernels.update_weights_read, kernels.update_weights_int16]),
        ("s8_stoch", [kernels.update_weights] * 3),
        (WITHOUT_MASTER, [kernels.update_weights] * 3),
    ],
)
def test_what_runs_as_one_pass(datapath: str, expected: list[object]) -> None:
    """All three layers; what is watched must be written, so that none does."""
    step = schedule(datapath, 4, "within_layer")
    assert [kernel for kernel in kernels_of(step) if kernel in PASSES] == expected
    assert not PASSES & set(kernels_of(step, observe=True))
    if datapath == "s8":
        single = kernels_of(schedule(datapath, 1, "within_layer"))
        assert [kernel for kernel in single if kernel in PASSES] == [kernels.update_weights_of_one] * 3


def digest() -> str:
    """Return a hash of what whole programs leave, states and counts, by every fusion, for batches that meet remainders."""
    found = hashlib.sha256()
    for network, datapath, batch in product((NETWORK, WITH_MAPS), ("s8", "s16"), (1, 3, 40)):
        apart = schedule(datapath, batch, "none", network=network)
        expected = trained(apart, CpuProgram(apart), network)
        for fuse in FUSIONS[1:]:
            step = schedule(datapath, batch, fuse, network=network)
            assert_same(trained(step, CpuProgram(step, threads=2), network), expected)
        for name, array in sorted(expected[0].items()):
            found.update(name.encode() + array.tobytes())
        found.update(repr(sorted(expected[1].sites.items())).encode())
    return found.hexdigest()


@X86
@pytest.mark.parametrize(("cpu", "target"), INTEGER_PATHS[::2])
def test_programs_leave_the_same_bits_on_every_path(cpu: str, target: str) -> None:
    """What is chosen as a schedule is bound depends on the CPU, too: which tiles, which updates, which layouts."""
    assert on_path(digest, cpu, target) == [digest()]
