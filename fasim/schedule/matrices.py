"""Feedback matrices in the storage that their family needs, and the transport of a signal through them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fasim import feedback as families
from fasim.errors import ConfigError
from fasim.network import Network
from fasim.schedule import ops as kinds
from fasim.schedule.learning import Learning
from fasim.schedule.settings import StepSettings
from fasim.schedule.values import Draw, Fixed, Value

# in the place of the layer's number: the matrix of which every layer reads the first columns
SHARED = "shared"
# numbers of the random streams of matrices that come from the layer above or below, beside the direct ones
STREAMS = {"feedback": 0, "feedback_above": 10_000, "feedback_below": 20_000}
SPARSE = {
    "ell": (kinds.PROJECT_ELL, kinds.SELECT_ELL, ("", "_index")),
    "csr": (kinds.PROJECT_CSR, kinds.SELECT_CSR, ("", "_index", "_start")),
}


class Matrices(Learning):
    """Declares feedback matrices and emits what reads them."""

    def __init__(self, network: Network, settings: StepSettings, rule: str) -> None:
        super().__init__(network, settings, rule)
        self.storage: dict[str, str] = {}

    def hook_size(self, layer: int) -> int:
        """Return the length of a direct signal into a layer."""
        segment = self.segment(layer)
        return segment.map_size if self.settings.hook == "pre_pool" else segment.out_size

    def through(self, signal: Value | None, matrix: Value, out: Value, layer: int, attrs: dict[str, Any]) -> Value:
        """Emit the transport of a signal, or of the label (None), through a matrix as it is stored."""
        first = Value("label") if signal is None else signal
        storage = self.storage.get(matrix.tensor, "dense")
        root, _, number = matrix.tensor.rpartition(".")
        if storage in SPARSE:
            project, select, parts = SPARSE[storage]
            reads = (first, *(Value(f"{root}{part}.{number}") for part in parts))
            self.emit(select if signal is None else project, reads, (out,), "error", layer, attrs)
        elif storage == "low_rank":
            inner, outer = Value(f"{root}_in.{number}"), Value(f"{root}_out.{number}")
            rank = self.tensors[inner.tensor].shape[1]
            narrow = self.tensor(f"narrow.{out.tensor}", "signal", "NK", (self.settings.batch_size, rank))
            kind = kinds.SELECT if signal is None else kinds.PROJECT
            self.emit(kind, (first, inner), (narrow,), "error", layer, {"scale": 1.0})
            self.emit(kinds.PROJECT, (narrow, outer), (out,), "error", layer, attrs)
        else:
            self.emit(kinds.SELECT if signal is None else kinds.PROJECT, (first, matrix), (out,), "error", layer, attrs)
        return out

    def matrix(self, root: str, layer: int, axes: str, shape: tuple[int, ...], *, direct: bool = False) -> Value:
        """Declare a feedback matrix in the storage that its family needs, and return its name."""
        name = f"{root}.{layer}"
        if name in self.storage:
            return Value(name)
        family = families.parse(self.settings.feedback)
        if family.base == "pocketnn":
            family = replace(family, number=float(self.segment(layer).fan_in))
        self.storage[name] = family.storage(shape)
        shared = family.shared
        if shared and not direct:
            raise ConfigError(
                f"feedback {self.settings.feedback}: all layers share one matrix from the outputs, but rule {self.rule} "
                "brings signals from layer to layer; use dfa, sdfa or drtp, or feedback without shared"
            )
        widest = max(self.hook_size(index) for index in range(1, self.last)) if shared else 0
        draw = Draw(family.text, STREAMS[root] + layer, shape, "", widest)
        common: dict[str, Any] = {
            "storage": "generated" if family.generated else "state",
            "encoding": family.encoding,
            "bound": family.bound(shape, widest=widest),
        }
        for part, part_shape in family.arrays(shape).items():
            stem = f"{root}_{part}" if part else root
            options = common | {"draw": draw._replace(part=part)}
            if part in ("index", "start"):
                # hardware stores a place of n:m feedback within its group of m
                places = int(family.sizes[1]) if family.structure == "nm" else shape[0]
                largest = max(2, places if part == "index" else family.arrays(shape)[""][0] + 1)
                options |= {"format": Fixed((largest - 1).bit_length(), 0, signed=False), "encoding": "dense"}
            part_axes = axes if len(part_shape) == len(shape) and not part else "JE"[: len(part_shape)]
            if shared:
                whole = (shape[0], widest)
                wide = options | {"draw": draw._replace(part=part, shape=whole)}
                self.tensor(f"{stem}.{SHARED}", "feedback", part_axes, family.arrays(whole)[part], **wide)
                options["view"] = f"{stem}.{SHARED}"
            self.tensor(f"{stem}.{layer}", "feedback", part_axes, part_shape, **options)
        return Value(name)

    def plain(self, matrix: Value) -> Value:
        """Return a matrix that an op reads as a whole, or refuse one that is stored otherwise."""
        if self.storage.get(matrix.tensor, "dense") != "dense":
            raise ConfigError(
                f"feedback {self.settings.feedback}: rule {self.rule} needs the whole matrix; use dense feedback"
            )
        return matrix

    def learnable(self, matrix: Value) -> str:
        """Return the name of a matrix that is to learn, or refuse one that cannot."""
        tensor = self.tensors.get(self.plain(matrix).tensor)
        assert tensor is not None
        if tensor.encoding != "dense" or tensor.storage == "generated" or tensor.view:
            raise ConfigError(
                f"feedback {self.settings.feedback}: rule {self.rule} trains its feedback, which must be stored in full "
                "numbers of its own; use one without sign, ternary, pow2, lfsr and shared"
            )
        return tensor.name
