"""What every check of a rule shares: a small network, seeded samples, and short runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from fasim import backends
from fasim.backends import Samples
from fasim.errors import ConfigError
from fasim.fixedpoint import Datapath
from fasim.network import Dense, Network
from fasim.rules import Rule, training_step
from fasim.schedule import Schedule, StepSettings
from fasim.state import State, initial_state, set_learning_rate

BATCH, STEPS = 4, 3
# a power of two, for fixed point; large enough that a step shows, small enough that float32 and float64 stay together
RATE = 2.0**-5
# difference that float32 and float64 may show, relative to the largest number of a tensor
TOLERANCE = 1e-5


class Verdict(NamedTuple):
    """What a check found, in one line."""

    passed: bool
    line: str


@dataclass(frozen=True)
class Bench:
    """A rule on a small network.

    Parameters
    ----------
    rule : Rule
    network : Network
        Dense, at least two hidden layers, no batch normalisation and no dropout.
    seed : int
        Of weights, feedback and samples.
    reads_weights : bool or None
        What the rule claims of its signals, if anything.
    """

    rule: Rule
    network: Network
    seed: int = 0
    reads_weights: bool | None = None

    def __post_init__(self) -> None:
        network = self.network
        dense = all(isinstance(layer, Dense) for layer in network.layers)
        if not dense or len(network.layers) < 3 or network.batch_norm or network.dropout or network.input_dropout:
            raise ConfigError(
                f"network {network}: rules are checked on dense layers, two hidden ones at least, without batch "
                "normalisation and dropout; use one such as 6-5-4-3 (other layers have a check of their own)"
            )

    @property
    def hidden(self) -> range:
        """Numbers of the hidden layers."""
        return range(1, len(self.network.segments))

    def step(
        self,
        rule: str | Rule | None = None,
        *,
        network: Network | None = None,
        datapath: Datapath | None = None,
        order_by: str = "eager",
        fuse_by: str = "none",
        batch_size: int = BATCH,
        **settings: Any,  # noqa: ANN401 - fields of StepSettings
    ) -> Schedule:
        """Return a training step; without a word about it, of the rule on the network."""
        chosen = StepSettings(batch_size, **settings)
        return training_step(
            network or self.network, rule or self.rule, chosen, datapath, order_by=order_by, fuse_by=fuse_by
        )

    def start(self, schedule: Schedule, network: Network | None = None, rate: float = RATE) -> State:
        """Return the state before the first step."""
        state = initial_state(network or self.network, schedule, self.seed)
        set_learning_rate(state, schedule, rate)
        return state

    def samples(self, count: int, network: Network | None = None, *, target: str = "label") -> Samples:
        """Return random samples."""
        network = network or self.network
        random = np.random.default_rng(self.seed)
        codes = random.integers(0, 256, (count, network.inputs), dtype=np.uint8)
        if target == "label":
            return Samples(codes, random.integers(0, network.outputs, count))
        return Samples(codes, random.uniform(0, 1, (count, network.outputs)).astype(np.float32))

    def values(self, schedule: Schedule, state: State, samples: Samples, names: list[str]) -> dict[str, np.ndarray]:
        """Return tensors of one step in float64."""
        copy = {name: array.copy() for name, array in state.items()}
        return backends.get("reference")(schedule).values(copy, samples, names)

    def gradients(self, rule: str | Rule | None = None, *, soft: bool = False, **settings: Any) -> dict[str, np.ndarray]:  # noqa: ANN401
        """Return all gradients of one step in float64, by the name of what they are of; `soft`: of a softmax output."""
        network = replace(self.network, output="softmax") if soft else self.network
        schedule = self.step(rule, network=network, loss="cross_entropy" if soft else "bce", **settings)
        names = [tensor.name for tensor in schedule.of_class("gradient")]
        found = self.values(schedule, self.start(schedule, network), self.samples(BATCH, network), names)
        return {name.removeprefix("gradient."): array for name, array in found.items()}

    def trained(
        self,
        schedule: Schedule,
        backend: str = "cpu",
        *,
        network: Network | None = None,
        target: str = "label",
        at_once: bool = True,
    ) -> State:
        """Return the state after a few steps, run in one call or one by one."""
        size = schedule.batch_size
        state, samples = self.start(schedule, network), self.samples(STEPS * size, network, target=target)
        program = backends.get(backend)(schedule)
        if at_once:
            program.run(state, samples, np.arange(STEPS * size), 0)
        else:
            for step in range(STEPS):
                program.run(state, samples, np.arange(step * size, (step + 1) * size), step)
        return state


def different(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> list[str]:
    """Return the names whose arrays differ in a bit, or that one side lacks."""
    return sorted(
        name
        for name in one.keys() | other.keys()
        if name not in one or name not in other or not np.array_equal(one[name], other[name])
    )


def far(one: dict[str, np.ndarray], other: dict[str, np.ndarray], tolerance: float = TOLERANCE) -> list[str]:
    """Return the names whose arrays differ by more than `tolerance` of the other's largest number, or are no numbers."""
    return sorted(
        name
        for name in other
        if not np.max(np.abs(one[name] - other[name]), initial=0.0) <= tolerance * np.max(np.abs(other[name]), initial=0.0)
    )


def scaled(arrays: dict[str, np.ndarray], factor: float) -> dict[str, np.ndarray]:
    """Return all arrays times a factor."""
    return {name: factor * array for name, array in arrays.items()}


def listed(items: list[str] | range | tuple[int, ...]) -> str:
    """Return items as text, the first few of them."""
    shown = ", ".join(str(item) for item in items[:4])
    return shown + (", ..." if len(items) > 4 else "")
