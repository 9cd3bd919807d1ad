"""Reader of a user's own data: a ``.csv`` with numbers and, in the last column, the label."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NoReturn

import numpy as np
from numpy.typing import NDArray

from fasim.data.dataset import Data
from fasim.data.digits import permutation
from fasim.data.npz import MAX_LABEL
from fasim.errors import DataError

# What is held as text at a time: fields of a block, and characters of a line. Beyond them memory
# holds the numbers alone.
BLOCK_FIELDS = 1 << 18
MAX_LINE = 1 << 22
# No number needs more; one long field would widen a whole block.
MAX_NUMBER = 40
SHOWN = 40
LARGEST = float(np.finfo(np.float32).max)


@dataclass
class _Table:
    """What has been read so far: blocks of features, and of labels numbered as they appear."""

    path: Path
    columns: int = 0
    header: list[str] | None = None
    features: list[NDArray[np.float32]] = field(default_factory=list)
    numbers: list[NDArray[np.int64]] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)

    def refuse(self, line: int, given: str, needed: str, advice: str) -> NoReturn:
        raise DataError(f"{self.path}: line {line} has {given}; needed: {needed}; {advice}")


def read(path: Path) -> Data:
    """Return the data of a ``.csv`` file as float32 numbers and labels from 0.

    Columns are separated by commas, the last one is the label: whole numbers or text, numbered in
    sorted order (numbers by value). The first line is a header when it has a feature that is no
    number, or when its label alone is no whole number; the note says which it was. Of the samples,
    taken in a fixed order, the first 80 % are for training and the rest for the test.

    Memory stays at about twice the float32 numbers of the file.

    Raises
    ------
    DataError
        The file cannot be read, or a line does not fit; the message names it.
    """
    table = _Table(path)
    try:
        # utf-8-sig drops the mark with which spreadsheet programs begin a file.
        with open(path, encoding="utf-8-sig", newline="") as file:
            _read_rows(table, file)
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file; give the path of a .csv file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason}); save it as CSV in UTF-8") from error
    except DataError:
        raise
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}); check the path and its permissions"
        ) from error
    return _split(table)


def _read_rows(table: _Table, file: IO[str]) -> None:
    reader = csv.reader(_bounded_lines(table, file), strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for row in reader:
            if not row:  # an empty line
                continue
            if not table.columns:
                table.columns = len(row)
                if len(row) < 2:
                    table.refuse(reader.line_num, f"one column, {_shown(row[0])}", "two or more", "separate by commas")
                if not all(_is_number(text) for text in row[:-1]):
                    table.header = row
                    continue
            if len(row) != table.columns:
                table.refuse(
                    reader.line_num, f"{len(row)} columns", f"{table.columns} as in the first line", "mend that line"
                )
            rows.append(row)
            lines.append(reader.line_num)
            if len(rows) * table.columns >= BLOCK_FIELDS:
                _add_block(table, rows, lines)
                rows, lines = [], []
    except csv.Error as error:
        table.refuse(reader.line_num, f"what is no CSV ({error})", "fields separated by commas", "mend that line")
    if rows:
        _add_block(table, rows, lines)


def _bounded_lines(table: _Table, file: IO[str]) -> Iterator[str]:
    """Yield the lines; a file without line ends would else be read as one."""
    number = 0
    while line := file.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE:
            table.refuse(number, f"{MAX_LINE} characters or more", "fewer", "write one sample a line")
        yield line


def _add_block(table: _Table, rows: list[list[str]], lines: list[int]) -> None:
    """Turn rows of text into numbers; the loops are over text, which has no other way in."""
    for row, line in zip(rows, lines, strict=True):
        label = row[-1].strip()
        if not label:
            table.refuse(line, "no label", "one in the last column", "add it or remove that line")
        if label not in table.seen and len(table.seen) > MAX_LABEL:
            table.refuse(line, f"label number {MAX_LABEL + 2}", f"{MAX_LABEL + 1} labels at most", "put the label last")
        table.seen.setdefault(label, len(table.seen))
    table.numbers.append(np.array([table.seen[row[-1].strip()] for row in rows], np.int64))
    try:
        if max(len(text) for row in rows for text in row[:-1]) > MAX_NUMBER:
            raise ValueError("a field too long for a number")
        block = np.array([row[:-1] for row in rows], np.float64)
    except ValueError:
        _refuse_feature(table, rows, lines)
    # float32 has no number for it, or the text was one of inf and nan
    if not (np.abs(block) <= LARGEST).all():
        _refuse_feature(table, rows, lines)
    table.features.append(block.astype(np.float32))


def _refuse_feature(table: _Table, rows: list[list[str]], lines: list[int]) -> NoReturn:
    """Name the first feature of a block that is no number; there is one."""
    row, line, column = next(
        (row, line, column)
        for row, line in zip(rows, lines, strict=True)
        for column, text in enumerate(row[:-1])
        if not _is_number(text) or not abs(float(text)) <= LARGEST
    )
    needed = "a number that float32 can hold"
    given = f"{_shown(row[column])} in column {column + 1}"
    table.refuse(line, given, needed, "replace it or remove that line")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return len(text) <= MAX_NUMBER


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


def _whole(text: str) -> int | None:
    """Return the whole number that a text is, also in a form like 3.0, else None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if value.is_integer() and abs(value) < 2**53 else None


def _split(table: _Table) -> Data:
    """Divide the samples, with labels numbered in sorted order."""
    path = table.path
    if not table.numbers:
        raise DataError(f"{path}: holds no samples; needed are lines of numbers with a label last")
    features, numbers = np.concatenate(table.features), np.concatenate(table.numbers)
    table.features.clear()
    names = list(table.seen)
    if table.header is None and _label_is_a_title(names, numbers):
        title = names.pop(0)
        table.header = [*(f"{value:g}" for value in features[0]), title]
        features, numbers = features[1:], numbers[1:] - 1
    place, labels = _sorted(table, names)
    if len(labels) < 2:
        raise DataError(f"{path}: has label {_shown(labels[0])} only; needed are two classes or more; add samples")
    y = place[numbers]
    order = permutation(len(y))
    cut = len(y) * 4 // 5
    train, test = order[:cut], order[cut:]
    note = "no header" if table.header is None else f"header: {_shown(', '.join(table.header))}"
    unseen = np.setdiff1d(y[test], y[train])
    if unseen.size:
        note += f"; no training sample of label {_shown(labels[unseen[0]])}"
    shape = (features.shape[1],)
    return Data(path.name, features[train], y[train], features[test], y[test], shape, len(labels), scale=1.0, note=note)


def _label_is_a_title(names: list[str], numbers: NDArray[np.int64]) -> bool:
    """Whether only the first sample has a label that is no whole number: a header over features named by numbers."""
    alone = len(names) > 1 and not (numbers[1:] == 0).any()
    return alone and _whole(names[0]) is None and None not in map(_whole, names[1:])


def _sorted(table: _Table, names: list[str]) -> tuple[NDArray[np.int64], list[str]]:
    """Return the class of each label as it appeared, and one text for each class."""
    whole = [_whole(name) for name in names]
    if None in whole:
        fraction = next((name for name in names if _is_number(name) and _whole(name) is None), None)
        if fraction is not None:
            raise DataError(
                f"{table.path}: has label {_shown(fraction)}; needed are whole numbers below 2^53 or text; "
                "put a label of that kind last in every line"
            )
        labels = sorted(names)
        rank = {name: number for number, name in enumerate(labels)}
        return np.array([rank[name] for name in names], np.int64), labels
    values = np.array(whole, np.int64)
    different, place = np.unique(values, return_inverse=True)
    return place.astype(np.int64), [str(value) for value in different.tolist()]
