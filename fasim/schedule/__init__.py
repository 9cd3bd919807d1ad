"""One training step as a list of operations on named tensors; everything else only reads it."""

from __future__ import annotations

from fasim.schedule.builder import Builder
from fasim.schedule.fuse import FUSIONS, fuse
from fasim.schedule.lifetimes import lifetimes, live_bytes, peak_bytes, peak_elements
from fasim.schedule.locking import Locking, locking
from fasim.schedule.lowering import lower
from fasim.schedule.order import ORDERS, dependencies, order
from fasim.schedule.settings import StepSettings
from fasim.schedule.validate import validate
from fasim.schedule.values import CLASSES, PHASES, Draw, Op, Schedule, Tensor, Value

__all__ = [
    "CLASSES",
    "FUSIONS",
    "ORDERS",
    "PHASES",
    "Builder",
    "Draw",
    "Locking",
    "Op",
    "Schedule",
    "StepSettings",
    "Tensor",
    "Value",
    "dependencies",
    "fuse",
    "lifetimes",
    "live_bytes",
    "locking",
    "lower",
    "order",
    "peak_bytes",
    "peak_elements",
    "validate",
]
