"""Which operations an op of a schedule does, of which widths, and how many.

Counted per op; N batch, I inputs, J units, K outputs, `out` the elements that the op writes:

========================== ==================================================================================
op                         operations
========================== ==================================================================================
DENSE, CONV                ``out * fan-in`` MAC: the bias is preloaded and costs nothing. Padding that is left out and zeros
                           that are skipped make fewer products, here and below: :mod:`fasim.energy.products`
ACTIVATE                   relu: CMP; tanh, sigmoid: LUT; linear: none; softmax: ``N K`` LUT (exponentials),
                           ``N (K-1) + N K`` ADD (the sum; less the maximum), ``N K`` DIV, ``N (K-1)`` CMP (the maximum)
POOL                       ``k k - 1`` CMP per output
ERROR                      ADD
SLOPE                      tanh, sigmoid: MUL and ADD; relu: none (the mask is a sign)
PROJECT, PROJECT_CONV      MAC as the layer they go through; ADD in their place where an operand is a sign or
                           ternary; a scale other than 1: MUL per output; a sign or ternary matrix: MUL per output
SELECT                     none; a scale other than 1: MUL
DELTA                      MUL for each factor after the first, the scale included if it is not 1; a mask is
                           an AND and costs nothing
GRAD, GRAD_CONV            MAC: ``N I J``, and ``N * places * weights``
GRAD_BIAS                  ADD for each element of delta; none at N = 1 without places, where it is delta itself
UPDATE, float              MUL, ADD, DIV per parameter as :mod:`fasim.optimizers` says; weight decay: MUL and ADD more
NORM                       per element MAC (squares), 2 MUL, 3 ADD; per channel 3 DIV (mean, variance, root), 4 MUL, 2 ADD
                           (running statistics, where they move)
NORM_INFERENCE             folded per channel (2 DIV, 2 MUL, ADD), then MUL and ADD per element
NORM_BACK                  per element MAC (projection on normal), 2 MUL, 3 ADD; per channel 2 DIV, MUL
GRAD_GAIN                  MAC per element
DROPOUT                    32 RNG_BITS and CMP per element; MUL if the scale is not 1
MASK, SCALE                MUL per element if the scale is not 1 (a mask is an AND)
AVERAGE_POOL               ``k k - 1`` ADD and MUL per output; AVERAGE_UNPOOL: MUL per output of the pooling
RESIDUAL, PERTURB          ADD per element
PROJECT_UP                 MAC: ``N J I``; signs, scale and magnitude as PROJECT
PROJECT_ELL, PROJECT_CSR   MAC (ADD for signs) for each non-zero and sample; scale and magnitude as PROJECT
SELECT_ELL, SELECT_CSR     CMP of a place with the label for each non-zero and sample
MEAN                       ADD for each signal after the first, MUL per output
CLIP                       2 CMP; SQUARED_NORM: MAC per element; RESCALE: MUL per element, DIV
UNPOOL, AVERAGE_UNPOOL     where windows overlap, ADD for each place that a signal goes to
SIGN                       none
in fixed point             what :mod:`fasim.energy.operations_fixed` says
any that reads generated   as many RNG_BITS as the shift register gives for what it reads, each time anew
========================== ==================================================================================

At N = 1 the gradient of a dense layer is a product of two vectors that goes straight into the weights (GRAD with
``materialised = False``): ONE pass, counted once. GRAD counts its ``I J`` MAC, multiply and the addition into the weight;
UPDATE then counts no ADD for it, only the learning rate's MUL on J deltas (float, sgd) or one SHIFT per weight (fixed
point: each product is rounded). An optimizer with states counts the rest of its operations per weight: the MAC's addition
is the first of its ADDs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from fasim import feedback, optimizers
from fasim.energy import operations_fixed as fixed
from fasim.energy.operations_fixed import ADD, CMP, DIV, LUT, MAC, MUL, RNG_BITS, SHIFT, STOCHASTIC_WORD_BITS
from fasim.energy.options import DEFAULTS, CostOptions
from fasim.energy.products import products
from fasim.energy.traffic import elements_read, rows_moved
from fasim.errors import ScheduleError
from fasim.schedule import Op, Schedule, Tensor, Value
from fasim.schedule import ops as kinds

OPERATIONS = (MAC, MUL, ADD, CMP, LUT, SHIFT, RNG_BITS, DIV)


@dataclass(frozen=True)
class Operations:
    """Equal operations of one op.

    Parameters
    ----------
    op : int
        Index of the op in the schedule.
    phase : str
    layer : int
    kind : str
        One of :data:`OPERATIONS`.
    count : int
    bits_a, bits_b : int
        Bits of the operands; 0 where there is none.
    bits_accumulator : int
        Bits of the adder, comparator, shifter or table entry; for MUL of the result.
    float32 : bool
        Whether it works on float32 numbers; the bits are then 32.
    """

    op: int
    phase: str
    layer: int
    kind: str
    count: int
    bits_a: int
    bits_b: int
    bits_accumulator: int
    float32: bool


# comparisons of places and of random words, which are integers in float32 too
INTEGERS = {(op, CMP) for op in (kinds.SELECT_ELL, kinds.SELECT_CSR, kinds.DROPOUT)}

# kind, count, bits a, bits b, bits of the accumulator
_Row = fixed.Row


class Counter:
    """Counts the operations of the ops of one schedule."""

    def __init__(self, schedule: Schedule, options: CostOptions = DEFAULTS) -> None:
        self.schedule, self.options = schedule, options
        self.rows_moved = rows_moved(schedule, options)
        self.rank_one = {op.writes[0] for op in schedule.find(kinds.GRAD) if not op.attrs.get("materialised", True)}
        # the parameter that each gradient which is never materialised goes straight into
        self.target: dict[Value, Tensor] = {
            op.reads[1]: schedule[op.writes[0]] for op in schedule.find(kinds.UPDATE) if op.reads[1] in self.rank_one
        }

    def operations(self, index: int) -> list[Operations]:
        """Return what op number `index` does.

        Raises
        ------
        ScheduleError
            If nothing is known of its kind or activation.
        """
        op = self.schedule.ops[index]
        floats = self.schedule[op.writes[0]].format is None
        rows, share = itertools.chain(self._rows(op), self._generated(op)), self.rows_moved(op)
        place = index, op.phase, op.layer
        return [
            Operations(*place, kind, round(share * number), a, b, accumulator, floats and (op.kind, kind) not in INTEGERS)
            for kind, number, a, b, accumulator in rows
            if round(share * number)
        ]

    def _generated(self, op: Op) -> Iterator[_Row]:
        """Count the random bits of the matrices that no memory holds."""
        for value in op.reads:
            tensor = self.schedule[value]
            if tensor.storage == "generated" and tensor.draw is not None and not tensor.is_place:
                bits = feedback.parse(tensor.draw.family).generated_bits
                yield RNG_BITS, bits * elements_read(self.schedule, op, value), 0, 0, 1

    def _rows(self, op: Op) -> Iterator[_Row]:
        read = [self.schedule[value] for value in op.reads]
        out = self.schedule[op.writes[0]]
        if out.format is not None and (rows := fixed.others(op, read, out)) is not None:
            yield from rows
            return
        match op.kind:
            case kinds.DENSE | kinds.CONV:
                made = self._products(op, out.elements * math.prod(read[1].shape[1:]))
                yield MAC, made, read[0].bits, read[1].bits, out.bits
                yield from fixed.register(op, made, out, read[0].bits + read[1].bits)
            case kinds.PROJECT:
                made = self._products(op, out.elements * read[1].shape[0])
                yield _sum(read, out, made)
                yield from fixed.register(op, made, out, read[0].bits + read[1].bits)
                yield from _scale(op, out)
                yield from _magnitude(read[1], out)
            case kinds.PROJECT_CONV:
                made = self._products(op, read[0].elements * math.prod(read[1].shape[1:]))
                yield _sum(read, out, made)
                yield from fixed.register(op, made, out, read[0].bits + read[1].bits)
                yield from _scale(op, out)
                yield from _magnitude(read[1], out)
            case kinds.SELECT:
                yield from _scale(op, out)
            case kinds.GRAD | kinds.GRAD_CONV:
                target = self.target.get(op.writes[0], out)
                made = self._products(op, read[0].elements * math.prod(out.shape[1:]))
                yield MAC, made, read[0].bits, read[1].bits, target.bits
                yield from fixed.register(op, made, out, read[0].bits + read[1].bits)
            case kinds.GRAD_BIAS if op.attrs["materialised"]:
                yield ADD, read[0].elements, read[0].bits, out.bits, out.bits
                yield from fixed.register(op, read[0].elements, out, read[0].bits)
            case kinds.ACTIVATE:
                yield from _activate(op, read[0], out)
            case kinds.LOOKUP:
                yield from fixed.look_up(op, read[0], out)
            case kinds.POOL:
                bits = read[0].bits
                yield CMP, out.elements * (op.attrs["kernel"] ** 2 - 1), bits, bits, bits
            case kinds.ERROR:
                yield ADD, out.elements, read[0].bits, read[0].bits, out.bits
            case kinds.SLOPE:
                if op.attrs["function"] != "relu":
                    yield MUL, out.elements, read[0].bits, read[0].bits, out.bits
                    yield ADD, out.elements, out.bits, out.bits, out.bits
            case kinds.DELTA:
                if len(read) == 2 and read[1].encoding != "mask":
                    yield MUL, out.elements, read[0].bits, read[1].bits, out.bits
                yield from _scale(op, out)
            case kinds.PROJECT_UP:
                made = self._products(op, out.elements * math.prod(read[1].shape[1:]))
                yield _sum(read, out, made)
                yield from fixed.register(op, made, out, read[0].bits + read[1].bits)
                yield from _scale(op, out)
                yield from _magnitude(read[1], out)
            case kinds.PROJECT_ELL | kinds.PROJECT_CSR:
                made = self._products(op, read[0].shape[0] * read[1].elements)
                yield _sum(read[:2], out, made)
                yield from fixed.register(op, made, out, read[0].bits + read[1].bits)
                yield from _scale(op, out)
                yield from _magnitude(read[1], out)
            case kinds.SELECT_ELL | kinds.SELECT_CSR:
                places = read[2].bits
                yield CMP, out.shape[0] * read[2].elements, places, places, places
                yield from _scale(op, out)
            case kinds.UPDATE:
                yield from self._update(op)
            case kinds.MOMENTUM:
                # what is added to a gradient of rank one is added by its MAC
                kind = MUL if op.reads[1] in self.rank_one else MAC
                yield kind, out.elements, read[0].bits, int(op.attrs["factor"]).bit_length() + 1, out.bits
            case kinds.REQUANT:
                yield from fixed.requant(op, read[0], out)
            case kinds.UNPOOL:
                yield from _overlap(op, read[0], 1)
            case kinds.SIGN | kinds.GRAD_BIAS:
                return
            case _ if op.kind in PER_ELEMENT:
                yield from _per_element(op, read, out)
            case _:
                raise ScheduleError(f"op {op.kind} has no operation count; add it to fasim/energy/operations.py")

    def _products(self, op: Op, dense: int) -> int:
        return products(self.schedule, op, dense, self.options)

    def _update(self, op: Op) -> Iterator[_Row]:
        parameter, gradient = self.schedule[op.reads[0]], self.schedule[op.reads[1]]
        rank_one = op.reads[1] in self.target
        size, bits = parameter.elements, parameter.bits
        if parameter.format is not None:
            yield from fixed.update(op, parameter, gradient, rank_one)
            return
        optimizer = optimizers.get(op.attrs["optimizer"])
        on_deltas = rank_one and not optimizer.states
        scaled = parameter.shape[0] if on_deltas else size
        decay_mul, decay_add = optimizers.decay_operations(op.attrs.get("decay", 0.0))
        yield MUL, optimizer.mul * scaled + decay_mul * size, bits, bits, bits
        yield ADD, (optimizer.add - rank_one + decay_add) * size, bits, bits, bits
        yield DIV, optimizer.div * size, bits, bits, bits


# operations for each element of the first operand
PER_ELEMENT: dict[str, tuple[tuple[str, int], ...]] = {
    kinds.NORM: ((MAC, 1), (MUL, 2), (ADD, 3)),
    kinds.NORM_INFERENCE: ((MUL, 1), (ADD, 1)),
    kinds.NORM_BACK: ((MAC, 1), (MUL, 2), (ADD, 3)),
    kinds.GRAD_GAIN: ((MAC, 1),),
    kinds.DROPOUT: ((RNG_BITS, STOCHASTIC_WORD_BITS), (CMP, 1)),
    kinds.MASK: (),
    kinds.SCALE: (),
    kinds.AVERAGE_POOL: (),
    kinds.AVERAGE_UNPOOL: ((MUL, 1),),
    kinds.RESIDUAL: ((ADD, 1),),
    kinds.PERTURB: ((ADD, 1),),
    kinds.MEAN: ((MUL, 1),),
    kinds.CLIP: ((CMP, 2),),
    kinds.SQUARED_NORM: (),
    kinds.RESCALE: ((MUL, 1),),
}


def _per_element(op: Op, read: list[Tensor], out: Tensor) -> Iterator[_Row]:
    """Count the element-wise ops that exist in float alone."""
    size, bits = read[0].elements, read[0].bits
    for kind, times in PER_ELEMENT[op.kind]:
        yield (kind, times * size, 0, 0, 1) if kind == RNG_BITS else (kind, times * size, bits, bits, out.bits)
    channels = read[0].shape[-1] if read[0].shape else 1
    match op.kind:
        case kinds.NORM:
            moved = len(op.writes) == 5
            yield DIV, 3 * channels, bits, bits, bits
            yield MUL, 4 * channels * moved, bits, bits, bits
            yield ADD, 2 * channels * moved, bits, bits, bits
        case kinds.NORM_INFERENCE:
            yield DIV, 2 * channels, bits, bits, bits
            yield MUL, 2 * channels, bits, bits, bits
            yield ADD, channels, bits, bits, bits
        case kinds.NORM_BACK:
            yield DIV, 2 * channels, bits, bits, bits
            yield MUL, channels, bits, bits, bits
        case kinds.DROPOUT | kinds.MASK | kinds.SCALE:
            yield from _scale(op, out)
        case kinds.AVERAGE_UNPOOL:
            yield from _overlap(op, read[0], op.attrs["kernel"] ** 2)
        case kinds.AVERAGE_POOL:
            yield ADD, out.elements * (op.attrs["kernel"] ** 2 - 1), bits, bits, bits
            yield MUL, out.elements, bits, bits, bits
        case kinds.MEAN:
            yield ADD, (len(read) - 1) * size, bits, bits, bits
        case kinds.SQUARED_NORM:
            yield MAC, sum(tensor.elements for tensor in read), bits, bits, bits
        case kinds.RESCALE:
            yield DIV, 1, bits, bits, bits


def _sum(read: list[Tensor], out: Tensor, terms: int) -> _Row:
    """Return a sum of `terms` products; of additions alone where an operand is a sign."""
    signed = any(tensor.encoding in ("sign", "ternary") for tensor in read)
    return ADD if signed else MAC, terms, read[0].bits, read[1].bits, out.bits


def _scale(op: Op, out: Tensor) -> Iterator[_Row]:
    if op.attrs["scale"] != 1:
        yield MUL, out.elements, out.bits, out.bits, out.bits


def _overlap(op: Op, signal: Tensor, places: int) -> Iterator[_Row]:
    """Count the sums of a way back through pooling whose windows overlap: one for each place that a signal goes to."""
    if op.attrs["stride"] < op.attrs["kernel"]:
        yield ADD, places * signal.elements, signal.bits, signal.bits, signal.bits


def _magnitude(matrix: Tensor, out: Tensor) -> Iterator[_Row]:
    """Count the one magnitude that all elements of a sign or ternary matrix share: a factor of each output."""
    if matrix.encoding in ("sign", "ternary"):
        yield MUL, out.elements, out.bits, out.bits, out.bits


def _activate(op: Op, preact: Tensor, out: Tensor) -> Iterator[_Row]:
    bits = preact.bits
    match op.attrs["function"]:
        case "linear":
            return
        case "relu":
            yield CMP, out.elements, bits, bits, bits
        case "tanh" | "sigmoid":
            yield LUT, out.elements, bits, 0, out.bits
        case "softmax":
            between = out.elements - out.shape[0]
            yield LUT, out.elements, bits, 0, out.bits
            yield ADD, between + out.elements, bits, bits, bits
            yield DIV, out.elements, bits, bits, out.bits
            yield CMP, between, bits, bits, bits
        case other:
            raise ScheduleError(f"activation {other!r} has no operation count; add it to fasim/energy/operations.py")
