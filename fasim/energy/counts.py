"""The exact integers of a training step: operations by kind and width, transfers by tensor class.

Which operations an op does stands on top of :mod:`fasim.energy.operations` (the rank-1 pass at N = 1 included), what it
reads and writes on top of :mod:`fasim.energy.traffic`. Ops with ``costed = False`` (diagnostics) are skipped.
"""

from __future__ import annotations

from dataclasses import dataclass

from fasim.energy.operations import MAC, OPERATIONS, Counter, Operations
from fasim.energy.options import DEFAULTS, CostOptions
from fasim.energy.traffic import WORD_BITS, Transfer, transfers
from fasim.errors import ConfigError, unknown_name
from fasim.schedule import CLASSES, PHASES, Schedule


@dataclass(frozen=True)
class Counts:
    """Operations and transfers of one step (all N samples).

    Parameters
    ----------
    operations : tuple of Operations
        One row for each op, kind and width.
    traffic : tuple of Transfer
        One row for each tensor that an op reads or writes.
    batch_size : int
        N.
    """

    operations: tuple[Operations, ...]
    traffic: tuple[Transfer, ...]
    batch_size: int

    def total(self, kind: str, phase: str | None = None) -> int:
        """Return the operations of a kind, of one phase if given.

        Raises
        ------
        ConfigError
            If the kind or the phase is unknown.
        """
        _check("operation", kind, OPERATIONS)
        _check("phase", phase, PHASES)
        rows = (row for row in self.operations if row.kind == kind and phase in (None, row.phase))
        return sum(row.count for row in rows)

    def words(self, cls: str | None = None, phase: str | None = None) -> int:
        """Return the memory words moved (reads and writes), of one tensor class and phase if given.

        Raises
        ------
        ConfigError
            If the class or the phase is unknown.
        """
        return sum(row.words for row in self._transfers(cls, phase))

    def elements(self, cls: str | None = None, phase: str | None = None) -> int:
        """Return the elements moved, like :meth:`words`."""
        return sum(row.elements for row in self._transfers(cls, phase))

    @property
    def macs(self) -> int:
        """All multiply-accumulates of the step."""
        return self.total(MAC)

    def _transfers(self, cls: str | None, phase: str | None) -> list[Transfer]:
        _check("tensor class", cls, CLASSES)
        _check("phase", phase, PHASES)
        return [row for row in self.traffic if cls in (None, row.cls) and phase in (None, row.phase)]


def count(schedule: Schedule, word_bits: int = WORD_BITS, options: CostOptions = DEFAULTS) -> Counts:
    """Count the operations and the memory traffic of a step.

    Parameters
    ----------
    schedule : Schedule
        As :func:`fasim.rules.training_step` returns it; lowered, ordered and fused if it is to be.
    word_bits : int
        Bits of one memory word.
    options : CostOptions

    Returns
    -------
    Counts

    Raises
    ------
    ScheduleError
        If an op of the schedule has no count.
    """
    counter = Counter(schedule, options)
    operations = (row for index, op in enumerate(schedule.ops) if op.costed for row in counter.operations(index))
    traffic = transfers(schedule, word_bits, options)
    return Counts(tuple(operations), tuple(traffic), schedule.batch_size)


def _check(what: str, given: str | None, known: tuple[str, ...]) -> None:
    if given is not None and given not in known:
        raise ConfigError(unknown_name(what, given, known))
