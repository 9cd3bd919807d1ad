"""Calls of kernels as a table of addresses, for the compiled loop over steps (`fasim.kernels.walk`).

A row is a trampoline and the block that it reads: the kernel's address, then the arguments word by word, as Numba lays
them out. Arrays are passed by where they lie. The table therefore keeps its calls, and with them every array, for as long
as it lives itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import from_dtype, typeof, types
from numba.core.registry import cpu_target

from fasim.backends.trampolines import BY_REFERENCE, Kinds, addresses
from fasim.kernels.walk import walk

WORD_MASK = (1 << 64) - 1


class ByReference(NamedTuple):
    """A number, as an argument, that is looked up when its kernel is called: the first of an int64 array."""

    array: np.ndarray


Kernel = Any
Argument = Any
Call = tuple[Callable[..., Any], tuple[Argument, ...]]


def make(call: Call) -> None:
    """Make one call through Python, which turns a failure into an exception."""
    kernel, arguments = call
    kernel(*(given.array[0] if isinstance(given, ByReference) else given for given in arguments))


class Table:
    """Bound calls of kernels, ready to be made without Python.

    Parameters
    ----------
    parts : sequence of sequences of (kernel, arguments)
        The calls of a step, in their order; of several parts, steps take one after the other in turn. Arguments are arrays,
        numbers, None, or a number `ByReference`. Each kernel is compiled here for the types of its arguments, or taken from
        the cache.

    Raises
    ------
    TypeError
        If something is no kernel, returns something, or takes another kind of argument: a mistake in a binding.

    Cost: about 20 us a call, and 2.5 ms for each sequence of kinds of arguments that no table has had before.
    """

    def __init__(self, *parts: Sequence[Call]) -> None:
        self.calls = [call for part in parts for call in part]
        self.starts = np.cumsum([0, *map(len, parts)])
        blocks: list[int] = []
        starts, kinds = [], []
        for kernel, arguments in self.calls:
            starts.append(len(blocks))
            kinds.append(_pack(kernel, arguments, blocks))
        self.blocks = np.array(blocks, np.uint64)
        self.rows = np.empty((len(self.calls), 2), np.int64)
        self.rows[:, 0] = addresses(kinds)
        self.rows[:, 1] = self.blocks.ctypes.data + self.blocks.itemsize * np.array(starts, np.int64)

    def walk(self, *arguments: Argument) -> int:
        """Make calls: `fasim.kernels.walk.walk` on this table, whose other arguments are given."""
        status: int = walk(self.rows, self.starts, *arguments)
        return status


def _pack(kernel: Kernel, arguments: tuple[Argument, ...], blocks: list[int]) -> Kinds:
    """Append the block of a call; return the kinds of its words."""
    if not hasattr(kernel, "overloads"):
        raise TypeError(f"{kernel!r} in a table of calls: a compiled kernel is needed; write one")
    signature = tuple([_type(kernel, given) for given in arguments])
    ready = _ready(kernel, signature)
    blocks.append(ready.address)
    kinds: list[str] = []
    for given, kind, layout in zip(arguments, signature, ready.layouts, strict=True):
        if isinstance(given, ByReference):
            blocks.append(given.array.ctypes.data)
            kinds.append(BY_REFERENCE)
            continue
        words = _words(given)
        if len(words) != len(layout):
            raise TypeError(f"{kernel.__name__}: this Numba passes {kind} as {len(layout)} words, not {len(words)}")
        blocks += words
        kinds += layout
    return tuple(kinds)


class _Ready(NamedTuple):
    """A kernel compiled for the types of its arguments."""

    address: int
    layouts: tuple[Kinds, ...]
    signature: tuple[types.Type, ...]
    """Kept, so that nothing else gets the identity of one of these types."""


_known: dict[tuple[Any, ...], _Ready] = {}
_NUMBERS = {float: types.float64, bool: types.boolean, np.float32: types.float32, np.float64: types.float64}


def _ready(kernel: Kernel, signature: tuple[types.Type, ...]) -> _Ready:
    """Return a compiled kernel, looked up by identity: the hash of a Numba type takes as long as all else of a call."""
    key = (kernel, *map(id, signature))
    found = _known.get(key)
    if found is None:
        found = _known[key] = _Ready(_native(kernel, signature), tuple(map(_layout, signature)), signature)
    return found


def _type(kernel: Kernel, given: Argument) -> types.Type:
    """Return Numba's type of an argument."""
    exact = type(given)
    if exact in _NUMBERS:
        return _NUMBERS[exact]
    if exact is int and -(2**63) <= given < 2**63:
        return types.int64
    if isinstance(given, ByReference):
        if given.array.dtype != np.int64 or given.array.size != 1:
            raise TypeError(f"{kernel.__name__} by reference to {given.array.dtype}: an int64 array of one is needed")
        return types.int64
    if isinstance(given, np.ndarray):
        flags = given.flags
        return _array_type(given.dtype, given.ndim, flags.c_contiguous, flags.f_contiguous, flags.writeable, flags.aligned)
    if given is None or isinstance(given, (bool, int, float, np.bool_, np.integer, np.floating)):
        return typeof(given)
    raise TypeError(f"{kernel.__name__} with {type(given).__name__} in a table: arrays, numbers or None are needed")


@cache
def _array_type(dtype: np.dtype, ndim: int, c_order: bool, f_order: bool, writeable: bool, aligned: bool) -> types.Type:
    """Return the type of an array, as Numba's own `typeof` would, which takes ten times as long."""
    order: Any = "C" if c_order else "F" if f_order else "A"
    return types.Array(from_dtype(dtype), ndim, order, readonly=not writeable, aligned=aligned)


@cache
def _native(kernel: Kernel, signature: tuple[types.Type, ...]) -> int:
    """Return the address of a kernel's native function for these types."""
    kernel.compile(signature)
    compiled = kernel.overloads[signature]
    if compiled.signature.return_type != types.none:
        raise TypeError(f"{kernel.__name__} in a table of calls: a kernel that returns nothing is needed")
    address: int = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    if not address:
        raise TypeError(f"{kernel.__name__}: this Numba keeps no native function {compiled.fndesc.llvm_func_name}")
    return address


@cache
def _layout(kind: types.Type) -> Kinds:
    """Return the LLVM types that Numba passes an argument as."""
    return tuple(
        "i8*" if str(word).endswith("*") else str(word)
        for word in cpu_target.target_context.get_arg_packer([kind]).argument_types
    )


def _words(given: Argument) -> list[int]:
    """Return an argument as words; an array's owner, which no kernel needs, is left out."""
    if isinstance(given, np.ndarray):
        address = given.__array_interface__["data"][0]
        return [0, 0, given.size, given.itemsize, address, *given.shape, *(step & WORD_MASK for step in given.strides)]
    if given is None:
        return [0]
    if isinstance(given, np.float32):
        return [int(given.view(np.uint32))]
    if isinstance(given, float):
        return [int(np.float64(given).view(np.uint64))]
    return [int(given) & WORD_MASK]
