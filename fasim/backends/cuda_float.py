"""Binding of float32 schedules for the CUDA backend: one op becomes launches of kernels."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType

import numpy as np

from fasim import optimizers
from fasim.backends import cuda_maps, cuda_norm
from fasim.backends.cuda_bind import DeviceArray, Inputs, Kernel, Launch, Operands, flat
from fasim.backends.cuda_products import CUBLAS, by_cublas
from fasim.schedule import Op
from fasim.schedule import ops as kinds

# sums of squares are added up in so many parts of so many; a constant, so that no grid changes a bit
NORM_PARTS = 64
Bind = Callable[[Op, Operands], list[Launch]]


class FloatBinding:
    """Launches of the float32 kernels."""

    def missing(self, op: Op) -> str:
        """Return what of an op there is no kernel for; nothing if all is there."""
        return "" if op.kind in _KINDS else op.kind

    def load(self, kernels: ModuleType, data: Inputs, act: DeviceArray) -> list[Launch]:
        """Return the launches that gather a batch."""
        place = data.codes, data.order, data.place
        if data.gain is None:
            return [Launch(kernels.load_rows, (*place, data.scale, act), act.size)]
        return [Launch(kernels.load_standard_rows, (*place, data.gain, data.offset, act), act.size)]

    def op(self, op: Op, operands: Operands) -> list[Launch]:
        """Return the launches of an op."""
        return _KINDS[op.kind](op, operands)


def _dense(op: Op, o: Operands) -> list[Launch]:  # noqa: ARG001
    if (made := by_cublas(o.kernels)) is None:
        return o.product(o.kernels.float_products(o.tile).dense_forward)
    act, weight, bias = o.read
    add = Launch(o.kernels.add_bias, (bias, o.out), o.out.size)
    return [_by_cublas(o, made.forward, act, weight, np.float32(1), o.out), add]


def _project(op: Op, o: Operands) -> list[Launch]:  # noqa: ARG001
    if made := by_cublas(o.kernels):
        return [_by_cublas(o, made.project, o.read[0], o.read[1], o.scale, o.out)]
    return o.product(o.kernels.float_products(o.tile).project_error, o.scale)


def _gradient(op: Op, o: Operands) -> list[Launch]:  # noqa: ARG001
    if made := by_cublas(o.kernels):
        return [_by_cublas(o, made.gradient, o.read[0], o.read[1], np.float32(1), o.out)]
    return o.product(o.kernels.float_products(o.tile).weight_gradient)


def _by_cublas(
    o: Operands, product: Kernel, left: DeviceArray, right: DeviceArray, scale: np.float32, out: DeviceArray
) -> Launch:
    """Return the launch of a product of cuBLAS, which divides its work itself."""
    o.ways.add(CUBLAS)
    return Launch(product, (left, right, scale, out), (out.shape[0], out.shape[1]))


def _by_element(name: str, *attributes: str) -> Bind:
    def bind(op: Op, o: Operands) -> list[Launch]:
        return o.by_element(getattr(o.kernels, name), *(np.float32(op.attrs[attribute]) for attribute in attributes))

    return bind


def _by_row(name: str, *attributes: str) -> Bind:
    def bind(op: Op, o: Operands) -> list[Launch]:
        return o.by_row(getattr(o.kernels, name), *(np.float32(op.attrs[attribute]) for attribute in attributes))

    return bind


def _activate(op: Op, o: Operands) -> list[Launch]:
    if op.attrs["function"] == "softmax":
        return [Launch(o.kernels.softmax, (*o.read, o.out), o.out.shape[0])]
    return o.by_element(getattr(o.kernels, op.attrs["function"]))


def _slope(op: Op, o: Operands) -> list[Launch]:
    return o.by_element(getattr(o.kernels, op.attrs["function"] + "_slope"))


def _scaled(op: Op, o: Operands) -> list[Launch]:  # noqa: ARG001
    return o.by_element(o.kernels.hidden_delta if len(o.read) == 2 else o.kernels.linear_delta, o.scale)


def _mean(op: Op, o: Operands) -> list[Launch]:  # noqa: ARG001
    return o.by_element(o.kernels.mean_of_two if len(o.read) == 2 else o.kernels.mean_of_three)


def _update(op: Op, o: Operands) -> list[Launch]:
    parameters = [flat(array) for array in o.read]
    rate, size = o.arrays[op.scalars[0].tensor], parameters[0].size
    decay = np.float32(op.attrs.get("decay", 0.0)), optimizers.DECAY_KINDS.index(op.attrs.get("decay_kind", "coupled"))
    name, constants = op.attrs["optimizer"], optimizers.get(op.attrs["optimizer"]).constants
    if name == "adam":
        rates, (beta1, beta2) = o.zeros(2, np.float32), (constants["beta1"], constants["beta2"])
        means = *_pair(beta1), *_pair(beta2), np.float32(constants["eps"])
        return [
            Launch(o.kernels.adam_rates, (rate, o.step, beta1, beta2, rates), 1),
            Launch(o.kernels.adam, (*parameters, rate, rates, *means, *decay), size),
        ]
    numbers: tuple[np.float32, ...] = tuple(np.float32(number) for number in constants.values())
    if name == "rmsprop":
        numbers = *_pair(constants["alpha"]), np.float32(constants["eps"])
    return [Launch(getattr(o.kernels, name), (*parameters, rate, *numbers, *decay), size)]


def _pair(share: float) -> tuple[np.float32, np.float32]:
    """Return the weights of the old and of the new in a running mean, each rounded once."""
    return np.float32(share), np.float32(1.0 - share)


def _dropout(op: Op, o: Operands) -> list[Launch]:
    size = o.out.size
    mask = flat(o.arrays[op.writes[1].tensor]) if len(op.writes) == 2 else o.zeros(size, np.float32)
    arguments = flat(o.read[0]), math.floor(op.attrs["drop"] * 2**32), o.scale, *o.place, mask, flat(o.out)
    return [Launch(o.kernels.dropout, arguments, size)]


def _project_up(op: Op, o: Operands) -> list[Launch]:  # noqa: ARG001
    signal, matrix = o.read
    arguments = signal, matrix.reshape(matrix.shape[0], signal.shape[1]), o.scale, o.out
    if made := by_cublas(o.kernels):
        return [_by_cublas(o, made.forward, *arguments)]
    return [Launch(o.kernels.float_products(o.tile).project_up, arguments, (o.out.shape[0], o.out.shape[1]))]


def _grad_bias(op: Op, o: Operands) -> list[Launch]:
    maps = len(o.schedule[op.reads[0]].shape) == 4
    return cuda_norm.sum_of_map(op, o) if maps else o.by_row(o.kernels.bias_gradient)


def _squared_norm(op: Op, o: Operands) -> list[Launch]:  # noqa: ARG001
    parts, rows = o.zeros(NORM_PARTS * NORM_PARTS, np.float64), o.zeros(NORM_PARTS, np.float64)
    launches = [
        Launch(o.kernels.squared_norm, (flat(array), int(number > 0), parts), parts.size)
        for number, array in enumerate(o.read)
    ]
    add = o.kernels.row_sums("float64").add_parts
    launches.append(Launch(add, (parts.reshape(NORM_PARTS, NORM_PARTS), rows), NORM_PARTS))
    return [*launches, Launch(add, (rows.reshape(NORM_PARTS, 1), o.out), 1)]


def _rescale(op: Op, o: Operands) -> list[Launch]:
    limit = np.float32(op.attrs["limit"])
    return [Launch(o.kernels.rescale, (flat(o.read[0]), o.read[1], limit, flat(o.out)), o.out.size)]


_KINDS: dict[str, Bind] = {
    kinds.DENSE: _dense,
    kinds.ACTIVATE: _activate,
    kinds.DROPOUT: _dropout,
    kinds.SCALE: _scaled,
    kinds.PERTURB: _by_element("perturb", "eps"),
    kinds.ERROR: _by_row("output_error"),
    kinds.RESIDUAL: _by_element("residual"),
    kinds.SIGN: _by_element("sign"),
    kinds.SLOPE: _slope,
    kinds.PROJECT: _project,
    kinds.PROJECT_UP: _project_up,
    kinds.PROJECT_ELL: _by_row("project_ell", "scale"),
    kinds.PROJECT_CSR: _by_row("project_csr", "scale"),
    kinds.SELECT: _by_row("project_target", "scale"),
    kinds.SELECT_ELL: _by_row("project_target_ell", "scale"),
    kinds.SELECT_CSR: _by_row("project_target_csr", "scale"),
    kinds.MEAN: _mean,
    kinds.MASK: _scaled,
    kinds.DELTA: _scaled,
    kinds.GRAD: _gradient,
    kinds.GRAD_BIAS: _grad_bias,
    kinds.CLIP: _by_element("clip", "limit"),
    kinds.SQUARED_NORM: _squared_norm,
    kinds.RESCALE: _rescale,
    kinds.UPDATE: _update,
    kinds.CONV: cuda_maps.conv,
    kinds.PROJECT_CONV: cuda_maps.project_conv,
    kinds.GRAD_CONV: cuda_maps.grad_conv,
    kinds.POOL: cuda_maps.pool,
    kinds.UNPOOL: cuda_maps.unpool,
    kinds.AVERAGE_POOL: cuda_maps.average_pool,
    kinds.AVERAGE_UNPOOL: cuda_maps.average_unpool,
    kinds.NORM: cuda_norm.norm,
    kinds.NORM_INFERENCE: cuda_norm.norm_inference,
    kinds.NORM_BACK: cuda_norm.norm_back,
    kinds.GRAD_GAIN: cuda_norm.grad_gain,
}
bind_float = FloatBinding()
