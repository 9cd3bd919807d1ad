"""BP with convolution, batch normalisation and pooling on the cpu backend against PyTorch, live."""

from __future__ import annotations

import numpy as np
import pytest

from fasim.backends import Samples
from fasim.backends.cpu import CpuProgram
from fasim.network import Conv2d, MaxPool, Network
from fasim.rules import training_step
from fasim.schedule import StepSettings
from fasim.state import State, initial_state, set_learning_rate

torch = pytest.importorskip("torch")

BATCH, STEPS, RATE = 8, 20, 2.0**-6
NETS = (
    "8x8x2-4c3-2p-5c3s2p1-6-4",
    "9x7x1-4c3p0-2as1-3c2s2p1-5-4",
    "11x11x1-3c3-3ps2-4c3s2p0-4",
    "8x8x1-4c3-4c3p0-2a-7-6-4",
)
OPTIMIZERS = ("sgd", "nesterov", "adam")


def theirs(network: Network, state: State) -> torch.nn.Sequential:
    """Return the same network in PyTorch, with the parameters of a state; dense layers read (C, H, W) there."""
    modules: list[torch.nn.Module] = []
    maps: tuple[int, ...] = ()
    for segment in network.segments:
        layer = segment.layer
        weight = torch.tensor(state[f"weight.{segment.index}"])
        if isinstance(layer, Conv2d):
            channels = segment.in_shape[2]
            module = torch.nn.Conv2d(channels, layer.channels, layer.kernel, layer.stride, layer.padding)
            weight = weight.permute(0, 3, 1, 2)
            norm = torch.nn.BatchNorm2d(layer.channels)
        else:
            if maps:
                modules.append(torch.nn.Flatten())
                weight = weight.reshape(len(weight), *maps).permute(0, 3, 1, 2).flatten(1)
            module = torch.nn.Linear(weight.shape[1], layer.units)
            norm = torch.nn.BatchNorm1d(layer.units)
        with torch.no_grad():
            module.weight.copy_(weight)
            module.bias.copy_(torch.tensor(state[f"bias.{segment.index}"]))
        modules.append(module)
        if segment.norm:
            modules.append(norm)
        if segment.activation != "softmax":  # cross entropy takes logits
            modules.append({"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}[segment.activation]())
        if segment.pool:
            kind = torch.nn.MaxPool2d if isinstance(segment.pool, MaxPool) else torch.nn.AvgPool2d
            modules.append(kind(segment.pool.kernel, segment.pool.stride))
        maps = segment.out_shape if isinstance(layer, Conv2d) else ()
    return torch.nn.Sequential(*modules)


def parameters(network: Network, module: torch.nn.Sequential, *, gradients: bool = False) -> dict[str, np.ndarray]:
    """Return what the modules hold, or its gradients, by our names and in our layout."""
    trained = iter([m for m in module if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)])
    norms = iter([m for m in module if isinstance(m, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)])
    found: dict[str, np.ndarray] = {}

    def values(parameter: torch.Tensor) -> np.ndarray:
        return (parameter.grad if gradients else parameter).detach().numpy()

    for segment in network.segments:
        own = next(trained)
        weight = values(own.weight)
        if isinstance(segment.layer, Conv2d):
            weight = weight.transpose(0, 2, 3, 1)
        elif len(segment.in_shape) == 3:
            height, width, channels = segment.in_shape
            weight = weight.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
        found[f"weight.{segment.index}"] = weight.reshape(segment.weight_shape)
        found[f"bias.{segment.index}"] = values(own.bias)
        if segment.norm:
            norm = next(norms)
            found |= {f"gain.{segment.index}": values(norm.weight), f"shift.{segment.index}": values(norm.bias)}
            if not gradients:
                found[f"running_mean.{segment.index}"] = norm.running_mean.numpy()
                found[f"running_var.{segment.index}"] = norm.running_var.numpy()
    return found


def optimizer_of(name: str, module: torch.nn.Sequential) -> torch.optim.Optimizer:
    if name == "adam":
        return torch.optim.Adam(module.parameters(), RATE)
    momentum = 0.9 if name == "nesterov" else 0.0
    return torch.optim.SGD(module.parameters(), RATE, momentum=momentum, nesterov=name == "nesterov")


def samples(network: Network, steps: int) -> Samples:
    random = np.random.default_rng(4)
    codes = random.integers(0, 256, (steps * BATCH, network.inputs), dtype=np.uint8)
    return Samples(codes, random.integers(0, network.outputs, steps * BATCH))


def train(network: Network, module: torch.nn.Sequential, data: Samples, optimizer: torch.optim.Optimizer) -> None:
    maps = data.codes.reshape(-1, *network.input_shape).transpose(0, 3, 1, 2).astype(np.float32) / 256
    for start in range(0, len(maps), BATCH):
        optimizer.zero_grad()
        logits = module(torch.tensor(maps[start : start + BATCH]))
        torch.nn.functional.cross_entropy(logits, torch.tensor(data.labels[start : start + BATCH])).backward()
        optimizer.step()


def make(net: str, *, norm: bool, hidden: str, optimizer: str) -> tuple[Network, CpuProgram, State]:
    network = Network.parse(net, hidden=hidden, output="softmax", batch_norm=norm)
    settings = StepSettings(BATCH, loss="cross_entropy", reduction="mean", optimizer=optimizer)
    schedule = training_step(network, "bp", settings)
    state = initial_state(network, schedule, 5)
    set_learning_rate(state, schedule, RATE)
    return network, CpuProgram(schedule), state


@pytest.mark.parametrize("hidden", ["tanh", "relu"])
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("net", NETS)
def test_gradients_of_one_step(net: str, norm: bool, hidden: str) -> None:
    network, program, state = make(net, norm=norm, hidden=hidden, optimizer="sgd")
    module, data = theirs(network, state), samples(network, 1)
    train(network, module, data, optimizer_of("sgd", module))
    program.run(state, data, np.arange(BATCH), 0)
    for name, gradient in parameters(network, module, gradients=True).items():
        found = program.buffers[f"gradient.{name}"].reshape(gradient.shape)
        group, _, layer = name.partition(".")
        # the gradient of a bias before normalisation is 0, a sum that cancels
        cancels = group == "bias" and f"gain.{layer}" in state
        scale = np.abs(program.buffers[f"delta.{layer}"]).sum() if cancels else np.abs(gradient).max()
        assert scale > 0
        np.testing.assert_allclose(found, gradient, rtol=0, atol=1e-5 * scale, err_msg=name)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("net", NETS[:2])
def test_twenty_steps(net: str, norm: bool, optimizer: str) -> None:
    network, program, state = make(net, norm=norm, hidden="tanh", optimizer=optimizer)
    module, data = theirs(network, state), samples(network, STEPS)
    before = {name: array.copy() for name, array in state.items()}
    train(network, module, data, optimizer_of(optimizer, module))
    program.run(state, data, np.arange(STEPS * BATCH), 0)
    for name, expected in parameters(network, module).items():
        group, _, layer = name.partition(".")
        if f"gain.{layer}" in state and group in ("bias", "running_mean"):
            continue  # adam makes steps of rounding errors of a gradient that is 0; nothing but the mean sees them
        moved = np.abs(state[name] - before[name]).max()
        assert moved > 1e-3, name
        np.testing.assert_allclose(state[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)
