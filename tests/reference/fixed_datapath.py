"""A datapath as the tables of its TOML file: formats by tensor name, modes by table, and the optional tables."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from .fixed_numbers import Fmt, ceil_log2, limits, read_format


@dataclass(frozen=True)
class Register:
    """An accumulator: its range, when it is held in range, rounding of products, order of additions."""

    fmt: Fmt
    overflow: str
    every_mac: bool = False
    rounding: str = ""
    frac: int = 0
    lanes: int = 1
    tree: int = 1


@dataclass(frozen=True)
class Exponent:
    """An entry of `[dynamic]`."""

    keep: bool
    nearest: bool
    headroom: int


class Tables:
    """The tables of a datapath."""

    def __init__(self, tables: dict[str, Any]) -> None:
        self.tables = tables
        self.random = tables.get("random", {})
        self.functions = tables.get("functions", {})
        self.has_bias = tables["bias"]["format"] != "none"

    def has(self, table: str) -> bool:
        """Tell whether a table is there."""
        return table in self.tables

    def fmt(self, table: str, name: str = "") -> Fmt:
        """Return the format of a table's tensors, or that which `[tensors]` gives the tensor of this name."""
        return read_format(self.tables.get("tensors", {}).get(name) or self.tables[table]["format"])

    def modes(self, table: str) -> tuple[str, str]:
        """Return rounding and overflow of a table."""
        return self.tables[table]["rounding"], self.tables[table]["overflow"]

    def weight(self, layer: int, limit: float) -> Fmt:
        """Return the format of a layer's weights; `limit` bounds its initial ones."""
        fmt = self.fmt("weight", f"weight.{layer}")
        if self.tables["weight"].get("range") != "init":
            return fmt
        return fmt._replace(frac=fmt.bits - 1 - ceil_log2(limit or 1.0))

    def master(self, layer: int, limit: float) -> Fmt | None:
        """Return the format of a layer's master; None where there is none."""
        if self.tables["master"]["format"] == "none":
            return None
        fmt = self.fmt("master", f"master.{layer}")
        if self.tables["weight"].get("range") != "init":
            return fmt
        return fmt._replace(frac=fmt.bits - 1 - ceil_log2(limit or 1.0))

    def feedback(self, name: str, bound: float) -> Fmt:
        """Return the format of a feedback matrix with entries in +-bound."""
        table = self.tables["feedback"]
        if "format" in table:
            return self.fmt("feedback", name)
        return Fmt(table["bits"], table["bits"] - 1 - ceil_log2(bound))

    def feedback_master(self, fmt: Fmt) -> Fmt | None:
        """Return the format of the master of feedback that learns: more bits of the same range."""
        bits = self.tables["feedback"].get("master_bits")
        return None if bits is None else fmt._replace(bits=bits, frac=fmt.frac + bits - fmt.bits)

    def register(self, kind: str) -> Register | None:
        """Return the accumulator of forward, transport or gradient sums; None: exact."""
        words = self.tables.get("accumulators", {}).get(kind, self.tables["accumulator"]).split()
        if words == ["exact"]:
            return None
        found: dict[str, Any] = {"fmt": Fmt(int(words[0]), 0), "overflow": words[1]}
        for word in words[2:]:
            name, _, number = word.partition(":")
            if name in ("end", "every_mac"):
                found["every_mac"] = name == "every_mac"
            elif name in ("lanes", "tree"):
                found[name] = 1 if kind == "gradient" else int(number)  # a gradient is summed in ascending order
            elif name != "ascending":
                found |= {"rounding": name, "frac": int(number)}
        return Register(**found)

    def exponent(self, table: str) -> Exponent | None:
        """Return how the tensors of a class choose their binary point; None where it is fixed."""
        text = self.tables.get("dynamic", {}).get(table)
        if text is None:
            return None
        found = re.fullmatch(r"(keep|discard)( nearest(:(\d+))?)?", text)
        if found is None:
            raise ValueError(f"no exponent {text!r}")
        return Exponent(found[1] == "keep", bool(found[2]), int(found[4] or 0))

    def divisor(self, fan_in: int) -> int:
        """Return the whole number that a layer's sums are divided by."""
        text = self.tables["preact"].get("divide", "")
        wage = 2 ** max(0, round(math.log2(0.75 / math.sqrt(6 / fan_in))))
        factors = [{"fan_in": fan_in, "wage": wage}.get(part.strip()) or int(part) for part in text.split("*") if text]
        return math.prod(factors)

    def target(self, frac: int) -> int:
        """Return the raw number of the output's target at so many fraction bits."""
        value = Fraction(str(self.tables["error"].get("target", "1"))) * Fraction(2) ** frac
        if value.denominator != 1:
            raise ValueError(f"{frac} fraction bits hold no {self.tables['error'].get('target', '1')}")
        return int(value)

    def highest(self, table: str, name: str) -> int:
        """Return the largest raw number of a tensor."""
        return limits(self.fmt(table, name))[1]
