"""Facts about the rules that follow from their equations, held on float32 runs of the package."""

from __future__ import annotations

import numpy as np
import pytest

from fasim import rules
from fasim.backends.cpu import CpuProgram
from fasim.network import Network
from tests.small_runs import BATCH, CONV, distance, run, same_bits, samples, start, trained

DENSE = "6-5-7-4"
DROPPING = {"batch_norm": True, "dropout": 0.25, "input_dropout": 0.1}


def network(text: str, output: str = "softmax", **options: object) -> Network:
    return Network.parse(text, output=output, **options)


def loss_of(output: str) -> str:
    return {"softmax": "cross_entropy", "sigmoid": "bce"}[output]


# --- what a signal can carry --------------------------------------------------------------------


@pytest.mark.parametrize("hook", ["pre_pool", "post_pool"])
@pytest.mark.parametrize("net", [DENSE, CONV])
@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_sdfa_sends_all_rows_less_twice_that_of_the_label(output: str, net: str, hook: str) -> None:
    """While 0 < y < 1 the sign of y - t is that of 1 - 2 t, so sdfa reads nothing but the label."""
    there = network(net, output)
    schedule, state = start(there, "sdfa", loss=loss_of(output), hook=hook)
    data, layers = samples(there, 1), range(1, len(there.segments))
    feedback = {layer: state[f"feedback.{layer}"].astype(np.float64) for layer in layers}
    found = CpuProgram(schedule).values(state, data, ["output", *(f"signal.{layer}" for layer in layers)])
    assert found["output"].min() > 0
    assert found["output"].max() < 1
    for layer in layers:
        matrix = feedback[layer].reshape(there.outputs, -1)
        expected = matrix.sum(0) - 2 * matrix[data.labels]
        np.testing.assert_allclose(found[f"signal.{layer}"].reshape(BATCH, -1), expected, rtol=0, atol=1e-6)


def moved_by_ones(rule: str, output: str) -> float:
    """Return how far two runs part of which one has another constant added to each column of its feedback."""
    there = network(DENSE, output, batch_norm=True)
    _, state = start(there, rule, loss=loss_of(output))
    random = np.random.default_rng(8)
    shifted = {
        name: array + random.uniform(-1.0, 1.0, array.shape[1]).astype(np.float32)
        for name, array in state.items()
        if name.startswith("feedback.")
    }
    options = {"steps": 30, "loss": loss_of(output)}
    return distance(trained(there, rule, **options), trained(there, rule, change=shifted, **options))


def test_softmax_takes_the_ones_out_of_direct_feedback() -> None:
    """The errors of a softmax sum to 0 over the classes, those of sigmoids do not; nor do targets and signs."""
    assert moved_by_ones("dfa", "softmax") < 2e-5
    assert moved_by_ones("dfa", "sigmoid") > 0.05
    assert moved_by_ones("drtp", "softmax") > 0.05
    assert moved_by_ones("sdfa", "softmax") > 0.05


def ones_against_noise(output: str) -> float:
    there = network(DENSE, output)
    options = {"steps": 30, "loss": loss_of(output)}
    noise, _ = (start(there, "dfa", feedback=family, **{"loss": loss_of(output)})[1] for family in ("b7:0.5", "b1:0.5"))
    ones = start(there, "dfa", feedback="b1:0.5", loss=loss_of(output))[1]
    for layer in (1, 2):
        np.testing.assert_allclose(ones[f"feedback.{layer}"], noise[f"feedback.{layer}"] + 1, rtol=0, atol=1e-6)
    return distance(*(trained(there, "dfa", feedback=family, **options) for family in ("b1:0.5", "b7:0.5")))


def test_ones_with_noise_are_the_noise_under_softmax() -> None:
    """B1 and B7 of the comparison of feedback matrices are one and the same for dfa with softmax."""
    assert ones_against_noise("softmax") < 2e-5
    assert ones_against_noise("sigmoid") > 0.05


# --- Kolen-Pollack ------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov"])
@pytest.mark.parametrize(("net", "ratio"), [(DENSE, 1.0), (CONV, 1.0), (DENSE, 0.25), (CONV, 0.25)])
def test_weights_and_feedback_of_kp_come_together(net: str, ratio: float, optimizer: str) -> None:
    """``feedback - ratio * weight`` shrinks by 1 - lambda in every step, whatever the data."""
    decay, steps, rate = 0.05, 40, 2.0**-5
    there = network(net, "sigmoid")
    options = {"weight_decay": decay, "decay_kind": "decoupled", "optimizer": optimizer}
    schedule, state = start(there, "kp", rate, rate * ratio, **options)
    layers = range(1, len(there.segments))

    def gap() -> list[np.ndarray]:
        pairs = ((state[f"feedback.{layer}"], state[f"weight.{layer + 1}"]) for layer in layers)
        return [feedback.astype(np.float64) - ratio * weight for feedback, weight in pairs]

    before, weight = gap(), state["weight.2"].copy()
    run(schedule, state, samples(there, steps), steps)
    for old, new in zip(before, gap(), strict=True):
        np.testing.assert_allclose(new, (1 - decay) ** steps * old, rtol=0, atol=5e-6)
        assert np.abs(new).max() > 0.05  # far above the tolerance
    shrunk = (1 - decay) ** steps * weight
    assert np.abs(state["weight.2"] - shrunk).max() > 0.02, "nothing was learnt"


@pytest.mark.parametrize("change", [{"decay_kind": "coupled"}, {"feedback_weight_decay": 0.0}])
def test_other_decay_breaks_the_law_of_kp(change: dict[str, object]) -> None:
    decay, steps = 0.05, 40
    there = network(DENSE, "sigmoid")
    options = {"weight_decay": decay, "decay_kind": "decoupled"} | change
    schedule, state = start(there, "kp", 2.0**-5, **options)
    before = state["feedback.1"] - state["weight.2"]
    run(schedule, state, samples(there, steps), steps)
    after = state["feedback.1"] - state["weight.2"]
    assert np.abs(after - (1 - decay) ** steps * before).max() > 0.05


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("net", [DENSE, CONV])
def test_kp_that_starts_at_the_weights_is_bp(net: str, optimizer: str) -> None:
    there = network(net, "sigmoid", **DROPPING)
    options = {"optimizer": optimizer, "weight_decay": 0.01, "decay_kind": "decoupled", "rate": 2.0**-6}
    _, fresh = start(there, "kp", **options)
    hidden = range(1, len(there.segments))
    equal = {
        f"feedback.{layer}": fresh[f"weight.{layer + 1}"].reshape(fresh[f"feedback.{layer}"].shape) for layer in hidden
    }
    bp, kp = trained(there, "bp", **options), trained(there, "kp", change=equal, **options)
    assert same_bits(bp, kp)
    for layer in hidden:
        assert np.array_equal(kp[f"feedback.{layer}"].reshape(-1), kp[f"weight.{layer + 1}"].reshape(-1))
    assert not same_bits(bp, trained(there, "kp", **options))


@pytest.mark.parametrize("net", [DENSE, CONV])
def test_dkp_that_does_not_learn_is_dfa(net: str) -> None:
    there = network(net, "sigmoid", **DROPPING)
    options = {"optimizer": "momentum", "weight_decay": 0.01}
    frozen = trained(there, "dkp", feedback_rate=0.0, feedback_weight_decay=0.0, **options)
    assert same_bits(trained(there, "dfa", **options), frozen)
    assert not same_bits(trained(there, "dkp", feedback_weight_decay=0.0, **options), frozen)


def test_feedback_of_the_top_hidden_layer_learns_as_the_output_weights_in_dkp() -> None:
    """Without dropout and pooling behind the hook, ``delta.L.T @ act`` is the output layer's own gradient."""
    there = network(DENSE, "sigmoid", batch_norm=True)
    schedule, state = start(there, "dkp")
    names = ["gradient.feedback.2", "gradient.weight.3", "gradient.feedback.1"]
    found = CpuProgram(schedule).values(state, samples(there, 1), names)
    assert np.array_equal(found[names[0]], found[names[1]])
    assert found[names[2]].shape != found[names[1]].shape


# --- one rule as another ------------------------------------------------------------------------


def test_hybrid_without_convolution_is_dfa() -> None:
    there = network(DENSE, "sigmoid", **DROPPING)
    assert same_bits(trained(there, "hybrid"), trained(there, "dfa"))
    with_conv = network(CONV, "sigmoid", **DROPPING)
    hybrid = trained(with_conv, "hybrid")
    assert not any(same_bits(hybrid, trained(with_conv, rule)) for rule in ("dfa", "bp"))


@pytest.mark.parametrize("options", [{}, DROPPING])
@pytest.mark.parametrize("net", [DENSE, CONV])
def test_fa_with_the_weights_as_feedback_is_bp(net: str, options: dict[str, object]) -> None:
    there, steps = network(net, "sigmoid", **options), 5
    data, bp = samples(there, steps), trained(there, "bp", steps)
    schedule, state = start(there, "fa")
    for step in range(steps):
        for layer in range(1, len(there.segments)):
            feedback = state[f"feedback.{layer}"]
            feedback[:] = state[f"weight.{layer + 1}"].reshape(feedback.shape)
        run(schedule, state, data, 1, step)
    assert same_bits(bp, state)
    assert not same_bits(bp, trained(there, "fa", steps))


@pytest.mark.parametrize("rule", ["dfa", "sdfa", "drtp"])
@pytest.mark.parametrize("family", ["uniform+k:4", "uniform+k:9", "uniform+density:1", "uniform+nm:4:4"])
def test_full_sparse_feedback_is_dense(family: str, rule: str) -> None:
    there = network(DENSE, "sigmoid")
    assert same_bits(trained(there, rule), trained(there, rule, feedback=family))
    assert not same_bits(trained(there, rule), trained(there, rule, feedback="uniform+k:2"))


@pytest.mark.parametrize("rule", ["dfa", "drtp"])
@pytest.mark.parametrize("net", [DENSE, CONV])
def test_shared_feedback_is_slices_of_one_matrix(net: str, rule: str) -> None:
    there = network(net, "sigmoid")
    _, state = start(there, rule, feedback="uniform+shared")
    shared = state["feedback.shared"]
    slices = {}
    for layer in range(1, len(there.segments)):
        own = state[f"feedback.{layer}"].reshape(there.outputs, -1)
        assert np.array_equal(own, shared[:, : own.shape[1]])
        slices[f"feedback.{layer}"] = own
    assert max(own.shape[1] for own in slices.values()) == shared.shape[1]
    assert same_bits(trained(there, rule, feedback="uniform+shared"), trained(there, rule, change=slices))


# --- frozen layers ------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", rules.names())
def test_a_frozen_layer_stays_and_the_others_do_not_notice(rule: str) -> None:
    """Others: in the same step, since the forward pass of the next one already differs."""
    there = network("6-5-7-6-4", "sigmoid", batch_norm=True)
    own = [f"{group}.2" for group in ("weight", "bias", "gain", "shift")]
    _, before = start(there, rule)
    one, frozen = (trained(there, rule, 1, optimizer="momentum", freeze=text) for text in ("", "2"))
    for name, array in frozen.items():
        if name in own:
            assert np.array_equal(array, before[name]), name
        else:
            assert np.array_equal(array, one[name]), name
    if rule != "shallow":
        assert not any(np.array_equal(one[name], before[name]) for name in ("weight.1", "weight.2", "weight.3"))
    later = trained(there, rule, 5, optimizer="momentum", freeze="2")
    assert all(np.array_equal(later[name], before[name]) for name in own)
    assert not np.array_equal(later["weight.4"], frozen["weight.4"])
