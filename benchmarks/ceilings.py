"""What this CPU allows a training step at most: multiplications in registers, and each weight read and written once.

Both are loops that take turns with what is measured, so that a busy machine slows them alike. A step is held against
the slower of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Thread

import numpy as np
from gemm_peaks import peaks
from gemms import aligned
from numba import njit

from fasim.network import Dense, Network
from fasim.schedule import Schedule
from fasim.schedule import ops as kinds
from fasim.state import State

# what reads a whole matrix that the step may leave as it is
READERS = (kinds.PROJECT, kinds.PROJECT_UP, kinds.PROJECT_CONV)
PASSES = 4
PEAK_NAMES = {"float32": "FMA peak", "int16": "peak of int16 products", "int8": "peak of int8 products"}


def operations(network: Network, rule: str, batch: int) -> int:
    """Return the multiplications and additions of a step's products.

    Forward 2 N J I a layer, the gradient as many, the transport of the signal: bp and fa 2 N J I through every layer but
    the first, dfa and dkp 2 N K J into every hidden one, sdfa and drtp none, as signs and labels need no product; dkp's
    feedback gradients 2 N K J more. A convolution counts its window at each place, zeros of the padding included.
    """
    segments = network.segments
    products = [
        int(np.prod(s.weight_shape)) * (1 if isinstance(s.layer, Dense) else s.map_size // s.weight_shape[0])
        for s in segments
    ]
    total = 2 * sum(products)
    if rule in ("bp", "fa"):
        total += sum(products[1:])
    elif rule in ("dfa", "dkp"):
        direct = sum(network.outputs * segment.map_size for segment in segments[:-1])
        total += direct * (2 if rule == "dkp" else 1)
    elif rule not in ("sdfa", "drtp"):
        raise ValueError(f"rule {rule}: no count of operations")
    return 2 * batch * total


def moved_bytes(schedule: Schedule, state: State) -> tuple[int, int]:
    """Return the bytes of the state that a step must read and write, and those that it must read only."""
    written = {value.tensor for op in schedule.ops for value in op.writes if value.tensor in state}
    read = {
        value.tensor for op in schedule.ops if op.kind in READERS for value in op.reads[1:] if value.tensor in state
    } - written
    return tuple(sum(state[name].nbytes for name in names) for names in (written, read))  # type: ignore[return-value]


def peak_type(schedule: Schedule) -> str:
    """Return the type of the products whose peak a datapath is held against."""
    if schedule.datapath == "float32":
        return "float32"
    fmt = schedule["weight.1"].format
    assert fmt is not None
    return "int8" if fmt.bits <= 8 else "int16"


@njit(nogil=True)
def _add_one(words, passes):  # noqa: ANN001, ANN202
    for _ in range(passes):
        for i in range(len(words)):
            words[i] += np.float32(1)


@njit(nogil=True)
def _sum(words, passes):  # noqa: ANN001, ANN202
    total = np.int32(0)
    for _ in range(passes):
        for i in range(len(words)):
            total ^= words[i]
        words[0] = total  # so that no pass can be left out
    return total


class Together:
    """A contender without a state: loops that run side by side, each in a thread of its own.

    The threads live for one turn, as fasim's do, and each takes all its steps in compiled code. When a pool of threads was
    handed every step, two of them reached 1.3 to 1.5 times the peak of one and 1.1 to 1.2 times its rate on 1.6 MB, too
    little to hold a step against; so they reach 1.8 to 1.9 and 2.0 to 2.2 times as much (best of 9 rounds).

    Parameters
    ----------
    loops : sequence of callables
        Each takes the number of steps. The first one runs in the thread that asks.
    """

    def __init__(self, loops: Sequence[Callable[[int], object]]) -> None:
        self.loops = loops

    def restart(self) -> None:
        """Nothing is to be restored."""

    def run(self, steps: int) -> None:
        """Let each take so many steps."""
        others = [Thread(target=loop, args=(steps,), daemon=True) for loop in self.loops[1:]]
        for thread in others:
            thread.start()
        self.loops[0](steps)
        for thread in others:
            thread.join()


class Ceilings:
    """Makes the loops, for so many threads."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def peak(self, name: str) -> tuple[Together, int] | None:
        """Return a loop at the peak of a type and the operations of one step; None for a CPU without register tiles."""
        found = peaks().get(name)
        if found is None:
            return None
        return Together([found.call] * self.threads), found.operations * self.threads

    def read_and_write(self, size: int) -> Together:
        """Return a loop that reads and writes so many bytes `PASSES` times a step, an equal part each thread."""
        return self._over(_add_one, size, np.float32)

    def read(self, size: int) -> Together:
        """Return a loop that reads so many bytes `PASSES` times a step."""
        return self._over(_sum, size, np.int32)

    def _over(self, loop: Callable[..., object], size: int, dtype: type) -> Together:
        parts = [aligned((1, max(16, size // 4 // self.threads)), dtype)[0] for _ in range(self.threads)]
        for part in parts:
            part[:] = 0
        return Together([lambda steps, part=part: loop(part, steps * PASSES) for part in parts])  # type: ignore[misc]
