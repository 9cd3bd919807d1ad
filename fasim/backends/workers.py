"""Threads that go through their tables of calls step by step, side by side.

They live for one run and wait for one another in a kernel (`fasim.kernels.meet`), so that nothing is started or collected
within a step; a second threading runtime, such as OpenMP by Numba, would offer no more and forbid threads of others.

Python gets control back about every twentieth of a second, for Ctrl-C; results do not depend on when.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fasim.backends.table import Table, make
from fasim.kernels.meet import STOPPED

INTERVAL_S = 0.05
# calls differ in length: the next ones may take this much longer than the last
GROWTH = 2
MOST_CALLS = 1 << 40


class Worker(NamedTuple):
    """What one thread does in a step, and the arrays by which it learns which step that is.

    Parameters
    ----------
    table : Table
    offset : int
        Its first sample of a batch.
    batch : ndarray of int64, shape (samples of this thread,)
    step : ndarray of int64, shape (1,)
    """

    table: Table
    offset: int
    batch: np.ndarray
    step: np.ndarray

    def work(self, order: np.ndarray, size: int, first_step: int, words: np.ndarray) -> None:
        """Take all steps of a run; see `run`."""
        position, steps, calls = np.zeros(2, np.int64), len(order) // size, 1
        while position[0] < steps:
            if words[STOPPED]:
                raise _StoppedError
            started = time.perf_counter()
            status = self.table.walk(order, self.offset, size, first_step, self.batch, self.step, position, calls)
            if status:
                self._fail(int(position[0]), int(position[1]), words)
            calls = _next(calls, time.perf_counter() - started)

    def _fail(self, number: int, row: int, words: np.ndarray) -> None:
        if words[STOPPED]:
            raise _StoppedError
        make(self.table.calls[row])
        name = self.table.calls[row][0].__name__
        raise RuntimeError(f"{name} failed in step {number} of the run, and did not when it was called again")


class _StoppedError(Exception):
    """Another thread has failed."""


def run(workers: Sequence[Worker], order: np.ndarray, size: int, first_step: int, words: np.ndarray) -> None:
    """Let each worker take all steps, in a thread of its own; an exception of any ends all and is raised here.

    Parameters
    ----------
    workers : sequence of Worker
        The first one works in this thread.
    order : ndarray of int64, shape (steps * size,)
    size : int
        Samples of a batch, of all workers together.
    first_step : int
    words : ndarray of int64, shape (24,)
        What the workers meet by, see `fasim.kernels.meet`.
    """
    if len(workers) == 1:
        workers[0].work(order, size, first_step, words)
        return
    failures: list[BaseException] = []

    def guarded(worker: Worker) -> None:
        try:
            worker.work(order, size, first_step, words)
        except BaseException as failure:  # noqa: BLE001 - handed to the caller below
            failures.append(failure)
            words[STOPPED] = 1

    others = [threading.Thread(target=guarded, args=(worker,), daemon=True) for worker in workers[1:]]
    for thread in others:
        thread.start()
    guarded(workers[0])
    for thread in others:
        thread.join()
    real = [failure for failure in failures if not isinstance(failure, _StoppedError)]
    if failures:
        raise (real or failures)[0]


def _next(calls: int, seconds: float) -> int:
    """Return how many calls to make before Python is to have control again, from how long the last ones took."""
    wanted = calls * INTERVAL_S / max(seconds, 1e-9)
    return max(1, int(min(wanted, GROWTH * calls, MOST_CALLS)))


def _give_way() -> int:
    """Return the address of the system's function that lets other threads run, or 0."""
    try:
        if sys.platform == "win32":
            function = ctypes.windll.kernel32.SwitchToThread
        else:
            function = ctypes.CDLL(None).sched_yield
    except (AttributeError, OSError):
        return 0
    return ctypes.cast(function, ctypes.c_void_p).value or 0


GIVE_WAY = _give_way()
