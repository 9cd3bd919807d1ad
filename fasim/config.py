"""Configurations: the options of a command as TOML, written by hand or saved with a run.

::

    command = "train"          # which command it is for; may be left out in a file that is given with --config
    fasim = "0.1.0"            # only in a saved one: what made it
    rule = "drtp"              # options by their names, without the dashes in front and with _ for - within
    batch_size = 16
    checkpoint = true          # an option without a value is true or false
    seeds = [0, 1]             # where the command line takes a list with commas
    lr = "2^-7"                # text as on the command line; a number where that is one

    [files]                    # only in a saved one: SHA-256 of the files that its settings name
    "/data/mine.npz" = "..."

Nothing is read over: a key that the command has not is refused with the nearest one that it has, and so is a saved
configuration whose files hold something else by now.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fasim import __version__
from fasim.errors import ConfigError, OutputError, unknown_name
from fasim.tomlfiles import TomlError, read_toml

FILE = "config.toml"
COMMAND, VERSION, FILES = "command", "fasim", "files"
ENDINGS = (".npz", ".csv", ".toml", ".py")
HEAD = "# All settings of this run: `fasim run` with this file repeats it, `fasim {} --config` with this file varies it."


class Configuration(NamedTuple):
    """What a file says: its settings, and which command and version of fasim it is of ("" where it says nothing)."""

    settings: dict[str, Any]
    command: str = ""
    version: str = ""


def is_configuration(document: Mapping[str, Any]) -> bool:
    """Return whether a TOML document is a configuration that names its command, and no experiment."""
    return COMMAND in document


def read(path: Path) -> Configuration:
    """Return the configuration of a file; which keys its command knows is for :func:`check_keys` to say.

    Raises
    ------
    ConfigError
        If it cannot be read, or a file that its settings name has changed since.
    """
    try:
        document = read_toml(path)
    except TomlError as error:
        raise ConfigError(f"configuration {path}: cannot be read as TOML: {error}") from None
    words = {key: document.pop(key, "") for key in (COMMAND, VERSION)}
    for key, word in words.items():
        if not isinstance(word, str):
            raise ConfigError(f"configuration {path}: {key} = {word!r}: write text")
    files = document.pop(FILES, {})
    if not isinstance(files, dict) or not all(isinstance(digest, str) for digest in files.values()):
        raise ConfigError(f"configuration {path}: [{FILES}] is no table of names and SHA-256; leave it out")
    for name, digest in files.items():
        if _digest(name) != digest:
            raise ConfigError(
                f"configuration {path}: {name} is not what it was when this run was made; bring its contents back, or take "
                f"it out of [{FILES}] to run with what it holds now"
            )
    return Configuration(document, words[COMMAND], words[VERSION])


def check_keys(where: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse the first key that is not known, with the nearest one that is.

    Raises
    ------
    ConfigError
        In one line.
    """
    known = set(known)
    for key in given:
        if key not in known:
            raise ConfigError(f"{where}: {unknown_name('key', key, known)}")


def to_toml(command: str, settings: Mapping[str, Any], files: Iterable[str] = ()) -> str:
    """Return the text of a configuration.

    Parameters
    ----------
    command : str
    settings : mapping of str to str, bool, int, float or a list of them
    files : iterable of str
        Paths whose contents the settings rest on.

    Raises
    ------
    OutputError
        If a text has characters that TOML has not.
    """
    lines = [HEAD.format(command), f"{COMMAND} = {_value(command)}", f"{VERSION} = {_value(__version__)}", ""]
    lines += [f"{key} = {_value(value)}" for key, value in settings.items()]
    if digests := {name: _digest(name) for name in files}:
        lines += ["", f"[{FILES}]", *(f"{_value(name)} = {_value(digest)}" for name, digest in digests.items())]
    text = "\n".join(lines) + "\n"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise OutputError(
            f"{FILE}: {error.object[error.start : error.end]!r} cannot be written as TOML; give files names in UTF-8"
        ) from None
    return text


def _value(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    # JSON escapes what TOML wants escaped, but for one character
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)


def _digest(name: str) -> str:
    """Return the SHA-256 of a file, or nothing where it cannot be read."""
    try:
        with open(name, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return ""
