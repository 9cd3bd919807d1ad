"""Small float32 runs on the cpu backend, for tests that compare whole trajectories."""

from __future__ import annotations

from typing import Any

import numpy as np

from fasim import rules
from fasim.backends import Samples
from fasim.backends.cpu import CpuProgram
from fasim.network import Network
from fasim.schedule import Schedule, StepSettings
from fasim.state import State, initial_state, set_learning_rate

BATCH = 4
CONV = "6x6x1-3c3-2p-4c3s2-5-4"


def samples(network: Network, steps: int, batch: int = BATCH, seed: int = 1) -> Samples:
    random = np.random.default_rng(seed)
    codes = random.integers(0, 256, (steps * batch, network.inputs), dtype=np.uint8)
    return Samples(codes, random.integers(0, network.outputs, steps * batch))


def start(
    network: Network, rule: str, rate: float = 0.125, feedback_rate: float | None = None, **settings: Any
) -> tuple[Schedule, State]:
    """Return the training step of a rule and the state of a fresh run."""
    schedule = rules.training_step(network, rule, StepSettings(**({"batch_size": BATCH} | settings)))
    state = initial_state(network, schedule, 7)
    set_learning_rate(state, schedule, rate, feedback_rate)
    return schedule, state


def run(schedule: Schedule, state: State, data: Samples, steps: int, first: int = 0) -> None:
    """Train over the steps from the first on, in place."""
    size = schedule.batch_size
    CpuProgram(schedule).run(state, data, np.arange(first * size, (first + steps) * size), first)


def trained(network: Network, rule: str, steps: int = 10, change: State | None = None, **options: Any) -> State:
    """Return the state after some steps; `change` replaces arrays of the initial one."""
    schedule, state = start(network, rule, **options)
    for name, array in (change or {}).items():
        state[name][:] = array
    run(schedule, state, samples(network, steps, schedule.batch_size), steps)
    return state


def parameters(state: State) -> State:
    """Return weights, biases and normalisation of a state."""
    groups = ("weight", "bias", "gain", "shift", "running_mean", "running_var")
    return {name: array for name, array in state.items() if name.partition(".")[0] in groups}


def same_bits(one: State, other: State) -> bool:
    """Tell whether two states hold the same parameters, bit for bit."""
    first, second = parameters(one), parameters(other)
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def distance(one: State, other: State) -> float:
    """Return the largest difference of any parameter."""
    first, second = parameters(one), parameters(other)
    assert first.keys() == second.keys()
    return max(float(np.abs(first[name] - second[name]).max()) for name in first)
