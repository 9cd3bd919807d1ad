"""The float oracle against PyTorch's golden numbers, finite differences and exact identities."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.reference import float_step

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
RECORD = json.loads((GOLDEN / "bp_torch.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in RECORD["cases"]}
OPTIMIZERS = {entry["name"]: entry["lr"] for entry in RECORD["optimizers"]}
LAYERS = range(1, RECORD["layers"] + 1)
LOSSES = [("sigmoid", "bce"), ("softmax", "cross_entropy"), ("tanh", "mse"), ("linear", "mse")]


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    """Return every array of the golden file."""
    with np.load(GOLDEN / "bp_torch.npz", allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


def close(actual: Any, expected: np.ndarray) -> None:
    """Compare in float64, far below the 1e-6 that a float32 path is allowed."""
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", CASES)
def test_bp_is_autograd(name: str, golden: dict[str, np.ndarray]) -> None:
    """Loss, deltas and gradients of bp are PyTorch's."""
    case = CASES[name]

    def get(key: str) -> np.ndarray:
        return golden[f"{name}/{key}"]

    weights = [get(f"weight.{layer}") for layer in LAYERS]
    biases = [get(f"bias.{layer}") for layer in LAYERS]
    setting: dict[str, Any] = {key: case[key] for key in ("hidden", "output", "loss", "reduction")}
    x, labels = get("x"), get("labels")
    _, acts = float_step.forward(x, weights, biases, case["hidden"], case["output"])
    target = float_step.one_hot(labels, acts[-1].shape[1])
    loss = float_step.loss_value(acts[-1], target, case["loss"], case["reduction"])
    close(loss, get("loss"))
    gradients = float_step.bp(x, labels, weights, biases, **setting)
    for layer in LAYERS:
        assert np.any(get(f"delta.{layer}"))
        close(gradients.deltas[layer - 1], get(f"delta.{layer}"))
        close(gradients.weights[layer - 1], get(f"gradient.weight.{layer}"))
        close(gradients.biases[layer - 1], get(f"gradient.bias.{layer}"))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_are_torch_optim(name: str, golden: dict[str, np.ndarray]) -> None:
    """Each step of sgd, momentum and adam is torch.optim's."""
    lr, state = OPTIMIZERS[name], None
    params = [golden[f"{name}/start"]]
    pairs = zip(golden[f"{name}/gradients"], golden[f"{name}/values"], strict=True)
    for step, (gradient, expected) in enumerate(pairs):
        if name == "sgd":
            params = float_step.sgd(params, [gradient], lr)
        elif name == "momentum":
            params, state = float_step.momentum(params, [gradient], state, lr, 0.9)
        else:
            params, state = float_step.adam(params, [gradient], state, lr, step)
        close(params[0], expected)


def net(sizes: tuple[int, ...], seed: int) -> dict[str, Any]:
    """Return a small network with a batch: x, labels, weights, biases."""
    rng = np.random.default_rng(seed)
    pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
    return {
        "x": rng.uniform(0.0, 1.0, (5, sizes[0])),
        "labels": rng.integers(0, sizes[-1], 5),
        "weights": [rng.uniform(-1.0, 1.0, (units, inputs)) for inputs, units in pairs],
        "biases": [rng.uniform(-0.5, 0.5, units) for _, units in pairs],
    }


def direct_feedback(sizes: tuple[int, ...], seed: int) -> list[np.ndarray]:
    """Return matrices (K, J) for each hidden layer."""
    rng = np.random.default_rng(seed)
    return [rng.uniform(-1.0, 1.0, (sizes[-1], units)) for units in sizes[1:-1]]


def difference(f: Callable[[], float], array: np.ndarray) -> np.ndarray:
    """Return df/darray by central differences, changing the array in place and back."""
    result = np.zeros_like(array)
    for at in np.ndindex(array.shape):
        value, h = array[at], 1e-6
        array[at] = value + h
        above = f()
        array[at] = value - h
        result[at] = (above - f()) / (2.0 * h)
        array[at] = value
    return result


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize(("output", "loss"), LOSSES)
def test_bp_is_the_slope_of_the_loss(output: str, loss: str, reduction: str) -> None:
    """The gradients of bp are finite differences of the loss."""
    data = net((4, 3, 3, 2), seed=1)

    def value() -> float:
        _, acts = float_step.forward(data["x"], data["weights"], data["biases"], "tanh", output)
        target = float_step.one_hot(data["labels"], 2)
        return float_step.loss_value(acts[-1], target, loss, reduction)

    gradients = float_step.bp(**data, hidden="tanh", output=output, loss=loss, reduction=reduction)
    for layer in range(3):
        for array, gradient in (
            (data["weights"][layer], gradients.weights[layer]),
            (data["biases"][layer], gradients.biases[layer]),
        ):
            np.testing.assert_allclose(gradient, difference(value, array), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("rule", ["dfa", "sdfa", "drtp"])
def test_hidden_gradient_is_the_slope_of_sent_signal_times_act(rule: str) -> None:
    """With the signal held fixed, a hidden gradient is that of ``sum(signal.l * act.l)``."""
    sizes = (4, 3, 3, 2)
    data, feedback = net(sizes, seed=2), direct_feedback(sizes, seed=3)
    setting: dict[str, Any] = {
        "hidden": "sigmoid",
        "output": "tanh",
        "loss": "mse",
        "reduction": "mean",
    }
    gradients = getattr(float_step, rule)(**data, feedback=feedback, **setting)
    _, acts = float_step.forward(data["x"], data["weights"], data["biases"], "sigmoid", "tanh")
    error, s = acts[-1] - np.eye(2)[data["labels"]], 2.0 / (5 * 2)
    sent = {
        "dfa": s * error * (1.0 - acts[-1] ** 2),
        "sdfa": s * np.where(error > 0, 1.0, -1.0),
        "drtp": s * np.eye(2)[data["labels"]],
    }[rule]
    for layer in (1, 2):
        signal = sent @ feedback[layer - 1]

        def value(layer: int = layer, signal: np.ndarray = signal) -> float:
            w, b = data["weights"], data["biases"]
            _, acts = float_step.forward(data["x"], w, b, "sigmoid", "tanh")
            return float((signal * acts[layer]).sum())

        expected = difference(value, data["weights"][layer - 1])
        np.testing.assert_allclose(gradients.weights[layer - 1], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("output", "loss"), LOSSES)
def test_feedback_equal_to_the_weights_gives_bp(output: str, loss: str) -> None:
    """With B = W, fa is bp, and so is dfa of one hidden layer."""
    setting: dict[str, Any] = {
        "hidden": "tanh",
        "output": output,
        "loss": loss,
        "reduction": "mean",
    }
    deep, flat = net((4, 5, 3, 2), seed=4), net((4, 5, 3), seed=5)
    for data, rule in ((deep, float_step.fa), (flat, float_step.fa), (flat, float_step.dfa)):
        expected = float_step.bp(**data, **setting)
        actual = rule(**data, feedback=data["weights"][1:], **setting)
        for a, e in zip(actual.weights, expected.weights, strict=True):
            np.testing.assert_array_equal(a, e)


def test_fa_chains_the_feedback_and_dfa_does_not() -> None:
    """The signals through two hidden layers, written out once more."""
    sizes = (4, 5, 3, 2)
    data = net(sizes, seed=6)
    setting: dict[str, Any] = {
        "hidden": "tanh",
        "output": "sigmoid",
        "loss": "bce",
        "reduction": "sum",
    }
    rng = np.random.default_rng(7)
    chain = [rng.uniform(-1.0, 1.0, (3, 5)), rng.uniform(-1.0, 1.0, (2, 3))]
    direct = direct_feedback(sizes, seed=8)
    _, acts = float_step.forward(data["x"], data["weights"], data["biases"], "tanh", "sigmoid")
    error = acts[-1] - np.eye(2)[data["labels"]]
    slope1, slope2 = 1.0 - acts[1] ** 2, 1.0 - acts[2] ** 2
    fa = float_step.fa(**data, feedback=chain, **setting)
    close(fa.deltas[0], (((error @ chain[1]) * slope2) @ chain[0]) * slope1)
    dfa = float_step.dfa(**data, feedback=direct, **setting)
    close(dfa.deltas[0], (error @ direct[0]) * slope1)
    close(dfa.deltas[1], (error @ direct[1]) * slope2)
    close(dfa.deltas[2], error)


def test_classifier_signs_depend_on_the_label_only() -> None:
    """With a sigmoid, sdfa sends (sum of rows) - 2 row label; drtp sends + row label."""
    sizes = (4, 5, 3)
    data, feedback = net(sizes, seed=9), direct_feedback(sizes, seed=10)
    setting: dict[str, Any] = {
        "hidden": "linear",
        "output": "sigmoid",
        "loss": "bce",
        "reduction": "sum",
    }
    rows = feedback[0][data["labels"]]
    sdfa = float_step.sdfa(**data, feedback=feedback, **setting)
    close(sdfa.deltas[0], feedback[0].sum(axis=0) - 2.0 * rows)
    drtp = float_step.drtp(**data, feedback=feedback, **setting)
    close(drtp.deltas[0], rows)


def test_sign_of_zero_error_is_zero() -> None:
    """An output equal to its target sends nothing."""
    setting: dict[str, Any] = {
        "hidden": "linear",
        "output": "linear",
        "loss": "mse",
        "reduction": "sum",
    }
    one, zero, matrix = np.array([[1.0]]), np.array([0.0]), [np.array([[3.0]])]
    gradients = float_step.sdfa(one, [0], [one, one], [zero, zero], matrix, **setting)
    assert gradients.deltas[0].item() == 0.0


@pytest.mark.parametrize(
    ("loss", "output", "reduction", "s"),
    [
        ("bce", "sigmoid", "sum", 1.0),
        ("bce", "sigmoid", "mean", 1.0 / 10),
        ("cross_entropy", "softmax", "mean", 1.0 / 5),
        ("mse", "linear", "sum", 2.0),
        ("mse", "linear", "mean", 2.0 / 10),
    ],
)
@pytest.mark.parametrize("rule", ["dfa", "sdfa", "drtp"])
def test_raw_leaves_out_s_in_hidden_layers_only(rule: str, loss: str, output: str, reduction: str, s: float) -> None:
    """With these outputs the scaled signal is s times the raw one; the output delta stays."""
    sizes = (4, 3, 2)
    data, feedback = net(sizes, seed=11), direct_feedback(sizes, seed=12)
    setting: dict[str, Any] = {
        "hidden": "tanh",
        "output": output,
        "loss": loss,
        "reduction": reduction,
    }
    f = getattr(float_step, rule)
    scaled = f(**data, feedback=feedback, **setting)
    raw = f(**data, feedback=feedback, **setting, error_scale="raw")
    assert np.any(raw.deltas[0])
    close(scaled.deltas[0], s * raw.deltas[0])
    close(scaled.deltas[1], raw.deltas[1])


def test_shallow_trains_the_output_layer_only() -> None:
    """Hidden entries are None and the optimizers leave those parameters as they are."""
    data = net((4, 3, 3, 2), seed=13)
    setting: dict[str, Any] = {
        "hidden": "tanh",
        "output": "sigmoid",
        "loss": "bce",
        "reduction": "sum",
    }
    gradients, full = float_step.shallow(**data, **setting), float_step.bp(**data, **setting)
    assert gradients.deltas[:2] == gradients.weights[:2] == gradients.biases[:2] == [None, None]
    close(gradients.weights[2], full.weights[2])
    for new in (
        float_step.sgd(data["weights"], gradients.weights, 0.1),
        float_step.momentum(data["weights"], gradients.weights, None, 0.1)[0],
        float_step.adam(data["weights"], gradients.weights, None, 0.1, 0)[0],
    ):
        np.testing.assert_array_equal(new[0], data["weights"][0])
        assert np.all(new[2] != data["weights"][2])
