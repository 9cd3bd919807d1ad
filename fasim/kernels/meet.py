"""The barrier where threads wait for one another, as a kernel: no thread returns to Python for it."""

from __future__ import annotations

from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

from fasim.kernels.compile import kernel

# words of the shared array, each in a cache line of its own
ARRIVED, MEETING, STOPPED, WORDS = 0, 8, 16, 24
# about 50 us; then a thread that waits lets others run, or more threads than cores would stand still for a time slice
SPINS = 2000
_WORD = ir.IntType(64)
_BYTES = 8


def _place(context, builder, kind, words, index):
    """Return a pointer to a word of an array."""
    array = context.make_array(kind)(context, builder, words)
    return builder.gep(array.data, [index])


@intrinsic
def _load(_context, words, index):
    """Return a word that other threads may write; what they wrote before it is then seen too."""

    def codegen(context, builder, signature, arguments):
        return builder.load_atomic(_place(context, builder, signature.args[0], *arguments), "acquire", _BYTES)

    return types.int64(words, index), codegen


@intrinsic
def _store(_context, words, index, value):
    """Write a word that other threads read, after everything that was written before."""

    def codegen(context, builder, signature, arguments):
        place = _place(context, builder, signature.args[0], *arguments[:2])
        builder.store_atomic(arguments[2], place, "release", _BYTES)
        return context.get_dummy_value()

    return types.void(words, index, value), codegen


@intrinsic
def _add_one(_context, words, index):
    """Add 1 to a word that other threads add to as well, and return what it was before."""

    def codegen(context, builder, signature, arguments):
        place = _place(context, builder, signature.args[0], *arguments)
        return builder.atomic_rmw("add", place, ir.Constant(_WORD, 1), "acq_rel")

    return types.int64(words, index), codegen


@intrinsic
def _pause(_context):
    """Tell the core that this is a loop that waits; nothing on other families than x86."""

    def codegen(context, builder, _signature, _arguments):
        if builder.module.triple.startswith(("x86_64", "i386", "i686")):
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), kind), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _give_way(_context, function):
    """Call a function of the system without arguments, at an address."""

    def codegen(context, builder, _signature, arguments):
        kind = ir.FunctionType(ir.IntType(32), []).as_pointer()
        builder.call(builder.inttoptr(arguments[0], kind), [])
        return context.get_dummy_value()

    return types.void(function), codegen


@njit(inline="always", cache=True)
def _wait(spins, give_way):
    if spins < SPINS or give_way == 0:
        _pause()
    else:
        _give_way(give_way)


@kernel
def meet(words, threads, give_way):
    """Wait until so many threads have come here; what each wrote before is then seen by all.

    Parameters
    ----------
    words : int64[24]
        Shared by the threads, zeros at first. ``words[STOPPED]`` may be set to 1 at any time by anybody: whoever waits
        then, or comes later, leaves with the error.
    threads : int64
    give_way : int64
        Address of a function that lets other threads run, such as ``sched_yield``; 0: spin only.

    Raises
    ------
    RuntimeError
        If the meeting was stopped.
    """
    meeting = _load(words, MEETING)
    if _load(words, STOPPED) != 0:
        raise RuntimeError("meet: another thread has stopped")
    if _add_one(words, ARRIVED) == threads - 1:
        _store(words, ARRIVED, 0)
        _store(words, MEETING, meeting + 1)
        return
    spins = 0
    while _load(words, MEETING) == meeting:
        if _load(words, STOPPED) != 0:
            raise RuntimeError("meet: another thread has stopped")
        _wait(spins, give_way)
        spins += 1
