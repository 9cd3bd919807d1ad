"""Scripts that run cells and leave a result line of each: what is missing, and the command line that they share."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fasim.machine import commit, provenance
from fasim.result_lines import append, claimed, done, key

__all__ = ["append", "done", "key", "provenance", "run_missing"]


def run_missing(title: str, path: Path, cells: Sequence[Any], run: Callable[[Any], dict[str, Any]]) -> int:
    """Run what has no line yet and no other process is at, as the command line asks; return the exit code.

    Cells are dataclasses or plain values, with everything that decides a result; ``table`` is the one to choose by.
    """
    parser = argparse.ArgumentParser(description=title.splitlines()[0])
    parser.add_argument("--table", help="only this table")
    parser.add_argument("--list", action="store_true", help="show the tables and what is missing")
    given = parser.parse_args()
    wanted = [cell for cell in cells if given.table in (None, _plain(cell)["table"])]
    finished = done(path)
    missing = [cell for cell in wanted if key(_plain(cell)) not in finished]
    if given.list:
        tables, left = (Counter(_plain(cell)["table"] for cell in some) for some in (wanted, missing))
        for table, runs in tables.items():
            print(f"{table}: {runs} runs, {left[table]} missing")
        return 0
    commit()
    for cell in missing:
        with claimed(path, _plain(cell)) as mine:
            if not mine:
                continue
            line = run(cell)
            append(path, line)
        print(" ".join(str(value) for value in _plain(cell).values()), "->", line.get("shown", ""), flush=True)
    return 0


def _plain(cell: Any) -> dict[str, Any]:  # noqa: ANN401 - a dataclass or a dict
    return cell if isinstance(cell, dict) else asdict(cell)
