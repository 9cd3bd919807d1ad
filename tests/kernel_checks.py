"""How the tests of single kernels call them: between guards, alone or inside a compiled function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from fasim import kernels
from fasim.kernels import micro
from fasim.kernels.micro import turned, turned_wide
from fasim.kernels.micro.kinds import VNNI

GUARD = 32


def guarded(array: np.ndarray, fill: Any) -> tuple[np.ndarray, np.ndarray]:  # noqa: ANN401
    """Return a copy with memory of its own on both sides, and that memory with the copy in the middle."""
    memory = np.full(array.size + 2 * GUARD, fill, array.dtype)
    copy = memory[GUARD:-GUARD].reshape(array.shape)
    copy[...] = array
    return copy, memory


def check(call: Callable[..., None], arguments: tuple[Any, ...], expected: dict[int, Any]) -> None:
    """Call between guards: reading past an input brings an infinity in, writing past an output wipes a guard out."""
    given, memories = [], {}
    for position, argument in enumerate(arguments):
        if isinstance(argument, np.ndarray):
            fill = np.inf if argument.dtype.kind == "f" and position not in expected else 77
            argument, memories[position] = guarded(argument, fill)
        given.append(argument)
    call(*given)
    for position, memory in memories.items():
        guard = np.r_[memory[:GUARD], memory[-GUARD:]]
        assert (guard == guard[0]).all(), f"memory beside argument {position} was written"
        if position not in expected:
            np.testing.assert_array_equal(given[position], arguments[position], err_msg=f"argument {position} was written")
        elif given[position].dtype.kind == "f":
            np.testing.assert_allclose(given[position], expected[position], rtol=2e-5, atol=4e-6)
        else:
            np.testing.assert_array_equal(given[position], expected[position])


def new(dtype: Any, *shape: int) -> np.ndarray:  # noqa: ANN401
    """Return an array that a kernel must fill: its old entries must not shine through."""
    return np.full(shape, 77, dtype)


def inside(kernel: Callable[..., None]) -> Callable[..., None]:
    """Return a compiled function that calls the kernel, as users of the package may write one."""

    @njit
    def function(*arguments):
        kernel(*arguments)

    return function


def names_of(*modules: str) -> list[str]:
    """Return the public kernels of these modules of the package, sorted."""
    return sorted(name for name in kernels.__all__ if getattr(kernels, name).__module__.rpartition(".")[2] in modules)


def by_turning(name: str) -> Callable[..., None]:
    """Return a product of a batch in broadcast tiles, whatever the shape: public kernels take them for large shapes alone.

    Parameters
    ----------
    name : str
        A kernel ``gemm_nt_...`` of integers; it itself is returned where the CPU has no such tiles of its types.
    """
    if micro.TARGET == "portable" or not (VNNI or "int16" in name):
        return getattr(micro, name)  # type: ignore[no-any-return]
    kernel = turned_wide.turned_wide if name.endswith("wide") else getattr(turned, name.replace("gemm_nt", "turned"))

    def product(a: np.ndarray, b: np.ndarray, *rest: Any) -> None:  # noqa: ANN401
        places = [place for matrix in (a, b, rest[-1]) for place in (matrix.ctypes.data, matrix.strides[0])]
        kernel(*places, len(a), len(b), a.shape[1])

    return product
