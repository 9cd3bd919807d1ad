"""Float32 divided among threads, and fused: the same bits as one thread op by op."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from fasim import rules
from fasim.backends import Samples
from fasim.backends.cpu import CpuProgram
from fasim.network import Network
from fasim.optimizers import OPTIMIZERS
from fasim.schedule import Schedule, StepSettings
from fasim.state import State, initial_state, set_learning_rate
from tests.schedules import ALL_RULES, DENSE_RULES, NETS

BATCH, STEPS, RATE = 5, 3, 2.0**-6
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


def test_a_large_batch_takes_the_other_order_of_additions() -> None:
    network, schedule = scheduled(WIDE, "dfa", batch=40)
    expected = trained(network, schedule, 1)
    for threads in (2, 3):
        assert_same(trained(network, schedule, threads), expected)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("rule", ["bp", "dfa", "drtp", "kp"])
def test_fused_updates_are_those_op_by_op(rule: str, optimizer: str) -> None:
    network, apart = scheduled(WIDE, rule, optimizer=optimizer)
    _, fused = scheduled(WIDE, rule, optimizer=optimizer, fuse_by="within_layer")
    assert any(tensor.storage == "register" and tensor.cls == "gradient" for tensor in fused.tensors.values())
    expected = trained(network, apart, 1)
    for threads in (1, 2, 3):
        assert_same(trained(network, fused, threads), expected)
