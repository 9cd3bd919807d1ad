"""When a run stops before its last epoch.

Nokland trains until the training error is gone: after each epoch ``mean = 0.75 mean + 0.25 error``, starting from 1, and
the run ends once ``mean <= 1e-4`` (source: his published code, anokland/dfa-torch, Main.lua). His error is the fraction
of wrong answers that the network gave while it learned, over one epoch; here it is measured after the epoch, on the whole
training set, which comes out a little lower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fasim.errors import ConfigError

# share of the mean so far in the new mean
SMOOTHING = 0.75
# every answer wrong: a first epoch without errors must not stop the run
FIRST_MEAN = 1.0
EXAMPLE = "train_error:1e-4"


@dataclass(frozen=True)
class Stopping:
    """A stopping rule; made by :func:`parse`.

    Parameters
    ----------
    train_error : float or None
        Smoothed training error, 0..1, at which the run stops; None is never.
    """

    train_error: float | None = None

    def stops(self, history: Sequence[float]) -> bool:
        """Return whether the run stops after these epochs.

        It keeps nothing between calls, so that a resumed run decides as the run that was never interrupted.

        Parameters
        ----------
        history : sequence of float
            Training error of every epoch so far, 0..1. One that is not a number never lets the run stop again.
        """
        if self.train_error is None:
            return False
        mean = FIRST_MEAN
        for error in history:
            mean = SMOOTHING * mean + (1 - SMOOTHING) * error
        return mean <= self.train_error


def parse(text: str) -> Stopping:
    """Return the stopping rule of a text: empty for never, or ``train_error:<threshold>``.

    Raises
    ------
    ConfigError
        In one line, with an example.
    """
    if not text:
        return Stopping()
    name, _, number = text.partition(":")
    try:
        threshold = float(number)
    except ValueError:
        threshold = 0.0
    if name != "train_error" or not 0 < threshold < 1:
        raise ConfigError(
            f"stopping rule {text!r}: train_error: and a fraction between 0 and 1 is needed, or nothing; write {EXAMPLE}"
        )
    return Stopping(threshold)
