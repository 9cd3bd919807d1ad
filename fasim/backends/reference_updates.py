"""The interpreter's updates in fixed point, in Python integers: momentum, the rate, decay, a step of one."""

from __future__ import annotations

import numpy as np

from fasim.backends.reference_fixed import FixedOps
from fasim.backends.reference_integers import Array, divided, rounded
from fasim.fixedpoint.options import RandomSource
from fasim.schedule import Op


class FixedUpdates(FixedOps):
    """All ops in fixed point."""

    def _fixed_momentum(self, op: Op) -> None:
        velocity, gradient = self._read(op)
        kept = op.attrs["factor"] * velocity * 2 ** op.attrs["velocity_shift"]
        self._write(op, kept + gradient.reshape(velocity.shape) * 2 ** op.attrs["gradient_shift"])

    def _fixed_update(self, op: Op) -> None:
        parameter, gradient = self._read(op)
        gradient = gradient.reshape(parameter.shape)
        rate, rounding = op.attrs["rate"], op.attrs["rounding"]
        factors = 2 if rate in ("multiply", "divide") else 1
        shift = op.attrs["shift"] + self._scalars(op, factors)
        if rate in ("shift", "multiply"):
            shift += int(self._scalar(op.scalars[0]))
        factor = int(self._scalar(op.scalars[1])) if factors == 2 else 1
        random = op.attrs.get("random") or RandomSource()
        if op.attrs["kind"] == "plus_minus_one":
            step = self._by_one(op, gradient, shift, random)
        elif rate == "divide":
            step = divided(gradient * 2**-shift, factor, rounding)
        else:
            words = self._words(op, parameter.size) if rounding == "STOCH" and shift > 0 else None
            step = rounded(gradient * factor, shift, rounding, words, random)
        if op.attrs["decay_shift"] >= 0:
            step = step + rounded(parameter, op.attrs["decay_shift"], "RND" if rounding == "STOCH" else rounding)
        self._write(op, self._into(parameter - step, op))

    def _by_one(self, op: Op, gradient: Array, shift: int, random: RandomSource) -> Array:
        """Return a step of one, taken with a probability as large as the gradient (ReckOn)."""
        bits = random.bits or 16
        words = self._words(op, gradient.size).reshape(gradient.shape)
        result = np.zeros_like(gradient)
        for place in np.ndindex(*gradient.shape):
            g = gradient[place]
            scaled = abs(g) * 2**bits
            chance = min(scaled // 2**shift if shift >= 0 else scaled * 2**-shift, 2**bits)
            if g and chance >= int(words[place]) % 2**bits:
                result[place] = 1 if g > 0 else -1
        return result
