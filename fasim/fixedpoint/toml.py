"""Datapaths as TOML text: which tables and keys there are, and that none lacks or is too many."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fasim.errors import FormatError, unknown_name

CASTS = ("preact", "act", "slope", "error", "delta")
_CAST = ("format", "rounding", "overflow")
_TABLES: dict[str, tuple[str, ...]] = {
    "input": ("format",),
    "weight": _CAST,
    "master": ("format",),
    "bias": ("format",),
    "update": ("rounding", "overflow"),
    **dict.fromkeys(CASTS, _CAST),
    "feedback": ("bits",),
}
_TEXTS = ("name", "source", "accumulator")


def read_document(text: str) -> dict[str, Any]:
    """Return the tables of a datapath's TOML text: all of them, with all of their keys.

    Parameters
    ----------
    text : str
        The TOML text.

    Returns
    -------
    dict
        Strings, except ``["feedback"]["bits"]``, which is what the text holds.

    Raises
    ------
    FormatError
        If the text is no TOML, or a table or key is unknown, missing or no string.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FormatError(f"no TOML: {error}") from None
    for key in document:
        if key not in _TABLES and key not in _TEXTS:
            raise FormatError(unknown_name("key", key, [*_TEXTS, *_TABLES]))
    for key in _TEXTS:
        if not isinstance(document.get(key), str):
            raise FormatError(f'{key} is missing or no text: write {key} = "..." at the top')
    for table, keys in _TABLES.items():
        _check_table(table, keys, document.get(table))
    return document


def write_document(document: Mapping[str, Any]) -> str:
    """Return TOML text that `read_document` reads back as an equal document.

    Parameters
    ----------
    document : mapping
        Every text and table of a datapath; values are int, or anything whose ``str`` is meant.
    """
    lines = [f"{key} = {_value(document[key])}" for key in _TEXTS]
    for table, keys in _TABLES.items():
        lines += ["", f"[{table}]", *(f"{key} = {_value(document[table][key])}" for key in keys)]
    return "\n".join(lines) + "\n"


def load_text(path: str | Path) -> str:
    """Return the text of a file.

    Raises
    ------
    FormatError
        If it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"cannot be read: {error}") from None


def _check_table(table: str, keys: tuple[str, ...], entries: object) -> None:
    if not isinstance(entries, dict):
        raise FormatError(f"table [{table}] is missing: write it with {', '.join(keys)}")
    for key in entries:
        if key not in keys:
            raise FormatError(unknown_name(f"key in [{table}]", key, keys))
    for key in keys:
        if key not in entries:
            raise FormatError(f"[{table}] lacks {key}: there is no default, write it")
        if key != "bits" and not isinstance(entries[key], str):
            raise FormatError(f"[{table}] {key} = {entries[key]!r}: write it as text")


def _value(value: object) -> str:
    return str(value) if isinstance(value, int) else json.dumps(str(value), ensure_ascii=False)
