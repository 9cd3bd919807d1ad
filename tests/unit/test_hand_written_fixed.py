"""The fixed-point oracle against numbers worked out by hand and against the float oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.reference import fixed_step, float_step
from tests.reference.philox import random_word

RULES_WITH_RAW = ["dfa", "sdfa", "drtp"]
RULES = ["bp", "fa", "dfa", "sdfa", "drtp", "shallow"]
RND_SAT = dict.fromkeys(("weight", "preact", "error", "delta", "update"), ("RND", "SAT"))

NARROW: dict[str, Any] = {
    "input": (8, 8, False),
    "weight": (8, 6, True),
    "master": None,
    "bias": (8, 6, True),
    "preact": (8, 4, True),
    "act": (8, 7, True),
    "slope": (8, 8, False),
    "error": (8, 7, True),
    "delta": (8, 7, True),
    "feedback": [(8, 6, True)],
    "cast": RND_SAT,
}
BCE: dict[str, Any] = {
    "hidden": "tanh",
    "output": "sigmoid",
    "loss": "bce",
    "lr_shift": 2,
    "seed": 0,
    "step": 0,
}


@pytest.mark.parametrize(("rule", "weight1", "bias1"), [("bp", 36, -1), ("dfa", 47, 13)])
def test_bce_step_by_hand(rule: str, weight1: int, bias1: int) -> None:
    """A 1-1-1 net, tanh and sigmoid.

    Forward: acc.1 = 192 * 40 + (4 << 8) = 8704 at frac 14, preact.1 = 8.5 -> 9, act.1 = 65,
    slope.1 = 189; acc.2 = 65 * -48 + (10 << 7) = -1840 at frac 13, preact.2 = -3.59 -> -4,
    act.2 = sigmoid(-1/4) = 0.43782 * 128 = 56.04 -> 56; error = delta.2 = 56 - 128 = -72.
    bp: signal -72 * -48 = 3456, * 189 / 2^(7+6+8-7) = 39.87 -> delta.1 = 40.
    dfa: signal -72 * 90 = -6480, * 189 / 2^14 = -74.75 -> delta.1 = -75.
    Updates: weight.2: -72 * 65 / 2^(7+7+2-6) = -4.57 -> -5; bias.2: -72 / 2^3 = -9;
    weight.1: bp 40 * 192 / 2^(7+8+2-6) = 3.75 -> 4, dfa -7.03 -> -7; bias.1: 5 or -9.375 -> -9.
    """
    state = {
        "weight": [[[40]], [[-48]]],
        "master": None,
        "bias": [[4], [10]],
        "feedback": [[[90]]],
    }
    new, counts = fixed_step.step(rule, state, [[192]], [0], NARROW, **BCE)
    assert new["weight"] == [[[weight1]], [[-43]]]
    assert new["bias"] == [[bias1], [19]]
    assert new["master"] is None
    assert new["feedback"] == [[[90]]]
    assert state["weight"] == [[[40]], [[-48]]]
    names = "preact.1 preact.2 error delta.1 update.weight.1 update.bias.1 update.weight.2"
    assert counts == dict.fromkeys([*names.split(), "update.bias.2"], (0, 0))
    assert fixed_step.evaluate(state, [[192]], NARROW, hidden="tanh", output="sigmoid", functions="table") == [[56]]


MSE_SPEC: dict[str, Any] = {
    **NARROW,
    "master": (16, 12, True),
    "act": (8, 5, True),
    "error": (8, 4, True),
    "delta": (8, 6, True),
    "feedback": [(8, 5, True)],
}


@pytest.mark.parametrize(
    ("rule", "error_scale", "delta1"),
    [
        ("bp", "loss_gradient", 64),  # -128 * -32 * 255 / 2^(6+6+8-6) = 63.75
        ("fa", "loss_gradient", -80),  # -128 * 20 * 255 / 2^(6+5+8-6) = -79.69
        ("dfa", "loss_gradient", -80),
        ("dfa", "raw", -45),  # -18 * 20 * 255 / 2^(4+5+8-6) = -44.82
        ("sdfa", "loss_gradient", -80),  # -20 * 255 / 2^(5-1+8-6) = -79.69
        ("sdfa", "raw", -40),
        ("drtp", "loss_gradient", 80),
        ("drtp", "raw", 40),
    ],
)
def test_mse_step_with_master_by_hand(rule: str, error_scale: str, delta1: int) -> None:
    """A 1-1-1 net, relu and linear, a 16-bit master; the output delta saturates.

    Forward: 64 * 64 = 4096 at frac 14, preact.1 = 4, act.1 = 8, slope.1 = 255; 8 * -32 = -256 at
    frac 11, preact.2 = -2, act.2 = -4; error = (-4 - 32) / 2 = -18 at frac 4; delta.2 = 2 * error
    = -18 at frac 3, at frac 6 -144, held at -128.
    Updates, learning rate 1/2: master.2: -128 * 8, shift 0; bias.2: -128 / 2;
    master.1: delta.1 * 64 / 2^(6+8+1-12); bias.1: delta.1 / 2, ties up.
    """
    state = {
        "weight": [[[64]], [[-32]]],
        "master": [[[4096]], [[-2048]]],
        "bias": [[0], [0]],
        "feedback": [[[20]]],
    }
    setting: dict[str, Any] = {
        **BCE,
        "hidden": "relu",
        "output": "linear",
        "loss": "mse",
        "lr_shift": 1,
    }
    new, counts = fixed_step.step(rule, state, [[64]], [0], MSE_SPEC, **setting, error_scale=error_scale)
    assert new["master"] == [[[4096 - 8 * delta1]], [[-1024]]]
    copy = fixed_step.cast(4096 - 8 * delta1, 12, (8, 6, True), "RND", "SAT")[0]
    assert new["weight"] == [[[copy]], [[-16]]]
    assert new["bias"] == [[{64: -32, -80: 40, -45: 22, -40: 20, 80: -40, 40: -20}[delta1]], [64]]
    names = ["preact.1", "preact.2", "error", "delta.1", "delta.2"]
    for layer in (1, 2):
        names += [f"update.weight.{layer}", f"update.bias.{layer}", f"weight.{layer}"]
    assert counts == {**dict.fromkeys(names, (0, 0)), "delta.2": (1, 0)}


def test_wrapped_delta_and_shallow_by_hand() -> None:
    """With WRAP delta.2 = -144 + 256 = 112; shallow leaves the hidden layer and its sites out."""
    spec = {**MSE_SPEC, "cast": {**RND_SAT, "delta": ("RND", "WRAP")}}
    state = {
        "weight": np.array([[[64]], [[-32]]]),
        "master": [[[4096]], [[-2048]]],
        "bias": [[0], [0]],
        "feedback": None,
    }
    setting: dict[str, Any] = {
        **BCE,
        "hidden": "relu",
        "output": "linear",
        "loss": "mse",
        "lr_shift": 1,
    }
    new, counts = fixed_step.step("shallow", state, np.array([[64]]), [0], spec, **setting)
    assert new["master"] == [[[4096]], [[-2048 - 112 * 8]]]
    assert new["bias"] == [[0], [-56]]
    assert counts.pop("delta.2") == (0, 1)
    names = ["preact.1", "preact.2", "error", "update.weight.2", "update.bias.2", "weight.2"]
    assert counts == dict.fromkeys(names, (0, 0))


def test_bias_finer_than_the_product_by_hand() -> None:
    """The accumulator takes the finer frac: 1 * 1 at 14 and 8 at 18 give 24 at 18.

    preact = 24 / 2^5 = 0.75 -> 1; a bias rounded to the product's frac first would give
    1 / 2 -> 0, ties to even.
    """
    spec = {**NARROW, "bias": (8, 18, True), "preact": (8, 13, True), "act": (8, 13, True)}
    spec["cast"] = {**RND_SAT, "preact": ("RND_CONV", "SAT")}
    state = {"weight": [[[1]]], "master": None, "bias": [[8]], "feedback": None}
    assert fixed_step.evaluate(state, [[1]], spec, hidden="tanh", output="linear") == [[1]]


# Every frac differs, so that a term missing from any shift shows.
WIDE: dict[str, Any] = {
    "input": (8, 8, False),
    "weight": (40, 20, True),
    "master": (64, 40, True),
    "bias": (48, 35, True),
    "preact": (44, 30, True),
    "act": (48, 33, True),
    "slope": (48, 34, False),
    "error": (48, 32, True),
    "delta": (48, 31, True),
    "feedback": [(40, 21, True), (40, 22, True)],
    "cast": RND_SAT,
}
SIZES = (5, 4, 3, 2)


def random_state(rule: str, spec: dict[str, Any], scale: float = 1.0) -> dict[str, Any]:
    """Return integer weights, biases and feedback of a 5-4-3-2 net, drawn in +-scale."""
    rng = np.random.default_rng(21)
    layers = list(zip(SIZES[:-1], SIZES[1:], strict=True))

    def draw(shape: tuple[int, ...], frac: int) -> list[Any]:
        return np.rint(rng.uniform(-scale, scale, shape) * 2**frac).astype(np.int64).tolist()

    weight = [draw((units, inputs), spec["weight"][1]) for inputs, units in layers]
    master = None
    if spec["master"]:
        up = spec["master"][1] - spec["weight"][1]
        master = [[[w << up for w in row] for row in matrix] for matrix in weight]
    sent = (SIZES[2], SIZES[3]) if rule == "fa" else (SIZES[3], SIZES[3])
    return {
        "weight": weight,
        "master": master,
        "bias": [draw((units,), spec["bias"][1]) for _, units in layers],
        "feedback": [draw((sent[k], SIZES[k + 1]), spec["feedback"][k][1]) for k in (0, 1)],
    }


def batch() -> tuple[np.ndarray, list[int]]:
    """Return three samples of codes and their labels."""
    return np.random.default_rng(22).integers(0, 256, (3, SIZES[0])), [1, 0, 1]


@pytest.mark.parametrize(
    ("hidden", "output", "loss"),
    [("tanh", "sigmoid", "bce"), ("sigmoid", "tanh", "mse"), ("relu", "linear", "mse"),
     ("linear", "sigmoid", "mse")],
)  # fmt: skip
@pytest.mark.parametrize(
    ("rule", "error_scale"),
    [(rule, "loss_gradient") for rule in RULES] + [(rule, "raw") for rule in RULES_WITH_RAW],
)
def test_wide_formats_approach_float(rule: str, hidden: str, output: str, loss: str, error_scale: str) -> None:
    """With about 30 frac bits the new weights are those of the float oracle."""
    state, (codes, labels) = random_state(rule, WIDE), batch()
    weights = [np.array(w) / 2.0**20 for w in state["weight"]]
    biases = [np.array(b) / 2.0**35 for b in state["bias"]]
    arguments: dict[str, Any] = {"reduction": "sum"}
    if rule not in ("bp", "shallow"):
        fracs = [fmt[1] for fmt in WIDE["feedback"]]
        pairs = zip(state["feedback"], fracs, strict=True)
        arguments["feedback"] = [np.array(b) / 2.0**frac for b, frac in pairs]
    if rule in RULES_WITH_RAW:
        arguments["error_scale"] = error_scale
    names = {"hidden": hidden, "output": output, "loss": loss}
    gradients = getattr(float_step, rule)(codes / 256.0, labels, weights, biases, **names, **arguments)
    new, counts = fixed_step.step(
        rule, state, codes, labels, WIDE, **names, lr_shift=3, seed=0, step=0,
        error_scale=error_scale, functions="exact",
    )  # fmt: skip
    assert set(counts.values()) == {(0, 0)}
    weights = float_step.sgd(weights, gradients.weights, 2.0**-3)
    biases = float_step.sgd(biases, gradients.biases, 2.0**-3)
    for layer in range(3):
        master = np.array(new["master"][layer])
        np.testing.assert_allclose(master / 2.0**40, weights[layer], rtol=0, atol=2.0**-29)
        np.testing.assert_allclose(np.array(new["bias"][layer]) / 2.0**35, biases[layer], rtol=0, atol=2.0**-29)
        np.testing.assert_array_equal(new["weight"][layer], (master + (1 << 19)) >> 20)


SMALL: dict[str, Any] = {**NARROW, "delta": (8, 9, True), "feedback": [(8, 6, True)] * 2}


@pytest.mark.parametrize("rule", RULES)
def test_tables_and_exact_functions_agree(rule: str) -> None:
    """A table holds what the function gives at each entry; small formats do saturate."""
    state, (codes, labels) = random_state(rule, SMALL), batch()
    results = [
        fixed_step.step(rule, state, codes, labels, SMALL, **BCE, functions=functions) for functions in ("table", "exact")
    ]
    assert results[0] == results[1]
    assert results[0][0]["weight"][2] != state["weight"][2]


def test_stochastic_update_reads_the_word_of_site_step_and_position() -> None:
    """Every element of update.weight.2 rounds by its own word."""
    state, (codes, labels) = random_state("dfa", SMALL), batch()
    stoch = {**SMALL, "cast": {**RND_SAT, "update": ("STOCH", "SAT")}}
    # a master at frac 9 + 7 + 2 (delta, act, learning rate) receives the sums without rounding
    exact = {**SMALL, "master": (40, 18, True)}
    start = {**state, "master": [[[w << 12 for w in r] for r in m] for m in state["weight"]]}
    whole, _ = fixed_step.step("dfa", start, codes, labels, exact, **BCE)
    seed, step = 3 << 40 | 17, 5
    new, _ = fixed_step.step("dfa", state, codes, labels, stoch, **{**BCE, "seed": seed, "step": step})
    for unit in range(SIZES[2]):
        for source in range(SIZES[1]):
            index = unit * SIZES[1] + source
            total = start["master"][1][unit][source] - whole["master"][1][unit][source]
            word = random_word(seed, "update.weight.2", step, index)
            moved = state["weight"][1][unit][source] - ((total + (word & 0xFFF)) >> 12)
            assert new["weight"][1][unit][source] == max(-128, min(127, moved))
    for other in ({"seed": seed + 1, "step": step}, {"seed": seed, "step": step + 1}):
        again, _ = fixed_step.step("dfa", state, codes, labels, stoch, **{**BCE, **other})
        assert again["weight"] != new["weight"]


@pytest.mark.parametrize(("error_scale", "delta1"), [("raw", 40), ("loss_gradient", 80)])
def test_an_error_of_zero_counts_as_positive_by_hand(error_scale: str, delta1: int) -> None:
    """The sign bit: output 1.0 meets its target, error = 0, sdfa sends +20 at frac 5 (4 with s = 2), frac 6 in delta.1.

    Updates, learning rate 1/2: master.1: delta.1 * 64 / 2^(6+8+1-12); bias.1: delta.1 / 2; the output layer stays.
    """
    state = {"weight": [[[64]], [[0]]], "master": [[[4096]], [[0]]], "bias": [[0], [64]], "feedback": [[[20]]]}
    setting: dict[str, Any] = {**BCE, "hidden": "linear", "output": "linear", "loss": "mse", "lr_shift": 1}
    new, _ = fixed_step.step("sdfa", state, [[64]], [0], MSE_SPEC, **setting, error_scale=error_scale)
    assert new["master"] == [[[4096 - 8 * delta1]], [[0]]]
    assert new["bias"] == [[-delta1 // 2], [64]]
