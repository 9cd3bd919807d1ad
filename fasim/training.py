"""Training: the one epoch loop. It knows no backend, no number format and no rule beyond their names."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from fasim import backends, losses
from fasim.data import CODE_FRAC, Data, load
from fasim.errors import ConfigError
from fasim.fixedpoint import Datapath, Fixed, load_datapath
from fasim.fixedpoint.trace import Trace
from fasim.network import Network
from fasim.rng import stream
from fasim.rules import evaluation_pass, training_step
from fasim.schedule import Schedule, StepSettings
from fasim.state import State, initial_state, set_learning_rate

EVALUATION_BATCH = 256
CODE_FORMAT = Fixed(8, CODE_FRAC, signed=False)
# on the sum over a batch; momentum multiplies the step by about 1 / (1 - mu) = 10, Adam ignores the gradient's scale
DEFAULT_LEARNING_RATES = {"sgd": 2.0**-7, "momentum": 2.0**-10, "adam": 5e-4}
# the gradient of mse has a factor 2, and on a linear output nothing bounds it: with 2^-7 most rules diverge on digits
MSE_FACTOR = 2.0**-3


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to; accuracies 0..1 on the whole test set, losses as means."""

    epoch: int
    test_accuracy: float
    test_loss: float
    seconds: float
    saturations: int
    wraps: int


@dataclass
class Run:
    """A training run: its settings, its finished epochs, and the state that it left."""

    network: Network
    schedule: Schedule
    settings: StepSettings
    seed: int
    learning_rate: float
    state: State = field(repr=False)
    data_note: str = ""
    epochs: list[Epoch] = field(default_factory=list)
    trace: Trace = field(default_factory=Trace)
    samples_per_epoch: int = 0

    @property
    def test_accuracy(self) -> float:
        """Accuracy on the whole test set after the last epoch, 0..1."""
        return self.epochs[-1].test_accuracy

    @property
    def test_loss(self) -> float:
        """Mean test loss after the last epoch; infinite if the run has diverged."""
        return self.epochs[-1].test_loss

    @property
    def diverged(self) -> bool:
        """Whether an output is no longer a finite number."""
        return not math.isfinite(self.test_loss)

    @property
    def train_samples_per_s(self) -> float:
        """Training steps alone, without compilation, evaluation and loading of data."""
        return self.samples_per_epoch * len(self.epochs) / sum(epoch.seconds for epoch in self.epochs)

    def summary(self) -> dict[str, object]:
        """Return the run's settings and figures as plain values, for JSON; a loss that is not finite becomes None."""
        epochs = [asdict(epoch) for epoch in self.epochs]
        for epoch in epochs:
            epoch["test_loss"] = epoch["test_loss"] if math.isfinite(epoch["test_loss"]) else None
        return {
            "net": str(self.network),
            "hidden": self.network.hidden,
            "output": self.network.output,
            "init": self.network.init,
            "rule": self.schedule.rule,
            "datapath": self.schedule.datapath,
            "seed": self.seed,
            "learning_rate": self.learning_rate,
            **asdict(self.settings),
            "epochs": epochs,
            "train_samples_per_s": round(self.train_samples_per_s),
            "sites": {site: asdict(count) for site, count in self.trace.sites.items()},
            "data_note": self.data_note,
            "diverged": self.diverged,
        }


class TrainingInterruptedError(KeyboardInterrupt):
    """Ctrl-C during training; `run` holds the epochs that have finished (its state may lie within the next one)."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run


def train(
    network: Network | str,
    data: Data | str = "digits",
    *,
    rule: str = "dfa",
    datapath: Datapath | str | None = "float32",
    epochs: int = 20,
    seed: int = 0,
    learning_rate: float | None = None,
    settings: StepSettings | None = None,
    backend: str = "cpu",
    threads: int = 1,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Run:
    """Train one network with one rule on one datapath, evaluating after every epoch.

    Parameters
    ----------
    network : Network or str
        A network, or its topology string with default activations.
    data : Data or str
        A data set, its name, or the path of an ``.npz``.
    rule : str
        See :func:`fasim.rules.names`.
    datapath : Datapath, str or None
        ``float32`` (or None), a preset's name, or the path of a TOML file.
    epochs : int
        Passes over the training set, each in a new order; samples that do not fill a last batch wait for another epoch.
    seed : int
        Seeds the streams of initial weights, feedback, order and stochastic rounding; never the data split.
    learning_rate : float, optional
        A power of two on a fixed-point datapath. Default by optimizer, for sums over the batch.
    settings : StepSettings, optional
        Batch size, loss, reduction, error scale, optimizer, feedback.
    backend : str
    threads : int
    on_epoch : callable, optional
        Called with each finished :class:`Epoch`.

    Returns
    -------
    Run

    Raises
    ------
    ConfigError, FormatError, DataError
        In one line, before anything has run.
    """
    network = Network.parse(network) if isinstance(network, str) else network
    data = load(data) if isinstance(data, str) else data
    datapath = load_datapath(datapath) if isinstance(datapath, str) else datapath
    settings = settings or StepSettings()
    check_fit(network, data, settings, epochs)
    check_input(datapath)
    schedule = training_step(network, rule, settings, datapath)
    if learning_rate is None:
        learning_rate = default_learning_rate(settings)
    state = initial_state(network, schedule, seed)
    set_learning_rate(state, schedule, learning_rate)
    program = backends.get(backend)(schedule, threads=threads)
    evaluation = evaluation_pass(network, replace(settings, batch_size=EVALUATION_BATCH), datapath)
    evaluator = backends.get(backend)(evaluation, threads=threads)

    samples = backends.Samples(data.x_train, data.y_train)
    scratch = {name: array.copy() for name, array in state.items()}
    program.run(scratch, samples, np.arange(settings.batch_size), 0)  # compiles what the first step would
    steps = len(data.x_train) // settings.batch_size
    run = Run(network, schedule, settings, seed, learning_rate, state, data.note)
    run.samples_per_epoch = steps * settings.batch_size
    try:
        for epoch in range(epochs):
            order = stream(seed, "shuffle", epoch).permutation(len(data.x_train))
            started = time.perf_counter()
            counted = program.run(state, samples, order, epoch * steps)
            seconds = time.perf_counter() - started
            accuracy, loss = _evaluate(evaluator.outputs(state, data.x_test), data, settings.loss)
            total = counted.total
            run.trace.update(counted)
            run.epochs.append(Epoch(epoch + 1, accuracy, loss, seconds, total.saturations, total.wraps))
            if on_epoch is not None:
                on_epoch(run.epochs[-1])
    except KeyboardInterrupt as stop:
        raise TrainingInterruptedError(run) from stop
    return run


def _evaluate(output: np.ndarray, data: Data, loss: str) -> tuple[float, float]:
    """Return accuracy and loss on the test set; an output that is not finite is a wrong answer and an infinite loss."""
    finite = np.isfinite(output).all(1)
    accuracy = float(np.mean((output.argmax(1) == data.y_test) & finite))
    return accuracy, losses.value(loss, output, data.y_test) if finite.all() else math.inf


def default_learning_rate(settings: StepSettings) -> float:
    """Return the learning rate that is used when none is given: a place to start, not a tuned one."""
    rate = DEFAULT_LEARNING_RATES[settings.optimizer]
    return rate * MSE_FACTOR if settings.loss == "mse" and settings.optimizer != "adam" else rate


def check_fit(network: Network, data: Data, settings: StepSettings, epochs: int) -> None:
    """Refuse what cannot be trained: a network that does not fit the data, too few samples, no epochs."""
    if epochs < 1:
        raise ConfigError(f"epochs {epochs}: at least 1 is needed")
    if network.inputs != data.x_train.shape[1]:
        raise ConfigError(
            f"network {network} takes {network.inputs} inputs, but {data.name} has {data.x_train.shape[1]} features; "
            f"start the network with {data.x_train.shape[1]}"
        )
    if network.outputs != data.classes:
        raise ConfigError(
            f"network {network} has {network.outputs} outputs, but {data.name} has {data.classes} classes; "
            f"end the network with {data.classes}"
        )
    if settings.batch_size > len(data.x_train):
        raise ConfigError(
            f"batch size {settings.batch_size}: {data.name} has {len(data.x_train)} training samples; use a smaller batch"
        )


def check_input(datapath: Datapath | None) -> None:
    """Refuse a datapath whose input format gives the codes other values than float32 gives them."""
    if datapath is not None and datapath.input != CODE_FORMAT:
        raise ConfigError(
            f"datapath {datapath.name}: input {datapath.input}, but data are codes of format {CODE_FORMAT}; write that"
        )
