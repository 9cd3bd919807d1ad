"""Angles between what a rule sends to the hidden layers and what backpropagation would send."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fasim.backends import Samples
from fasim.diagnostics.geometry import row_angles
from fasim.diagnostics.numbers import plain
from fasim.diagnostics.probe import Probe, Reading
from fasim.network import Network
from fasim.rules import Rule
from fasim.schedule import StepSettings
from fasim.state import State

KINDS = ("global", "local")


@dataclass(frozen=True)
class Angle:
    """Angles of the samples of a batch at one layer.

    Parameters
    ----------
    kind : str
        ``global``, ``local`` or ``readout``.
    layer : int
    mean, std : float
        Of the angles of single samples, in degrees - not the angle of a mean; NaN if no sample has one.
    samples : int
        Samples that have an angle.
    skipped : int
        Samples that have none: one of the two vectors is zero or not finite.
    """

    kind: str
    layer: int
    mean: float
    std: float
    samples: int
    skipped: int

    @classmethod
    def of(cls, kind: str, layer: int, first: np.ndarray, second: np.ndarray) -> Angle:
        """Measure two arrays of shape (N, ...), row against row."""
        angles = row_angles(first, second)
        found = angles[np.isfinite(angles)]
        mean, std = (float(found.mean()), float(found.std())) if len(found) else (np.nan, np.nan)
        return cls(kind, layer, mean, std, len(found), len(angles) - len(found))

    def as_dict(self) -> dict[str, str | int | float | None]:
        """Return plain values for JSON; what is not a finite number becomes None."""
        return {
            "kind": self.kind,
            "layer": self.layer,
            "mean": plain(self.mean),
            "std": plain(self.std),
            "samples": self.samples,
            "skipped": self.skipped,
        }


@dataclass(frozen=True)
class Angles:
    """Angles of a rule's signals, of both kinds, layer by layer; no entry where the rule sends nothing."""

    where: str
    entries: tuple[Angle, ...]

    def find(self, kind: str, layer: int) -> Angle:
        """Return the angles of a kind at a layer.

        Raises
        ------
        KeyError
            If there are none.
        """
        for entry in self.entries:
            if (entry.kind, entry.layer) == (kind, layer):
                return entry
        raise KeyError(f"no {kind} angle of layer {layer}")


def angles(
    network: Network,
    rule: str | Rule,
    settings: StepSettings,
    state: State,
    samples: Samples,
    *,
    where: str = "preact",
) -> Angles:
    """Measure how far a rule's signals are from those of backpropagation, on the same weights and batch.

    ``global``: ``delta.l`` of the rule against ``delta.l`` of backpropagation through the whole network.
    ``local``: against what backpropagation would make of the rule's own ``delta.(l+1)``, such as
    ``(delta.(l+1) @ weight.(l+1)) * f'(preact.l)``; at the top hidden layer both kinds are the same.

    Parameters
    ----------
    network : Network
    rule : str or Rule
    settings : StepSettings
        Of the training; its batch size does not matter, and fgsm, clip and freeze are off.
    state : dict of str to ndarray
        In float32; not a bit of it changes.
    samples : Samples
        The batch, of any size N.
    where : {"preact", "act"}
        Deltas, or the signals at the activation, before slope and batch normalisation.

    Returns
    -------
    Angles

    Raises
    ------
    ConfigError
        If the state or the samples do not fit the network and the rule.
    """
    probe = Probe(network, rule, settings, len(samples.codes), where)
    return signal_angles(probe, probe.read(state, samples))


def signal_angles(probe: Probe, reading: Reading) -> Angles:
    """Return the angles of what a probe has read."""
    pairs = {(kind, layer): probe.pair(reading, kind, layer) for kind in KINDS for layer in probe.hidden}
    return Angles(probe.where, tuple(Angle.of(*place, *pair) for place, pair in pairs.items() if pair is not None))
