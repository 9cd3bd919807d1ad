"""The gradients of lafs are those of each layer's own cross-entropy: finite differences through the float64 backend."""

from __future__ import annotations

import numpy as np
import pytest

from fasim import rules
from fasim.backends import Samples
from fasim.backends.reference import ReferenceProgram
from fasim.network import Network
from fasim.schedule import Schedule, StepSettings
from fasim.state import State, initial_state, set_learning_rate
from tests.reference.finite_differences import difference

BATCH = 5
CASES = {
    "dense": ("6-5-4-3", {}),
    "dense, norm and dropout": ("6-5-4-3", {"batch_norm": True, "dropout": 0.3, "input_dropout": 0.2}),
    "conv, max pool": ("6x6x2-3c3-2p-3c3s2p0-4-3", {"dropout": 0.2}),
    "conv, average pool, norm": ("6x6x1-2c3-3as2-2c2p0-4-3", {"batch_norm": True, "hidden": "sigmoid"}),
}


def local_loss(schedule: Schedule, state: State, data: Samples, layer: int, reduction: str) -> float:
    """Return ``-sum log softmax(act @ feedback.T)[label]`` of a hidden layer, or its mean over the batch."""
    guess = ReferenceProgram(schedule).values(dict(state), data, [f"guess.{layer}"])[f"guess.{layer}"]
    terms = -np.log(guess[np.arange(BATCH), data.labels])
    return float(terms.sum() if reduction == "sum" else terms.mean())


@pytest.mark.parametrize("hook", ["pre_pool", "post_pool"])
@pytest.mark.parametrize("case", CASES)
def test_hidden_gradients_are_of_the_local_loss(case: str, hook: str) -> None:
    net, options = CASES[case]
    network = Network.parse(net, **options)
    reduction = "mean" if hook == "pre_pool" else "sum"
    schedule = rules.training_step(network, "lafs", StepSettings(BATCH, hook=hook, reduction=reduction))
    random = np.random.default_rng(3)
    data = Samples(
        random.integers(0, 256, (BATCH, network.inputs), dtype=np.uint8), random.integers(0, network.outputs, BATCH)
    )
    state = initial_state(network, schedule, 2)
    set_learning_rate(state, schedule, 1.0)
    state = {name: array if name == "seed" else array.astype(np.float64) for name, array in state.items()}
    for layer in range(1, len(network.segments)):
        own = [name for name in (f"{group}.{layer}" for group in ("weight", "bias", "gain", "shift")) if name in state]
        names = [f"gradient.{name}" for name in own]
        found = ReferenceProgram(schedule).values(dict(state), data, names)
        assert np.abs(found[f"gradient.weight.{layer}"]).max() > 1e-4
        for name in own:

            def loss(layer: int = layer) -> float:
                return local_loss(schedule, state, data, layer, reduction)

            expected = difference(loss, state[name])
            np.testing.assert_allclose(found[f"gradient.{name}"], expected, rtol=1e-5, atol=1e-8, err_msg=name)


def test_the_output_layer_has_the_gradient_of_the_loss_and_hidden_ones_do_not() -> None:
    """The local loss of layer 2 also depends on layer 1: lafs leaves that part out, it is local."""
    network = Network.parse("6-5-4-3")
    schedule = rules.training_step(network, "lafs", StepSettings(BATCH))
    random = np.random.default_rng(3)
    data = Samples(random.integers(0, 256, (BATCH, 6), dtype=np.uint8), random.integers(0, 3, BATCH))
    state = initial_state(network, schedule, 2)
    set_learning_rate(state, schedule, 1.0)
    state = {name: array if name == "seed" else array.astype(np.float64) for name, array in state.items()}
    found = ReferenceProgram(schedule).values(dict(state), data, ["gradient.weight.1", "gradient.weight.3"])

    def output_loss() -> float:
        output = ReferenceProgram(schedule).values(dict(state), data, ["output"])["output"]
        hit = np.arange(3) == data.labels[:, None]
        return float(-np.log(np.where(hit, output, 1 - output)).sum())

    of_output = [difference(output_loss, state[f"weight.{layer}"]) for layer in (1, 3)]
    of_second = difference(lambda: local_loss(schedule, state, data, 2, "sum"), state["weight.1"])
    np.testing.assert_allclose(found["gradient.weight.3"], of_output[1], rtol=1e-5, atol=1e-8)
    for other in (of_output[0], of_second):
        assert np.abs(found["gradient.weight.1"] - other).max() > 0.1 * np.abs(other).max()
