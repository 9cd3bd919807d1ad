"""All diagnostics of a state at once, and after every epoch of a run."""

from __future__ import annotations

import json
from collections.abc import Sized
from typing import Any, Protocol

from fasim.backends import Samples
from fasim.data import Data
from fasim.diagnostics.gradients import norms_of
from fasim.diagnostics.matrices import matrix_angles, read_out
from fasim.diagnostics.numbers import float_state
from fasim.diagnostics.probe import PROBE_SAMPLES, Probe, probe_samples
from fasim.diagnostics.signals import signal_angles
from fasim.network import Network
from fasim.rules import Rule
from fasim.schedule import Schedule, StepSettings
from fasim.state import State, initial_state


class TrainedRun(Protocol):
    """What diagnostics read of a run."""

    @property
    def network(self) -> Network: ...  # noqa: D102
    @property
    def rule(self) -> Rule: ...  # noqa: D102
    @property
    def schedule(self) -> Schedule: ...  # noqa: D102
    @property
    def settings(self) -> StepSettings: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def state(self) -> State: ...  # noqa: D102
    @property
    def epochs(self) -> Sized: ...  # noqa: D102


def collect(
    network: Network,
    rule: str | Rule,
    settings: StepSettings,
    state: State,
    samples: Samples,
    *,
    schedule: Schedule | None = None,
) -> dict[str, Any]:
    """Return all diagnostics of a state as plain values.

    Parameters
    ----------
    network : Network
    rule : str or Rule
    settings : StepSettings
        Of the training.
    state : dict of str to ndarray
        Not a bit of it changes.
    samples : Samples
        The batch of the probe, of any size N.
    schedule : Schedule, optional
        The training step; needed on a fixed-point datapath, of which it says the formats. The probe then runs in float32 on
        the values that the integers stand for.

    Returns
    -------
    dict
        ``samples``; lists ``angles`` (global and local), ``weight_angles`` and ``readout_angles``, one dict a layer;
        ``gradients`` with the ``cosine`` of both gradients and the norms by layer. Degrees; None where there is no figure.

    Raises
    ------
    ConfigError
        If the state or the samples do not fit the network and the rule.
    """
    probe = Probe(network, rule, settings, len(samples.codes))
    return _record(probe, state if schedule is None else float_state(state, schedule), samples)


class Diagnostics:
    """Collects the diagnostics of a run; to be given to :func:`fasim.training.train` as ``after_epoch``.

    The first call also records epoch 0, the state before training, which is drawn once more. One probe is kept: its buffers
    hold a few batches.

    Parameters
    ----------
    data : Data
        Its first `count` test samples are the batch of the probe.
    count : int
    records : list of dict, optional
        Those of a run that is resumed.

    Attributes
    ----------
    records : list of dict
        See :func:`collect`, with ``epoch`` in front.
    """

    def __init__(self, data: Data, *, count: int = PROBE_SAMPLES, records: list[dict[str, Any]] | None = None) -> None:
        self.records = list(records or [])
        self._samples = probe_samples(data, count)
        self._probe: Probe | None = None

    def __call__(self, run: TrainedRun) -> None:
        """Record the epoch that a run has just finished."""
        if self._probe is None:
            self._probe = Probe(run.network, run.rule, run.settings, len(self._samples.codes))
        if not self.records:
            start = initial_state(run.network, run.schedule, run.seed)
            self.records.append({"epoch": 0, **self._at(self._probe, run, start)})
        # a killed run may have measured an epoch that its checkpoint does not hold yet
        self.records = [record for record in self.records if record["epoch"] != len(run.epochs)]
        self.records.append({"epoch": len(run.epochs), **self._at(self._probe, run, run.state)})

    def json_lines(self) -> str:
        """Return the records as JSON, one a line."""
        return "".join(json.dumps(record, allow_nan=False) + "\n" for record in self.records)

    def _at(self, probe: Probe, run: TrainedRun, state: State) -> dict[str, Any]:
        return _record(probe, float_state(state, run.schedule), self._samples)


def _record(probe: Probe, state: State, samples: Samples) -> dict[str, Any]:
    reading = probe.read(state, samples)
    return {
        "samples": probe.count,
        "angles": [angle.as_dict() for angle in signal_angles(probe, reading).entries],
        "weight_angles": [angle.as_dict() for angle in matrix_angles(probe.step, state)],
        "readout_angles": [angle.as_dict() for angle in read_out(probe, reading)],
        "gradients": norms_of(probe, reading).as_dict(),
    }
