"""Fixed point: number formats, datapaths, the way in and the way out.

Single numbers are rounded by `fasim.scalar.rounding`, arrays by `requantize`.

>>> import numpy as np
>>> from fasim.fixedpoint import Cast, Fixed, matmul, quantize
>>> fmt = Fixed.parse("s8.6")
>>> x, w = quantize([[0.5, -0.25]], fmt), quantize([[1.0], [0.5]], fmt)
>>> matmul(x, w, fmt, fmt)
(array([[1536]], dtype=int32), Fixed(bits=17, frac=12, signed=True, symmetric=False))
>>> matmul(x, w, fmt, fmt, out=Cast.parse("s8.6 RND SAT"))[0]
array([[24]], dtype=int8)
"""

from __future__ import annotations

from fasim.fixedpoint.arrays import Counts, conv2d, exact_window, matmul, requantize, sum_format
from fasim.fixedpoint.cast import Cast, limits
from fasim.fixedpoint.datapath import Datapath
from fasim.fixedpoint.document import load_datapath, names
from fasim.fixedpoint.format import Fixed
from fasim.fixedpoint.quantize import dequantize, quantize

__all__ = [
    "Cast",
    "Counts",
    "Datapath",
    "Fixed",
    "conv2d",
    "dequantize",
    "exact_window",
    "limits",
    "load_datapath",
    "matmul",
    "names",
    "quantize",
    "requantize",
    "sum_format",
]
