"""Numbers and arrays that count what is done to them; instrumented_step.py runs training steps on them.

It knows no closed form: every figure is a tally of what loops did.

- A :class:`Number` counts each ``+ -`` (ADD), ``*`` (MUL), ``/`` and root (DIV), comparison (CMP), table (LUT). A product
  that goes straight into an :class:`Accumulator` is one MAC; all products executed are MAC + MUL, all additions MAC + ADD.
  Accumulators of products, and of bias gradients, start at 0 or at the bias, so their first term is an addition too; a sum
  over a window or a row starts with its first term.
- A :class:`Sign` (-1, 0, 1: also a mask) flips, drops or passes a number: no product. Whether a number is positive enough
  for a mask is read off its bits: no comparison.
- A :class:`Buffer` counts each element that an op loads or stores, once for each op: perfect reuse inside an op.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np

Place = tuple[int, ...]


class Tally:
    """What was done: operations by (phase, kind), elements moved by (phase, tensor class, written)."""

    def __init__(self) -> None:
        self.operations: Counter[tuple[str, str]] = Counter()
        self.moved: Counter[tuple[str, str, bool]] = Counter()
        self.phase = ""
        self._seen: set[tuple[int, int, bool]] = set()

    def begin(self, phase: str) -> None:
        """Start an op: what it moves counts anew."""
        self.phase = phase
        self._seen.clear()

    def did(self, kind: str, times: int = 1) -> None:
        self.operations[self.phase, kind] += times

    def touched(self, buffer: Buffer, offset: int, write: bool) -> None:
        if (id(buffer), offset, write) not in self._seen:
            self._seen.add((id(buffer), offset, write))
            self.moved[self.phase, buffer.cls, write] += 1


class Number:
    """A float that counts; `product` while it is the product of two and nothing else."""

    __slots__ = ("product", "tally", "value")

    def __init__(self, value: float, tally: Tally, product: bool = False) -> None:
        self.value, self.tally, self.product = float(value), tally, product

    def made(self, kind: str, value: float) -> Number:
        self.tally.did(kind)
        return Number(value, self.tally, kind == "MUL")

    def __add__(self, other: Any) -> Number:
        return self.made("ADD", self.value + _value(other))

    def __sub__(self, other: Any) -> Number:
        return self.made("ADD", self.value - _value(other))

    def __rsub__(self, other: Any) -> Number:
        return self.made("ADD", _value(other) - self.value)

    def __mul__(self, other: Any) -> Number:
        return self.made("MUL", self.value * _value(other))

    __radd__, __rmul__ = __add__, __mul__

    def __truediv__(self, other: Any) -> Number:
        return self.made("DIV", self.value / _value(other))

    def __gt__(self, other: Any) -> bool:
        self.tally.did("CMP")
        return self.value > _value(other)

    def same(self, other: Number) -> bool:
        self.tally.did("CMP")
        return self.value == other.value

    def root(self) -> Number:
        return self.made("DIV", math.sqrt(self.value))

    def looked_up(self, function: Callable[[float], float]) -> Number:
        return self.made("LUT", function(self.value))


class Sign(Number):
    """-1, 0 or 1."""

    __slots__ = ()

    def __mul__(self, other: Any) -> Number:
        return Number(self.value * _value(other), self.tally)

    __rmul__ = __mul__


def _value(given: Any) -> float:
    return given.value if isinstance(given, Number) else float(given)


class Accumulator:
    """A register that sums, from a number that is there already."""

    def __init__(self, tally: Tally, start: Number | None = None) -> None:
        self.sum = Number(0.0 if start is None else start.value, tally)

    def add(self, term: Number, sign: int = 1) -> None:
        tally = self.sum.tally
        if term.product:
            tally.did("MUL", -1)
        tally.did("MAC" if term.product else "ADD")
        self.sum = Number(self.sum.value + sign * term.value, tally)


class Buffer:
    """An array in memory, row-major; a place is a full index, or (first index, offset in its row)."""

    def __init__(self, tally: Tally, cls: str, shape: Place, values: Any = None, *, signs: bool = False) -> None:
        self.tally, self.cls, self.shape, self.kind = tally, cls, tuple(shape), Sign if signs else Number
        self.data = [0.0] * math.prod(shape) if values is None else [float(v) for v in np.asarray(values).reshape(-1)]

    def _offset(self, place: Place) -> int:
        if len(place) != len(self.shape):
            return place[0] * math.prod(self.shape[1:]) + place[1]
        offset = 0
        for index, size in zip(place, self.shape, strict=True):
            offset = offset * size + index
        return offset

    def __getitem__(self, place: Place) -> Number:
        offset = self._offset(place)
        self.tally.touched(self, offset, False)
        return self.kind(self.data[offset], self.tally)

    def __setitem__(self, place: Place, number: Number | float) -> None:
        offset = self._offset(place)
        self.tally.touched(self, offset, True)
        self.data[offset] = _value(number)

    @property
    def places(self) -> Iterator[Place]:
        return product(*map(range, self.shape))

    def array(self) -> np.ndarray:
        return np.array(self.data).reshape(self.shape)
