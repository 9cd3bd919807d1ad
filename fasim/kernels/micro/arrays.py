"""How the public products take arrays: their addresses, and what is refused before an address is used."""

from __future__ import annotations

from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core.errors import TypingError
from numba.extending import intrinsic


@intrinsic
def address(_context, array, like):
    """Return where a matrix begins; it must have the type of `like`, for addresses know none."""
    if not isinstance(array, types.Array) or array.ndim != 2 or array.dtype != like:
        raise TypingError(f"product of {array}: needs a matrix of {like}")

    def codegen(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return types.int64(array, like), codegen


@intrinsic
def start(_context, array):
    """Return where an array of any type begins."""
    if not isinstance(array, types.Array):
        raise TypingError(f"address of {array}: needs an array")

    def codegen(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return types.int64(array), codegen


@intrinsic
def keep(_context, array):
    """Do nothing, with an array that must live until here: Numba frees what only an address still leads to."""

    def codegen(context, _builder, _signature, _arguments):
        return context.get_dummy_value()

    return types.void(array), codegen


@njit(inline="always", cache=True)
def lies_in_rows(array):
    """Tell whether the elements of a row lie side by side; an array without elements has any strides."""
    return array.size == 0 or array.shape[1] == 1 or array.strides[1] == array.itemsize
