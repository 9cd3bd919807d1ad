"""Facts about whole runs from zero weights: linear feedback alignment, the wake-up of layers, the theorem of drtp."""

from __future__ import annotations

import numpy as np
import pytest

from fasim.backends import Samples
from fasim.network import Network
from fasim.schedule import Schedule
from fasim.state import State
from tests.small_runs import run, samples, start

# --- Lillicrap et al. 2016: two linear layers ---------------------------------------------------

INPUTS, UNITS, OUTPUTS = 6, 8, 4
TIME = 2.0


def white() -> tuple[np.ndarray, Samples]:
    """Return a linear map M and the samples ``(x, M x)`` with ``sum x x.T = 1``.

    They come in pairs x, -x, whose errors are opposite: no bias ever moves, and the network stays two matrices.
    """
    target = np.random.default_rng(3).uniform(-1.0, 1.0, (OUTPUTS, INPUTS))
    x = np.repeat(np.eye(INPUTS), 2, axis=0) / np.sqrt(2)
    x[1::2] *= -1
    return target, Samples(x.astype(np.float32), (x @ target.T).astype(np.float32))


def linear_run(rate: float) -> tuple[list[np.ndarray], list[float]]:
    """Return, step by step, the matrix that stays and the sum of squares that falls; ``rate * steps`` is fixed."""
    target, data = white()
    network = Network.parse(f"{INPUTS}-{UNITS}-{OUTPUTS}", hidden="linear", output="linear", init="zero")
    schedule, state = start(network, "fa", rate, batch_size=2 * INPUTS, loss="mse", target="value")
    feedback = state["feedback.1"].astype(np.float64).T
    kept, squares = [], []
    for _ in range(round(TIME / rate)):
        run(schedule, state, data, 1)
        first, second = state["weight.1"].astype(np.float64), state["weight.2"].astype(np.float64)
        kept.append(feedback @ second + second.T @ feedback.T - first @ first.T)
        squares.append(float(((feedback @ (target - second @ first)) ** 2).sum()))
    assert not np.any(state["bias.1"])
    assert not np.any(state["bias.2"])
    return kept, squares


def test_linear_feedback_alignment_keeps_its_invariant() -> None:
    """``B W + W.T B.T - A A.T`` starts at 0 and stays there, but for the square of the step: half of it, half the drift."""
    coarse, fine, finest = (np.abs(linear_run(rate)[0][-1]).max() for rate in (2.0**-6, 2.0**-7, 2.0**-8))
    assert 0 < coarse < 0.1
    assert coarse / fine == pytest.approx(2, rel=0.1)
    assert fine / finest == pytest.approx(2, rel=0.1)


def test_linear_feedback_alignment_descends() -> None:
    """``|B E|^2`` falls in every step, and with more units than outputs takes the error with it."""
    target, _ = white()
    _, squares = linear_run(2.0**-7)
    assert all(new < old for old, new in zip(squares, squares[1:], strict=False))
    assert squares[-1] < 0.05 * squares[0]


# --- how layers wake up from zero weights -------------------------------------------------------

DEPTH = 4


def awake(hidden: str, steps: int, rule: str = "dfa", *, biases: bool = True) -> list[list[int]]:
    """Return after each step the layers whose weights are not all zero; without biases they are put back to zero."""
    network = Network.parse("6-5-7-5-4", hidden=hidden, init="zero")
    schedule, state = start(network, rule)
    data, found = samples(network, steps), []
    for step in range(steps):
        run(schedule, state, data, 1, step)
        for layer in range(1, DEPTH + 1):
            if not biases:
                state[f"bias.{layer}"][:] = 0
        found.append([layer for layer in range(1, DEPTH + 1) if np.any(state[f"weight.{layer}"])])
    return found


ALL = list(range(1, DEPTH + 1))


@pytest.mark.parametrize("rule", ["dfa", "sdfa", "drtp", "fa"])
def test_tanh_wakes_one_layer_a_step(rule: str) -> None:
    """Weights grow where what they read is not zero: at first the inputs alone."""
    assert awake("tanh", DEPTH + 1, rule, biases=False) == [[1], [1, 2], [1, 2, 3], ALL, ALL]


def test_bp_never_wakes_beyond_its_output() -> None:
    """Its signal goes through the weights themselves: only the biases of the output learn, with or without the others."""
    assert awake("tanh", 4, "bp") == [[], [], [], []]
    assert awake("sigmoid", 1, "bp") == [[DEPTH]]


def test_biases_wake_all_layers_in_the_second_step() -> None:
    assert awake("tanh", 3) == [[1], ALL, ALL]


def test_sigmoid_is_awake_at_once() -> None:
    """Its activations start at one half."""
    assert awake("sigmoid", 1) == [ALL]
    assert awake("sigmoid", 1, biases=False) == [ALL]


@pytest.mark.parametrize("rule", ["dfa", "drtp", "fa"])
def test_relu_never_wakes(rule: str) -> None:
    """Its slope at zero is zero, so no hidden bias moves either and the output reads zeros for ever."""
    assert awake("relu", 5, rule) == [[]] * 5
    assert awake("relu", 5, rule, biases=False) == [[]] * 5


# --- the theorem of drtp ------------------------------------------------------------------------


def deltas_of_bp(state: State, x: np.ndarray, target: np.ndarray, depth: int) -> list[np.ndarray]:
    """Return ``-(product of the transposed weights above l) (T - Y)`` for the linear hidden layers l."""
    act = x
    for layer in range(1, depth + 1):
        act = state[f"weight.{layer}"].astype(np.float64) @ act + state[f"bias.{layer}"]
    signal = -(target - 1 / (1 + np.exp(-act)))
    found: list[np.ndarray] = []
    for layer in range(depth, 1, -1):
        signal = state[f"weight.{layer}"].astype(np.float64).T @ signal
        found.insert(0, signal)
    return found


def cosines(rule: str, steps: int) -> list[list[float]]:
    """Return after each step the cosine between what drtp sends, ``B.T T``, and what bp would, for each hidden layer."""
    network = Network.parse("6-5-7-4", hidden="linear", init="zero")
    schedule: Schedule
    schedule, state = start(network, rule, 2.0**-6, batch_size=1)
    data = samples(network, 1, 1)
    target, x = np.eye(4)[data.labels[0]], data.codes[0] / 256.0
    found = []
    for step in range(steps):
        run(schedule, state, data, 1)
        if step:  # after the first step a layer above is still zero, and bp sends nothing
            signals = deltas_of_bp(state, x, target, 3)
            rows = [state[f"feedback.{layer}"][data.labels[0]].astype(np.float64) for layer in (1, 2)]
            found.append([float(s @ b / np.sqrt((s @ s) * (b @ b))) for s, b in zip(signals, rows, strict=True)])
    return found


def test_drtp_sends_less_than_ninety_degrees_from_bp() -> None:
    """For one example and linear hidden layers that start at zero, at every step."""
    found = np.array(cosines("drtp", 100))
    assert found.shape == (99, 2)
    assert found.min() > 0
    np.testing.assert_allclose(found, 1, atol=1e-4)  # the weights then are products of the two vectors themselves


def test_other_weights_do_not_align_with_drtp() -> None:
    """The same angles with weights that learn from other feedback: shown so that the theorem is no tautology."""
    found = np.array(cosines("sdfa", 100))
    assert np.abs(found - 1).max() > 0.1
