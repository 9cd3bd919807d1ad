"""Whole steps of the integer reference: against the small oracle of six rules, against the float reference, and by hand."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from tests.reference import fixed_step, rules
from tests.reference.fixed_casts import Run
from tests.reference.fixed_datapath import Tables
from tests.reference.fixed_forward import forward
from tests.reference.fixed_norm import back, normalise, normalise_evaluating
from tests.reference.fixed_numbers import Fmt, Num, integers, limits, read_format
from tests.reference.fixed_training import Result, outputs, train_step
from tests.reference.fixed_updates import Rule, learn, velocity
from tests.reference.segments import Pool, Segment
from tests.unit.test_hand_written_fixed_numbers import RND_SAT, run_of

SMALL_RULES = ("bp", "fa", "dfa", "sdfa", "drtp", "shallow")


def draw(seed: int, shape: tuple[int, ...], scale: float, frac: int) -> np.ndarray:
    """Return random raw numbers in +-scale."""
    values = np.random.default_rng(seed).uniform(-scale, scale, shape)
    return integers(np.rint(values * 2.0**frac).astype(np.int64))


# --- against the small oracle -----------------------------------------------------------------------------------------


def _random_tables(chosen: random.Random) -> dict[str, Any]:
    def cast(low: int, high: int, whole: int) -> dict[str, str]:
        bits = chosen.randint(low, high)
        modes = {"rounding": chosen.choice(["TRN", "RND", "RND_CONV", "STOCH"]), "overflow": chosen.choice(["WRAP", "SAT"])}
        return {"format": f"s{bits}.{bits - chosen.randint(-1, whole)}", **modes}

    return {
        "accumulator": "exact",
        "input": {"format": chosen.choice(["u8.8", "u8.6"])},
        "weight": cast(5, 9, 2),
        "master": {"format": chosen.choice(["none", "s16.14", "s12.11"])},
        "bias": {"format": chosen.choice(["s12.9", "s9.8"])},
        "preact": cast(6, 10, 4),
        "act": {"format": chosen.choice(["s8.7", "u8.8", "s7.5"]), **RND_SAT},
        "slope": {"format": chosen.choice(["s8.7", "u8.8"]), **RND_SAT},
        "error": cast(5, 9, 2),
        "delta": cast(5, 9, 2),
        "update": {"rounding": chosen.choice(["TRN", "RND", "STOCH"]), "overflow": chosen.choice(["WRAP", "SAT"])},
        "feedback": {"format": "s8.6"},
    }


@pytest.mark.parametrize("seed", range(36))
def test_step_is_that_of_the_small_oracle(seed: int) -> None:
    """Dense layers, exact sums, shifts: state and counts after two steps."""
    chosen, rule = random.Random(seed), SMALL_RULES[seed % 6]
    tables, sizes = _random_tables(chosen), (5, 4, 3, 2)
    hidden, (output, loss) = (
        chosen.choice(["tanh", "sigmoid", "linear"]),
        chosen.choice([("sigmoid", "bce"), ("tanh", "mse")]),
    )
    scale = chosen.choice(["raw", "loss_gradient"])

    def plain(table: str) -> Any:
        return None if tables[table]["format"] == "none" else tuple(read_format(tables[table]["format"]))[:3]

    kinds = ("weight", "preact", "error", "delta", "update")
    spec = {name: plain(name) for name in tables if name not in ("update", "feedback", "accumulator")}
    spec |= {"feedback": [(8, 6, True)] * 2}
    spec["cast"] = {name: (tables[name]["rounding"], tables[name]["overflow"]) for name in kinds}
    state: dict[str, Any] = {}
    for layer, (inputs, units) in enumerate(zip(sizes[:-1], sizes[1:], strict=True), 1):
        master = spec["master"] or spec["weight"]
        low, high = limits(Fmt(*master))
        state[f"master.{layer}"] = integers(np.random.default_rng(seed + layer).integers(low, high + 1, (units, inputs)))
        low, high = limits(Fmt(*spec["weight"]))
        state[f"weight.{layer}"] = integers(
            np.random.default_rng(seed - layer + 9).integers(low, high + 1, (units, inputs))
        )
        state[f"bias.{layer}"] = draw(seed, (units,), 0.5, spec["bias"][1])
        sent = (*sizes, 0)[layer + 1] if rule == "fa" else sizes[-1]
        state[f"feedback.{layer}"] = draw(layer, (sent, units), 1.0, 6)
    old: dict[str, Any] = {
        group: [state[f"{group}.{n}"].tolist() for n in (1, 2, 3)] for group in ("weight", "bias", "master")
    }
    old["feedback"] = [state[f"feedback.{n}"].tolist() for n in (1, 2)]
    old["master"] = old["master"] if spec["master"] else None
    net = {"input_shape": (5,), "layers": [{"kind": "dense", "activation": name} for name in (hidden, hidden, output)]}
    settings = {"loss": loss, "rate": 0.25, "error_scale": scale}
    codes, labels = np.random.default_rng(seed).integers(0, 256, (3, 5)), [1, 0, 1]
    for step in (4, 5):
        old, counts = fixed_step.step(
            rule, old, codes, labels, spec, hidden=hidden, output=output, loss=loss, lr_shift=2, seed=seed, step=step,
            error_scale=scale,
        )  # fmt: skip
        found = train_step(rule, net, tables, settings, state, codes, labels, seed=seed, step=step)
        state = found.state
        assert found.counts == counts
        for group in ("weight", "bias", *(["master"] if spec["master"] else [])):
            assert [state[f"{group}.{n}"].tolist() for n in (1, 2, 3)] == old[group]
    assert outputs(net, tables, state, codes).tolist() == fixed_step.evaluate(
        old, codes, spec, hidden=hidden, output=output
    )


# --- with many bits, against the float reference ------------------------------------------------------------------------

WIDE_CAST = {"format": "s60.34", **RND_SAT}
WIDE: dict[str, Any] = {
    "accumulator": "exact",
    "input": {"format": "s24.8"},
    "weight": {"format": "s50.30", **RND_SAT},
    "master": {"format": "s60.40"},
    "bias": {"format": "s60.36"},
    "feedback": {"format": "s50.31"},
    "update": RND_SAT,
    **dict.fromkeys(("preact", "act", "slope", "error", "delta"), WIDE_CAST),
}
DENSE = [("dense", 6), ("dense", 5), ("dense", 4), ("dense", 3)]
MAPS = [("conv", 3), ("conv", 4), ("dense", 5), ("dense", 3)]
BY_HAND: dict[str, Any] = {
    "bp": lambda s, m: rules.bp(s),
    "shallow": lambda s, m: rules.shallow(s),
    "strategy1": lambda s, m: rules.strategy1(s, m("feedback"), m("feedback_above")),
    "strategy1_aux": lambda s, m: rules.strategy1(s, m("feedback"), m("feedback_above"), "auxiliary"),
    "strategy2": lambda s, m: rules.strategy2(s, m("feedback"), m("feedback_below")),
    "strategy2_aux": lambda s, m: rules.strategy2(s, m("feedback"), m("feedback_below"), "auxiliary"),
    "strategy3": lambda s, m: rules.strategy3(s, m("feedback"), m("feedback_below"), m("feedback_above")),
    "strategy3_aux": lambda s, m: rules.strategy3(s, m("feedback"), m("feedback_below"), m("feedback_above"), "auxiliary"),
} | {
    name: lambda s, m, name=name: getattr(rules, name)(s, m("feedback"))
    for name in ("fa", "kp", "dfa", "dkp", "sdfa", "drtp", "lafs", "ifa", "hybrid")
}
LAYERED = ("fa", "kp")
ON_MAPS = [rule for rule in BY_HAND if not rule.startswith(("ifa", "strategy"))]


def wide_case(rule: str, conv: bool, hook: str, hidden: str, loss: str, pool: str) -> tuple[Result, Any, Any]:
    """Return one step on integers with many bits, the same in float64, and the layers' shapes."""
    shape: tuple[int, ...] = (6, 6, 2) if conv else (7,)
    size: tuple[int, ...] = (6, 6)
    state: dict[str, Any] = {}
    layers, segments, codes = [], [], np.random.default_rng(3).integers(0, 256, (3, *shape))
    given, units_at_hook, ends, weight_shapes = shape, [], [], []
    for layer, (kind, units) in enumerate(MAPS if conv else DENSE, 1):
        last, pooled = layer == 4, kind == "conv" and layer == 1
        wanted = (units, 3, 3, given[-1]) if kind == "conv" else (units, int(np.prod(given)))
        weight, bias = draw(layer, wanted, 0.5, 30), draw(layer + 50, (units,), 0.3, 36)
        state |= {f"weight.{layer}": weight, f"master.{layer}": weight * 2**10, f"bias.{layer}": bias}
        activation = ("sigmoid" if loss == "bce" else "tanh") if last else hidden
        stride, padding = (2, 1) if layer == 2 else (1, 1)
        size = tuple((n + 2 * padding - 3) // stride + 1 for n in size) if kind == "conv" else (0, 0)
        before = (*size, units) if kind == "conv" else (units,)
        plain = {
            "kind": kind,
            "activation": activation,
            "stride": stride,
            "padding": padding,
            "dropout": 0.0 if last else 0.5,
        }
        segment = Segment(
            kind, (weight / 2**30).astype(float), (bias / 2**36).astype(float), activation, stride, padding, scale=2.0
        )
        if pooled:
            plain["pool"], size = (pool, 2, 2), (size[0] // 2, size[1] // 2)
            segment = Segment(**(vars(segment) | {"pool": Pool(pool, 2, 2)}))
        given = (*size, units) if kind == "conv" else (units,)
        layers.append(plain)
        segments.append(segment)
        weight_shapes.append(wanted)
        ends.append(int(np.prod(given)))
        units_at_hook.append(int(np.prod(before if hook == "pre_pool" else given)))
    for layer in (1, 2, 3):
        direct = (3, units_at_hook[layer - 1])
        state[f"feedback.{layer}"] = draw(layer + 20, weight_shapes[layer] if rule in LAYERED else direct, 0.5, 31)
        state[f"feedback_above.{layer}"] = draw(layer + 30, weight_shapes[layer], 0.5, 31)
        state[f"feedback_below.{layer}"] = draw(layer + 40, (([0, *ends])[layer - 1], units_at_hook[layer - 1]), 0.5, 31)
    settings = {"loss": loss, "rate": 0.125, "hook": hook}
    found = train_step(
        rule, {"input_shape": shape, "layers": layers}, WIDE, settings, state, codes, [1, 0, 2], seed=8, step=2
    )
    masked = []
    for layer, segment in enumerate(segments, 1):
        mask = found.tensors.get(f"mask.{layer}")
        masked.append(Segment(**(vars(segment) | {"mask": None if mask is None else mask.raw.astype(float)})))
    at = rules.start(codes / 256.0, [1, 0, 2], masked, loss=loss, reduction="sum", hook=hook)

    def matrices(root: str) -> list[Any]:
        return [(state[f"{root}.{layer}"] / 2**31).astype(float) for layer in (1, 2, 3)]

    return found, BY_HAND[rule](at, matrices), state


@pytest.mark.parametrize(
    ("hook", "hidden", "loss", "pool"), [("pre_pool", "tanh", "bce", "max"), ("post_pool", "relu", "mse", "average")]
)
@pytest.mark.parametrize(("rule", "conv"), [(rule, False) for rule in BY_HAND] + [(rule, True) for rule in ON_MAPS])
def test_many_bits_approach_the_float_reference(
    rule: str, conv: bool, hook: str, hidden: str, loss: str, pool: str
) -> None:
    """Every delta and every gradient of every rule; only lafs's softmax is coarse, and a mean of three by 341 / 2^10."""
    found, expected, state = wide_case(rule, conv, hook, hidden, loss, pool)
    tolerance = 2e-2 if rule.endswith("_aux") or rule == "lafs" else 2e-3 if rule == "strategy3" else 1e-7
    masters, biases = [2**40, 2**36]
    compared = 0
    for layer in range(1, 5):
        gradient = expected.weights[layer - 1]
        for name, one, wanted in (("master", masters, gradient), ("bias", biases, expected.biases[layer - 1])):
            moved = (state[f"{name}.{layer}"] - found.state[f"{name}.{layer}"]) / one * 8
            if gradient is None:
                assert not moved.any()
                continue
            np.testing.assert_allclose(moved.astype(float), wanted, rtol=0, atol=tolerance * np.abs(wanted).max())
            compared += 1
    assert compared == (2 if rule == "shallow" else 8)
    assert set(found.counts.values()) == {(0, 0)}
    for layer, gradient in enumerate(expected.feedback or [], 1):
        moved = (state[f"feedback.{layer}"] - found.state[f"feedback.{layer}"]) / 2**31 * 8
        np.testing.assert_allclose(moved.astype(float), gradient, rtol=0, atol=1e-7 * np.abs(gradient).max())


# --- updates by hand ------------------------------------------------------------------------------------------------------


def one_update(gradient: int, rate: float, how: dict[str, Any], decay: float = 0.0, word_seed: int = 0) -> int:
    """Return a parameter of 1000 at 8 fraction bits after a gradient at 12."""
    run = run_of(update={"rounding": "RND", "overflow": "SAT"} | how.get("update", {}), random=how.get("random", {}))
    run.words.seed = word_seed
    new: dict[str, Any] = {}
    given = Num(integers([gradient]), how.get("frac", 12))
    learn(run, "bias.1", {"bias.1": [1000]}, new, given, (Fmt(16, 8), None), Rule(rate, "sgd", decay))
    return int(new["bias.1"][0])


@pytest.mark.parametrize(
    ("gradient", "rate", "update", "frac", "expected"),
    [
        (1000, 0.25, {}, 12, 984),  # 1000 / 2^6 = 15.6
        (1000, 0.03, {"rate": "multiply:4"}, 12, 998),  # 15000 / 2^13 = 1.83
        (1000, 0.01, {"rate": "divide"}, 6, 960),  # (1000 << 2) / 100
        (-1000, 0.03, {"rate": "divide", "rounding": "TRN_ZERO"}, 8, 1030),  # n = 33: 30.3
        (1000, 0.125, {"rate": "none:5"}, 12, 969),  # 1000 / 2^5 = 31.25, whatever rate and point
    ],
)
def test_rates_by_hand(gradient: int, rate: float, update: dict[str, str], frac: int, expected: int) -> None:
    """Shift, multiply, divide, none."""
    assert one_update(gradient, rate, {"update": update, "frac": frac}) == expected


def test_decay_by_hand() -> None:
    """1000 / 2^6 = 15.6 twice: both are rounded, then taken away together; a stochastic step decays by RND."""
    assert one_update(1000, 0.25, {}, decay=2.0**-6) == 1000 - 16 - 16
    assert one_update(0, 0.25, {"update": {"rounding": "STOCH"}}, decay=2.0**-6) == 984
    assert one_update(0, 0.25, {"update": {"rounding": "TRN"}}, decay=2.0**-6) == 985


def test_steps_of_one_by_hand() -> None:
    """p = |g| / 2^6 in 16 bits: always from a whole step on, never for 0; in half of the cases for half a step."""
    one = {"update": {"kind": "plus_minus_one"}, "random": {}}
    assert [one_update(gradient, 0.25, one) for gradient in (64, -64, 5000, 0)] == [999, 1001, 999, 1000]
    moved = sum(one_update(32, 0.25, one, word_seed=seed) == 999 for seed in range(400))
    assert 160 < moved < 240


def test_momentum_by_hand() -> None:
    """115/128 * 200 at 10 + 7 bits + 100 at 12: (115 * 200 + 100 * 32) / 2^7 = 204.7 at 10 fraction bits."""
    run = run_of(momentum={"format": "s16.10", "factor": "115/128", **RND_SAT})
    found = velocity(run, "weight.1", {"velocity.weight.1": [[200]]}, Num(integers([[100]]), 12))
    assert (found.raw.tolist(), found.frac) == ([[205]], 10)


# --- batch normalisation by hand ------------------------------------------------------------------------------------------


def test_normalisation_by_hand() -> None:
    """One channel, x = 10, 30, -14, 6 at F = 3, gain 1.5 and shift -0.25 at 4 fraction bits.

    m = (2 * 32 + 4) // 8 = 8; c = 2, 22, -22, -2; var = 976 // 4 = 244, 8 bits, e = 4.
    normal = c * 2^3 / 2^4 = 1, 11, -11, -1.
    normed = (24 * normal + (-4 << 3)) / 2^4 = -0.5 -> 0 (ties up), 14.5 -> 15, -18.5 -> -18, -3.5 -> -3.
    Running: mean 64 + RND((2048 - 64) / 8 = 248), variance 1000 + RND((62464 - 1000) / 8 = 7683).
    d = 5, -3, 2, 1 at 5: sum 5, md = (10 + 4) // 8 = 1; the sum of d * normal = 5 - 33 - 22 - 1 = -51,
    mt = (-102 + 4) // 8 = -13; v = d - md - RND(normal * -13 / 2^6) = 4 - 0, -4 + 2, 1 - 2, 0 - 0.
    delta = 24 v at 4 + 5 + 4 - 3 = 10, at 8 fraction bits 6 v = 24, -12, -6, 0.
    """
    run = run_of(preact={"format": "s8.3", **RND_SAT}, delta={"format": "s8.8", **RND_SAT}, norm={"format": "s8.4"})
    gain, shift = Num(integers([24]), 4), Num(integers([-4]), 4)
    x = Num(integers([[10], [30], [-14], [6]]), 3)
    found = normalise(run, 1, "", x, gain, shift, (integers([64]), integers([1000])))
    assert (list(found.normal.raw[:, 0]), found.exponent[0]) == ([1, 11, -11, -1], 4)
    assert list(found.normed.raw[:, 0]) == [0, 15, -18, -3]
    assert (found.mean[0], found.variance[0]) == (312, 8683)
    delta = back(run, "delta.1", Num(integers([[5], [-3], [2], [1]]), 5), found, gain)
    assert (list(delta.raw[:, 0]), delta.frac) == ([24, -12, -6, 0], 8)
    # evaluation: m = RND(312 / 256) = 1, e from 8683 >> 8 = 33, 6 bits: 3; normal = (10 - 1) * 8 / 8
    evaluated = normalise_evaluating(run, 1, Num(integers([[10]]), 3), gain, shift, (found.mean, found.variance))
    assert list(evaluated.raw[:, 0]) == [12]  # (24 * 9 - 32) / 16 = 11.5


def test_relu_keeps_the_point_that_its_preact_chose() -> None:
    """200 * 100 = 20000 at 15, 15 bits; 7 bits stay, s = 8: 78 at 7; the next bias comes along, rounded."""
    tables = {
        "accumulator": "exact",
        "input": {"format": "u8.8"},
        "weight": {"format": "s8.7", **RND_SAT},
        "master": {"format": "none"},
        "bias": {"format": "s16.15"},
        "preact": {"format": "s8.4", **RND_SAT},
        "act": {"format": "u8.8", **RND_SAT},
        "dynamic": {"preact": "keep"},
        "functions": {"softmax_bits": 1},
    }
    layers = [{"kind": "dense", "activation": "relu"}, {"kind": "dense", "activation": "softmax"}]
    state = {"weight.1": [[100]], "bias.1": [0], "weight.2": [[64], [0]], "bias.2": [1, 0]}
    run = Run(Tables(tables), 0, 0)
    forward(run, {"layers": layers}, state, Num(integers([[200]]), 8))
    assert (run.tensors["act.1"].raw[0, 0], run.tensors["act.1"].frac) == (78, 7)
    # 78 * 64 = 4992 at 14; a bias of 1 at 15 is half of a step there and rounds up: 4993, 13 bits, s = 6: 78 at 8
    assert run.counts["aligned.bias.2"] == (0, 0)
    assert (list(run.tensors["preact.2"].raw[0]), run.tensors["preact.2"].frac) == ([78, 0], 8)
    # t = floor(78 * 47274 * 2 / 2^23) = 0: both outputs one half
    assert list(run.tensors["output"].raw[0]) == [128, 128]
