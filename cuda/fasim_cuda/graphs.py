"""Many launches as one: a step recorded as a CUDA graph, and launched again and again.

A step of a small network is some 20 to 60 launches of a few microseconds each, and each costs the host more than that. The
numbers that change from step to step are counted on the device (`fasim_cuda.clock`), so every step but the first is the
same list of launches with the same arguments: what is recorded once may be launched as often as there are steps.

numba-cuda takes a ``GraphBuilder`` of cuda.core where it takes a stream (its pull request 836), and so records launches
instead of making them. ``FASIM_CUDA_GRAPHS=1`` asks for it; without it, and in the simulator, launches are made one by one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from fasim.errors import ConfigError
from fasim_cuda.target import is_simulated

FEWEST = 8
"""Steps from which a graph is made: for fewer, recording one takes the host longer than it saves."""
VARIABLE = "FASIM_CUDA_GRAPHS"


def wanted() -> bool:
    """Return whether steps are to be recorded.

    Raises
    ------
    ConfigError
        If the variable is neither 0 nor 1.
    """
    given = os.environ.get(VARIABLE, "")
    if given not in ("", "0", "1"):
        raise ConfigError(f"{VARIABLE}={given}: 0 or 1 is needed")
    return given == "1" and not is_simulated


def builder() -> Any:  # noqa: ANN401
    """Return what records launches, on the device whose context is current."""
    from cuda.core import Device

    device = Device()
    device.set_current()
    return device.create_graph_builder()


def default_stream() -> Any:  # noqa: ANN401
    """Return the stream that all other launches and copies of a run go to, one behind the other."""
    from cuda.core import Stream

    return Stream.from_handle(0)


def repeat(launches: Sequence[tuple[Any, tuple[Any, Any], Sequence[Any]]], times: int) -> Any:  # noqa: ANN401
    """Launch one kernel after the other, all of them so many times; none is waited for.

    Parameters
    ----------
    launches : sequence of (kernel, (blocks, threads), arguments)
    times : int

    Returns
    -------
    graph or None
        To be kept, as the arguments are, until the launches are done.
    """
    recorded = times >= FEWEST and wanted()
    # the first time in any case: no kernel may be compiled or loaded while launches are recorded
    for _ in range(1 if recorded else times):
        for kernel, grid, arguments in launches:
            kernel[grid](*arguments)
    if not recorded:
        return None
    records = builder()
    records.begin_building()
    for kernel, (blocks, threads), arguments in launches:
        kernel[blocks, threads, records](*arguments)
    graph, stream = records.end_building().complete(), default_stream()
    for _ in range(times - 1):
        graph.launch(stream)
    return graph
