"""A population on the device: every replica has the bits, and the counts, of a run of its own."""

from __future__ import annotations

from typing import Any

import fasim_cuda as kernels
import numpy as np
import pytest
from fasim_cuda import Tile

from fasim.backends import Samples
from fasim.backends.cpu import CpuProgram
from fasim.backends.cuda import CudaProgram
from fasim.backends.cuda_bind import Grid
from fasim.backends.population import largest, outputs_of_all, run_all
from fasim.fixedpoint import load_datapath
from fasim.network import Network
from fasim.rules import evaluation_pass, training_step
from fasim.schedule import Schedule, StepSettings
from fasim.state import State, initial_state, set_learning_rate
from tests.cuda_runs import quick_switches
from tests.fixed_bridge import Case

NET = "6-5-4"
STEPS, SIZE, FIRST = 4, 2, 7
SEEDS = (3, 2**40 + 1, 5)
RATES = (0.125, 0.5, 2.0**-6)
RULES = ("bp", "dfa", "drtp", "kp", "lafs")


def schedule_of(rule: str, datapath: str, *, settings: StepSettings | None = None, net: str = NET) -> Schedule:
    loaded = None if datapath == "float32" else load_datapath(datapath)
    return training_step(Network.parse(net), rule, settings or StepSettings(SIZE), loaded)


def samples() -> Samples:
    random = np.random.default_rng(2)
    codes = random.integers(0, 256, (STEPS * SIZE, 6), dtype=np.uint8)
    return Samples(codes, random.integers(0, 4, STEPS * SIZE))


def states_of(schedule: Schedule, rates: tuple[float, ...] = RATES, net: str = NET) -> list[State]:
    """Return fresh states: of each replica its own seed, and so weights and feedback, and its own learning rate."""
    states = [initial_state(Network.parse(net), schedule, seed) for seed in SEEDS]
    for state, rate in zip(states, rates, strict=True):
        set_learning_rate(state, schedule, rate)
    return states


def orders() -> list[np.ndarray]:
    return [np.random.default_rng(seed).permutation(STEPS * SIZE) for seed in range(len(SEEDS))]


def differs(states: list[State]) -> bool:
    """Return whether the replicas' weights differ: else a mixed-up replica would not show."""
    last = max(name for name in states[0] if name.startswith(("weight.", "bias.")))
    return all(not np.array_equal(a[last], b[last]) for a, b in zip(states, [*states[1:], states[0]], strict=True))


def same(found: list[State], expected: list[State]) -> None:
    for state, stated in zip(found, expected, strict=True):
        assert state.keys() == stated.keys()
        for name, array in stated.items():
            np.testing.assert_array_equal(state[name], array, err_msg=name)


def each_is_its_own_run(schedule: Schedule, net: str = NET, rates: tuple[float, ...] = RATES, **options: Any) -> None:  # noqa: ANN401
    """Train three replicas at once and each alone, on the device."""
    program, alone = CudaProgram(schedule, **options), CudaProgram(schedule)
    together, single = states_of(schedule, rates, net), states_of(schedule, rates, net)
    with quick_switches():
        traces = program.run_together(together, samples(), orders(), FIRST)
        counted = [alone.run(state, samples(), order, FIRST) for state, order in zip(single, orders(), strict=True)]
    same(together, single)
    assert [trace.sites for trace in traces] == [trace.sites for trace in counted]
    assert differs(together)


@pytest.mark.parametrize("datapath", ["float32", "s8", "s8_stoch"])
@pytest.mark.parametrize("rule", RULES)
def test_every_replica_is_its_own_run(rule: str, datapath: str) -> None:
    each_is_its_own_run(schedule_of(rule, datapath))


@pytest.mark.parametrize("datapath", ["float32", "s8_stoch"])
def test_no_division_of_the_work_changes_a_bit(datapath: str) -> None:
    each_is_its_own_run(schedule_of("dfa", datapath), grid=Grid(3, 2, Tile(2, 1, 3)))


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_state_of_an_optimizer(optimizer: str) -> None:
    settings = StepSettings(SIZE, optimizer=optimizer)
    each_is_its_own_run(schedule_of("dfa", "float32", settings=settings), rates=(0.01, 0.02, 0.03))


def test_dropout_and_sparse_feedback() -> None:
    case = Case("6-5-5-4", "dfa", StepSettings(SIZE, feedback="uniform+k:2"), {"dropout": 0.5}, "float32")
    schedule = training_step(case.network, case.rule, case.settings, None)
    each_is_its_own_run(schedule, "6-5-5-4")


TABLES: dict[str, dict[str, Any]] = {
    "exponents from the data": {"dynamic": {"error": "keep nearest", "delta": "discard"}},
    "registers": {"accumulator": "14 SAT every_mac RND:11 lanes:2", "bias": {"format": "s12.10"}},
}


@pytest.mark.parametrize("name", TABLES)
def test_datapaths(name: str, tmp_path: Any) -> None:  # noqa: ANN401
    """What a step chooses from a replica's own numbers, or counts in its registers, stays with that replica."""
    case = Case(NET, "bp", StepSettings(SIZE), tables=TABLES[name])
    each_is_its_own_run(training_step(case.network, case.rule, case.settings, case.datapath(tmp_path)))


@pytest.mark.parametrize("rule", ["bp", "kp"])
def test_fixed_point_and_its_counts_are_those_of_the_cpu(rule: str) -> None:
    schedule, rates = schedule_of(rule, "s8_stoch"), (8.0, 0.125, 32.0)
    together, single = states_of(schedule, rates), states_of(schedule, rates)
    with quick_switches():
        traces = run_all([CudaProgram(schedule)] * 3, together, samples(), orders(), FIRST)
    counted = run_all([CpuProgram(schedule)] * 3, single, samples(), orders(), FIRST)
    same(together, single)
    assert [trace.sites for trace in traces] == [trace.sites for trace in counted]
    assert len({trace.total.saturations for trace in counted}) == len(SEEDS)


@pytest.mark.parametrize("datapath", ["float32", "s8_stoch"])
def test_outputs_of_every_replica(datapath: str) -> None:
    """Seven samples by batches of two, gathered once for all replicas."""
    loaded = None if datapath == "float32" else load_datapath(datapath)
    schedule = evaluation_pass(Network.parse(NET), StepSettings(SIZE), loaded)
    program, data = CudaProgram(schedule), samples()
    states = [initial_state(Network.parse(NET), schedule, seed) for seed in SEEDS]
    data = Samples(data.codes[:7], data.labels[:7])
    with quick_switches():
        found = outputs_of_all([program] * 3, states, data)
        gathered = program.buffers[schedule.given("act")].replicas
        expected = [program.outputs(state, data) for state in states]
    np.testing.assert_array_equal(found, expected)
    assert found[0].shape == (7, 4)
    assert gathered == 1


def test_a_program_goes_from_one_to_several_and_back() -> None:
    schedule = schedule_of("dfa", "s8")
    program, (first, *_), states = CudaProgram(schedule), states_of(schedule), states_of(schedule)
    order = orders()[0]
    with quick_switches():
        program.run_together(states, samples(), [order] * 3, FIRST)
        program.run(first, samples(), order, FIRST)
    same(states[:1], [first])


@pytest.mark.parametrize("same_order", [True, False])
def test_nothing_is_copied_between_steps_and_the_data_are_there_once(
    same_order: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = schedule_of("dfa", "s8")
    uploaded, downloads = [], []
    upload = kernels.cuda.to_device
    array_type = type(upload(np.zeros(1)))
    download = array_type.copy_to_host
    monkeypatch.setattr(kernels.cuda, "to_device", lambda array: uploaded.append(array) or upload(array))
    monkeypatch.setattr(array_type, "copy_to_host", lambda array: downloads.append(array) or download(array))
    counts = []
    for steps in (2, 4):
        uploaded.clear(), downloads.clear()
        taken = [(orders()[0] if same_order else order)[: steps * SIZE] for order in orders()]
        with quick_switches():
            CudaProgram(schedule).run_together(states_of(schedule), samples(), taken, 0)
        codes = [array for array in uploaded if array.shape[-1] == 6 and array.dtype == np.uint8 and array.shape[-2] == 8]
        assert [array.shape for array in codes] == [(1, 8, 6)]
        counts.append((len(uploaded), len(downloads)))
    assert counts[0] == counts[1]
    assert all(counts[0])


def test_how_many_replicas_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 6-5-4 in float32, two samples a step: 59 numbers are learnt, and the step keeps the others."""
    program = CudaProgram(schedule_of("bp", "float32"))
    numbers = {
        "weights and biases": 35 + 24,
        "gradients": 35 + 24,
        "samples": SIZE * 6,
        "preact, act, slope, delta and signal of 5": SIZE * 5 * 5,
        "preact, output and error of 4": SIZE * 3 * 4,
    }
    assert program.replica_bytes == 4 * sum(numbers.values()) + 8 * SIZE
    monkeypatch.setattr(kernels, "free_bytes", lambda: 10 * program.replica_bytes)
    assert largest([program]) == 8
    assert largest([program, program]) == 4
    assert largest([program], beside=program.replica_bytes) == 4
    monkeypatch.setattr(kernels, "free_bytes", lambda: 10)
    assert largest([program]) == 1
    monkeypatch.setattr(kernels, "free_bytes", lambda: 10**15)
    assert largest([program]) == 65535
    assert largest([program, CpuProgram(schedule_of("bp", "float32"))]) == 1
