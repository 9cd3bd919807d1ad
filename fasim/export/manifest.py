"""The manifest of golden vectors: what each file holds, and which files every operation reads and writes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fasim import __version__
from fasim.export.hexfiles import to_hex
from fasim.export.start import Start
from fasim.files import write_json
from fasim.fixedpoint.format import Fixed
from fasim.schedule import Op, Schedule, Tensor
from fasim.schedule import ops as kinds

FILE = "manifest.json"
# places and labels without a format of their own
INDEX = Fixed(32, 0, signed=False)


class Manifest:
    """Writes the files of one export and keeps account of them.

    Parameters
    ----------
    folder : Path
        An empty one.
    start : Start
    schedule : Schedule
    """

    def __init__(self, folder: Path, start: Start, schedule: Schedule) -> None:
        self.folder = folder
        self.schedule = schedule
        datapath = start.datapath
        assert datapath is not None
        self.content: dict[str, Any] = {
            "fasim": __version__,
            "network": str(start.network),
            "rule": schedule.rule,
            "datapath": datapath.to_toml(),
            "seed": start.seed,
            "learning_rate": start.learning_rate,
            "batch_size": schedule.batch_size,
            "settings": asdict(start.settings),
            "order_of_words": "row-major, last axis fastest",
            "files": {},
            "initial": {},
            "steps": [],
        }

    def write(self, place: str, tensor: Tensor, raw: np.ndarray, version: int = 0) -> str:
        """Write an array of a tensor into the folder `place`; return its path within the export."""
        fmt = tensor.format or INDEX
        suffix = f".v{version}" if version else ""
        path = f"{place}/{tensor.name}{suffix}.hex"
        text = to_hex(raw, fmt.bits)
        target = self.folder / path
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(text)
        self.content["files"][path] = {
            "tensor": tensor.name,
            "version": version,
            "class": tensor.cls,
            "axes": tensor.axes,
            "shape": list(tensor.shape),
            "format": str(fmt),
            "bits": fmt.bits,
            "signed": fmt.signed,
            "exponents": dict(tensor.points),
            "sha256": hashlib.sha256(text).hexdigest(),
        }
        return path

    def op(self, op: Op, reads: list[str], writes: list[str], scalars: Mapping[str, float]) -> dict[str, Any]:
        """Return the entry of an operation; what it reads and writes are paths."""
        attrs = {name: plain(value) for name, value in op.attrs.items()}
        written = self.schedule[op.writes[0]].format
        if op.site and written is not None:
            attrs |= {"lo": written.lo, "hi": written.hi}
        if op.kind == kinds.REQUANT:
            source = self.schedule[op.reads[0]].format
            if source is not None and written is not None:
                attrs.setdefault("shift", source.frac - written.frac)
        return {
            "kind": op.kind,
            "layer": op.layer,
            "phase": op.phase,
            "site": op.site,
            "reads": reads,
            "writes": writes,
            "attrs": attrs,
            "scalars": dict(scalars),
        }

    def save(self) -> None:
        """Write the manifest itself, last of all."""
        write_json(self.folder / FILE, self.content)


def plain(value: Any) -> Any:  # noqa: ANN401 - attributes are of many types
    """Return a value as JSON knows it; what it does not know becomes text."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    return value if value is None or isinstance(value, (str, bool, int, float)) else str(value)
