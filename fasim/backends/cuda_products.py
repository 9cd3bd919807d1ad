"""Which kernels multiply matrices on the device.

Integers go through a loop of any width, or bytes through instructions for them; float32 through tiles that add in a stated
order, or through cuBLAS.
"""

from __future__ import annotations

import os
from types import ModuleType, SimpleNamespace

from fasim.backends.cuda_bind import DeviceArray, Tile
from fasim.errors import ConfigError

VARIABLE = "FASIM_CUDA_PRODUCTS"
LOOP, DP4A, MMA, CUBLAS = "loop", "dp4a", "mma", "cublas"
OF_INTEGERS = (LOOP, DP4A, MMA)
WAYS = (*OF_INTEGERS, CUBLAS)
BYTES = ("int8", "uint8")
# below this in any direction most of a tensor core's fragments would be zeros
LEAST_FOR_MMA = 32


def asked() -> str:
    """Return the way that the environment asks for, or nothing.

    Raises
    ------
    ConfigError
        If there is no such way.
    """
    way = os.environ.get(VARIABLE, "")
    if way and way not in WAYS:
        raise ConfigError(f"{VARIABLE}={way}: one of {', '.join(WAYS)} is needed, or nothing to let fasim choose")
    return way


def way_of(kernels: ModuleType, left: DeviceArray, right: DeviceArray, out: DeviceArray, tile: Tile) -> str:
    """Return the way to multiply two matrices; none of them changes a bit.

    What is not of bytes, or has sums of more than 32 bits, is multiplied by the loop. Of bytes all have ``dp4a``; tensor
    cores are taken where the device has them, the matrices fill their fragments and so does the tile.

    Parameters
    ----------
    kernels : module
        ``fasim_cuda``.
    left, right : DeviceArray
        [rows, terms] or [terms, rows], and [terms, columns] or [columns, terms].
    out : DeviceArray
        [rows, columns].
    tile : Tile
    """
    wanted = asked()
    of_bytes = str(left.dtype) in BYTES and str(right.dtype) in BYTES and out.dtype.itemsize <= 4
    if wanted == LOOP or not of_bytes:
        return LOOP
    if wanted == DP4A or not kernels.fits_mma(tile):
        return DP4A
    rows, columns = out.shape
    large = min(rows, columns, left.size // max(rows, 1)) >= LEAST_FOR_MMA
    return MMA if wanted == MMA or (kernels.has_tensor_cores() and large) else DP4A


def products(
    kernels: ModuleType, left: DeviceArray, right: DeviceArray, out: DeviceArray, tile: Tile, ways: set[str]
) -> SimpleNamespace:
    """Return the kernels that multiply two matrices, see `way_of`, and add their way to `ways`."""
    way = way_of(kernels, left, right, out, tile)
    ways.add(way)
    made: SimpleNamespace
    if way == LOOP:
        made = kernels.integer_products("int32" if out.dtype.itemsize <= 4 else "int64", tile)
    else:
        made = kernels.byte_products(way, str(left.dtype), str(right.dtype), tile)
    return made


def by_cublas(kernels: ModuleType) -> SimpleNamespace | None:
    """Return cuBLAS's products of float32 matrices where they are asked for, else None.

    Raises
    ------
    ConfigError
        If they are asked for and not there.
    """
    if asked() != CUBLAS:
        return None
    made: SimpleNamespace = kernels.cublas_products()
    return made
