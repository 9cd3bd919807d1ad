"""Which schedules can share the launches of a population: the same steps on arrays of the same types, other numbers.

Two datapaths of one width lower a step to the same ops; what differs are numbers - binary points, limits of a range, codes
of rounding and overflow, shifts, the entries of a table - and a launch can hold those of each replica. Feedback of another
scale differs by one number in float32, by a binary point or the bound of a sum in fixed point. Everything else is another
program.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from fasim.backends.buffers import stored_as
from fasim.fixedpoint.accumulator import Acc
from fasim.fixedpoint.options import RandomSource
from fasim.schedule import Op, Schedule, Tensor, Value

# named by text, and numbers to a kernel
CODES = ("rounding", "overflow")


def difference(one: Schedule, other: Schedule) -> str:
    """Return why replicas of two schedules cannot share launches, in a few words; nothing if they can.

    Parameters
    ----------
    one, other : Schedule
        Of one network and one batch size.
    """
    other = matched(one, other)
    if one.tensors.keys() != other.tensors.keys():
        name = min(one.tensors.keys() ^ other.tensors.keys())
        return f"{name} is there in one of them alone"
    for name, tensor in one.tensors.items():
        if what := _of_tensors(tensor, other[name]):
            return f"{what} of {name} differs"
    if len(one.ops) != len(other.ops):
        return "the number of operations differs"
    for op, its in zip(one.ops, other.ops, strict=True):
        if what := _of_ops(op, its):
            return f"{what} of {op.kind} in layer {op.layer} differs"
    for name, table in one.tables.items():
        if table.shape != other.tables[name].shape or table.dtype != other.tables[name].dtype:
            return f"the size of {name} differs"
    return ""


def matched(one: Schedule, other: Schedule) -> Schedule:
    """Return the other schedule with its tables, which are named after their formats, under the names of the first."""
    names: dict[str, str] = {}
    for op, its in zip(one.ops, other.ops, strict=False):
        for value, read in zip(op.reads, its.reads, strict=False):
            if (
                one[value].storage == other[read].storage == "table"
                and names.setdefault(value.tensor, read.tensor) != read.tensor
            ):
                return other  # one table here are two there
    if all(name == theirs for name, theirs in names.items()):
        return other
    theirs = set(names.values())
    tensors = {name: tensor for name, tensor in other.tensors.items() if name not in theirs}
    for name, table in names.items():
        tensors[name] = replace(other[table], name=name)
    ops = tuple(
        replace(its, reads=tuple(mine if names.get(mine.tensor) == read.tensor else read for mine, read in _pairs(op, its)))
        for op, its in zip(one.ops, other.ops, strict=False)
    )
    tables = {name: other.tables[table] for name, table in names.items()}
    return replace(other, tensors=tensors, ops=ops + other.ops[len(ops) :], tables=tables)


def _pairs(op: Op, its: Op) -> Iterator[tuple[Value, Value]]:
    """Yield what two ops read, side by side; what only the other one reads stands beside itself."""
    return zip((*op.reads, *its.reads[len(op.reads) :]), its.reads, strict=False)


def _of_tensors(tensor: Tensor, other: Tensor) -> str:
    if tensor.shape != other.shape:
        return "the shape"
    if (tensor.format is None) != (other.format is None) or stored_as(tensor) != stored_as(other):
        return "the storage type"
    told = ("cls", "axes", "storage", "encoding", "view")
    same = all(getattr(tensor, name) == getattr(other, name) for name in told)
    return "" if same and tensor.points == other.points else "the encoding"


def _of_ops(op: Op, other: Op) -> str:
    wired = ("kind", "reads", "writes", "scalars", "site", "group", "layer")
    if any(getattr(op, name) != getattr(other, name) for name in wired):
        return "the operands"
    ours, theirs = ({"random": None, **one.attrs} for one in (op, other))
    if ours.keys() != theirs.keys():
        return min(ours.keys() ^ theirs.keys())
    return next((name for name in ours if not _numbers(name, ours[name], theirs[name])), "")


def _numbers(name: str, one: Any, other: Any) -> bool:  # noqa: ANN401
    """Return whether two attributes are the same, or numbers to the kernel that takes them."""
    if name == "random":
        return _drawn(one) == _drawn(other)
    if one == other or name in CODES:
        return True
    kinds = ((int, float), Acc)
    return any(isinstance(one, kind) and isinstance(other, kind) for kind in kinds)


def _drawn(random: RandomSource | None) -> tuple[str, int]:
    """Return what a source of random bits has that is no number to a kernel: registers are drawn by matrices."""
    random = random or RandomSource()
    return random.source, 0 if random.source == "philox" else random.width
