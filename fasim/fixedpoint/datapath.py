"""A datapath: the format of every tensor of a training step, and every cast between them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fasim.errors import FormatError, unknown_name
from fasim.fixedpoint import aliases, tables, toml
from fasim.fixedpoint.accumulator import Acc
from fasim.fixedpoint.cast import Cast
from fasim.fixedpoint.format import Fixed
from fasim.fixedpoint.options import Dynamic, Functions, Momentum, RandomSource
from fasim.fixedpoint.tensor_formats import MOST_BITS, check_format, split_name, table_of

KINDS = ("subtract", "plus_minus_one")
SUMS = ("forward", "transport", "gradient")
TABLE_BITS = 16
# random bits that plus_minus_one compares where [random] names no number
COMPARED_BITS = 16


@dataclass(frozen=True)
class Datapath:
    """The formats and casts of a training step in fixed point; ``docs/reference/fixed-point.md`` states what each does.

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
    bias : Fixed or None
        Format of the biases, which have no copy; None: there are no biases.
    update_rounding, update_overflow : str
        From the gradient's accumulator to the master and the bias.
    preact, act, slope, error, delta : Cast
        Pre-activation; entries of the two activation tables (always RND, SAT), and the cast of relu; output error; delta.
    feedback_bits : int or None
        Bits of an entry of a feedback matrix, 2 to 32; see `feedback_format`. None: `feedback` says the format.
    accumulator : str
        Of all sums, see `fasim.fixedpoint.accumulator.Acc`; ``exact``: they keep every bit.
    feedback : Fixed or None
        One format for all feedback matrices.
    feedback_master_bits : int or None
        Bits of the master of feedback that learns; None: the feedback itself is updated.
    sums : mapping of str to str
        Accumulators of ``forward``, ``transport`` and ``gradient`` sums where they differ.
    signal, gradient : Cast or None
        Casts of transported signals and of batch gradients; None: they stay exact.
    norm : Fixed or None
        Gain and shift of batch normalisation.
    momentum : Momentum or None
        The optimizer's velocity.
    random : RandomSource
        Bits of stochastic rounding.
    functions : Functions
        How activations are computed.
    dynamic : mapping of str to Dynamic
        Classes of tensors with an exponent chosen from the data.
    tensors : mapping of str to Fixed
        Formats of single tensors, by name.
    weight_range : str
        ``init``: each layer's binary point follows from the bound of its initial weights; empty: as in the format.
    divide : str
        What sums are divided by before the cast of the pre-activation, such as ``256 * fan_in``; empty: nothing.
    target : float
        The output's target for the labelled class; not 0, which is that of the others.
    rate : str
        ``shift``, ``multiply:<bits>``, ``divide`` or ``none:<bits>``: how the learning rate is applied.
    kind : str
        ``subtract`` or ``plus_minus_one``.

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
    bias: Fixed | None
    update_rounding: str
    update_overflow: str
    preact: Cast
    act: Cast
    slope: Cast
    error: Cast
    delta: Cast
    feedback_bits: int | None
    accumulator: str
    feedback: Fixed | None = None
    feedback_master_bits: int | None = None
    sums: Mapping[str, str] = field(default_factory=dict, hash=False)
    signal: Cast | None = None
    gradient: Cast | None = None
    norm: Fixed | None = None
    momentum: Momentum | None = None
    random: RandomSource = RandomSource()
    functions: Functions = Functions()
    dynamic: Mapping[str, Dynamic] = field(default_factory=dict, hash=False)
    tensors: Mapping[str, Fixed] = field(default_factory=dict, hash=False)
    weight_range: str = ""
    divide: str = ""
    target: float = 1.0
    rate: str = "shift"
    kind: str = "subtract"

    def __post_init__(self) -> None:
        """Refuse what no step could compute as it is named."""
        if not self.name or self.name == "float32":
            raise FormatError(f"name = {self.name!r}: give the datapath a name of its own (float32 is the float one)")
        for sum_ in SUMS:
            self.accumulator_of(sum_)
        self._check_feedback()
        with at("update"):
            object.__setattr__(self, "update_rounding", aliases.rounding(self.update_rounding))
            object.__setattr__(self, "update_overflow", aliases.overflow(self.update_overflow))
            self._check_update()
        if self.preact.format.bits > TABLE_BITS:
            raise FormatError(
                f"[preact] {self.preact.format} would address tables of 2^{self.preact.format.bits}"
                f" entries: use at most {TABLE_BITS} bits"
            )
        for table in ("act", "slope"):
            cast: Cast = getattr(self, table)
            if (cast.rounding, cast.overflow) != ("RND", "SAT"):
                raise FormatError(
                    f"[{table}] names {cast.rounding}, {cast.overflow}, but its table is built "
                    "once with RND, SAT: write these"
                )
        if not math.isfinite(self.target) or not 0 < abs(self.target) < 2.0**MOST_BITS:
            raise FormatError(
                f"[error] target = {self.target}: write a number other than 0, the target of the other classes, and within "
                f"+-2^{MOST_BITS}"
            )
        self._check_formats()
        if self.weight_range not in ("", "init"):
            raise FormatError(f'[weight] range = {self.weight_range!r}: write range = "init", or leave it out')
        if "gradient" in self.dynamic and self.gradient is None or "signal" in self.dynamic and self.signal is None:
            raise FormatError("[dynamic] names gradient or signal, which have no table: write [gradient] or [signal] too")

    def _check_formats(self) -> None:
        """Refuse formats that their class cannot have, and names in [tensors] for which no table stands."""
        entries: dict[str, Fixed | Cast | None] = {
            "input": self.input,
            "weight": self.weight,
            "master": self.master,
            "bias": self.bias,
            "preact": self.preact,
            "act": self.act,
            "slope": self.slope,
            "error": self.error,
            "delta": self.delta,
            "signal": self.signal,
            "gradient": self.gradient,
            "norm": self.norm,
            "momentum": None if self.momentum is None else self.momentum.cast,
            "feedback": self.feedback,
        }
        for table, entry in entries.items():
            if entry is not None:
                check_format(f"[{table}]", table, entry.format if isinstance(entry, Cast) else entry)
        for name, fmt in self.tensors.items():
            table = table_of(name)
            check_format(f"[tensors] {name!r}", table, fmt)
            if split_name(name)[0] == "master.feedback" and self.feedback_master_bits is None:
                raise FormatError(
                    f"[tensors] {name!r}: feedback has no master; write master_bits in [feedback], or leave it out"
                )
            if entries[table] is None and table != "feedback":
                raise FormatError(
                    f"[tensors] {name!r} needs the table [{table}] with a format; write it, or leave this out"
                )

    def _check_feedback(self) -> None:
        bits = self.feedback_bits
        if (bits is None) == (self.feedback is None):
            raise FormatError("[feedback] needs either bits or format")
        if bits is not None and (type(bits) is not int or not 2 <= bits <= MOST_BITS):
            raise FormatError(f"[feedback] bits = {bits!r}: write 2 to {MOST_BITS}")
        own = bits if self.feedback is None else self.feedback.bits
        assert own is not None
        if self.feedback_master_bits is not None and not own <= self.feedback_master_bits <= MOST_BITS:
            raise FormatError(
                f"[feedback] master_bits = {self.feedback_master_bits!r}: write {own} (those of the copy) to {MOST_BITS}"
            )

    def _check_update(self) -> None:
        name, _, number = self.rate.partition(":")
        known = name in ("shift", "divide") and not number or name in ("multiply", "none") and number.isdecimal()
        if not known or (name == "multiply" and not 1 <= int(number) <= 16) or (name == "none" and int(number) > 62):
            raise FormatError(f"rate = {self.rate!r}: write shift, divide, multiply:<bits, 1 to 16> or none:<bits to drop>")
        if self.kind not in KINDS:
            raise FormatError(unknown_name("kind of update", self.kind, KINDS))
        if self.kind == "plus_minus_one" and name != "shift":
            raise FormatError('kind = "plus_minus_one" shifts: write rate = "shift"')
        random = self.random
        if self.kind == "plus_minus_one" and random.source == "lfsr" and (random.bits or COMPARED_BITS) > random.width:
            raise FormatError(
                f'kind = "plus_minus_one" compares {COMPARED_BITS} random bits, but a word of the lfsr has {random.width}: '
                f"write bits = 1 to {random.width} in [random], or a wider lfsr"
            )
        if name == "divide" and (self.update_rounding.startswith(("STOCH", "JAM"))):
            raise FormatError(f'rate = "divide" cannot round by {self.update_rounding}: use TRN_ZERO or RND')

    def accumulator_of(self, sums: str) -> Acc | None:
        """Return the accumulator of ``forward``, ``transport`` or ``gradient`` sums; None: exact."""
        text = self.sums.get(sums, self.accumulator)
        acc = Acc.parse(text)
        if sums == "gradient" and acc is not None and acc.order != "ascending":
            if sums in self.sums:
                raise FormatError(f"accumulators: a gradient is summed sample by sample, but {text!r} names {acc.order}")
            acc = replace(acc, order="ascending", width=1)
        return acc

    def master_format(self, weight: Fixed) -> Fixed | None:
        """Return the format of the master of a weight; with the range of the initial weights it has the weight's range."""
        if self.master is None or not self.weight_range:
            return self.master
        return replace(self.master, frac=weight.frac + self.master.bits - weight.bits)

    def feedback_master(self, feedback: Fixed) -> Fixed | None:
        """Return the format of the master of feedback that learns: more bits in the same range."""
        bits = self.feedback_master_bits
        return None if bits is None else replace(feedback, bits=bits, frac=feedback.frac + bits - feedback.bits)

    @classmethod
    def from_toml(cls, path: str | Path) -> Datapath:
        """Read a datapath from a TOML file, in which every table and key must stand.

        Parameters
        ----------
        path : str or Path
            The file; ``datapaths/s8.toml`` beside this module is an example with comments. Files of tables that it names
            are looked for from its folder.

        Returns
        -------
        Datapath

        Raises
        ------
        FormatError
            If the file cannot be read, or a key is unknown, missing or impossible.
        """
        from fasim.fixedpoint import document  # document.py builds datapaths, so it imports this module

        try:
            return document.from_document(toml.read_document(toml.load_text(path)), Path(path).parent)
        except FormatError as error:
            raise FormatError(f"datapath {path}: {error}") from None

    def to_toml(self) -> str:
        """Return the text of a TOML file that `from_toml` reads back as an equal datapath.

        Files of tables stand there by their path and, in a comment, by a checksum: the text is the same only if what they
        hold is.

        Raises
        ------
        FormatError
            If such a file cannot be read.
        """
        from fasim.fixedpoint import document  # document.py builds datapaths, so it imports this module

        sums = [f"# CRC-32 {tables.checksum(path):08x}: {path!r}\n" for path in self.functions.files]
        return toml.write_document(document.to_document(self)) + "".join(sums)

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
        if self.feedback is not None:
            return self.feedback
        assert self.feedback_bits is not None
        return fitting(self.feedback_bits, bound)

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
        return tables.act_table(function, self.preact.format, self.act.format, self.functions.of(function, "act"))

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
        return tables.slope_table(function, self.preact.format, self.slope.format, self.functions.of(function, "slope"))


def fitting(bits: int, bound: float) -> Fixed:
    """Return the finest signed format of these bits in which `bound` fits (a power of two saturates by one step)."""
    mantissa, exponent = math.frexp(bound)  # exact, unlike a rounded log2
    return Fixed(bits, bits - 1 - (exponent - 1 if mantissa == 0.5 else exponent))


@contextmanager
def at(table: str) -> Iterator[None]:
    """Let a refusal begin with the name of the table that it is about."""
    try:
        yield
    except FormatError as error:
        raise FormatError(f"[{table}] {error}") from None
