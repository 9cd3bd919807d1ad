"""Result lines: one JSON object a line for each finished run, so that a set of runs goes on where it stopped.

A line is there whole or not at all: one write under a lock, taken back if it fails, and what a killed process may have left
of one is cut off before the next.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from fasim.errors import DataError, OutputError
from fasim.files import parse_json
from fasim.locks import NO_LOCKS, FolderLock

# no lock where the system has none (Windows): there two processes should not share a file
fcntl: Any = import_module("fcntl") if os.name == "posix" else None

Line = dict[str, Any]
BLOCK = 1 << 16
# of a line, also of one that a killed process has not finished
BEGIN = b'{"cell"'


def key(cell: dict[str, Any]) -> str:
    """Return what identifies a cell, that is everything that decides a run, in a file of lines."""
    return json.dumps(cell, sort_keys=True)


def done(path: Path) -> dict[str, Line]:
    """Return the finished lines of a file by cell; the last one of a cell holds.

    Raises
    ------
    DataError
        If a line is not what `append` writes; a last one without its end is none.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); give another file of result lines") from None
    found = {}
    for number, whole in enumerate(text.split("\n")[:-1], 1):
        try:
            line = parse_json(whole)
            found[key(line["cell"])] = line
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{path}, line {number}: no result line; take it out, its run is then repeated") from None
    return found


def append(path: Path, line: Line) -> None:
    """Add a line, also when several processes share the file.

    Raises
    ------
    OutputError
        If it cannot be written; nothing of it is then in the file.
    DataError
        If the file has no line, and something else than the beginning of one.
    """
    data = (json.dumps(line, allow_nan=False) + "\n").encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            with _locked(file):
                size = _whole_size(file)
                os.lseek(file, size, os.SEEK_SET)
                rest = os.read(file, len(BEGIN))
                # behind whole lines, which `done` has looked at, there is but what a killed process left
                if not size and not BEGIN.startswith(rest):
                    raise DataError(f"{path}: its end is no result line; give a file of result lines, or a new one")
                os.ftruncate(file, size)
                try:
                    if os.write(file, data) != len(data):
                        raise OSError("no space left")
                except OSError:
                    os.ftruncate(file, size)
                    raise
        finally:
            os.close(file)
    except DataError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"cannot write {path}: {reason}; free some space or give another file") from error


@contextlib.contextmanager
def claimed(path: Path, cell: dict[str, Any]) -> Iterator[bool]:
    """Hold a cell while it runs: False where it has a line by now, or another process is at it.

    The lock is a file beside the lines and ends with its process, so that a killed one keeps no cell from the others.

    Raises
    ------
    OutputError
        If no file can be made there.
    DataError
        If the file has a line that is none, see `done`.
    """
    name = f".{path.name}.{hashlib.sha256(key(cell).encode()).hexdigest()[:16]}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(path.parent, name)
    except OutputError:
        yield False
        return
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"cannot write beside {path}: {reason}; free some space or give another file") from error
    try:
        yield key(cell) not in done(path)
    finally:
        lock.release()


@contextlib.contextmanager
def _locked(file: int) -> Iterator[None]:
    if fcntl is None:
        yield
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it ends with the file, too
            fcntl.flock(file, fcntl.LOCK_UN)


def _whole_size(file: int) -> int:
    """Return the size of a file up to the end of its last whole line."""
    end = os.fstat(file).st_size
    while end:
        start = max(0, end - BLOCK)
        os.lseek(file, start, os.SEEK_SET)
        newline = os.read(file, end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
