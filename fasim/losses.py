"""Losses: their scale at the output and their value, in PyTorch's conventions.

All have the error ``output - target`` as the core of their gradient at the output's pre-activation; they differ in
the scale and in whether the slope of the output activation remains.

=============  ================  =========================  ===============================
loss           output            sum                        mean divides by
=============  ================  =========================  ===============================
bce            sigmoid           error                      N K (``BCELoss``)
cross_entropy  softmax           error                      N (``CrossEntropyLoss``)
mse            any but softmax   2 error f'(preact)         N K (``MSELoss``)
half_mse       any but softmax   error f'(preact)           N K (half of ``MSELoss``; PocketNN's L2, WAGE's)
=============  ================  =========================  ===============================
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fasim.errors import ConfigError, unknown_name
from fasim.network import ACTIVATIONS

REDUCTIONS = ("sum", "mean")
# what stands before the mean of squares
SQUARED = {"mse": 1.0, "half_mse": 0.5}
ERROR_SCALES = ("loss_gradient", "raw")


@dataclass(frozen=True)
class Loss:
    """What a schedule needs to know of a loss."""

    name: str
    outputs: tuple[str, ...]
    factor: int
    keeps_slope: bool
    mean_over_outputs: bool

    def scale(self, reduction: str, batch_size: int, outputs: int) -> float:
        """Return s in ``delta.L = s * error [* slope]``."""
        if reduction == "sum":
            return float(self.factor)
        return self.factor / (batch_size * (outputs if self.mean_over_outputs else 1))


LOSSES = {
    "bce": Loss("bce", ("sigmoid",), 1, False, True),
    "cross_entropy": Loss("cross_entropy", ("softmax",), 1, False, False),
    "mse": Loss("mse", ACTIVATIONS, 2, True, True),
    "half_mse": Loss("half_mse", ACTIVATIONS, 1, True, True),
}


# the output activation that is used when none is given
DEFAULT_OUTPUTS = {name: loss.outputs[0] for name, loss in LOSSES.items()} | dict.fromkeys(SQUARED, "linear")


def get(name: str, output: str) -> Loss:
    """Return the loss, or refuse one that is unknown or does not go with the output activation."""
    if name not in LOSSES:
        raise ConfigError(unknown_name("loss", name, LOSSES))
    loss = LOSSES[name]
    if output not in loss.outputs:
        raise ConfigError(
            f"loss {name} goes with output {' or '.join(loss.outputs)}, but the output is {output}; change one of them"
        )
    return loss


def value(name: str, output: np.ndarray, target: np.ndarray) -> float:
    """Return the mean loss of outputs (N, K), float, for labels (N,) or targets (N, K), for a report.

    The logarithm is held at -100, as PyTorch does, since a fixed-point output may be exactly 0 or 1.
    """
    output = output.astype(np.float64)
    if target.ndim == 2:
        if name in SQUARED:
            return SQUARED[name] * float(np.mean((output - target) ** 2))
        return float(-np.mean(target * _log(output) + (1.0 - target) * _log(1.0 - output)))
    rows = np.arange(len(target))
    if name in SQUARED:
        error = output.copy()
        error[rows, target] -= 1.0
        return SQUARED[name] * float(np.mean(error**2))
    log = _log(output)
    if name == "cross_entropy":
        return float(-np.mean(log[rows, target]))
    log_not = _log(1.0 - output)
    return float((-log_not.sum() - (log - log_not)[rows, target].sum()) / output.size)


def _log(x: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(x, np.exp(-100.0)))
