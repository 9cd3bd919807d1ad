"""Write the golden gradients and optimizer steps that PyTorch computes (float64, CPU).

Run ``python tests/golden/make_bp_golden.py`` with torch installed; it writes ``bp_torch.npz``
and ``bp_torch.json`` beside this file. The numbers come from NumPy's seeded generator, so that a
second run writes the same arrays.
"""

from __future__ import annotations

import itertools
import json
import platform
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
SIZES = (6, 5, 4, 3)
SAMPLES = 4
OPTIMIZER_STEPS = 4
HIDDEN = ("tanh", "sigmoid", "relu")
OUTPUT_AND_LOSS = (
    ("sigmoid", "bce"),
    ("softmax", "cross_entropy"),
    ("tanh", "mse"),
    ("linear", "mse"),
)
ACTIVATIONS = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu}


def leaf(array: np.ndarray) -> torch.Tensor:
    """Return the array as a float64 tensor with a gradient."""
    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


def gradient_of(tensor: torch.Tensor) -> np.ndarray:
    """Return what autograd left on a tensor."""
    assert tensor.grad is not None
    return tensor.grad.numpy()


def loss_of(preact: torch.Tensor, labels: torch.Tensor, output: str, loss: str, reduction: str) -> torch.Tensor:
    """Return PyTorch's loss of the last preact."""
    if loss == "cross_entropy":
        return torch.nn.functional.cross_entropy(preact, labels, reduction=reduction)
    target = torch.nn.functional.one_hot(labels, SIZES[-1]).to(torch.float64)
    act = preact if output == "linear" else ACTIVATIONS[output](preact)
    if loss == "bce":
        return torch.nn.functional.binary_cross_entropy(act, target, reduction=reduction)
    return torch.nn.functional.mse_loss(act, target, reduction=reduction)


def bp_case(case: dict[str, str], seed: int) -> dict[str, np.ndarray]:
    """Return the inputs of one network and autograd's gradients at every preact and parameter."""
    rng = np.random.default_rng(seed)
    arrays = {
        "x": rng.integers(0, 256, (SAMPLES, SIZES[0])) / 256.0,
        "labels": rng.integers(0, SIZES[-1], SAMPLES),
    }
    params: list[tuple[torch.Tensor, torch.Tensor]] = []
    preacts: list[torch.Tensor] = []
    act = torch.tensor(arrays["x"], dtype=torch.float64)
    for layer, (inputs, units) in enumerate(itertools.pairwise(SIZES), start=1):
        arrays[f"weight.{layer}"] = rng.uniform(-1.0, 1.0, (units, inputs))
        arrays[f"bias.{layer}"] = rng.uniform(-0.5, 0.5, units)
        weight, bias = leaf(arrays[f"weight.{layer}"]), leaf(arrays[f"bias.{layer}"])
        preact = torch.nn.functional.linear(act, weight, bias)
        preact.retain_grad()
        preacts.append(preact)
        params.append((weight, bias))
        act = ACTIVATIONS[case["hidden"]](preact)
    labels = torch.tensor(arrays["labels"])
    loss = loss_of(preacts[-1], labels, case["output"], case["loss"], case["reduction"])
    loss.backward()
    arrays["loss"] = np.array(loss.item())
    for layer, ((weight, bias), preact) in enumerate(zip(params, preacts, strict=True), start=1):
        arrays[f"delta.{layer}"] = gradient_of(preact)
        arrays[f"gradient.weight.{layer}"] = gradient_of(weight)
        arrays[f"gradient.bias.{layer}"] = gradient_of(bias)
    return arrays


def optimizer_case(name: str, lr: float, seed: int) -> dict[str, np.ndarray]:
    """Return one parameter, its gradients, and its value after each step of torch.optim."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(-1.0, 1.0, (3, 4))
    # spread over decades, one element without any gradient: Adam's eps then shows
    gradients = rng.normal(size=(OPTIMIZER_STEPS, 3, 4)) * 10.0 ** rng.integers(-8, 2, (3, 4))
    gradients[:, 0, 0] = 0.0
    parameter = leaf(start)
    if name == "adam":
        optimizer: torch.optim.Optimizer = torch.optim.Adam([parameter], lr=lr)
    else:
        optimizer = torch.optim.SGD([parameter], lr=lr, momentum=0.9 if name == "momentum" else 0.0)
    values = []
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        values.append(parameter.detach().numpy().copy())
    return {"start": start, "gradients": gradients, "values": np.array(values)}


def main() -> None:
    """Write both files."""
    cases: list[dict[str, str]] = []
    optimizers: list[dict[str, str | float]] = []
    arrays: dict[str, np.ndarray] = {}
    for hidden, (output, loss), reduction in itertools.product(HIDDEN, OUTPUT_AND_LOSS, ("sum", "mean")):
        case = {"hidden": hidden, "output": output, "loss": loss, "reduction": reduction}
        case["name"] = f"{hidden}-{output}-{loss}-{reduction}"
        for key, array in bp_case(case, seed=100 + len(cases)).items():
            arrays[f"{case['name']}/{key}"] = array
        cases.append(case)
    for seed, (name, lr) in enumerate((("sgd", 0.1), ("momentum", 0.05), ("adam", 0.01))):
        for key, array in optimizer_case(name, lr, seed).items():
            arrays[f"{name}/{key}"] = array
        optimizers.append({"name": name, "lr": lr})
    np.savez(HERE / "bp_torch.npz", allow_pickle=False, **arrays)
    record = {
        "oracle": "PyTorch autograd and torch.optim, float64, CPU",
        "command": "python tests/golden/make_bp_golden.py",
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "layers": len(SIZES) - 1,
        "cases": cases,
        "optimizers": optimizers,
    }
    (HERE / "bp_torch.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
