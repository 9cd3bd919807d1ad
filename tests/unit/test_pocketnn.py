"""PocketNN's rules end to end: its step in plain whole numbers, beside the preset, weight for weight.

Song and Lin 2022 (arXiv:2201.02863): forward ``z / (2^8 I)``, a piecewise tanh, direct feedback of the raw output error,
division by whole-number reciprocals of the slope, update ``-sum / lrInv``; every division goes toward zero, as C's.
"""

from __future__ import annotations

import numpy as np
import pytest

from fasim.backends import Samples, get
from fasim.fixedpoint import load_datapath
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import StepSettings
from fasim.state import initial_state, set_learning_rate

SIZES, BATCH, RATE, TARGET = (12, 9, 7, 4), 20, 1000, 15
JOINTS, RECIPROCALS = (-127, -74, -31, 32, 75, 128), (127, 8, 2, 1, 2, 8, 127)


def toward_zero(numbers, divisor):
    """Return the quotients that C gives."""
    return np.sign(numbers) * (abs(numbers) // abs(divisor)) * np.sign(divisor)


def pocket_tanh(x):
    """Return the function and the reciprocal of its slope."""
    piece = np.searchsorted(JOINTS, x, side="right")
    quarter = toward_zero(x, np.int64(4))
    values = [np.full_like(x, -127), quarter - 88, x - 32, 2 * x, x + 32, quarter + 88, np.full_like(x, 127)]
    return np.choose(piece, values), np.take(RECIPROCALS, piece)


def pocket_step(weights, biases, feedback, x, label):
    """Return the parameters after a step; lists of whole-number arrays, weights as (J, I)."""
    acts, slopes = [x], []
    for weight, bias in zip(weights, biases, strict=True):
        z = acts[-1] @ weight.T + bias
        act, reciprocal = pocket_tanh(toward_zero(z, np.int64(256 * weight.shape[1])))
        acts.append(act)
        slopes.append(reciprocal)
    error = acts[-1].copy()
    error[np.arange(len(label)), label] -= TARGET
    signals = [error @ matrix for matrix in feedback] + [error]
    new_weights, new_biases = [], []
    for weight, bias, signal, slope, act in zip(weights, biases, signals, slopes, acts[:-1], strict=True):
        delta = toward_zero(signal, slope)
        new_weights.append(np.clip(weight + toward_zero(delta.T @ act, np.int64(-RATE)), -32767, 32767))
        new_biases.append(np.clip(bias + toward_zero(delta.sum(0), np.int64(-RATE)), -32767, 32767))
    return new_weights, new_biases, acts[-1], slopes


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_forty_steps_are_pocketnn_s(backend):
    network = Network.parse("-".join(map(str, SIZES)), hidden="tanh", output="tanh", init="zero")
    settings = StepSettings(BATCH, loss="half_mse", error_scale="raw", feedback="pocketnn")
    schedule = training_step(network, "dfa", settings, load_datapath("pocketnn"))
    state = initial_state(network, schedule, 3)
    set_learning_rate(state, schedule, 1 / RATE)
    layers = range(1, len(SIZES))
    assert not any(state[f"weight.{layer}"].any() for layer in layers), "weights start at 0"
    for layer in layers[:-1]:
        bound = int(np.sqrt(12 * 32767 // (SIZES[layer - 1] + SIZES[layer])))
        assert 0.8 * bound < abs(state[f"feedback.{layer}"]).max() <= bound
    # weights as large as a long training makes them, so that all pieces of the function are met
    random = np.random.default_rng(5)
    for layer in layers:
        state[f"weight.{layer}"][...] = random.integers(-6000, 6001, state[f"weight.{layer}"].shape)
    wide = lambda name: [state[f"{name}.{layer}"].astype(np.int64) for layer in layers if f"{name}.{layer}" in state]  # noqa: E731
    weights, biases, feedback = wide("weight"), wide("bias"), wide("feedback")
    program, met = get(backend)(schedule, threads=1), set()
    for step in range(40 if backend == "cpu" else 3):
        x, label = random.integers(0, 256, (BATCH, SIZES[0])), random.integers(0, SIZES[-1], BATCH)
        weights, biases, _, slopes = pocket_step(weights, biases, feedback, x, label)
        met |= {int(value) for slope in slopes for value in np.unique(slope)}
        program.run(state, Samples(x.astype(np.uint8), label), np.arange(BATCH), step)
        for layer in layers:
            np.testing.assert_array_equal(state[f"weight.{layer}"], weights[layer - 1])
            np.testing.assert_array_equal(state[f"bias.{layer}"], biases[layer - 1])
    assert met == {1, 2, 8, 127}


def test_sums_below_the_inverse_rate_move_nothing():
    """The dead zone: |sum| < 1000 gives 0, 1000 gives 1, on both sides."""
    sums = np.array([-1001, -1000, -999, -1, 1, 999, 1000, 1999, 2000])
    assert toward_zero(sums, np.int64(-RATE)).tolist() == [1, 1, 0, 0, 0, 0, -1, -1, -2]
    network = Network.parse("1-1", output="tanh", init="zero")
    settings = StepSettings(1, loss="half_mse", error_scale="raw", feedback="pocketnn")
    schedule = training_step(network, "bp", settings, load_datapath("pocketnn"))
    program = get("cpu")(schedule)
    for code, moved in ((66, 0), (67, 1), (133, 1), (134, 2)):  # the error is -15: 15 * 66 = 990, 15 * 67 = 1005
        state = initial_state(network, schedule, 0)
        set_learning_rate(state, schedule, 1 / RATE)
        program.run(state, Samples(np.array([[code]], np.uint8), np.array([0])), np.arange(1), 0)
        assert state["weight.1"].tolist() == [[moved]]
