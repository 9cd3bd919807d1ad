"""What a training step costs: exact counts of a schedule, priced with the constants of a processor."""

from __future__ import annotations

from fasim.energy.bill import Interval, Memory, Row, time_training
from fasim.energy.constant import Constant
from fasim.energy.counts import Counts, count
from fasim.energy.estimate import Estimate, estimate
from fasim.energy.load import load_processor, names
from fasim.energy.operations import OPERATIONS, Operations
from fasim.energy.options import CHOICES, CostOptions
from fasim.energy.processor import Claim, Level, Processor
from fasim.energy.traffic import Transfer

__all__ = [
    "CHOICES",
    "OPERATIONS",
    "Claim",
    "Constant",
    "CostOptions",
    "Counts",
    "Estimate",
    "Interval",
    "Level",
    "Memory",
    "Operations",
    "Processor",
    "Row",
    "Transfer",
    "count",
    "estimate",
    "load_processor",
    "names",
    "time_training",
]
