"""Float32 divided among threads, and fused: the same bits as one thread op by op."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from fasim import rules
from fasim.backends import Samples, cpu
from fasim.backends.cpu import CpuProgram
from fasim.backends.table import Call
from fasim.fixedpoint import load_datapath
from fasim.network import Network
from fasim.optimizers import OPTIMIZERS
from fasim.schedule import Schedule, StepSettings
from fasim.state import State, initial_state, set_learning_rate
from tests.schedules import ALL_RULES, DENSE_RULES, NETS

BATCH, STEPS, RATE = 5, 3, 2.0**-6
PRODUCTS = ("dense_forward", "project_error")
WIDE = "70-37-21-3"


def scheduled(
    net: str,
    rule: str,
    *,
    options: dict[str, Any] | None = None,
    batch: int = BATCH,
    fuse_by: str = "none",
    **settings: Any,
) -> tuple[Network, Schedule]:  # noqa: ANN401
    network = Network.parse(net, **(options or {}))
    return network, rules.training_step(network, rule, StepSettings(batch, **settings), fuse_by=fuse_by)


def trained(network: Network, schedule: Schedule, threads: int) -> State:
    """Return the state after some steps."""
    state = initial_state(network, schedule, 1)
    set_learning_rate(state, schedule, RATE)
    random, count = np.random.default_rng(0), schedule.batch_size * STEPS
    codes = random.integers(0, 256, (count, network.inputs), dtype=np.uint8)
    data = Samples(codes, random.integers(0, network.outputs, count))
    CpuProgram(schedule, threads=threads).run(state, data, np.arange(count), 0)
    return state


def assert_same(found: State, expected: State) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


CASES = [
    *product(ALL_RULES, [WIDE]),
    *product([rule for rule in ("bp", "dfa", "kp", "drtp", "lafs") if rule not in DENSE_RULES], NETS[-2:]),
]


@pytest.fixture(params=[cpu.LARGE_MATRIX, 1], ids=["rows", "columns"])
def divided(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of small matrices by rows of the batch, as they are, or by columns like those of large ones."""
    monkeypatch.setattr(cpu, "LARGE_MATRIX", request.param)
    monkeypatch.setattr(cpu, "deals_evenly", lambda *_: True)


@pytest.mark.usefixtures("divided")
@pytest.mark.parametrize(("rule", "net"), CASES)
def test_any_division_gives_the_same_bits(rule: str, net: str) -> None:
    network, schedule = scheduled(net, rule)
    expected = trained(network, schedule, 1)
    for threads in (2, 3):
        assert_same(trained(network, schedule, threads), expected)


@pytest.mark.parametrize(
    ("net", "settings"),
    [
        (WIDE, {"clip": "norm:0.01"}),
        (WIDE, {"clip": "value:0.001"}),
        (WIDE, {"options": {"dropout": 0.3}}),
        (WIDE, {"fgsm": 0.05}),
        (WIDE, {"options": {"batch_norm": True}}),
        ("8x8x1-4c3-2p-5-3", {"optimizer": "adam"}),
    ],
)
def test_any_division_of_what_is_between(net: str, settings: dict[str, Any]) -> None:
    network, schedule = scheduled(net, "bp", **settings)
    expected = trained(network, schedule, 1)
    for threads in (2, 3):
        assert_same(trained(network, schedule, threads), expected)


@pytest.mark.usefixtures("divided")
def test_a_large_batch_takes_the_other_order_of_additions() -> None:
    network, schedule = scheduled(WIDE, "dfa", batch=40)
    expected = trained(network, schedule, 1)
    for threads in (2, 3):
        assert_same(trained(network, schedule, threads), expected)


def calls_of_threads(
    net: str, datapath: str, threads: int, rule: str = "bp"
) -> tuple[dict[str, np.ndarray], list[list[Call]]]:
    """Return the buffers of a program, and what each thread calls in a step."""
    network = Network.parse(net)
    schedule = rules.training_step(network, rule, StepSettings(BATCH), load_datapath(datapath))
    state, program = initial_state(network, schedule, 1), CpuProgram(schedule, threads=threads)
    set_learning_rate(state, schedule, RATE)
    data = Samples(np.zeros((BATCH, network.inputs), np.uint8), np.zeros(BATCH, np.int64))
    bound = program.bind(state, data, program.parts.body)
    return program.buffers, [worker.table.calls for worker in bound.workers]


def takes(call: Call, part: np.ndarray) -> bool:
    """Tell whether an argument of a call is this part of this array."""
    return any(isinstance(one, np.ndarray) and one.__array_interface__ == part.__array_interface__ for one in call[1])


@pytest.mark.parametrize("datapath", ["float32", "s16"])
def test_large_matrices_are_divided_by_columns(datapath: str) -> None:
    """Whole vectors of them, so that no part begins within one."""
    buffers, threads = calls_of_threads("784-100-3000-10", datapath, 3)
    for name, ends in (("preact.1", (0, 32, 64, 100)), ("preact.2", (0, 992, 2000, 3000)), ("signal.1", (0, 32, 64, 100))):
        written = buffers.get(f"accumulator.{name}", buffers[name])
        for index, calls in enumerate(threads):
            mine = written[:, slice(*ends[index : index + 2])]
            assert any(takes(call, mine) for call in calls), (name, index)
    last = buffers.get("accumulator.preact.3", buffers["preact.3"])
    assert any(takes(call, last[:1]) for call in threads[0]), "30,000 weights are few"


@pytest.mark.parametrize(("net", "threads"), [("12000-10-3", 2), ("784-100-10", 5)])
def test_few_columns_leave_no_thread_without_work(net: str, threads: int) -> None:
    """They are one vector, or seven, however large the matrix: threads divide the rows."""
    buffers, calls = calls_of_threads(net, "float32", threads)
    rows = buffers["preact.1"]
    ends = [BATCH * index // threads for index in range(threads + 1)]
    for index in range(threads):
        assert any(takes(call, rows[slice(*ends[index : index + 2])]) for call in calls[index]), index
    assert [columns for columns in (16, 32, 48, 500) if cpu.deals_evenly(columns, 2)] == [32, 48, 500]


@pytest.mark.parametrize(("rule", "products"), [("bp", 5), ("strategy3", 7)])
def test_columns_lie_between_barriers(rule: str, products: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reads rows that other threads write; rows behind them are of columns that other threads write."""
    monkeypatch.setattr(cpu, "LARGE_MATRIX", 1)
    monkeypatch.setattr(cpu, "deals_evenly", lambda *_: True)
    for calls in calls_of_threads("70-37-21-17", "float32", 2, rule)[1]:
        names = [kernel.__name__ for kernel, _ in calls]
        places = [place for place, (_, given) in enumerate(calls) if names[place] in PRODUCTS and len(given[0]) == BATCH]
        assert len(places) == products
        assert {names[place + side] for place in places for side in (-1, 1)} == {"meet"}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("rule", ["bp", "dfa", "drtp", "kp"])
def test_fused_updates_are_those_op_by_op(rule: str, optimizer: str) -> None:
    network, apart = scheduled(WIDE, rule, optimizer=optimizer)
    _, fused = scheduled(WIDE, rule, optimizer=optimizer, fuse_by="within_layer")
    assert any(tensor.storage == "register" and tensor.cls == "gradient" for tensor in fused.tensors.values())
    expected = trained(network, apart, 1)
    for threads in (1, 2, 3):
        assert_same(trained(network, fused, threads), expected)
