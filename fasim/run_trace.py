"""The trace of one training run: the range of every tensor in every epoch, as a file, a table and a picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.table import Table

from fasim import plots_trace
from fasim.errors import DataError
from fasim.files import parse_json, write_whole
from fasim.schedule.values import CLASSES
from fasim.training import Run

FILE, PICTURE = "trace.jsonl", "trace.png"
Record = dict[str, Any]


class TraceLog:
    """Writes ``trace.jsonl`` after every epoch, one line a tensor; for ``train(trace=True, after_epoch=...)``.

    Parameters
    ----------
    folder : Path
    resume : bool
        Go on with the lines that are in the folder.

    Raises
    ------
    DataError
        If those lines cannot be read.
    """

    def __init__(self, folder: Path, *, resume: bool = False) -> None:
        self.folder = folder
        self.records: list[Record] = self._lines() if resume and (folder / FILE).exists() else []

    def __call__(self, run: Run) -> None:
        """Write the epoch that a run has just finished."""
        epoch = run.epochs[-1].epoch
        found = sorted((tensor.as_dict() for tensor in run.last_tensors.values()), key=_place)
        self.records = [record for record in self.records if record["epoch"] != epoch]
        self.records += [{"epoch": epoch} | record for record in found]
        lines = "".join(json.dumps(record, allow_nan=False) + "\n" for record in self.records)
        write_whole(self.folder / FILE, lines.encode())

    def draw(self, title: str) -> Path:
        """Write ``trace.png`` and return its path."""
        path = self.folder / PICTURE
        write_whole(path, plots_trace.trace_over_epochs(self.records, title))
        return path

    def _lines(self) -> list[Record]:
        path = self.folder / FILE
        try:
            records = [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
            _ = [record["epoch"] for record in records]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: damaged ({error}); delete this file to go on without its lines") from error
        return records


def _place(record: Record) -> tuple[int, int, str]:
    return record["layer"], CLASSES.index(record["class"]), record["name"]


def trace_table(records: list[Record]) -> Table:
    """Return the table of the last epoch: a row a tensor, by layer and class.

    Parameters
    ----------
    records : list of dict
        Of :class:`TraceLog`.
    """
    epoch = max(record["epoch"] for record in records)
    last = [record for record in records if record["epoch"] == epoch]
    fixed = any(record["format"] for record in last)
    table = Table(title=f"tensors in epoch {epoch}")
    columns = ("used bits", "saturated %", "wrapped %") if fixed else ("binary exponents", "not finite")
    for name in ("layer", "tensor", *(("format",) if fixed else ())):
        table.add_column(name, no_wrap=True)
    for name in ("min", "max", *columns, "zeros %"):
        table.add_column(name, justify="right", no_wrap=True)
    before = last[0]["layer"]
    for record in last:
        cells = _fixed_cells(record) if fixed else _float_cells(record)
        if record["layer"] != before:
            table.add_section()
        before = record["layer"]
        name = (str(before), record["name"], *([record["format"] or "float32"] if fixed else []))
        table.add_row(*name, _number(record["min"]), _number(record["max"]), *cells, f"{100 * record['zero_fraction']:.1f}")
    return table


def _fixed_cells(record: Record) -> tuple[str, ...]:
    """Return used bits, saturations and wraps; a tensor that kept float32 has no bits to speak of."""
    shares = (_percent(record[what], record["elements"]) for what in ("saturations", "wraps"))
    return ("" if record["used_bits"] is None else str(record["used_bits"]), *shares)


def _float_cells(record: Record) -> tuple[str, ...]:
    exponents = [int(exponent) for exponent in record["exponents"]]
    span = f"{min(exponents)} .. {max(exponents)}" if exponents else "-"
    return span, _percent(record["not_finite"], record["elements"])


def _percent(count: int, elements: int) -> str:
    return f"{100 * count / elements:.2g}" if count else "0"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def after_each(*watchers: Callable[[Run], None] | None) -> Callable[[Run], None]:
    """Return what calls every watcher there is with the run, after each epoch."""

    def call(run: Run) -> None:
        for watcher in watchers:
            if watcher is not None:
                watcher(run)

    return call
