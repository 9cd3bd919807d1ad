"""Fixed point to the bit: CPU with one thread = with two = interpreter = step written by hand, counts included."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from fasim import backends, rules
from fasim.backends import Samples, cpu
from fasim.backends.cpu import CpuProgram
from fasim.errors import ConfigError
from fasim.fixedpoint import Cast, Datapath, Fixed, load_datapath
from fasim.fixedpoint.trace import SiteCount, Trace
from fasim.network import Network
from fasim.rules import evaluation_pass
from fasim.schedule import Schedule, StepSettings
from fasim.state import State, initial_state, set_learning_rate
from tests.reference import fixed_step

RULES = ("bp", "fa", "dfa", "sdfa", "drtp", "shallow")
GROUPS = ("weight", "bias", "master", "feedback")
STEPS = 3


@dataclass(frozen=True)
class Case:
    """One training run: what is trained, how, and on which numbers."""

    sizes: tuple[int, ...]
    rule: str
    hidden: str
    output: str
    loss: str
    datapath: Datapath = field(repr=False)
    batch: int
    learning_shift: int
    seed: int
    first_step: int
    error_scale: str = "loss_gradient"
    order: str = "eager"
    fuse: str = "none"

    @property
    def network(self) -> Network:
        return Network.parse("-".join(map(str, self.sizes)), hidden=self.hidden, output=self.output)

    @property
    def layers(self) -> range:
        return range(1, len(self.sizes))

    def schedule(self) -> Schedule:
        step = StepSettings(self.batch, loss=self.loss, error_scale=self.error_scale)
        return rules.training_step(self.network, self.rule, step, self.datapath, order_by=self.order, fuse_by=self.fuse)

    def start(self, schedule: Schedule) -> State:
        state = initial_state(self.network, schedule, self.seed)
        set_learning_rate(state, schedule, 2.0**-self.learning_shift)
        return state

    def data(self) -> tuple[Samples, np.ndarray]:
        """Return samples, and the order in which the batches take them (some twice, the last ones never)."""
        random = np.random.default_rng(self.seed)
        count = self.batch + 3
        codes = random.integers(0, 256, (count, self.sizes[0]), dtype=np.uint8)
        data = Samples(codes, random.integers(0, self.sizes[-1], count))
        return data, random.integers(0, count, STEPS * self.batch + self.batch - 1)


def spec_of(datapath: Datapath, schedule: Schedule) -> dict[str, Any]:
    """Return the datapath as the oracle wants it."""

    def plain(fmt: Fixed | None) -> tuple[int, int, bool] | None:
        return None if fmt is None else (fmt.bits, fmt.frac, fmt.signed)

    casts = {name: getattr(datapath, name) for name in ("weight", "preact", "act", "slope", "error", "delta")}
    modes = {name: (cast.rounding, cast.overflow) for name, cast in casts.items()}
    feedback = sorted(schedule.of_class("feedback"), key=lambda tensor: tensor.name)
    return {
        **{name: plain(cast.format) for name, cast in casts.items()},
        "input": plain(datapath.input),
        "master": plain(datapath.master),
        "bias": plain(datapath.bias),
        "feedback": [plain(tensor.format) for tensor in feedback],
        "cast": {**modes, "update": (datapath.update_rounding, datapath.update_overflow)},
    }


def by_hand(case: Case) -> tuple[dict[str, list[Any]], dict[str, tuple[int, int]]]:
    """Return weights and the rest after the steps of the oracle, and its counts."""
    schedule = case.schedule()
    spec, start = spec_of(case.datapath, schedule), case.start(schedule)
    named = {group: [start.get(f"{group}.{layer}") for layer in case.layers] for group in GROUPS}
    # shallow has no masters but the last, the last layer no feedback: None stands in
    state: dict[str, Any] = {
        group: [None if array is None else array.tolist() for array in arrays] for group, arrays in named.items()
    }
    (codes, labels, *_), order = case.data()
    counts: dict[str, tuple[int, int]] = {}
    for step in range(STEPS):
        batch = order[step * case.batch : (step + 1) * case.batch]
        state, found = fixed_step.step(
            case.rule,
            state,
            codes[batch],
            labels[batch],
            spec,
            hidden=case.hidden,
            output=case.output,
            loss=case.loss,
            lr_shift=case.learning_shift,
            seed=case.seed,
            step=case.first_step + step,
            error_scale=case.error_scale,
        )
        for site, (saturations, wraps) in found.items():
            before = counts.get(site, (0, 0))
            counts[site] = before[0] + saturations, before[1] + wraps
    return state, counts


def trained(case: Case, backend: str, threads: int) -> tuple[State, Trace]:
    schedule = case.schedule()
    state = case.start(schedule)
    data, order = case.data()
    trace = backends.get(backend)(schedule, threads=threads).run(state, data, order, case.first_step)
    return state, trace


def check(case: Case) -> dict[str, SiteCount]:
    """Compare all four, bit for bit and count for count; return the counts.

    Two threads divide products by rows as those of small matrices are, or by columns, as of large ones: by the seed.
    """
    state, trace = trained(case, "cpu", 1)
    for backend, threads in (("cpu", 2), ("reference", 1)):
        large, vector = (1, 1) if case.seed % 2 else (cpu.LARGE_MATRIX, cpu.VECTOR)
        with patch.multiple(cpu, LARGE_MATRIX=large, VECTOR=vector):
            other, counted = trained(case, backend, threads)
        assert other.keys() == state.keys()
        for name, array in state.items():
            assert other[name].dtype == array.dtype, (backend, name)
            np.testing.assert_array_equal(other[name], array, err_msg=f"{backend} {threads} {name}")
        assert counted == trace, (backend, threads)
    expected, counts = by_hand(case)
    for group in GROUPS:
        for layer, values in enumerate(expected[group], 1):
            array = state.get(f"{group}.{layer}")
            found = None if array is None else array.tolist()
            assert found == values, f"{group}.{layer} differs from the step by hand"
    assert {site: (count.saturations, count.wraps) for site, count in trace.sites.items()} == counts
    schedule = case.schedule()
    written = {op.site: schedule[op.writes[0]].elements for op in schedule.ops if op.site}
    assert {site: count.elements for site, count in trace.sites.items()} == {
        site: STEPS * elements for site, elements in written.items()
    }
    return trace.sites


# --- random datapaths ---------------------------------------------------------------------------

ROUNDING = st.sampled_from(["TRN", "RND", "RND_CONV", "STOCH"])
OVERFLOW = st.sampled_from(["WRAP", "SAT"])


@st.composite
def formats(draw: st.DrawFn, bits: tuple[int, int] = (4, 16), whole: tuple[int, int] = (-2, 4)) -> Fixed:
    """Return a signed format: bits, and integer bits (the sign included) below 0 for numbers far below 1."""
    width = draw(st.integers(*bits))
    return Fixed(width, width - draw(st.integers(*whole)))


@st.composite
def casts(draw: st.DrawFn, bits: tuple[int, int] = (4, 16), whole: tuple[int, int] = (-2, 4)) -> Cast:
    return Cast(draw(formats(bits, whole)), draw(ROUNDING), draw(OVERFLOW))


@st.composite
def entries(draw: st.DrawFn, signed: bool) -> Cast:
    """Return the cast of a table: always RND and SAT, and the target 1.0 must have a place."""
    width = draw(st.integers(4, 16))
    return Cast(Fixed(width, draw(st.integers(max(0, width - 4), width + 1)), signed=signed), "RND", "SAT")


DATAPATHS = st.builds(
    Datapath,
    name=st.just("random"),
    source=st.just("test"),
    input=st.sampled_from([Fixed(8, 8, signed=False), Fixed(8, 6, signed=False), Fixed(10, 9)]),
    weight=casts(whole=(-1, 2)),
    master=st.none() | formats(),
    bias=formats(),
    update_rounding=ROUNDING,
    update_overflow=OVERFLOW,
    preact=casts(bits=(4, 10), whole=(1, 5)),
    act=st.booleans().flatmap(entries),
    slope=st.booleans().flatmap(entries),
    error=casts(),
    delta=casts(),
    feedback_bits=st.integers(4, 12),
    accumulator=st.just("exact"),
)

CASES = st.builds(
    lambda ends, **parts: Case(output=ends[0], loss=ends[1], **parts),
    ends=st.sampled_from([("sigmoid", "bce"), ("tanh", "mse"), ("linear", "mse"), ("sigmoid", "mse")]),
    sizes=st.lists(st.integers(1, 9), min_size=3, max_size=5).map(tuple),
    rule=st.sampled_from(RULES),
    hidden=st.sampled_from(["tanh", "sigmoid", "linear"]),
    datapath=DATAPATHS,
    batch=st.integers(1, 6),
    learning_shift=st.integers(-2, 6),
    seed=st.integers(0, 2**63 - 1),
    first_step=st.sampled_from([0, 5, 2**32 - 2]),
    error_scale=st.sampled_from(["loss_gradient", "raw"]),
    order=st.sampled_from(["eager", "phased"]),
    fuse=st.sampled_from(["none", "within_layer"]),
)


def can_run(case: Case) -> bool:
    """Tell whether no STOCH cast drops more bits than a random word has: all that these datapaths are refused for."""
    try:
        case.start(case.schedule())
    except ConfigError as refused:
        assert "a random word has 32" in str(refused)
        return False
    return True


@settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(CASES)
def test_random_datapaths(case: Case) -> None:
    assume(can_run(case))
    sites = check(case)
    event("saturates" if any(count.saturations for count in sites.values()) else "never saturates")
    event("wraps" if any(count.wraps for count in sites.values()) else "never wraps")


# --- the presets --------------------------------------------------------------------------------


@pytest.mark.parametrize("datapath", ["s8", "s16", "s8_stoch"])
@pytest.mark.parametrize("rule", RULES)
def test_presets(rule: str, datapath: str) -> None:
    """Two losses, with and without the loss's scale; the batch does not divide among the threads."""
    loaded = load_datapath(datapath)
    assert loaded is not None
    for hidden, output, loss, scale in (
        ("tanh", "sigmoid", "bce", "loss_gradient"),
        ("sigmoid", "tanh", "mse", "raw"),
    ):
        case = Case((7, 6, 5, 3), rule, hidden, output, loss, loaded, 5, 3, 2**40 + 7, 0, scale)
        sites = check(case)
        assert len(sites) >= 7
        schedule = case.schedule()
        before, (after, _) = case.start(schedule), trained(case, "cpu", 1)
        assert not np.array_equal(before["bias.3"], after["bias.3"])
        assert (rule == "shallow") is np.array_equal(before["weight.1"], after["weight.1"])


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("datapath", ["s8", "s16"])
def test_evaluation_is_the_forward_pass_by_hand(datapath: str, backend: str) -> None:
    """Of a batch that does not divide the samples, on every output."""
    loaded = load_datapath(datapath)
    assert loaded is not None
    case = Case((7, 6, 5, 3), "dfa", "tanh", "sigmoid", "bce", loaded, 5, 3, 11, 0)
    schedule = case.schedule()
    state = case.start(schedule)
    data = case.data()[0]
    codes = data.codes
    assert len(codes) % case.batch
    network = Network.parse("-".join(map(str, case.sizes)))
    program = backends.get(backend)(evaluation_pass(network, StepSettings(case.batch), loaded))
    kept = {name: array.copy() for name, array in state.items()}
    raw = program.outputs(state, data) * 2.0**loaded.act.format.frac
    arrays = {group: [state[f"{group}.{layer}"] for layer in case.layers] for group in ("weight", "bias")}
    expected = fixed_step.evaluate(arrays, codes, spec_of(loaded, schedule), hidden="tanh", output="sigmoid")
    np.testing.assert_array_equal(raw, expected)
    assert all(np.array_equal(state[name], array) for name, array in kept.items())


@pytest.mark.parametrize("datapath", ["s8", "s16", "s8_stoch"])
def test_all_rules_start_from_the_same_weights(datapath: str) -> None:
    """Rounded to the master first, also where a rule leaves a layer without a master."""
    loaded = load_datapath(datapath)
    assert loaded is not None
    assert loaded.master is not None
    network = Network.parse("100-200-10")
    states = [initial_state(network, rules.training_step(network, rule, StepSettings(1), loaded), 4) for rule in RULES]
    drawn = initial_state(network, rules.training_step(network, "bp", StepSettings(1)), 4)
    for layer in (1, 2):
        for state in states:
            np.testing.assert_array_equal(state[f"weight.{layer}"], states[0][f"weight.{layer}"])
        step = 2.0**-loaded.weight.format.frac
        error = np.abs(states[0][f"weight.{layer}"] * step - drawn[f"weight.{layer}"])
        assert error.max() <= step / 2 + 2.0**-loaded.master.frac


def test_learning_rates_that_no_update_could_compute_are_refused() -> None:
    loaded = load_datapath("s8_stoch")
    assert loaded is not None
    # weight.1: 20 products of 15 bits, with the sign 21 bits at frac 15, which is the master's
    schedule = rules.training_step(Network.parse("7-6-3"), "dfa", StepSettings(20), loaded)
    state = initial_state(Network.parse("7-6-3"), schedule, 0)
    for shift in (32, -42):
        set_learning_rate(state, schedule, 2.0**-shift)
    with pytest.raises(ConfigError, match=r"learning rate 2\^-33 .* round away 33 bits, but a random word has 32"):
        set_learning_rate(state, schedule, 2.0**-33)
    with pytest.raises(ConfigError, match=r"learning rate 2\^43 .* bits left by \d+; at most 63 bits are exact"):
        set_learning_rate(state, schedule, 2.0**43)


def test_the_bits_do_not_depend_on_more_threads_than_units() -> None:
    loaded = load_datapath("s8_stoch")
    assert loaded is not None
    case = Case((9, 2, 1, 2), "fa", "tanh", "sigmoid", "bce", loaded, 6, 2, 3, 0)
    state, trace = trained(case, "cpu", 1)
    for threads in (3, 6, 16):
        schedule = case.schedule()
        assert CpuProgram(schedule, threads=threads).workers == min(threads, 6)
        other, counted = trained(case, "cpu", threads)
        assert counted == trace
        for name, array in state.items():
            np.testing.assert_array_equal(other[name], array, err_msg=f"{threads} {name}")
