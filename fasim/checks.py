"""What is refused before anything runs, and the learning rate that is used when none is given."""

from __future__ import annotations

import numpy as np

from fasim import losses
from fasim.data import CODE_FRAC, Data, parse_augmentation
from fasim.errors import ConfigError, DataError
from fasim.fixedpoint import Datapath, Fixed
from fasim.losses import SQUARED
from fasim.network import Network
from fasim.plan import Plan
from fasim.schedule import Schedule, StepSettings
from fasim.state import set_learning_rate

CODE_FORMAT = Fixed(8, CODE_FRAC, signed=False)
# the same codes as whole numbers 0 .. 255, for datapaths that reckon in whole numbers (pocketnn)
WHOLE_CODES = Fixed(8, 0, signed=False)
# on the sum over a batch; momentum multiplies the step by about 1 / (1 - mu) = 10, Adam and RMSprop ignore its scale
DEFAULT_LEARNING_RATES = {"sgd": 2.0**-7, "momentum": 2.0**-10, "nesterov": 2.0**-10, "rmsprop": 5e-4, "adam": 5e-4}
SCALE_FREE = ("adam", "rmsprop")
# the gradient of mse has a factor 2, and on a linear output nothing bounds it: with 2^-7 most rules diverge on digits
MSE_FACTOR = 2.0**-3
# many correlated real inputs, or as many outputs as inputs: dfa diverges with 2^-10 on synthetic-regression and as an
# auto-encoder of digits, with 2^-11 as one of MNIST; with 2^-12 it learns on all three
REAL_TARGET_FACTOR = 2.0**-2
# more than anything learns for, and few enough to look at each one's learning rate before the first
MAX_EPOCHS = 10**6


def default_learning_rate(settings: StepSettings, outputs: int) -> float:
    """Return the learning rate that is used when none is given: a place to start, not a tuned one.

    Where gradients are means, it is as much larger as they are smaller than sums, for K = `outputs`; not with the raw
    error, of which hidden layers get the sum all the same.
    """
    rate = DEFAULT_LEARNING_RATES[settings.optimizer]
    if settings.optimizer in SCALE_FREE:
        return rate
    if settings.loss in SQUARED:
        rate *= MSE_FACTOR * (1.0 if settings.target == "label" else REAL_TARGET_FACTOR)
    if settings.reduction == "mean" and settings.error_scale == "loss_gradient":
        loss = losses.LOSSES[settings.loss]
        rate *= loss.factor / loss.scale("mean", settings.batch_size, outputs)
    return rate


def check_data(data: Data) -> None:
    """Refuse arrays that kernels would read beyond their end, or as what they are not.

    Raises
    ------
    DataError
        If the arrays of inputs and labels are not what :class:`fasim.data.Data` says.
    """
    for part in ("train", "test"):
        x, y = getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
        width = data.x_train.shape[1] if data.x_train.ndim == 2 else 0
        if x.dtype not in (np.uint8, np.float32) or x.dtype != data.x_train.dtype or not x.dtype.isnative:
            raise DataError(f"{data.name}: x_{part} holds {x.dtype}; needed: uint8 codes or float32 in both sets")
        if x.ndim != 2 or x.shape[1] != width or not x.size or not x.flags.c_contiguous:
            raise DataError(
                f"{data.name}: x_{part} has the shape {x.shape}; needed: a row of equally many features for each of one or "
                "more samples, side by side in memory"
            )
        if len(y) != len(x):
            raise DataError(f"{data.name}: y_{part} is of {len(y)} samples, x_{part} of {len(x)}; needed: equally many")
        if data.task == "classification":
            if y.dtype != np.int64 or y.ndim != 1:
                raise DataError(f"{data.name}: y_{part} holds {y.dtype} {y.shape}; needed: a label a sample, int64")
            if y.min() < 0 or y.max() >= data.classes:
                raise DataError(
                    f"{data.name}: y_{part} has labels {y.min()} .. {y.max()}; needed: 0 .. {data.classes - 1} of "
                    f"{data.classes} classes"
                )
        elif y.dtype != np.float32 or y.shape != (len(x), data.classes):
            raise DataError(f"{data.name}: y_{part} holds {y.dtype} {y.shape}; needed: float32 ({len(x)}, {data.classes})")
        for name, array in ((f"x_{part}", x), (f"y_{part}", y)):
            if array.dtype == np.float32 and not np.isfinite(array).all():
                raise DataError(f"{data.name}: {name} holds numbers that are not finite; leave those samples out")


def check_fit(network: Network, data: Data, settings: StepSettings, epochs: int, plan: Plan | None = None) -> None:
    """Refuse what cannot be trained: a network or target that does not fit the data, too few samples, no epochs."""
    if epochs < 1:
        raise ConfigError(f"epochs {epochs}: at least 1 is needed")
    if epochs > MAX_EPOCHS:
        raise ConfigError(f"epochs {epochs}: at most {MAX_EPOCHS:,} are possible")
    check_data(data)
    if network.inputs != data.x_train.shape[1]:
        raise ConfigError(
            f"network {network} takes {network.inputs} inputs, but {data.name} has {data.x_train.shape[1]} features; "
            f"start the network with {data.x_train.shape[1]}"
        )
    if settings.target != "input" and (settings.target == "label") != (data.task == "classification"):
        needed = "label" if data.task == "classification" else "value"
        raise ConfigError(f"target {settings.target}: {data.name} is a {data.task} task; use target {needed} or input")
    outputs, what = (network.inputs, "inputs") if settings.target == "input" else (data.classes, "classes")
    if network.outputs != outputs:
        raise ConfigError(
            f"network {network} has {network.outputs} outputs, but {data.name} has {outputs} {what}; "
            f"end the network with {outputs}"
        )
    if settings.loss == "bce" and settings.target != "label":
        inputs = data.values(np.stack([data.x_train.min(0), data.x_train.max(0)]))
        targets = inputs if settings.target == "input" else data.y_train
        if targets.min() < 0 or targets.max() > 1:
            raise ConfigError(f"loss bce: targets of {data.name} leave 0..1; use loss mse, or standardisation unit or none")
    if settings.batch_size > len(data.x_train):
        raise ConfigError(
            f"batch size {settings.batch_size}: {data.name} has {len(data.x_train)} training samples; use a smaller batch"
        )
    if plan is not None and plan.augment:
        parse_augmentation(plan.augment, data.shape)
    if plan is not None and plan.stop and settings.target != "label":
        raise ConfigError(f"stop {plan.stop}: there are no labels to count errors of; leave it out")


def check_rates(schedule: Schedule, plan: Plan, rate: float, epochs: int) -> None:
    """Refuse a learning rate that the datapath cannot hold in one of the epochs."""
    for epoch in range(epochs):
        try:
            set_learning_rate({}, schedule, *plan.rates(rate, epoch, epochs))
        except ConfigError as error:
            if not epoch:
                raise
            raise ConfigError(f"rate schedule, epoch {epoch + 1}: {error}") from None


def check_input(datapath: Datapath | None, data: Data | None = None) -> None:
    """Refuse a datapath whose input format gives the codes other values than float32 gives them."""
    if datapath is None:
        return
    if datapath.input not in (CODE_FORMAT, WHOLE_CODES):
        raise ConfigError(
            f"datapath {datapath.name}: input {datapath.input}, but data are codes of format {CODE_FORMAT}; write that, or "
            f"{WHOLE_CODES} for codes as whole numbers"
        )
    if data is not None and (data.gain is not None or data.x_train.dtype != np.uint8):
        raise ConfigError(
            f"datapath {datapath.name}: inputs are codes of format {CODE_FORMAT}, but those of {data.name} are "
            "standardised or real numbers; use images without standardisation, or the datapath float32"
        )
