"""Networks and settings on which every rule is held against the independent reference, and their random states."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from fasim import rules
from fasim.backends import Samples
from fasim.network import Network
from fasim.schedule import Schedule, StepSettings
from fasim.state import State, initial_state, set_learning_rate
from tests.reference_bridge import DENSE_ONLY, NEEDS_LABELS

OUTPUT = {"bce": "sigmoid", "cross_entropy": "softmax", "mse": "tanh"}
RATE, FEEDBACK_RATE = 0.125, 0.0625
# where a random state lies, by the first part of a tensor's name; what is not here stays as it is drawn
RANGES = {
    "bias": (-0.3, 0.3),
    "gain": (0.5, 1.5),
    "shift": (-0.5, 0.5),
    "running_mean": (-1.0, 1.0),
    "running_var": (0.5, 2.0),
    "velocity": (-0.1, 0.1),
    "moment1": (-0.1, 0.1),
    "moment2": (0.01, 0.1),
    "square": (0.01, 0.1),
}


@dataclass(frozen=True)
class Case:
    """A network and settings; the loss decides the output function."""

    net: str
    network_options: dict[str, Any]
    settings: StepSettings
    standardised: bool = False
    seed: int = field(default=0)

    def __str__(self) -> str:
        changed = {k: v for k, v in vars(self.settings).items() if v != getattr(StepSettings(), k)}
        return f"{self.net} {self.network_options} {changed}"

    @cached_property
    def network(self) -> Network:
        return Network.parse(self.net, output=OUTPUT[self.settings.loss], **self.network_options)

    @property
    def conv(self) -> bool:
        return "c" in self.net

    def for_rule(self, rule: str) -> Case:
        """Return the case with labels as targets where the rule needs them."""
        return replace(self, settings=replace(self.settings, target="label")) if rule in NEEDS_LABELS else self

    def schedule(self, rule: str) -> Schedule:
        return rules.training_step(self.network, rule, self.settings)

    def state(self, schedule: Schedule) -> State:
        """Return a state in which nothing is zero or one by chance, optimizer and running statistics included."""
        state = initial_state(self.network, schedule, 11 + self.seed)
        random = np.random.default_rng(1000 + self.seed)
        for name in sorted(state):
            if name.partition(".")[0] in RANGES:
                state[name][:] = random.uniform(*RANGES[name.partition(".")[0]], state[name].shape)
        set_learning_rate(state, schedule, RATE, FEEDBACK_RATE)
        return state

    def samples(self, steps: int = 1) -> Samples:
        random = np.random.default_rng(2000 + self.seed)
        count = steps * self.settings.batch_size
        codes = random.integers(0, 256, (count, self.network.inputs), dtype=np.uint8)
        labels: np.ndarray = random.integers(0, self.network.outputs, count)
        if self.settings.target == "value":
            labels = random.uniform(-1.0, 1.0, (count, self.network.outputs)).astype(np.float32)
        gain = offset = None
        if self.standardised:
            gain = random.uniform(0.002, 0.02, self.network.inputs).astype(np.float32)
            offset = random.uniform(-1.0, 0.0, self.network.inputs).astype(np.float32)
        return Samples(codes, labels, gain, offset)


def _case(
    seed: int, net: str, network: dict[str, Any], batch: int = 7, *, standardised: bool = False, **of_step: Any
) -> Case:
    return Case(net, network, StepSettings(batch, **of_step), standardised, seed)


DENSE = [
    _case(
        1,
        "9-8-7-4",
        {"batch_norm": True, "dropout": 0.25, "input_dropout": 0.2},
        loss="cross_entropy",
        hook="pre_pool",
    ),
    _case(
        2,
        "9-8-7-6-4",
        {"hidden": "sigmoid", "dropout": 0.3, "dropout_kind": "classical"},
        loss="bce",
        reduction="mean",
        optimizer="momentum",
        hook="post_pool",
        error_scale="raw",
        weight_decay=0.1,
        decay_kind="decoupled",
    ),
    _case(
        3,
        "9-8-7-4",
        {"hidden": "relu", "batch_norm": True, "dropout": 0.25},
        loss="mse",
        reduction="mean",
        optimizer="nesterov",
        hook="post_pool",
        weight_decay=0.05,
        feedback_weight_decay=0.1,
        clip="value:0.02",
        feedback_optimizer="momentum",
    ),
    _case(
        4,
        "9-8-7-6-3",
        {"hidden": "linear"},
        standardised=True,
        loss="mse",
        optimizer="rmsprop",
        target="value",
        weight_decay=0.1,
        decay_kind="adamw",
    ),
    _case(
        5,
        "9-8-7-9",
        {"hidden": "sigmoid", "input_dropout": 0.2, "dropout": 0.2},
        loss="bce",
        reduction="mean",
        optimizer="adam",
        target="input",
        fgsm=0.05,
        hook="pre_pool",
    ),
    _case(
        6,
        "9-8-7-6-4",
        {"batch_norm": True},
        loss="cross_entropy",
        reduction="mean",
        error_scale="raw",
        clip="norm:0.5",
        freeze="2",
        feedback_optimizer="adam",
        weight_decay=0.1,
        decay_kind="decoupled",
        feedback_weight_decay=0.02,
    ),
    _case(
        7,
        "9-8-7-3",
        {"dropout": 0.25, "input_dropout": 0.1, "dropout_kind": "classical"},
        loss="mse",
        target="value",
        error_scale="raw",
        optimizer="adam",
        freeze="1",
        weight_decay=0.1,
        decay_kind="adamw",
        hook="post_pool",
    ),
    _case(8, "9-8-7-9", {"hidden": "relu"}, 1, loss="mse", target="input", optimizer="momentum", clip="norm:1"),
]
CONV = [
    _case(
        11,
        "8x8x2-3c3-2p-4c3s2p1-5-4",
        {"batch_norm": True, "dropout": 0.25},
        loss="cross_entropy",
        reduction="mean",
        optimizer="nesterov",
        weight_decay=0.05,
        hook="pre_pool",
    ),
    _case(
        12,
        "9x9x1-3c3p0-3as2-4c2p1-3ps1-5-4",
        {"hidden": "sigmoid", "dropout": 0.2, "input_dropout": 0.2},
        loss="bce",
        optimizer="adam",
        hook="post_pool",
        fgsm=0.03,
        weight_decay=0.1,
        decay_kind="adamw",
    ),
    _case(
        13,
        "8x8x2-3c3-2a-4c3s2-6-4",
        {"batch_norm": True},
        standardised=True,
        loss="mse",
        reduction="mean",
        target="value",
        optimizer="momentum",
        hook="post_pool",
        error_scale="raw",
        clip="value:0.01",
        weight_decay=0.1,
        decay_kind="decoupled",
    ),
    _case(
        14,
        "7x8x2-3c3s2p0-4c3-2p-5-4",
        {"hidden": "relu", "dropout": 0.3, "dropout_kind": "classical"},
        loss="cross_entropy",
        freeze="1",
        clip="norm:0.5",
        feedback_optimizer="rmsprop",
    ),
    _case(
        15,
        "6x6x1-3c3-3ps2-5-36",
        {"batch_norm": True},
        8,
        loss="mse",
        target="input",
        optimizer="rmsprop",
        hook="pre_pool",
        fgsm=0.05,
    ),
    _case(16, "8x8x1-3c4s3p1-2as1-5-5-3", {"hidden": "linear"}, 1, loss="bce", freeze="output", optimizer="nesterov"),
]
# two networks for long runs, smooth so that no kink parts float32 from float64
LONG_DENSE = _case(
    21,
    "9-8-7-4",
    {"batch_norm": True, "dropout": 0.2, "input_dropout": 0.1},
    loss="cross_entropy",
    reduction="mean",
    optimizer="momentum",
    hook="post_pool",
    weight_decay=1e-3,
)
LONG_BARE = _case(
    22, "9-8-7-6-4", {}, loss="bce", reduction="mean", optimizer="adam", weight_decay=0.01, decay_kind="adamw"
)
LONG_CONV = _case(
    24,
    "6x6x1-3c3-2a-4c3-2p-5-4",
    {"batch_norm": True},
    20,
    loss="cross_entropy",
    reduction="mean",
    optimizer="nesterov",
    weight_decay=1e-3,
    decay_kind="decoupled",
)


def long_runs(rule: str) -> list[Case]:
    """Return the two networks on which a rule is followed over many steps."""
    return [LONG_DENSE, LONG_BARE if rule in DENSE_ONLY else LONG_CONV]


def cases(rule: str) -> list[Case]:
    """Return the cases of a rule; rules that are stated for dense layers have the dense ones alone."""
    return [case.for_rule(rule) for case in (DENSE if rule in DENSE_ONLY else DENSE + CONV)]
