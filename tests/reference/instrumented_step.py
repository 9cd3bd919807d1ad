"""One training step of each rule in plain loops over counting numbers: what hardware does, element by element.

Forward pass, error and transport are here, rules and updates in instrumented_rules.py. Nothing is derived from a formula:
the tally holds what the loops did.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from .float_functions import error_factor, one_hot
from .instrumented import Accumulator, Buffer, Number, Place, Sign, Tally
from .segments import Segment

Triples = Iterable[tuple[Any, Any, Any]]
Sums = dict[Any, Accumulator]
TABLES = {"tanh": math.tanh, "sigmoid": lambda z: 1.0 / (1.0 + math.exp(-z))}


@dataclass
class Stored:
    """A feedback matrix as hardware holds it: dense (K, J), ELL (J, k), CSR (entries,), or low-rank (K, r) and (r, J)."""

    values: Buffer
    index: Buffer | None = None
    start: Buffer | None = None
    outer: Buffer | None = None
    magnitude: float | None = None  # that all elements share, the values being signs

    def entries(self, units: int) -> Iterator[tuple[int, int, Place]]:
        """Yield (k, j, place of the value) of all that is stored; a non-zero comes with its place."""
        if self.index is None:
            yield from ((k, j, (k, j)) for k, j in self.values.places)
            return
        for j in range(units):
            if self.start is None:
                places = [(j, s) for s in range(self.index.shape[1])]
            else:
                places = [(e,) for e in range(int(self.start[j,].value), int(self.start[j + 1,].value))]
            yield from ((int(self.index[place].value), j, place) for place in places)


@dataclass
class Execution:
    """One step of a rule, element by element; `padding` "skip" leaves out what would multiply a zero of the border.

    Layers count from 1; ``weights[l - 1]`` and ``feedback[l - 1]`` as in rules.py.
    """

    tally: Tally
    x: np.ndarray
    labels: np.ndarray
    segments: list[Segment]
    feedback: list[Any]
    loss: str = "bce"
    reduction: str = "sum"
    hook: str = "pre_pool"
    error_scale: str = "loss_gradient"
    padding: str = "count"

    def __post_init__(self) -> None:
        self.n, self.last = len(self.x), len(self.segments)
        self.ends = [self.new("act", self.x.shape, self.x)]
        self.active: list[Buffer] = []
        self.shapes: list[Place] = []
        self.maxima: dict[int, Buffer] = {}
        self.label = self.new("label", (self.n,), self.labels)
        self.weights = [self.new("weight", s.weight.shape, s.weight) for s in self.segments]
        self.biases = [self.new("bias", s.bias.shape, s.bias) for s in self.segments]
        self.zero = Number(0.0, self.tally)
        outputs = len(self.segments[-1].bias)
        self.scale = error_factor(one_hot(self.labels, outputs), self.loss, self.reduction)
        raw = self.error_scale == "raw"
        self.target_scale = 1.0 if raw else self.scale
        self.local_scale = 1.0 if raw or self.reduction == "sum" else 1.0 / self.n

    def new(self, cls: str, shape: Place, values: Any = None, *, signs: bool = False) -> Buffer:
        return Buffer(self.tally, cls, shape, values, signs=signs)

    # --- loops: (place of the result, place of the first factor, place of the second) -------------------------------

    def products(self, layer: int) -> Iterator[tuple[Place, Place | None, Place]]:
        """Yield (output, input or None in the border, weight) of every product of a layer."""
        segment, (count, *places) = self.segments[layer - 1], self.shapes[layer - 1]
        if segment.kind == "dense":
            units, inputs = segment.weight.shape
            yield from (((n, j), (n, i), (j, i)) for n in range(count) for j in range(units) for i in range(inputs))
            return
        height, width, _ = self.ends[layer - 1].shape[1:]
        sizes = (range(size) for size in (count, *places[:2], *segment.weight.shape))
        for n, p, q, j, r, s, c in product(*sizes):
            row, column = (a * segment.stride + b - segment.padding for a, b in ((p, r), (q, s)))
            inside = 0 <= row < height and 0 <= column < width
            if inside or self.padding == "count":
                yield (n, p, q, j), (n, row, column, c) if inside else None, (j, r, s, c)

    def sums(self, triples: Triples, first: Buffer, second: Buffer, start: Any = None) -> Sums:
        sums: Sums = {}
        for at, a, b in triples:
            if at not in sums:
                sums[at] = Accumulator(self.tally, None if start is None else start[at[-1:]])
            factors = (self.zero if where is None else buffer[where] for buffer, where in ((first, a), (second, b)))
            sums[at].add(next(factors) * next(factors))
        return sums

    def store(self, sums: Sums, out: Buffer, magnitude: float | None = None, scale: float = 1.0) -> Buffer:
        """Write a signal: its sums times what all of them share, and 0 where nothing arrived."""
        for place in out.places:
            number = sums[place].sum if place in sums else self.zero
            number = number if magnitude is None else number * magnitude
            out[place] = number if scale == 1.0 else number * scale
        return out

    # --- forward ----------------------------------------------------------------------------------------------------

    def forward(self, keeps_places: Callable[[int], bool]) -> None:
        for layer, segment in enumerate(self.segments, 1):
            source, units, pool = self.ends[-1], len(segment.bias), segment.pool
            shape: Place = (self.n, units)
            if segment.kind == "conv":
                kernel, pad = segment.weight.shape[1], segment.padding
                shape = (self.n, *((s + 2 * pad - kernel) // segment.stride + 1 for s in source.shape[1:3]), units)
            self.shapes.append(shape)
            self.tally.begin("forward")
            preact = self.new("preact", shape)
            triples = self.products(layer)
            self.store(self.sums(triples, source, self.weights[layer - 1], self.biases[layer - 1]), preact)
            cls = "output" if layer == self.last else "map" if pool else "act"
            self.active.append(self.activate(segment.activation, preact, self.new(cls, shape), "forward"))
            self.ends.append(self._pooled(layer, keeps_places(layer)) if pool else self.active[-1])

    def activate(self, function: str, preact: Buffer, out: Buffer, phase: str) -> Buffer:
        self.tally.begin(phase)
        if function == "softmax":
            for n in range(self.n):
                row = [preact[n, k] for k in range(preact.shape[1])]
                largest = row[0]
                for number in row[1:]:
                    largest = number if number > largest else largest
                powers = [(number - largest).looked_up(math.exp) for number in row]
                total = sum(powers[1:], powers[0])
                for k, power in enumerate(powers):
                    out[n, k] = power / total
            return out
        for place in preact.places:
            number = preact[place]
            if function == "relu":
                number = number if number > 0.0 else self.zero
            out[place] = number.looked_up(TABLES[function]) if function in TABLES else number
        return out

    def _windows(self, layer: int, count: Place) -> Iterator[tuple[Place, list[Place]]]:
        pool = self.segments[layer - 1].pool
        for n, p, q, c in product(*map(range, count)):
            offsets = product(range(pool.kernel), range(pool.kernel))
            yield (n, p, q, c), [(n, p * pool.stride + r, q * pool.stride + s, c) for r, s in offsets]

    def _pooled(self, layer: int, keep: bool) -> Buffer:
        pool, (n, height, width, channels) = self.segments[layer - 1].pool, self.shapes[layer - 1]
        shape = (n, (height - pool.kernel) // pool.stride + 1, (width - pool.kernel) // pool.stride + 1, channels)
        out, index, read = self.new("act", shape), self.new("slope", shape), self.active[-1]
        self.tally.begin("forward")
        for place, window in self._windows(layer, shape):
            numbers = [read[at] for at in window]
            best, where = numbers[0], 0
            if pool.kind == "average":
                best = sum(numbers[1:], best) * (1.0 / pool.kernel**2)
            else:
                for other, number in enumerate(numbers[1:], 1):
                    if number > best:
                        best, where = number, other
            out[place] = best
            if keep and pool.kind == "max":
                index[place] = where
        self.maxima[layer] = index
        return out

    # --- error ------------------------------------------------------------------------------------------------------

    def difference(self, guess: Buffer) -> Buffer:
        self.tally.begin("error")
        out = self.new("error", guess.shape)
        for n, k in out.places:
            out[n, k] = guess[n, k] - float(self.label[n,].value == k)
        return out

    def output_error(self) -> None:
        self.error = self.difference(self.active[-1])
        with_slope = self.loss == "mse" and self.segments[-1].activation != "linear"
        self.delta = {self.last: self.error}
        if with_slope or self.scale != 1.0:
            self.delta[self.last] = self.to_preact(self.last, self.error, with_slope, self.scale)
        self.sent = self.error if self.error_scale == "raw" else self.delta[self.last]

    def to_preact(self, layer: int, signal: Buffer, with_slope: bool = True, scale: float = 1.0) -> Buffer:
        function, active = self.segments[layer - 1].activation, self.active[layer - 1]
        slope = self.new("slope", active.shape, signs=function == "relu")
        with_slope = with_slope and function != "linear"
        self.tally.begin("error")
        for place in active.places if with_slope else ():
            a = active[place]
            if function == "relu":
                slope[place] = Sign(a.value > 0.0, self.tally)
            else:
                slope[place] = 1.0 - a * a if function == "tanh" else a * (1.0 - a)
        self.tally.begin("error")
        delta = self.new("delta", active.shape)
        for place, at in zip(delta.places, signal.places, strict=True):
            number = signal[at] * slope[place] if with_slope else signal[at]
            delta[place] = number if scale == 1.0 else number * scale
        return delta

    def signal(self, layer: int, at_end: bool) -> Buffer:
        return self.new("signal", self.ends[layer].shape if at_end else self.active[layer - 1].shape)

    def arrive(self, layer: int, signal: Buffer, at_end: bool) -> None:
        """Bring a signal from where it arrived, a segment's end or its activation, to the pre-activation."""
        if self.segments[layer - 1].pool and at_end:
            signal = self._unpooled(layer, signal)
        self.delta[layer] = self.to_preact(layer, signal)

    def _unpooled(self, layer: int, signal: Buffer) -> Buffer:
        pool, out = self.segments[layer - 1].pool, self.new("signal", self.shapes[layer - 1])
        sums: Sums = {}
        self.tally.begin("error")
        for place, window in self._windows(layer, signal.shape):
            number, targets = signal[place], window
            if pool.kind == "average":
                number = Number((number * (1.0 / pool.kernel**2)).value, self.tally)
            else:
                targets = [window[int(self.maxima[layer][place].value)]]
            for at in targets:
                if pool.stride < pool.kernel:
                    sums.setdefault(at, Accumulator(self.tally)).add(number)
                else:
                    sums[at] = Accumulator(self.tally, number)
        return self.store(sums, out)

    def through_layer(self, layer: int, matrix: Stored) -> Buffer:
        """Carry the delta of the layer above down through a matrix of its weights' shape."""
        self.tally.begin("error")
        triples = ((i, o, w) for o, i, w in self.products(layer + 1))
        sums = self.sums(triples, self.delta[layer + 1], matrix.values)
        out = self.new("signal", self.ends[layer].shape)
        by_place = {self._wide(place, out): total for place, total in sums.items() if place is not None}
        return self.store(by_place, out, matrix.magnitude)

    @staticmethod
    def _wide(place: Place, out: Buffer) -> Place:
        """Return a place of a flattened map as one of the map."""
        if len(place) == len(out.shape):
            return place
        return (place[0], *(int(i) for i in np.unravel_index(place[1], out.shape[1:])))

    def direct(self, layer: int, sent: Buffer | None, scale: float = 1.0) -> Buffer:
        """Carry a signal from the outputs, or the label (None), to the hook of a layer."""
        matrix, out = self.feedback[layer - 1], self.signal(layer, self.hook == "post_pool")
        units = math.prod(out.shape[1:])
        self.tally.begin("error")
        if matrix.outer is not None:
            narrow = self.new("signal", (self.n, matrix.values.shape[1]))
            sent = self._carried(sent, matrix, narrow, narrow.shape[1])
            self.tally.begin("error")
            matrix = Stored(matrix.outer)
        return self._carried(sent, matrix, out, units, scale)

    def _carried(self, sent: Buffer | None, matrix: Stored, out: Buffer, units: int, scale: float = 1.0) -> Buffer:
        if sent is None:
            return self._chosen(matrix, out, units, scale)
        triples = (((n, j), (n, k), at) for k, j, at in matrix.entries(units) for n in range(self.n))
        sums = {self._wide(at, out): total for at, total in self.sums(triples, sent, matrix.values).items()}
        return self.store(sums, out, matrix.magnitude, scale)

    def _chosen(self, matrix: Stored, out: Buffer, units: int, scale: float) -> Buffer:
        """Fetch the row of the label: of a dense matrix that row alone, of a sparse one what is compared with the label."""
        sums: Sums = {}
        for n in range(self.n):
            label = self.label[n,]
            if matrix.index is None:
                found = [((n, j), matrix.values[int(label.value), j]) for j in range(units)]
            else:
                entries = [(k, j, matrix.values[at]) for k, j, at in matrix.entries(units)]
                found = [((n, j), number) for k, j, number in entries if Number(k, self.tally).same(label)]
            # a sign passes or flips the magnitude that all share: no product
            of_signs = 1.0 if matrix.magnitude is None else Number(matrix.magnitude, self.tally)
            for at, number in found:
                sums[self._wide(at, out)] = Accumulator(
                    self.tally, number if matrix.magnitude is None else number * of_signs
                )
        return self.store(sums, out, None, scale)
