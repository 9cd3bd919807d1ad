"""E, the training step that most write in PyTorch: modules, autograd, SGD; and the same after ``torch.compile``.

``python benchmarks/eager_torch.py NET BATCH`` times both in turns and prints how many times faster the compiled one is, and
how long it took to compile; the benchmark calls it with a time limit.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import torch

from fasim.backends import Samples
from fasim.network import Conv2d, Dense, Network

ROUNDS, TURN_S = 9, 0.2


def modules(network: Network) -> torch.nn.Sequential:
    """Return a network of tanh layers up to the output's pre-activations, on images (N, C, H, W) or rows (N, I)."""
    parts: list[torch.nn.Module] = []
    for segment in network.segments:
        if isinstance(segment.layer, Conv2d):
            layer = segment.layer
            parts.append(torch.nn.Conv2d(segment.in_shape[2], layer.channels, layer.kernel, layer.stride, layer.padding))
        else:
            assert isinstance(segment.layer, Dense)
            if len(segment.in_shape) == 3:
                parts.append(torch.nn.Flatten())
            parts.append(torch.nn.Linear(segment.weight_shape[1], segment.layer.units))
        if segment.index < len(network.segments):
            parts.append(torch.nn.Tanh())
        if segment.pool is not None:
            parts.append(torch.nn.MaxPool2d(segment.pool.kernel, segment.pool.stride))
    return torch.nn.Sequential(*parts)


class Eager:
    """E for one network and batch size; always backpropagation."""

    def __init__(self, network: Network, data: Samples, order: np.ndarray, batch: int, rate: float) -> None:
        x = torch.from_numpy(data.codes * data.scale)
        if len(network.input_shape) == 3:
            x = x.reshape(-1, *network.input_shape).permute(0, 3, 1, 2).contiguous()
        self.x, self.targets = x, torch.eye(network.outputs)[torch.from_numpy(data.labels)]
        self.rows = torch.from_numpy(order).split(batch)[: len(order) // batch]
        self.model: torch.nn.Module = modules(network)
        self.loss = torch.nn.BCEWithLogitsLoss(reduction="sum")
        self.optimizer = torch.optim.SGD(self.model.parameters(), rate)
        self.initial = [parameter.detach().clone() for parameter in self.model.parameters()]

    def restart(self) -> None:
        """Go back to the initial weights and biases."""
        with torch.no_grad():
            for parameter, initial in zip(self.model.parameters(), self.initial, strict=True):
                parameter.copy_(initial)

    def run(self, steps: int) -> None:
        """Train over so many batches."""
        for step in range(steps):
            rows = self.rows[step % len(self.rows)]
            self.optimizer.zero_grad()
            self.loss(self.model(self.x[rows]), self.targets[rows]).backward()
            self.optimizer.step()


def main() -> None:
    """Compare eager and compiled steps."""
    from cases import LEARNING_RATE, samples_of
    from turns import clock_of, in_turns, times_faster

    torch.set_num_threads(1)
    network, batch = Network.parse(sys.argv[1]), int(sys.argv[2])
    data, order = samples_of(network)
    eager, compiled = (Eager(network, data, order, batch, LEARNING_RATE) for _ in range(2))
    compiled.model = torch.compile(compiled.model)  # type: ignore[assignment]
    started = time.perf_counter()
    compiled.run(2)
    seconds = time.perf_counter() - started
    times = in_turns({"eager": eager, "compiled": compiled}, ROUNDS, {"eager": TURN_S, "compiled": TURN_S}, clock_of(1))
    faster = times_faster(times["compiled"], times["eager"])
    print(json.dumps({"times_eager": round(faster, 2), "first_steps_s": round(seconds, 1)}))


if __name__ == "__main__":
    main()
