"""The CUDA backend against the CPU's: every rule, the same bits and counts in fixed point, float32 within rounding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import fasim_cuda as kernels
import numpy as np
import pytest
from fasim_cuda import Tile

from fasim import backends, rules
from fasim.backends import Program, Samples
from fasim.backends.cuda import CudaProgram
from fasim.backends.cuda_bind import Grid
from fasim.errors import ConfigError
from fasim.fixedpoint import load_datapath
from fasim.fixedpoint.trace import Trace
from fasim.network import Network
from fasim.rules import evaluation_pass, training_step
from fasim.schedule import Schedule, StepSettings
from fasim.state import State, initial_state, set_learning_rate
from tests.cuda_runs import quick_switches
from tests.fixed_bridge import Case
from tests.fixed_cases import MOMENTUM

NET = "6-5-4-3"
STEPS, SIZE = 2, 3
GRIDS = [Grid(1, 1, Tile(2, 3, 3)), Grid(5, 3, Tile(3, 2, 5))]
TABLES: dict[str, dict[str, Any]] = {
    "a momentum": MOMENTUM,
    "exponents from the data": {"dynamic": {"error": "keep nearest", "delta": "discard"}},
    "a rate that multiplies": {"update": {"rate": "multiply:4", "rounding": "STOCH"}, "random": {"bits": 6, "half": True}},
    "a rate that divides": {
        "update": {"rate": "divide", "rounding": "RND_CONV"},
        "master": {"format": "s24.20"},
        "bias": {"format": "s24.20"},
    },
    "divided sums": {"preact": {"format": "s10.6", "divide": "4"}},
    "registers": {"accumulator": "14 SAT every_mac RND:11 lanes:2", "bias": {"format": "s12.10"}},
    "registers of sums": {"accumulator": "16 WRAP end"},
    "updates by one": {"update": {"kind": "plus_minus_one"}, "master": {"format": "s12.9"}},
}


def schedule_of(rule: str, datapath: str = "", fuse_by: str = "none") -> Schedule:
    loaded = load_datapath(datapath) if datapath else None
    return training_step(Network.parse(NET), rule, StepSettings(SIZE), loaded, fuse_by=fuse_by)


def samples(steps: int = STEPS, net: str = NET) -> tuple[Samples, np.ndarray]:
    network, random = Network.parse(net), np.random.default_rng(1)
    codes = random.integers(0, 256, (steps * SIZE, network.inputs), dtype=np.uint8)
    return Samples(codes, random.integers(0, network.outputs, steps * SIZE)), random.permutation(steps * SIZE)


def ran(program: Program, steps: int = STEPS, net: str = NET, rate: float = 0.125) -> tuple[State, Trace]:
    """Return what a run leaves behind."""
    state = initial_state(Network.parse(net), program.schedule, 3)
    set_learning_rate(state, program.schedule, rate)
    data, order = samples(steps, net)
    with quick_switches():
        return state, program.run(state, data, order, 4)


def same(schedule: Schedule, **options: Any) -> None:  # noqa: ANN401
    """Check that both backends leave the same behind."""
    (expected, counted), (found, trace) = (ran(backends.get(name)(schedule), **options) for name in ("cpu", "cuda"))
    assert (trace.sites, found.keys()) == (counted.sites, expected.keys())
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        if schedule.datapath == "float32":
            np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("datapath", ["", "s8", "s16"])
@pytest.mark.parametrize("rule", rules.names())
def test_every_rule_is_that_of_the_cpu(rule: str, datapath: str) -> None:
    same(schedule_of(rule, datapath))


@pytest.mark.parametrize("rule", ["bp", "drtp", "kp"])
def test_random_words_are_those_of_the_cpu(rule: str) -> None:
    same(schedule_of(rule, "s8_stoch"))


@pytest.mark.parametrize("datapath", ["", "s8_stoch"])
@pytest.mark.parametrize("fuse_by", ["within_layer", "deferred"])
def test_fused_and_deferred_steps(fuse_by: str, datapath: str) -> None:
    schedule = schedule_of("dfa", datapath, fuse_by)
    assert any(op.group for op in schedule.ops)
    same(schedule, steps=3)


@pytest.mark.parametrize(
    ("hidden", "settings"),
    [
        ("relu", {"loss": "cross_entropy", "clip": "value:0.1"}),
        ("sigmoid", {"loss": "mse", "fgsm": 0.05}),
        ("linear", {"weight_decay": 2.0**-6, "decay_kind": "decoupled"}),
        ("tanh", {"feedback": "uniform+k:2"}),
        ("tanh", {"feedback": "uniform+density:0.5"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("datapath", ["float32", "s8"])
def test_settings(datapath: str, hidden: str, settings: dict[str, Any], tmp_path: Any) -> None:  # noqa: ANN401
    for rule in ("dfa", "drtp") if "feedback" in settings else ("bp",):
        case = Case(NET, rule, StepSettings(SIZE, **settings), {"hidden": hidden}, datapath)
        loaded = None if datapath == "float32" else case.datapath(tmp_path)
        same(training_step(case.network, case.rule, case.settings, loaded))


@pytest.mark.parametrize("datapath", ["float32", "s8"])
@pytest.mark.parametrize(
    "options", [{"dropout": 0.5, "input_dropout": 0.25}, {"dropout": 0.5, "dropout_kind": "classical"}]
)
def test_dropout(options: dict[str, Any], datapath: str) -> None:
    if datapath != "float32" and "input_dropout" in options:
        options = {"dropout": 0.5, "input_dropout": 0.5}
    case = Case(NET, "dfa", StepSettings(SIZE), options, datapath)
    loaded = load_datapath(datapath) if datapath != "float32" else None
    same(training_step(case.network, case.rule, case.settings, loaded))


@pytest.mark.parametrize("optimizer", ["momentum", "nesterov", "rmsprop", "adam"])
def test_optimizers(optimizer: str) -> None:
    settings = StepSettings(SIZE, optimizer=optimizer, weight_decay=0.01, decay_kind="adamw")
    same(training_step(Network.parse(NET), "kp", settings), rate=0.01)


def test_targets_of_an_auto_encoder() -> None:
    for datapath in ("float32", "s8"):
        case = Case("6-4-6", "dfa", StepSettings(SIZE, target="input", loss="mse"), {}, datapath)
        loaded = load_datapath(datapath) if datapath != "float32" else None
        same(training_step(case.network, case.rule, case.settings, loaded), net="6-4-6")


@pytest.mark.parametrize("name", TABLES)
def test_datapaths(name: str, tmp_path: Any) -> None:  # noqa: ANN401
    optimizer = "momentum" if name == "a momentum" else "sgd"
    case = Case(NET, "bp", StepSettings(SIZE, optimizer=optimizer), tables=TABLES[name])
    schedule = training_step(case.network, case.rule, case.settings, case.datapath(tmp_path))
    same(schedule, rate=0.04 if "rate" in name else 0.125)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("datapath", ["", "s8_stoch"])
def test_no_division_of_the_work_changes_a_bit(datapath: str, grid: Grid) -> None:
    schedule = schedule_of("bp", datapath)
    (expected, counted), (found, trace) = (ran(CudaProgram(schedule, grid=given)) for given in (None, grid))
    assert trace.sites == counted.sites
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("datapath", ["", "s8_stoch"])
def test_outputs_of_an_evaluation(datapath: str) -> None:
    """Seven samples by batches of three: the last batch is filled up, and counts as one sample."""
    network, loaded = Network.parse(NET), load_datapath(datapath) if datapath else None
    schedule = evaluation_pass(network, StepSettings(SIZE), loaded)
    state, (data, _) = initial_state(network, schedule, 3), samples(3)
    data = Samples(data.codes[:7], data.labels[:7])
    with quick_switches():
        expected, found = (backends.get(name)(schedule).outputs(state, data) for name in ("cpu", "cuda"))
    assert found.shape == (7, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-5 if not datapath else 0)


def test_standardised_inputs() -> None:
    schedule = evaluation_pass(Network.parse(NET), StepSettings(SIZE))
    state, (data, _) = initial_state(Network.parse(NET), schedule, 3), samples(1)
    data = data._replace(gain=np.linspace(0.01, 0.02, 6, dtype=np.float32), offset=np.full(6, -0.5, np.float32))
    expected, found = (backends.get(name)(schedule).outputs(state, data) for name in ("cpu", "cuda"))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("datapath", ["", "s8"])
def test_values_of_one_batch(datapath: str) -> None:
    schedule, names = schedule_of("dfa", datapath), ["act.1", "error", "delta.2", "weight.1"]
    names = [name for name in names if schedule[name].storage != "state"]
    found = {}
    for name in ("cpu", "cuda"):
        state = initial_state(Network.parse(NET), schedule, 3)
        set_learning_rate(state, schedule, 0.125)
        found[name] = backends.get(name)(schedule).values(state, samples(1)[0], names)
    for name in names:
        np.testing.assert_allclose(found["cuda"][name], found["cpu"][name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("datapath", ["", "s8"])
def test_nothing_is_copied_between_steps(datapath: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many arrays go to the device and come back in five steps as in two."""
    copies: list[str] = []
    upload = kernels.cuda.to_device
    array_type = type(upload(np.zeros(1)))
    download = array_type.copy_to_host
    monkeypatch.setattr(kernels.cuda, "to_device", lambda *a, **o: copies.append("to") or upload(*a, **o))
    monkeypatch.setattr(array_type, "copy_to_host", lambda *a, **o: copies.append("from") or download(*a, **o))
    counts = []
    for steps in (2, 5):
        copies.clear()
        program = CudaProgram(schedule_of("dfa", datapath))
        ran(program, steps)
        counts.append((copies.count("to"), copies.count("from")))
    assert counts[0] == counts[1]
    assert all(counts[0])


@pytest.mark.parametrize("datapath", ["", "s8"])
def test_an_op_without_a_kernel_is_refused_when_the_program_is_built(datapath: str) -> None:
    schedule = schedule_of("bp", datapath)
    unknown = replace(schedule, ops=(*schedule.ops[:-1], replace(schedule.ops[-1], kind="FOURIER")))
    text = f"backend cuda has no kernel for FOURIER on the datapath {datapath or 'float32'} yet; use the backend cpu"
    with pytest.raises(ConfigError, match=text):
        CudaProgram(unknown)
