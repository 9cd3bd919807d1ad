"""Inference as a QONNX graph: MatMul, Add and the float functions, with a ``Quant`` node at every cast.

A ``Quant`` node clamps, then rounds, at a power of two. Rounding half up, which it has not, is half a step added before
rounding down: exact wherever float32 holds the sum. So every cast of a sum of at most 24 bits is exact; a table becomes the
float function and a cast, and differs by at most one step, where the function lies within its own float32 error of the
middle between two steps.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from fasim import __version__
from fasim.errors import ConfigError
from fasim.export.start import Start
from fasim.files import write_whole
from fasim.fixedpoint import Datapath, Fixed
from fasim.rules import evaluation_pass
from fasim.schedule import Op, Schedule, Value
from fasim.schedule import ops as kinds

FILE = "network.onnx"
DOMAIN = "qonnx.custom_op.general"
OPSET = 13
# float32 holds whole numbers up to 2^24: a sum of so many bits, sign included, and half a step beside it
EXACT_BITS = 24
# our rounding -> half steps added first, and the rounding of the Quant node
ROUNDINGS = {
    "TRN": (0, "FLOOR"),
    "TRN_INF": (0, "CEIL"),
    "TRN_ZERO": (0, "DOWN"),
    "TRN_AWAY": (0, "UP"),
    "RND": (1, "FLOOR"),
    "RND_MIN_INF": (-1, "CEIL"),
    "RND_INF": (0, "HALF_UP"),
    "RND_ZERO": (0, "HALF_DOWN"),
    "RND_CONV": (0, "ROUND"),
}
FUNCTIONS = {"tanh": "Tanh", "sigmoid": "Sigmoid", "relu": "Relu"}
EXACT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "sigmoid": lambda x: 0.5 + 0.5 * np.tanh(x / 2),
    "relu": lambda x: np.maximum(x, 0),
    "linear": lambda x: x,
}
# how far an entry of a table may lie from the exact function, in steps, float64's own error allowed for
HALF_A_STEP = 0.5 + 2.0**-20


def write_qonnx(folder: Path, start: Start) -> Path:
    """Write ``network.onnx``: input ``(1, I)`` of values in the input's format, output ``(1, K)``, both float32.

    Parameters
    ----------
    folder : Path
    start : Start
        A network of dense layers with tanh, sigmoid, relu or linear, in fixed point, with exact accumulators.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    ConfigError
        If the packages of the extra ``export`` are missing, or the graph could not give the fixed-point outputs.
    OutputError
        If it cannot be written.
    """
    onnx = _onnx()
    if start.datapath is None:
        raise ConfigError("datapath float32: a QONNX graph states formats; give a fixed-point run, such as --datapath s8")
    _check_sums(start.datapath)
    schedule = evaluation_pass(start.network, replace(start.settings, batch_size=1), start.datapath)
    graph = _Graph(onnx, schedule, start.state)
    for op in schedule.ops:
        graph.op(op)
    write_whole(folder / FILE, graph.model().SerializeToString())
    return folder / FILE


def _onnx() -> ModuleType:
    try:
        return importlib.import_module("onnx")
    except ImportError:
        raise ConfigError("the form qonnx needs the package onnx; install it with pip install 'fasim[export]'") from None


def _check_sums(datapath: Datapath) -> None:
    """Refuse sums that a MatMul in float32 does not form."""
    if datapath.accumulator_of("forward") is not None:
        raise ConfigError(f"datapath {datapath.name}: QONNX has no limited accumulator; use exact, or export as hex")
    if datapath.divide or "preact" in datapath.dynamic:
        raise ConfigError(
            f"datapath {datapath.name}: QONNX has neither divided sums nor exponents chosen from the data; export as hex"
        )


class _Graph:
    """Nodes and initial values, one op of an evaluation pass after the other."""

    def __init__(self, onnx: ModuleType, schedule: Schedule, state: dict[str, np.ndarray]) -> None:
        self.onnx, self.schedule, self.state = onnx, schedule, state
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self.shapes: dict[str, tuple[int, ...]] = {"input": schedule["act.0"].shape}
        fmt = self._format(Value("act.0"))
        self.names = {"act.0": self._quant("input", "act.0", fmt, "ROUND", narrow=False)}

    def op(self, op: Op) -> None:
        """Add the nodes of an op."""
        match op.kind:
            case kinds.DENSE:
                self._dense(op)
            case kinds.REQUANT:
                self._cast(op)
            case kinds.LOOKUP:
                self._look_up(op)
            case kinds.ACTIVATE if op.attrs["function"] in ("relu", "linear"):
                source, target = self.names[op.reads[0].tensor], op.writes[0].tensor
                function = op.attrs["function"]
                self.names[target] = source if function == "linear" else self._node("Relu", [source], f"{target}.relu")
            case _:
                what = op.attrs.get("function", op.kind)
                raise ConfigError(f"layer {op.layer}: {what} has no QONNX form here; use dense layers, or export as hex")

    def model(self) -> Any:  # noqa: ANN401 - of the package onnx
        """Return the whole model."""
        helper, tensor = self.onnx.helper, self.onnx.TensorProto
        if self.names["output"] != "output":
            self._node("Identity", [self.names["output"]], "output")
        inner = {name: shape for name, shape in self.shapes.items() if name not in ("input", "output")}
        graph = helper.make_graph(
            self.nodes,
            "fasim",
            [helper.make_tensor_value_info("input", tensor.FLOAT, self.shapes["input"])],
            [helper.make_tensor_value_info("output", tensor.FLOAT, self.shapes["output"])],
            [self.onnx.numpy_helper.from_array(array, name) for name, array in self.constants.items()],
            value_info=[helper.make_tensor_value_info(name, tensor.FLOAT, shape) for name, shape in inner.items()],
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="fasim", producer_version=__version__)
        model.ir_version = 8
        self.onnx.checker.check_model(model)
        return model

    def _dense(self, op: Op) -> None:
        act, weight, *bias = op.reads
        accumulator = self._format(op.writes[0])
        if accumulator.bits > EXACT_BITS:
            raise ConfigError(
                f"layer {op.layer}: a sum of {accumulator.bits} bits is not exact in the float32 of QONNX, at most "
                f"{EXACT_BITS} are; use narrower formats, or export as hex"
            )
        name = op.writes[0].tensor
        shape = self.schedule[op.writes[0]].shape
        units, inputs = self.schedule[weight].shape
        matrix = self._node("Transpose", [self._parameter(weight)], f"{weight.tensor}.T", (inputs, units), perm=[1, 0])
        total = self._node("MatMul", [self.names[act.tensor], matrix], name, shape)
        for value in bias:
            total = self._node("Add", [total, self._parameter(value)], f"{name}.sum", shape)
        self.names[name] = total

    def _cast(self, op: Op) -> None:
        source, target = op.reads[0], op.writes[0]
        rounding, overflow = op.attrs["rounding"], op.attrs["overflow"]
        if rounding not in ROUNDINGS or overflow not in ("SAT", "SAT_SYM"):
            raise ConfigError(f"site {op.site}: QONNX has no cast {rounding} {overflow}; use RND and SAT, or export as hex")
        fmt = self._format(target)
        halves, mode = ROUNDINGS[rounding]
        name = self.names[source.tensor]
        if halves:
            half = self._constant(f"{target.tensor}.half", np.float32(halves * fmt.step / 2))
            name = self._node("Add", [name, half], f"{target.tensor}.before")
        narrow = overflow == "SAT_SYM" or fmt.lo == -fmt.hi
        self.names[target.tensor] = self._quant(name, target.tensor, fmt, mode, narrow=narrow and fmt.signed)

    def _look_up(self, op: Op) -> None:
        preact, target = op.reads[0], op.writes[0]
        function, table = op.attrs["function"], self.schedule.tables[op.reads[1].tensor]
        fmt = self._format(target)
        self._check_table(op, table, fmt)
        name = self.names[preact.tensor]
        if function in FUNCTIONS:
            name = self._node(FUNCTIONS[function], [name], f"{target.tensor}.{function}")
        half = self._constant(f"{target.tensor}.half", np.float32(fmt.step / 2))
        name = self._node("Add", [name, half], f"{target.tensor}.before")
        self.names[target.tensor] = self._quant(name, target.tensor, fmt, "FLOOR", narrow=fmt.lo == -fmt.hi)

    def _check_table(self, op: Op, table: np.ndarray, fmt: Fixed) -> None:
        """Refuse a table that is not the function of its name, such as a piecewise one."""
        function = op.attrs["function"]
        codes = op.attrs["lowest"] + np.arange(len(table), dtype=np.float64)
        x = np.ldexp(codes, -self._format(op.reads[0]).frac)
        steps = np.clip(EXACT[function](x) / fmt.step, fmt.lo, fmt.hi) if function in EXACT else np.inf
        if np.abs(steps - table).max() > HALF_A_STEP:
            raise ConfigError(
                f"layer {op.layer}: its table is not the {function} that QONNX would compute; use the form table in "
                "[functions], or export as hex"
            )

    def _parameter(self, value: Value) -> str:
        """Return weight or bias, behind the Quant node that states its format."""
        fmt, name = self._format(value), value.tensor
        real = np.ldexp(self.state[name].astype(np.float64), -fmt.frac).astype(np.float32)
        return self._quant(self._constant(f"{name}.values", real), name, fmt, "ROUND", narrow=fmt.lo == -fmt.hi)

    def _quant(self, source: str, target: str, fmt: Fixed, mode: str, *, narrow: bool) -> str:
        inputs = [
            source,
            self._constant(f"{target}.scale", np.float32(fmt.step)),
            self._constant("zero", np.float32(0)),
            self._constant(f"bits.{fmt.bits}", np.float32(fmt.bits)),
        ]
        attrs: dict[str, Any] = {"signed": int(fmt.signed), "narrow": int(narrow), "rounding_mode": mode}
        return self._node("Quant", inputs, target, domain=DOMAIN, **attrs)

    def _node(
        self,
        kind: str,
        inputs: list[str],
        name: str,
        shape: tuple[int, ...] | None = None,
        **attrs: Any,  # noqa: ANN401 - of the package onnx
    ) -> str:
        """Add a node; its output has the shape of its first input unless one is given."""
        self.shapes[name] = self._shape(inputs[0]) if shape is None else shape
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [name], name=f"node.{name}", **attrs))
        return name

    def _shape(self, name: str) -> tuple[int, ...]:
        return self.constants[name].shape if name in self.constants else self.shapes[name]

    def _constant(self, name: str, value: np.ndarray | np.float32) -> str:
        self.constants[name] = np.asarray(value)
        return name

    def _format(self, value: Value) -> Fixed:
        fmt = self.schedule[value].format
        assert fmt is not None, value
        return fmt
