"""Datapaths as documents: from the tables of a TOML file to a `Datapath` and back, and the presets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fasim.errors import FormatError, unknown_name
from fasim.fixedpoint import toml
from fasim.fixedpoint.cast import Cast
from fasim.fixedpoint.datapath import Datapath, at
from fasim.fixedpoint.format import Fixed
from fasim.fixedpoint.options import Dynamic, Functions, Momentum, RandomSource

_PRESETS = Path(__file__).parent / "datapaths"


def names() -> list[str]:
    """Return the names of the datapaths that come with fasim."""
    return sorted(path.stem for path in _PRESETS.glob("*.toml"))


def load_datapath(text: str) -> Datapath | None:
    """Return the datapath that a user named.

    Parameters
    ----------
    text : str
        "float32", the name of a preset (see `names`) or the path of a ``.toml`` file.

    Returns
    -------
    Datapath or None
        None for "float32": no fixed point.

    Raises
    ------
    FormatError
        If there is no such datapath, or the text is the format of a single tensor.
    """
    if text == "float32":
        return None
    if text in names():
        return Datapath.from_toml(_PRESETS / f"{text}.toml")
    if text.endswith(".toml"):
        return Datapath.from_toml(text)
    try:
        Fixed.parse(text)
    except FormatError:
        known = ["float32", *names()]
        message = unknown_name("datapath", text, known) + "; or give the path of a .toml file"
        raise FormatError(message) from None
    raise FormatError(
        f"{text!r} is the format of one tensor, a datapath needs one for every tensor: presets are "
        f"{', '.join(names())}; or write a TOML file, see fasim/fixedpoint/datapaths/s8.toml"
    )


def to_document(datapath: Datapath) -> dict[str, Any]:
    """Return the tables of a datapath's TOML text; what stands at its default is left out."""

    def cast(given: Cast) -> dict[str, Any]:
        return {"format": given.format, "rounding": given.rounding, "overflow": given.overflow}

    document: dict[str, Any] = {
        "name": datapath.name,
        "source": datapath.source,
        "accumulator": datapath.accumulator,
        "input": {"format": datapath.input},
        "weight": cast(datapath.weight) | _given(range=datapath.weight_range),
        "master": {"format": "none" if datapath.master is None else datapath.master},
        "bias": {"format": "none" if datapath.bias is None else datapath.bias},
        "update": {"rounding": datapath.update_rounding, "overflow": datapath.update_overflow},
        "feedback": _given(
            bits=datapath.feedback_bits, format=datapath.feedback, master_bits=datapath.feedback_master_bits
        ),
        "accumulators": dict(datapath.sums),
        "dynamic": dict(datapath.dynamic),
        toml.TENSORS: dict(datapath.tensors),
        "random": _changed(datapath.random, RandomSource()),
        "functions": _changed(datapath.functions.beside(Path()), Functions()),
    }
    document |= {table: cast(getattr(datapath, table)) for table in toml.CASTS}
    document["preact"] |= _given(divide=datapath.divide)
    if datapath.target != 1.0:
        document["error"]["target"] = repr(datapath.target)
    for key, default in (("rate", "shift"), ("kind", "subtract")):
        if getattr(datapath, key) != default:
            document["update"][key] = getattr(datapath, key)
    for table in ("signal", "gradient"):
        if getattr(datapath, table) is not None:
            document[table] = cast(getattr(datapath, table))
    if datapath.norm is not None:
        document["norm"] = {"format": datapath.norm}
    if datapath.momentum is not None:
        document["momentum"] = cast(datapath.momentum.cast) | {"factor": datapath.momentum.factor}
    return document


def _given(**entries: object) -> dict[str, object]:
    """Return the entries that say something."""
    return {key: value for key, value in entries.items() if value not in (None, "")}


def _changed(options: RandomSource | Functions, default: RandomSource | Functions) -> dict[str, object]:
    """Return the entries in which options differ from their defaults."""
    return {key: value for key, value in vars(options).items() if value != getattr(default, key)}


def from_document(document: dict[str, Any], folder: Path | None = None) -> Datapath:
    """Return the datapath of the tables that `fasim.fixedpoint.toml.read_document` has read.

    Files of tables are looked for from `folder`, by default from where the process runs.
    """

    def fixed(table: str, key: str = "format") -> Fixed:
        with at(table):
            return Fixed.parse(document[table][key])

    def none_or_fixed(table: str) -> Fixed | None:
        return None if document[table]["format"] == "none" else fixed(table)

    def cast(table: str) -> Cast:
        fmt = fixed(table)
        with at(table):
            return Cast(fmt, document[table]["rounding"], document[table]["overflow"])

    def of_class(table: str, make: Any) -> Any:  # noqa: ANN401
        with at(table):
            given = document.get(table, {})
            return make(**(given | {"taps": tuple(given["taps"])} if "taps" in given else given))

    def functions(**given: Any) -> Functions:  # noqa: ANN401
        return Functions(**given) if folder is None else Functions(**given).beside(folder)

    def number(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise FormatError(f"[error] target = {text!r}: write a number as text") from None

    feedback, update = document["feedback"], document["update"]
    momentum = None
    if "momentum" in document:
        momentum = Momentum(cast("momentum"), document["momentum"]["factor"])
    with at("dynamic"):
        dynamic = {name: Dynamic.parse(text) for name, text in document.get("dynamic", {}).items()}
    with at(toml.TENSORS):
        tensors = {name: Fixed.parse(text) for name, text in document.get(toml.TENSORS, {}).items()}
    return Datapath(
        name=document["name"],
        source=document["source"],
        input=fixed("input"),
        weight=cast("weight"),
        master=none_or_fixed("master"),
        bias=none_or_fixed("bias"),
        update_rounding=update["rounding"],
        update_overflow=update["overflow"],
        **{table: cast(table) for table in toml.CASTS},
        feedback_bits=feedback.get("bits"),
        accumulator=document["accumulator"],
        feedback=fixed("feedback") if "format" in feedback else None,
        feedback_master_bits=feedback.get("master_bits"),
        sums=document.get("accumulators", {}),
        signal=cast("signal") if "signal" in document else None,
        gradient=cast("gradient") if "gradient" in document else None,
        norm=fixed("norm") if "norm" in document else None,
        momentum=momentum,
        random=of_class("random", RandomSource),
        functions=of_class("functions", functions),
        dynamic=dynamic,
        tensors=tensors,
        weight_range=document["weight"].get("range", ""),
        divide=document["preact"].get("divide", ""),
        target=number(document["error"].get("target", "1")),
        rate=update.get("rate", "shift"),
        kind=update.get("kind", "subtract"),
    )
