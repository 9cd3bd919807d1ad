"""A fixed-point training step in plain NumPy, fast enough for the networks that are timed.

The interpreter (``backend = "reference"``) counts in Python integers: minutes for a step of the larger networks. Here
sums of products are formed in float64, which holds them exactly, everything else in int64. Exact sums, powers of two as
learning rates, SAT, RND and STOCH: what s8, s16 and s8_stoch have; anything else is refused. A test holds these steps
against the interpreter, the benchmark holds the kernels against these steps.
"""

from __future__ import annotations

import numpy as np

from fasim.backends import Samples
from fasim.backends.reference_integers import words_of
from fasim.schedule import Op, Schedule, Value
from fasim.state import State

# A float64 holds every whole number below.
EXACT = 2.0**53
# What an op would have to do besides: divide by a number or by the slope, move the point by an exponent, limit a sum.
UNKNOWN = ("divisor", "divide", "signs", "accumulator")


class PlainSteps:
    """Walks a schedule, one method an op."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        unknown = sorted({op.kind for op in schedule.ops if not hasattr(self, f"_{op.kind.lower()}")})
        unknown += [f"attribute {name}" for op in schedule.ops for name in UNKNOWN if op.attrs.get(name)]
        if unknown:
            raise SystemExit(f"plain steps know no {', '.join(unknown)}: rule {schedule.rule}, {schedule.datapath}")

    def run(self, state: State, data: Samples, order: np.ndarray, first_step: int) -> None:
        """Train in place; see :class:`fasim.backends.Program`."""
        size = self.schedule.batch_size
        for number in range(len(order) // size):
            rows = order[number * size : (number + 1) * size]
            self.state, self.step = state, first_step + number
            self.now = {name: array.astype(np.int64) for name, array in (state | self.schedule.tables).items()}
            self.now |= {"label": data.labels[rows], self.schedule.given("act"): data.codes[rows].astype(np.int64)}
            for op in self.schedule.ops:
                getattr(self, f"_{op.kind.lower()}")(op)
            for value in (value for op in self.schedule.ops for value in op.writes):
                if value.tensor in state:
                    state[value.tensor][...] = self.now[value.tensor].reshape(state[value.tensor].shape)

    def _get(self, value: Value) -> np.ndarray:
        return self.now[value.tensor].reshape(self.schedule[value].shape or (-1,))

    def _read(self, op: Op) -> list[np.ndarray]:
        return [self._get(value) for value in op.reads]

    def _flat(self, op: Op) -> list[np.ndarray]:
        return [array.reshape(len(array), -1) for array in self._read(op)]

    def _write(self, op: Op, *results: np.ndarray) -> None:
        for value, result in zip(op.writes, results, strict=False):
            self.now[value.tensor] = result

    def _sums(self, op: Op, a: np.ndarray, b: np.ndarray, bias: np.ndarray | None = None) -> None:
        """Write ``a @ b``, aligned with a bias if there is one."""
        sums = a.astype(np.float64) @ b.astype(np.float64)
        assert np.abs(sums).max(initial=0) < EXACT
        total = sums.astype(np.int64) << op.attrs.get("product_shift", 0)
        self._write(op, total if bias is None else total + (bias << op.attrs["bias_shift"]))

    def _rounded(self, op: Op, raw: np.ndarray, shift: int) -> np.ndarray:
        if shift <= 0:
            return raw << -shift
        match op.attrs["rounding"]:
            case "RND":
                return (raw + (1 << (shift - 1))) >> shift
            case "STOCH" if op.attrs.get("random") is None or op.attrs["random"].bits == 0:
                words = words_of(op.site, raw.size, self.step, int(self.state["seed"][0]), op.attrs.get("random"))
                return (raw + (words.astype(np.int64) % (1 << shift)).reshape(raw.shape)) >> shift
        raise SystemExit(f"plain steps know no rounding {op.attrs['rounding']}")

    def _into_range(self, op: Op, raw: np.ndarray) -> None:
        fmt = self.schedule[op.writes[0]].format
        assert fmt is not None
        if op.attrs["overflow"] != "SAT":
            raise SystemExit(f"plain steps know no overflow {op.attrs['overflow']}")
        self._write(op, np.clip(raw, fmt.lo, fmt.hi))

    def _windows(self, act: np.ndarray, op: Op, kernel: int) -> np.ndarray:
        """Return the windows (N P Q, R S C) below all output places."""
        padding, stride = op.attrs.get("padding", 0), op.attrs["stride"]
        wide = np.pad(act, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
        views = np.lib.stride_tricks.sliding_window_view(wide, (kernel, kernel), (1, 2))[:, ::stride, ::stride]
        return views.transpose(0, 1, 2, 4, 5, 3).reshape(np.prod(views.shape[:3]), -1)

    def _dense(self, op: Op) -> None:
        act, weight, bias = self._flat(op)
        self._sums(op, act, weight.T, bias[:, 0])

    def _conv(self, op: Op) -> None:
        act, weight, bias = self._read(op)
        self._sums(op, self._windows(act, op, weight.shape[1]), weight.reshape(len(weight), -1).T, bias)

    def _requant(self, op: Op) -> None:
        self._into_range(op, self._rounded(op, self._read(op)[0], op.attrs["shift"]))

    def _lookup(self, op: Op) -> None:
        codes, table = self._read(op)
        self._write(op, table[codes - op.attrs["lowest"]])

    def _pool(self, op: Op) -> None:
        (act,) = self._read(op)
        kernel, channels = op.attrs["kernel"], act.shape[3]
        windows = self._windows(act, op, kernel).reshape(-1, kernel * kernel, channels)
        self._write(op, windows.max(1), windows.argmax(1))

    def _unpool(self, op: Op) -> None:
        out = np.zeros(self.schedule[op.writes[0]].shape, np.int64)
        place = self._get(op.reads[1])
        signal = self._get(op.reads[0]).reshape(place.shape)
        n, p, q, c = np.indices(place.shape)
        stride, kernel = op.attrs["stride"], op.attrs["kernel"]
        np.add.at(out, (n, p * stride + place // kernel, q * stride + place % kernel, c), signal)
        self._write(op, out)

    def _error(self, op: Op) -> None:
        output, label = self._read(op)
        self._write(op, output - op.attrs["one"] * (label[:, None] == np.arange(output.shape[1])))

    def _sign(self, op: Op) -> None:
        self._write(op, np.where(self._read(op)[0] < 0, -1, 1))

    def _project(self, op: Op) -> None:
        self._sums(op, *self._flat(op))

    _project_up = _project

    def _project_conv(self, op: Op) -> None:
        delta, weight = self._read(op)
        stride, padding, kernel = op.attrs["stride"], op.attrs["padding"], weight.shape[1]
        height, width, channels = op.attrs["in_shape"]
        out = np.zeros((len(delta), height + 2 * padding, width + 2 * padding, channels), np.int64)
        terms = (delta.astype(np.float64) @ weight.reshape(len(weight), -1).astype(np.float64)).astype(np.int64)
        terms = terms.reshape(*delta.shape[:3], kernel, kernel, channels)
        rows, columns = stride * delta.shape[1], stride * delta.shape[2]
        for r, s in np.ndindex(kernel, kernel):
            out[:, r : r + rows : stride, s : s + columns : stride] += terms[:, :, :, r, s]
        self._write(op, np.ascontiguousarray(out[:, padding : padding + height, padding : padding + width]))

    def _select(self, op: Op) -> None:
        label, matrix = self._read(op)
        self._write(op, matrix[label])

    def _delta(self, op: Op) -> None:
        signal, slope = self._flat(op)
        self._write(op, signal * slope)

    def _grad(self, op: Op) -> None:
        delta, act = self._flat(op)
        self._sums(op, delta.T, act)

    def _grad_conv(self, op: Op) -> None:
        delta, act = self._read(op)
        kernel = self.schedule[op.writes[0]].shape[1]
        self._sums(op, delta.reshape(-1, delta.shape[3]).T, self._windows(act, op, kernel))

    def _grad_bias(self, op: Op) -> None:
        (delta,) = self._read(op)
        self._write(op, delta.reshape(-1, delta.shape[-1]).sum(0))

    def _update(self, op: Op) -> None:
        parameter, gradient = self._read(op)
        if (op.attrs["rate"], op.attrs["kind"]) != ("shift", "subtract") or op.attrs["decay_shift"] >= 0:
            raise SystemExit(f"plain steps know plain sgd with a power of two alone, not {op.attrs}")
        shift = op.attrs["shift"] + int(self.state[op.scalars[0].tensor][0])
        self._into_range(op, parameter - self._rounded(op, gradient.reshape(parameter.shape), shift))
