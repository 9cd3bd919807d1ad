"""Launches of a population whose replicas have schedules of their own: the same kernels, the numbers of each replica."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fasim.backends.cuda_bind import Constant, DeviceArray, Launch
from fasim.errors import ConfigError

Upload = Callable[[np.ndarray], DeviceArray]


class Scratch:
    """Arrays that an op needs for itself: bound for several schedules, it gets the same ones each time.

    Parameters
    ----------
    make : callable
        Returns an array of so many zeros of a type.
    """

    def __init__(self, make: Callable[[int, type | np.dtype], DeviceArray]) -> None:
        self._make, self._made, self._next = make, list[DeviceArray](), 0

    def rewind(self) -> None:
        """Begin anew, for the op of the next schedule."""
        self._next = 0

    def zeros(self, size: int, dtype: type | np.dtype) -> DeviceArray:
        """Return the next array."""
        if self._next == len(self._made):
            self._made.append(self._make(size, dtype))
        found, self._next = self._made[self._next], self._next + 1
        if (found.size, found.dtype) != (size, np.dtype(dtype)):
            raise ConfigError(f"a population whose replicas need arrays of {found.size} and of {size}; train them apart")
        return found


def merged(of_schedules: Sequence[Sequence[Launch]], which: Sequence[int], upload: Upload) -> list[Launch]:
    """Return the launches of all replicas from those of their schedules.

    Where a number of a launch differs, all its numbers become arrays with an entry for each replica (one for all where they
    are equal), so that a kernel has two machine codes at most.

    Parameters
    ----------
    of_schedules : sequence of sequence of Launch
        The same op, bound for each schedule.
    which : sequence of int
        The schedule of each replica.
    upload : callable
        Puts an array on the device whose first axis is that of replicas, or 1.

    Raises
    ------
    ConfigError
        If they launch other kernels.
    """
    first, *others = of_schedules
    if any(len(launches) != len(first) for launches in others):
        raise _apart(first)
    return [_merged(launches, which, upload) for launches in zip(*of_schedules, strict=True)]


def _merged(launches: Sequence[Launch], which: Sequence[int], upload: Upload) -> Launch:
    first = launches[0]
    if any(one.kernel is not first.kernel or one.extent != first.extent for one in launches[1:]):
        raise _apart(launches)
    columns = list(zip(*(one.arguments for one in launches), strict=True))
    numbers = [column for column in columns if not isinstance(column[0], DeviceArray)]
    differ = any(number != column[0] for column in numbers for number in column)
    arguments: list[object] = []
    for column in columns:
        constants = [one for one in column if isinstance(one, Constant)]
        if len(constants) == len(column):
            arguments.append(upload(of_replicas([one.host for one in constants], which)))
        elif isinstance(column[0], DeviceArray):
            if not all(_is_view(one, column[0]) for one in column):
                raise _apart(launches)
            arguments.append(column[0])
        else:
            arguments.append(upload(of_replicas([_entry(one) for one in column], which)) if differ else column[0])
    return Launch(first.kernel, tuple(arguments), first.extent)


def _is_view(one: object, other: DeviceArray) -> bool:
    return isinstance(one, DeviceArray) and one.whole is other.whole and one.shape == other.shape


def _entry(number: object) -> np.ndarray:
    """Return a number as an array of one, of the type that a launch would give it."""
    return np.array([number], np.int64 if type(number) is int else None)


def of_replicas(arrays: Sequence[np.ndarray], which: Sequence[int]) -> np.ndarray:
    """Return one array of the first axis 1 where all are equal, else that of each replica.

    Parameters
    ----------
    arrays : sequence of ndarray
        [1, ...], or [R, ...] with one of each replica, by schedule.
    which : sequence of int
        The schedule of each replica.
    """
    if all(np.array_equal(one, arrays[0]) for one in arrays[1:]):
        return arrays[0]
    return np.stack([arrays[schedule][min(place, len(arrays[schedule]) - 1)] for place, schedule in enumerate(which)])


def _apart(launches: Sequence[Launch]) -> ConfigError:
    name = getattr(launches[0].kernel, "__name__", "a kernel") if launches else "a kernel"
    return ConfigError(f"a population whose replicas need other kernels than {name}; train them apart")
