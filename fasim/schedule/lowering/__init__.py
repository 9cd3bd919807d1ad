"""Lowering to fixed point: a pass that gives every tensor its format and every cast its place, name and mode.

The ops stay; between them the pass inserts ``REQUANT`` at named sites, replaces activations and slopes by table look-ups
over the pre-activation's format, and gives a weight its master copy. ``docs/reference/fixed-point.md`` states what each
site computes.
"""

from __future__ import annotations

from dataclasses import replace

from fasim.fixedpoint.datapath import Datapath
from fasim.fixedpoint.format import Fixed
from fasim.fixedpoint.tensor_formats import split_name
from fasim.schedule import ops as kinds
from fasim.schedule.emitter import FEEDBACK_RATE, LEARNING_RATE
from fasim.schedule.lowering.base import MAX_ACCUMULATOR_BITS, RANDOM_BITS
from fasim.schedule.lowering.error import Error
from fasim.schedule.lowering.forward import Forward
from fasim.schedule.lowering.update import SCALARS, Update
from fasim.schedule.values import Op, Schedule, Tensor

__all__ = ["MAX_ACCUMULATOR_BITS", "RANDOM_BITS", "addressable", "lower"]

# what a user asked for, by the op that first meets it; other ops are named as they are
IN_WORDS = {kinds.SQUARED_NORM: "clipping of the norm", kinds.RESCALE: "clipping of the norm"}


def lower(schedule: Schedule, datapath: Datapath) -> Schedule:
    """Return the schedule in fixed point.

    Parameters
    ----------
    schedule : Schedule
        In float, as a rule emits it (before ordering and fusing).
    datapath : Datapath

    Raises
    ------
    FormatError
        For what has no fixed-point form (mean reduction, RMSprop, Adam, clipping of the norm), what the datapath has no
        table for, or an accumulator that needs more than 63 bits.
    """
    pass_ = _lowered(schedule, datapath)
    pass_.check_asked()
    used = {value.tensor for op in pass_.ops for value in (*op.reads, *op.writes, *op.scalars)}
    used |= {pass_.tensors[name].view for name in used if name in pass_.tensors}
    return replace(
        schedule,
        tensors={name: tensor for name, tensor in pass_.tensors.items() if name in used},
        ops=tuple(pass_.ops),
        datapath=datapath.name,
        tables=pass_.tables,
    )


def addressable(schedule: Schedule, datapath: Datapath) -> frozenset[str]:
    """Return the tensors of a step to which [tensors] of this datapath can give formats of their own.

    Parameters
    ----------
    schedule : Schedule
        In float.
    datapath : Datapath

    Raises
    ------
    FormatError
        As `lower`.
    """
    return frozenset(_lowered(schedule, datapath).asked)


def _lowered(schedule: Schedule, datapath: Datapath) -> _Lowering:
    pass_ = _Lowering(schedule, datapath)
    for op in schedule.ops:
        pass_.lower_op(op)
    return pass_


class _Lowering(Forward, Error, Update):
    """One handler for each kind of op."""

    def __init__(self, schedule: Schedule, datapath: Datapath) -> None:
        super().__init__(schedule, datapath)
        self._check_names()
        for tensor in schedule.tensors.values():
            if tensor.name not in (LEARNING_RATE, FEEDBACK_RATE) and not (tensor.cls == "bias" and datapath.bias is None):
                self.tensors[tensor.name] = self.with_format(tensor)
        for name in SCALARS:
            self.tensors[name] = Tensor(name, "scalar", "", (), "input", Fixed(8 if "shift" in name else 32, 0))
        self.handlers = {
            kinds.DENSE: self.forward_sum,
            kinds.CONV: self.forward_sum,
            kinds.ACTIVATE: self.activate,
            kinds.DROPOUT: self.dropout,
            kinds.SCALE: self.scale,
            kinds.POOL: self.copy_format,
            kinds.AVERAGE_POOL: self.average_pool,
            kinds.NORM: self.norm,
            kinds.NORM_INFERENCE: self.norm,
            kinds.PERTURB: self.perturb,
            kinds.ERROR: self.error,
            kinds.RESIDUAL: self.residual,
            kinds.SIGN: self.sign,
            kinds.SLOPE: self.slope,
            kinds.PROJECT: self.transport,
            kinds.PROJECT_UP: self.transport_up,
            kinds.PROJECT_CONV: self.transport,
            kinds.PROJECT_ELL: self.transport_sparse,
            kinds.PROJECT_CSR: self.transport_sparse,
            kinds.SELECT: self.select,
            kinds.SELECT_ELL: self.select,
            kinds.SELECT_CSR: self.select,
            kinds.MEAN: self.mean,
            kinds.UNPOOL: self.unpool,
            kinds.AVERAGE_UNPOOL: self.average_unpool,
            kinds.MASK: self.mask,
            kinds.DELTA: self.delta,
            kinds.NORM_BACK: self.norm_back,
            kinds.GRAD: self.gradient,
            kinds.GRAD_CONV: self.gradient,
            kinds.GRAD_BIAS: self.bias_gradient,
            kinds.GRAD_GAIN: self.gradient,
            kinds.CLIP: self.clip,
            kinds.UPDATE: self.update,
        }

    def _check_names(self) -> None:
        """Refuse [tensors] of a layer that there is not; another rule may have what this one lacks."""
        last = max(op.layer for op in self.schedule.ops)
        for name in self.datapath.tensors:
            kind, layer = split_name(name)
            # the signal at the inputs is that of the fast gradient sign method
            first = 0 if kind == "signal" else 1
            if layer.isdecimal() and not first <= int(layer) <= last:
                raise self.refuse(
                    f"[tensors] {name!r} is no tensor of {self.schedule.network}: write a layer of 1 to {last}"
                )

    def check_asked(self) -> None:
        """Refuse [tensors] of a tensor that is there but cannot have a format of its own here."""
        for name in self.datapath.tensors:
            if name not in self.asked and (name in self.schedule.tensors or name in self.tensors):
                raise self.refuse(
                    f"[tensors] {name!r} has no format of its own on {self.schedule.network}: it follows from the "
                    "tensor that it is made of; give that one the format, or leave it out"
                )

    def lower_op(self, op: Op) -> None:
        """Write what an op becomes.

        Raises
        ------
        FormatError
            If it has no form in fixed point, or not with this datapath.
        """
        handler = self.handlers.get(op.kind)
        if handler is None:
            raise self.refuse(
                f"{IN_WORDS.get(op.kind, op.kind)} of rule {self.schedule.rule} on {self.schedule.network} has no "
                "fixed-point form; use the datapath float32 alone"
            )
        handler(op)
