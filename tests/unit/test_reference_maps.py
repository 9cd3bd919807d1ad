"""The oracle of maps and segments against finite differences, PyTorch and hand-made numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.reference import maps
from tests.reference.finite_differences import difference
from tests.reference.float_functions import loss_value
from tests.reference.learning import Learning, learn
from tests.reference.random_nets import Plan, draw
from tests.reference.rules import Step, bp, fgsm, start
from tests.reference.segments import Pool, Segment, forward, transport

MAPS = [
    Plan("conv", 3, padding=1, stride=2, norm=True, pool=Pool("max", 2, 2)),
    Plan("conv", 4, "sigmoid", kernel=2, keep=0.7, pool=Pool("average", 2, 1)),
    Plan("dense", 5, norm=True, keep=0.6),
]
OVERLAP = [
    Plan("conv", 2, "relu", padding=2, norm=True, keep=0.8, pool=Pool("max", 3, 2)),
    Plan("conv", 3, "relu", padding=1, stride=2, norm=True),
    Plan("dense", 4, "relu"),
]
DENSE = [Plan("dense", 5, norm=True, keep=0.7), Plan("dense", 4, "sigmoid"), Plan("dense", 3, "linear", keep=0.5)]
CASES: dict[str, tuple[tuple[int, ...], list[Plan], str, str, str]] = {
    "maps": ((14, 16, 2), [*MAPS, Plan("dense", 3, "softmax")], "cross_entropy", "mean", "labels"),
    "overlap": ((7, 8, 1), [*OVERLAP, Plan("dense", 3, "sigmoid")], "bce", "sum", "labels"),
    "regression": ((4,), [*DENSE, Plan("dense", 3, "linear")], "mse", "mean", "matrix"),
    "autoencoder": ((4,), [*DENSE, Plan("dense", 4, "sigmoid")], "mse", "sum", "input"),
}


def case(name: str, seed: int = 1) -> tuple[Callable[[], Step], list[Segment], np.ndarray]:
    """Return (a function that starts the step anew, its segments, its input); a part of the input is dropped."""
    shape, plans, loss, reduction, target = CASES[name]
    x, segments = draw(seed, 4, shape, plans)
    rng = np.random.default_rng(seed + 100)
    mask = (rng.uniform(size=x.shape) < 0.8).astype(np.float64)
    given: Any = {"labels": np.array([0, 2, 1, 2]), "matrix": rng.normal(size=(4, 3)), "input": x.reshape(4, -1).copy()}[
        target
    ]

    def again() -> Step:
        return start(x, given, segments, loss=loss, reduction=reduction, input_mask=mask, input_scale=1.25)

    return again, segments, x


def loss_of(step: Step, name: str) -> float:
    return loss_value(step.passed[-1].end, step.target, CASES[name][2], CASES[name][3])


@pytest.mark.parametrize("name", CASES)
def test_bp_is_the_slope_of_the_loss(name: str) -> None:
    """Weights, biases, gains, shifts and the input, through normalisation, dropout and both poolings."""
    again, segments, x = case(name)
    gradients = bp(again())

    def value() -> float:
        return loss_of(again(), name)

    def check(actual: Any, array: np.ndarray) -> None:
        np.testing.assert_allclose(actual, difference(value, array), rtol=1e-6, atol=1e-8)

    for layer, segment in enumerate(segments):
        assert np.any(gradients.weights[layer])
        check(gradients.weights[layer], segment.weight)
        check(gradients.biases[layer], segment.bias)
        if segment.norm is None:
            assert gradients.gains[layer] is None
        else:
            check(gradients.gains[layer], segment.norm.gain)
            check(gradients.shifts[layer], segment.norm.shift)
    step = again()
    of_x = transport(step.passed[0], gradients.deltas[0], segments[0].weight).reshape(x.shape)
    of_x = of_x * step.input_mask * step.input_scale
    check(of_x, x)
    np.testing.assert_array_equal(fgsm(step, 0.25), x + 0.25 * np.sign(of_x))
    assert np.any(of_x == 0.0)


def test_fgsm_raises_the_loss() -> None:
    """A small step along the sign goes uphill."""
    again, _, x = case("regression")
    before = loss_of(again(), "regression")
    x[:] = fgsm(again(), 1e-3)
    assert loss_of(again(), "regression") > before


def test_convolution_is_the_sum_over_its_window() -> None:
    """Every output written out as loops over one sample's window."""
    rng = np.random.default_rng(2)
    act, weight, bias = rng.normal(size=(2, 6, 5, 3)), rng.normal(size=(4, 3, 2, 3)), rng.normal(size=4)
    out = maps.conv_forward(act, weight, bias, stride=2, padding=1)
    assert out.shape == (2, 3, 3, 4)
    for n, p, q, j in np.ndindex(out.shape):
        total = bias[j]
        for r, s, c in np.ndindex(3, 2, 3):
            h, w = 2 * p + r - 1, 2 * q + s - 1
            if 0 <= h < 6 and 0 <= w < 5:
                total += weight[j, r, s, c] * act[n, h, w, c]
        assert out[n, p, q, j] == pytest.approx(total, rel=1e-12)


def test_places_no_window_reads_get_no_gradient() -> None:
    """With stride 3 and a kernel of 2, every third row and column of the input stays 0."""
    delta, weight = np.ones((1, 2, 2, 1)), np.ones((1, 2, 2, 1))
    gradient = maps.conv_input_gradient(delta, weight, (6, 6), stride=3)[0, :, :, 0]
    line = np.array([1.0, 1.0, 0.0, 1.0, 1.0, 0.0])
    np.testing.assert_array_equal(gradient, np.outer(line, line))


def test_a_tie_goes_to_the_first_and_overlaps_add() -> None:
    """Maxima of equal values, and a value that wins two windows."""
    equal = np.zeros((1, 2, 2, 1))
    _, index = maps.max_pool(equal, 2, 2)
    back = maps.max_unpool(np.ones((1, 1, 1, 1)), index, 2, 2, (2, 2))
    np.testing.assert_array_equal(back[0, :, :, 0], [[1.0, 0.0], [0.0, 0.0]])
    row = np.array([0.0, 0.0, 5.0, 0.0, 0.0])
    act = np.stack([row, row, row])[None, :, :, None] * np.array([1.0, 3.0, 2.0])[None, :, None, None]
    out, index = maps.max_pool(act, 3, 2)
    np.testing.assert_array_equal(out[0, :, :, 0], [[15.0, 15.0]])
    np.testing.assert_array_equal(index[0, :, :, 0], [[5, 3]])
    back = maps.max_unpool(np.array([[[[1.0], [10.0]]]]), index, 3, 2, (3, 5))
    assert back[0, 1, 2, 0] == back.sum() == 11.0
    mean = maps.average_unpool(np.array([[[[9.0], [18.0]]]]), 3, 2, (3, 5))[0, :, :, 0]
    np.testing.assert_array_equal(mean, np.tile([1.0, 1.0, 3.0, 2.0, 2.0], (3, 1)))


def test_dropout_and_its_backward_pass_are_the_mask() -> None:
    """The same factor both ways; no mask is no change."""
    values = np.array([[1.0, -2.0, 3.0]])
    np.testing.assert_array_equal(maps.dropout(values, np.array([[1.0, 0.0, 1.0]]), 2.0), [[2.0, 0.0, 6.0]])
    assert maps.dropout(values, None, 2.0) is values


def test_one_value_has_no_variance() -> None:
    """A batch of one value per channel is refused, as in PyTorch."""
    one = np.ones(3)
    with pytest.raises(ValueError, match="at least 2"):
        maps.batch_norm(np.ones((1, 3)), one, one, one, one)


class Twin:
    """The same network in PyTorch, float64: parameters in the oracle's layout, so that gradients compare directly."""

    def __init__(self, torch: Any, segments: list[Segment]) -> None:
        self.torch, self.segments = torch, segments
        self.parameters: list[Any] = []
        self.running: list[Any] = []
        for segment in segments:
            norm = segment.norm
            own = [segment.weight, segment.bias] + ([] if norm is None else [norm.gain, norm.shift])
            self.parameters.append([torch.tensor(array, requires_grad=True) for array in own])
            self.running.append(
                None if norm is None else [torch.tensor(array) for array in (norm.running_mean, norm.running_var)]
            )

    def forward(self, x: np.ndarray, training: bool = True) -> Any:
        """Return the output's pre-activation."""
        F = self.torch.nn.functional
        value = self.torch.tensor(x)
        for segment, parameters, running in zip(self.segments, self.parameters, self.running, strict=True):
            weight, bias, *affine = parameters
            if segment.kind == "conv":
                value = value.permute(0, 3, 1, 2)
                value = F.conv2d(value, weight.permute(0, 3, 1, 2), bias, segment.stride, segment.padding)
            else:
                value = F.linear(value.flatten(1), weight, bias)
            if running is not None:
                value = F.batch_norm(value, *running, *affine, training=training, momentum=0.1, eps=1e-5)
            if segment.activation != "softmax":
                value = {"tanh": self.torch.tanh, "relu": self.torch.relu, "sigmoid": self.torch.sigmoid}[
                    segment.activation
                ](value)
            if segment.pool is not None:
                pool = F.max_pool2d if segment.pool.kind == "max" else F.avg_pool2d
                value = pool(value, segment.pool.kernel, segment.pool.stride)
            if segment.kind == "conv":
                value = value.permute(0, 2, 3, 1)
        return value


TORCH_NET = [
    Plan("conv", 4, "relu", padding=1, stride=2, norm=True, pool=Pool("max", 3, 2)),
    Plan("conv", 5, "tanh", kernel=2, norm=True, pool=Pool("average", 2, 1)),
    Plan("dense", 6, "sigmoid", norm=True),
    Plan("dense", 3, "softmax"),
]


@pytest.mark.parametrize(
    ("optimizer", "decay_kind"),
    [("nesterov", "coupled"), ("rmsprop", "coupled"), ("momentum", "coupled"), ("adam", "coupled"), ("adam", "adamw")],
)
def test_twenty_steps_are_torch(optimizer: str, decay_kind: str) -> None:
    """Gradients, parameters, running statistics and evaluation of conv + normalisation + pools, new data each step."""
    torch = pytest.importorskip("torch", reason="the torch oracle is not installed")
    x, segments = draw(3, 6, (14, 13, 2), TORCH_NET)
    twin = Twin(torch, segments)
    flat = [parameter for own in twin.parameters for parameter in own]
    lr, decay = 0.01, 0.05
    torch_optimizer = {
        "nesterov": lambda: torch.optim.SGD(flat, lr, momentum=0.9, nesterov=True, weight_decay=decay),
        "momentum": lambda: torch.optim.SGD(flat, lr, momentum=0.9, weight_decay=decay),
        "rmsprop": lambda: torch.optim.RMSprop(flat, lr, weight_decay=decay),
        "adam": lambda: (torch.optim.AdamW if decay_kind == "adamw" else torch.optim.Adam)(flat, lr, weight_decay=decay),
    }[optimizer]()
    rng, state = np.random.default_rng(4), {}
    learning = Learning(optimizer, lr, decay, decay_kind)
    for number in range(20):
        x, labels = rng.normal(size=x.shape), rng.integers(0, 3, len(x))
        torch_optimizer.zero_grad()
        torch.nn.functional.cross_entropy(twin.forward(x), torch.tensor(labels)).backward()
        torch_optimizer.step()
        step = start(x, labels, segments, loss="cross_entropy", reduction="mean")
        gradients = bp(step)
        segments, _, state = learn(step, gradients, [], state, weights=learning, step=number, decay_all=True)
        for layer, (segment, parameters, running) in enumerate(zip(segments, twin.parameters, twin.running, strict=True)):
            pairs = [(gradients.weights[layer], parameters[0].grad), (segment.weight, parameters[0])]
            pairs += [(gradients.biases[layer], parameters[1].grad), (segment.bias, parameters[1])]
            if segment.norm is not None:
                # Normalisation takes the bias out: its gradient is rounding, which some optimizers blow up.
                segment.bias[:] = parameters[1].detach().numpy()
                pairs = pairs[:3]
                pairs += [(gradients.gains[layer], parameters[2].grad), (gradients.shifts[layer], parameters[3].grad)]
                pairs += [(segment.norm.gain, parameters[2]), (segment.norm.shift, parameters[3])]
                pairs += [(segment.norm.running_mean, running[0]), (segment.norm.running_var, running[1])]
            for actual, expected in pairs:
                np.testing.assert_allclose(actual, expected.detach().numpy(), rtol=1e-7, atol=1e-10)
    twin.segments = segments
    with torch.no_grad():
        expected = torch.softmax(twin.forward(x, training=False), dim=1).numpy()
    np.testing.assert_allclose(forward(x, segments, training=False)[-1].end, expected, rtol=1e-7)
