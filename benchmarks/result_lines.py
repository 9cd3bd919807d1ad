"""Resumable result lines: one JSON line a cell and seed, whole, with where it came from."""

from __future__ import annotations

import argparse
import fcntl
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from fasim import __version__
from fasim.doctor import cpu_model


class Cell(Protocol):
    """A frozen dataclass with everything that decides a result."""

    table: str


def key(cell: dict[str, Any]) -> str:
    """Return what identifies a cell in a file of lines."""
    return json.dumps(cell, sort_keys=True)


def done(path: Path) -> dict[str, dict[str, Any]]:
    """Return the finished lines by cell; the last one of a cell holds."""
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {key(line["cell"]): line for line in lines}


def append(path: Path, line: dict[str, Any]) -> None:
    """Add a line whole, also when two processes share the file."""
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(line) + "\n")


def provenance() -> dict[str, Any]:
    """Return commit, CPU, threads and versions of a run with one thread."""
    answer = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    )
    return {
        "commit": answer.stdout.strip() or "unknown",
        "cpu": cpu_model(),
        "threads": 1,
        "versions": {"fasim": __version__} | {name: version(name) for name in ("numpy", "numba", "scipy")},
    }


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
