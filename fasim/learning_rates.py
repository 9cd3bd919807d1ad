"""Learning-rate schedules: the rate of each epoch of a run, from the rate that it starts with.

======================= =========================================== ================================================
text                    rate of an epoch e of E, e from 0           PyTorch's name
======================= =========================================== ================================================
constant                ``base``
step:<factor>:<epochs>  ``base * factor^floor(e / epochs)``         StepLR
exponential:<factor>    ``base * factor^e``                         ExponentialLR
cosine[:<factor>]       from base towards ``low = factor * base``:  CosineAnnealingLR; the last epoch is still above low
                        ``low + (base-low) (1 + cos(pi e/E)) / 2``
======================= =========================================== ================================================

A rate depends on the number of its epoch alone, never on the epochs before it: a run that is resumed goes on with the same
rates (under cosine, if it is resumed with the same number of epochs).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fasim.errors import ConfigError, unknown_name

# kind -> an example, for messages
SCHEDULES = {
    "constant": "constant",
    "step": "step:0.5:7",
    "exponential": "exponential:0.85",
    "cosine": "cosine or cosine:0.01",
}


@dataclass(frozen=True)
class RateSchedule:
    """How the learning rate changes from epoch to epoch; made by :func:`parse`.

    Parameters
    ----------
    kind : str
        A key of :data:`SCHEDULES`.
    factor : float
        What the rate is multiplied by; under cosine the ratio of the lowest rate to the first.
    period : int
        Epochs between two multiplications.
    """

    kind: str
    factor: float = 1.0
    period: int = 1

    def rate(self, base: float, epoch: int, epochs: int) -> float:
        """Return the learning rate of an epoch.

        Parameters
        ----------
        base : float
            Learning rate of the first epoch.
        epoch : int
            From 0.
        epochs : int
            Epochs of the whole run.

        Raises
        ------
        ConfigError
            If the run has no such epoch.
        """
        if not 0 <= epoch < epochs:
            raise ConfigError(f"epoch {epoch} of {epochs}: epochs count from 0; ask for one from 0 to {epochs - 1}")
        if self.kind == "cosine":
            return base * (self.factor + (1 - self.factor) * (1 + math.cos(math.pi * epoch / epochs)) / 2)
        return base * self.factor ** (epoch // self.period)


def parse(text: str) -> RateSchedule:
    """Return the schedule of a text such as ``step:0.5:7``; factors are above 0 (cosine: from 0) and at most 1.

    Raises
    ------
    ConfigError
        In one line, with an example.
    """
    kind, *given = text.split(":")
    if kind not in SCHEDULES:
        examples = ", ".join(SCHEDULES.values())
        raise ConfigError(f"{unknown_name('learning-rate schedule', text, SCHEDULES)}; write one as {examples}")
    match kind, given:
        case "constant", []:
            return RateSchedule(kind)
        case "step", [factor, period] if _is_factor(factor) and period.isdecimal() and int(period):
            return RateSchedule(kind, float(factor), int(period))
        case "exponential", [factor] if _is_factor(factor):
            return RateSchedule(kind, float(factor))
        case "cosine", []:
            return RateSchedule(kind, 0.0)
        case "cosine", [factor] if _is_factor(factor, zero=True):
            return RateSchedule(kind, float(factor))
    needs = {
        "constant": "takes no numbers",
        "step": "needs a factor above 0 and at most 1, and a whole number of epochs, at least 1",
        "exponential": "needs a factor above 0 and at most 1",
        "cosine": "takes at most one number, the last rate's ratio to the first, from 0 to 1",
    }
    raise ConfigError(f"learning-rate schedule {text!r}: {kind} {needs[kind]}; write {SCHEDULES[kind]}")


def _is_factor(text: str, *, zero: bool = False) -> bool:
    """Return whether the text is a number from 0 to 1; NaN is not, and 0 only where it is allowed."""
    try:
        number = float(text)
    except ValueError:
        return False
    return 0 < number <= 1 or (zero and number == 0)
