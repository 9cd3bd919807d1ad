"""What every part of the lowering shares: formats, binary points, casts, sums of products."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from fasim.errors import FormatError
from fasim.fixedpoint.cast import Cast
from fasim.fixedpoint.datapath import Datapath
from fasim.fixedpoint.format import Fixed
from fasim.fixedpoint.options import Dynamic
from fasim.schedule import ops as kinds
from fasim.schedule.lowering.exponents import Range, range_of, shift_range
from fasim.schedule.values import Op, Points, Schedule, Tensor, Value

MAX_ACCUMULATOR_BITS = 63
RANDOM_BITS = 32


class Lowering:
    """The schedule that comes out, op by op."""

    def __init__(self, schedule: Schedule, datapath: Datapath) -> None:
        self.schedule = schedule
        self.datapath = datapath
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.tables: dict[str, np.ndarray] = {}
        # the pre-activation from which each activation came: tables of slopes are addressed by it
        self.before: dict[str, Value] = {}
        # what the exponents that are chosen in the step can be
        self.exponents: dict[str, Range] = {}
        # the tensors that have been asked whether [tensors] gives them a format
        self.asked: set[str] = set()

    # --- formats ---------------------------------------------------------------------------------------------------

    def refuse(self, what: str) -> FormatError:
        """Return the error that says what this datapath cannot do."""
        return FormatError(f"datapath {self.datapath.name}: {what}")

    def fixed(self, value: Value) -> Fixed:
        """Return the format of a value that has one already."""
        fmt = self.tensors[value.tensor].format
        assert fmt is not None, value
        return fmt

    def own_format(self, name: str, fmt: Fixed) -> Fixed:
        """Return the format that [tensors] gives a tensor, or that of its class."""
        self.asked.add(name)
        return self.datapath.tensors.get(name, fmt)

    def points(self, value: Value) -> Points:
        """Return the exponents, chosen in the step, that add to the fraction bits of a value."""
        return self.tensors[value.tensor].points

    def set_format(self, value: Value, fmt: Fixed, points: Points = (), **changes: Any) -> None:  # noqa: ANN401
        """Give a value its format, and its class or storage if they change."""
        self.tensors[value.tensor] = replace(self.tensors[value.tensor], format=fmt, points=points, **changes)

    def register(self, name: str, like: Value, fmt: Fixed, points: Points = ()) -> Value:
        """Add an accumulator of the shape of `like`."""
        model = self.tensors[like.tensor]
        self.tensors[name] = Tensor(name, "accumulator", model.axes, model.shape, "register", fmt, points=points)
        return Value(name)

    # --- sums ------------------------------------------------------------------------------------------------------

    def width(self, what: str, largest: int, frac: int) -> Fixed:
        """Return the narrowest signed format that holds +-largest, if any accumulator does."""
        bits = largest.bit_length() + 1
        if bits > MAX_ACCUMULATOR_BITS:
            raise self.refuse(
                f"{what}, {bits} bits; at most {MAX_ACCUMULATOR_BITS} can be accumulated exactly, use narrower formats"
            )
        return Fixed(bits, frac)

    def product(self, op: Op, first: Fixed, second: Fixed, terms: int) -> Fixed:
        """Return the format of an exact sum of `terms` products."""
        what = f"layer {op.layer} {op.kind} sums {terms} products of {first} and {second}"
        return self.width(what, magnitude(first) * magnitude(second) * terms, first.frac + second.frac)

    def sum_of_products(
        self,
        op: Op,
        target: Value,
        reads: tuple[Value, Value],
        terms: int,
        sums: str,
        *,
        bias: Value | None = None,
        register: str = "",
    ) -> Value:
        """Emit a sum of products as the datapath's accumulator forms it, and return where it stands.

        Parameters
        ----------
        op : Op
            The float op.
        target : Value
            What the sum is for; it becomes the sum itself where no `register` is named.
        reads : two Values
            The factors.
        terms : int
            Products in a sum.
        sums : str
            ``forward``, ``transport`` or ``gradient``.
        bias : Value, optional
        register : str
            Name of an accumulator of its own, from which a cast leads to the target.
        """
        first, second = (self.fixed(value) for value in reads)
        points = self.points(reads[0]) + self.points(reads[1])
        acc = self.datapath.accumulator_of(sums)
        group = f"at {target.tensor}"
        attrs = without_scale(op.attrs)
        if bias is not None and points:
            bias = self._aligned_bias(op, bias, self.product(op, first, second, terms), points)
        shifts, fmt = self._exact_sum(op, first, second, terms, bias)
        all_reads = reads if bias is None else (*reads, bias)
        if acc is not None and not acc.plain:
            fmt, register_attrs = self._register(op, first, second, fmt, bias)
            sum_ = self._place(register, target, fmt, points)
            self.ops.append(
                replace(
                    op,
                    reads=all_reads,
                    writes=(sum_,),
                    attrs=attrs | register_attrs,
                    site=f"sum.{target.tensor}",
                    group=group,
                )
            )
            return sum_
        if acc is None:
            sum_ = self._place(register, target, fmt, points)
            self.ops.append(replace(op, reads=all_reads, writes=(sum_,), attrs=attrs | shifts, group=group))
            return sum_
        exact = self.register(f"exact.{target.tensor}", target, fmt, points)
        self.ops.append(replace(op, reads=all_reads, writes=(exact,), attrs=attrs | shifts, group=group))
        limited = Fixed(acc.bits, fmt.frac)
        sum_ = self._place(register, target, limited, points)
        self.requant(exact, sum_, Cast(limited, "TRN", acc.overflow), op, f"sum.{target.tensor}", group=group)
        return sum_

    def _place(self, register: str, target: Value, fmt: Fixed, points: Points) -> Value:
        if register:
            return self.register(register, target, fmt, points)
        self.set_format(target, fmt, points)
        return target

    def _exact_sum(
        self, op: Op, first: Fixed, second: Fixed, terms: int, bias: Value | None
    ) -> tuple[dict[str, Any], Fixed]:
        """Return shifts that align product sum and bias, and the format that holds both."""
        fmt = self.product(op, first, second, terms)
        if op.kind not in (kinds.DENSE, kinds.CONV):
            return {}, fmt
        if bias is None:
            return {"product_shift": 0, "bias_shift": 0}, fmt
        extra = self.fixed(bias)
        frac = max(fmt.frac, extra.frac)
        largest = magnitude(first) * magnitude(second) * terms
        largest = (largest << (frac - fmt.frac)) + (magnitude(extra) << (frac - extra.frac))
        shifts = {"product_shift": frac - fmt.frac, "bias_shift": frac - extra.frac}
        what = f"layer {op.layer} {op.kind} sums {terms} products of {first} and {second}"
        return shifts, self.width(what, largest, frac)

    def _register(
        self, op: Op, first: Fixed, second: Fixed, fmt: Fixed, bias: Value | None
    ) -> tuple[Fixed, dict[str, Any]]:
        """Return the format of a limited register and what the op must know of it."""
        sums = "forward" if op.phase == "forward" else "gradient" if op.phase == "gradient" else "transport"
        acc = self.datapath.accumulator_of(sums)
        assert acc is not None
        if self.points_of(op) and acc.product_rounding:
            raise self.refuse(
                f"products of {op.kind} are to be rounded, but their exponent is chosen in the step; use another"
            )
        exact, frac = first.frac + second.frac, fmt.frac
        if acc.product_rounding:
            if acc.product_frac > exact:
                raise self.refuse(
                    f"products of {op.kind} have {exact} fraction bits, fewer than the {acc.product_frac} to which they "
                    "are to be rounded; name fewer"
                )
            frac = acc.product_frac
            if bias is not None and self.fixed(bias).frac > frac:
                raise self.refuse(
                    f"the bias {self.fixed(bias)} has more fraction bits than products rounded to {frac}; round to more"
                )
        widest = max(magnitude(first) * magnitude(second) * acc.width, 1 << acc.bits)
        self.width(
            f"layer {op.layer} {op.kind} adds products of {first} and {second}", 2 * widest << max(0, frac - exact), frac
        )
        attrs = {
            "accumulator": acc,
            "product_shift": exact - frac,
            "bias_shift": 0 if bias is None else frac - self.fixed(bias).frac,
        }
        return Fixed(acc.bits, frac), attrs

    def points_of(self, op: Op) -> Points:
        """Return all exponents that the operands of an op bring along."""
        return tuple(point for value in op.reads if value.tensor in self.tensors for point in self.points(value))

    def _aligned_bias(self, op: Op, bias: Value, fmt: Fixed, points: Points) -> Value:
        """Bring a bias to the binary point of a sum whose exponent is known in the step alone."""
        aligned = self.register(f"aligned.{bias.tensor}", bias, fmt, points)
        self.requant(bias, aligned, Cast(fmt, "RND", "SAT"), op, f"aligned.{bias.tensor}")
        return aligned

    # --- casts -----------------------------------------------------------------------------------------------------

    def cast(self, source: Value, target: Value, cast: Cast, op: Op, cls: str, *, divisor: int = 1) -> None:
        """Emit the cast into a tensor of a class, with an exponent from the data where the datapath says so."""
        site = target.tensor
        cast = replace(cast, format=self.own_format(site, cast.format))
        dynamic = self.datapath.dynamic.get(cls)
        if dynamic is None:
            self.set_format(target, cast.format)
            self.requant(source, target, cast, op, site, divisor=divisor)
            return
        if divisor > 1:
            raise self.refuse(
                f"{site} divides by {divisor} and cannot choose its exponent from the data; divide by a power of two, or "
                f"leave {cls} out of [dynamic]"
            )
        self._keep_whole(source, f"at {site}")
        exponent = self._exponent(source, cast.format.bits, dynamic, op, site)
        if dynamic.scale == "keep":
            fmt = replace(cast.format, frac=self.fixed(source).frac)
            self.set_format(target, fmt, (*self.points(source), (exponent.tensor, -1)))
        else:
            self.set_format(target, cast.format)
        attrs = {"shift": 0, "signs": (1,), "rounding": cast.rounding, "overflow": cast.overflow}
        self._emit_requant(source, target, attrs, (exponent,), op, site, "")

    def _keep_whole(self, source: Value, group: str) -> None:
        """Let a sum reach memory: its cast cannot follow element by element, for it waits for the largest of them all."""
        self.tensors[source.tensor] = replace(self.tensors[source.tensor], storage="temp")
        self.ops = [replace(op, group="") if op.group == group else op for op in self.ops]

    def _exponent(self, source: Value, bits: int, dynamic: Dynamic, op: Op, site: str) -> Value:
        """Emit the choice of how many bits a cast drops."""
        exponent = Value(f"exponent.{site}")
        self.tensors[exponent.tensor] = Tensor(exponent.tensor, "scalar", "", (), "register", Fixed(8, 0))
        attrs = {"bits": bits - 1 - dynamic.headroom, "nearest": dynamic.nearest}
        self.ops.append(Op(kinds.EXPONENT, (source,), (exponent,), op.phase, op.layer, attrs))
        self.exponents[exponent.tensor] = range_of(self.ops[-1], self.fixed(source))
        return exponent

    def requant(
        self,
        source: Value,
        target: Value,
        cast: Cast,
        op: Op,
        site: str,
        *,
        divisor: int = 1,
        group: str = "",
    ) -> None:
        """Emit a cast between two values that have their formats."""
        into, signs, scalars = self.fixed(target), [], []
        for value, sign in ((source, 1), (target, -1)):
            for name, own in self.points(value):
                scalars.append(Value(name))
                signs.append(sign * own)
        scalars, signs = _cancelled(scalars, signs)
        shift = self.fixed(source).frac - into.frac
        attrs: dict[str, Any] = {"shift": shift, "rounding": cast.rounding, "overflow": cast.overflow}
        if divisor > 1:
            if shift > 0 or scalars:
                raise self.refuse(
                    f"{site} divides by {divisor}, but would also drop {shift} bits: give {into} at least "
                    f"{self.fixed(source).frac} fraction bits"
                )
            if cast.rounding.startswith(("STOCH", "JAM")):
                raise self.refuse(f"{site} divides by {divisor} and cannot round by {cast.rounding}; use TRN_ZERO or RND")
            what = f"{site} brings {self.fixed(source)} to {into.frac} fraction bits before it divides by {divisor}"
            self.width(what, magnitude(self.fixed(source)) << -shift, 0)
            attrs["divisor"] = divisor
        if scalars:
            attrs["signs"] = tuple(signs)
        self._emit_requant(source, target, attrs, tuple(scalars), op, site, group or f"at {site}")

    def _emit_requant(
        self, source: Value, target: Value, attrs: dict[str, Any], scalars: tuple[Value, ...], op: Op, site: str, group: str
    ) -> None:
        if attrs["rounding"] == "STOCH":
            names = [value.tensor for value in scalars]
            _, dropped = shift_range(attrs["shift"], attrs.get("signs", ()), names, self.exponents)
            self.check_random(site, dropped, self.fixed(target))
            if not self.datapath.random.plain:
                attrs["random"] = self.datapath.random
        self.ops.append(Op(kinds.REQUANT, (source,), (target,), op.phase, op.layer, attrs, scalars, site=site, group=group))

    def check_random(self, site: str, dropped: int, fmt: Fixed) -> None:
        """Refuse a stochastic cast that drops more bits than a random word has."""
        random = self.datapath.random
        words = RANDOM_BITS if random.source == "philox" else random.width
        if not random.bits and dropped > words:
            raise self.refuse(
                f"{site} would round away up to {dropped} bits at random, but a random word has "
                f"{words}; give {fmt} more fraction bits or another rounding"
            )

    def aligned(self, values: tuple[Value, ...], op: Op) -> tuple[Value, ...]:
        """Bring values that are to be added to the finest of their binary points, by exact left shifts."""
        if any(self.points(value) for value in values):
            raise self.refuse(f"{op.kind} adds values with exponents of their own; give signal and delta fixed ones")
        frac = max(self.fixed(value).frac for value in values)
        result = []
        for value in values:
            fmt = self.fixed(value)
            if fmt.frac == frac:
                result.append(value)
                continue
            wide = self.width(f"{value} with {frac} fraction bits", magnitude(fmt) << (frac - fmt.frac), frac)
            name = f"aligned.{op.writes[0].tensor}.{value.tensor}"
            result.append(self.register(name, value, wide))
            self.requant(value, result[-1], Cast(wide, "TRN", "WRAP"), op, name)
        return tuple(result)

    def scale_bits(self, op: Op) -> int:
        """Return p for a scale of 2^p, which costs nothing: the result's binary point moves."""
        mantissa, exponent = math.frexp(op.attrs["scale"])
        if mantissa != 0.5:
            raise self.refuse(
                f"{op.kind} scales by {op.attrs['scale']:g}, but fixed point shifts: use reduction sum, not mean, and "
                "dropout that keeps a power of two, such as 0.5"
            )
        return exponent - 1


def magnitude(fmt: Fixed) -> int:
    """Return the largest |raw| of a format."""
    return max(abs(fmt.lo), fmt.hi)


def without_scale(attrs: dict[str, Any]) -> dict[str, Any]:
    """Return attributes whose scale has gone into the binary point."""
    return attrs | {"scale": 1.0} if "scale" in attrs else attrs


def _cancelled(scalars: list[Value], signs: list[int]) -> tuple[list[Value], list[int]]:
    """Leave out exponents that both sides of a cast have in common."""
    total: dict[Value, int] = {}
    for value, sign in zip(scalars, signs, strict=True):
        total[value] = total.get(value, 0) + sign
    kept = [value for value, sign in total.items() if sign]
    return kept, [total[value] for value in kept]
