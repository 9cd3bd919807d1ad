"""Orders that a paper claims of its cases, such as ``dfa > bp, fa > sdfa > shallow``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from fasim.errors import ConfigError, unknown_name

EVERY_ROW = "*"


@dataclass(frozen=True)
class Order:
    """Cases from the best to the worst by one measure.

    Parameters
    ----------
    measure : str
        See :data:`fasim.experiments.keys.MEASURES`; an accuracy is better the higher, all others the lower.
    row : str
        The row of the table that all are of, without which their names are shown; empty: their whole names.
    places : tuple of tuple of str
        Names of cases, the best first; those that the paper does not tell apart share a place.
    source : str
        See :class:`fasim.experiments.Setting`.
    """

    measure: str
    row: str
    places: tuple[tuple[str, ...], ...]
    source: str

    def __str__(self) -> str:
        return " > ".join(", ".join(self.short(case) for case in place) for place in self.places)

    def short(self, case: str) -> str:
        """Return the name of a case without its row."""
        return case.removeprefix(f"{self.row} ")

    @property
    def cases(self) -> tuple[str, ...]:
        """All cases, the best first."""
        return tuple(case for place in self.places for case in place)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Every pair that is claimed, the better one first."""
        return tuple((a, b) for first, other in combinations(self.places, 2) for a in first for b in other)


def parse_orders(measure: str, text: str, rows: Iterable[str], cases: Sequence[str], source: str) -> list[Order]:
    """Return the order that a text writes: ``a, b > c``, ``ROW: a, b > c``, or ``*: a, b > c`` for every row that has all.

    Raises
    ------
    ConfigError
        If the row or a case is unknown, a case stands twice, or there are not two places.
    """
    row, colon, names = text.rpartition(":")
    places = [[name.strip() for name in place.split(",")] for place in names.split(">")]
    written = [name for place in places for name in place]
    if len(places) < 2 or not all(written) or len(set(written)) != len(written):
        raise ConfigError(f"order {text!r}: write cases from the best to the worst, each once, such as 'bp, kp > dkp > fa'")
    row = row.strip()
    known = tuple(rows)
    if colon and row not in (EVERY_ROW, *known):
        raise ConfigError(unknown_name(f"row of order {text!r}", row, (*known, EVERY_ROW)))
    found = []
    for one in (known if row == EVERY_ROW else [row]) if colon else [""]:
        named = tuple(tuple(f"{one} {name}".strip() for name in place) for place in places)
        order = Order(measure, one, named, source)
        unknown = [name for name in order.cases if name not in cases]
        if unknown and row != EVERY_ROW:
            raise ConfigError(unknown_name(f"case of order {text!r}", unknown[0], cases))
        found += [] if unknown else [order]
    if not found:
        raise ConfigError(f"order {text!r}: no row has all of these cases")
    return found
