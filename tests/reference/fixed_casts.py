"""What one training step carries with it: casts by the modes of their tables, counts by site, and every tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from .fixed_datapath import Register, Tables
from .fixed_numbers import (
    Fmt,
    Num,
    Raw,
    aligned,
    into_range,
    round_quotient,
    round_shift,
    rounded_log2,
)
from .fixed_words import Words
from .philox import random_word

Counts = dict[str, tuple[int, int]]


class Run:
    """One step: the datapath, the random words, counts by site, tensors by name."""

    def __init__(self, tables: Tables, seed: int, step: int) -> None:
        self.tables = tables
        self.words = Words(tables.random, seed, step)
        self.seed, self.step = seed, step
        self.counts: Counts = {}
        self.tensors: dict[str, Num] = {}

    def keep(self, name: str, number: Num) -> Num:
        """Write a tensor down under its name."""
        self.tensors[name] = number
        return number

    def count(self, site: str, saturations: int, wraps: int) -> None:
        """Add to a site's counts."""
        before = self.counts.get(site, (0, 0))
        self.counts[site] = before[0] + int(saturations), before[1] + int(wraps)

    def mask_word(self, site: str, index: int) -> int:
        """Return the 32-bit word of a dropout mask, which is Philox's whatever draws for the casts."""
        return random_word(self.seed, site, self.step, index)

    # --- rounding, then range --------------------------------------------------------------------------------------

    def rounded(self, site: str, raw: Raw, shift: Any, mode: str, divisor: int = 1) -> Raw:
        """Return raw / 2^shift, or raw / (2^shift divisor), rounded; `shift` is one number or one for each element."""
        shifts = np.broadcast_to(np.asarray(shift, dtype=object), raw.shape).reshape(-1)
        out = np.empty(raw.size, dtype=object)
        for index, (x, s) in enumerate(zip(raw.reshape(-1), shifts, strict=True)):
            if divisor != 1:
                if s > 0:
                    raise ValueError(f"{site} divides by {divisor}, but would drop {s} bits too")
                if mode.startswith(("STOCH", "JAM")):
                    raise ValueError(f"{site} cannot divide by {mode}")
                out[index] = round_quotient(x * 2**-s, divisor, mode)
            else:
                u = self.words.u(site, index, raw.size, s) if mode == "STOCH" and s > 0 else 0
                out[index] = round_shift(x, s, mode, u)
        return out.reshape(raw.shape)

    def ranged(self, site: str, raw: Raw, fmt: Fmt, overflow: str) -> Raw:
        """Return the numbers in the range of a format, counted at the site."""
        out = np.empty(raw.size, dtype=object)
        saturations = wraps = 0
        for index, x in enumerate(raw.reshape(-1)):
            out[index], saturated, wrapped = into_range(x, fmt, overflow)
            saturations, wraps = saturations + saturated, wraps + wrapped
        self.count(site, saturations, wraps)
        return out.reshape(raw.shape)

    def into(self, site: str, given: Num, fmt: Fmt, modes: tuple[str, str], divisor: int = 1) -> Num:
        """Return a cast into a format."""
        given, divisor = _moved(given, divisor)
        raw = self.rounded(site, given.raw, given.frac - fmt.frac, modes[0], divisor)
        return Num(self.ranged(site, raw, fmt, modes[1]), fmt.frac)

    # --- the casts of a datapath's classes -------------------------------------------------------------------------

    def cast(self, site: str, given: Num, table: str, divisor: int = 1) -> Num:
        """Return a tensor in its format, or by an exponent chosen from the data; the site is the tensor's name."""
        fmt, modes = self.tables.fmt(table, site), self.tables.modes(table)
        exponent = self.tables.exponent(table)
        if exponent is None:
            return self.keep(site, self.into(site, given, fmt, modes, divisor))
        given, divisor = _moved(given, divisor)
        if divisor != 1:
            raise ValueError(f"{site} chooses its exponent and cannot divide by {divisor}")
        largest = max((abs(x) for x in given.raw.reshape(-1)), default=0)
        if exponent.nearest:
            s = rounded_log2(largest) - (fmt.bits - 1 - exponent.headroom) if largest else 0
        else:
            s = max(0, largest.bit_length() - (fmt.bits - 1))
        raw = self.ranged(site, self.rounded(site, given.raw, s, modes[0]), fmt, modes[1])
        return self.keep(site, Num(raw, given.frac - s if exponent.keep else fmt.frac))

    # --- sums of products ------------------------------------------------------------------------------------------

    def sum(self, name: str, kind: str, products: Raw, frac: int, bias: Num | None = None) -> Num:
        """Return the sums of products over the last axis, in its order, plus a bias; sum.<name> is the accumulator's site.

        `kind` is forward, transport or gradient.
        """
        register = self.tables.register(kind)
        if register is None:
            total = Num(products.sum(axis=-1), frac)
            if bias is None:
                return total
            (raw, other), frac = aligned(total, bias)
            return Num(raw + other, frac)
        return self._accumulate(f"sum.{name}", register, products, frac, bias)

    def _accumulate(self, site: str, register: Register, products: Raw, frac: int, bias: Num | None) -> Num:
        if register.rounding:
            kept = min(register.frac, frac)
            products = self.rounded(site, products, frac - kept, register.rounding)
            if bias is not None and bias.frac > kept:
                raise ValueError(f"{site}: a bias of {bias.frac} fraction bits, products rounded to {kept}")
            frac = kept
        wide = frac if bias is None else max(frac, bias.frac)
        products = products * 2 ** (wide - frac)
        start = np.zeros(products.shape[:-1], dtype=object)
        if bias is not None:
            start = start + bias.at(wide)
        fmt = register.fmt
        if not register.every_mac:
            return Num(self.ranged(site, start + products.sum(axis=-1), fmt, register.overflow), wide)

        def held(raw: Raw) -> Raw:
            return self.ranged(site, raw, fmt, register.overflow)

        self.count(site, 0, 0)
        registers = [held(start) if bias is not None else start]
        registers += [np.zeros_like(start) for _ in range(register.lanes - 1)]
        for first in range(0, products.shape[-1], register.tree):
            lane = first % register.lanes
            registers[lane] = held(registers[lane] + products[..., first : first + register.tree].sum(axis=-1))
        for other in registers[1:]:
            registers[0] = held(registers[0] + other)
        return Num(registers[0], wide)


def _moved(given: Num, divisor: int) -> tuple[Num, int]:
    """Divide by moving the binary point if the divisor is a power of two: return (number, divisor that is left)."""
    bits = divisor.bit_length() - 1
    return (Num(given.raw, given.frac + bits), 1) if divisor == 2**bits else (given, divisor)
