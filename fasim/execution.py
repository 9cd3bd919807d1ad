"""How the steps of a training are executed, whatever costs are counted on."""

from __future__ import annotations

from fasim.fixedpoint import Datapath
from fasim.network import Network
from fasim.schedule import Schedule

# multiply-accumulates of a forward pass below which a second thread costs more at the barriers than it brings
SMALL_STEP = 4_000_000
BYTE = 8


def executed(batch_size: int, datapath: Datapath | None) -> str:
    """Return how the steps of a run are fused, one of `fasim.schedule.FUSIONS`.

    It changes no bit of the results: costs are counted on the schedule of the settings. Steps of one sample are as fast as
    weights move, so they update a weight as the next step reads it: 33 against 54 us for 784-500-10 in float32, and 23
    against 33 by weights of 8 bits, which need not even be stored where they have a master.
    """
    light = datapath is None or (datapath.master is not None and datapath.weight.format.bits <= BYTE)
    return "deferred" if light and batch_size == 1 else "within_layer"


def steps_to_warm(schedule: Schedule) -> int:
    """Return after how many steps all has run that a run consists of: deferred updates come first in the second."""
    return 2 if schedule.fuse == "deferred" else 1


def is_worth_threads(network: Network, batch_size: int) -> bool:
    """Return whether a step is so large that threads gain more than they lose by waiting for each other."""
    return batch_size * sum(segment.map_size * segment.fan_in for segment in network.segments) > SMALL_STEP
