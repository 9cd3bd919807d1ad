"""Fixed point: number formats, datapaths, the way in and the way out.

Single numbers are rounded by `fasim.scalar.rounding`, arrays by `fasim.kernels.requantize`.
"""

from __future__ import annotations

from fasim.fixedpoint.cast import Cast
from fasim.fixedpoint.datapath import Datapath, load_datapath, names
from fasim.fixedpoint.format import Fixed
from fasim.fixedpoint.quantize import dequantize, quantize

__all__ = ["Cast", "Datapath", "Fixed", "dequantize", "load_datapath", "names", "quantize"]
