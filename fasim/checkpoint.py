"""Checkpoints: the state after an epoch as ``.npz`` and what led to it as JSON, written whole or not at all.

The arrays are written first, under a name of their own; then the JSON that names them, in one rename; then older arrays
go. A reader therefore finds the last finished epoch or the one before it, never a mixture. A run needs nothing else to go
on bit for bit: every random stream is keyed by seed, name and epoch or step.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fasim.arrays import read_array
from fasim.errors import ConfigError, DataError
from fasim.files import write_json, write_whole
from fasim.memory import aligned_copy
from fasim.state import State

FILE = "checkpoint.json"
# what JSON, ZIP and NumPy raise on bytes that they cannot read
DAMAGE = (ValueError, KeyError, TypeError, AttributeError, EOFError, RuntimeError, struct.error)


class Checkpoint(NamedTuple):
    """What a run needs to go on: settings it was started with, finished epochs, and the state after them."""

    settings: dict[str, Any]
    epochs: list[dict[str, Any]]
    sites: dict[str, dict[str, int]]
    state: State


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint into a folder that exists.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    arrays = folder / f"checkpoint-{len(checkpoint.epochs)}.npz"
    buffer = io.BytesIO()
    # allow_pickle is a keyword of NumPy 2.1 and later only; no array of a state is an object
    np.savez(buffer, **checkpoint.state)  # type: ignore[arg-type]
    write_whole(arrays, buffer.getvalue())
    content = {
        "arrays": arrays.name,
        "settings": checkpoint.settings,
        "epochs": checkpoint.epochs,
        "sites": checkpoint.sites,
    }
    write_json(folder / FILE, content)
    for old in folder.glob("checkpoint-*.npz"):
        if old != arrays:
            old.unlink()


def load(folder: Path) -> Checkpoint:
    """Return the checkpoint of a folder.

    Raises
    ------
    DataError
        If there is none, or a file of it is damaged.
    """
    path = folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        arrays = folder / Path(content["arrays"]).name
        with zipfile.ZipFile(arrays) as archive:
            members = archive.infolist()
            state = {one.filename.removesuffix(".npy"): aligned_copy(read_array(archive, one)) for one in members}
        settings, epochs, sites = content["settings"], content["epochs"], content["sites"]
        figures = [*epochs, *sites.values()]
        if not isinstance(settings, dict) or not isinstance(epochs, list) or not all(map(_is_of_figures, figures)):
            raise TypeError("settings, epochs or counts are of another kind")
        return Checkpoint(settings, epochs, sites, state)
    except OSError as error:
        raise DataError(
            f"{folder}: no checkpoint can be read there ({error.strerror or error}); give the folder of a run that was "
            "started with --checkpoint"
        ) from error
    except (*DAMAGE, zipfile.BadZipFile, zlib.error) as error:
        raise damaged(folder, str(error)) from error


def _is_of_figures(entry: object) -> bool:
    return isinstance(entry, dict) and all(value is None or type(value) in (int, float) for value in entry.values())


def check_state(given: State, saved: State, folder: Path) -> None:
    """Refuse a saved state whose arrays are not those that the run needs.

    Raises
    ------
    DataError
        Naming the first array that is missing or has another shape or dtype.
    """
    for name, array in given.items():
        found = saved.get(name)
        if found is None or found.shape != array.shape or found.dtype != array.dtype:
            what = "missing" if found is None else f"{found.dtype}{found.shape}, needed is {array.dtype}{array.shape}"
            raise damaged(folder, f"{name}: {what}")


def damaged(folder: Path, what: str) -> DataError:
    """Return the error that says what is wrong with the checkpoint of a folder."""
    return DataError(f"{folder}: damaged checkpoint ({' '.join(what.split())}); start the run again")


def fingerprint(*parts: np.ndarray | str | None) -> str:
    """Return a short text that tells contents apart, or ``none`` where there is none."""
    given = [part for part in parts if part is not None]
    if not given:
        return "none"
    code = 0
    for part in given:
        code = zlib.crc32(part.encode() if isinstance(part, str) else np.ascontiguousarray(part).data, code)
    return f"{code:08x}"


def check_same(given: dict[str, Any], saved: dict[str, Any], folder: Path) -> None:
    """Refuse to go on with a run under other settings than it was started with.

    Raises
    ------
    ConfigError
        Naming the first setting that differs.
    """
    given = json.loads(json.dumps(given))
    for name in sorted({*given, *saved}):
        # of a text its fingerprint decides
        if given.get(name) == saved.get(name) or name.endswith("_toml"):
            continue
        what, contents, _ = name.partition("_fingerprint")
        if contents:
            raise ConfigError(f"{folder}: the run there has other {what} than given; give the same, or another folder")
        raise ConfigError(
            f"{folder}: the run there has {name} {saved.get(name)!r}, but {given.get(name)!r} is given; give the same, "
            "or another folder"
        )
