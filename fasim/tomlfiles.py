"""TOML of users: read within bounds, so that no text hangs, floods the memory or ends in a traceback."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

# thirty times the largest file that comes with fasim
MAX_BYTES = 1 << 18
# tomllib takes time that grows with the square of the parts of one dotted key: with these bounds 2 s at worst
MAX_LINE = 1 << 12
# tables within tables; ours have four at most
MAX_DEPTH = 16
TOO_DEEP = f"more than {MAX_DEPTH} tables or lists within each other; write them one beside another"


class TomlError(ValueError):
    """A text that is no TOML, or one that is not read; the caller says in its own words of what."""


def parse_toml(text: str) -> dict[str, Any]:
    """Return the tables of a TOML text.

    Raises
    ------
    TomlError
        In one line: where the text is no TOML, or that it is too long or nested too deeply.
    """
    if len(text) > MAX_BYTES:
        raise TomlError(f"more than {MAX_BYTES} characters; give a file of settings")
    if (longest := max(map(len, text.split("\n")))) > MAX_LINE:
        raise TomlError(f"a line of {longest} characters; write at most {MAX_LINE} a line")
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise TomlError(TOO_DEEP) from None
    # beside TOMLDecodeError: an integer of thousands of digits, a date that is none
    except ValueError as error:
        raise TomlError(" ".join(str(error).split())) from None
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        level = [entry for one in level for entry in (one.values() if isinstance(one, dict) else one)]
        level = [entry for entry in level if isinstance(entry, (dict, list))]
        if not level:
            return document
    raise TomlError(TOO_DEEP)


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, never more than `MAX_BYTES` of it.

    Raises
    ------
    TomlError
        In one line: why it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise TomlError(error.strerror or str(error)) from None
    # text that is no UTF-8, a name with a zero byte
    except ValueError as error:
        raise TomlError(" ".join(str(error).split())) from None
    if len(content) > MAX_BYTES:
        raise TomlError(f"more than {MAX_BYTES} bytes; give a file of settings")
    return text.replace("\r\n", "\n")


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises
    ------
    TomlError
        In one line: why it cannot be read, or where it is no TOML.
    """
    return parse_toml(read_text(path))
