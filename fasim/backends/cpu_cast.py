"""Binding of casts and updates in fixed point: shifts that are known in the step alone, random words, counters."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from fasim import kernels
from fasim.backends.cpu_bind import Arrays, Slice
from fasim.backends.table import ByReference, Call
from fasim.fixedpoint.cast import limits
from fasim.fixedpoint.options import RandomSource
from fasim.scalar.lfsr import lfsr_start, tap_mask
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS
from fasim.schedule import Op, Schedule, Value

NO_WORDS = np.zeros(0, np.uint32)


class Operands:
    """The arrays of an op, a slice of its work, and what its casts need."""

    def __init__(
        self,
        schedule: Schedule,
        op: Op,
        arrays: Arrays,
        part: Slice,
        step: np.ndarray,
        counter: np.ndarray | None,
    ) -> None:
        self.schedule, self.op, self.arrays, self.part, self.step = schedule, op, arrays, part, step
        self.counter = counter
        self.read = [arrays[value.tensor] for value in op.reads]
        self.whole = arrays[op.writes[0].tensor]
        self.out = part.of(self.whole)
        tensor = schedule[op.writes[0]]
        self.elements = tensor.elements
        # for random words, which parts by columns need not: such products have no registers and cast nothing
        self.first = part.start * (tensor.elements // (tensor.shape or (1,))[0])

    def rows(self, index: int) -> np.ndarray:
        """Return the slice of an operand, all of a batch whose columns are divided."""
        return self.part.rows_of(self.read[index])

    def shaped(self, value: Value) -> np.ndarray:
        """Return an array in the shape of its tensor."""
        return self.arrays[value.tensor].reshape(self.schedule[value].shape)

    def map(self, value: Value) -> np.ndarray:
        """Return the slice of a batch of maps, in their shape."""
        return self.part.of(self.shaped(value))

    def channels(self, value: Value, *, whole: bool = False) -> np.ndarray:
        """Return the slice of an array, or all of it, as rows of channels (N, J), or (N H W, C)."""
        array = self.arrays[value.tensor] if whole else self.part.of(self.arrays[value.tensor])
        return array.reshape(-1, self.schedule[value].shape[-1])

    @property
    def modes(self) -> tuple[int, int, int, int]:
        """Return lo, hi, rounding and overflow of the cast into what the op writes."""
        fmt = self.schedule[self.op.writes[0]].format
        assert fmt is not None
        mode = self.op.attrs["overflow"]
        return (*limits(fmt, mode), ROUNDINGS[self.op.attrs["rounding"]], OVERFLOWS[mode])

    @property
    def site(self) -> int:
        """Return the number of the op's site."""
        return zlib.crc32(self.op.site.encode())

    @property
    def seed(self) -> int:
        """Return the seed of the run."""
        return int(self.arrays["seed"][0])

    def shift(self, first: int = 0) -> tuple[list[Call], int | ByReference]:
        """Return the shift of the op, with the exponents of each step from scalar number `first` on added by calls."""
        if not self.op.attrs.get("signs", ()):
            return [], self.op.attrs["shift"]
        calls, shift = self.aligned(self.op.attrs["shift"], self.op.scalars[first:])
        return calls, ByReference(shift)

    def aligned(self, static: int, scalars: Sequence[Value]) -> tuple[list[Call], np.ndarray]:
        """Return calls that add the signed exponents of a step to a number, and the array (1,) that holds the sum."""
        total, calls = np.full(1, static, np.int64), list[Call]()
        before: int | ByReference = static
        for sign, value in zip(self.op.attrs["signs"], scalars, strict=True):
            calls.append((kernels.add_exponent, (before, sign, self.arrays[value.tensor], total)))
            before = ByReference(total)
        return calls, total

    def words(self, size: int) -> tuple[np.ndarray, list[Call]]:
        """Return an array for the random words of the slice, and the call that draws them."""
        random: RandomSource = self.op.attrs.get("random") or RandomSource()
        words = np.zeros(size, np.uint32)
        if random.source == "philox":
            return words, [(kernels.philox_words, (self.seed, self.site, self.step, self.first, words))]
        start = lfsr_start(random.width, random.seed, self.seed, self.site)
        register = random.width, tap_mask(random.taps), start, random.shifts
        return words, [(kernels.lfsr_words, (*register, self.elements, self.step, self.first, words))]


def requant(op: Op, o: Operands) -> list[Call]:
    """Bind a cast."""
    raw, out = o.rows(0).reshape(-1), o.out.reshape(-1)
    lo, hi, rounding, mode = o.modes
    if "divisor" in op.attrs:
        return [
            (kernels.divide_fixed, (raw, op.attrs["divisor"], op.attrs["shift"], lo, hi, rounding, mode, out, o.counter))
        ]
    calls, shift = o.shift()
    if "random" in op.attrs:
        words, drawing = o.words(raw.size)
        random = op.attrs["random"]
        arguments = raw, shift, lo, hi, mode, words, random.bits, random.half, out, o.counter
        return [*calls, *drawing, (kernels.requantize_random, arguments)]
    place = o.seed, o.site, ByReference(o.step), o.first
    return [*calls, (kernels.requantize, (raw, shift, lo, hi, rounding, mode, *place, out, o.counter))]


def update(op: Op, o: Operands) -> list[Call]:
    """Bind an update."""
    last: tuple[Any, ...]
    parameter, gradient = o.out.reshape(-1), o.rows(1).reshape(-1)
    lo, hi, rounding, mode = o.modes
    rate, decay = op.attrs["rate"], op.attrs["decay_shift"]
    random: RandomSource = op.attrs.get("random") or RandomSource()
    if rate == "divide" and op.attrs["kind"] != "plus_minus_one":
        divisor = o.arrays[op.scalars[1].tensor]
        last = divisor, lo, hi, rounding, mode, decay, o.counter
        return [(kernels.update_divided, (parameter, gradient, -op.attrs["shift"], *last))]
    learning = o.arrays[op.scalars[0].tensor] if rate in ("shift", "multiply") else np.zeros(1, np.int64)
    calls, shift = o.shift(2 if rate in ("multiply", "divide") else 1)
    first = parameter, gradient, shift, learning
    if op.attrs["kind"] == "plus_minus_one":
        words, drawing = o.words(parameter.size)
        last = lo, hi, mode, words, random.bits or 16, o.counter
        return [*calls, *drawing, (kernels.update_by_one, (*first, *last))]
    if rate == "multiply" or decay >= 0 or not random.plain:
        factor = o.arrays[op.scalars[1].tensor] if rate == "multiply" else np.ones(1, np.int64)
        words, drawing = o.words(parameter.size) if op.attrs["rounding"] == "STOCH" else (NO_WORDS, [])
        last = factor, lo, hi, rounding, mode, words, random.bits, random.half, decay, o.counter
        return [*calls, *drawing, (kernels.update_scaled, (*first, *last))]
    last = lo, hi, rounding, mode, o.seed, o.site, o.step, o.first, o.counter
    return [*calls, (kernels.update_fixed, (*first, *last))]


def exponent(op: Op, o: Operands) -> list[Call]:
    """Bind the choice of an exponent, over the whole tensor."""
    return [(kernels.choose_exponent, (o.read[0].reshape(-1), op.attrs["bits"], op.attrs["nearest"], o.whole))]


def threshold(probability: float) -> int:
    """Return the word below which dropout silences."""
    return math.floor(probability * 2**32)
