"""The interpreter: what a schedule means, in NumPy float64 and in Python integers.

Every op is one short method. Rounding is stated by quotient and remainder, not by the shifts that the kernels use. Nothing
here is fast, nothing is shared with the kernels but the random words; ``tests/reference/`` checks it against each rule
written by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from fasim import optimizers
from fasim.backends import Samples, chunks
from fasim.backends.reference_float import FloatOps
from fasim.backends.reference_integers import integers
from fasim.backends.reference_updates import FixedUpdates
from fasim.errors import ConfigError
from fasim.fixedpoint.trace import Trace
from fasim.schedule import Op, Schedule, Value
from fasim.schedule.defer import PREVIOUS, deferred
from fasim.state import State

Array = np.ndarray

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    "linear": lambda x: x,
    "softmax": lambda x: np.exp(x - x.max(1, keepdims=True)) / np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True),
}
SLOPES: dict[str, Callable[[Array], Array]] = {
    "tanh": lambda a: 1 - a**2,
    "sigmoid": lambda a: a * (1 - a),
    "relu": lambda a: (a > 0).astype(float),
}


class ReferenceProgram(FloatOps, FixedUpdates):
    """Interprets a schedule."""

    def __init__(self, schedule: Schedule, *, threads: int = 1) -> None:  # noqa: ARG002
        self.schedule = schedule
        self.fixed = schedule.datapath != "float32"
        self.methods = "_fixed_" if self.fixed else "_"
        for op in schedule.ops:
            if not hasattr(self, self.methods + op.kind.lower()):
                raise ConfigError(f"backend reference cannot run {op.kind} on the datapath {schedule.datapath} yet")
        written = {value.tensor for op in schedule.ops for value in op.writes}
        self.changed = [name for name in written if schedule[name].storage == "state"]

    def run(self, state: State, data: Samples, order: Array, first_step: int) -> Trace:
        """Train; see :class:`fasim.backends.Program`. In float the state becomes float64."""
        size, steps = self.schedule.batch_size, len(order) // self.schedule.batch_size
        trace = Trace()
        late = [op for op in self.schedule.ops if deferred(op)]
        previous = [tensor.name for tensor in self.schedule.tensors.values() if tensor.storage == "previous"]
        # the first step has nothing of a step before to update with
        ops = [op for op in self.schedule.ops if not deferred(op)]
        kept: dict[str, Array] = {}
        for index in range(steps):
            inputs = self._inputs(data, order[index * size : (index + 1) * size])
            values = self._step(state, inputs | kept, first_step + index, trace, ops)
            kept = {name: values[name.removesuffix(PREVIOUS)] for name in previous}
            ops = list(self.schedule.ops)
        if steps and late:
            self._step(state, kept, first_step + steps, trace, late)
        return trace

    def outputs(self, state: State, data: Samples) -> Array:
        """Return outputs as floats; see :class:`fasim.backends.Program`."""
        results = []
        for number, rows, count in chunks(len(data.codes), self.schedule.batch_size):
            values = self._step(dict(state), self._inputs(data, rows), number, Trace(), self.schedule.ops)
            results.append(self._real(values, "output")[:count])
        return np.concatenate(results)

    def values(self, state: State, data: Samples, names: Sequence[str]) -> dict[str, Array]:
        """Return tensors of one batch as floats; see :class:`fasim.backends.Program`."""
        inputs = self._inputs(data, np.arange(self.schedule.batch_size))
        values = self._step(state, inputs, 0, Trace(), self.schedule.ops)
        return {name: self._real(values, name).reshape(self.schedule[name].shape) for name in names}

    def _real(self, values: dict[str, Array], name: str) -> Array:
        tensor = self.schedule[name]
        if tensor.format is None:
            return values[name].astype(float)
        moved = sum(sign * int(values[point][0]) for point, sign in tensor.points)
        return values[name].astype(float) * 2.0 ** -(tensor.format.frac + moved)

    def _step(self, state: State, values: dict[str, Array], step: int, trace: Trace, ops: Sequence[Op]) -> dict[str, Array]:
        """Run ops on given values, update the state and return all values."""
        for tensor in self.schedule.tensors.values():
            if tensor.draw is not None and tensor.draw.part in ("index", "start"):
                values[tensor.name] = state[tensor.name]
            elif tensor.storage in ("state", "generated"):
                values[tensor.name] = integers(state[tensor.name]) if self.fixed else state[tensor.name].astype(float)
        self.now, self.state, self.trace = values, state, trace
        for op in ops:
            self.step = step - deferred(op)
            getattr(self, self.methods + op.kind.lower())(op)
        for name in self.changed:
            state[name] = values[name].astype(self._format(Value(name)).dtype) if self.fixed else values[name]
        return values

    def _inputs(self, data: Samples, rows: Array) -> dict[str, Array]:
        """Return a batch of inputs, one sample a row, and of labels."""
        codes, values = data.codes[rows], dict[str, Array]()
        if name := self.schedule.given("label"):
            values[name] = data.labels[rows] if name == "label" else data.labels[rows].astype(float)
        if self.fixed:
            act = integers(codes)
        elif data.gain is None or data.offset is None:
            act = codes.astype(float) * float(data.scale)
        else:
            act = codes.astype(float) * data.gain + data.offset
        return values | {self.schedule.given("act"): act}

    def _read(self, op: Op) -> list[Array]:
        return [self.now[value.tensor] for value in op.reads]

    def _write(self, op: Op, *results: Array) -> None:
        # a second result that nobody reads is not in the schedule
        for value, result in zip(op.writes, results, strict=False):
            self.now[value.tensor] = result

    def _dense(self, op: Op) -> None:
        act, weight, bias = self._read(op)
        self._write(op, act @ weight.T + bias)

    def _activate(self, op: Op) -> None:
        self._write(op, ACTIVATIONS[op.attrs["function"]](*self._read(op)))

    def _error(self, op: Op) -> None:
        output, label = self._read(op)
        target = np.zeros_like(output)
        target[np.arange(len(label)), label] = op.attrs.get("one", 1)
        self._write(op, output - target)

    def _sign(self, op: Op) -> None:
        (error,) = self._read(op)
        self._write(op, np.sign(error))

    def _slope(self, op: Op) -> None:
        self._write(op, SLOPES[op.attrs["function"]](*self._read(op)))

    def _project(self, op: Op) -> None:
        signal, matrix = self._read(op)
        self._write(op, signal @ matrix * op.attrs["scale"])

    def _select(self, op: Op) -> None:
        label, matrix = self._read(op)
        self._write(op, matrix[label] * op.attrs["scale"])

    def _delta(self, op: Op) -> None:
        signal, *slope = (array.reshape(len(array), -1) for array in self._read(op))
        self._write(op, math.prod(slope, start=signal) * op.attrs["scale"])

    def _grad(self, op: Op) -> None:
        delta, act = self._read(op)
        self._write(op, delta.T @ act)

    def _grad_bias(self, op: Op) -> None:
        (delta,) = self._read(op)
        self._write(op, delta.reshape(-1, self.schedule[op.writes[0]].shape[0]).sum(0))

    def _update(self, op: Op) -> None:
        parameter, gradient, *states = self._read(op)
        rate = float(self.state[op.scalars[0].tensor][0])
        constants = optimizers.get(op.attrs["optimizer"]).constants
        decay, shrink = op.attrs.get("decay", 0.0), 0.0
        match op.attrs.get("decay_kind", "coupled"):
            case "coupled" if decay:
                gradient = gradient + decay * parameter
            case "decoupled":
                shrink = decay
            case "adamw":
                shrink = rate * decay
        kept = parameter - shrink * parameter if shrink else parameter
        match op.attrs["optimizer"]:
            case "sgd":
                self._write(op, kept - rate * gradient)
            case "momentum":
                velocity = constants["mu"] * states[0] + gradient
                self._write(op, kept - rate * velocity, velocity)
            case "nesterov":
                velocity = constants["mu"] * states[0] + gradient
                self._write(op, kept - rate * (gradient + constants["mu"] * velocity), velocity)
            case "rmsprop":
                square = constants["alpha"] * states[0] + (1 - constants["alpha"]) * gradient**2
                self._write(op, kept - rate * gradient / (np.sqrt(square) + constants["eps"]), square)
            case "adam":
                b1, b2, t = constants["beta1"], constants["beta2"], self.step + 1
                m = b1 * states[0] + (1 - b1) * gradient
                v = b2 * states[1] + (1 - b2) * gradient**2
                root = np.sqrt(v / (1 - b2**t)) + constants["eps"]
                self._write(op, kept - rate * (m / (1 - b1**t)) / root, m, v)
