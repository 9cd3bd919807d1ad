"""The words of a feedback family's text: ``<base>[:<number>][+<modifier>[:<number>[:<number>]]]...``.

Modifiers in any order, at most one of each kind: structure (which outputs a unit is wired to), values (how they are coded),
origin (drawn or generated), scale and sharing.
"""

from __future__ import annotations

from typing import NamedTuple

BITS = 8  # of an LFSR's elements, unless said


class Modifier(NamedTuple):
    """What a modifier says.

    Parameters
    ----------
    kind : str
        ``structure``, ``values``, ``origin``, ``scale`` or ``sharing``.
    numbers : tuple of str
        What stands after its colons.
    example : str
    source : str
    """

    kind: str
    numbers: tuple[str, ...]
    example: str
    source: str


MODIFIERS = {
    "k": Modifier(
        "structure", ("s",), "k:1", "original code of Crafton et al. 2019 (ssdfa): s outputs for each hidden unit"
    ),
    "block": Modifier("structure", ("b",), "block:2", "inferred: hardware's blocks, b units share one group of b outputs"),
    "nm": Modifier("structure", ("n", "m"), "nm:2:4", "inferred: N:M sparsity as tensor cores read it, along the outputs"),
    "density": Modifier("structure", ("p",), "density:0.1", "inferred: round(p K J) entries anywhere"),
    "rank": Modifier("structure", ("r",), "rank:2", "original code of Crafton et al. 2019 (ssdfa): r outer products"),
    "sign": Modifier("values", (), "sign", "inferred: one bit and the rms of the base"),
    "ternary": Modifier("values", (), "ternary", "inferred: 0 below half of the mean magnitude, rms kept"),
    "pow2": Modifier("values", (), "pow2", "inferred: nearest power of two, eight of them"),
    "lfsr": Modifier("origin", ("bits",), "lfsr:8", "inferred: Han and Yoo generate feedback, their generator is not said"),
    "scale": Modifier("scale", ("x",), "scale:0.5", "inferred: all values times x, for the search of `fasim tune`"),
    "shared": Modifier("sharing", (), "shared", "original code of TinyDFA: one matrix, each layer its first columns"),
}


def number_text(number: float) -> str:
    """Return the shortest text that is read as this number, a whole one without a point."""
    return repr(number).removesuffix(".0")
