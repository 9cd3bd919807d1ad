"""What training leaves: the figures of its epochs, and the run that holds them with its settings and its state."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field

from fasim.fixedpoint.statistics import TensorStatistics
from fasim.fixedpoint.trace import Trace
from fasim.network import Network
from fasim.plan import Plan
from fasim.rules import Rule
from fasim.schedule import Schedule, StepSettings
from fasim.state import State
from fasim.target import Point


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to; accuracies 0..1 on a whole set (NaN where there are no labels), losses as means."""

    epoch: int
    test_accuracy: float
    test_loss: float
    seconds: float
    saturations: int
    wraps: int
    learning_rate: float = math.nan
    train_accuracy: float = math.nan
    train_loss: float = math.nan


@dataclass
class Run:
    """A training run: its settings, its finished epochs, and the state that it left.

    `trace` counts casts over all epochs; `last_tensors` holds the range of every tensor in the last one, if it was traced;
    `points` are the evaluations on a validation split within the epochs, if there was one; `datapath_toml` is the datapath
    whole, None for float32.
    """

    network: Network
    rule: Rule
    schedule: Schedule
    settings: StepSettings
    seed: int
    learning_rate: float
    state: State = field(repr=False)
    data_note: str = ""
    epochs: list[Epoch] = field(default_factory=list)
    trace: Trace = field(default_factory=Trace)
    last_tensors: dict[str, TensorStatistics] = field(default_factory=dict, repr=False)
    samples_per_epoch: int = 0
    plan: Plan = field(default_factory=Plan)
    stopped: bool = False
    points: list[Point] = field(default_factory=list, repr=False)
    datapath_toml: str | None = field(default=None, repr=False)

    @property
    def test_accuracy(self) -> float:
        """Accuracy on the whole test set after the last epoch, 0..1; NaN where there are no labels."""
        return self.epochs[-1].test_accuracy

    @property
    def test_loss(self) -> float:
        """Mean test loss after the last epoch; infinite if the run has diverged."""
        return self.epochs[-1].test_loss

    @property
    def diverged(self) -> bool:
        """Whether an output is no longer a finite number."""
        return bool(self.epochs) and not math.isfinite(self.test_loss)

    @property
    def train_samples_per_s(self) -> float:
        """Training steps alone, without compilation, evaluation and loading of data; 0 before the first epoch."""
        seconds = sum(epoch.seconds for epoch in self.epochs)
        return self.samples_per_epoch * len(self.epochs) / seconds if seconds else 0.0

    def summary(self) -> dict[str, object]:
        """Return the run's settings and figures as plain values, for JSON; what is not a finite number becomes None."""
        return {
            "net": str(self.network),
            "hidden": self.network.hidden,
            "output": self.network.output,
            "init": self.network.init,
            "rule": self.schedule.rule,
            "datapath": self.schedule.datapath,
            "datapath_toml": self.datapath_toml,
            "seed": self.seed,
            "learning_rate": self.learning_rate,
            **asdict(self.settings),
            "bias_init": self.network.bias_init,
            "batch_norm": self.network.batch_norm,
            "dropout": self.network.dropout,
            "input_dropout": self.network.input_dropout,
            "dropout_kind": self.network.dropout_kind,
            **asdict(self.plan),
            "epochs": [plain(epoch) for epoch in self.epochs],
            "stopped": self.stopped,
            "train_samples_per_s": round(self.train_samples_per_s),
            "sites": {site: asdict(count) for site, count in self.trace.sites.items()},
            "data_note": self.data_note,
            "diverged": self.diverged,
        }


def plain(epoch: Epoch) -> dict[str, float | None]:
    """Return the figures of an epoch for JSON; what is not a finite number becomes None."""
    return {name: value if math.isfinite(value) else None for name, value in asdict(epoch).items()}
