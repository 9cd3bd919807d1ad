"""Dependencies between ops, and the order that follows from them.

An op depends on the writers of what it reads, and - because updates work in place - on every reader of the version that
it overwrites. ``eager`` updates a layer as soon as its own forward pass is through and its update waits for no other:
update-unlocked rules such as DRTP then free a layer's tensors at once, locked ones cannot. ``phased`` runs all forward
ops, then error, gradient, update.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from fasim.errors import ConfigError, ScheduleError, unknown_name
from fasim.schedule.values import PHASES, Op, Schedule, Value

ORDERS = ("eager", "phased")


def dependencies(ops: tuple[Op, ...]) -> list[frozenset[int]]:
    """Return, for each op, the indices of the ops that must run before it."""
    writer: dict[Value, int] = {}
    readers: dict[Value, list[int]] = defaultdict(list)
    for index, op in enumerate(ops):
        for value in op.writes:
            if value in writer:
                raise ScheduleError(f"{value} is written twice, by ops {writer[value]} and {index}; write a new version")
            writer[value] = index
        for value in (*op.reads, *op.scalars):
            readers[value].append(index)
    before: list[set[int]] = [{writer[value] for value in (*op.reads, *op.scalars) if value in writer} for op in ops]
    for value, index in writer.items():
        if value.version:
            old = Value(value.tensor, value.version - 1)
            before[index].update(readers[old])
            if old in writer:
                before[index].add(writer[old])
    return [frozenset(indices - {index}) for index, indices in enumerate(before)]


def order(schedule: Schedule, how: str = "eager") -> Schedule:
    """Return the schedule with its ops in `how` order; ops of one fusion group stay together.

    Parameters
    ----------
    schedule : Schedule
    how : str
        ``eager`` or ``phased``.

    Raises
    ------
    ScheduleError
        If the ops depend on each other in a circle.
    """
    if how not in ORDERS:
        raise ConfigError(unknown_name("order", how, ORDERS))
    nodes, before = _nodes(schedule.ops)
    if how == "phased":
        rank = [max(PHASES.index(schedule.ops[i].phase) for i in node) for node in nodes]
        wanted: Iterable[int] = sorted(range(len(nodes)), key=lambda n: (rank[n], n))
        sequence = _in_order(wanted, before)
    else:
        sequence = _eager(schedule.ops, nodes, before)
    ops = tuple(schedule.ops[index] for node in sequence for index in nodes[node])
    return replace(schedule, ops=ops, order=how)


def _nodes(ops: tuple[Op, ...]) -> tuple[list[list[int]], list[set[int]]]:
    """Return fusion groups (or single ops) as nodes, and the nodes that must come before each."""
    nodes: list[list[int]] = []
    node_of: dict[int, int] = {}
    by_group: dict[str, int] = {}
    for index, op in enumerate(ops):
        node = by_group.get(op.group) if op.group else None
        if node is None:
            node = len(nodes)
            nodes.append([])
            if op.group:
                by_group[op.group] = node
        nodes[node].append(index)
        node_of[index] = node
    before: list[set[int]] = [set() for _ in nodes]
    for index, indices in enumerate(dependencies(ops)):
        before[node_of[index]].update(node_of[other] for other in indices)
    for node, others in enumerate(before):
        others.discard(node)
    return nodes, before


def _in_order(wanted: Iterable[int], before: list[set[int]], done: dict[int, None] | None = None) -> list[int]:
    """Return the nodes in the wanted sequence, each preceded by whatever it needs and is not done; mark them done."""
    done = {} if done is None else done
    already = len(done)
    for start in wanted:
        stack: list[tuple[int, list[int]]] = [(start, sorted(before[start]))]
        open_nodes = {start}
        while stack:
            node, needed = stack[-1]
            needed[:] = [other for other in needed if other not in done]
            if node in done or not needed:
                done.setdefault(node)
                open_nodes.discard(node)
                stack.pop()
                continue
            following = needed.pop(0)
            if following in open_nodes:
                raise ScheduleError(f"ops depend on each other in a circle (node {following}); check reads and writes")
            open_nodes.add(following)
            stack.append((following, sorted(before[following])))
    return list(itertools.islice(done, already, None))


def _eager(ops: tuple[Op, ...], nodes: list[list[int]], before: list[set[int]]) -> list[int]:
    """Return nodes so that each update comes once the forward ops of its layer and all that feed it have run."""
    forward = [n for n, node in enumerate(nodes) if all(ops[i].phase == "forward" for i in node)]
    of_layer: dict[int, int] = defaultdict(int)
    for node in forward:
        of_layer[ops[nodes[node][0]].layer] |= 1 << node
    all_forward = sum(1 << node for node in forward)
    reach = _reach(before)
    # the forward nodes that each update waits for; one is ready when all its bits have run
    waiting = {
        n: (reach[n] & all_forward) | of_layer[ops[node[0]].layer]
        for n, node in enumerate(nodes)
        if any(ops[i].phase == "update" for i in node)
    }
    done: dict[int, None] = {}
    run = 0
    for node in forward:
        for other in _in_order([node], before, done):
            run |= 1 << other
        ready = [update for update, waits in waiting.items() if not waits & ~run]
        for update in ready:
            del waiting[update]
        _in_order(ready, before, done)
    _in_order(range(len(nodes)), before, done)
    return list(done)


def _reach(before: list[set[int]]) -> list[int]:
    """Return, for each node, the bits of all nodes that it depends on, directly or not."""
    reach = [0] * len(before)
    for node in _in_order(range(len(before)), before):
        for other in before[node]:
            reach[node] |= reach[other] | 1 << other
    return reach


def ancestors(schedule: Schedule) -> list[frozenset[int]]:
    """Return, for each op, the indices of all ops that it depends on, directly or not."""
    reach = _reach([set(indices) for indices in dependencies(schedule.ops)])
    return [frozenset(i for i in range(bits.bit_length()) if bits >> i & 1) for bits in reach]
