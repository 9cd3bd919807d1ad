"""Float32 on the cpu is the float64 interpreter, for networks, rules and settings drawn at random."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fasim import backends, rules
from fasim.backends import Samples
from fasim.network import ACTIVATIONS
from fasim.schedule import StepSettings
from fasim.schedule.settings import HOOKS
from fasim.state import State, set_learning_rate
from tests.reference_bridge import DENSE_ONLY, NEEDS_LABELS
from tests.reference_cases import OUTPUT, Case

STEPS, EXAMPLES = 2, 20
# small enough that no output saturates: the sign of what is then left of an error or a gradient is rounding alone
RATE = 2.0**-7
# how much more than one rounding of all parameters and inputs the roundings inside a step may do: tanh and sigmoid, by
# arithmetic alone, err by up to five units of the last place, and normalisation of few samples enlarges that (seen: 16)
CONDITION = 30.0
# fully connected networks, and maps of 7 x 6 x 2 with one or two convolutions
DENSE = st.lists(st.integers(2, 6), min_size=2, max_size=4).map(lambda sizes: "-".join(map(str, [7, *sizes])))
CONV = st.builds(
    lambda conv, pool, second, dense: "-".join(["7x6x2", conv + pool + second, *map(str, dense)]),
    st.sampled_from(["3c3", "2c3s2", "3c2p1", "2c3s2p2", "4c1"]),
    st.sampled_from(["", "-2p", "-2a", "-2ps1", "-2as1"]),
    st.sampled_from(["", "-3c3", "-2c3s2"]),
    st.lists(st.integers(3, 5), min_size=1, max_size=2),
)
WHOLE = ("uniform", "b3:0.3", "gaussian:0.5")
DIRECT = (*WHOLE, "gaussian+sign", "uniform+k:2", "uniform+density:0.5", "uniform+rank:2", "uniform+lfsr", "uniform+shared")


@st.composite
def cases(draw: st.DrawFn, rule: str) -> Case:
    """Return a case that the rule is stated for."""
    norm = draw(st.booleans())
    # a dead unit has no variance, and normalisation then enlarges rounding errors to any size
    hidden = draw(st.sampled_from(["tanh", "sigmoid"] if norm else ACTIVATIONS))
    network = {"hidden": hidden, "batch_norm": norm}
    network |= {name: draw(st.sampled_from([0.0, 0.25])) for name in ("dropout", "input_dropout")}
    step: dict[str, Any] = {
        "batch_size": draw(st.integers(5, 7)),
        "loss": draw(st.sampled_from(sorted(OUTPUT))),
        "reduction": draw(st.sampled_from(["sum", "mean"])),
        "error_scale": draw(st.sampled_from(["loss_gradient", "raw"])),
        "hook": draw(st.sampled_from(HOOKS)),
        "optimizer": draw(st.sampled_from(["sgd", "momentum", "nesterov", "rmsprop", "adam"])),
        "weight_decay": draw(st.sampled_from([0.0, 0.1])),
        "decay_kind": draw(st.sampled_from(["coupled", "decoupled", "adamw"])),
        "clip": draw(st.sampled_from(["", "value:0.1", "norm:1"])),
        "fgsm": draw(st.sampled_from([0.0, 0.05])),
        "feedback": draw(st.sampled_from(DIRECT if rule in ("dfa", "sdfa", "drtp", "hybrid") else WHOLE)),
    }
    if step["loss"] != "cross_entropy" and rule not in NEEDS_LABELS:
        step["target"] = draw(st.sampled_from(["label", "value"]))
    net = draw(DENSE if rule in DENSE_ONLY else st.one_of(DENSE, CONV))
    return Case(net, network, StepSettings(**step), draw(st.booleans()), draw(st.integers(0, 2**20)))


def scale(state: State, name: str) -> float:
    """Return the size of what a tensor's differences are held against: its largest element, at least 0.1.

    Of a bias before normalisation, 10: what it adds is taken away again, so that its gradient is the rounding of its terms.
    """
    parts = name.split(".")
    if "bias" in parts and f"gain.{parts[-1]}" in state:
        return 10.0
    return max(0.1, float(np.abs(state[name]).max()))


def shake(state: State, seed: int) -> None:
    """Move every parameter by up to the last bit of float32: what this does to a step, rounding may do as well."""
    random = np.random.default_rng(seed)
    for name, array in state.items():
        if array.dtype == np.float32:
            state[name] = array * (1 + 2.0**-23 * random.uniform(-1, 1, array.shape))


def shake_inputs(samples: Samples, seed: int) -> Samples:
    """Move every input likewise: parameters move all samples of a batch alike, which normalisation takes away again."""
    random = np.random.default_rng([1, seed])
    codes = samples.codes * (1 + 2.0**-23 * random.uniform(-1, 1, samples.codes.shape))
    return samples._replace(codes=codes if samples.gain is not None else codes * samples.scale)


@pytest.mark.parametrize("rule", rules.names())
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_cpu_is_the_interpreter(rule: str, data: st.DataObject) -> None:
    case = data.draw(cases(rule))
    schedule, samples = case.schedule(rule), case.samples(STEPS)
    order = np.arange(STEPS * case.settings.batch_size)
    start = case.state(schedule)
    set_learning_rate(start, schedule, RATE, 2 * RATE)
    found = {}
    for name in ("cpu", "reference", "shaken"):
        found[name] = {key: array.copy() for key, array in start.items()}
        inputs = samples
        if name == "shaken":
            shake(found[name], case.seed)
            inputs = shake_inputs(samples, case.seed)
        backend = "cpu" if name == "cpu" else "reference"
        backends.get(backend)(schedule).run(found[name], inputs, order, 0)
    assert found["cpu"].keys() == found["reference"].keys()
    for name, expected in found["reference"].items():
        actual = found["cpu"][name]
        assert np.all(np.isfinite(actual)), name
        shaken = float(np.abs(found["shaken"][name] - expected).max())
        tolerance = 1e-5 * scale(found["reference"], name) + CONDITION * shaken
        np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance, err_msg=f"{case} {name}")
