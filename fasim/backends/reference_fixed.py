"""The interpreter's ops in fixed point, in Python integers; ``docs/reference/fixed-point.md`` is what they state.

Values are object arrays of flat rows, one sample a row; ops on maps take the shapes from the schedule.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from fasim.backends.reference_integers import (
    Array,
    brought_into_range,
    divided,
    each,
    integers,
    nearest_power,
    registers,
    rounded,
    rounded_number,
    words_of,
)
from fasim.fixedpoint.format import Fixed
from fasim.fixedpoint.trace import SiteCount, Trace
from fasim.schedule import Op, Schedule, Value
from fasim.state import State

LOG2_E = 47274
WORD_BITS = 32


class FixedOps:
    """One method an op, named by its kind."""

    schedule: Schedule
    now: dict[str, Array]
    state: State
    step: int
    trace: Trace

    def _read(self, op: Op) -> list[Array]:
        raise NotImplementedError

    def _write(self, op: Op, *results: Array) -> None:
        raise NotImplementedError

    # --- details that several ops share ----------------------------------------------------------------------------

    def _shaped(self, value: Value) -> Array:
        """Return a value in the shape of its tensor."""
        return self.now[value.tensor].reshape(self.schedule[value].shape)

    def _format(self, value: Value) -> Fixed:
        fmt = self.schedule[value].format
        assert fmt is not None, value
        return fmt

    def _scalars(self, op: Op, first: int = 0) -> int:
        """Return the sum of an op's exponents with their signs."""
        values = [int(self._scalar(value)) for value in op.scalars[first:]]
        return sum(sign * value for sign, value in zip(op.attrs.get("signs", ()), values, strict=True))

    def _scalar(self, value: Value) -> Any:  # noqa: ANN401
        return self.now[value.tensor][0] if value.tensor in self.now else self.state[value.tensor][0]

    def _count(self, site: str, elements: int, outside: int, mode: str) -> None:
        wraps = mode in ("WRAP", "NUMERIC_STD")
        self.trace.add(site, SiteCount(elements, 0 if wraps else outside, outside if wraps else 0))

    def _into(self, raw: Array, op: Op) -> Array:
        """Bring numbers into the range of what an op writes, and count."""
        mode = op.attrs["overflow"]
        result, outside = brought_into_range(raw, self._format(op.writes[0]), mode)
        self._count(op.site, raw.size, outside, mode)
        return result

    def _words(self, op: Op, elements: int) -> Array:
        return words_of(op.site, elements, self.step, int(self.state["seed"][0]), op.attrs.get("random"))

    def _summed(self, op: Op, products: Array, bias: Array | None = None) -> None:
        """Write the sums of products along the last axis, as the op's accumulator forms them."""
        flat = products.reshape(*products.shape[:1], -1, products.shape[-1])
        start = np.full(flat.shape[:2], 0, dtype=object)
        if bias is not None:
            start = start + np.tile(bias * 2 ** op.attrs["bias_shift"], flat.shape[1] // len(bias))
        acc = op.attrs.get("accumulator")
        if acc is None:
            self._write(op, start + flat.sum(-1) * 2 ** op.attrs.get("product_shift", 0))
            return
        result, outside = registers(flat, start, acc, self._format(op.writes[0]), op.attrs.get("product_shift", 0))
        self._count(op.site, result.size, outside, acc.overflow)
        self._write(op, result)

    # --- forward ---------------------------------------------------------------------------------------------------

    def _fixed_dense(self, op: Op) -> None:
        act, weight, *bias = self._read(op)
        self._summed(op, act[:, None, :] * weight[None, :, :], *bias)

    def _fixed_conv(self, op: Op) -> None:
        act, weight = (self._shaped(value) for value in op.reads[:2])
        bias = [self.now[value.tensor] for value in op.reads[2:]]
        windows = self._windows(act, op, weight.shape[1], self.schedule[op.writes[0]].shape[1:3])
        kernels = weight.reshape(len(weight), -1)
        self._summed(op, windows[..., None, :] * kernels, *bias)

    def _windows(self, act: Array, op: Op, kernel: int, places: tuple[int, ...]) -> Array:
        """Return the window below each output place, flattened in the order r, s, c."""
        padding, stride = op.attrs.get("padding", 0), op.attrs["stride"]
        height, width = act.shape[1:3]
        # not by np.pad, whose zeros are NumPy's and overflow
        wide = np.zeros((len(act), height + 2 * padding, width + 2 * padding, act.shape[3]), dtype=object)
        wide[:, padding : padding + height, padding : padding + width] = act
        result = np.zeros((len(act), *places, kernel * kernel * act.shape[3]), dtype=object)
        for p, q in np.ndindex(*places):
            window = wide[:, p * stride : p * stride + kernel, q * stride : q * stride + kernel]
            result[:, p, q] = window.reshape(len(act), -1)
        return result

    def _fixed_activate(self, op: Op) -> None:
        (preact,) = self._read(op)
        self._write(op, each(lambda x: max(x, 0), preact) if op.attrs["function"] == "relu" else preact)

    def _fixed_lookup(self, op: Op) -> None:
        codes, table = self.now[op.reads[0].tensor], self.schedule.tables[op.reads[1].tensor]
        self._write(op, each(lambda code: int(table[code - op.attrs["lowest"]]), codes))

    def _fixed_softmax(self, op: Op) -> None:
        preact, table = self.now[op.reads[0].tensor], self.schedule.tables[op.reads[1].tensor]
        shift, fraction = op.attrs["log_shift"] + self._scalars(op), op.attrs["fraction_bits"]
        one, fmt = 2 ** op.attrs["one_shift"], self._format(op.writes[0])
        result = np.empty_like(preact)
        for n, row in enumerate(preact):
            logs = [x * LOG2_E // 2**shift if shift >= 0 else x * LOG2_E * 2**-shift for x in row]
            below = [log - max(logs) for log in logs]
            terms = [int(table[d % 2**fraction]) // 2 ** min(-(d // 2**fraction), 31) for d in below]
            result[n] = [(2 * term * one + sum(terms)) // (2 * sum(terms)) for term in terms]
        limited, outside = brought_into_range(result, fmt, "SAT")
        self._count(op.site, result.size, outside, "SAT")
        self._write(op, limited)

    def _fixed_dropout(self, op: Op) -> None:
        (act,) = self._read(op)
        words = self._words(op, act.size)
        mask = each(int, words >= math.floor(op.attrs["drop"] * 2**WORD_BITS)).reshape(act.shape)
        self._write(op, act * mask, mask)

    def _fixed_scale(self, op: Op) -> None:
        self._write(op, *self._read(op))

    def _fixed_pool(self, op: Op) -> None:
        act, out = self._shaped(op.reads[0]), self.schedule[op.writes[0]].shape
        kernel = op.attrs["kernel"]
        windows = self._windows(act, op, kernel, out[1:3]).reshape(*out[:3], kernel * kernel, out[3])
        place = integers(np.argmax(windows, 3))
        self._write(op, _rows(windows.max(3)), _rows(place))

    def _fixed_unpool(self, op: Op) -> None:
        signal, place = (self.now[value.tensor].reshape(self.schedule[op.reads[1]].shape) for value in op.reads)
        kernel, stride = op.attrs["kernel"], op.attrs["stride"]
        wide = np.zeros(self.schedule[op.writes[0]].shape, dtype=object)
        for n, p, q, c in np.ndindex(*signal.shape):
            r, s = divmod(int(place[n, p, q, c]), kernel)
            wide[n, p * stride + r, q * stride + s, c] += signal[n, p, q, c]
        self._write(op, _rows(wide))

    def _fixed_average_pool(self, op: Op) -> None:
        act, out = self._shaped(op.reads[0]), self.schedule[op.writes[0]].shape
        windows = self._windows(act, op, op.attrs["kernel"], out[1:3]).reshape(*out[:3], -1, out[3])
        self._write(op, _rows(windows.sum(3)))

    def _fixed_average_unpool(self, op: Op) -> None:
        kernel, stride = op.attrs["kernel"], op.attrs["stride"]
        wide = np.zeros(self.schedule[op.writes[0]].shape, dtype=object)
        places = [(size - kernel) // stride + 1 for size in wide.shape[1:3]]
        signal = self.now[op.reads[0].tensor].reshape(len(wide), *places, wide.shape[3])
        for p, q in np.ndindex(*places):
            wide[:, p * stride : p * stride + kernel, q * stride : q * stride + kernel] += signal[:, p : p + 1, q : q + 1]
        self._write(op, _rows(wide))

    def _fixed_norm(self, op: Op) -> None:
        x, mean, var = self._channels(op.reads[0]), *self._read(op)[1:]
        m = each(lambda total: _half_up(total, len(x)), x.sum(0))
        variance = each(lambda total: total // len(x), ((x - m) ** 2).sum(0))
        exponent = each(lambda v: v.bit_length() // 2, variance)
        moved = [old + rounded((new * 2**8) - old, 3, "RND") for old, new in ((mean, m), (var, variance))]
        self._write(op, _rows_like(self._normal(op, x, m, exponent), self.now[op.reads[0].tensor]), exponent, *moved)

    def _fixed_norm_inference(self, op: Op) -> None:
        x, mean, var = self._channels(op.reads[0]), *self._read(op)[1:]
        exponent = each(lambda v: (v >> 8).bit_length() // 2, var)
        normal = self._normal(op, x, rounded(mean, 8, "RND"), exponent)
        self._write(op, _rows_like(normal, self.now[op.reads[0].tensor]))

    def _normal(self, op: Op, x: Array, mean: Array, exponent: Array) -> Array:
        """Return ``(x - mean) / 2^exponent`` in the op's format."""
        shifts = exponent - op.attrs["frac"]
        columns = [rounded(x[:, c] - mean[c], shifts[c], op.attrs["rounding"]) for c in range(x.shape[1])]
        return self._into(np.stack(columns, 1), op)

    def _channels(self, value: Value) -> Array:
        """Return a value as rows of channels."""
        return self.now[value.tensor].reshape(-1, self.schedule[value].shape[-1])

    def _fixed_affine(self, op: Op) -> None:
        normal, gain, shift = self._channels(op.reads[0]), *self._read(op)[1:]
        out = normal * gain * 2 ** op.attrs["product_shift"] + shift * 2 ** op.attrs["shift_shift"]
        self._write(op, _rows_like(out, self.now[op.reads[0].tensor]))

    def _fixed_norm_back(self, op: Op) -> None:
        d, normal = (self._channels(value) for value in op.reads[:2])
        exponent, gain = self._read(op)[2:]
        frac, rows = op.attrs["frac"], len(d)
        mean_d = each(lambda total: _half_up(total, rows), d.sum(0))
        mean_t = each(lambda total: _half_up(total, rows), (d * normal).sum(0))
        v = d - mean_d - rounded(normal * mean_t, 2 * frac, "RND")
        shifts = op.attrs["shift"] + exponent - frac
        columns = [rounded(gain[c] * v[:, c], shifts[c], op.attrs["rounding"]) for c in range(d.shape[1])]
        self._write(op, _rows_like(self._into(np.stack(columns, 1), op), self.now[op.reads[0].tensor]))

    def _fixed_perturb(self, op: Op) -> None:
        act, signal = self._read(op)
        self._write(op, act + each(lambda s: (s > 0) - (s < 0), signal) * op.attrs["eps"])

    # --- error and way back ----------------------------------------------------------------------------------------

    def _fixed_error(self, op: Op) -> None:
        output, label = self._read(op)
        target = np.zeros_like(output)
        target[np.arange(len(label)), label] = op.attrs["one"]
        self._write(op, output - target)

    def _fixed_residual(self, op: Op) -> None:
        output, target = self._read(op)
        self._write(op, output * 2 ** op.attrs["output_shift"] - target * 2 ** op.attrs["target_shift"])

    def _fixed_sign(self, op: Op) -> None:
        (error,) = self._read(op)
        self._write(op, each(lambda e: -1 if e < 0 else 1, error))

    def _fixed_slope(self, op: Op) -> None:
        (act,) = self._read(op)
        self._write(op, each(lambda a: int(0 < a < op.attrs["highest"]), act))

    def _fixed_project(self, op: Op) -> None:
        signal, matrix = self._read(op)
        self._summed(op, signal[:, None, :] * matrix.T[None, :, :])

    def _fixed_project_up(self, op: Op) -> None:
        signal, matrix = self._read(op)
        self._summed(op, signal[:, None, :] * matrix.reshape(len(matrix), -1)[None, :, :])

    def _fixed_project_conv(self, op: Op) -> None:
        delta, weight = (self._shaped(value) for value in op.reads)
        height, width, channels = op.attrs["in_shape"]
        stride, padding, kernel = op.attrs["stride"], op.attrs["padding"], weight.shape[1]
        terms = np.zeros((len(delta), height, width, channels, kernel, kernel, len(weight)), dtype=object)
        for p, q, r, s in np.ndindex(*delta.shape[1:3], kernel, kernel):
            h, w = p * stride + r - padding, q * stride + s - padding
            if 0 <= h < height and 0 <= w < width:
                terms[:, h, w, :, r, s] = delta[:, p, q, None, :] * weight[:, r, s].T[None]
        self._summed(op, terms.reshape(len(delta), height * width * channels, -1))

    def _fixed_project_ell(self, op: Op) -> None:
        signal, values, index = self._read(op)
        self._write(op, (signal[:, index.astype(int)] * values).sum(2))

    def _fixed_project_csr(self, op: Op) -> None:
        signal, values, index, start = self._read(op)
        products = signal[:, index.astype(int)] * values
        columns = [products[:, a:b].sum(1) for a, b in itertools.pairwise(int(place) for place in start)]
        self._write(op, np.stack([column + np.zeros(len(signal), dtype=object) for column in columns], 1))

    def _fixed_select(self, op: Op) -> None:
        label, matrix = self._read(op)
        self._write(op, matrix[label])

    def _fixed_select_ell(self, op: Op) -> None:
        label, values, index = self._read(op)
        self._write(op, (values * (index[None] == label[:, None, None])).sum(2))

    def _fixed_select_csr(self, op: Op) -> None:
        label, values, index, start = self._read(op)
        chosen = values * (index[None] == label[:, None])
        columns = [chosen[:, a:b].sum(1) for a, b in itertools.pairwise(int(place) for place in start)]
        self._write(op, np.stack([column + np.zeros(len(label), dtype=object) for column in columns], 1))

    def _fixed_mean(self, op: Op) -> None:
        signals = [array.reshape(len(array), -1) for array in self._read(op)]
        self._write(op, sum(signals[1:], signals[0]) * (1 if len(signals) == 2 else 341))

    def _fixed_mask(self, op: Op) -> None:
        signal, mask = (array.reshape(len(array), -1) for array in self._read(op))
        self._write(op, signal * mask)

    def _fixed_delta(self, op: Op) -> None:
        signal, *slope = (array.reshape(len(array), -1) for array in self._read(op))
        if op.attrs.get("divide"):
            quotient = [rounded_number(a, b, "TRN_ZERO") for a, b in zip(signal.flat, slope[0].flat, strict=True)]
            self._write(op, np.array(quotient, dtype=object).reshape(signal.shape))
            return
        self._write(op, math.prod(slope, start=signal))

    # --- gradients and updates -------------------------------------------------------------------------------------

    def _fixed_grad(self, op: Op) -> None:
        delta, act = self._read(op)
        self._summed(op, delta.T[:, None, :] * act.T[None, :, :])

    def _fixed_grad_conv(self, op: Op) -> None:
        delta, act = (self._shaped(value) for value in op.reads)
        kernel = self.schedule[op.writes[0]].shape[1]
        windows = self._windows(act, op, kernel, delta.shape[1:3])
        flat, places = delta.reshape(-1, delta.shape[3]), windows.reshape(-1, windows.shape[3])
        self._summed(op, flat.T[:, None, :] * places.T[None, :, :])

    def _fixed_grad_bias(self, op: Op) -> None:
        (delta,) = self._read(op)
        rows = delta.reshape(-1, self.schedule[op.writes[0]].shape[0])
        self._summed(op, rows.T[:, None, :])
        self.now[op.writes[0].tensor] = self.now[op.writes[0].tensor].reshape(-1)

    def _fixed_grad_gain(self, op: Op) -> None:
        delta, normal = (self._channels(value) for value in op.reads)
        self._write(op, (delta * normal).sum(0))

    def _fixed_clip(self, op: Op) -> None:
        limit = op.attrs["limit"]
        self._write(op, each(lambda g: min(max(g, -limit), limit), *self._read(op)))

    def _fixed_exponent(self, op: Op) -> None:
        (source,) = self._read(op)
        largest = max(abs(value) for value in source.reshape(-1))
        if not largest:
            dropped = 0
        elif op.attrs["nearest"]:
            dropped = nearest_power(largest) - op.attrs["bits"]
        else:
            dropped = max(0, largest.bit_length() - op.attrs["bits"])
        self._write(op, np.array([dropped], dtype=object))

    def _fixed_requant(self, op: Op) -> None:
        (source,) = self._read(op)
        shift, rounding = op.attrs["shift"] + self._scalars(op), op.attrs["rounding"]
        words = self._words(op, source.size) if rounding == "STOCH" and shift > 0 else None
        if "divisor" in op.attrs:
            raw = divided(rounded(source, shift, "TRN"), op.attrs["divisor"], rounding)
        else:
            raw = rounded(source, shift, rounding, words, op.attrs.get("random"))
        self._write(op, self._into(raw, op))


def _rows(array: Array) -> Array:
    return array.reshape(len(array), -1)


def _rows_like(array: Array, like: Array) -> Array:
    return array.reshape(like.shape)


def _half_up(total: int, count: int) -> int:
    return (2 * total + count) // (2 * count)
