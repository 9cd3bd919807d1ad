"""A schedule in words: its ops with what each waits for, and what the step needs."""

from __future__ import annotations

from fasim.schedule import ops as kinds
from fasim.schedule.lifetimes import live_bytes, peak_bytes
from fasim.schedule.locking import locking
from fasim.schedule.order import dependencies
from fasim.schedule.values import Op, Schedule


def lines(schedule: Schedule) -> list[str]:
    """Return the print-out of a schedule, line by line.

    One line an op: number, phase, kind, what it reads and writes (a prime marks a version after an update), the shape and
    format of the result, the ops that it waits for, the bytes that are live while it runs.
    """
    live = live_bytes(schedule)
    before = dependencies(schedule.ops)
    rows = [("#", "phase", "op", "reads", "writes", "shape", "format", "after", "live bytes")]
    for index, op in enumerate(schedule.ops):
        out = schedule[op.writes[0]]
        rows.append(
            (
                str(index),
                op.phase,
                op.kind + (f" {op.attrs['function']}" if "function" in op.attrs else ""),
                ", ".join(map(str, op.reads)),
                ", ".join(map(str, op.writes)),
                "x".join(map(str, out.shape)),
                _format(schedule, op),
                ",".join(map(str, sorted(before[index]))),
                f"{live[index]:.0f}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [
        f"{schedule.rule} on {schedule.network}, batch {schedule.batch_size}, {schedule.datapath}, "
        f"order {schedule.order}, fuse {schedule.fuse}",
        *text,
        "",
        *properties(schedule),
    ]


def properties(schedule: Schedule) -> list[str]:
    """Return what follows from the dependencies and lifetimes: locking, weight transport, memory."""
    trained, update_locked, backward_locked = locking(schedule)
    transport = [
        op
        for op in schedule.ops
        if op.kind in (kinds.PROJECT, kinds.PROJECT_CONV) and schedule[op.reads[1]].cls == "weight"
    ]
    feedback = [t for t in schedule.of_class("feedback") if not t.view and t.draw and not t.is_place]
    matrices = [t for t in feedback if t.draw and t.draw.part != "out"]  # a low-rank one has two factors
    return [
        f"hidden layers trained: {len(trained)}",
        f"update-locked (wait for the output error): {len(update_locked)} of {len(trained)}",
        f"backward-locked (wait for the delta of a hidden layer above): {len(backward_locked)} of {len(trained)}",
        f"layers that read weights transposed: {len(transport)}",
        f"feedback matrices: {len(matrices)}, {sum(tensor.elements for tensor in feedback)} elements",
        f"peak of live bytes: {peak_bytes(schedule, 'act'):.0f} of activations, {peak_bytes(schedule):.0f} of everything",
    ]


def _format(schedule: Schedule, op: Op) -> str:
    out = schedule[op.writes[0]]
    return "float32" if out.format is None else str(out.format)
