"""A datapath: the format of every tensor of a training step, and every cast between them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fasim.errors import FormatError, unknown_name
from fasim.fixedpoint import tables, toml
from fasim.fixedpoint.cast import Cast, check_modes
from fasim.fixedpoint.format import Fixed

_PRESETS = Path(__file__).parent / "datapaths"


@dataclass(frozen=True)
class Datapath:
    """The formats and casts of a training step in fixed point; nothing has a default.

    Parameters
    ----------
    name, source : str
        What it is called, and who it comes from.
    input : Fixed
        Format of ``act.0``.
    weight : Cast
        The copy of the weights that products read.
    master : Fixed or None
        Format of the weights that are updated; None: the weight itself is updated.
    bias : Fixed
        Format of the biases, which have no copy.
    update_rounding, update_overflow : str
        From the gradient's accumulator to the master and the bias.
    preact, act, slope, error, delta : Cast
        Pre-activation; entries of the two activation tables (always RND, SAT); output error; delta.
    feedback_bits : int
        Bits of an entry of a feedback matrix, 2 to 63; see `feedback_format`.
    accumulator : str
        "exact": sums of products keep every bit.

    Raises
    ------
    FormatError
        If an entry is impossible or two contradict each other.
    """

    name: str
    source: str
    input: Fixed
    weight: Cast
    master: Fixed | None
    bias: Fixed
    update_rounding: str
    update_overflow: str
    preact: Cast
    act: Cast
    slope: Cast
    error: Cast
    delta: Cast
    feedback_bits: int
    accumulator: str

    def __post_init__(self) -> None:
        """Refuse what no step could compute as it is named."""
        if not self.name or self.name == "float32":
            raise FormatError(f"name = {self.name!r}: give the datapath a name of its own (float32 is the float one)")
        if self.accumulator != "exact":
            raise FormatError(f'accumulator = {self.accumulator!r}: only "exact" is available')
        if type(self.feedback_bits) is not int or not 2 <= self.feedback_bits <= 63:
            raise FormatError(f"[feedback] bits = {self.feedback_bits!r}: write 2 to 63")
        with _at("update"):
            check_modes(self.update_rounding, self.update_overflow)
        if self.preact.format.bits > 16:
            raise FormatError(
                f"[preact] {self.preact.format} would address tables of 2^{self.preact.format.bits}"
                " entries: use at most 16 bits"
            )
        for table in ("act", "slope"):
            cast: Cast = getattr(self, table)
            if (cast.rounding, cast.overflow) != ("RND", "SAT"):
                raise FormatError(
                    f"[{table}] names {cast.rounding}, {cast.overflow}, but its table is built "
                    "once with RND, SAT: write these"
                )
        negative = {
            "weight": self.weight.format,
            "master": self.master,
            "bias": self.bias,
            "preact": self.preact.format,
            "error": self.error.format,
            "delta": self.delta.format,
        }
        for table, fmt in negative.items():
            if fmt is not None and not fmt.signed:
                raise FormatError(f"[{table}] {fmt} holds no negative numbers: use a signed format")

    @classmethod
    def from_toml(cls, path: str | Path) -> Datapath:
        """Read a datapath from a TOML file, in which every table and key must stand.

        Parameters
        ----------
        path : str or Path
            The file; ``datapaths/s8.toml`` beside this module is an example with comments.

        Returns
        -------
        Datapath

        Raises
        ------
        FormatError
            If the file cannot be read, or a key is unknown, missing or impossible.
        """
        try:
            return _build(toml.read_document(toml.load_text(path)))
        except FormatError as error:
            raise FormatError(f"datapath {path}: {error}") from None

    def to_toml(self) -> str:
        """Return the text of a TOML file that `from_toml` reads back as an equal datapath."""
        document: dict[str, Any] = {
            "name": self.name,
            "source": self.source,
            "accumulator": self.accumulator,
            "input": {"format": self.input},
            "weight": vars(self.weight),
            "master": {"format": "none" if self.master is None else self.master},
            "bias": {"format": self.bias},
            "update": {"rounding": self.update_rounding, "overflow": self.update_overflow},
            "feedback": {"bits": self.feedback_bits},
        }
        document |= {table: vars(getattr(self, table)) for table in toml.CASTS}
        return toml.write_document(document)

    def feedback_format(self, bound: float) -> Fixed:
        """Return the format of a feedback matrix with entries in ``[-bound, bound]``.

        ``frac = bits - 1 - ceil(log2(bound))``: the finest step that leaves room for the bound
        (a bound that is a power of two saturates by one step).

        Parameters
        ----------
        bound : float
            Largest magnitude that the family of matrices allows; above 0, finite.

        Returns
        -------
        Fixed

        Raises
        ------
        FormatError
            If the bound is not above 0 and finite.
        """
        if not (bound > 0 and math.isfinite(bound)):
            raise FormatError(f"feedback bound {bound!r}: must be finite and above 0")
        mantissa, exponent = math.frexp(bound)  # exact, unlike a rounded log2
        ceil_log2 = exponent - 1 if mantissa == 0.5 else exponent
        return Fixed(self.feedback_bits, self.feedback_bits - 1 - ceil_log2)

    def act_table(self, function: str) -> NDArray[Any]:
        """Return the activation of every pre-activation code: ``act = table[preact - lo]``.

        An entry is ``f(preact * 2^-frac)`` in the format of ``act``, by RND and SAT of the exact
        real number: the same on every machine, whatever its mathematical library.

        Parameters
        ----------
        function : str
            "tanh", "sigmoid" or "linear".

        Returns
        -------
        read-only ndarray of act.format.dtype, shape (2^bits of preact,)
            Built once per process.

        Raises
        ------
        FormatError
            If the function has no table.
        """
        return tables.act_table(function, self.preact.format, self.act.format)

    def slope_table(self, function: str) -> NDArray[Any]:
        """Return the slope f' of every pre-activation code, like `act_table`.

        Parameters
        ----------
        function : str
            "tanh" or "sigmoid"; a linear layer has no slope factor.

        Returns
        -------
        read-only ndarray of slope.format.dtype, shape (2^bits of preact,)
            Built once per process.

        Raises
        ------
        FormatError
            If the function has no table.
        """
        return tables.slope_table(function, self.preact.format, self.slope.format)


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


@contextmanager
def _at(table: str) -> Iterator[None]:
    """Let a refusal begin with the name of the table that it is about."""
    try:
        yield
    except FormatError as error:
        raise FormatError(f"[{table}] {error}") from None


def _build(document: dict[str, Any]) -> Datapath:
    def fixed(table: str) -> Fixed:
        with _at(table):
            return Fixed.parse(document[table]["format"])

    def cast(table: str) -> Cast:
        fmt = fixed(table)
        with _at(table):
            return Cast(fmt, document[table]["rounding"], document[table]["overflow"])

    return Datapath(
        name=document["name"],
        source=document["source"],
        input=fixed("input"),
        weight=cast("weight"),
        master=None if document["master"]["format"] == "none" else fixed("master"),
        bias=fixed("bias"),
        update_rounding=document["update"]["rounding"],
        update_overflow=document["update"]["overflow"],
        **{table: cast(table) for table in toml.CASTS},
        feedback_bits=document["feedback"]["bits"],
        accumulator=document["accumulator"],
    )
