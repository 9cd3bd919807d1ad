"""Binding of casts and updates in fixed point: shifts that are known in the step alone, random words, counters."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from fasim import kernels
from fasim.backends.cpu_bind import Arrays, Call, Slice
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
        self.first = part.start * (tensor.elements // (tensor.shape or (1,))[0])

    def rows(self, index: int) -> np.ndarray:
        """Return the slice of an operand."""
        return self.part.of(self.read[index])

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

    def shift(self, first: int = 0) -> Callable[[], int]:
        """Return a function that adds the exponents of this step, from scalar number `first`, to the shift of the op."""
        static = self.op.attrs["shift"]
        signs = self.op.attrs.get("signs", ())
        values = [self.arrays[value.tensor] for value in self.op.scalars[first:]]
        pairs = list(zip(signs, values, strict=True))
        return lambda: static + sum(sign * int(value[0]) for sign, value in pairs)

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
    last: tuple[Any, ...]
    raw, out, shift = o.rows(0).reshape(-1), o.out.reshape(-1), o.shift()
    lo, hi, rounding, mode = o.modes
    if "divisor" in op.attrs:
        return [
            (kernels.divide_fixed, (raw, op.attrs["divisor"], op.attrs["shift"], lo, hi, rounding, mode, out, o.counter))
        ]
    if "random" in op.attrs:
        words, calls = o.words(raw.size)
        random = op.attrs["random"]
        last = lo, hi, mode, words, random.bits, random.half, out, o.counter
        return [*calls, (_late, (kernels.requantize_random, (raw,), shift, last))]
    seed, site, step, first = o.seed, o.site, o.step, o.first
    if not op.scalars and op.attrs["rounding"] != "STOCH":
        last = rounding, mode, seed, site, 0, first, out, o.counter
        return [(kernels.requantize, (raw, op.attrs["shift"], lo, hi, *last))]

    def call() -> None:
        kernels.requantize(raw, shift(), lo, hi, rounding, mode, seed, site, step[0], first, out, o.counter)

    return [(call, ())]


def update(op: Op, o: Operands) -> list[Call]:
    """Bind an update."""
    last: tuple[Any, ...]
    parameter, gradient = o.out.reshape(-1), o.rows(1).reshape(-1)
    lo, hi, rounding, mode = o.modes
    rate, decay = op.attrs["rate"], op.attrs["decay_shift"]
    learning = o.arrays[op.scalars[0].tensor] if rate in ("shift", "multiply") else np.zeros(1, np.int64)
    shift = o.shift(2 if rate in ("multiply", "divide") else 1)
    random: RandomSource = op.attrs.get("random") or RandomSource()
    if op.attrs["kind"] == "plus_minus_one":
        words, calls = o.words(parameter.size)
        last = learning, lo, hi, mode, words, random.bits or 16, o.counter
        return [*calls, (_late, (kernels.update_by_one, (parameter, gradient), shift, last))]
    if rate == "divide":
        divisor = o.arrays[op.scalars[1].tensor]
        last = divisor, lo, hi, rounding, mode, decay, o.counter
        return [(kernels.update_divided, (parameter, gradient, -op.attrs["shift"], *last))]
    if rate == "multiply" or decay >= 0 or not random.plain:
        factor = o.arrays[op.scalars[1].tensor] if rate == "multiply" else np.ones(1, np.int64)
        words, calls = o.words(parameter.size) if op.attrs["rounding"] == "STOCH" else (NO_WORDS, [])
        last = learning, factor, lo, hi, rounding, mode, words, random.bits, random.half, decay, o.counter
        return [*calls, (_late, (kernels.update_scaled, (parameter, gradient), shift, last))]
    last = learning, lo, hi, rounding, mode, o.seed, o.site, o.step, o.first, o.counter
    if op.attrs["signs"]:
        return [(_late, (kernels.update_fixed, (parameter, gradient), shift, last))]
    return [(kernels.update_fixed, (parameter, gradient, op.attrs["shift"], *last))]


def exponent(op: Op, o: Operands) -> list[Call]:
    """Bind the choice of an exponent, over the whole tensor."""
    (source,), out = o.read, o.whole
    bits, nearest = op.attrs["bits"], op.attrs["nearest"]
    return [(_choose, (source, bits, nearest, out))]


def _choose(source: np.ndarray, bits: int, nearest: bool, out: np.ndarray) -> None:
    """Write how many bits a cast of `source` drops."""
    largest = max(int(source.max()), -int(source.min()))
    if not largest:
        out[0] = 0
    elif nearest:
        out[0] = (largest * largest).bit_length() // 2 - bits
    else:
        out[0] = max(0, largest.bit_length() - bits)


def _late(kernel: Callable[..., Any], first: tuple[Any, ...], shift: Callable[[], int], last: tuple[Any, ...]) -> None:
    """Call a kernel with the shift of the step that runs now."""
    kernel(*first, shift(), *last)


def threshold(probability: float) -> int:
    """Return the word below which dropout silences."""
    return math.floor(probability * 2**32)
