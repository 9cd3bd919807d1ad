"""The loop over training steps: it goes through a table of bound kernels and calls each by its address.

One compiled function for any rule, depth, width, batch size and number family, since what differs lies in the table
(`fasim.backends.table`). A call of a bound kernel from Python costs about a microsecond, one from here about 20 ns.
"""

from __future__ import annotations

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from fasim.kernels.compile import kernel


@intrinsic
def _call(_context, function, block):
    """Call the function at an address with the address of its arguments; both int64, the result an int32."""
    word = ir.IntType(64)

    def codegen(_context, builder, _signature, arguments):
        address, block = arguments
        kind = ir.FunctionType(ir.IntType(32), [word.as_pointer()])
        return builder.call(builder.inttoptr(address, kind.as_pointer()), [builder.inttoptr(block, word.as_pointer())])

    return types.int32(function, block), codegen


@kernel
def walk(table, starts, order, offset, size, first_step, batch, step, position, calls):
    """Go on with a run: make some of the calls that its steps consist of.

    Step s puts ``order[s size + offset + n]`` into ``batch[n]`` and ``first_step + s`` into ``step[0]``, then calls every
    row of part ``s mod P`` of the table in turn.

    Parameters
    ----------
    table : int64[rows, 2]
        Address of a function that takes the address of a block of arguments, and that address. Not checked: what they
        point to must live, and be what the functions expect.
    starts : int64[P + 1]       first row of each part, and the number of rows
    order : int64[steps size]   samples in the order of the run
    offset, size : int64        first sample of this thread in a batch, samples of a whole batch
    first_step : int64          number of the run's first step in the training
    batch : int64[N]            written: the samples that this thread loads
    step : int64[1]             written
    position : int64[2]         step and row to go on at; moved on
    calls : int64               how many calls to make; it ends earlier with the last step or a call that fails

    Returns
    -------
    int64
        0, or the status of the call that failed; `position` is then its place.

    Cost: about 20 ns a call besides what is called.
    """
    steps, parts = order.shape[0] // size, starts.shape[0] - 1
    number, row = position[0], position[1]
    for _ in range(calls):
        if number >= steps:
            break
        part = number % parts
        if row == starts[part]:
            step[0] = first_step + number
            for n in range(batch.shape[0]):
                batch[n] = order[number * size + offset + n]
        if row < starts[part + 1]:
            status = _call(table[row, 0], table[row, 1])
            if status != 0:
                position[0], position[1] = number, row
                return status
            row += 1
        if row >= starts[part + 1]:
            number += 1
            row = starts[number % parts]
    position[0], position[1] = number, row
    return 0
