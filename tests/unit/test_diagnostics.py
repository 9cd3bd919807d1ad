"""Angles to backpropagation: formulas by hand, cases whose answer is known, and that probing disturbs nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from fasim import backends, diagnostics, feedback, rules
from fasim.backends import Samples
from fasim.data import load
from fasim.diagnostics import Diagnostics, Probe, angles, gradient_norms, readout_angles, weight_angles
from fasim.diagnostics.geometry import row_angles
from fasim.diagnostics.matrices import written_out
from fasim.errors import ConfigError
from fasim.network import Network
from fasim.schedule import StepSettings
from fasim.schedule import ops as kinds
from fasim.state import State, initial_state, set_learning_rate
from fasim.training import train

DEEP = "12-9-8-7-5"
MAPS = "6x6x2-4c3-2p-5c3-2a-7-6-3"
RULES = [name for name in rules.names() if name != "shallow"]


def start(
    net: str, rule: str, count: int = 16, *, seed: int = 3, **options
) -> tuple[Network, StepSettings, State, Samples]:
    """Return a network, settings, a fresh state and a batch; options of StepSettings and Network alike."""
    of_step = {name: options.pop(name) for name in list(options) if name in StepSettings.__dataclass_fields__}
    network = Network.parse(net, **options)
    settings = StepSettings(8, **of_step)
    state = initial_state(network, rules.training_step(network, rule, settings), seed)
    random = np.random.default_rng(seed)
    codes = random.integers(0, 256, (count, network.inputs), dtype=np.uint8)
    return network, settings, state, Samples(codes, random.integers(0, network.outputs, count))


def degrees(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angles of single rows, one after the other."""
    pairs = zip(first.reshape(len(first), -1).astype(float), second.reshape(len(second), -1).astype(float), strict=True)
    return np.array([np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))) for a, b in pairs])


def means(found: diagnostics.Angles, kind: str) -> list[float]:
    return [entry.mean for entry in found.entries if entry.kind == kind]


# --- by hand -------------------------------------------------------------------------------------------------------


def forward(state: State, samples: Samples, layers: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Activations of a tanh network with sigmoid outputs, logits, and the delta of bce."""
    acts = [samples.codes / 256.0]
    for layer in range(1, layers + 1):
        logits = acts[-1] @ state[f"weight.{layer}"].astype(float).T + state[f"bias.{layer}"]
        acts.append(np.tanh(logits))
    return acts[:-1], logits, 1 / (1 + np.exp(-logits)) - np.eye(logits.shape[1])[samples.labels]


def back(state: State, acts: list[np.ndarray], layer: int, delta: np.ndarray) -> np.ndarray:
    """Signal and delta that backpropagation makes, at a layer, of the delta above."""
    return delta @ state[f"weight.{layer + 1}"].astype(float)


@pytest.mark.parametrize("where", ["preact", "act"])
def test_angles_of_dfa_by_hand(where: str) -> None:
    network, settings, state, samples = start(DEEP, "dfa")
    acts, _, top = forward(state, samples, 4)
    found = angles(network, "dfa", settings, state, samples, where=where)
    slopes = {layer: 1 - acts[layer] ** 2 for layer in (1, 2, 3)}
    signal = {layer: top @ state[f"feedback.{layer}"].astype(float) for layer in (1, 2, 3)}
    exact = top
    for layer in (3, 2, 1):
        above = top if layer == 3 else signal[layer + 1] * slopes[layer + 1]
        exact_signal, local_signal = back(state, acts, layer, exact), back(state, acts, layer, above)
        exact = exact_signal * slopes[layer]
        factor = slopes[layer] if where == "preact" else 1.0
        for kind, other in (("global", exact_signal), ("local", local_signal)):
            expected = degrees(signal[layer] * factor, other * factor)
            entry = found.find(kind, layer)
            assert entry.mean == pytest.approx(expected.mean(), abs=1e-3)
            assert entry.std == pytest.approx(expected.std(), abs=1e-3)
            assert (entry.samples, entry.skipped) == (len(samples.codes), 0)


def test_weight_angles_by_hand() -> None:
    network, settings, state, _ = start(DEEP, "dfa")
    weight = {layer: state[f"weight.{layer}"].astype(float) for layer in (2, 3, 4)}
    expected = {1: weight[4] @ weight[3] @ weight[2], 2: weight[4] @ weight[3], 3: weight[4]}
    found = weight_angles(network, "dfa", settings, state)
    assert [entry.against for entry in found] == ["weight.4 @ ... @ weight.2", "weight.4 @ weight.3", "weight.4"]
    for entry in found:
        matrix, product = state[f"feedback.{entry.layer}"].astype(float), expected[entry.layer]
        assert entry.angle == pytest.approx(degrees(matrix.reshape(1, -1), product.reshape(1, -1))[0], abs=1e-4)
        assert entry.norm_ratio == pytest.approx(np.linalg.norm(matrix) / np.linalg.norm(product), rel=1e-5)


def test_feedback_of_fa_is_held_against_the_weights_above() -> None:
    network, settings, state, samples = start("12-5-5-5", "fa")
    found = weight_angles(network, "fa", settings, state)
    assert [entry.against for entry in found] == ["weight.2", "weight.3"]
    first = (state[name].reshape(1, -1) for name in ("feedback.1", "weight.2"))
    assert found[0].angle == pytest.approx(degrees(*first)[0], abs=1e-4)
    # it reads out the layer above, not the outputs, though there are as many of them
    assert [entry.layer for entry in readout_angles(network, "fa", settings, state, samples)] == [2]


def test_readout_angles_by_hand() -> None:
    network, settings, state, samples = start(DEEP, "dkp")
    acts, logits, _ = forward(state, samples, 4)
    found = readout_angles(network, "dkp", settings, state, samples)
    assert [entry.layer for entry in found] == [1, 2, 3]
    for entry in found:
        expected = degrees(acts[entry.layer] @ state[f"feedback.{entry.layer}"].astype(float).T, logits)
        assert entry.mean == pytest.approx(expected.mean(), abs=1e-3)
        assert entry.std == pytest.approx(expected.std(), abs=1e-3)


def test_gradient_norms_by_hand() -> None:
    network, settings, state, samples = start("12-9-5", "dfa")
    acts, _, top = forward(state, samples, 2)
    slope = 1 - acts[1] ** 2
    own = [(top @ state["feedback.1"] * slope).T @ acts[0], top.T @ acts[1]]
    exact = [(back(state, acts, 1, top) * slope).T @ acts[0], top.T @ acts[1]]
    found = gradient_norms(network, "dfa", settings, state, samples)
    assert [one.rule for one in found.layers] == pytest.approx([np.linalg.norm(g) for g in own], rel=1e-5)
    assert [one.bp for one in found.layers] == pytest.approx([np.linalg.norm(g) for g in exact], rel=1e-5)
    a, b = (np.concatenate([g.ravel() for g in gradients]) for gradients in (own, exact))
    assert found.cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)
    control = gradient_norms(network, "shallow", settings, state, samples)
    assert control.layers[0].rule == 0
    assert control.layers[0].bp == found.layers[0].bp
    assert control.cosine == pytest.approx(np.linalg.norm(exact[1]) / np.linalg.norm(b), rel=1e-5)


# --- cases whose answer is known -----------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["preact", "act"])
@pytest.mark.parametrize("net", [DEEP, MAPS])
def test_bp_has_no_angle_to_itself(net: str, where: str) -> None:
    network, settings, state, samples = start(net, "bp", hidden="relu", batch_norm=True, dropout=0.2, input_dropout=0.1)
    found = angles(network, "bp", settings, state, samples, where=where)
    assert len(found.entries) == 2 * (len(network.segments) - 1)
    assert all(entry.mean == entry.std == 0 and entry.samples for entry in found.entries)
    assert gradient_norms(network, "bp", settings, state, samples).cosine == pytest.approx(1, abs=1e-12)
    assert weight_angles(network, "bp", settings, state) == ()
    assert readout_angles(network, "bp", settings, state, samples) == ()


@pytest.mark.parametrize("rule", ["fa", "kp"])
@pytest.mark.parametrize("net", [DEEP, MAPS])
def test_fa_with_the_weights_as_feedback_is_bp(net: str, rule: str) -> None:
    """Same dropout masks, places of maxima and batch statistics on both sides, or the angle would not be zero."""
    network, settings, state, samples = start(net, rule, hidden="relu", batch_norm=True, dropout=0.2)
    apart = angles(network, rule, settings, state, samples)
    for layer in range(1, len(network.segments)):
        state[f"feedback.{layer}"][:] = state[f"weight.{layer + 1}"]
    found = angles(network, rule, settings, state, samples)
    assert min(entry.mean for entry in apart.entries) > 45
    assert [entry.mean for entry in found.entries] == [0] * len(found.entries)
    for entry in weight_angles(network, rule, settings, state):
        assert (entry.angle, entry.norm_ratio) == (0, 1)


def test_random_feedback_is_orthogonal_in_wide_layers() -> None:
    network, settings, state, samples = start("30-2000-2000-10", "dfa", 32)
    found = angles(network, "dfa", settings, state, samples)
    assert [entry.mean for entry in found.entries] == pytest.approx([90] * 4, abs=3)
    assert [entry.angle for entry in weight_angles(network, "dfa", settings, state)] == pytest.approx([90, 90], abs=3)


@pytest.mark.parametrize("rule", RULES)
def test_local_is_global_at_the_top_and_differs_below(rule: str) -> None:
    network, settings, state, samples = start(DEEP, rule)
    found = angles(network, rule, settings, state, samples)
    assert found.find("local", 3) == replace(found.find("global", 3), kind="local")
    below = [found.find("local", layer).mean != found.find("global", layer).mean for layer in (1, 2)]
    assert below == [rule != "bp"] * 2


def test_hybrid_is_locally_bp_in_convolutions() -> None:
    network, settings, state, samples = start(MAPS, "hybrid")
    found = angles(network, "hybrid", settings, state, samples)
    assert means(found, "local")[:2] == [0, 0]
    assert min(means(found, "local")[2:] + means(found, "global")) > 10


def test_shallow_sends_nothing() -> None:
    network, settings, state, samples = start(DEEP, "shallow")
    assert angles(network, "shallow", settings, state, samples).entries == ()


def test_rows_without_direction_are_counted_not_measured() -> None:
    rows = np.array([[1, 0], [0, 0], [1, 1], [np.inf, 1], [np.nan, 1], [3, 0]], np.float32)
    other = np.array([[0, 2], [1, 1], [-1, -1], [1, 1], [1, 1], [1, 0]], np.float32)
    found = row_angles(rows, other)
    assert found[[0, 2, 5]] == pytest.approx([90, 180, 0], abs=1e-6)
    assert np.isnan(found[[1, 3, 4]]).all()
    network, settings, state, samples = start("12-9-5", "dfa", hidden="relu")
    state["weight.1"][:], state["bias.1"][:] = 0, -1
    dead = angles(network, "dfa", settings, state, samples).find("global", 1)
    assert (dead.samples, dead.skipped, np.isnan(dead.mean)) == (0, 16, True)
    assert dead.as_dict()["mean"] is None


def test_drtp_aligns_on_one_sample() -> None:
    """Linear hidden layers from zero: less than 90 degrees in every layer after every step in which there is an angle."""
    settings = StepSettings(1, loss="bce")
    network = Network.parse("12-9-8-5", hidden="linear", init="zero")
    schedule = rules.training_step(network, "drtp", settings)
    state = initial_state(network, schedule, 1)
    set_learning_rate(state, schedule, 0.02)
    sample = Samples(np.random.default_rng(4).integers(0, 256, (1, 12), dtype=np.uint8), np.array([2]))
    program = backends.get("cpu")(schedule)
    measured = []
    assert np.isnan(diagnostics.drtp_alignment(network, settings, state, sample)).all()
    for step in range(40):
        program.run(state, sample, np.arange(1), step)
        measured.append(diagnostics.drtp_alignment(network, settings, state, sample))
    assert np.isfinite(measured[5:]).all()
    assert np.nanmin(measured) > 0.05


# --- a probe disturbs nothing, and nothing disturbs it ----------------------------------------------------------------


@pytest.mark.parametrize("rule", ["dfa", "kp", "dkp"])
def test_probe_changes_no_bit_of_the_state(rule: str) -> None:
    network, settings, state, samples = start(MAPS, rule, batch_norm=True, dropout=0.2, optimizer="adam")
    before = {name: array.tobytes() for name, array in state.items()}
    diagnostics.collect(network, rule, settings, state, samples)
    assert {name: array.tobytes() for name, array in state.items()} == before


@pytest.mark.parametrize("rule", rules.names())
def test_probe_schedule_has_no_update_and_no_cost(rule: str) -> None:
    network, settings, _, _ = start(DEEP, rule, batch_norm=True)
    schedule = Probe(network, rule, settings, 4).schedule
    assert schedule.pass_name == "diagnostics"
    assert not any(op.costed or op.kind == kinds.UPDATE for op in schedule.ops)
    assert all(value.version == 0 for op in schedule.ops for value in op.writes)


def test_options_that_disturb_are_off_in_a_probe() -> None:
    network, settings, state, samples = start(DEEP, "dfa")
    disturbed = replace(settings, fgsm=0.1, clip="norm:0.001", freeze="hidden", batch_size=3, weight_decay=0.1)
    found = [diagnostics.collect(network, "dfa", each, state, samples) for each in (settings, disturbed)]
    assert found[0] == found[1]


def test_training_is_the_same_with_diagnostics() -> None:
    data = load("digits")
    options = {"rule": "dkp", "epochs": 2, "settings": StepSettings(32, optimizer="momentum")}
    network = Network.parse("8x8x1-3c3-2p-12-10", batch_norm=True, dropout=0.1)
    watch = Diagnostics(data, count=20)
    with_probe, without = train(network, data, after_epoch=watch, **options), train(network, data, **options)
    for name, array in without.state.items():
        assert with_probe.state[name].tobytes() == array.tobytes(), name
    assert [record["epoch"] for record in watch.records] == [0, 1, 2]
    assert [json.loads(line) for line in watch.json_lines().splitlines()] == watch.records
    fresh = initial_state(network, without.schedule, 0)
    samples = diagnostics.probe_samples(data, 20)
    for record, state in ((watch.records[0], fresh), (watch.records[2], without.state)):
        epoch = {"epoch": record["epoch"]}
        assert record == epoch | diagnostics.collect(network, "dkp", without.settings, state, samples)
    resumed = Diagnostics(data, count=20, records=watch.records[:2])
    resumed(with_probe)
    assert resumed.records == watch.records


def test_weight_angle_of_kp_falls_on_digits() -> None:
    watch = Diagnostics(load("digits"), count=100)
    settings = StepSettings(32, weight_decay=1e-3, decay_kind="decoupled")
    train("64-30-20-10", load("digits"), rule="kp", epochs=6, settings=settings, after_epoch=watch)
    first, last = (
        [entry["angle"] for entry in record["weight_angles"]] for record in (watch.records[0], watch.records[-1])
    )
    assert min(first) > 75
    assert max(last) < 60
    assert watch.records[-1]["angles"][0]["mean"] < watch.records[0]["angles"][0]["mean"] - 20


def test_fixed_point_is_probed_on_what_its_integers_stand_for() -> None:
    data, watch = load("digits"), Diagnostics(load("digits"), count=50)
    run = train("64-20-12-10", data, rule="dfa", datapath="s8", epochs=1, settings=StepSettings(32), after_epoch=watch)
    state = diagnostics.float_state(run.state, run.schedule)
    tensor = run.schedule["weight.2"]
    assert tensor.format is not None
    assert np.array_equal(state["weight.2"], run.state["weight.2"] * 2.0**-tensor.format.frac)
    assert state["weight.2"].dtype == np.float32
    samples = diagnostics.probe_samples(data, 50)
    assert watch.records[1] == {"epoch": 1} | diagnostics.collect(run.network, "dfa", run.settings, state, samples)


@pytest.mark.parametrize("hook", ["pre_pool", "post_pool"])
def test_maps_with_normalisation_and_pooling(hook: str) -> None:
    network, settings, state, samples = start(MAPS, "dfa", hidden="relu", batch_norm=True, hook=hook)
    found = diagnostics.collect(network, "dfa", settings, state, samples)
    assert [(entry["kind"], entry["layer"]) for entry in found["angles"]] == [
        (kind, layer) for kind in ("global", "local") for layer in (1, 2, 3, 4)
    ]
    assert all(entry["samples"] + entry["skipped"] == 16 and 0 < entry["mean"] < 180 for entry in found["angles"])
    # feedback into the maps before pooling has no product of weights to stand for, nor has it below a convolution
    expected = [3, 4] if hook == "pre_pool" else [2, 3, 4]
    assert [entry["layer"] for entry in found["weight_angles"]] == expected
    assert [entry["layer"] for entry in found["readout_angles"]] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "family", ["uniform", "crafton+k:2", "crafton+rank:2", "uniform+density:0.3", "nokland+shared", "uniform+lfsr:8"]
)
def test_feedback_is_written_out_from_any_storage(family: str) -> None:
    network, settings, state, _ = start("12-9-8-5", "dfa", feedback=family)
    step = rules.get("dfa").step(network, settings)
    for layer, units in ((1, 9), (2, 8)):
        expected = feedback.parse(family).dense_matrix(layer, (5, units), 3, widest=9 if "shared" in family else 0)
        assert np.allclose(written_out(step, state, layer), expected, atol=1e-6)
    assert len(weight_angles(network, "dfa", settings, state)) == 2


def test_an_auto_encoder_and_a_regression_have_angles() -> None:
    network, settings, state, samples = start("12-9-12", "dfa", target="input", loss="mse", output="linear")
    assert 60 < angles(network, "dfa", settings, state, samples).find("global", 1).mean < 120
    network, settings, state, samples = start("12-9-5", "dfa", target="value", loss="mse", output="linear")
    values = np.random.default_rng(5).normal(size=(16, 5)).astype(np.float32)
    assert 60 < angles(network, "dfa", settings, state, samples._replace(labels=values)).find("global", 1).mean < 120


def test_a_run_that_has_diverged_has_gaps() -> None:
    network, settings, state, samples = start(DEEP, "dfa")
    state["weight.2"][:] = np.nan
    found = diagnostics.collect(network, "dfa", settings, state, samples)
    assert all(entry["mean"] is None for entry in found["angles"] if entry["layer"] < 3)
    assert found["gradients"]["cosine"] is None
    json.dumps(found, allow_nan=False)


def test_refusals() -> None:
    network, settings, state, samples = start(DEEP, "dfa")
    with pytest.raises(ConfigError, match="'gap'.*preact"):
        angles(network, "dfa", settings, state, samples, where="gap")
    with pytest.raises(ConfigError, match=r"no feedback\.2 of shape \(7, 8\); give the state of a run with this rule"):
        angles(network, "fa", settings, state, samples)
    with pytest.raises(ConfigError, match=r"no feedback\.2"):
        weight_angles(network, "fa", settings, state)
    with pytest.raises(ConfigError, match="probe of 4 samples"):
        Probe(network, "dfa", settings, 4).read(state, samples)
    with pytest.raises(ConfigError, match="12 inputs"):
        angles(network, "dfa", settings, state, samples._replace(codes=samples.codes[:, :5]))
    with pytest.raises(ConfigError, match="probe samples 0"):
        diagnostics.probe_samples(load("digits"), 0)
    with pytest.raises(ConfigError, match="linear hidden"):
        diagnostics.drtp_alignment(network, settings, state, samples)
    network = Network.parse(DEEP, hidden="linear")
    with pytest.raises(ConfigError, match="16 are given"):
        diagnostics.drtp_alignment(network, settings, state, samples)


def test_a_run_of_a_rule_without_a_name_is_diagnosed():
    mine = replace(rules.get("dfa"), name="mine")
    data = load("digits")
    found = []
    for rule in ("dfa", mine):
        watch = Diagnostics(data, count=16)
        train("64-9-10", data, rule=rule, epochs=1, after_epoch=watch)
        found.append(watch.records)
    assert found[0] == found[1]
