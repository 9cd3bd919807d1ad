"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from pathlib import Path
from typing import Any

from fasim.errors import OutputError
from fasim.locks import FolderLock

PART = ".part"


class ResultFolder:
    """A folder for results that is made, and shown to be writable, before any work is done.

    Parameters
    ----------
    path : Path
    fresh : bool
        Never share a folder that is there already: take the next free name ``path-2``, ``path-3``, ...
    alone : bool
        Hold the folder against other processes until `release`, and take away what a killed one left half-written.

    Raises
    ------
    OutputError
        If it cannot be made or written, or another process holds it.
    """

    def __init__(self, path: Path, *, fresh: bool = False, alone: bool = False) -> None:
        self._made: list[Path] = []
        self._notes: list[Path] = []
        self._before: dict[Path, bytes] = {}
        self._lock: FolderLock | None = None
        try:
            self.path = self._make(path, fresh)
            probe = self.path / f".{os.getpid()}{PART}"
            probe.touch()
            probe.unlink()
            if alone:
                self._lock = FolderLock(self.path)
                for half in self.path.glob(f".*{PART}"):
                    half.unlink()
        except OutputError:
            self.discard()
            raise
        except OSError as error:
            self.discard()
            raise OutputError(
                f"cannot write into {path}: {error.strerror}; give a folder that can be written with --out"
            ) from error

    def _make(self, path: Path, fresh: bool) -> Path:
        for parent in reversed(path.parents):
            if not parent.exists():
                parent.mkdir(exist_ok=True)
                self._made.append(parent)
        for attempt in itertools.count(1):
            name = path if attempt == 1 else path.with_name(f"{path.name}-{attempt}")
            try:
                name.mkdir()
            except FileExistsError:
                if fresh:
                    continue
                if not name.is_dir():
                    raise
            else:
                self._made.append(name)
            return name
        raise AssertionError("unreachable")

    def note(self, name: str, data: bytes) -> None:
        """Write a file that is worth nothing by itself: `discard` takes it away, or puts back what was there."""
        path = self.path / name
        if path.is_file():
            self._before[path] = path.read_bytes()
        else:
            self._notes.append(path)
        write_whole(path, data)

    def release(self) -> None:
        """Let other processes into the folder."""
        if self._lock is not None:
            self._lock.release()

    def discard(self) -> None:
        """Remove what was made for it, as far as nothing has been written there."""
        self.release()
        for path, data in self._before.items():
            with contextlib.suppress(OutputError):
                write_whole(path, data)
        with contextlib.suppress(OSError):
            if self._notes and {*self.path.iterdir()} <= {*self._notes}:
                for one in self._notes:
                    one.unlink()
        for folder in reversed(self._made):
            with contextlib.suppress(OSError):
                folder.rmdir()


def user_path(text: str) -> Path:
    """Return the path that a text names, ``~`` and ``~name`` for home folders; one that is nobody's stands for itself."""
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name and rename it, so that no reader meets half a file.

    What a link leads to is written, and what is no file, such as a pipe, is written into.
    """
    path = path.resolve() if path.is_symlink() else path
    if path.exists() and not path.is_file():
        try:
            path.write_bytes(data)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}; choose another file") from error
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}{PART}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise OutputError(f"cannot write {path}: {error.strerror}; free some space or choose another folder") from error


def parse_json(text: str) -> Any:  # noqa: ANN401
    """Return the value of a JSON text.

    Raises
    ------
    ValueError
        If it is none, or nested more deeply than anything that fasim writes.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write_json(path: Path, content: Any) -> None:  # noqa: ANN401
    """Write plain values as JSON; NaN and infinity, which JSON has not, are refused."""
    write_whole(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
