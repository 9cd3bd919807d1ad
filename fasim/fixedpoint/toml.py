"""Datapaths as TOML text: which tables and keys there are, and that none lacks or is too many."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fasim.errors import FormatError, unknown_name
from fasim.tomlfiles import TomlError, parse_toml, read_text

CASTS = ("preact", "act", "slope", "error", "delta")
_MODES = ("rounding", "overflow")
_CAST = ("format", *_MODES)
# table -> keys that must stand in it, keys that may
_TABLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "input": (("format",), ()),
    "weight": (_CAST, ("range",)),
    "master": (("format",), ()),
    "bias": (("format",), ()),
    "update": (_MODES, ("rate", "kind")),
    "preact": (_CAST, ("divide",)),
    "act": (_CAST, ()),
    "slope": (_CAST, ()),
    "error": (_CAST, ("target",)),
    "delta": (_CAST, ()),
    "feedback": ((), ("bits", "format", "master_bits")),
}
OPTIONAL: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "signal": (_CAST, ()),
    "gradient": (_CAST, ()),
    "norm": (("format",), ()),
    "momentum": ((*_CAST, "factor"), ()),
    "accumulators": ((), ("forward", "transport", "gradient")),
    "random": ((), ("source", "bits", "half", "width", "taps", "shifts", "seed")),
    "functions": ((), ("tanh", "sigmoid", "tanh_slope", "sigmoid_slope", "slope", "relu", "softmax_bits")),
    "dynamic": ((), ("preact", "signal", "error", "delta", "gradient")),
}
# keys of [tensors] are names of tensors
TENSORS = "tensors"
_TEXTS = ("name", "source", "accumulator")
_NUMBERS = ("bits", "master_bits", "width", "shifts", "seed", "softmax_bits")


def read_document(text: str) -> dict[str, Any]:
    """Return the tables of a datapath's TOML text: all that must be there, with all of their keys.

    Parameters
    ----------
    text : str
        The TOML text.

    Returns
    -------
    dict
        Strings, whole numbers (``bits`` and its like), ``half`` a truth value, ``taps`` a list of whole numbers.

    Raises
    ------
    FormatError
        If the text is no TOML, or a table or key is unknown, missing or of another kind.
    """
    try:
        document = parse_toml(text)
    except TomlError as error:
        raise FormatError(f"no TOML: {error}") from None
    tables = _TABLES | OPTIONAL
    for key in document:
        if key not in tables and key not in _TEXTS and key != TENSORS:
            raise FormatError(unknown_name("key", key, [*_TEXTS, *tables, TENSORS]))
    for key in _TEXTS:
        if not isinstance(document.get(key), str):
            raise FormatError(f'{key} is missing or no text: write {key} = "..." at the top')
    for table, (keys, more) in _TABLES.items():
        _check_table(table, keys, more, document.get(table))
    for table, (keys, more) in OPTIONAL.items():
        if table in document:
            _check_table(table, keys, more, document[table])
    _check_tensors(document.get(TENSORS, {}))
    return document


def write_document(document: Mapping[str, Any]) -> str:
    """Return TOML text that `read_document` reads back as an equal document.

    Parameters
    ----------
    document : mapping
        Every text and table of a datapath; values are int, bool, a list of int, or anything whose ``str`` is meant.
    """
    lines = [f"{key} = {_value(document[key])}" for key in _TEXTS]
    for table in (*_TABLES, *OPTIONAL, TENSORS):
        if document.get(table):
            lines += ["", f"[{table}]"]
            lines += [f"{_key(table, key)} = {_value(value)}" for key, value in document[table].items()]
    return "\n".join(lines) + "\n"


def load_text(path: str | Path) -> str:
    """Return the text of a file.

    Raises
    ------
    FormatError
        If it cannot be read.
    """
    try:
        return read_text(Path(path))
    except TomlError as error:
        raise FormatError(f"cannot be read: {error}") from None


def _check_table(table: str, keys: tuple[str, ...], more: tuple[str, ...], entries: object) -> None:
    if not isinstance(entries, dict):
        raise FormatError(f"table [{table}] is missing: write it with {', '.join(keys or more)}")
    for key in entries:
        if key not in keys and key not in more:
            raise FormatError(unknown_name(f"key in [{table}]", key, (*keys, *more)))
    for key in keys:
        if key not in entries:
            raise FormatError(f"[{table}] lacks {key}: there is no default, write it")
    for key, entry in entries.items():
        if not _is_of_its_kind(key, entry):
            kind = "a whole number" if key in _NUMBERS else "true or false" if key == "half" else "text"
            kind = "a list of whole numbers" if key == "taps" else kind
            raise FormatError(f"[{table}] {key} = {entry!r}: write it as {kind}")


def _is_of_its_kind(key: str, entry: object) -> bool:
    if key in _NUMBERS:
        return type(entry) is int
    if key == "half":
        return isinstance(entry, bool)
    if key == "taps":
        return isinstance(entry, list) and all(type(tap) is int for tap in entry)
    return isinstance(entry, str)


def _check_tensors(entries: object) -> None:
    if not isinstance(entries, dict) or not all(isinstance(text, str) for text in entries.values()):
        raise FormatError('[tensors] holds formats by tensor name: write lines such as "preact.2" = "s10.5"')


def _key(table: str, key: str) -> str:
    return json.dumps(key, ensure_ascii=False) if table == TENSORS else key


def _value(value: object) -> str:
    if isinstance(value, bool | int | list | tuple):
        return json.dumps(value)
    return json.dumps(str(value), ensure_ascii=False)
