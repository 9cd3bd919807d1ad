"""Which rules may update a layer in place, at once: those whose signals read nothing that learns.

A schedule says by its versions that every reader of the old weights comes before the update. Here the ops run in an order
that obeys true dependencies alone - a value is written before it is read - and takes every update as early as it can, over
the old value. What comes out differently was locked by the update.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fasim import rules
from fasim.backends.reference import ReferenceProgram
from fasim.network import Network
from fasim.schedule import Op, Schedule, StepSettings
from fasim.schedule import ops as kinds
from fasim.state import State, initial_state, set_learning_rate
from tests.small_runs import BATCH, CONV, samples

DEEP = "6-5-7-6-4"
# Signals of bp go through weights, those of kp and dkp through feedback that learns. Those of ifa go through weights too,
# but signal.l reads the very weight.l whose update waits for it.
LOCKED = {"bp", "kp", "dkp"}


def step(rule: str, net: str) -> Schedule:
    return rules.training_step(Network.parse(net), rule, StepSettings(BATCH))


def needs(schedule: Schedule) -> list[set[int]]:
    """Return for each op the ops that it truly depends on: those that write what it, or what they, read."""
    writer = {value: index for index, op in enumerate(schedule.ops) for value in op.writes}
    found: list[set[int]] = []
    for op in schedule.ops:
        direct = {writer[value] for value in op.reads if value in writer}
        found.append(direct.union(*(found[index] for index in direct)))
    return found


def updates(schedule: Schedule) -> list[int]:
    return [index for index, op in enumerate(schedule.ops) if op.kind == kinds.UPDATE]


def late_readers(schedule: Schedule) -> set[str]:
    """Return what an early update would spoil: tensors that an op reads for which their update does not wait.

    The forward pass is over by then, here as in `early`.
    """
    depends, found = needs(schedule), set()
    for update in updates(schedule):
        target = schedule.ops[update].reads[0]
        for index, op in enumerate(schedule.ops):
            if target in op.reads and op.phase != "forward" and index not in depends[update] | {update}:
                found.add(target.tensor)
    return found


def early(schedule: Schedule) -> tuple[Op, ...]:
    """Return the ops with the forward pass first, then whatever the next update lacks, always the nearest one."""
    depends = needs(schedule)
    order = [index for index, op in enumerate(schedule.ops) if op.phase == "forward"]
    waiting = updates(schedule)
    while waiting:
        missing = {update: sorted(depends[update] - set(order)) for update in waiting}
        nearest = min(waiting, key=lambda update: len(missing[update]))
        order += [*missing[nearest], nearest]
        waiting.remove(nearest)
    assert sorted(order) == list(range(len(schedule.ops)))
    return tuple(schedule.ops[index] for index in order)


def after(schedule: Schedule, net: str) -> State:
    """Return the state after one step in float64; the interpreter reads whatever a tensor holds at that moment."""
    network = Network.parse(net)
    state = initial_state(network, schedule, 7)
    set_learning_rate(state, schedule, 0.125)
    ReferenceProgram(schedule).run(state, samples(network, 1), np.arange(BATCH), 0)
    return state


def moved(rule: str, net: str) -> set[str]:
    """Return the tensors that updates in place, at once, bring elsewhere."""
    schedule = step(rule, net)
    one, other = after(schedule, net), after(replace(schedule, ops=early(schedule)), net)
    assert one.keys() == other.keys()
    return {name for name, array in one.items() if np.abs(array - other[name]).max() > 1e-9}


@pytest.mark.parametrize("rule", rules.names())
def test_rules_that_transport_what_learns_are_locked_and_no_others(rule: str) -> None:
    """By trying the order of early updates, and, for all orders there are, by who reads what."""
    found, late = moved(rule, DEEP), late_readers(step(rule, DEEP))
    assert bool(found) is (rule in LOCKED)
    assert bool(late) is (rule in LOCKED)
    if found:
        assert {"weight.1", "weight.2", "weight.3"} <= found
        assert "weight.4" not in found  # the output layer never waits for a signal


def test_what_locks_a_rule_is_what_its_signals_read() -> None:
    transport = {"bp": "weight.{}", "kp": "feedback.{}", "dkp": "feedback.{}"}
    for rule, name in transport.items():
        layers = (2, 3, 4) if rule == "bp" else (1, 2, 3)
        assert late_readers(step(rule, DEEP)) == {name.format(layer) for layer in layers}


def test_learnt_feedback_of_dkp_itself_is_not_late() -> None:
    """It learns from the output's delta and the activation: what is late is what the feedback sends. That of kp is both."""
    assert not any(name.startswith("feedback.") for name in moved("dkp", DEEP))
    assert {"feedback.1", "feedback.2"} <= moved("kp", DEEP)


@pytest.mark.parametrize(("rule", "locked"), [("bp", True), ("fa", False), ("kp", True), ("dfa", False), ("hybrid", True)])
def test_hybrid_is_locked_where_it_is_bp(rule: str, locked: bool) -> None:
    found = moved(rule, CONV)
    assert bool(found) is locked
    if rule == "hybrid":
        assert {"weight.1", "weight.2"} <= found
        assert "weight.3" not in found  # the dense layer has direct feedback


def test_in_ifa_only_later_updates_read_weights() -> None:
    """It would be spoiled by a layer that learns before its own signal has passed, which nothing can do."""
    schedule = step("ifa", DEEP)
    reads = {op.reads[1].tensor: op.layer for op in schedule.ops if op.kind == kinds.PROJECT_UP and op.phase == "error"}
    assert reads == {"weight.2": 2, "weight.3": 3}
    depends = needs(schedule)
    for update in updates(schedule):
        op = schedule.ops[update]
        if op.reads[0].tensor in reads:
            waited = [schedule.ops[index] for index in depends[update]]
            assert any(before.kind == kinds.PROJECT_UP and before.reads[1] == op.reads[0] for before in waited)


def test_the_new_order_does_update_early() -> None:
    """The check sees what it is meant for: in bp an update of weights now stands before their transport."""
    schedule = step("bp", DEEP)

    def places(ops: tuple[Op, ...]) -> tuple[int, int]:
        update = next(i for i, op in enumerate(ops) if op.kind == kinds.UPDATE and op.writes[0].tensor == "weight.3")
        transport = next(i for i, op in enumerate(ops) if op.kind == kinds.PROJECT and op.reads[1].tensor == "weight.3")
        return update, transport

    update, transport = places(schedule.ops)
    assert transport < update
    update, transport = places(early(schedule))
    assert update < transport
