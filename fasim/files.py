"""Files that are written whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from fasim.errors import OutputError


def make_folder(path: Path) -> Path:
    """Create a folder for results and make sure that it can be written, before any work is done.

    Raises
    ------
    OutputError
        If it cannot.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".{os.getpid()}.part"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"cannot write into {path}: {error.strerror}; give a folder that can be written with --out"
        ) from error
    return path


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name and rename it, so that no reader meets half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror}; free some space or choose another folder") from error


def write_json(path: Path, content: Any) -> None:  # noqa: ANN401
    """Write plain values as JSON; NaN and infinity, which JSON has not, are refused."""
    write_whole(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
