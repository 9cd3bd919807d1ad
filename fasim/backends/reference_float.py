"""The interpreter's ops that exist in float alone: convolution, pooling, normalisation, dropout, sparse feedback, clipping.

Values are flat rows, one sample a row; ops on maps take the shapes from the schedule. Stated by offsets of the kernel
window, one NumPy expression each.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterator

import numpy as np

from fasim.backends.cpu_float import NORM_EPS, NORM_MOMENTUM
from fasim.scalar.philox import random_word
from fasim.schedule import Op, Schedule, Value
from fasim.state import State

Array = np.ndarray


class FloatOps:
    """One method an op, named by its kind."""

    schedule: Schedule
    now: dict[str, Array]
    state: State
    step: int

    def _read(self, op: Op) -> list[Array]:
        raise NotImplementedError

    def _write(self, op: Op, *results: Array) -> None:
        raise NotImplementedError

    def _map(self, value: Value) -> Array:
        """Return a value in the shape of its tensor."""
        return self.now[value.tensor].reshape(self.schedule[value].shape)

    def _conv(self, op: Op) -> None:
        act, weight, bias = (self._map(value) for value in op.reads)
        out = np.zeros(self.schedule[op.writes[0]].shape) + bias
        for r, s, window in _windows(_padded(act, op), weight.shape[1], op.attrs["stride"], out.shape[1:3]):
            out += window @ weight[:, r, s].T
        self._write(op, _rows(out))

    def _project_conv(self, op: Op) -> None:
        delta, weight = (self._map(value) for value in op.reads)
        padding = op.attrs["padding"]
        height, width, channels = op.attrs["in_shape"]
        wide = np.zeros((len(delta), height + 2 * padding, width + 2 * padding, channels))
        for r, s, window in _windows(wide, weight.shape[1], op.attrs["stride"], delta.shape[1:3]):
            window += delta @ weight[:, r, s]
        inner = wide[:, padding : padding + height, padding : padding + width]
        self._write(op, _rows(inner) * op.attrs["scale"])

    def _grad_conv(self, op: Op) -> None:
        delta, act = (self._map(value) for value in op.reads)
        out = np.zeros(self.schedule[op.writes[0]].shape)
        for r, s, window in _windows(_padded(act, op), out.shape[1], op.attrs["stride"], delta.shape[1:3]):
            out[:, r, s] = np.einsum("nhwj,nhwc->jc", delta, window)
        self._write(op, out)

    def _pool(self, op: Op) -> None:
        act, kernel = self._map(op.reads[0]), op.attrs["kernel"]
        places = self.schedule[op.writes[0]].shape[1:3]
        windows = np.stack([window for _, _, window in _windows(act, kernel, op.attrs["stride"], places)])
        self._write(op, _rows(windows.max(0)), _rows(windows.argmax(0)))

    def _unpool(self, op: Op) -> None:
        index = self._map(op.reads[1])
        signal = self.now[op.reads[0].tensor].reshape(index.shape)
        out = np.zeros(self.schedule[op.writes[0]].shape)
        kernel = op.attrs["kernel"]
        for r, s, window in _windows(out, kernel, op.attrs["stride"], index.shape[1:3]):
            window += signal * (index == r * kernel + s)
        self._write(op, _rows(out))

    def _average_pool(self, op: Op) -> None:
        act, kernel = self._map(op.reads[0]), op.attrs["kernel"]
        places = self.schedule[op.writes[0]].shape[1:3]
        windows = np.stack([window for _, _, window in _windows(act, kernel, op.attrs["stride"], places)])
        self._write(op, _rows(windows.mean(0)))

    def _average_unpool(self, op: Op) -> None:
        out, kernel, stride = np.zeros(self.schedule[op.writes[0]].shape), op.attrs["kernel"], op.attrs["stride"]
        places = tuple((size - kernel) // stride + 1 for size in out.shape[1:3])
        signal = self.now[op.reads[0].tensor].reshape(len(out), *places, out.shape[3])
        for _, _, window in _windows(out, kernel, stride, places):
            window += signal / kernel**2
        self._write(op, _rows(out))

    def _norm(self, op: Op) -> None:
        shape = self.schedule[op.reads[0]].shape
        preact = self.now[op.reads[0].tensor].reshape(-1, shape[-1])
        gain, shift, running_mean, running_var = (self.now[value.tensor] for value in op.reads[1:])
        mean, var = preact.mean(0), preact.var(0)
        inverse = 1 / np.sqrt(var + NORM_EPS)
        normal = (preact - mean) * inverse
        moved = (
            running_mean + NORM_MOMENTUM * (mean - running_mean),
            running_var + NORM_MOMENTUM * (var * len(preact) / (len(preact) - 1) - running_var),
        )
        normed = _rows((gain * normal + shift).reshape(shape))
        self._write(op, normed, _rows(normal.reshape(shape)), inverse, *moved)

    def _norm_inference(self, op: Op) -> None:
        shape = self.schedule[op.reads[0]].shape
        preact, gain, shift, mean, var = self._read(op)
        normal = (preact.reshape(shape) - mean) / np.sqrt(var + NORM_EPS)
        self._write(op, _rows(gain * normal + shift))

    def _norm_back(self, op: Op) -> None:
        shape = self.schedule[op.reads[0]].shape
        delta, normal = (self.now[value.tensor].reshape(-1, shape[-1]) for value in op.reads[:2])
        inverse, gain = self._read(op)[2:]
        out = gain * inverse * (delta - delta.mean(0) - normal * (delta * normal).mean(0))
        self._write(op, _rows(out.reshape(shape)))

    def _grad_gain(self, op: Op) -> None:
        delta, normal = self._read(op)
        self._write(op, (delta * normal).reshape(-1, self.schedule[op.writes[0]].shape[0]).sum(0))

    def _dropout(self, op: Op) -> None:
        (act,) = self._read(op)
        site, seed = zlib.crc32(op.site.encode()), int(self.state["seed"][0])
        threshold = math.floor(op.attrs["drop"] * 2**32)
        words = [int(random_word.py_func(seed, site, self.step, index)) for index in range(act.size)]
        mask = (np.array(words) >= threshold).astype(float).reshape(act.shape)
        self._write(op, act * mask * op.attrs["scale"], mask)

    def _scale(self, op: Op) -> None:
        (act,) = self._read(op)
        self._write(op, act * op.attrs["scale"])

    def _mask(self, op: Op) -> None:
        signal, mask = self._read(op)
        self._write(op, _rows(signal) * _rows(mask) * op.attrs["scale"])

    def _perturb(self, op: Op) -> None:
        act, signal = self._read(op)
        self._write(op, _rows(act) + op.attrs["eps"] * np.sign(_rows(signal)))

    def _residual(self, op: Op) -> None:
        output, target = self._read(op)
        self._write(op, output - _rows(target))

    def _project_up(self, op: Op) -> None:
        signal, matrix = self._read(op)
        self._write(op, _rows(signal) @ matrix.reshape(len(matrix), -1).T * op.attrs["scale"])

    def _project_ell(self, op: Op) -> None:
        signal, values, index = self._read(op)
        self._write(op, np.einsum("nje,je->nj", signal[:, index], values) * op.attrs["scale"])

    def _project_csr(self, op: Op) -> None:
        signal, values, index, start = self._read(op)
        self._write(op, _sums(signal[:, index] * values, start) * op.attrs["scale"])

    def _select_ell(self, op: Op) -> None:
        label, values, index = self._read(op)
        self._write(op, ((index == label[:, None, None]) * values).sum(2) * op.attrs["scale"])

    def _select_csr(self, op: Op) -> None:
        label, values, index, start = self._read(op)
        self._write(op, _sums((index == label[:, None]) * values, start) * op.attrs["scale"])

    def _mean(self, op: Op) -> None:
        self._write(op, np.mean([_rows(signal) for signal in self._read(op)], axis=0))

    def _clip(self, op: Op) -> None:
        (gradient,) = self._read(op)
        self._write(op, np.clip(gradient, -op.attrs["limit"], op.attrs["limit"]))

    def _squared_norm(self, op: Op) -> None:
        self._write(op, np.array([sum(float((gradient**2).sum()) for gradient in self._read(op))]))

    def _rescale(self, op: Op) -> None:
        gradient, norm = self._read(op)
        self._write(op, gradient * min(1.0, op.attrs["limit"] / (math.sqrt(norm[0]) + 1e-6)))


def _rows(array: Array) -> Array:
    return array.reshape(len(array), -1)


def _padded(act: Array, op: Op) -> Array:
    padding = op.attrs["padding"]
    return np.pad(act, ((0, 0), (padding, padding), (padding, padding), (0, 0)))


def _windows(maps: Array, kernel: int, stride: int, places: tuple[int, ...]) -> Iterator[tuple[int, int, Array]]:
    """Yield, for each offset (r, s) in the window, the view of what lies there in every window: (N, P, Q, C)."""
    height, width = ((count - 1) * stride + 1 for count in places)
    for r, s in itertools.product(range(kernel), range(kernel)):
        yield r, s, maps[:, r : r + height : stride, s : s + width : stride]


def _sums(products: Array, start: Array) -> Array:
    """Return the sums of runs of columns, ``start[j] .. start[j+1] - 1`` for column j; a run may be empty."""
    running = np.concatenate([np.zeros((len(products), 1)), np.cumsum(products, axis=1)], axis=1)
    return running[:, start[1:]] - running[:, start[:-1]]
