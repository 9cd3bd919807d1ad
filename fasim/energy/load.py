"""Processors from TOML files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fasim.energy.constant import Constant, check_keys, read_constant
from fasim.energy.processor import OPERATION_CONSTANTS, TIMING_CONSTANTS, Claim, Level, Processor
from fasim.errors import ConfigError, ProcessorError, unknown_name
from fasim.tomlfiles import TomlError, read_toml

_PRESETS = Path(__file__).parent / "processors"

_LEVEL_UNITS = {
    "capacity": "bytes",
    "word": "bits",
    "read": "pJ/word",
    "write": "pJ/word",
    "words_per_cycle": "words/cycle",
}
_OPTIONAL_KEYS = ("read", "write", "words_per_cycle", "technology", "external")


def names() -> list[str]:
    """Return the names of the processors that come with fasim."""
    return sorted(path.stem for path in _PRESETS.glob("*.toml"))


def load_processor(name_or_path: str | Path) -> Processor:
    """Return a processor by the name of a preset or from a TOML file.

    Parameters
    ----------
    name_or_path : str or Path
        See :func:`names`, or a path that ends in ``.toml``; ``processors/generic_45nm.toml`` beside this module shows how.

    Returns
    -------
    Processor
        With all technologies of its external memory, see :meth:`fasim.energy.Processor.with_dram`.

    Raises
    ------
    ConfigError
        If there is no preset of this name; the message lists the names.
    ProcessorError
        If the file cannot be read, or a key is missing, unknown or impossible.
    """
    text = str(name_or_path)
    if text in names():
        return _read(_PRESETS / f"{text}.toml")
    if text.endswith(".toml"):
        return _read(Path(text))
    raise ConfigError(unknown_name("processor", text, names()) + "; or give the path of a .toml file")


def _read(path: Path) -> Processor:
    try:
        document = read_toml(path)
    except TomlError as error:
        raise ProcessorError(
            f"processor {path}: cannot be read as TOML: {error}; give a file like generic_45nm.toml"
        ) from None
    try:
        return _build(document)
    except ProcessorError as error:
        raise ProcessorError(f"processor {path}: {error}") from None


def _build(document: dict[str, Any]) -> Processor:
    optional = ("constants", "levels", "timing", "dataflow", "published", "validation")
    check_keys("key", document, ("name", "description", "node_nm"), optional=optional)
    given = dict(document)
    claims = given.pop("published", [])
    return Processor(
        **given
        | {
            "constants": _named("constant", given.get("constants", {}), OPERATION_CONSTANTS),
            "timing": _named("timing", given.get("timing", {}), TIMING_CONSTANTS),
            "levels": tuple(_level(entries) for entries in _tables("levels", given.get("levels", []))),
            "claims": tuple(_claim(entries) for entries in _tables("published", claims)),
        }
    )


def _named(what: str, tables: object, units: dict[str, str]) -> dict[str, Constant]:
    if not isinstance(tables, dict):
        raise ProcessorError(f"{what}s are no table: write one for each, such as [constants.int_add_bit]")
    for name in tables:
        if name not in units:
            raise ProcessorError(unknown_name(what, name, units))
    return {name: read_constant(f"{what} {name}", entries, units[name]) for name, entries in tables.items()}


def _tables(what: str, entries: object) -> list[dict[str, Any]]:
    if not (isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)):
        raise ProcessorError(f"{what} is no list of tables: write [[{what}]] above each")
    return entries


def _level(entries: dict[str, Any]) -> Level:
    what = f"level {entries.get('name')}"
    try:
        check_keys("key", entries, ("name", "capacity", "word"), optional=_OPTIONAL_KEYS)
    except ProcessorError as error:
        raise ProcessorError(f"{what}: {error}") from None
    constants: dict[str, Any] = {
        key: read_constant(f"{what}: {key}", entries[key], unit) for key, unit in _LEVEL_UNITS.items() if key in entries
    }
    others = {key: entries[key] for key in ("name", "technology", "external") if key in entries}
    return Level(**others, **constants)


def _claim(entries: dict[str, Any]) -> Claim:
    given = dict(entries)
    what = given.pop("what", None)
    if not isinstance(what, str) or not what.strip():
        raise ProcessorError(f"published: what = {what!r}: say what the number is")
    return Claim(what, read_constant(f"published {what!r}", given, str(given.get("unit", ""))))
