"""Golden vectors: what every operation of some training steps reads and writes, by really running its kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fasim.backends import Samples
from fasim.backends.cpu import CpuProgram
from fasim.backends.cpu_bind import Slice
from fasim.backends.cpu_fixed import bind_fixed
from fasim.backends.table import make
from fasim.errors import ConfigError
from fasim.export.manifest import Manifest
from fasim.export.start import Start
from fasim.schedule import Op, Schedule, Value

CONSTANT = ("state", "generated", "table")


def write_vectors(folder: Path, start: Start, steps: int = 3) -> None:
    """Write the state before the first step, and every tensor of each step, as hex text with a manifest.

    Parameters
    ----------
    folder : Path
        An empty one, see :func:`fasim.export.whole_folder`.
    start : Start
        On a fixed-point datapath.
    steps : int
        Training steps, from the beginning of an epoch.

    Raises
    ------
    ConfigError
        If the run is in float32, or the epoch has fewer whole batches.
    """
    if start.datapath is None:
        raise ConfigError("datapath float32: hex vectors hold integers; give a fixed-point run, such as --datapath s8")
    first, schedule, state, codes, labels, order = start.steps(steps)
    manifest = Manifest(folder, start, schedule)
    machine = _Machine(schedule, state, Samples(codes, labels), manifest)
    manifest.content["first_step"] = first
    manifest.content["initial"] = machine.initial()
    for index, rows in enumerate(order):
        manifest.content["steps"].append(machine.step(f"step{index}", first + index, rows))
    manifest.save()


class _Machine:
    """Runs a schedule op by op, with the kernels that training runs, in one thread."""

    def __init__(self, schedule: Schedule, state: dict[str, np.ndarray], samples: Samples, manifest: Manifest) -> None:
        self.schedule, self.samples, self.manifest = schedule, samples, manifest
        self.arrays = CpuProgram(schedule).buffers | state
        self.batch = np.zeros(schedule.batch_size, np.int64)
        self.number = np.zeros(1, np.int64)
        self.files: dict[Value, str] = {}
        rows = Slice(0, schedule.batch_size)
        self.load = bind_fixed.load(schedule, self.arrays, samples, rows, self.batch)
        self.calls = [
            bind_fixed.op(schedule, op, self.arrays, self._whole(op), self.number, np.zeros(2, np.int64))
            for op in schedule.ops
        ]

    def initial(self) -> dict[str, str]:
        """Write state, feedback and tables; return their paths by tensor."""
        for tensor in self.schedule.tensors.values():
            if tensor.storage in CONSTANT:
                self.files[Value(tensor.name)] = self.manifest.write("initial", tensor, self.arrays[tensor.name])
        return {value.tensor: path for value, path in self.files.items()}

    def step(self, place: str, number: int, rows: np.ndarray) -> dict[str, Any]:
        """Run one step over the samples `rows`, and return its entry in the manifest."""
        self.batch[:], self.number[0] = rows, number
        for call in self.load:
            make(call)
        given = {}
        for tensor in self.schedule.tensors.values():
            if tensor.storage == "input" and tensor.cls != "scalar":
                given[tensor.name] = self._write(place, Value(tensor.name))
        entries = []
        for op, calls in zip(self.schedule.ops, self.calls, strict=True):
            reads = [self.files[value] for value in op.reads]
            for call in calls:
                make(call)
            writes = [self._write(place, value) for value in op.writes]
            scalars = {value.tensor: self.arrays[value.tensor][0].item() for value in op.scalars}
            entries.append(self.manifest.op(op, reads, writes, scalars))
        # what this step wrote last is what the next one reads first
        last = {value.tensor: self.files[value] for value in sorted(self.files)}
        final = {t.name: last[t.name] for t in self.schedule.tensors.values() if t.storage in CONSTANT and t.name in last}
        self.files = {Value(name): path for name, path in final.items()}
        return {"number": number, "given": given, "ops": entries, "final": final}

    def _write(self, place: str, value: Value) -> str:
        array = self.arrays[value.tensor]
        self.files[value] = self.manifest.write(place, self.schedule[value], array, value.version)
        return self.files[value]

    def _whole(self, op: Op) -> Slice:
        """Return all rows of an op; one that writes a number goes over all that it reads."""
        shape = self.schedule[op.writes[0]].shape or self.schedule[op.reads[0]].shape
        return Slice(0, shape[0])
