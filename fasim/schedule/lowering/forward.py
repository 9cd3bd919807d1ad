"""The forward pass in fixed point."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from fasim.errors import FormatError
from fasim.fixedpoint import tables
from fasim.fixedpoint.cast import Cast
from fasim.fixedpoint.datapath import TABLE_BITS, fitting
from fasim.fixedpoint.format import Fixed
from fasim.fixedpoint.options import FORMS
from fasim.schedule import ops as kinds
from fasim.schedule.lowering.base import MAX_ACCUMULATOR_BITS, Lowering, magnitude
from fasim.schedule.values import Op, Tensor, Value

# bits of a slope that divides: PocketNN's largest is 127
# of whole numbers that divide, or wider
INVERSE_SLOPE = Fixed(8, 0, signed=False)
SIGN_OF_ERROR = "sign"
# of a number in [preact] divide
MOST_DIGITS = 18
# more fraction bits of running statistics, so that steps of 1/8 do not get lost
RUNNING_BITS = 8


class Forward(Lowering):
    """Layers, activations, pooling, dropout, batch normalisation."""

    def with_format(self, tensor: Tensor) -> Tensor:
        """Return a tensor with the format that the datapath names for it; sums get theirs from their op."""
        data = self.datapath
        fmt, encoding = tensor.format, tensor.encoding
        match tensor.cls:
            case _ if tensor.name == SIGN_OF_ERROR:
                fmt, encoding = Fixed(2, 0), "sign"
            case "act" if tensor.name.endswith("act.0") or tensor.name == "dropped.0":
                fmt = data.input
            case "act" | "map" | "output":
                fmt = data.act.format
            case "preact" | "norm":
                fmt = data.preact.format
            case "slope" if encoding == "mask":
                fmt = Fixed(1, 0, signed=False)
            case "slope":
                fmt = fmt or data.slope.format
            case "error":
                fmt = data.error.format
            case "delta":
                fmt = data.delta.format
            case "weight":
                fmt = data.weight.format
                if data.weight_range:
                    assert tensor.bound is not None
                    fmt = replace(fmt, frac=fitting(fmt.bits, tensor.bound).frac)
            case "bias":
                fmt = data.bias
            case "feedback" if fmt is None:
                bound = tensor.bound
                assert bound is not None
                if self.learns(tensor) and not data.weight_range:
                    # it comes to be as large as the weights
                    weight = data.weight.format
                    bound = max(bound, 2.0 ** (weight.bits - 1 - weight.frac))
                    tensor = replace(tensor, bound=bound)
                fmt = self.own_format(tensor.view or tensor.name, data.feedback_format(bound))
        if tensor.cls in ("weight", "bias") and fmt is not None:
            fmt = self.own_format(tensor.name, fmt)
        return replace(tensor, format=fmt, encoding=encoding)

    def learns(self, tensor: Tensor) -> bool:
        """Tell whether a feedback matrix is updated."""
        updates = self.schedule.find(kinds.UPDATE)
        return any(op.attrs["group"] == "feedback" and op.reads[0].tensor == tensor.name for op in updates)

    def forward_sum(self, op: Op) -> None:
        """Lower DENSE and CONV: the accumulator, then the cast of the pre-activation."""
        act, weight, bias = op.reads
        shape = self.tensors[weight.tensor].shape
        fan_in = math.prod(shape[1:])
        target = op.writes[0]
        given = bias if bias.tensor in self.tensors else None
        accumulator = self.sum_of_products(
            op, target, (act, weight), fan_in, "forward", bias=given, register=f"accumulator.{target.tensor}"
        )
        divisor = self._divisor(fan_in)
        power, odd = _split(divisor)
        if power:
            # dividing by a power of two only says where the binary point is
            fmt = self.fixed(accumulator)
            self.set_format(accumulator, replace(fmt, frac=fmt.frac + power), self.points(accumulator))
        self.cast(accumulator, target, self.datapath.preact, op, "preact", divisor=odd)

    def _divisor(self, fan_in: int) -> int:
        """Return the whole number by which a sum of `fan_in` products is divided."""
        result = 1
        for factor in filter(None, re.split(r"\s*\*\s*", self.datapath.divide.strip())):
            if factor == "fan_in":
                result *= fan_in
            elif factor == "wage":
                result *= 2 ** max(0, round(math.log2(0.75 / math.sqrt(6 / fan_in))))
            elif factor.isdecimal() and len(factor) <= MOST_DIGITS and int(factor):
                result *= int(factor)
            else:
                raise self.refuse(
                    f"[preact] divide = {self.datapath.divide!r}: write whole numbers of 1 to {MOST_DIGITS} digits, "
                    "fan_in, wage and *"
                )
        if result.bit_length() >= MAX_ACCUMULATOR_BITS:
            raise self.refuse(
                f"[preact] divide = {self.datapath.divide!r} has {result.bit_length()} bits, more than any sum; divide by "
                f"less than 2^{MAX_ACCUMULATOR_BITS - 1}"
            )
        return result

    def activate(self, op: Op) -> None:
        """Lower ACTIVATE: a table, relu and its cast, or softmax in base 2."""
        preact, out, function = op.reads[0], op.writes[0], op.attrs["function"]
        if self.tensors[preact.tensor].cls == "error":
            preact = self._score(op)
        self.before[out.tensor] = preact
        match function:
            case "relu":
                if self.points(preact):
                    self._keep_point(op, preact, out)
                    return
                rectified = self.register(f"rectified.{out.tensor}", out, self.fixed(preact))
                self.ops.append(replace(op, reads=(preact,), writes=(rectified,), group=f"at {out.tensor}"))
                self.cast(rectified, out, self.datapath.act, op, "act")
            case "softmax":
                self._softmax(op, preact, out)
            case "linear" if self.points(preact) or self.fixed(preact).bits > TABLE_BITS:
                if self.points(preact):
                    self._keep_point(op, preact, out)
                else:
                    self.cast(preact, out, self.datapath.act, op, "act")
            case _:
                self._look_up(op, preact, "act", self._of_table(out))

    def _of_table(self, out: Value) -> Fixed:
        """Return the format of what a table gives."""
        self.set_format(out, self.own_format(out.tensor, self.fixed(out)))
        return self.fixed(out)

    def _keep_point(self, op: Op, preact: Value, out: Value) -> None:
        """Let an activation stand where its pre-activation does: there is nothing to cast."""
        self.ops.append(replace(op, reads=(preact,)))
        self.set_format(out, self.fixed(preact), self.points(preact))

    def _score(self, op: Op) -> Value:
        """Cast the score of a layer's own guess (lafs) as a pre-activation."""
        exact = op.reads[0]
        score = f"{exact.tensor}.cast"
        self.tensors[score] = replace(self.tensors[exact.tensor], name=score, cls="preact")
        self.set_format(Value(score), self.own_format(exact.tensor, self.datapath.preact.format))
        self.requant(exact, Value(score), self.datapath.preact, op, exact.tensor)
        return Value(score)

    def _look_up(self, op: Op, preact: Value, what: str, fmt: Fixed) -> None:
        function, addressed, functions = op.attrs["function"], self.fixed(preact), self.datapath.functions
        if self.points(preact):
            raise self.refuse(
                f"{preact.tensor} addresses the table of {function} and cannot choose its exponent from the data; use "
                "relu, or leave preact out of [dynamic]"
            )
        if addressed.bits > TABLE_BITS:
            raise self.refuse(
                f"{preact.tensor} {addressed} would address 2^{addressed.bits} entries; use {TABLE_BITS} bits"
            )
        if function not in tables.FUNCTIONS:
            raise self.refuse(
                f"activation {function} has no fixed-point form; use {', '.join(tables.FUNCTIONS)}, relu or softmax"
            )
        form = functions.of(function, what)
        try:
            if what == "slope" and functions.slope == "divide":
                entries = tables.inverse_slope_table(function, addressed, form)
                fmt = Fixed(max(fmt.bits, int(entries.max()).bit_length()), 0, signed=False)
                self.set_format(op.writes[0], fmt)
            else:
                build = tables.act_table if what == "act" else tables.slope_table
                entries = build(function, addressed, fmt, form)
        except FormatError as error:
            raise self.refuse(str(error)) from None
        name = f"table.{what}.{function}.{addressed}.{fmt}"
        self.tensors[name] = Tensor(name, "table", "T", entries.shape, "table", fmt)
        self.tables[name] = entries
        circuit = form if form in FORMS else "table"
        attrs = {"function": function, "lowest": addressed.lo, "circuit": circuit}
        self.ops.append(replace(op, kind=kinds.LOOKUP, reads=(preact, Value(name)), attrs=attrs))

    def _softmax(self, op: Op, preact: Value, out: Value) -> None:
        fmt, bits = self.fixed(preact), self.datapath.functions.softmax_bits
        into = self.datapath.act.format if self.tensors[out.tensor].cls == "error" else self.fixed(out)
        into = self.own_format(out.tensor, into)
        if not 0 <= into.frac <= 24 or fmt.bits > 40:
            raise self.refuse(
                f"softmax of {fmt} into {into}: give the act 0 to 24 fraction bits and the preact at most 40 bits"
            )
        self.set_format(out, into)
        entries = tables.softmax_table(bits)
        name = f"table.softmax.{bits}"
        self.tensors[name] = Tensor(name, "table", "T", entries.shape, "table", Fixed(17, 15, signed=False))
        self.tables[name] = entries
        points = self.points(preact)
        attrs = {
            "log_shift": fmt.frac + 15 - bits,
            "signs": tuple(sign for _, sign in points),
            "fraction_bits": bits,
            "one_shift": into.frac,
        }
        scalars = tuple(Value(point) for point, _ in points)
        self.ops.append(
            replace(op, kind=kinds.SOFTMAX, reads=(preact, Value(name)), attrs=attrs, scalars=scalars, site=out.tensor)
        )

    def slope(self, op: Op) -> None:
        """Lower SLOPE: a table of the pre-activation, or the mask of relu."""
        act, out = op.reads[0], op.writes[0]
        if op.attrs["function"] == "relu":
            clipped = self.datapath.functions.relu == "clipped"
            self.ops.append(replace(op, attrs=op.attrs | {"highest": self.fixed(act).hi + (not clipped)}))
            return
        fmt = INVERSE_SLOPE if self.datapath.functions.slope == "divide" else self._of_table(out)
        self._look_up(op, self.before[act.tensor], "slope", fmt)

    # --- between layers --------------------------------------------------------------------------------------------

    def copy_format(self, op: Op) -> None:
        """Lower max pooling and its way back: the values stay what they are."""
        source = self.tensors[op.reads[0].tensor]
        assert source.format is not None
        self.set_format(op.writes[0], source.format, source.points)
        self.ops.append(op)

    def unpool(self, op: Op) -> None:
        """Lower UNPOOL: each value to the maximum of its window; those of windows that share one add up."""
        overlaps = math.ceil(op.attrs["kernel"] / op.attrs["stride"]) ** 2
        if overlaps == 1:
            self.copy_format(op)
            return
        source, points = self.fixed(op.reads[0]), self.points(op.reads[0])
        self.set_format(op.writes[0], self.width("max unpooling", magnitude(source) * overlaps, source.frac), points)
        self.ops.append(op)

    def average_pool(self, op: Op) -> None:
        """Lower AVERAGE_POOL: the sum of a window, whose binary point says that it is a mean."""
        out, places = op.writes[0], op.attrs["kernel"] ** 2
        source = self.fixed(op.reads[0])
        fmt = self.width("average pooling", magnitude(source) * places, source.frac + self._power(places, op))
        total = self.register(f"window.{out.tensor}", out, fmt, self.points(op.reads[0]))
        self.ops.append(replace(op, writes=(total,), group=f"at {out.tensor}"))
        if self.points(total):
            self.set_format(out, source, self.points(op.reads[0]))
            self.requant(total, out, self.datapath.act, op, out.tensor)
            return
        self.cast(total, out, self.datapath.act, op, "act")

    def _power(self, places: int, op: Op) -> int:
        power, odd = _split(places)
        if odd > 1:
            raise self.refuse(f"{op.kind} takes the mean of {places} places; fixed point shifts: use a window of 2 or 4")
        return power

    def dropout(self, op: Op) -> None:
        """Lower DROPOUT: a mask, and a scale that moves the binary point."""
        bits = self.scale_bits(op)
        source, out = op.reads[0], op.writes[0]
        fmt = self.fixed(source)
        kept = self.register(f"kept.{out.tensor}", out, replace(fmt, frac=fmt.frac - bits), self.points(source))
        writes = (kept, *op.writes[1:])
        attrs = op.attrs | {"scale": 1.0}
        self.ops.append(replace(op, writes=writes, attrs=attrs))
        self._back_to(kept, out, fmt, op)

    def scale(self, op: Op) -> None:
        """Lower SCALE, which keeps the mean in evaluation."""
        bits = self.scale_bits(op)
        source, out = op.reads[0], op.writes[0]
        fmt = self.fixed(source)
        moved = self.register(f"kept.{out.tensor}", out, replace(fmt, frac=fmt.frac - bits), self.points(source))
        self.ops.append(replace(op, writes=(moved,), attrs={"scale": 1.0}, group=f"at {out.tensor}"))
        self._back_to(moved, out, fmt, op)

    def _back_to(self, source: Value, out: Value, fmt: Fixed, op: Op) -> None:
        """Cast what dropout left into the format that it had before."""
        self.set_format(out, fmt, self.points(source))
        cast = self.datapath.act
        self.requant(source, out, Cast(fmt, cast.rounding, cast.overflow), op, out.tensor)

    def perturb(self, op: Op) -> None:
        """Lower PERTURB: the step is a number at the input's binary point."""
        act, out = op.reads[0], op.writes[0]
        fmt = self.fixed(act)
        try:
            eps = math.floor(math.ldexp(op.attrs["eps"], fmt.frac) + 0.5)
        except OverflowError:
            raise self.refuse(f"fgsm {op.attrs['eps']:g} is far beyond inputs of {fmt}; give a smaller step") from None
        moved = self.register(f"moved.{out.tensor}", out, self.width("fgsm", magnitude(fmt) + eps, fmt.frac))
        self.ops.append(replace(op, writes=(moved,), attrs={"eps": eps}, group=f"at {out.tensor}"))
        self.set_format(out, fmt)
        self.requant(moved, out, Cast(fmt, "RND", "SAT"), op, out.tensor)

    # --- batch normalisation ---------------------------------------------------------------------------------------

    def norm(self, op: Op) -> None:
        """Lower batch normalisation: a power of two stands for the deviation."""
        data = self.datapath
        if data.norm is None:
            raise self.refuse('batch normalisation needs the table [norm] with a format, such as [norm] format = "s16.12"')
        preact, gain, shift, mean, var = op.reads
        if self.points(preact):
            raise self.refuse(
                "batch normalisation of a preact with an exponent of its own has no form; leave it out of [dynamic]"
            )
        cast = data.preact
        if cast.rounding.startswith("STOCH"):
            raise self.refuse(
                f"[preact] {cast.rounding}: batch normalisation is cast by a deterministic rounding, such as RND"
            )
        normed, fmt = op.writes[0], self.fixed(preact)
        rows = math.prod(self.tensors[preact.tensor].shape[:-1])
        # statistics and the way back hold sums of two numbers' products over all rows, times two
        self.width(f"layer {op.layer} {op.kind} over {rows} rows of {fmt}", 4 * magnitude(fmt) ** 2 * rows, 2 * fmt.frac)
        for value in (gain, shift):
            self.set_format(value, self.own_format(value.tensor, data.norm))
        self.set_format(mean, Fixed(fmt.bits + RUNNING_BITS, fmt.frac + RUNNING_BITS))
        squares = self.width("running variance", magnitude(fmt) ** 2 << (RUNNING_BITS + 2), 2 * fmt.frac + RUNNING_BITS)
        self.set_format(var, squares)
        attrs = {"frac": fmt.frac, "rounding": cast.rounding, "overflow": cast.overflow}
        normal = Value(normed.tensor.replace("normed.", "normal."))
        if op.kind == kinds.NORM:
            exponent = op.writes[2]
            self.set_format(normal, fmt)
            self.set_format(exponent, Fixed(8, 0))
            writes = (normal, exponent, *op.writes[3:])
        else:
            self.tensors[normal.tensor] = replace(self.tensors[normed.tensor], name=normal.tensor, format=fmt)
            writes = (normal,)
        self.ops.append(replace(op, reads=(preact, mean, var), writes=writes, attrs=attrs, site=normal.tensor))
        first, second, third = fmt, self.fixed(gain), self.fixed(shift)
        frac = max(first.frac + second.frac, third.frac)
        shifts = {"product_shift": frac - first.frac - second.frac, "shift_shift": frac - third.frac}
        largest = (magnitude(first) * magnitude(second) << shifts["product_shift"]) + (
            magnitude(third) << shifts["shift_shift"]
        )
        total = self.register(f"accumulator.{normed.tensor}", normed, self.width("batch normalisation", largest, frac))
        self.ops.append(
            Op(kinds.AFFINE, (normal, gain, shift), (total,), op.phase, op.layer, shifts, group=f"at {normed.tensor}")
        )
        self.cast(total, normed, cast, op, "normed")


def _split(number: int) -> tuple[int, int]:
    """Return p and the odd q of ``number = 2^p * q``; q of what is no power of two is the number itself, p then 0."""
    power = number.bit_length() - 1
    return (power, 1) if number == 1 << power else (0, number)
