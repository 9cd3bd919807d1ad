"""A processor: what its operations and its memories cost, how fast it is, and what is published of it.

Each number has a unit, a source and a kind (:mod:`fasim.energy.constant`). A file holds what is known and nothing else: a
chip of which no one has published the energy of an addition has none, and a step cannot be priced on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fasim.energy.constant import Constant
from fasim.energy.systolic import DATAFLOWS
from fasim.errors import ConfigError, ProcessorError, unknown_name

# What operations cost, with units; fasim/energy/price.py says what each is paid for.
OPERATION_CONSTANTS = {
    "int_mul_bit2": "pJ/bit^2",
    "int_mul_bit": "pJ/bit",
    "int_add_bit": "pJ/bit",
    "float32_mul": "pJ",
    "float32_add": "pJ",
    "float32_div": "pJ",
    "shift_bit": "pJ/bit",
    "lut_bit": "pJ/bit",
    "rng_bit": "pJ/bit",
}

# How fast it is; fasim/energy/timing.py says how each is used.
TIMING_CONSTANTS = {
    "clock": "Hz",
    "rows": "cells",
    "columns": "cells",
    "macs_per_cycle_forward": "MAC/cycle",
    "macs_per_cycle_error": "MAC/cycle",
    "macs_per_cycle_gradient": "MAC/cycle",
    "elements_per_cycle": "elements/cycle",
}

# What another chip's memory is called, and what no memory may be: tables of energy by memory have a line of this name.
EXTERNAL = "dram"
RESERVED = "operations"


@dataclass(frozen=True)
class Level:
    """A memory of the processor.

    Parameters
    ----------
    name : str
        ``registers``, ``sram``, ``dram`` and the like; letters, digits and ``_``.
    capacity, word : Constant
        Bytes of all of it, bits of one access.
    read, write : Constant or None
        pJ for a word; None: not known, and nothing that moves through it can be priced.
    words_per_cycle : Constant or None
        Words that its ports bring in a cycle; None: unknown, and no limit.
    technology : str
        Of an external memory, such as ``lpddr4``: one of several that the processor may have; empty on the chip.
    external : bool
        Whether it is another chip; it is then called ``dram``.

    Raises
    ------
    ProcessorError
        If the name, the technology or `external` is none, or size or word are no whole numbers.
    """

    name: str
    capacity: Constant
    word: Constant
    read: Constant | None = None
    write: Constant | None = None
    words_per_cycle: Constant | None = None
    technology: str = ""
    external: bool = False

    def __post_init__(self) -> None:
        """Refuse a memory that nothing could be put into, or whose name would stand for something else."""
        if not (isinstance(self.name, str) and self.name.isidentifier() and self.name != RESERVED):
            raise ProcessorError(
                f"level {self.name!r}: give it a name of letters, digits and _, other than {RESERVED}, such as sram"
            )
        if not isinstance(self.external, bool):
            raise ProcessorError(f"level {self.name}: external = {self.external!r}: write true or false, without quotes")
        if self.external != (self.name == EXTERNAL):
            raise ProcessorError(
                f"level {self.name}: external = {str(self.external).lower()}: an external memory is called {EXTERNAL}, and "
                "no other is; rename it"
            )
        if not isinstance(self.technology, str) or bool(self.technology.strip()) != self.external:
            raise ProcessorError(
                f"level {self.name}: technology = {self.technology!r}: an external memory needs the name of one, such as "
                "lpddr4, and a memory on the chip has none"
            )
        _ = self.capacity_bytes, self.word_bits
        if self.words_per_cycle is not None:
            self.words_per_cycle.positive(f"{self.name}.words_per_cycle")

    @property
    def capacity_bytes(self) -> int:
        """Size in bytes."""
        return self.capacity.whole(f"{self.name}.capacity")

    @property
    def word_bits(self) -> int:
        """Bits of one access."""
        return self.word.whole(f"{self.name}.word")

    def resized(self, capacity_bytes: int) -> Level:
        """Return a memory of the same kind and another size, with energies that grow as the root of the size.

        CACTI 7 at 22, 32, 45 and 65 nm gives exponents of 0.47 to 0.62 from 8 KB to 1 MB.
        """
        factor = math.sqrt(capacity_bytes / self.capacity_bytes)
        note = f"{capacity_bytes} bytes for {self.capacity_bytes}"

        def scaled(constant: Constant | None) -> Constant | None:
            if constant is None:
                return None
            ends = {end: factor * getattr(constant, end) for end in ("low", "typical", "high")}
            return replace(constant, **ends, kind="derived", source=f"{constant.source}; times the root of {note}")

        size = Constant(*(float(capacity_bytes),) * 3, "bytes", "asked for", "assumed")
        return replace(self, capacity=size, read=scaled(self.read), write=scaled(self.write))


@dataclass(frozen=True)
class Claim:
    """A number that was published of a chip, to hold a prediction against."""

    what: str
    number: Constant


@dataclass(frozen=True)
class Processor:
    """A processor.

    Parameters
    ----------
    name, description : str
    node_nm : int
        Of its technology, in nanometres.
    constants : dict of Constant
        By the names of :data:`OPERATION_CONSTANTS`; not all need be known.
    levels : tuple of Level
        From the arithmetic outwards, one technology each.
    timing : dict of Constant
        By the names of :data:`TIMING_CONSTANTS`, of what is known.
    dataflow : str
        ``ws``, ``os`` or ``is`` (weights, outputs or inputs stay) of an array of ``rows`` times ``columns`` cells; empty:
        there is no array.
    claims : tuple of Claim
    validation : str
        What a prediction made with these numbers was held against, and with what result.

    Raises
    ------
    ProcessorError
        If numbers of another technology stand among its own, or a text is missing.
    """

    name: str
    description: str
    node_nm: int
    constants: dict[str, Constant]
    levels: tuple[Level, ...] = ()
    timing: dict[str, Constant] = field(default_factory=dict)
    dataflow: str = ""
    claims: tuple[Claim, ...] = ()
    validation: str = "not validated"

    def __post_init__(self) -> None:
        """Refuse what could not price a step."""
        for key in ("name", "description", "validation"):
            text = getattr(self, key)
            if not isinstance(text, str) or not text.strip():
                raise ProcessorError(f"{key} = {text!r}: write a text")
        if type(self.node_nm) is not int or self.node_nm < 1:
            raise ProcessorError(f"node_nm = {self.node_nm!r}: write a whole number of nanometres, 1 or above")
        for name in self.constants:
            if name not in OPERATION_CONSTANTS:
                raise ProcessorError(unknown_name("constant", name, OPERATION_CONSTANTS))
        for name in self.timing:
            if name not in TIMING_CONSTANTS:
                raise ProcessorError(unknown_name("timing constant", name, TIMING_CONSTANTS))
        for name, speed in self.timing.items():
            speed.positive(f"timing.{name}")
        self._check_array()
        self._check_names()
        on_chip: dict[str, Constant | None] = dict(self.constants)
        on_chip |= {f"{level.name}.{end}": getattr(level, end) for level in self._on_chip for end in ("read", "write")}
        for name, constant in on_chip.items():
            if constant is None:
                continue
            if constant.node_nm not in (0, self.node_nm) and constant.kind not in ("derived", "assumed"):
                raise ProcessorError(
                    f"{name} is a number for {constant.node_nm} nm in a processor of {self.node_nm} nm: tables of "
                    "different nodes are not mixed; scale it and call it derived"
                )

    def _check_names(self) -> None:
        seen = set()
        for level in self.levels:
            full = f"{level.technology} {level.name}".strip()
            if full in seen:
                raise ProcessorError(
                    f"two levels are called {full}: give each a name of its own; only external memories share one, each "
                    "with another technology"
                )
            seen.add(full)

    def _check_array(self) -> None:
        if self.dataflow and (not isinstance(self.dataflow, str) or self.dataflow not in DATAFLOWS):
            raise ProcessorError(unknown_name("dataflow", str(self.dataflow), DATAFLOWS))
        for name in ("rows", "columns"):
            if bool(self.dataflow) != (name in self.timing):
                raise ProcessorError("an array needs a dataflow, timing.rows and timing.columns: give all three or none")
            if self.dataflow:
                self.timing[name].whole(f"timing.{name}")

    @property
    def _on_chip(self) -> Iterable[Level]:
        return (level for level in self.levels if not level.external)

    @property
    def technologies(self) -> dict[str, tuple[str, ...]]:
        """Names of levels that come in several technologies, and those."""
        names = dict.fromkeys(level.name for level in self.levels if level.technology)
        return {name: tuple(level.technology for level in self.levels if level.name == name) for name in names}

    def with_dram(self, technology: str) -> Processor:
        """Return the processor with one technology of its external memory; the first that its file names, if empty.

        Raises
        ------
        ConfigError
            If it has no such memory.
        """
        known = [level.technology for level in self.levels if level.external]
        if technology and technology not in known:
            raise ConfigError(unknown_name(f"dram of {self.name}", technology, known or ("none",)))
        chosen = technology or next(iter(known), "")
        levels = tuple(level for level in self.levels if not level.external or level.technology == chosen)
        return replace(self, levels=levels)

    def with_capacity(self, name: str, capacity_bytes: int) -> Processor:
        """Return the processor with another size of one of its memories, see :meth:`Level.resized`.

        Raises
        ------
        ConfigError
            If it has no memory of this name.
        """
        known = [level.name for level in self.levels]
        if name not in known:
            raise ConfigError(unknown_name(f"memory of {self.name}", name, known or ("none",)))
        levels = tuple(level.resized(capacity_bytes) if level.name == name else level for level in self.levels)
        return replace(self, levels=levels)

    @property
    def prices(self) -> tuple[str, ...]:
        """Names of all that may be paid for: operations, then ``<level>.read`` and ``<level>.write``."""
        return (*OPERATION_CONSTANTS, *(f"{level.name}.{end}" for level in self.levels for end in ("read", "write")))

    def constant(self, price: str) -> Constant | None:
        """Return the constant of a name of :attr:`prices`; None if it is not known."""
        name, _, end = price.partition(".")
        if not end:
            return self.constants.get(name)
        found: Constant | None = next(getattr(level, end) for level in self.levels if level.name == name)
        return found

    def ends(self, paid: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Return the low, typical and high ends of all prices, 0 for those that are not paid.

        Parameters
        ----------
        paid : float64 ndarray, shape (number of prices,)
            How often each is paid.

        Raises
        ------
        ProcessorError
            If one that is paid is not known.
        """
        constants = [self.constant(name) for name in self.prices]
        unknown = [name for name, known, times in zip(self.prices, constants, paid, strict=True) if times and known is None]
        if unknown or not self.levels:
            lacks = ", ".join(unknown) or "any memory"
            raise ProcessorError(
                f"processor {self.name} cannot price this step: it has no number for {lacks}; take a processor that "
                "has them all, such as generic_45nm, or a file of your own"
            )
        return tuple(
            np.array([0.0 if known is None else getattr(known, end) for known in constants])
            for end in ("low", "typical", "high")
        )
