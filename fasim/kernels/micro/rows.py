"""Register tiles that update rows of weights and multiply them in the same pass: each weight is read and written once.

For one sample a step is as fast as weights move, and its two passes over them, the update and the next sample's forward
pass, move them twice. Here a vector of weights is loaded, changed by a gradient of rank one, stored and multiplied.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from fasim.kernels.compile import kernel
from fasim.kernels.micro import portable
from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.arrays import address, lies_in_rows
from fasim.kernels.micro.blocks import BLOCK_BYTES, LANES, block_length
from fasim.kernels.micro.dot import Tile
from fasim.kernels.micro.kinds import FLOAT32, WIDE
from fasim.kernels.optimize import sgd
from fasim.scalar.target import TARGET

_PORTABLE = TARGET == "portable"
_add_outer, _multiply = portable.add_outer_float32, portable.gemm_float32

# Rows at once: their sums hide the latency of additions, and each vector of the samples serves all of them. Of 500 x 784
# weights 4 move at 94 % of the rate of a loop that only reads and writes them, 8 at 90, 12 at 91, 2 at 91, 1 at 85
_ROWS = 4 if WIDE else 2


class _Updating(Tile):
    """A tile of dot products of one row of A, whose rows of B change before they are multiplied.

    It asks for what the next tile reads: rows are short, and each tile begins others, so that no prefetcher sees them come.
    100 matrices of 240 x 240 take 580 us in place of 850 (AMD Zen 5; a loop that reads and writes them 450), 7 of them 19
    in place of 21; 1000 x 1000 as long as before. Asked two tiles ahead, 100 take 510, but 1000 x 1000 half as long again.
    """

    rounds = 2

    def __init__(self, b: v.Builder, rows: int, deltas: list[v.Value], rate: v.Value, ahead: v.Value) -> None:
        super().__init__(b, FLOAT32, (1, rows), "none")
        self.ahead = ahead
        self.deltas, self.rate = ([v.splat(b, one, self.lanes) for one in some] for some in (deltas, [rate]))

    @property
    def lanes(self) -> int:
        """Return the elements of a vector."""
        return self.kind.sums.count

    def put(self, value: v.Value, start: v.Value, part: int, rest: v.Value | None) -> None:
        """Store a vector where `load` took it from."""
        b, before = self.b, part * self.lanes
        place = b.add(start, v.constant(4 * before))
        if rest is None:
            v.store(b, value, place)
        else:
            v.store_masked(b, value, place, v.first_lanes(b, b.sub(rest, v.constant(before)), self.lanes))

    def step(
        self, sums: list[v.Value], left: list[v.Value], right: list[v.Value], rest: v.Value | None = None
    ) -> list[v.Value]:
        """Change one step of all rows, and add its products; `left` is what is multiplied, then the gradient's factor."""
        b, new, parts = self.b, list(sums), self.kind.parts
        for part in range(parts):
            act, factor = (self.load(start, part, rest) for start in left)
            for j, (start, delta) in enumerate(zip(right, self.deltas, strict=True)):
                # a product added to 0, as sums of such products begin: the sign of a product that is 0 shall not matter
                gradient = v.fused(b, v.zero(self.kind.sums), delta, factor)
                if rest is None:
                    v.prefetch(b, b.add(b.add(start, v.constant(4 * part * self.lanes)), self.ahead))
                weight = b.fsub(self.load(start, part, rest), b.fmul(self.rate[0], gradient))
                self.put(weight, start, part, rest)
                new[j * parts + part] = v.fused(b, new[j * parts + part], act, weight)
        return new


def _rows_tile(rows: int) -> Any:  # noqa: ANN401 - Numba has no public type
    """Return ``tile(delta, delta_step, before, weight, step, rate, act, terms, out, fresh)`` for so many rows.

    ``weight[j, k] -= rate * (delta[j] * before[k])``, then ``out[j] = sum_k act[k] * weight[j, k]``, added to `out` where
    not `fresh`; addresses, steps in bytes.
    """

    @intrinsic
    def tile(_context, delta, delta_step, before, weight, step, rate, act, terms, out, fresh):
        def codegen(context, b, _signature, arguments):
            delta, delta_step, before, weight, step, rate, act, terms, out, fresh = arguments
            numbers = [v.constant(j) for j in range(rows)]
            deltas = [v.load(b, b.add(delta, b.mul(delta_step, j)), v.F32) for j in numbers]
            writer = _Updating(b, rows, deltas, rate, b.mul(step, v.constant(_ROWS)))
            sums = writer.all_sums([act, before], [b.add(weight, b.mul(step, j)) for j in numbers], terms)
            writer.store(sums, out, v.constant(0), (v.constant(1), v.constant(rows)), fresh, v.constant(0))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5, types.float32, *[types.int64] * 4), codegen

    return tile


_many, _one = _rows_tile(_ROWS), _rows_tile(1)


@kernel
def cover_rows(delta, delta_step, before, weight, step, rate, act, out, rows, terms):
    """Cover all rows with tiles; float32 at addresses, steps in bytes, int64; `rate` is a float32."""
    length = block_length(terms, BLOCK_BYTES // 4, LANES)
    whole = rows - rows % _ROWS
    for start in range(0, max(terms, 1), length):
        here, fresh, at = min(length, terms - start), np.int64(start == 0), 4 * start
        left, right, first = before + at, act + at, weight + at
        for j in range(0, whole, _ROWS):
            _many(delta + j * delta_step, delta_step, left, first + j * step, step, rate, right, here, out + 4 * j, fresh)
        for j in range(whole, rows):
            _one(delta + j * delta_step, delta_step, left, first + j * step, step, rate, right, here, out + 4 * j, fresh)


_cover = cover_rows


@kernel
def sgd_nt_float32(delta, before, weight, rate, act, out):
    """Change weights by the gradient of one sample, and multiply another sample with them.

    ``weight[j, k] -= rate * (delta[0, j] * before[0, k])``, ``out[0, j] = sum_k act[0, k] * weight[j, k]``:
    :func:`fasim.kernels.micro.sgd_tn_float32` without decay, then :func:`fasim.kernels.micro.gemm_nt_float32`, to the bit.

    Parameters
    ----------
    delta : float32[1, J]
    before : float32[1, K]  what the layer read when `delta` arose
    weight : float32[J, K]  updated
    rate : float64[1]       learning rate
    act : float32[1, K]     what it reads now
    out : float32[1, J]     written; may not overlap an input

    Raises ValueError where shapes do not fit or a row is not contiguous. Cost: 2 J K multiply-accumulates; each weight is
    read and written once.
    """
    like = np.float32(0)
    place, left, right = address(weight, like), address(before, like), address(act, like)
    to, factors = address(out, like), address(delta, like)
    units, terms = weight.shape
    if delta.shape != (1, units) or out.shape != (1, units) or before.shape != (1, terms) or act.shape != (1, terms):
        raise ValueError("sgd_nt: needs shapes (1, J), (1, K), (J, K), (1, K) and (1, J)")
    if not (lies_in_rows(before) and lies_in_rows(weight) and lies_in_rows(act) and lies_in_rows(out)):
        raise ValueError("sgd_nt: needs rows whose elements lie side by side; copy by numpy.ascontiguousarray")
    if _PORTABLE:
        gradient = np.empty((1, terms), np.float32)
        for j in range(units):
            _add_outer(delta[:, j : j + 1], True, before, gradient)
            sgd(weight[j], gradient[0], rate, like, 0)
        _multiply(act, weight, out)
    else:
        _cover(factors, delta.strides[1], left, place, weight.strides[0], np.float32(rate[0]), right, to, units, terms)
