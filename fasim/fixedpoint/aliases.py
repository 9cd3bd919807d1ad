"""One name for one rounding: what other tools call the modes of `fasim.scalar.rounding`."""

from __future__ import annotations

from collections.abc import Mapping

from fasim.errors import FormatError, unknown_name
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS

# AMD's ap_fixed and SystemC's sc_fixed share their names but for the prefix
_AP_ROUNDINGS = ("TRN", "TRN_ZERO", "RND", "RND_ZERO", "RND_MIN_INF", "RND_INF", "RND_CONV")
_AP_OVERFLOWS = ("WRAP", "SAT", "SAT_ZERO", "SAT_SYM")

#: convention -> its name of a rounding -> ours
ROUNDING_ALIASES: dict[str, dict[str, str]] = {
    "ap_fixed": {f"AP_{name}": name for name in _AP_ROUNDINGS},
    "sc_fixed": {f"SC_{name}": name for name in _AP_ROUNDINGS},
    "MATLAB": {
        "Floor": "TRN",
        "Ceiling": "TRN_INF",
        "Zero": "TRN_ZERO",
        "Nearest": "RND",
        "Round": "RND_INF",
        "Convergent": "RND_CONV",
    },
    "NumPy": {"floor": "TRN", "ceil": "TRN_INF", "trunc": "TRN_ZERO", "fix": "TRN_ZERO", "rint": "RND_CONV"},
    "APyTypes": {
        "TO_NEG": "TRN",
        "TO_POS": "TRN_INF",
        "TO_ZERO": "TRN_ZERO",
        "TO_AWAY": "TRN_AWAY",
        "TIES_POS": "RND",
        "TIES_NEG": "RND_MIN_INF",
        "TIES_AWAY": "RND_INF",
        "TIES_ZERO": "RND_ZERO",
        "TIES_EVEN": "RND_CONV",
        "TIES_ODD": "RND_CONV_ODD",
        "STOCH_WEIGHTED": "STOCH",
    },
}
#: convention -> its name of an overflow -> ours
OVERFLOW_ALIASES: dict[str, dict[str, str]] = {
    "ap_fixed": {f"AP_{name}": name for name in _AP_OVERFLOWS},
    "sc_fixed": {f"SC_{name}": name for name in _AP_OVERFLOWS},
    "MATLAB": {"Wrap": "WRAP", "Saturate": "SAT"},
}


def _names(own: Mapping[str, int], conventions: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return every name that is understood, ours and theirs, with what we call it."""
    known = {name: name for name in own}
    for names in conventions.values():
        known |= names
    return known


_ROUNDING_OF = _names(ROUNDINGS, ROUNDING_ALIASES)
_OVERFLOW_OF = _names(OVERFLOWS, OVERFLOW_ALIASES)


def rounding(name: str) -> str:
    """Return our name of a rounding that is given by ours or by that of another tool.

    Parameters
    ----------
    name : str
        Such as ``RND``, ``AP_RND``, ``Nearest`` or ``TIES_POS``, which are one mode. Case matters: MATLAB's ``Round`` is
        another mode than NumPy's ``round``, which is not in the table.

    Returns
    -------
    str
        A key of `fasim.scalar.rounding.ROUNDINGS`.

    Raises
    ------
    FormatError
        If no tool of the table has the name.
    """
    return _look_up("rounding", name, _ROUNDING_OF, ROUNDINGS)


def overflow(name: str) -> str:
    """Return our name of an overflow that is given by ours or by that of another tool.

    Parameters
    ----------
    name : str
        Such as ``SAT``, ``AP_SAT`` or ``Saturate``, which are one mode.

    Returns
    -------
    str
        A key of `fasim.scalar.rounding.OVERFLOWS`.

    Raises
    ------
    FormatError
        If no tool of the table has the name.
    """
    return _look_up("overflow", name, _OVERFLOW_OF, OVERFLOWS)


def _look_up(what: str, name: str, table: Mapping[str, str], own: Mapping[str, int]) -> str:
    if not isinstance(name, str) or name not in table:
        raise FormatError(unknown_name(what, str(name), own) + "; names of ap_fixed, MATLAB, NumPy, APyTypes too")
    return table[name]


def names_elsewhere(name: str, conventions: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return what the conventions call one of our modes, in the order of the table.

    Parameters
    ----------
    name : str
        Our name.
    conventions : mapping
        `ROUNDING_ALIASES` or `OVERFLOW_ALIASES`.
    """
    return [theirs for names in conventions.values() for theirs, ours in names.items() if ours == name]
