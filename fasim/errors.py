"""The exceptions of fasim; the command line turns each into one line and exit code 2.

::

    FasimError
      ConfigError          (ValueError)    an unknown name, an impossible setting
        TopologyError                      a network string that cannot be built
        FormatError                        a number format or datapath that cannot be
      ScheduleError        (ValueError)    a schedule that contradicts itself: a bug in a rule
      DataError            (OSError)       a data set that is absent, damaged or does not fit
      ProcessorError       (ValueError)    a processor file without unit, source or a constant
      OutputError          (OSError)       a folder that cannot be written

The second parent lets ``except ValueError`` and ``except OSError`` work as users expect.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FasimError(Exception):
    """Parent of every error that a user can cause and mend."""


class ConfigError(FasimError, ValueError):
    """A name that is unknown or a setting that is impossible."""


class TopologyError(ConfigError):
    """A network string that cannot be built."""


class FormatError(ConfigError):
    """A number format or datapath that cannot be."""


class ScheduleError(FasimError, ValueError):
    """A schedule that contradicts itself: a bug in a rule, not in its use."""


class DataError(FasimError, OSError):
    """A data set that is absent, damaged or does not fit."""


class ProcessorError(FasimError, ValueError):
    """A processor file that lacks a constant, a unit or a source."""


class OutputError(FasimError, OSError):
    """A folder or file that cannot be written."""


def unknown_name(what: str, given: str, known: Iterable[str]) -> str:
    """Return the one line that says what was given and which names there are.

    Parameters
    ----------
    what : str
        Kind of thing, such as ``"rule"``.
    given : str
        The name that was not found.
    known : iterable of str
        The names that there are.
    """
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {what} {given!r}: there are {', '.join(names)}{hint}"
