"""The population axis of every kernel: replicas of one network side by side, in the same launch.

A kernel is written for one network, as its twin on the CPU is. `Kernel` puts the axis before it: the grid's z axis is the
replica, and of each array that is passed it hands the kernel the part of that replica. An array whose first axis is 1 is
shared by all. What a thread computes, and in which order, does not know how many replicas there are, so that each of them
has the bits of a run of its own, in float32 too.

=========================== =================================== =========================================
argument in a docstring     what is passed                      what the kernel sees
=========================== =================================== =========================================
array[N, J]                 array[R, N, J], or [1, N, J]        its replica's, or the one that all share
number                      a number                            that number
number                      array[R], or [1]                    its replica's, such as a seed
=========================== =================================== =========================================
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any


class Kernel:
    """A kernel for every replica of a population, launched as ``kernel[blocks, threads](*arguments)``.

    Parameters
    ----------
    function : callable
        The kernel of one network. Its grid may have two axes.
    compiler : callable
        Makes a kernel of a function, when it is launched first.
    inline : callable
        Makes a function that a kernel calls, inlined into it.
    """

    def __init__(self, function: Callable[..., None], compiler: Callable[..., Any], inline: Callable[..., Any]) -> None:
        self.function, self._compiler, self._inline = function, compiler, inline
        self._made: dict[tuple[bool, ...], Any] = {}
        self.__name__, self.__doc__ = function.__name__, function.__doc__

    def of(self, arrays: Sequence[bool]) -> Any:  # noqa: ANN401
        """Return the kernel where these arguments are arrays, the others numbers.

        One for any number of replicas: a single network runs the machine code of a population.
        """
        key = tuple(arrays)
        if key not in self._made:
            self._made[key] = self._compiler(_with_axis(self.function, self._inline(self.function), key))
        return self._made[key]

    def __getitem__(self, grid: tuple[Any, Any]) -> Callable[..., None]:
        """Return what launches a grid of blocks; of replicas where it has a z axis."""
        return partial(self._launch, grid)

    def _launch(self, grid: tuple[Any, Any], *arguments: object) -> None:
        self.of([hasattr(given, "shape") and given.shape != () for given in arguments])[grid](*arguments)


def _with_axis(function: Callable[..., None], body: Any, arrays: tuple[bool, ...]) -> Callable[..., None]:  # noqa: ANN401
    """Write the function that finds its replica's part of each array and calls the body.

    As text, for a compiler reads how many arguments a kernel has from its code. It belongs to the body's module: in the
    simulator ``cuda`` is replaced there while the kernel runs.
    """
    names = list(inspect.signature(function).parameters)
    if len(names) != len(arrays):
        raise TypeError(f"{function.__name__} takes {len(names)} arguments, not {len(arrays)}")
    parts = [
        f"{name}[min(replica, {name}.shape[0] - 1)]" if array else name for name, array in zip(names, arrays, strict=True)
    ]
    text = f"""
def make(body):
    def {function.__name__}({", ".join(names)}):
        replica = cuda.blockIdx.z
        body({", ".join(parts)})
    return {function.__name__}
"""
    scope: dict[str, Any] = {}
    exec(compile(text, f"<replicas of {function.__name__}>", "exec"), function.__globals__, scope)
    made: Callable[..., None] = scope["make"](body)
    return made
