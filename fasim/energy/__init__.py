"""What a training step costs: exact counts of a schedule, priced with the constants of a processor."""

from __future__ import annotations

from fasim.energy.counts import Counts, count
from fasim.energy.estimate import Estimate, Interval, estimate
from fasim.energy.operations import OPERATIONS, Operations
from fasim.energy.processor import Constant, Processor, load_processor, names
from fasim.energy.traffic import Transfer

__all__ = [
    "OPERATIONS",
    "Constant",
    "Counts",
    "Estimate",
    "Interval",
    "Operations",
    "Processor",
    "Transfer",
    "count",
    "estimate",
    "load_processor",
    "names",
]
