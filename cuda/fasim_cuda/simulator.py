"""Shared memory of Numba's simulator, made safe for its threads."""

from __future__ import annotations

import sys
import threading

import numpy as np

FILL = 77


def repair() -> None:
    """Give all threads of a block one shared array a line, whichever asks for it first.

    The simulator looks an array up, makes it and keeps it without a lock, so two threads that ask at once may have an array
    each: 2 of 3000 launches of 8 threads that take turns every microsecond, none with the lock. Arrays start as NaN or 77
    here, so that reading what nobody wrote shows. Dynamic shared memory, of which no kernel has any, is not provided.
    """
    from numba.cuda.simulator.kernelapi import FakeCUDAShared
    from numba.np.numpy_support import as_dtype

    lock = threading.Lock()

    def array(self, shape, dtype, alignment=None):
        caller = sys._getframe(1)
        place = caller.f_code.co_filename, caller.f_lineno
        with lock:
            if place not in self._allocations:
                number = as_dtype(dtype)
                self._allocations[place] = np.full(shape, np.nan if number.kind == "f" else FILL, number)
            return self._allocations[place]

    FakeCUDAShared.array = array  # type: ignore[method-assign]
