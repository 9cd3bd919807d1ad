"""A step of the package and the same step executed in plain loops over counting numbers: values and costs compared.

Equal per phase: operations by kind (MAC is a product that goes into an accumulator; all products executed are MAC + MUL,
all additions MAC + ADD), and elements loaded and stored by tensor class. What the package states otherwise is written down
in `unread`, and nowhere else: an op reads its operand whole, also places of a map that no window reaches, outputs to which
no non-zero is wired, and as many rows of a matrix as there are samples, though labels may repeat.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fasim.energy import OPERATIONS, count
from fasim.network import Conv2d, MaxPool, Network
from fasim.rules import training_step
from fasim.schedule import PHASES, Schedule, StepSettings
from fasim.state import initial_state, set_learning_rate
from tests.reference.instrumented import Buffer, Tally
from tests.reference.instrumented_rules import Learning, execute
from tests.reference.instrumented_step import Execution, Stored
from tests.reference.segments import Pool, Segment
from tests.reference_bridge import advance

RATE, FEEDBACK_RATE = 0.125, 0.0625


@dataclass(frozen=True)
class Case:
    """A step of the package, and the same step executed."""

    net: str
    rule: str
    step: StepSettings
    hidden: str = "tanh"
    output: str = "sigmoid"
    labels: tuple[int, ...] = ()

    @cached_property
    def network(self) -> Network:
        return Network.parse(self.net, hidden=self.hidden, output=self.output)

    @cached_property
    def schedule(self) -> Schedule:
        return training_step(self.network, self.rule, self.step)

    @cached_property
    def state(self):
        state = initial_state(self.network, self.schedule, 3)
        set_learning_rate(state, self.schedule, RATE, FEEDBACK_RATE)
        return {name: array.astype(np.float64) if name != "seed" else array for name, array in state.items()}

    @cached_property
    def x(self) -> np.ndarray:
        random = np.random.default_rng(5)
        return random.uniform(-1.0, 1.0, (self.step.batch_size, *self.network.input_shape))

    @property
    def targets(self) -> np.ndarray:
        """Labels, all different as far as there are outputs, unless given."""
        return np.array(self.labels) if self.labels else np.arange(self.step.batch_size) % self.network.outputs

    @cached_property
    def executed(self) -> Execution:
        return self.execute()

    def execute(self, padding: str = "count") -> Execution:
        tally, settings = Tally(), self.step
        step = Execution(
            tally,
            self.x,
            self.targets,
            [segment(s, self.state) for s in self.network.segments],
            [self.stored(layer, tally) for layer in range(1, len(self.network.segments))],
            loss=settings.loss,
            reduction=settings.reduction,
            hook=settings.hook,
            error_scale=settings.error_scale,
            padding=padding,
        )
        decay = (settings.weight_decay, settings.decay_kind)
        feedback = Learning(
            FEEDBACK_RATE,
            settings.feedback_optimizer or settings.optimizer,
            settings.feedback_decay,
            settings.decay_kind,
        )
        execute(step, self.rule, Learning(RATE, settings.optimizer, *decay), feedback)
        return step

    def stored(self, layer: int, tally: Tally) -> Stored | None:
        """Return a layer's feedback as the package holds it."""

        def buffer(part: str, *, signs: bool = False) -> Buffer | None:
            values = self.state.get(f"feedback{part}.{layer}")
            if values is None:
                return None
            return Buffer(tally, "feedback", values.shape, np.sign(values) if signs else values, signs=signs)

        name = f"feedback.{layer}"
        if buffer("_in") is not None:
            return Stored(buffer("_in"), outer=buffer("_out"))
        if name not in self.state:
            return None
        signs = self.schedule[name].encoding in ("sign", "ternary")
        magnitude = float(np.abs(self.state[name]).max()) if signs else None
        return Stored(buffer("", signs=signs), buffer("_index"), buffer("_start"), magnitude=magnitude)

    def dense(self, layer: int) -> np.ndarray | None:
        """Return a layer's feedback written out as (K, J), or in the shape of weights."""
        part = {suffix: self.state.get(f"feedback{suffix}.{layer}") for suffix in ("", "_index", "_start", "_in", "_out")}
        if part["_in"] is not None:
            return part["_in"] @ part["_out"]
        if part["_index"] is None:
            return part[""]
        starts = part["_start"]
        units = len(part[""]) if starts is None else len(starts) - 1
        found = np.zeros((self.network.outputs, units))
        for j in range(units):
            here = j if starts is None else slice(int(starts[j]), int(starts[j + 1]))
            found[part["_index"][here].astype(int), j] = part[""][here]
        return found


def segment(given, state) -> Segment:
    """Return a segment of the package as one of the reference."""
    layer, pool = given.layer, None
    if given.pool:
        pool = Pool("max" if isinstance(given.pool, MaxPool) else "average", given.pool.kernel, given.pool.stride)
    where = (layer.stride, layer.padding) if isinstance(layer, Conv2d) else (1, 0)
    weight, bias = (state[f"{name}.{given.index}"] for name in ("weight", "bias"))
    return Segment("conv" if isinstance(layer, Conv2d) else "dense", weight, bias, given.activation, *where, pool=pool)


# --- what is compared ----------------------------------------------------------------------------------------------------


def untouched(size: int, kernel: int, stride: int, padding: int = 0) -> np.ndarray:
    """Return which rows (or columns) of a map no window reaches."""
    reached = {p * stride + r - padding for p in range((size + 2 * padding - kernel) // stride + 1) for r in range(kernel)}
    return np.array([place not in reached for place in range(size)])


def border(shape: tuple[int, ...], kernel: int, stride: int, padding: int = 0) -> int:
    """Return how many elements of a map no window reaches."""
    count, height, width, channels = shape
    rows, columns = (~untouched(size, kernel, stride, padding) for size in (height, width))
    return count * channels * (height * width - int(rows.sum()) * int(columns.sum()))


def unread(case: Case) -> Counter:
    """Return the elements that an op is said to read and that no loop touches."""
    found: Counter = Counter()
    schedule = case.schedule
    for op in schedule.ops:
        read = [schedule[value] for value in op.reads]
        match op.kind:
            case "CONV" | "GRAD_CONV":
                place = 0 if op.kind == "CONV" else 1
                kernel = (read[1] if op.kind == "CONV" else schedule[op.writes[0]]).shape[1]
                missed = border(read[place].shape, kernel, op.attrs["stride"], op.attrs["padding"])
                found[op.phase, read[place].cls, False] += missed
            case "POOL" | "AVERAGE_POOL":
                found[op.phase, read[0].cls, False] += border(read[0].shape, op.attrs["kernel"], op.attrs["stride"])
            case "PROJECT_ELL" | "PROJECT_CSR":
                wired = len(np.unique(case.state[read[2].name]))
                found[op.phase, read[0].cls, False] += schedule.batch_size * (case.network.outputs - wired)
            case "SELECT":
                rows, *row = read[1].shape
                repeated = min(rows, schedule.batch_size) - len(set(case.targets.tolist()))
                found[op.phase, read[1].cls, False] += repeated * int(np.prod(row))
    return found


def positive(counter: Counter) -> dict:
    return {key: number for key, number in counter.items() if number}


def assert_executed_as_counted(case: Case) -> None:
    counts, tally = count(case.schedule), case.executed.tally
    said = Counter({(phase, kind): counts.total(kind, phase) for phase in PHASES for kind in OPERATIONS})
    assert positive(tally.operations) == positive(said)
    moved: Counter = Counter()
    for row in counts.traffic:
        moved[row.phase, row.cls, row.write] += row.elements
    assert positive(tally.moved + unread(case)) == positive(moved)


def assert_same_step(case: Case) -> None:
    """The executed loops compute the reference's step."""
    state = dict(case.state)
    for layer in range(1, len(case.network.segments)):
        matrix = case.dense(layer)
        if matrix is not None:
            state[f"feedback.{layer}"] = matrix
    after = advance(case.network, case.rule, case.step, state, case.x, case.targets, 0).state
    step = case.executed
    named = {"weight": step.weights, "bias": step.biases}
    if case.rule in ("kp", "dkp"):
        named["feedback"] = [matrix.values for matrix in step.feedback]
    for name, buffers in named.items():
        for layer, buffer in enumerate(buffers, 1):
            expected = after[f"{name}.{layer}"]
            np.testing.assert_allclose(buffer.array(), expected, rtol=1e-10, atol=1e-12, err_msg=f"{name}.{layer}")
