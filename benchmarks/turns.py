"""Timing of contenders in turns, A B A B, so that all of them meet the same machine, busy or idle."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

Clock = Callable[[], float]

# What the start of a run costs - binding kernels, once an epoch in a training - may take this share of a turn at most,
MAX_START_SHARE = 0.05
# and a turn becomes no longer than this to get there.
MAX_TURN_S = 2.0
TRIALS = 3
# What runs of so many steps do, longer ones do too: in the second, a deferred update is bound, and compiled.
FEW = 2
# A trial run of at least this part of a turn tells how many steps a turn holds.
GROWTH = 4


class Contender(Protocol):
    """What is timed."""

    def restart(self) -> None:
        """Go back to the initial state; not timed."""

    def run(self, steps: int) -> None:
        """Do the work of so many steps."""


class Loop:
    """A contender without a state: a call, as often as there are steps."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call

    def restart(self) -> None:
        """Nothing is to be restored."""

    def run(self, steps: int) -> None:
        """Call it."""
        for _ in range(steps):
            self.call()


class Times(NamedTuple):
    """Seconds a step, one of each round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The one that counts."""
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        """What an undisturbed machine would come near to."""
        return min(self.seconds)


def clock_of(threads: int) -> Clock:
    """Return the clock for so many threads.

    One thread: CPU time, which does not run while another process has the core. Of the whole process, so that work
    that a contender hands to a thread of its own counts. More threads: wall clock.
    """
    return time.process_time if threads == 1 else time.perf_counter


def timed(contender: Contender, steps: int, clock: Clock) -> float:
    """Return the seconds of one turn."""
    contender.restart()
    begin = clock()
    contender.run(steps)
    return clock() - begin


def steps_of_a_turn(contender: Contender, turn_s: float, clock: Clock) -> int:
    """Return how many steps fill a turn.

    Found by runs that grow until they last long enough to be believed on a busy machine and until the start counts for
    less than the steps. A turn is longer than asked for where a run's start would take more than `MAX_START_SHARE` of it.
    """
    contender.restart()
    contender.run(FEW)  # compiles, or fills caches
    few = min(timed(contender, FEW, clock) for _ in range(TRIALS))
    steps, seconds = FEW, few
    while seconds < min(max(turn_s / GROWTH, 2 * few), MAX_TURN_S):
        steps *= GROWTH
        seconds = timed(contender, steps, clock)
    step = few / FEW if steps == FEW else max((seconds - few) / (steps - FEW), seconds / GROWTH / steps)
    start = max(0.0, few - FEW * step)
    turn_s = min(max(turn_s, start / MAX_START_SHARE), max(turn_s, MAX_TURN_S))
    return max(1, round((turn_s - start) / step))


def in_turns(
    contenders: Mapping[str, Contender], rounds: int, turn_s: Mapping[str, float], clock: Clock
) -> dict[str, Times]:
    """Return the seconds a step of every contender.

    Parameters
    ----------
    contenders : mapping of str to Contender
    rounds : int
        Turns of each.
    turn_s : mapping of str to float
        How long a turn of each should last; one step at least.
    clock : callable
        See `clock_of`.
    """
    steps = {name: steps_of_a_turn(contender, turn_s[name], clock) for name, contender in contenders.items()}
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            found[name].append(timed(contender, steps[name], clock) / steps[name])
    return {name: Times(tuple(seconds)) for name, seconds in found.items()}


def times_faster(contender: Times, other: Times) -> float:
    """Return how many times faster the first one is: the median of the rounds' ratios."""
    return statistics.median(b / a for a, b in zip(contender.seconds, other.seconds, strict=True))


def fastest(contenders: Mapping[str, Contender], clock: Clock, turn_s: float = 0.2) -> str:
    """Return the name of the contender that is fastest in short trials, best of few."""
    if len(contenders) == 1:
        return next(iter(contenders))
    times = in_turns(contenders, TRIALS, dict.fromkeys(contenders, turn_s), clock)
    return min(times, key=lambda name: times[name].best)
