"""Networks with maps on the CUDA backend against the CPU's: the same bits and counts, float32 within rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fasim_cuda import Tile

from fasim import backends
from fasim.backends import Samples
from fasim.backends.cuda import CudaProgram, Grid
from fasim.fixedpoint import load_datapath
from fasim.fixedpoint.trace import Trace
from fasim.network import Network
from fasim.rules import evaluation_pass, training_step
from fasim.schedule import Schedule, StepSettings
from fasim.state import State, initial_state, set_learning_rate
from tests.cuda_runs import quick_switches
from tests.fixed_bridge import Case

# threads of a block wait for each other, which takes the simulator longest: that any tile does the same is shown elsewhere
GRID = Grid(2, 1, Tile(1, 4, 8))
STEPS, SIZE = 2, 3
NORM = {"norm": {"format": "s16.12"}}
NETS = {
    "pooled": ("4x4x2-2c3-2p-3", {}),
    "two layers": ("4x4x1-2c2-2c3-3", {}),
    "strided": ("5x5x1-2c3s2-3", {}),
    "overlapping windows": ("5x4x1-2c2-2ps1-2c2-3", {}),
    "averages": ("4x4x1-2c2-2as1-4-3", {}),
    "normalised": ("4x4x1-2c2-2p-4-3", {"batch_norm": True}),
    "dropped": ("4x4x1-2c2-2p-3", {"dropout": 0.5}),
}


def both(schedule: Schedule, steps: int) -> tuple[tuple[State, Trace], tuple[State, Trace]]:
    """Return what a run leaves behind on the CPU and on the device."""
    network = Network.parse(schedule.network)
    random, count = np.random.default_rng(1), steps * SIZE
    data = Samples(
        random.integers(0, 256, (count, network.inputs), dtype=np.uint8), random.integers(0, network.outputs, count)
    )
    order, found = random.permutation(count), []
    for program in (backends.get("cpu")(schedule), CudaProgram(schedule, grid=GRID)):
        state = initial_state(network, schedule, 3)
        set_learning_rate(state, schedule, 0.125)
        with quick_switches():
            found.append((state, program.run(state, data, order, 4)))
    return found[0], found[1]


def same(schedule: Schedule, steps: int = STEPS) -> Trace:
    """Check that both backends leave the same behind."""
    (expected, counted), (found, trace) = both(schedule, steps)
    assert (trace.sites, found.keys()) == (counted.sites, expected.keys())
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        if schedule.datapath == "float32":
            np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], array, err_msg=name)
    return trace


def step_of(net: str, rule: str, datapath: str, options: dict[str, Any], folder: Any, **tables: Any) -> Schedule:  # noqa: ANN401
    case = Case(net, rule, StepSettings(SIZE), options, "s8" if datapath == "float32" else datapath, tables)
    loaded = None if datapath == "float32" else case.datapath(folder)
    return training_step(case.network, case.rule, case.settings, loaded)


@pytest.mark.parametrize("datapath", ["float32", "s8"])
@pytest.mark.parametrize("name", NETS)
def test_nets_are_those_of_the_cpu(name: str, datapath: str, tmp_path: Any) -> None:  # noqa: ANN401
    net, options = NETS[name]
    tables = NORM if "batch_norm" in options else {}
    # the statistics of three samples make last bits of float32 eight times as large in a second step
    steps = 1 if "batch_norm" in options and datapath == "float32" else STEPS
    same(step_of(net, "bp", datapath, options, tmp_path, **tables), steps)


@pytest.mark.parametrize("rule", ["fa", "dfa", "sdfa", "drtp", "kp", "lafs"])
@pytest.mark.parametrize("datapath", ["float32", "s16"])
def test_rules_are_those_of_the_cpu(rule: str, datapath: str, tmp_path: Any) -> None:  # noqa: ANN401
    same(step_of("4x4x1-2c2-2p-3-3", rule, datapath, {}, tmp_path))


@pytest.mark.parametrize(
    "tables",
    [
        {"accumulator": "11 SAT every_mac RND:11 lanes:2", "bias": {"format": "s12.10"}},
        {"accumulator": "13 WRAP end"},
    ],
    ids=str,
)
def test_registers_of_limited_width(tables: dict[str, Any], tmp_path: Any) -> None:  # noqa: ANN401
    trace = same(step_of("4x4x1-2c2-2c2-3", "bp", "s8", {}, tmp_path, **tables))
    assert any(count.saturations + count.wraps for count in trace.sites.values())


@pytest.mark.parametrize("fuse_by", ["within_layer", "deferred"])
def test_fused_and_deferred_steps(fuse_by: str) -> None:
    schedule = training_step(
        Network.parse("4x4x1-2c2-2p-3"), "dfa", StepSettings(SIZE), load_datapath("s8"), fuse_by=fuse_by
    )
    assert any(op.group for op in schedule.ops)
    same(schedule)


@pytest.mark.parametrize("datapath", ["float32", "s8"])
def test_outputs_of_an_evaluation(datapath: str, tmp_path: Any) -> None:  # noqa: ANN401
    """Maxima without their places, running statistics, and batches that are filled up."""
    case = Case("4x4x1-2c2-2p-3", "bp", StepSettings(SIZE), {"batch_norm": True}, "s8", NORM)
    loaded = None if datapath == "float32" else case.datapath(tmp_path)
    schedule = evaluation_pass(case.network, case.settings, loaded)
    state, random = case.start(schedule), np.random.default_rng(2)
    data = Samples(random.integers(0, 256, (4, 16), dtype=np.uint8), random.integers(0, 3, 4))
    expected = backends.get("cpu")(schedule).outputs(state, data)
    found = CudaProgram(schedule, grid=GRID).outputs(state, data)
    assert found.shape == (4, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-5 if datapath == "float32" else 0)
    assert np.ptp(found) > 0


def test_gradients_of_more_samples_than_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three samples by two and one: the second sum goes on from the first."""
    monkeypatch.setattr("fasim.backends.cuda_maps.WAITING_BYTES", 2 * 8 * 4)
    for datapath in ("", "s8"):
        loaded = load_datapath(datapath) if datapath else None
        same(training_step(Network.parse("3x3x1-2c2-3"), "bp", StepSettings(SIZE), loaded))


@pytest.mark.parametrize("datapath", ["float32", "s8"])
def test_a_pass_beside_the_training_leaves_running_statistics(datapath: str, tmp_path: Any) -> None:  # noqa: ANN401
    """FGSM normalises by the batch twice a step, and moves running means once."""
    case = Case("3x3x1-2c2-3", "bp", StepSettings(SIZE, fgsm=0.05), {"batch_norm": True}, "s8", NORM)
    schedule = training_step(case.network, case.rule, case.settings, case.datapath(tmp_path) if datapath == "s8" else None)
    assert sorted({len(op.writes) for op in schedule.ops if op.kind == "NORM"}) == ([2, 4] if datapath == "s8" else [3, 5])
    same(schedule, 1)
