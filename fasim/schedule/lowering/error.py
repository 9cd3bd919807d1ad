"""The error and the way back in fixed point."""

from __future__ import annotations

import math
from dataclasses import replace

from fasim.fixedpoint.format import Fixed
from fasim.schedule import ops as kinds
from fasim.schedule.lowering.base import Lowering, magnitude, without_scale
from fasim.schedule.values import Op, Value

# the mean of three is a product by 341 / 2^10
THIRD, THIRD_BITS = 341, 10


class Error(Lowering):
    """Errors, transported signals, deltas."""

    def error(self, op: Op) -> None:
        """Lower ERROR: the difference to the one-hot target, then its cast."""
        source, out = op.reads[0], op.writes[0]
        fmt = self.fixed(source)
        if self.points(source):
            raise self.refuse(
                "the error needs an output at a fixed binary point; use softmax, tanh or sigmoid at the output"
            )
        one = math.floor(math.ldexp(self.datapath.target, fmt.frac) + 0.5)
        if not one:
            raise self.refuse(f"act {fmt} cannot hold the target {self.datapath.target}; give it more fraction bits")
        difference = self.register(
            f"difference.{out.tensor}", out, self.width("error", magnitude(fmt) + abs(one), fmt.frac)
        )
        self.ops.append(replace(op, writes=(difference,), attrs={"one": one}, group=f"at {out.tensor}"))
        self.cast(difference, out, self.datapath.error, op, "error")

    def residual(self, op: Op) -> None:
        """Lower RESIDUAL against the inputs: both come to the finer binary point."""
        output, target = op.reads
        out = op.writes[0]
        if self.tensors[target.tensor].cls == "label":
            raise self.refuse("targets of values are real numbers; fixed point has labels and inputs as targets")
        if self.points(output):
            raise self.refuse("the error needs an output at a fixed binary point; use tanh or sigmoid at the output")
        one, other = self.fixed(output), self.fixed(target)
        frac = max(one.frac, other.frac)
        shifts = {"output_shift": frac - one.frac, "target_shift": frac - other.frac}
        largest = (magnitude(one) << shifts["output_shift"]) + (magnitude(other) << shifts["target_shift"])
        difference = self.register(f"difference.{out.tensor}", out, self.width("error", largest, frac))
        self.ops.append(replace(op, writes=(difference,), attrs=shifts, group=f"at {out.tensor}"))
        self.cast(difference, out, self.datapath.error, op, "error")

    def sign(self, op: Op) -> None:
        """Lower SIGN, which is one bit."""
        self.ops.append(op)

    # --- transport -------------------------------------------------------------------------------------------------

    def transport(self, op: Op) -> None:
        """Lower PROJECT and PROJECT_CONV."""
        signal, matrix = op.reads
        shape = self.tensors[matrix.tensor].shape
        terms = shape[0] if op.kind == kinds.PROJECT else math.prod(shape[:3])
        self._transport(op, (signal, matrix), terms)

    def transport_up(self, op: Op) -> None:
        """Lower PROJECT_UP."""
        signal, matrix = op.reads
        self._transport(op, (signal, matrix), math.prod(self.tensors[matrix.tensor].shape[1:]))

    def _transport(self, op: Op, reads: tuple[Value, Value], terms: int) -> None:
        bits, out = self.scale_bits(op), op.writes[0]
        narrow = self.tensors[out.tensor].cls == "signal" and self.datapath.signal is not None
        register = f"transported.{out.tensor}" if narrow else ""
        total = self.sum_of_products(op, out, reads, terms, "transport", register=register)
        self._move(total, bits)
        if narrow:
            self._to_signal(total, out, op)

    def transport_sparse(self, op: Op) -> None:
        """Lower PROJECT_ELL and PROJECT_CSR: their sums are exact."""
        bits, out = self.scale_bits(op), op.writes[0]
        signal, values = op.reads[:2]
        terms = self.tensors[signal.tensor].shape[1]
        fmt = self.product(op, self.fixed(signal), self.fixed(values), terms)
        self._from_matrix(op, out, fmt, bits, self.points(signal))

    def select(self, op: Op) -> None:
        """Lower SELECT and its sparse kin: a row as it is."""
        bits, out = self.scale_bits(op), op.writes[0]
        self._from_matrix(op, out, self.fixed(op.reads[1]), bits, ())

    def _from_matrix(self, op: Op, out: Value, fmt: Fixed, bits: int, points: tuple[tuple[str, int], ...]) -> None:
        total = out
        if self.datapath.signal is not None:
            total = self.register(f"transported.{out.tensor}", out, fmt, points)
        else:
            self.set_format(out, fmt, points)
        self.ops.append(replace(op, writes=(total,), attrs=without_scale(op.attrs)))
        self._move(total, bits)
        if total is not out:
            self._to_signal(total, out, op)

    def _move(self, value: Value, bits: int) -> None:
        """Multiply a value by 2^bits: its binary point moves."""
        fmt = self.fixed(value)
        self.set_format(value, replace(fmt, frac=fmt.frac - bits), self.points(value))

    def _to_signal(self, total: Value, out: Value, op: Op) -> None:
        assert self.datapath.signal is not None
        self.cast(total, out, self.datapath.signal, op, "signal")

    def mean(self, op: Op) -> None:
        """Lower MEAN: a sum whose binary point makes it a mean; of three also a product by 341."""
        signals = self.aligned(op.reads, op)
        formats = [self.fixed(value) for value in signals]
        total, frac = sum(magnitude(fmt) for fmt in formats), formats[0].frac
        two = len(signals) == 2
        fmt = self.width("mean", total, frac + 1) if two else self.width("mean", total * THIRD, frac + THIRD_BITS)
        self.set_format(op.writes[0], fmt)
        self.ops.append(replace(op, reads=signals, attrs=without_scale(op.attrs)))

    def average_unpool(self, op: Op) -> None:
        """Lower AVERAGE_UNPOOL: each value to its window, where overlapping ones add up."""
        kernel, stride = op.attrs["kernel"], op.attrs["stride"]
        source = self.fixed(op.reads[0])
        overlaps = math.ceil(kernel / stride) ** 2
        power = (kernel * kernel).bit_length() - 1
        fmt = self.width("average unpooling", magnitude(source) * overlaps, source.frac + power)
        self.set_format(op.writes[0], fmt, self.points(op.reads[0]))
        self.ops.append(op)

    def mask(self, op: Op) -> None:
        """Lower MASK: back through dropout."""
        fmt, bits = self.fixed(op.reads[0]), self.scale_bits(op)
        self.set_format(op.writes[0], replace(fmt, frac=fmt.frac - bits), self.points(op.reads[0]))
        self.ops.append(replace(op, attrs=without_scale(op.attrs)))

    # --- deltas ----------------------------------------------------------------------------------------------------

    def delta(self, op: Op) -> None:
        """Lower DELTA: the exact product with the slope, then its cast."""
        signal, out = op.reads[0], op.writes[0]
        fmt, attrs = self.fixed(signal), without_scale(op.attrs)
        if len(op.reads) == 2:
            slope = self.tensors[op.reads[1].tensor]
            assert slope.format is not None
            if slope.encoding == "dense" and self.datapath.functions.slope == "divide":
                attrs |= {"divide": True}
            elif slope.encoding == "dense":
                fmt = self.product(op, fmt, slope.format, 1)
        fmt = replace(fmt, frac=fmt.frac - self.scale_bits(op))
        product = self.register(f"product.{out.tensor}", out, fmt, self.points(signal))
        self.ops.append(replace(op, writes=(product,), attrs=attrs, group=f"at {out.tensor}"))
        self.cast(product, out, self.datapath.delta, op, "delta")

    def norm_back(self, op: Op) -> None:
        """Lower NORM_BACK: means and a shift for each channel, cast in one op."""
        delta, normal, _, gain = op.reads
        out, cast = op.writes[0], self.datapath.delta
        cast = replace(cast, format=self.own_format(out.tensor, cast.format))
        if "delta" in self.datapath.dynamic:
            raise self.refuse(
                "batch normalisation of a delta with an exponent of its own has no form; leave it out of [dynamic]"
            )
        if cast.rounding.startswith("STOCH"):
            raise self.refuse(
                f"[delta] {cast.rounding}: batch normalisation is cast by a deterministic rounding, such as RND"
            )
        self.set_format(out, cast.format)
        rows = math.prod(self.tensors[delta.tensor].shape[:-1])
        size = magnitude(self.fixed(delta)) * magnitude(self.fixed(normal)) * max(rows, magnitude(self.fixed(normal)))
        self.width(f"layer {op.layer} {op.kind} over {rows} rows", 4 * size, 0)
        # a delta, its mean, and normal times the mean of delta times normal
        ones = self.fixed(normal).frac
        square = magnitude(self.fixed(normal)) ** 2
        drift = magnitude(self.fixed(delta)) * (square >> 2 * ones if ones >= 0 else square << -2 * ones)
        value = 2 * magnitude(self.fixed(delta)) + drift + 1
        self.width(f"layer {op.layer} {op.kind}", 2 * value * magnitude(self.fixed(gain)), 0)
        attrs = {
            "frac": self.fixed(normal).frac,
            "shift": self.fixed(gain).frac + self.fixed(delta).frac - cast.format.frac,
            "rounding": cast.rounding,
            "overflow": cast.overflow,
        }
        self.ops.append(replace(op, attrs=attrs, site=out.tensor))
