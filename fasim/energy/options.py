"""What a cost assumes of the hardware, each choice with a name and a default that every report shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fasim.errors import ConfigError, unknown_name
from fasim.schedule.defer import PREVIOUS

CHOICES = {
    "padding": ("count", "skip"),
    "transpose": ("free", "inefficient", "duplicate", "row_accumulate"),
    "gradients": ("in_place", "deferred"),
    "skip": ("none", "weights", "acts", "both"),
}
# 1 TiB: no memory on a chip, and small enough for any arithmetic
MAX_SRAM_BYTES = 2**40


@dataclass(frozen=True)
class CostOptions:
    """Choices of the hardware that change a step's cost and none of its results.

    Parameters
    ----------
    padding : str
        ``count``: products with the zeros around a map are made, as arrays do and as PyTorch, SCALE-Sim and ZigZag count;
        ``skip``: they are not.
    transpose : str
        Backpropagation reads the weights by columns that the forward pass reads by rows. ``free``: the memory can do both;
        ``inefficient``: each word that is read by columns brings one useful weight; ``duplicate``: a transposed copy is
        stored, and written at each update; ``row_accumulate``: weights are read by rows, and the sums of all columns are
        read and written for each row.
    gradients : str
        ``in_place``: a gradient is free once its update has read it; ``deferred``: all are kept until the step ends.
    skip : str
        Products with a zero that are not made: ``none``, those of zero ``weights``, of zero ``acts`` (signals, errors and
        deltas too), or ``both``. The share of zeros is measured, see `densities`; without a figure a tensor counts as
        dense. Where the gradient is one rank-1 pass, ``acts`` also skips the rows of weights whose delta is 0.
    densities : mapping of float
        Share of numbers other than 0 by tensor name, 0 to 1.
    dram : str
        Technology of the external memory; empty: the first that the processor names.
    sram_bytes : int
        Size of the memory named ``sram``, its energies by the root of the size; 0: that of the processor.

    Raises
    ------
    ConfigError
        If a choice is unknown, or a density is no share.
    """

    padding: str = "count"
    transpose: str = "free"
    gradients: str = "in_place"
    skip: str = "none"
    densities: Mapping[str, float] = field(default_factory=dict)
    dram: str = ""
    sram_bytes: int = 0

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ConfigError(unknown_name(name, getattr(self, name), known))
        for name, density in self.densities.items():
            if not 0 <= density <= 1:
                raise ConfigError(f"density of {name} is {density}: the share of numbers other than 0 lies between 0 and 1")
        if not 0 <= self.sram_bytes <= MAX_SRAM_BYTES:
            raise ConfigError(
                f"sram of {self.sram_bytes} bytes: write 1 to {MAX_SRAM_BYTES}, or 0, which keeps that of the processor"
            )
        if self.densities and self.skip == "none":
            raise ConfigError("densities are given, and skip none makes no use of them; say --skip acts, weights or both")

    @property
    def skips_acts(self) -> bool:
        """Whether products with a signal of 0 are not made."""
        return self.skip in ("acts", "both")

    @property
    def skips_weights(self) -> bool:
        """Whether products with a weight of 0 are not made."""
        return self.skip in ("weights", "both")

    def density(self, tensor: str) -> float:
        """Return the share of a tensor's numbers that are not 0; what a step before has kept is as dense as it was then."""
        return self.densities.get(tensor.removesuffix(PREVIOUS), 1.0)


DEFAULTS = CostOptions()
