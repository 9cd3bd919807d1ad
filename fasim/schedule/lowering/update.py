"""Gradients and updates in fixed point."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

from fasim.fixedpoint.cast import Cast
from fasim.fixedpoint.format import Fixed
from fasim.schedule import ops as kinds
from fasim.schedule.lowering.base import Lowering, magnitude
from fasim.schedule.values import Op, Value

# k of 2^-k, and the multiplier or divisor, of the weights and of feedback that learns
LEARNING_SHIFT, LEARNING_FACTOR = "learning_shift", "learning_factor"
FEEDBACK_SHIFT, FEEDBACK_FACTOR = "feedback_shift", "feedback_factor"
SCALARS = (LEARNING_SHIFT, LEARNING_FACTOR, FEEDBACK_SHIFT, FEEDBACK_FACTOR)
ONE = Fixed(1, 0, signed=False)


class Update(Lowering):
    """Batch gradients, momentum, updates of masters and copies."""

    def gradient(self, op: Op) -> None:
        """Lower GRAD, GRAD_CONV and GRAD_GAIN: the sum over the batch."""
        delta, other = op.reads
        out = op.writes[0]
        terms = math.prod(self.tensors[delta.tensor].shape) // self.tensors[out.tensor].shape[0]
        narrow = self.datapath.gradient is not None and op.kind != kinds.GRAD_GAIN
        register = f"summed.{out.tensor}" if narrow else ""
        if op.kind == kinds.GRAD_GAIN:
            fmt = self.product(op, self.fixed(delta), self.fixed(other), terms)
            self.set_format(out, fmt, self.points(delta))
            self.ops.append(op)
            return
        total = self.sum_of_products(op, out, (delta, other), terms, "gradient", register=register)
        if narrow:
            self._to_gradient(total, out, op)

    def bias_gradient(self, op: Op) -> None:
        """Lower GRAD_BIAS: the sum of deltas."""
        out, delta = op.writes[0], op.reads[0]
        if out.tensor.startswith("gradient.bias.") and self.datapath.bias is None:
            return
        source = self.fixed(delta)
        terms = math.prod(self.tensors[delta.tensor].shape) // self.tensors[out.tensor].shape[0]
        points = self.points(delta)
        fmt = self.width(f"layer {op.layer} {op.kind} sums {terms} of {source}", magnitude(source) * terms, source.frac)
        # the shift of batch normalisation has an exact gradient, as its gain has
        of_bias = out.tensor.startswith("gradient.bias.")
        narrow = self.datapath.gradient is not None and of_bias
        acc = self.datapath.accumulator_of("gradient") if of_bias else None
        attrs, site, limited = op.attrs, "", fmt
        if acc is not None and not acc.plain:
            frac = min(acc.product_frac, source.frac) if acc.product_rounding else source.frac
            if points and frac != source.frac:
                raise self.refuse(
                    "deltas are to be rounded, but their exponent is chosen in the step; use another accumulator"
                )
            limited = Fixed(acc.bits, frac)
            attrs = attrs | {"accumulator": acc, "product_shift": source.frac - frac}
            site = f"sum.{out.tensor}"
        total = out
        if narrow or (acc is not None and acc.plain):
            total = self.register(f"summed.{out.tensor}", out, limited, points)
        else:
            self.set_format(out, limited, points)
        self.ops.append(replace(op, writes=(total,), attrs=attrs, site=site))
        if acc is not None and acc.plain:
            into = self.register(f"limited.{out.tensor}", out, Fixed(acc.bits, fmt.frac), points) if narrow else out
            self.set_format(into, Fixed(acc.bits, fmt.frac), points)
            self.requant(total, into, Cast(self.fixed(into), "TRN", acc.overflow), op, f"sum.{out.tensor}")
            total = into
        if narrow:
            self._to_gradient(total, out, op)

    def _to_gradient(self, total: Value, out: Value, op: Op) -> None:
        assert self.datapath.gradient is not None
        self.cast(total, out, self.datapath.gradient, op, "gradient")

    def clip(self, op: Op) -> None:
        """Lower CLIP: the limit is a number at the gradient's binary point."""
        source, out = op.reads[0], op.writes[0]
        if out.tensor.startswith("clipped.bias.") and self.datapath.bias is None:
            return
        fmt = self.fixed(source)
        if self.points(source):
            raise self.refuse("a gradient with an exponent of its own cannot be clipped; leave one of the two out")
        # of whole numbers, as a float may be too large to shift
        limit = min(math.floor(Fraction(op.attrs["limit"]) * Fraction(2) ** fmt.frac), magnitude(fmt))
        self.set_format(out, fmt)
        self.ops.append(replace(op, attrs={"limit": limit}))

    # --- updates ---------------------------------------------------------------------------------------------------

    def update(self, op: Op) -> None:
        """Lower UPDATE: momentum if there is any, the step into the master, the copy."""
        data, group = self.datapath, op.attrs["group"]
        if group == "bias" and data.bias is None:
            return
        if op.attrs["optimizer"] not in ("sgd", "momentum"):
            raise self.refuse(f"optimizer {op.attrs['optimizer']} has no fixed-point form; use sgd or momentum")
        parameter, gradient = op.reads[:2]
        if op.attrs["optimizer"] == "momentum":
            gradient = self._momentum(op, gradient)
        own = self.fixed(parameter)
        master = (
            data.master_format(own) if group == "weight" else data.feedback_master(own) if group == "feedback" else None
        )
        target, into = parameter, own
        if master is not None:
            name = f"master.{'feedback.' if group == 'feedback' else ''}{op.layer}"
            into = self.own_format(name, master)
            model = self.tensors[parameter.tensor]
            self.tensors[name] = replace(model, name=name, cls="master", format=into)
            target = Value(name)
        site = f"update.{parameter.tensor}"
        attrs, scalars = self._step(op, gradient, into, site)
        written = Value(target.tensor, 1)
        update = replace(op, reads=(target, gradient), writes=(written,), attrs=attrs, site=site, scalars=scalars)
        self.ops.append(replace(update, group=f"at {site}"))
        if master is not None:
            cast = replace(data.weight, format=own)
            self.requant(written, op.writes[0], cast, op, parameter.tensor, group=f"at {site}")

    def _step(self, op: Op, gradient: Value, into: Fixed, site: str) -> tuple[dict[str, Any], tuple[Value, ...]]:
        """Return attributes and scalars of an update of a parameter of format `into`."""
        data = self.datapath
        rate, _, number = data.rate.partition(":")
        feedback = op.attrs["group"] == "feedback"
        # shift = F_gradient - F_target + k, k the learning shift of this step
        shift = self.fixed(gradient).frac - into.frac
        points = self.points(gradient)
        scalars = [Value(FEEDBACK_SHIFT if feedback else LEARNING_SHIFT)]
        if rate in ("multiply", "divide"):
            scalars.append(Value(FEEDBACK_FACTOR if feedback else LEARNING_FACTOR))
        if rate == "none":
            shift, points = int(number), ()
        if rate == "divide" and (shift > 0 or points):
            raise self.refuse(
                f"{site} divides a gradient with {self.fixed(gradient).frac} fraction bits, more than the {into.frac} of "
                f"{into}; give it as many or more"
            )
        attrs = op.attrs | {
            "shift": shift,
            "signs": tuple(sign for _, sign in points),
            "rounding": data.update_rounding,
            "overflow": data.update_overflow,
            "rate": rate,
            "factor_bits": int(number) if rate == "multiply" else 0,
            "kind": data.kind,
            "decay_shift": self._decay(op),
        }
        if data.update_rounding == "STOCH" or data.kind == "plus_minus_one":
            attrs["random"] = data.random
        return attrs, (*scalars, *(Value(name) for name, _ in points))

    def _decay(self, op: Op) -> int:
        """Return j of a decay by 2^-j, or -1 where there is none."""
        decay = op.attrs.get("decay", 0.0)
        if not decay:
            return -1
        if self.datapath.kind == "plus_minus_one":
            raise self.refuse("an update of plus or minus one step has no weight decay; leave one of the two out")
        mantissa, exponent = math.frexp(decay)
        if op.attrs["decay_kind"] != "decoupled" or mantissa != 0.5 or exponent > 1:
            raise self.refuse(
                f"weight decay {decay:g} ({op.attrs['decay_kind']}): fixed point shifts, so it must be decoupled and a "
                "power of two, such as 2^-12 (0.000244140625)"
            )
        return 1 - exponent

    def _momentum(self, op: Op, gradient: Value) -> Value:
        """Emit the velocity's new value and return it."""
        momentum = self.datapath.momentum
        if momentum is None:
            raise self.refuse(
                "optimizer momentum needs the table [momentum] with format, rounding, overflow and factor; or use sgd"
            )
        velocity, new = op.reads[2], op.writes[1]
        if self.points(gradient):
            raise self.refuse(
                "momentum of a gradient with an exponent of its own has no form; leave gradient out of [dynamic]"
            )
        fmt, other = self.own_format(velocity.tensor, momentum.cast.format), self.fixed(gradient)
        self.set_format(velocity, fmt)
        frac = max(fmt.frac + momentum.bits, other.frac)
        shifts = {"velocity_shift": frac - fmt.frac - momentum.bits, "gradient_shift": frac - other.frac}
        largest = (magnitude(fmt) * momentum.multiplier << shifts["velocity_shift"]) + (
            magnitude(other) << shifts["gradient_shift"]
        )
        total = self.register(f"accumulator.{velocity.tensor}", velocity, self.width("momentum", largest, frac))
        attrs = {"factor": momentum.multiplier} | shifts
        self.ops.append(Op(kinds.MOMENTUM, (velocity, gradient), (total,), op.phase, op.layer, attrs))
        self.requant(total, new, momentum.cast, op, velocity.tensor)
        return new
