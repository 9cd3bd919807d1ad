"""The slope of a function of arrays by central differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .float_optimizers import Array


def difference(f: Callable[[], float], array: Array) -> Array:
    """Return df/darray with steps of 1e-6, changing the array in place and back."""
    result = np.zeros_like(array)
    for at in np.ndindex(array.shape):
        value, h = array[at], 1e-6
        array[at] = value + h
        above = f()
        array[at] = value - h
        result[at] = (above - f()) / (2.0 * h)
        array[at] = value
    return result
