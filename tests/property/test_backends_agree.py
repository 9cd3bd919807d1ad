"""Float32 on the cpu is the float64 interpreter, for networks, rules and settings drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fasim import backends, rules
from fasim.backends.reference import ReferenceProgram
from fasim.fixedpoint.trace import Trace
from fasim.network import ACTIVATIONS
from fasim.schedule import Op, Schedule, StepSettings
from fasim.schedule.settings import HOOKS
from fasim.state import State, set_learning_rate
from tests.reference_bridge import DENSE_ONLY, NEEDS_LABELS
from tests.reference_cases import OUTPUT, Case

STEPS, EXAMPLES = 2, 20
# small enough that no output saturates: the sign of what is then left of an error or a gradient is rounding alone
RATE = 2.0**-7
# how many times what one rounding of everything that is read does to a step the float32 kernels may do: their sums round
# once per term, tanh and sigmoid err by up to five units of the last place (seen: 6.7 in 100 cases of each rule)
CONDITION = 10.0
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
    """Return the size of what a tensor's differences are held against: its largest element, at least 0.1."""
    return max(0.1, float(np.abs(state[name]).max()))


class Shaken(dict[str, np.ndarray]):
    """Values that differ by up to the last bit of float32 each time they are read."""

    def __init__(self, values: dict[str, np.ndarray], random: np.random.Generator) -> None:
        super().__init__(values)
        self.random = random

    def __getitem__(self, name: str) -> np.ndarray:
        array = super().__getitem__(name)
        if array.dtype.kind != "f":
            return array
        return array * (1 + 2.0**-23 * self.random.uniform(-1, 1, array.shape))


class ShakenProgram(ReferenceProgram):
    """The interpreter, each op on operands that are rounded: what this does to a step, float32 may do as well.

    Moving parameters and inputs before the step is not enough: what normalisation of few samples takes away of that, it
    enlarges of roundings behind.
    """

    def __init__(self, schedule: Schedule, seed: int) -> None:
        super().__init__(schedule)
        self.random = np.random.default_rng(seed)

    def _step(
        self, state: State, values: dict[str, np.ndarray], step: int, trace: Trace, ops: Sequence[Op]
    ) -> dict[str, np.ndarray]:
        return super()._step(state, Shaken(values, self.random), step, trace, ops)

    def _norm_back(self, op: Op) -> None:
        """Round its terms too: they cancel, to the last bit over the batch, whatever is read."""
        super()._norm_back(op)
        delta, normal = (self.now[value.tensor].reshape(-1, self.schedule[op.reads[0]].shape[-1]) for value in op.reads[:2])
        inverse, gain = self._read(op)[2:]
        terms = gain * inverse * (np.abs(delta) + np.abs(normal) * np.abs(delta * normal).mean(0))
        (out,) = (self.now[value.tensor] for value in op.writes)
        self._write(op, out + 2.0**-23 * self.random.uniform(-1, 1, out.shape) * terms.reshape(out.shape))


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
    programs = {"cpu": backends.get("cpu"), "reference": ReferenceProgram, "shaken": partial(ShakenProgram, seed=case.seed)}
    for name, program in programs.items():
        found[name] = {key: array.copy() for key, array in start.items()}
        program(schedule).run(found[name], samples, order, 0)
    assert found["cpu"].keys() == found["reference"].keys()
    for name, expected in found["reference"].items():
        actual = found["cpu"][name]
        assert np.all(np.isfinite(actual)), name
        shaken = float(np.abs(found["shaken"][name] - expected).max())
        tolerance = 1e-5 * scale(found["reference"], name) + CONDITION * shaken
        np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance, err_msg=f"{case} {name}")
