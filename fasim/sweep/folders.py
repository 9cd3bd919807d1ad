"""The folder of a sweep: one folder for each finished point, there whole or not at all.

::

    OUT/sweep.toml              the document
    OUT/plan.json               the hashes of its points, and in what they differ
    OUT/points/<hash>/          a finished point; nothing in it but made.json depends on when and where it ran
        config.toml             `fasim run` with this repeats it; names files of yours by where they were
        identity.json           all that decided it, contents in place of paths; <hash> begins its SHA-256
        result.json             its figures
        epochs.csv              its figures after each epoch
        made.json               times, machine, versions
    OUT/failed/<hash>.json      why a point could not run; gone once it has

A point is written into a folder with a name of its own and renamed: of several workers with one point the first wins, and a
worker that is killed leaves no half of one.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fasim import config
from fasim.errors import DataError, OutputError
from fasim.files import ResultFolder, write_json, write_whole
from fasim.sweep.as_training import config_toml
from fasim.sweep.grid import Sweep
from fasim.sweep.point import Point
from fasim.sweep.running import Outcome

DOCUMENT, PLAN, POINTS, FAILED = "sweep.toml", "plan.json", "points", "failed"
IDENTITY, RESULT, EPOCHS, MADE = "identity.json", "result.json", "epochs.csv", "made.json"
# what a killed process has left of a point is removed once nobody can still be writing it
ABANDONED_S = 3600


class SweepFolder:
    """The results of a sweep on disk.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.points, self.failed = path / POINTS, path / FAILED

    def create(self, sweep: Sweep, points: Sequence[Point]) -> None:
        """Make the folder, keep the document and its plan in it, and remove what killed processes have left.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        for folder in (self.path, self.points, self.failed):
            ResultFolder(folder)
        write_whole(self.path / DOCUMENT, sweep.text.encode())
        plan = {"title": sweep.title, "axes": list(sweep.axes), "points": [point.name for point in points]}
        write_json(self.path / PLAN, plan)
        now = time.time()
        for part in self.points.glob(".*.part"):
            with contextlib.suppress(OSError):
                if now - part.stat().st_mtime > ABANDONED_S:
                    shutil.rmtree(part)

    def plan(self) -> dict[str, Any]:
        """Return ``title``, ``axes`` and ``points`` of the document that was run here last.

        Raises
        ------
        DataError
            If no sweep was ever started here.
        """
        if not (self.path / PLAN).exists():
            raise DataError(f"{self.path}: no sweep was started there; give the folder that one has written")
        plan = _read(self.path / PLAN)
        if not all(isinstance(plan.get(key), kind) for key, kind in (("title", str), ("axes", list), ("points", list))):
            raise _damaged(self.path / PLAN)
        return plan

    def has(self, name: str) -> bool:
        """Return whether a point is finished."""
        return (self.points / name).is_dir()

    def finished(self) -> list[str]:
        """Return the names of all finished points."""
        if not self.points.is_dir():
            return []
        return sorted(entry.name for entry in self.points.iterdir() if entry.is_dir() and not entry.name.startswith("."))

    def write(self, point: Point, outcome: Outcome) -> bool:
        """Write a finished point, and return whether it was not there yet.

        Raises
        ------
        OutputError
            If it cannot be written; nothing of it is then left.
        """
        part = self.points / f".{point.name}.{uuid.uuid4().hex}.part"
        target = self.points / point.name
        files = {
            config.FILE: config_toml(point.settings),
            IDENTITY: point.identity_text,
            RESULT: _json({"point": point.name, "settings": point.settings} | _without_paths(point) | outcome.figures),
            EPOCHS: _csv(outcome.epochs),
            MADE: _json(outcome.made),
        }
        try:
            part.mkdir()
            for name, text in files.items():
                with (part / name).open("w", encoding="utf-8", newline="") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
            part.rename(target)
        except OSError as error:
            shutil.rmtree(part, ignore_errors=True)
            if target.is_dir():  # another worker was first
                return False
            raise OutputError(
                f"cannot write {target}: {error.strerror}; free some space or choose another folder"
            ) from error
        with contextlib.suppress(OSError):
            (self.failed / f"{point.name}.json").unlink(missing_ok=True)
        return True

    def write_failure(self, point: Point, error: str, detail: str = "") -> None:
        """Keep why a point could not run: the one line, and the traceback where it is a fault of fasim's own."""
        write_json(
            self.failed / f"{point.name}.json", {"point": point.name, "error": error, "detail": detail} | point.settings
        )

    def rows(self, names: list[str] | None = None) -> list[dict[str, Any]]:
        """Return what the finished points came to, each as one dict of settings and figures.

        Parameters
        ----------
        names : list of str, optional
            These alone, as far as they are finished; default: all.

        Raises
        ------
        DataError
            If a result cannot be read.
        """
        wanted = self.finished() if names is None else [name for name in names if self.has(name)]
        return [self._row(name) for name in wanted]

    def failures(self, names: list[str] | None = None) -> list[dict[str, Any]]:
        """Return the points that could not run, with ``error``, in the order of their names."""
        found = []
        for path in sorted(self.failed.glob("*.json")):
            if (names is None or path.stem in names) and not self.has(path.stem):
                found.append(_read(path))
        return found

    def _row(self, name: str) -> dict[str, Any]:
        content = _read(self.points / name / RESULT)
        try:
            return {"point": name, **content["settings"], **{key: content[key] for key in content if key != "settings"}}
        except (KeyError, TypeError):
            raise _damaged(self.points / name / RESULT) from None


def _without_paths(point: Point) -> dict[str, Any]:
    """Return the settings that name files by the names of what these hold, so that results do not depend on places."""
    return {"settings": point.settings | {key: point.identity[key] for key in ("data", "datapath", "processor")}}


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise _damaged(path) from None
    if not isinstance(content, dict):
        raise _damaged(path)
    return content


def _damaged(path: Path) -> DataError:
    return DataError(f"{path}: damaged; remove {path.parent if path.name == RESULT else path}, it is then made again")
