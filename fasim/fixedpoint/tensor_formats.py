"""Which formats the tensors of a datapath may have: by the table of their class, and by name in [tensors]."""

from __future__ import annotations

from fasim.errors import FormatError, unknown_name
from fasim.fixedpoint.format import Fixed

MOST_BITS = 32
# what never holds a negative number may do without a sign
MAY_BE_UNSIGNED = ("input", "act", "slope")
# the matrix of which every layer reads the first columns stands in the place of a layer
SHARED = "shared"
WITHOUT_LAYER = {"output": "act", "error": "error"}
_PARAMETERS = ("weight", "bias", "feedback", "gain", "shift")
_SIGNALS = ("signal", "direct", "from_above", "from_below")
_MATRICES = [f"feedback{root}{part}" for root in ("", "_above", "_below") for part in ("", "_in", "_out")]
# what the second pass of the fast gradient sign method has of its own
_TEMPORARY = {
    **dict.fromkeys(("preact", "normed"), "preact"),
    **dict.fromkeys(("act", "map"), "act"),
    "slope": "slope",
    "signal": "signal",
    **dict.fromkeys(("delta", "delta_normed"), "delta"),
}
# kind, the name without its layer -> the table that gives the format where [tensors] does not
KINDS = {
    "weight": "weight",
    "master": "master",
    "bias": "bias",
    **dict.fromkeys((*_MATRICES, "master.feedback"), "feedback"),
    **_TEMPORARY,
    **dict.fromkeys((*_SIGNALS, *(f"narrow.{name}" for name in _SIGNALS)), "signal"),
    "direct_delta": "delta",
    "score": "preact",
    "guess": "act",
    "local_error": "error",
    **dict.fromkeys(("gain", "shift"), "norm"),
    **dict.fromkeys((f"gradient.{name}" for name in _PARAMETERS[:3]), "gradient"),
    **dict.fromkeys((f"velocity.{name}" for name in _PARAMETERS), "momentum"),
}
_CLEAN = "clean."


def split_name(name: str) -> tuple[str, str]:
    """Return the kind and the layer of a name such as ``gradient.weight.2``; that of ``output`` is empty.

    Parameters
    ----------
    name : str
        A key of [tensors].

    Raises
    ------
    FormatError
        If no tensor of that name could take a format of its own.
    """
    clean = name.startswith(_CLEAN)
    bare = name.removeprefix(_CLEAN)
    if bare in WITHOUT_LAYER:
        return bare, ""
    kind, _, layer = bare.rpartition(".")
    if kind in ("act", "dropped") and layer == "0":
        raise FormatError(f"[tensors] {name!r} is the input: its format stands in [input], leave it out here")
    known = _TEMPORARY if clean else KINDS
    if kind not in known or not (layer.isdecimal() or layer == SHARED and kind in _MATRICES):
        near = unknown_name("tensor", kind if layer.isdecimal() else bare, [*WITHOUT_LAYER, *known])
        raise FormatError(
            f"[tensors] {name!r}: {near}; write one of them, a dot and a layer ({', '.join(WITHOUT_LAYER)} alone)"
        )
    return kind, layer


def table_of(name: str) -> str:
    """Return the table that gives a tensor its format where [tensors] does not; errors as `split_name`."""
    kind, _ = split_name(name)
    return (WITHOUT_LAYER | KINDS)[kind]


def check_format(where: str, table: str, fmt: Fixed) -> None:
    """Refuse a format that no tensor of a class may have.

    Parameters
    ----------
    where : str
        What the message begins with.
    table : str
        Of the class.
    fmt : Fixed

    Raises
    ------
    FormatError
        If it lacks the sign that the class needs, or has more bits than a tensor may have.
    """
    if not fmt.signed and table not in MAY_BE_UNSIGNED:
        raise FormatError(f"{where} {fmt} holds no negative numbers: use a signed format")
    if fmt.bits > MOST_BITS:
        raise FormatError(f"{where} {fmt} has {fmt.bits} bits: a tensor has 1 to {MOST_BITS}, write a narrower format")
