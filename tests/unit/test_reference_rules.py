"""The oracle of the rules on segments: finite differences, exact identities and the dense oracle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.reference import float_step, rules
from tests.reference.finite_differences import difference
from tests.reference.float_functions import activation, slope
from tests.reference.float_optimizers import update
from tests.reference.learning import Learning, learn
from tests.reference.random_nets import Plan, chained_feedback, direct_feedback, draw
from tests.reference.segments import Pool, Segment, forward

LABELS = np.array([0, 2, 1, 2, 1])
MIXED = [
    Plan("conv", 2, padding=1, stride=2, norm=True, keep=0.7, pool=Pool("max", 3, 2)),
    Plan("conv", 3, "sigmoid", kernel=2, norm=True, pool=Pool("average", 2, 1)),
    Plan("dense", 4, norm=True, keep=0.6),
    Plan("dense", 3, "sigmoid"),
]
FLAT = [
    Plan("dense", 5, norm=True, keep=0.7),
    Plan("dense", 4, "sigmoid", keep=0.7),
    Plan("dense", 6),
    Plan("dense", 3, "sigmoid"),
]
PLAIN = [Plan("dense", 5), Plan("dense", 4), Plan("dense", 6), Plan("dense", 3, "sigmoid")]
CHAINED, DENSE_ONLY = ("bp", "fa", "kp"), ("ifa", "strategy1", "strategy2", "strategy3")
RULES = (*CHAINED, "dfa", "dkp", "sdfa", "drtp", "lafs", "hybrid", *DENSE_ONLY)
HOOKS = {"pre_pool": "activation", "post_pool": "end"}


def net(plans: list[Plan], seed: int = 1) -> tuple[np.ndarray, list[Segment]]:
    shape = (14, 16, 2) if plans[0].kind == "conv" else (4,)
    return draw(seed, 5, shape, plans)


def begin(x: np.ndarray, segments: list[Segment], **changes: Any) -> rules.Step:
    return rules.start(x, LABELS, segments, **({"loss": "bce", "reduction": "mean"} | changes))


def neighbours(segments: list[Segment], seed: int = 7) -> tuple[list[Any], list[Any]]:
    """Return (below, above) of the strategies."""
    rng = np.random.default_rng(seed)
    units = [len(segment.bias) for segment in segments[:-1]]
    pairs = list(zip(units[:-1], units[1:], strict=True))
    below = [None, *(rng.uniform(-1.0, 1.0, pair) for pair in pairs)]
    above = [*(rng.uniform(-1.0, 1.0, pair[::-1]) for pair in pairs), None]
    return below, above


def apply(rule: str, step: rules.Step, seed: int = 5) -> rules.Gradients:
    """Run a rule by name with random feedback of the shapes that it needs."""
    segments = [passed.segment for passed in step.passed]
    direct = direct_feedback(seed, step.passed, step.at)
    below, above = neighbours(segments)
    if rule == "bp":
        return rules.bp(step)
    matrices = {"strategy1": (direct, above), "strategy2": (direct, below), "strategy3": (direct, below, above)}
    return getattr(rules, rule)(
        step, *matrices.get(rule, (chained_feedback(seed, segments) if rule in CHAINED else direct,))
    )


def same(actual: rules.Gradients, expected: rules.Gradients) -> None:
    for name in ("deltas", "weights", "biases", "gains", "shifts"):
        for a, e in zip(getattr(actual, name), getattr(expected, name), strict=True):
            assert (a is None) == (e is None)
            if e is not None:
                np.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("rule", RULES)
def test_a_segment_is_differentiated_exactly(rule: str, hook: str) -> None:
    """With signal.l fixed, the gradients of segment l are those of ``sum(signal.l * A.l)``, A.l where it enters."""
    x, segments = net(FLAT if rule in DENSE_ONLY else MIXED)
    step = begin(x, segments, hook=hook)
    gradients = apply(rule, step)
    for layer in step.hidden:
        segment, signal = segments[layer - 1], gradients.signals[layer - 1].reshape(len(x), -1)
        layered = rule in CHAINED or (rule == "hybrid" and segment.kind == "conv") or (rule == "ifa" and layer > 1)
        at = "end" if layered else HOOKS[hook]

        def value(layer: int = layer, signal: np.ndarray = signal, at: str = at) -> float:
            return float((signal * forward(x, segments)[layer - 1].activity(at)).sum())

        pairs = [(gradients.weights, segment.weight), (gradients.biases, segment.bias)]
        if segment.norm is not None:
            pairs += [(gradients.gains, segment.norm.gain), (gradients.shifts, segment.norm.shift)]
        for found, array in pairs:
            assert np.any(found[layer - 1])
            np.testing.assert_allclose(found[layer - 1], difference(value, array), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("error_scale", ["loss_gradient", "raw"])
@pytest.mark.parametrize("rule", ["bp", "fa", "dfa", "sdfa", "drtp", "shallow"])
def test_plain_dense_nets_are_those_of_the_dense_oracle(rule: str, error_scale: str) -> None:
    """The same deltas and gradients as the dense oracle, which follows other code."""
    x, segments = net(PLAIN)
    weights, biases = [s.weight for s in segments], [s.bias for s in segments]
    setting: dict[str, Any] = {"hidden": "tanh", "output": "sigmoid", "loss": "bce", "reduction": "mean"}
    step = begin(x, segments, error_scale=error_scale)
    if rule == "fa":
        setting["feedback"] = chained_feedback(5, segments)
    elif rule in ("dfa", "sdfa", "drtp"):
        setting |= {"feedback": direct_feedback(5, step.passed, "end"), "error_scale": error_scale}
    actual = rules.shallow(step) if rule == "shallow" else apply(rule, step)
    expected = getattr(float_step, rule)(x, LABELS, weights, biases, **setting)
    for name in ("deltas", "weights", "biases"):
        for a, e in zip(getattr(actual, name), getattr(expected, name), strict=True):
            np.testing.assert_array_equal(a, e)


@pytest.mark.parametrize(("rule", "sent"), [("dfa", "delta"), ("sdfa", "sign"), ("drtp", "target"), ("dkp", "delta")])
def test_direct_signals_on_maps(rule: str, sent: str) -> None:
    """Every hidden layer, convolution or not, gets the projected vector; map axes of B make no difference."""
    x, segments = net(MIXED)
    step = begin(x, segments)
    feedback = direct_feedback(5, step.passed, "activation")
    target = np.eye(3)[LABELS]
    output = step.passed[-1].end
    vector = {"delta": output - target, "sign": np.where(output > target, 1.0, -1.0), "target": target}[sent] / 15.0
    found = getattr(rules, rule)(step, feedback).signals
    for signal, matrix in zip(found, feedback, strict=True):
        np.testing.assert_allclose(signal, np.einsum("nk,kj->nj", vector, matrix), rtol=1e-12)
    shaped = [m.reshape(3, *p.act.shape[1:]) for m, p in zip(feedback, step.passed, strict=False)]
    same(getattr(rules, rule)(step, shaped), getattr(rules, rule)(step, feedback))


@pytest.mark.parametrize("plans", [MIXED, FLAT])
def test_feedback_equal_to_the_weights_gives_bp(plans: list[Plan]) -> None:
    """fa and kp with B = W, through every kind of segment."""
    x, segments = net(plans)
    step = begin(x, segments)
    matrices = [segment.weight for segment in segments[1:]]
    same(rules.fa(step, matrices), rules.bp(step))
    same(rules.kp(step, matrices), rules.bp(step))


def test_hybrid_lies_between_bp_and_dfa() -> None:
    """All dense: dfa. Convolutions below one dense layer whose B is the output's weight: bp. Else neither."""
    x, segments = net(FLAT)
    step = begin(x, segments)
    same(apply("hybrid", step), apply("dfa", step))
    x, segments = net(MIXED)
    step = begin(x, segments, hook="post_pool")
    same(rules.hybrid(step, [None, None, segments[-1].weight]), rules.bp(step))
    hybrid, dfa = apply("hybrid", step), apply("dfa", step)
    np.testing.assert_array_equal(hybrid.weights[2], dfa.weights[2])
    assert not np.allclose(hybrid.weights[1], dfa.weights[1])
    assert not np.allclose(hybrid.weights[1], rules.bp(step).weights[1])


def test_hooks_differ_where_the_pool_lost() -> None:
    """Post-pool signals reach winners that dropout kept; pre-pool ones reach every place."""
    x, segments = net([replace(plan, norm=False) for plan in MIXED])
    pre, post = (apply("dfa", begin(x, segments, hook=hook)).deltas[0] for hook in HOOKS)
    passed = forward(x, segments)[0]
    wins = np.zeros(pre.shape, dtype=bool)
    for n, p, q, c in np.ndindex(passed.end.shape):
        r, s = divmod(int(passed.winners[n, p, q, c]), 3)
        wins[n, 2 * p + r, 2 * q + s, c] = True
    np.testing.assert_array_equal(post != 0.0, wins & (segments[0].mask == 1.0))
    assert np.all(pre != 0.0)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("hook", HOOKS)
def test_lafs_is_the_slope_of_the_local_cross_entropy(hook: str, reduction: str) -> None:
    """A fixed readout B.l^T of the layer's own activation, softmax and cross-entropy, by finite differences."""
    x, segments = net(MIXED)
    step = begin(x, segments, hook=hook, reduction=reduction)
    feedback = direct_feedback(5, step.passed, step.at)
    gradients = rules.lafs(step, feedback)
    for layer in step.hidden:
        segment, matrix = segments[layer - 1], feedback[layer - 1]

        def value(layer: int = layer, matrix: np.ndarray = matrix) -> float:
            chance = activation("softmax", forward(x, segments)[layer - 1].activity(HOOKS[hook]) @ matrix.T)
            local = -np.log(chance[np.arange(len(x)), LABELS]).sum()
            return float(local if reduction == "sum" else local / len(x))

        for found, array in ((gradients.weights, segment.weight), (gradients.biases, segment.bias)):
            np.testing.assert_allclose(found[layer - 1], difference(value, array), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("errors", ["output", "auxiliary"])
def test_strategies_and_ifa_written_out(errors: str) -> None:
    """Three hidden tanh layers, every signal as its own expression."""
    x, segments = net(PLAIN)
    step = begin(x, segments)
    b = direct_feedback(5, step.passed, "end")
    below, above = neighbours(segments)
    f1, f2, f3 = (slope("tanh", passed.act) for passed in step.passed[:3])
    target = np.eye(3)[LABELS]
    e = [(step.passed[3].end - target) / 15.0] * 3
    if errors == "auxiliary":
        scores = [np.exp(passed.act @ m.T) for passed, m in zip(step.passed, b, strict=False)]
        e = [(s / s.sum(axis=1, keepdims=True) - target) / 5.0 for s in scores]
    u1, u2, u3 = (error @ m for error, m in zip(e, b, strict=True))
    expected: dict[str, list[np.ndarray]] = {}
    s3 = u3
    s2 = (u2 + (s3 * f3) @ above[1]) / 2
    expected["strategy1"] = [(u1 + (s2 * f2) @ above[0]) / 2, s2, s3]
    s2 = (u2 + (u1 * f1) @ below[1]) / 2
    expected["strategy2"] = [u1, s2, (u3 + (s2 * f2) @ below[2]) / 2]
    expected["strategy3"] = [
        (u1 + (u2 * f2) @ above[0]) / 2,
        (u2 + (u1 * f1) @ below[1] + (u3 * f3) @ above[1]) / 3,
        (u3 + (u2 * f2) @ below[2]) / 2,
    ]
    found = {
        "strategy1": rules.strategy1(step, b, above, errors),
        "strategy2": rules.strategy2(step, b, below, errors),
        "strategy3": rules.strategy3(step, b, below, above, errors),
    }
    if errors == "output":
        s2 = (u1 * f1) @ segments[1].weight.T
        expected["ifa"] = [u1, s2, (s2 * f2) @ segments[2].weight.T]
        found["ifa"] = rules.ifa(step, b)
    for name, gradients in found.items():
        for signal, by_hand, f, delta in zip(
            gradients.signals, expected[name], (f1, f2, f3), gradients.deltas, strict=False
        ):
            np.testing.assert_allclose(signal, by_hand, rtol=1e-12)
            np.testing.assert_allclose(delta, by_hand * f, rtol=1e-12)


@pytest.mark.parametrize("rule", DENSE_ONLY)
def test_one_hidden_layer_is_dfa(rule: str) -> None:
    """Nothing is above, below or before it."""
    x, segments = net([PLAIN[0], PLAIN[-1]])
    step = begin(x, segments)
    same(apply(rule, step), apply("dfa", step))


def test_what_feedback_learns() -> None:
    """kp: the gradient of the weight above. dkp: delta.L and the activation at the hook; on top that of weight.L."""
    x, segments = net(MIXED)
    for hook, at in HOOKS.items():
        step = begin(x, segments, hook=hook)
        kp, dkp = apply("kp", step), apply("dkp", step)
        assert apply("dfa", step).feedback is None
        same(dkp, apply("dfa", step))
        for layer in step.hidden:
            np.testing.assert_array_equal(kp.feedback[layer - 1], kp.weights[layer])
            expected = np.einsum("nk,nj->kj", dkp.deltas[-1], step.passed[layer - 1].activity(at))
            np.testing.assert_allclose(dkp.feedback[layer - 1], expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(dkp.feedback[-1], dkp.weights[-1])  # the last hook is post_pool


def test_raw_errors_in_lafs_and_dkp() -> None:
    """Raw leaves the factor out of lafs's signal and of dkp's, not out of what dkp's feedback learns."""
    x, segments = net(MIXED)
    scaled, raw = begin(x, segments), begin(x, segments, error_scale="raw")
    pairs = zip(apply("lafs", raw).signals, apply("lafs", scaled).signals, strict=True)
    for signal, of_mean in pairs:
        np.testing.assert_allclose(signal, 5.0 * of_mean, rtol=1e-12)
    dkp, of_mean = apply("dkp", raw), apply("dkp", scaled)
    for layer in range(3):
        np.testing.assert_allclose(dkp.signals[layer], 15.0 * of_mean.signals[layer], rtol=1e-12)
        np.testing.assert_array_equal(dkp.feedback[layer], of_mean.feedback[layer])


def test_evaluation_drops_nothing() -> None:
    """Without normalisation it is the forward pass of the same network without masks."""
    x, segments = net([replace(plan, norm=False) for plan in MIXED])
    whole = [replace(segment, mask=None) for segment in segments]
    mask = np.zeros(x.shape)
    actual = forward(x, segments, input_mask=mask, training=False)[-1].end
    np.testing.assert_array_equal(actual, forward(x, whole)[-1].end)
    assert not np.allclose(actual, forward(x, segments)[-1].end)


def test_kolen_pollack_forgets_where_it_started() -> None:
    """With decoupled decay lambda, equal optimizers and rates, B - W shrinks by 1 - lambda a step, also for maps."""
    x, segments = net(MIXED)
    feedback = chained_feedback(5, segments)
    first = [b - s.weight for b, s in zip(feedback, segments[1:], strict=True)]
    state: dict[str, Any] = {}
    learning = Learning("nesterov", 0.05, 0.01, "decoupled")
    for number in range(12):
        step = begin(x, segments)
        segments, feedback, state = learn(
            step,
            rules.kp(step, feedback),
            feedback,
            state,
            weights=learning,
            feedback_learning=learning,
            step=number,
        )
    for b, s, gap in zip(feedback, segments[1:], first, strict=True):
        np.testing.assert_allclose(b - s.weight, gap * 0.99**12, rtol=1e-10, atol=1e-14)


def test_feedback_has_its_own_rate_and_decay() -> None:
    """One step of dkp: each group by its formula, biases and gains without decay, statistics moved."""
    x, segments = net(MIXED)
    step = begin(x, segments)
    feedback = direct_feedback(5, step.passed, step.at)
    g = rules.dkp(step, feedback)
    new, new_feedback, _ = learn(
        step,
        g,
        feedback,
        {},
        weights=Learning("sgd", 0.1, 0.02, "decoupled"),
        feedback_learning=Learning("sgd", 0.01, 0.3, "adamw"),
    )
    close = np.testing.assert_allclose
    for i, (before, after) in enumerate(zip(segments, new, strict=True)):
        close(after.weight, before.weight - 0.1 * g.weights[i] - 0.02 * before.weight, rtol=1e-12)
        close(after.bias, before.bias - 0.1 * g.biases[i], rtol=1e-12)
        if before.norm is not None and after.norm is not None:
            close(after.norm.gain, before.norm.gain - 0.1 * g.gains[i], rtol=1e-12)
            close(after.norm.shift, before.norm.shift - 0.1 * g.shifts[i], rtol=1e-12)
            assert np.all(after.norm.running_mean != before.norm.running_mean)
    for b, old, gradient in zip(new_feedback, feedback, g.feedback or [], strict=True):
        close(b, old - 0.01 * gradient - 0.01 * 0.3 * old, rtol=1e-12)
    _, kept, _ = learn(step, g, feedback, {}, weights=Learning("sgd", 0.1))
    assert kept is feedback


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov", "rmsprop", "adam"])
@pytest.mark.parametrize("kind", ["coupled", "decoupled", "adamw"])
def test_a_layer_without_a_gradient_stays(optimizer: str, kind: str) -> None:
    """It does not even decay; the one beside it does."""
    params = [np.ones(3), np.ones(3)]
    new, _ = update(optimizer, params, [None, np.full(3, 0.5)], None, lr=0.1, decay=0.1, decay_kind=kind)
    np.testing.assert_array_equal(new[0], params[0])
    assert np.all(new[1] < 1.0)


def test_targets_of_an_auto_encoder_are_the_undropped_input() -> None:
    """None means the input itself; a matrix of the same numbers is the same step."""
    x, segments = draw(1, 5, (4,), [*FLAT[:3], Plan("dense", 4, "sigmoid")])
    mask = np.tile([1.0, 0.0, 1.0, 1.0], (5, 1))
    setting: dict[str, Any] = {"loss": "mse", "reduction": "mean", "input_mask": mask, "input_scale": 2.0}
    own, given = rules.start(x, None, segments, **setting), rules.start(x, x.copy(), segments, **setting)
    np.testing.assert_array_equal(own.target, x)
    np.testing.assert_array_equal(own.passed[0].source, 2.0 * mask * x)
    same(rules.bp(own), rules.bp(given))


def test_what_is_refused() -> None:
    """Rules of dense layers on maps, and output segments with more than a layer."""
    x, segments = net(MIXED)
    step = begin(x, segments)
    for rule in (rules.ifa, rules.strategy1, rules.strategy2):
        with pytest.raises(ValueError, match="dense layers only"):
            rule(step, *([[]] if rule is rules.ifa else [[], []]))
    with pytest.raises(ValueError, match="output segment"):
        begin(x, segments[:-1])
    with pytest.raises(ValueError, match="error_scale"):
        begin(x, segments, error_scale="none")
