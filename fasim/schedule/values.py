"""What a schedule is made of: tensors, versioned values, operations.

A :class:`Value` is a tensor at a version. An op that updates in place reads version k and writes version k+1 of the same
storage; every other reader of k must come first. Locking, lifetimes and traffic follow from that alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from fasim.fixedpoint.format import Fixed
from fasim.schedule import ops as kinds

PHASES = ("forward", "error", "gradient", "update")

# Tensor classes: what the counter and the lifetime analysis report by.
CLASSES = (
    "act",  # inputs of trained layers
    "map",  # activations before dropout or pooling, which no trained layer reads
    "output",
    "preact",
    "slope",  # activation derivatives, masks, positions of maxima
    "error",
    "signal",  # what feedback or transposed weights bring to a layer's outputs
    "delta",
    "gradient",
    "weight",
    "master",
    "bias",
    "norm",  # gain, shift and running statistics of batch normalisation
    "feedback",
    "state",  # of the optimizer
    "label",
    "table",
    "accumulator",
    "scalar",
)

STORAGES = ("state", "input", "temp", "kept", "previous", "table", "register", "generated")


# exponents chosen within the step, by name, each with the sign with which it adds to a tensor's fraction bits
Points = tuple[tuple[str, int], ...]


class Value(NamedTuple):
    """A tensor at a version."""

    tensor: str
    version: int = 0

    def __str__(self) -> str:
        return self.tensor if self.version == 0 else f"{self.tensor}'{self.version}"


class Draw(NamedTuple):
    """How the first values of a feedback tensor are drawn.

    `family` is a text of :mod:`fasim.feedback`, `stream` the number of the random stream, `shape` that of the whole matrix,
    `part` the array of it that the tensor holds (``""``, ``index``, ``start``, ``in``, ``out``), `widest` the columns of a
    matrix that all layers share.
    """

    family: str
    stream: int
    shape: tuple[int, ...]
    part: str = ""
    widest: int = 0


@dataclass(frozen=True)
class Tensor:
    """A named array of the training step.

    Parameters
    ----------
    name : str
        Such as ``act.1``; the number is the layer.
    cls : str
        Tensor class, one of :data:`CLASSES`.
    axes : str
        One letter an axis: N batch, J units, I inputs, K outputs or length of a signal, H W C maps, R S kernels.
    shape : tuple of int
    storage : str
        ``state`` lives across steps; ``input`` is given (data, learning rate); ``temp`` lives within a step; ``table`` is
        constant; ``register`` never reaches memory (an accumulator, or inside a fused group): one row of it is a buffer;
        ``generated`` is made anew from a seed wherever it is read, and stored nowhere; ``kept`` is a ``temp`` that the next
        step reads, as ``previous``.
    format : Fixed or None
        None is float32.
    encoding : str
        ``dense``, ``ternary`` (-1, 0, 1 in two bits), ``sign`` (-1, 1 in one), ``pow2`` (a sign and 3 bits of exponent) or
        ``mask`` (one bit). A common factor of a sign or ternary matrix is one number and no part of it.
    bound : float or None
        Largest magnitude of a feedback matrix, from which its fixed-point exponent follows.
    draw : Draw or None
        How a feedback tensor starts.
    view : str
        Name of the tensor that this one is a slice of: it takes no memory of its own.
    points : tuple of (str, int)
        Exponents chosen within the step that add to the fraction bits of `format`.
    """

    name: str
    cls: str
    axes: str
    shape: tuple[int, ...]
    storage: str = "temp"
    format: Fixed | None = None
    encoding: str = "dense"
    bound: float | None = None
    draw: Draw | None = None
    view: str = ""
    points: Points = ()

    @property
    def is_place(self) -> bool:
        """Whether it says where entries of a sparse matrix stand, and holds none of them."""
        return self.draw is not None and self.draw.part in ("index", "start")

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bits(self) -> int:
        """Bits of one element as hardware stores it."""
        if self.encoding != "dense":
            return {"ternary": 2, "sign": 1, "mask": 1, "pow2": 4}[self.encoding]
        return 32 if self.format is None else self.format.bits

    @property
    def nbytes(self) -> float:
        """Bytes of the whole tensor, a fraction where elements are narrower than a byte."""
        return self.elements * self.bits / 8


@dataclass(frozen=True)
class Op:
    """One hardware operation on whole tensors.

    Parameters
    ----------
    kind : str
        What it computes, see :mod:`fasim.schedule.ops`.
    reads, writes : tuple of Value
    phase : str
        forward, error, gradient or update: a label, it orders nothing.
    layer : int
    attrs : dict
        Constants: stride, activation, shift, rounding, scale.
    scalars : tuple of Value
        0-d values that may change between steps, such as the learning rate.
    site : str
        Name of the requantisation point, else empty.
    group : str
        Ops of one group run as one pass over the data, see :mod:`fasim.schedule.fuse`.
    """

    kind: str
    reads: tuple[Value, ...]
    writes: tuple[Value, ...]
    phase: str
    layer: int
    attrs: dict[str, Any] = field(default_factory=dict)
    scalars: tuple[Value, ...] = ()
    site: str = ""
    group: str = ""
    costed: bool = True


@dataclass(frozen=True)
class Schedule:
    """One training step (or one evaluation pass) as an ordered list of ops on named tensors.

    `tables` holds the integer entries of the look-up tables of a fixed-point schedule, by tensor name.
    """

    tensors: dict[str, Tensor]
    ops: tuple[Op, ...]
    batch_size: int
    network: str
    rule: str
    datapath: str = "float32"
    order: str = "emitted"
    fuse: str = "none"
    pass_name: str = "training"
    tables: dict[str, np.ndarray] = field(default_factory=dict, compare=False, repr=False)

    def __getitem__(self, name: str | Value) -> Tensor:
        return self.tensors[name.tensor if isinstance(name, Value) else name]

    @cached_property
    def readers(self) -> Counter[Value]:
        """How many ops read each value; made once, for a deep network's program asks for every gradient."""
        return Counter(value for op in self.ops for value in set(op.reads))

    def find(self, kind: str, layer: int | None = None) -> Iterator[Op]:
        """Yield the ops of a kind, of one layer if given."""
        return (op for op in self.ops if op.kind == kind and layer in (None, op.layer))

    def of_class(self, *classes: str) -> list[Tensor]:
        """Return the tensors of these classes, in order of creation."""
        return [tensor for tensor in self.tensors.values() if tensor.cls in classes]

    def given(self, cls: str) -> str:
        """Return the name of the tensor that is given with each batch: of class ``act`` or ``label``; empty if none is."""
        return next((t.name for t in self.tensors.values() if t.storage == "input" and t.cls == cls), "")

    def needed_for(self, roots: Callable[[Op], bool]) -> Schedule:
        """Return the schedule without the ops and tensors on which no op that `roots` accepts depends.

        Places of maxima and masks that no signal needs (feedback before pooling) go too.
        """
        kept: list[Op] = []
        read: set[Value] = set()
        for op in reversed(self.ops):
            if roots(op) or any(value in read for value in op.writes):
                drops = op.kind in (kinds.POOL, kinds.DROPOUT) and op.writes[-1] not in read
                kept.append(replace(op, writes=op.writes[:1]) if drops else op)
                read.update(op.reads)
        ops = tuple(reversed(kept))
        used = {value.tensor for op in ops for value in (*op.reads, *op.writes, *op.scalars)}
        used |= {self[name].view for name in used}
        tensors = {name: tensor for name, tensor in self.tensors.items() if name in used}
        return replace(self, tensors=tensors, ops=ops)
