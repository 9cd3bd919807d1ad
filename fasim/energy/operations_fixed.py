"""Which operations the ops that exist in fixed point alone do, and what a limited register or a cast adds to others.

========================== ==================================================================================
op                         operations
========================== ==================================================================================
LOOKUP                     LUT; a hard function: 2 CMP; a piecewise linear one: 3 CMP, SHIFT, ADD
REQUANT                    SHIFT unless the shift is 0 in every step, DIV where it divides by no power of two;
                           ADD if it rounds away bits by any mode but TRN and JAM; STOCH: as many RNG_BITS as bits are
                           rounded away, or as `[random]` uses; SAT, SAT_SYM, SAT_ZERO: 2 CMP
EXPONENT                   CMP per element: the largest magnitude
AFFINE, MOMENTUM           MAC per element; MOMENTUM of a gradient of rank one, which its MAC adds, MUL
SOFTMAX                    per element MUL (log2 e), LUT, SHIFT, DIV, ADD (less the maximum); CMP and ADD for all of a row
                           but one
NORM                       per element MAC (squares), 2 ADD, SHIFT, its rounding; per channel 2 DIV, and where the running
                           statistics move 2 SHIFT, 4 ADD; NORM_INFERENCE: ADD, SHIFT
NORM_BACK                  per element MAC (projection on normal), 2 MUL, 3 ADD, 2 SHIFT; per channel 2 DIV
AVERAGE_POOL               ``k k - 1`` ADD per output; AVERAGE_UNPOOL: where windows overlap, ADD for each place that a
                           signal goes to; MEAN: ADD for each signal after the first, of three MUL
DELTA that divides         DIV in the place of MUL
sums in a register         SAT at every addition: 2 CMP; rounded products: SHIFT and ADD for each
UPDATE                     SHIFT (none:0 has none), DIV or MUL for the rate; ADD; rounding and overflow as REQUANT, STOCH
                           with 32 RNG_BITS or as `[random]` uses; decay: SHIFT, ADD; plus_minus_one: RNG_BITS, CMP, ADD
========================== ==================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator

from fasim.schedule import Op, Tensor
from fasim.schedule import ops as kinds

# Random bits of one stochastic rounding whose shift is not known before the step runs.
STOCHASTIC_WORD_BITS = 32
# the third part of a sum is its product by 341 / 2^10
THIRD_BITS = 10
# modes that are a floor, or an OR of the last bit
WITHOUT_ADDER = ("TRN", "JAM", "JAM_UNBIASED")
SATURATING = ("SAT", "SAT_SYM", "SAT_ZERO")
# the operations' names, which fasim.energy.operations explains
MAC, MUL, ADD, CMP, LUT, SHIFT, RNG_BITS, DIV = "MAC", "MUL", "ADD", "CMP", "LUT", "SHIFT", "RNG_BITS", "DIV"

Row = tuple[str, int, int, int, int]


def rounding_and_overflow(op: Op, size: int, wide: int, narrow: int, shift: int | None) -> Iterator[Row]:
    """Count the rounding of `size` numbers of `wide` bits, and their way into `narrow` bits.

    Parameters
    ----------
    shift : int or None
        Bits that are dropped; None: known in the step alone.
    """
    rounding, random = op.attrs["rounding"], op.attrs.get("random")
    if (shift is None or shift > 0) and rounding not in WITHOUT_ADDER:
        yield ADD, size, wide, wide, wide
    if rounding == "STOCH" and (shift is None or shift > 0):
        bits = STOCHASTIC_WORD_BITS if shift is None else shift
        yield RNG_BITS, size * (random.bits if random is not None and random.bits else bits), 0, 0, 1
    if op.attrs["overflow"] in SATURATING:
        yield CMP, 2 * size, narrow, narrow, narrow


def requant(op: Op, source: Tensor, out: Tensor) -> Iterator[Row]:
    """Count a cast."""
    size, bits = out.elements, source.bits
    shift = None if op.scalars else op.attrs["shift"]
    if shift != 0:
        yield SHIFT, size, bits, 0, bits
    if "divisor" in op.attrs:
        yield DIV, size, bits, bits, bits
        shift = None
    yield from rounding_and_overflow(op, size, bits, bits, shift)


def look_up(op: Op, address: Tensor, out: Tensor) -> Iterator[Row]:
    """Count a function by its circuit."""
    size, bits = out.elements, address.bits
    match op.attrs.get("circuit", "table"):
        case "hard":
            yield CMP, 2 * size, bits, bits, bits
        case "pwl" | "pocket":
            yield CMP, 3 * size, bits, bits, bits
            yield SHIFT, size, bits, 0, bits
            yield ADD, size, bits, bits, bits
        case _:
            yield LUT, size, bits, 0, out.bits


def register(op: Op, products: int, out: Tensor, product_bits: int) -> Iterator[Row]:
    """Count what a limited register does at each product."""
    acc = op.attrs.get("accumulator")
    if acc is None:
        return
    if acc.product_rounding and op.attrs["product_shift"]:
        yield SHIFT, products, product_bits, 0, product_bits
        if acc.product_rounding not in WITHOUT_ADDER:
            yield ADD, products, product_bits, product_bits, product_bits
    if acc.overflow in SATURATING:
        yield CMP, 2 * (products if acc.every_mac else out.elements), out.bits, out.bits, out.bits


def update(op: Op, parameter: Tensor, gradient: Tensor, rank_one: bool) -> Iterator[Row]:
    """Count an update; a gradient of rank one that is never kept has its addition in GRAD."""
    size, bits, wide = parameter.elements, parameter.bits, gradient.bits
    rate = op.attrs["rate"]
    if rate != "none" or op.attrs["shift"]:
        yield SHIFT, size, wide, 0, wide
    if rate == "multiply":
        yield MUL, size, wide, op.attrs["factor_bits"], wide
    if rate == "divide":
        yield DIV, size, wide, wide, wide
    if not rank_one:
        yield ADD, size, bits, wide, bits
    if op.attrs["decay_shift"] >= 0:
        yield SHIFT, size, bits, 0, bits
        yield ADD, size, bits, bits, bits
    if op.attrs["kind"] == "plus_minus_one":
        word = op.attrs["random"].bits or 16
        yield RNG_BITS, size * word, 0, 0, 1
        yield CMP, size, word, word, word
        if op.attrs["overflow"] in SATURATING:
            yield CMP, 2 * size, bits, bits, bits
        return
    yield from rounding_and_overflow(op, size, wide, bits, op.attrs["shift"] if rate == "none" else None)


def others(op: Op, read: list[Tensor], out: Tensor) -> Iterator[Row] | None:
    """Return the operations of an op that is another one in fixed point than in float; None for the rest."""
    size, bits = read[0].elements, read[0].bits
    channels = read[0].shape[-1] if read[0].shape else 1
    rows: list[Row] = []
    match op.kind:
        case kinds.EXPONENT:
            rows = [(CMP, size, bits, bits, bits)]
        case kinds.AFFINE:
            rows = [(MAC, size, bits, read[1].bits, out.bits)]
        case kinds.SOFTMAX:
            between = size - read[0].shape[0]
            rows = [(kind, size, bits, bits, out.bits) for kind in (MUL, LUT, SHIFT, DIV)]
            rows += [(CMP, between, bits, bits, bits), (ADD, between + size, bits, bits, bits)]
        case kinds.NORM:
            moved = len(op.writes) == 4
            rows = [(MAC, size, bits, bits, 2 * bits), (ADD, 2 * size, bits, bits, bits), (SHIFT, size, bits, 0, bits)]
            rows += [(DIV, 2 * channels, bits, bits, bits)]
            rows += [(SHIFT, 2 * channels * moved, bits, 0, bits), (ADD, 4 * channels * moved, bits, bits, bits)]
            rows += rounding_and_overflow(op, size, bits, bits, None)
        case kinds.NORM_INFERENCE:
            rows = [(ADD, size, bits, bits, bits), (SHIFT, size, bits, 0, bits)]
            rows += rounding_and_overflow(op, size, bits, bits, None)
        case kinds.NORM_BACK:
            rows = [(MAC, size, bits, read[1].bits, out.bits), (MUL, 2 * size, bits, bits, bits)]
            rows += [(ADD, 3 * size, bits, bits, bits), (SHIFT, 2 * size, bits, 0, bits)]
            rows += [(DIV, 2 * channels, bits, bits, bits)]
            rows += rounding_and_overflow(op, size, bits, bits, None)
        case kinds.AVERAGE_POOL:
            rows = [(ADD, out.elements * (op.attrs["kernel"] ** 2 - 1), bits, out.bits, out.bits)]
        case kinds.AVERAGE_UNPOOL:
            # its mean is a place of the binary point; where windows overlap, a sum for each place that a signal goes to
            overlap = op.attrs["stride"] < op.attrs["kernel"]
            rows = [(ADD, overlap * op.attrs["kernel"] ** 2 * size, bits, out.bits, out.bits)]
        case kinds.MEAN:
            rows = [
                (ADD, (len(read) - 1) * size, bits, bits, bits),
                (MUL, size * (len(read) == 3), bits, THIRD_BITS, out.bits),
            ]
        case kinds.DELTA if op.attrs.get("divide"):
            rows = [(DIV, size, bits, read[1].bits, out.bits)]
        case _:
            return None
    return iter(rows)
