"""From text to family: every refusal is one line that says what is known or needed."""

from __future__ import annotations

import math
import re
from functools import lru_cache

from fasim.errors import ConfigError, unknown_name
from fasim.feedback.dense import BASES
from fasim.feedback.family import Family
from fasim.feedback.generated import LFSR_BITS
from fasim.feedback.grammar import BITS, MODIFIERS

_PLUS = re.compile(r"\+(?!\d)")  # the plus of 1e+3 parts nothing
_WHOLE = re.compile(r"\d{1,9}", re.ASCII)
_TERNARY_BITS = 3  # with fewer no generated value lies below the threshold


@lru_cache(maxsize=256)
def parse(text: str) -> Family:
    """Return the family of a text such as ``uniform``, ``uniform:0.5``, ``crafton+k:1`` or ``nokland+lfsr:8+sign``.

    Parameters
    ----------
    text : str
        ``<base>[:<number>][+<modifier>[:<number>[:<number>]]]...``

    Returns
    -------
    Family

    Raises
    ------
    ConfigError
        If a name is unknown, a number impossible or a combination has no meaning.
    """
    head, *tail = _PLUS.split(text)
    base, number = _base(text, head)
    given: dict[str, tuple[str, tuple[float, ...]]] = {}
    for word in tail:
        name, numbers = _modifier(text, word)
        kind = MODIFIERS[name].kind
        if kind in given:
            raise ConfigError(f"feedback {text!r}: +{name} and +{given[kind][0]} both say its {kind}, one is allowed")
        given[kind] = name, numbers
    structure, sizes = given.get("structure", ("", ()))
    bits = (given["origin"][1] or (BITS,))[0] if "origin" in given else 0
    encoding = given.get("values", ("dense", ()))[0]
    factor = given["scale"][1][0] if "scale" in given else 1.0
    family = Family(base, number, structure, sizes, encoding, int(bits), "sharing" in given, factor)
    _check(text, family)
    return family


def _base(text: str, word: str) -> tuple[str, float | None]:
    name, colon, value = word.partition(":")
    if name not in BASES:
        raise ConfigError(unknown_name("feedback", name, BASES))
    if not colon:
        return name, None
    needed = BASES[name].number
    if not needed:
        raise ConfigError(f"feedback {text!r}: {name} takes no number, write {name}")
    number = _real(value)
    if not 0 < number < math.inf or (needed == "density" and number > 1):
        at_most = ", at most 1" if needed == "density" else ""
        raise ConfigError(f"feedback {text!r}: the {needed} must be a positive number{at_most}, such as {name}:0.5")
    return name, number


def _modifier(text: str, word: str) -> tuple[str, tuple[float, ...]]:
    name, *values = word.split(":")
    if name not in MODIFIERS:
        raise ConfigError(f"feedback {text!r}: {unknown_name('modifier', name, MODIFIERS)}")
    names, example = MODIFIERS[name].numbers, MODIFIERS[name].example
    optional = name == "lfsr" and not values
    if len(values) != len(names) and not optional:
        raise ConfigError(f"feedback {text!r}: +{name} takes {len(names) or 'no'} number(s), such as +{example}")
    if name == "density":
        share = _real(values[0])
        if not 0 < share <= 1:
            raise ConfigError(f"feedback {text!r}: the density must be above 0 and at most 1, such as +{example}")
        return name, (share,)
    if name == "scale":
        factor = _real(values[0])
        if not 0 < factor < math.inf:
            raise ConfigError(f"feedback {text!r}: the scale must be a positive number, such as +{example}")
        return name, (factor,)
    whole = tuple(int(value) if _WHOLE.fullmatch(value) else 0 for value in values)
    if 0 in whole:
        raise ConfigError(f"feedback {text!r}: +{name} takes whole numbers from 1 on, such as +{example}")
    if name == "nm" and whole[0] > whole[1]:
        raise ConfigError(f"feedback {text!r}: {whole[0]} of every {whole[1]} outputs cannot be, such as +{example}")
    if name == "lfsr" and not optional and whole[0] > LFSR_BITS:
        raise ConfigError(f"feedback {text!r}: the register has {LFSR_BITS} bits, an element can have no more")
    return name, whole


def _check(text: str, family: Family) -> None:
    """Refuse combinations without a meaning."""
    base, structure, encoding = BASES[family.base], family.structure, family.encoding
    scalable = ", ".join(name for name, each in BASES.items() if each.ones == "none" and each.number != "inputs")
    symmetric = ", ".join(name for name, each in BASES.items() if each.ones == "none")
    if structure and (base.ones in ("diagonal", "sparse")):
        raise ConfigError(f"feedback {text!r}: {family.base} has a pattern of ones of its own and takes no +{structure}")
    if base.ones != "none" and (encoding != "dense" or structure == "rank"):
        word = "rank" if encoding == "dense" else encoding
        raise ConfigError(f"feedback {text!r}: +{word} needs a base that is symmetric about 0: {symmetric}")
    if family.factor != 1 and (base.ones != "none" or base.number == "inputs"):
        raise ConfigError(f"feedback {text!r}: +scale needs a base without ones or whole numbers: {scalable}")
    if structure == "rank" and encoding != "dense":
        raise ConfigError(f"feedback {text!r}: +{encoding} cannot code a sum of outer products, leave out it or +rank")
    if structure == "density" and family.shared:
        raise ConfigError(f"feedback {text!r}: a slice of shared feedback has no exact density, take +k, +nm or +block")
    if not family.generated:
        return
    if base.noise != "uniform" or base.ones != "none":
        uniform = ", ".join(name for name, each in BASES.items() if each.noise == "uniform" and each.ones == "none")
        raise ConfigError(f"feedback {text!r}: an LFSR makes uniform numbers only, so the base must be {uniform}")
    if structure:
        raise ConfigError(
            f"feedback {text!r}: places of +{structure} would be stored, but +lfsr stores nothing: leave out one"
        )
    if encoding == "ternary" and family.generated_bits < _TERNARY_BITS:
        raise ConfigError(
            f"feedback {text!r}: with {family.generated_bits} bits no value is small enough for a 0 of +ternary, take "
            f"+lfsr:{_TERNARY_BITS} or more"
        )


def _real(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan
