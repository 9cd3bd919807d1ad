"""Every rule in float: interpreter = written by hand, CPU kernels = interpreter, bp = PyTorch."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fasim import backends, rules
from fasim.backends import Samples
from fasim.backends.cpu import CpuProgram
from fasim.network import Network
from fasim.schedule import StepSettings
from fasim.state import State, initial_state, set_learning_rate
from tests.reference import float_step

NETS = ("6-5-3", "6-5-4-3", "5-4-6-3-3")
RULES = ("bp", "fa", "dfa", "sdfa", "drtp", "shallow")
WITH_RAW = ("dfa", "sdfa", "drtp")
LOSSES = (
    ("bce", "sigmoid"),
    ("cross_entropy", "softmax"),
    ("mse", "sigmoid"),
    ("mse", "tanh"),
    ("mse", "relu"),
    ("mse", "linear"),
)
# small enough that no sample saturates: float32 and float64 then stay together over the steps
RATES = {"sgd": 2.0**-5, "momentum": 2.0**-6, "adam": 2.0**-7}
BATCH, STEPS = 4, 3


def cases(rule: str) -> list[tuple[Network, dict[str, str]]]:
    """Return networks with the loss, reduction and error scale of a step; hidden functions take turns."""
    hidden = itertools.cycle(("tanh", "sigmoid", "relu", "linear"))
    scales = ("loss_gradient", "raw") if rule in WITH_RAW else ("loss_gradient",)
    return [
        (
            Network.parse(net, hidden=next(hidden), output=output),
            {"loss": loss, "reduction": reduction, "error_scale": scale},
        )
        for net, (loss, output), reduction, scale in itertools.product(NETS, LOSSES, ("sum", "mean"), scales)
    ]


def samples(network: Network, seed: int) -> Samples:
    random = np.random.default_rng(seed)
    codes = random.integers(0, 256, (BATCH * STEPS, network.inputs), dtype=np.uint8)
    return Samples(codes, random.integers(0, network.outputs, BATCH * STEPS))


def trained(
    backend: str, network: Network, rule: str, optimizer: str, setting: dict[str, str], seed: int
) -> tuple[State, State]:
    """Return the state before and after three steps."""
    schedule = rules.training_step(network, rule, StepSettings(BATCH, optimizer=optimizer, **setting))
    state = initial_state(network, schedule, seed)
    set_learning_rate(state, schedule, RATES[optimizer])
    before = {name: array.copy() for name, array in state.items()}
    backends.get(backend)(schedule).run(state, samples(network, seed), np.arange(BATCH * STEPS), 0)
    return before, state


def by_hand(
    network: Network, rule: str, optimizer: str, setting: dict[str, str], seed: int, state: State
) -> dict[str, np.ndarray]:
    """Return weights and biases after three steps of the float oracle, by tensor name."""
    layers = range(1, len(network.segments) + 1)
    weights = [state[f"weight.{layer}"].astype(float) for layer in layers]
    biases = [state[f"bias.{layer}"].astype(float) for layer in layers]
    data = samples(network, seed)
    arguments: dict[str, Any] = {key: setting[key] for key in ("loss", "reduction")}
    if rule not in ("bp", "shallow"):
        arguments["feedback"] = [state[f"feedback.{layer}"].astype(float) for layer in layers[:-1]]
    if rule in WITH_RAW:
        arguments["error_scale"] = setting["error_scale"]
    memory: dict[str, Any] = {"weight": None, "bias": None}
    for step in range(STEPS):
        batch = slice(step * BATCH, (step + 1) * BATCH)
        x, labels = data.codes[batch] / 256.0, data.labels[batch]
        found = getattr(float_step, rule)(
            x, labels, weights, biases, hidden=network.hidden, output=network.output, **arguments
        )

        def update(group: str, parameters: list[np.ndarray], gradients: list[Any], step: int = step) -> Any:
            rate = RATES[optimizer]
            if optimizer == "sgd":
                return float_step.sgd(parameters, gradients, rate)
            if optimizer == "momentum":
                new, memory[group] = float_step.momentum(parameters, gradients, memory[group], rate)
            else:
                new, memory[group] = float_step.adam(parameters, gradients, memory[group], rate, step)
            return new

        weights, biases = update("weight", weights, found.weights), update("bias", biases, found.biases)
    named = {"weight": weights, "bias": biases}
    return {f"{group}.{layer}": values[layer - 1] for group, values in named.items() for layer in layers}


@pytest.mark.parametrize("optimizer", RATES)
@pytest.mark.parametrize("rule", RULES)
def test_interpreter_is_the_rule_by_hand(rule: str, optimizer: str) -> None:
    moved = []
    for seed, (network, setting) in enumerate(cases(rule), 100):
        before, state = trained("reference", network, rule, optimizer, setting, seed)
        expected = by_hand(network, rule, optimizer, setting, seed, before)
        for name, array in expected.items():
            np.testing.assert_allclose(state[name], array, rtol=1e-12, atol=1e-12, err_msg=f"{network} {setting} {name}")
        ends = "weight.1", f"bias.{len(network.segments)}"
        moved.append([not np.array_equal(state[name], before[name]) for name in ends])
    # here and there an output of relu is dead and nothing moves
    first, last = np.mean(moved, axis=0)
    assert last > 0.8
    assert first == 0 if rule == "shallow" else first > 0.8


@pytest.mark.parametrize("optimizer", RATES)
@pytest.mark.parametrize("rule", RULES)
def test_cpu_is_the_interpreter(rule: str, optimizer: str) -> None:
    """Parameters and optimizer state, relative to the largest element of each."""
    for seed, (network, setting) in enumerate(cases(rule), 200):
        before, state = trained("cpu", network, rule, optimizer, setting, seed)
        _, expected = trained("reference", network, rule, optimizer, setting, seed)
        assert state.keys() == expected.keys()
        for name, array in expected.items():
            assert state[name].dtype == before[name].dtype
            largest = np.abs(array).max() or 1.0
            np.testing.assert_allclose(
                state[name], array, rtol=0, atol=1e-5 * largest, err_msg=f"{network} {setting} {name}"
            )


GOLDEN = Path(__file__).resolve().parents[1] / "golden"
TORCH = json.loads((GOLDEN / "bp_torch.json").read_text(encoding="utf-8"))["cases"]


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "bp_torch.npz", allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


@pytest.mark.parametrize("case", TORCH, ids=lambda case: case["name"])
def test_bp_on_the_cpu_is_autograd(case: dict[str, str], golden: dict[str, np.ndarray]) -> None:
    """Gradients and deltas, and the step of learning rate 1 that the gradients make."""

    def get(key: str) -> np.ndarray:
        return golden[f"{case['name']}/{key}"]

    codes, labels = get("x") * 256, get("labels")
    assert np.array_equal(codes, codes.astype(np.uint8))
    sizes = [codes.shape[1], *(len(get(f"bias.{layer}")) for layer in (1, 2, 3))]
    network = Network.parse("-".join(map(str, sizes)), hidden=case["hidden"], output=case["output"])
    settings = StepSettings(len(codes), loss=case["loss"], reduction=case["reduction"])
    schedule = rules.training_step(network, "bp", settings)
    state = initial_state(network, schedule, 0)
    names = [f"{group}.{layer}" for group in ("weight", "bias") for layer in (1, 2, 3)]
    for name in names:
        assert state[name].shape == get(name).shape
        state[name][:] = get(name)
    set_learning_rate(state, schedule, 1.0)
    program = CpuProgram(schedule)
    program.run(state, Samples(codes.astype(np.uint8), labels), np.arange(len(codes)), 0)
    for name in names:
        gradient = get(f"gradient.{name}")
        assert np.any(gradient)
        close(program.buffers[f"gradient.{name}"], gradient)
        close(state[name], get(name) - gradient)
    deltas = {layer: f"delta.{layer}" for layer in (1, 2, 3)}
    if "delta.3" not in schedule.tensors:
        deltas[3] = "error"  # the delta of bce and cross_entropy, summed, is the error itself
    for layer, name in deltas.items():
        close(program.buffers[name], get(f"delta.{layer}"))


def close(actual: np.ndarray, expected: np.ndarray) -> None:
    """Compare to 1e-5 of the largest element."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
