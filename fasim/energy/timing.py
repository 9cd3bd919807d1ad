"""How long a step takes: cycles of each op, and what of it can go on at once.

An op takes as long as the slower of its arithmetic and its memory::

    matrix product   on an array: the closed forms of fasim.energy.systolic; else products / macs_per_cycle of its phase;
                     additions where an operand is a sign take as long as products
    sparse products  on an array: products / elements_per_cycle; else as a matrix product
    all others       elements / elements_per_cycle: a lane shifts, rounds and limits a number in one pass
    memory           words / words_per_cycle, of each memory that states its ports

What the processor's file does not state takes no time, and is named in :attr:`Timing.untimed`. Three latencies follow from
the schedule's dependencies alone:

- ``serial``: one op after the other, as one core does it.
- ``parallel``: any number of cores, an op begins when all that it needs is there: what a rule's locking leaves.
  Under backpropagation the layers wait for each other (backward locking), direct feedback serves them all at once, and
  without update locking a layer learns while the next one runs.
- ``pipelined``: cycles from one batch to the next where one core runs forward and a second does the rest of the batch
  before, on weights that are a step old (as PDFA: Han et al., VLSI 2019).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from fasim.energy.counts import Counts
from fasim.energy.gemms import gemms
from fasim.energy.hierarchy import Move
from fasim.energy.operations_fixed import ADD, MAC, RNG_BITS
from fasim.energy.ports import array_of
from fasim.energy.processor import Processor
from fasim.energy.systolic import cycles as systolic_cycles
from fasim.schedule import PHASES, Schedule
from fasim.schedule import ops as op_kinds
from fasim.schedule.order import dependencies

_SPARSE = (op_kinds.PROJECT_ELL, op_kinds.PROJECT_CSR)


@dataclass(frozen=True)
class OpTime:
    """Cycles of one op.

    Parameters
    ----------
    op : int
        Index in the schedule.
    phase : str
    layer : int
    arithmetic, memory : int
        Cycles of each; the op takes the larger.
    products : int
        Multiply-accumulates, or additions in their place.
    """

    op: int
    phase: str
    layer: int
    arithmetic: int
    memory: int
    products: int

    @property
    def cycles(self) -> int:
        """What the op takes."""
        return max(self.arithmetic, self.memory)


@dataclass(frozen=True)
class Timing:
    """How long one step takes.

    Parameters
    ----------
    serial_cycles, parallel_cycles, pipelined_cycles : int
        See the top of this module; of the whole step of N samples.
    fastest_cycles, slowest_cycles : int
        Serial cycles at the other ends of what the processor states.
    phase_cycles : dict of int
        One op after the other, by phase.
    memory_bound_cycles : int
        Serial cycles of the ops that wait for their memory.
    utilisation : float
        Products over what the arithmetic could have done in the serial cycles; 0 where that is not stated.
    clock_hz : float
        0 where none is stated.
    untimed : tuple of str
        What the processor does not state and therefore takes no time here.
    ops : tuple of OpTime
    """

    serial_cycles: int
    fastest_cycles: int
    slowest_cycles: int
    parallel_cycles: int
    pipelined_cycles: int
    phase_cycles: dict[str, int]
    memory_bound_cycles: int
    utilisation: float
    clock_hz: float
    untimed: tuple[str, ...]
    ops: tuple[OpTime, ...]


def time_step(schedule: Schedule, counts: Counts, moves: Iterable[Move], processor: Processor) -> Timing | None:
    """Return how long a step takes, or None if the processor states nothing of its speed.

    Parameters
    ----------
    schedule : Schedule
    counts : Counts
        Of this schedule.
    moves : iterable of Move
        What crosses the memories' ports.
    processor : Processor

    Returns
    -------
    Timing or None
    """
    typical = _step(schedule, counts, moves, processor, "typical")
    if typical is None:
        return None
    ends = [_step(schedule, counts, moves, processor, end) for end in ("low", "high")]
    cycles = [end.serial_cycles for end in ends if end is not None]
    return replace(typical, fastest_cycles=min(cycles), slowest_cycles=max(cycles))


def _step(schedule: Schedule, counts: Counts, moves: Iterable[Move], processor: Processor, end: str) -> Timing | None:
    """Return the time at one end of what the processor states."""
    speed = {name: getattr(constant, end) for name, constant in processor.timing.items()}
    array = array_of(processor)
    per_mac = {name.rpartition("_")[2]: value for name, value in speed.items() if name.startswith("macs_per_cycle")}
    if array is None and not per_mac:
        return None
    lanes = speed.get("elements_per_cycle", 0.0)
    dense = {gemm.op: gemm for gemm in gemms(schedule)}
    waits = _memory_cycles(moves, processor, len(schedule.ops), end)
    times, untimed = [], set()
    for index, (op, (made, elements)) in enumerate(zip(schedule.ops, _work(schedule, counts, dense), strict=True)):
        if array is not None and index in dense:
            taken = float(systolic_cycles(dense[index], array))
        elif array is None and made:
            # a phase whose rate no one has measured is taken at the slowest that is
            taken = made / per_mac.get(op.phase, min(per_mac.values()))
        else:
            taken, elements = 0.0, elements + made
        if lanes:
            taken += elements / lanes
        elif elements:
            untimed.add("operations on elements")
        times.append(OpTime(index, op.phase, op.layer, math.ceil(taken), waits[index], made))
    peak = array.rows * array.columns if array is not None else max(per_mac.values())
    phases = {phase: sum(time.cycles for time in times if time.phase == phase) for phase in PHASES}
    serial = sum(phases.values())
    return Timing(
        serial_cycles=serial,
        fastest_cycles=serial,
        slowest_cycles=serial,
        parallel_cycles=_critical_path(schedule, times),
        pipelined_cycles=max(phases["forward"], serial - phases["forward"]),
        phase_cycles=phases,
        memory_bound_cycles=sum(time.cycles for time in times if time.memory > time.arithmetic),
        utilisation=sum(time.products for time in times) / (serial * peak) if serial else 0.0,
        clock_hz=speed.get("clock", 0.0),
        untimed=(*untimed, *(f"the ports of {level.name}" for level in processor.levels if level.words_per_cycle is None)),
        ops=tuple(times),
    )


def _work(schedule: Schedule, counts: Counts, dense: Mapping[int, object]) -> list[tuple[int, int]]:
    """Return, for each op, the products that it makes and the elements that it works on besides."""
    by_kind: list[dict[str, int]] = [{} for _ in schedule.ops]
    for row in counts.operations:
        if row.kind != RNG_BITS:
            by_kind[row.op][row.kind] = max(by_kind[row.op].get(row.kind, 0), row.count)
    work = []
    for index, (op, kinds) in enumerate(zip(schedule.ops, by_kind, strict=True)):
        # additions in the place of products where an operand is a sign
        matrix = index in dense or op.kind in _SPARSE
        made = kinds.pop(MAC if MAC in kinds or not matrix else ADD, 0)
        sizes = (schedule[value].elements for value in (op.writes if index in dense else (op.reads[0], *op.writes)))
        work.append((made, max(sizes) if kinds else 0))
    return work


def _memory_cycles(moves: Iterable[Move], processor: Processor, ops: int, end: str) -> list[int]:
    """Return the cycles that the slowest memory needs for each op."""
    words: dict[tuple[int, int], int] = {}
    for move in moves:
        key = (move.transfer.op, move.level)
        words[key] = words.get(key, 0) + move.words
    cycles = [0] * ops
    for (op, level), number in words.items():
        ports = processor.levels[level].words_per_cycle
        if ports is not None:
            cycles[op] = max(cycles[op], math.ceil(number / getattr(ports, end)))
    return cycles


def _critical_path(schedule: Schedule, times: list[OpTime]) -> int:
    """Return when the last op ends if each begins as soon as all that it depends on has ended."""
    ends: list[int] = []
    for time, before in zip(times, dependencies(schedule.ops), strict=True):
        ends.append(time.cycles + max((ends[index] for index in before), default=0))
    return max(ends, default=0)
