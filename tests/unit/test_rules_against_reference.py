"""One step of every rule in float32 against the independent float64 reference, from the same random state."""

from __future__ import annotations

import numpy as np
import pytest

from fasim import rules
from fasim.backends.cpu import CpuProgram
from fasim.network import AveragePool, Conv2d, MaxPool
from tests import reference_bridge as bridge
from tests.reference_cases import CONV, DENSE, RATE, Case, cases

FIRST_STEP = 3
TOLERANCE = 1e-5
# a parameter of float32 cannot change by less than half its last bit
LAST_BIT = 2.0**-23


def differences(case: Case, rule: str) -> dict[str, float]:
    """Return how far each tensor of one step is from the reference, as a part of its largest element."""
    schedule = case.schedule(rule)
    start = case.state(schedule)
    state = {name: array.copy() for name, array in start.items()}
    data, rows = case.samples(), np.arange(case.settings.batch_size)
    program = CpuProgram(schedule)
    program.run(state, data, rows, FIRST_STEP)
    x = bridge.inputs(case.network, data, rows)
    expected = bridge.advance(case.network, rule, case.settings, start, x, data.labels[rows], FIRST_STEP)

    found = {"output": bridge.worst(program.buffers["output"], expected.output)}
    for name, delta in expected.deltas.items():
        if name in schedule.tensors:
            found[name] = bridge.worst(program.buffers[name].reshape(delta.shape), delta)
    scales = {name: _scale(name, expected, state) for name in expected.gradients}
    for name, gradient in expected.gradients.items():
        for tensor, value in ((f"gradient.{name}", gradient), (f"clipped.{name}", expected.clipped[name])):
            if tensor in schedule.tensors and schedule.tensors[tensor].storage != "register":
                found[tensor] = bridge.worst(program.buffers[tensor].reshape(value.shape), value, scales[name])
    assert expected.state.keys() == state.keys()
    for name, array in state.items():
        old, new = start[name].astype(np.float64), expected.state[name]
        error = np.abs(array - new).max() - LAST_BIT * np.abs(new).max()
        kind, _, parameter = name.partition(".")
        sums = kind in ("velocity", "moment1")
        scale = scales.get(parameter, 0.0) if sums else RATE * scales.get(name, 0.0)
        scale = max(float(np.abs(new - old).max()), scale)
        found[f"change of {name}"] = max(0.0, float(error / scale if scale else error))
    return found


def _scale(name: str, expected: bridge.Advance, state: dict[str, np.ndarray]) -> float:
    """Return what a gradient is held against: its largest element before clipping.

    Normalisation takes away what a bias adds: the gradient of such a bias is a sum that cancels, held against its terms.
    """
    group, _, layer = name.partition(".")
    if group == "bias" and f"gain.{layer}" in state:
        return float(np.abs(expected.deltas[f"delta.{layer}"]).sum())
    return float(np.abs(expected.gradients[name]).max())


@pytest.mark.parametrize("rule", rules.names())
def test_one_step_is_the_reference(rule: str) -> None:
    for case in cases(rule):
        for name, error in differences(case, rule).items():
            assert error <= TOLERANCE, f"{case}: {name} differs by {error:.1e}"


def test_every_feature_is_in_two_cases() -> None:
    every = [(case, case.settings) for case in DENSE + CONV]

    def count(text: str) -> int:
        return sum(text in str(case) for case, _ in every)

    for where in ("pre_pool", "post_pool"):
        assert sum(settings.hook == where for _, settings in every) > 2
    for setting, values in {
        "loss": ("bce", "cross_entropy", "mse"),
        "reduction": ("sum", "mean"),
        "target": ("label", "value", "input"),
        "error_scale": ("loss_gradient", "raw"),
        "optimizer": ("sgd", "momentum", "nesterov", "rmsprop", "adam"),
    }.items():
        for value in values:
            assert sum(getattr(settings, setting) == value for _, settings in every) >= 2, value
    for kind in ("coupled", "decoupled", "adamw"):
        assert sum(s.decay_kind == kind and s.weight_decay > 0 for _, s in every) >= 2
    for text in ("batch_norm", "'dropout'", "input_dropout", "classical", "value:", "norm:", "fgsm", "freeze"):
        assert count(text) >= 2, text
    layers = [layer for case in CONV for layer in case.network.layers]
    for kind in (MaxPool, AveragePool):
        assert sum(isinstance(layer, kind) for layer in layers) >= 2
    convolutions = [layer for layer in layers if isinstance(layer, Conv2d)]
    assert sum(layer.stride > 1 for layer in convolutions) >= 2
    assert sum(layer.padding > 0 for layer in convolutions) >= 2
    assert sum(case.standardised for case, _ in every) >= 2
    assert all(len(case.network.segments) >= 3 for case in DENSE + CONV)
