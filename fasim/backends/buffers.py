"""How compiled programs keep the numbers of a tensor, on any device."""

from __future__ import annotations

import numpy as np

from fasim.schedule import Tensor
from fasim.schedule.defer import PREVIOUS


def stored_as(tensor: Tensor) -> np.dtype:
    """Return the type of a tensor's numbers: those of sums have 32 bits or 64."""
    if tensor.name.removesuffix(PREVIOUS) == "label":
        return np.dtype(np.int64)
    if tensor.cls == "scalar":
        return np.dtype(np.float64 if tensor.format is None else np.int64)
    if tensor.format is None:
        return np.dtype(np.float32)
    if tensor.cls in ("accumulator", "signal", "gradient"):
        # two types of sums are enough: narrower ones would only add kernels to compile
        return np.dtype(np.int32 if tensor.format.bits <= 32 else np.int64)
    return tensor.format.dtype


def flattened(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape with maps as flat rows, and a number as one element."""
    return (tensor.shape or (1,)) if len(tensor.shape) < 2 else (tensor.shape[0], int(np.prod(tensor.shape[1:])))
