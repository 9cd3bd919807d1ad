"""A processor: what its operations and its memory cost, each number with unit, source and kind."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fasim.errors import ConfigError, ProcessorError, unknown_name

_PRESETS = Path(__file__).parent / "processors"

KINDS = ("measured", "published", "derived", "assumed")

# The constants of every processor and their units; fasim/energy/price.py says what each is paid for.
CONSTANTS = {
    "int_mul_bit2": "pJ/bit^2",
    "int_mul_bit": "pJ/bit",
    "int_add_bit": "pJ/bit",
    "float32_mul": "pJ",
    "float32_add": "pJ",
    "float32_div": "pJ",
    "shift_bit": "pJ/bit",
    "lut_bit": "pJ/bit",
    "rng_bit": "pJ/bit",
    "sram_read": "pJ/word",
    "sram_write": "pJ/word",
}

_TOP = ("name", "description", "memory_bytes", "word_bits", "constants")
_NUMBERS = ("low", "typical", "high")
_TEXTS = ("unit", "source", "kind")


@dataclass(frozen=True)
class Constant:
    """A number of a processor with its interval and where it comes from.

    Parameters
    ----------
    low, typical, high : float
        Interval over the sources; finite, ``0 <= low <= typical <= high``.
    unit : str
        Such as ``pJ/bit``.
    source : str
        Where the numbers stand, low and high included.
    kind : str
        ``measured``, ``published``, ``derived`` (computed from published numbers) or ``assumed``.

    Raises
    ------
    ProcessorError
        If a number is impossible or a text is missing.
    """

    low: float
    typical: float
    high: float
    unit: str
    source: str
    kind: str

    def __post_init__(self) -> None:
        """Refuse a number without provenance, or no number."""
        for key in _NUMBERS:
            number = getattr(self, key)
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                raise ProcessorError(f"{key} = {number!r}: write a number")
            if not (math.isfinite(number) and number >= 0):
                raise ProcessorError(f"{key} = {number}: write a finite number, 0 or above")
        if not self.low <= self.typical <= self.high:
            raise ProcessorError(
                f"low {self.low}, typical {self.typical}, high {self.high}: low <= typical <= high is needed"
            )
        for key in _TEXTS:
            text = getattr(self, key)
            if not isinstance(text, str) or not text.strip():
                raise ProcessorError(f"{key} = {text!r}: write a text, no constant goes without")
        if self.kind not in KINDS:
            raise ProcessorError(unknown_name("kind", self.kind, KINDS))


@dataclass(frozen=True)
class Processor:
    """A processor with one memory that holds everything.

    Parameters
    ----------
    name, description : str
    memory_bytes : int
        Size of the memory that ``sram_read`` and ``sram_write`` belong to.
    word_bits : int
        Bits of one access.
    constants : dict of Constant
        All of :data:`CONSTANTS`, no other.

    Raises
    ------
    ProcessorError
        If a constant is missing, unknown or has another unit, or a size is no positive whole number.
    """

    name: str
    description: str
    memory_bytes: int
    word_bits: int
    constants: dict[str, Constant]

    def __post_init__(self) -> None:
        """Refuse what could not price a step."""
        for key in ("name", "description"):
            text = getattr(self, key)
            if not isinstance(text, str) or not text.strip():
                raise ProcessorError(f"{key} = {text!r}: write a text")
        for key in ("memory_bytes", "word_bits"):
            size = getattr(self, key)
            if type(size) is not int or size < 1:
                raise ProcessorError(f"{key} = {size!r}: write a whole number, 1 or above")
        _check_keys("constant", self.constants, CONSTANTS)
        for name, constant in self.constants.items():
            if constant.unit != CONSTANTS[name]:
                raise ProcessorError(f"constant {name}: unit is {constant.unit!r}, {CONSTANTS[name]!r} is needed")


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
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ProcessorError(
            f"processor {path}: cannot be read as TOML: {reason}; give a file like generic_45nm.toml"
        ) from None
    try:
        return _build(document)
    except ProcessorError as error:
        raise ProcessorError(f"processor {path}: {error}") from None


def _build(document: dict[str, Any]) -> Processor:
    _check_keys("key", document, _TOP)
    tables = document["constants"]
    if not isinstance(tables, dict):
        raise ProcessorError("constants is no table: write [constants.sram_read] and so on")
    constants = {}
    for name, entries in tables.items():
        if not isinstance(entries, dict):
            raise ProcessorError(
                f"constant {name} is a bare value: write a table [constants.{name}] with {', '.join((*_NUMBERS, *_TEXTS))}"
            )
        try:
            _check_keys("key", entries, (*_NUMBERS, *_TEXTS))
            constants[name] = Constant(**entries)
        except ProcessorError as error:
            raise ProcessorError(f"constant {name}: {error}") from None
    return Processor(**(document | {"constants": constants}))


def _check_keys(what: str, given: Mapping[str, object], needed: Iterable[str]) -> None:
    needed = list(needed)
    for key in given:
        if key not in needed:
            raise ProcessorError(unknown_name(what, key, needed))
    missing = [key for key in needed if key not in given]
    if missing:
        raise ProcessorError(f"{what} {missing[0]} is missing: there is no default, write it")
