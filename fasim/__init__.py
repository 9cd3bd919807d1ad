"""Which learning rule, at which bit width, reaches my accuracy for the least energy and memory.

>>> from fasim import train
>>> run = train("64-32-10", "digits", rule="dfa", datapath="s8", epochs=1)
>>> run.test_accuracy > 0.5
True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fasim.comparison import compare
    from fasim.energy.estimate import estimate
    from fasim.fixedpoint import Datapath, Fixed
    from fasim.network import Network
    from fasim.schedule import StepSettings
    from fasim.training import train

__version__ = "0.1.0"

__all__ = [
    "Datapath",
    "Fixed",
    "Network",
    "StepSettings",
    "__version__",
    "compare",
    "estimate",
    "train",
]

_HOMES = {
    "Datapath": "fasim.fixedpoint",
    "Fixed": "fasim.fixedpoint",
    "Network": "fasim.network",
    "StepSettings": "fasim.schedule",
    "compare": "fasim.comparison",
    "estimate": "fasim.energy",
    "train": "fasim.training",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import a public name on first use: ``fasim --help`` need not wait for Numba."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fasim' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
