"""Products of float32 matrices by cuBLAS, which CuPy binds: an option, ``FASIM_CUDA_PRODUCTS=cublas``.

A `Product` is launched as a kernel is, into the same stream and on the same arrays, whose addresses it reads from their
``__cuda_array_interface__``: nothing is copied. All replicas are one call of ``cublasSgemmStridedBatched``; an operand that
they share has the stride 0. cuBLAS adds in an order of its own, which may change with sizes and with the number of
replicas, so that only a tolerance is promised. The mode PEDANTIC forbids TF32 and other shortcuts.

cuBLAS knows matrices by columns. Rows of ours read as columns are the matrix turned, so ``out = left @ right`` is asked for
as ``out.T = right.T @ left.T``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np

from fasim.errors import ConfigError
from fasim_cuda import graphs
from fasim_cuda.target import is_simulated

ASKED = "FASIM_CUDA_PRODUCTS=cublas"
INSTALL = "pip install 'fasim[cuda-cublas]'"
ZERO = np.zeros(1, np.float32)
# CUBLAS_PEDANTIC_MATH of cublas_api.h, a name that CuPy does not bind
PEDANTIC = 2


class Product:
    """``out = scale * left @ right`` for every replica, launched as ``product[grid](left, right, scale, out)``.

    Parameters
    ----------
    name : str
    left_turned, right_turned : bool
        Whether the operand lies as [terms, rows] and [columns, terms] instead of [rows, terms] and [terms, columns].
    """

    def __init__(self, name: str, *, left_turned: bool, right_turned: bool) -> None:
        self.__name__, self._left_turned, self._right_turned = name, left_turned, right_turned

    def of(self, arrays: Sequence[bool]) -> Product:
        """Return itself, where the scale is one number for all replicas.

        Raises
        ------
        ConfigError
            If each replica has a scale of its own.
        """
        if arrays[2]:
            raise ConfigError(
                f"{ASKED}: replicas whose scales differ are no one product; leave it out, or train them apart"
            )
        return self

    def __getitem__(self, grid: tuple[Any, ...]) -> Callable[..., None]:
        """Return what launches the product; cuBLAS chooses its own grid."""
        return self._launch

    def _launch(self, left: Any, right: Any, scale: np.float32, out: Any) -> None:  # noqa: ANN401
        replicas, rows, columns = out.shape
        terms = left.shape[1 if self._left_turned else 2]
        library, null_stream = loaded()
        turned = library.CUBLAS_OP_N, library.CUBLAS_OP_T
        factor = np.array([scale], np.float32)
        with null_stream:
            library.sgemmStridedBatched(
                handle(),
                turned[self._right_turned],
                turned[self._left_turned],
                columns,
                rows,
                terms,
                factor.ctypes.data,
                *_operand(right),
                *_operand(left),
                ZERO.ctypes.data,
                *_operand(out),
                replicas,
            )


# one of each: launches of several schedules are one where their kernels are the same
PRODUCTS = SimpleNamespace(
    forward=Product("forward", left_turned=False, right_turned=True),
    project=Product("project", left_turned=False, right_turned=False),
    gradient=Product("gradient", left_turned=True, right_turned=False),
)


def _operand(array: Any) -> tuple[int, int, int]:  # noqa: ANN401
    """Return address, leading dimension and stride from one replica to the next; 0 where all share it."""
    replicas, rows, columns = array.shape
    return address(array), columns, rows * columns if replicas > 1 else 0


def address(array: Any) -> int:  # noqa: ANN401
    """Return where an array of the device begins."""
    found: int = array.__cuda_array_interface__["data"][0]
    return found


@cache
def loaded() -> tuple[Any, Any]:
    """Return CuPy's binding of cuBLAS, and the stream that all launches of a run go to.

    Raises
    ------
    ConfigError
        If CuPy or cuBLAS is not there.
    """
    try:
        return import_module("cupy.cuda").cublas, import_module("cupy.cuda").Stream.null
    except ImportError:
        raise ConfigError(f"{ASKED}: CuPy with cuBLAS is not installed; {INSTALL}") from None


@cache
def handle() -> int:
    """Return a handle of cuBLAS of our own, whose settings nobody else changes."""
    library, _ = loaded()
    made: int = library.create()
    library.setMathMode(made, PEDANTIC)
    library.setPointerMode(made, library.CUBLAS_POINTER_MODE_HOST)
    return made


def cublas_products() -> SimpleNamespace:
    """Return the products of dense layers.

    Returns
    -------
    namespace
        ``forward`` (left [N, I], right [J, I]; also ``project_up``), ``project`` ([N, K], [K, J]) and ``gradient``
        ([N, J], [N, I]).

    Raises
    ------
    ConfigError
        In the simulator, beside recorded steps, or where CuPy is not there.
    """
    if is_simulated:
        raise ConfigError(f"{ASKED}: the simulator has no cuBLAS; leave it out")
    if graphs.wanted():
        raise ConfigError(f"{ASKED}: its products are not recorded; leave out {graphs.VARIABLE}=1 or it")
    loaded()
    return PRODUCTS
