"""A learning rule out of a file of the user's own, for the command line."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from fasim.errors import ConfigError, FasimError
from fasim.rules.rule import Rule
from fasim.schedule import Builder, Value


def read_rule(path: Path) -> Rule:
    """Run a Python file and return the Rule that it calls ``RULE``.

    The file is code and may do whatever its user may; nothing but a path that the user has typed may lead here.

    Parameters
    ----------
    path : Path
        A file that ends in ``.py``.

    Returns
    -------
    Rule

    Raises
    ------
    ConfigError
        If there is no such file, it stops with an error, or it has no ``RULE``.
    """
    if not path.is_file():
        raise ConfigError(f"rule file {path}: there is no such file; give the path of a Python file with a RULE")
    # not by import, which would keep bytecode beside the file, and take it for an edit within the same second
    module = ModuleType(path.stem)
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    except SyntaxError as error:
        raise ConfigError(f"rule file {path}: line {error.lineno} is no Python: {error.msg}") from error
    except (Exception, SystemExit) as error:
        raise _refused(error, path) from error
    rule = getattr(module, "RULE", None)
    if not isinstance(rule, Rule):
        raise ConfigError(
            f"rule file {path}: it has no RULE; end it with RULE = Rule(name, title, source, signal, place=100), "
            "from fasim.rules import Rule"
        )
    for name in ("name", "title", "source"):
        text = getattr(rule, name)
        if not isinstance(text, str) or not text.isprintable():
            raise ConfigError(f"rule file {path}: {name} = {text!r}: write a text of one line")
    learn = None if rule.learn is None else _guarded(rule.learn, path, gives=False)
    return replace(rule, signal=_guarded(rule.signal, path, gives=True), learn=learn)


def _guarded(function: Callable[[Builder, int], Any], path: Path, *, gives: bool) -> Callable[[Builder, int], Any]:
    """Return the function, whose errors are those of a file that somebody wrote; `gives`: what it returns is a signal."""

    def call(step: Builder, layer: int) -> Any:  # noqa: ANN401
        try:
            result = function(step, layer)
        except FasimError:
            raise
        except Exception as error:
            raise _refused(error, path) from error
        if gives and not (result is None or isinstance(result, Value)):
            raise ConfigError(
                f"rule file {path}: layer {layer} gets {result!r:.60}; return what a method of step returned, or None"
            )
        return result

    return call


def _refused(error: BaseException, path: Path) -> ConfigError:
    return ConfigError(f"rule file {path}: {_where(error, path)}{type(error).__name__}: {' '.join(str(error).split())}")


def _where(error: BaseException, path: Path) -> str:
    """Return ``line 7: `` for the last line of the file that led to the error, if one did."""
    numbers = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"line {numbers[-1]}: " if numbers else ""
