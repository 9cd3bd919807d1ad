"""BP on the cpu backend against PyTorch's autograd and optimizers, live; the golden file covers machines without torch."""

from __future__ import annotations

import numpy as np
import pytest

from fasim.backends import Samples
from fasim.backends.cpu import CpuProgram
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import StepSettings
from fasim.state import initial_state, set_learning_rate

torch = pytest.importorskip("torch")

OUTPUT = {"bce": "sigmoid", "cross_entropy": "softmax", "mse": "linear"}
STEPS, BATCH = 5, 8


def torch_loss(name, reduction, logits, labels):
    target = torch.nn.functional.one_hot(labels, logits.shape[1]).float()
    if name == "bce":
        return torch.nn.functional.binary_cross_entropy(torch.sigmoid(logits), target, reduction=reduction)
    if name == "cross_entropy":
        return torch.nn.functional.cross_entropy(logits, labels, reduction=reduction)
    return torch.nn.functional.mse_loss(logits, target, reduction=reduction)


def torch_optimizer(name, parameters, rate):
    if name == "adam":
        return torch.optim.Adam(parameters, rate)
    return torch.optim.SGD(parameters, rate, momentum=0.9 if name == "momentum" else 0.0)


@pytest.mark.parametrize("loss", OUTPUT)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_five_steps(loss, reduction, optimizer):
    network = Network.parse("12-9-7-4", output=OUTPUT[loss])
    step = StepSettings(BATCH, loss=loss, reduction=reduction, optimizer=optimizer)
    schedule = training_step(network, "bp", step)
    state = initial_state(network, schedule, 1)
    rate = 0.01
    set_learning_rate(state, schedule, rate)
    random = np.random.default_rng(2)
    codes = random.integers(0, 256, (STEPS * BATCH, 12)).astype(np.uint8)
    labels = random.integers(0, 4, STEPS * BATCH)

    weights = [torch.tensor(state[f"weight.{layer}"].copy(), requires_grad=True) for layer in (1, 2, 3)]
    biases = [torch.tensor(state[f"bias.{layer}"].copy(), requires_grad=True) for layer in (1, 2, 3)]
    theirs = torch_optimizer(optimizer, [*weights, *biases], rate)
    for start in range(0, STEPS * BATCH, BATCH):
        act = torch.tensor(codes[start : start + BATCH].astype(np.float32) / 256)
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            act = torch.tanh(act @ weight.T + bias)
        logits = act @ weights[-1].T + biases[-1]
        theirs.zero_grad()
        torch_loss(loss, reduction, logits, torch.tensor(labels[start : start + BATCH])).backward()
        theirs.step()

    CpuProgram(schedule).run(state, Samples(codes, labels), np.arange(STEPS * BATCH), 0)
    for layer in (1, 2, 3):
        np.testing.assert_allclose(state[f"weight.{layer}"], weights[layer - 1].detach().numpy(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(state[f"bias.{layer}"], biases[layer - 1].detach().numpy(), rtol=1e-5, atol=1e-6)
