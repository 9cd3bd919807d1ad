"""Scripts that run cells and leave a result line of each: what is missing, and the command line that they share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fasim.machine import provenance
from fasim.result_lines import append, done, key

__all__ = ["append", "done", "key", "provenance", "run_missing"]


def run_missing(title: str, path: Path, cells: Sequence[Any], run: Callable[[Any], dict[str, Any]]) -> int:
    """Run what has no line yet, as the command line asks; return the exit code."""
    parser = argparse.ArgumentParser(description=title.splitlines()[0])
    parser.add_argument("--table", help="only this table")
    parser.add_argument("--part", default="0/1", help="i/n: every n-th cell, from the i-th")
    parser.add_argument("--list", action="store_true", help="show the tables and what is missing")
    given = parser.parse_args()
    index, parts = map(int, given.part.split("/"))
    wanted = [cell for cell in cells if given.table in (None, cell.table)][index::parts]
    missing = [cell for cell in wanted if key(asdict(cell)) not in done(path)]
    if given.list:
        for table in dict.fromkeys(cell.table for cell in wanted):
            left = sum(cell.table == table for cell in missing)
            print(f"{table}: {sum(cell.table == table for cell in wanted)} runs, {left} missing")
        return 0
    for cell in missing:
        line = run(cell)
        append(path, line)
        print(" ".join(str(value) for value in asdict(cell).values()), "->", line.get("shown", ""))
        sys.stdout.flush()
    return 0
