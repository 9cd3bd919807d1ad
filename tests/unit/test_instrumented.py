"""Counts against execution, for random nets and by hand; tests/instrumented_cases.py says what is compared."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from fasim.energy import OPERATIONS, CostOptions, count
from fasim.errors import ConfigError
from fasim.schedule import PHASES, StepSettings
from tests.instrumented_cases import Case, assert_executed_as_counted, assert_same_step, positive, untouched
from tests.reference.instrumented import Accumulator, Buffer, Number, Sign, Tally

RULES = ("bp", "fa", "dfa", "sdfa", "drtp", "kp", "dkp", "lafs", "shallow", "hybrid", "ifa")
LOSSES = {"bce": ("sigmoid",), "mse": ("tanh", "linear", "relu"), "cross_entropy": ("softmax",)}
# rules that read a stored matrix of any structure, and of signs
ANY_STRUCTURE, ANY_SIGNS = ("dfa", "sdfa", "drtp"), ("dfa", "sdfa", "drtp", "fa", "lafs")


# --- the number type -----------------------------------------------------------------------------------------------------


def test_numbers_count_what_is_done_to_them():
    tally = Tally()
    tally.begin("forward")
    a, b, sign = Number(3.0, tally), Number(4.0, tally), Sign(-1.0, tally)
    total = Accumulator(tally)
    total.add(a * b)
    total.add(sign * a)
    total.add(a, -1)
    assert (total.sum.value, (1.0 - a * b).value, (2.0 * (a + b) / 7.0).value) == (6.0, -11.0, 2.0)
    assert (b > a, a.same(b), b.root().value, a.looked_up(abs).value) == (True, False, 2.0, 3.0)
    kinds = {kind: number for (_, kind), number in tally.operations.items()}
    assert kinds == {"MAC": 1, "MUL": 2, "ADD": 4, "DIV": 2, "CMP": 2, "LUT": 1}


def test_an_element_is_loaded_and_stored_once_an_op():
    tally = Tally()
    buffer = Buffer(tally, "act", (2, 3), range(6))
    for phase in ("forward", "forward", "error"):
        tally.begin(phase)
        assert buffer[1, 2].value == buffer[1, 2].value == 5.0
        assert buffer[0, 1].value == 1.0
    buffer[0, 0] = Number(9.0, tally)
    buffer[0, 0] = 8.0
    assert buffer.array().tolist() == [[8, 1, 2], [3, 4, 5]]
    assert tally.moved == {("forward", "act", False): 4, ("error", "act", False): 2, ("error", "act", True): 1}
    assert not tally.operations


# --- random nets ---------------------------------------------------------------------------------------------------------


@st.composite
def nets(draw, conv: bool, hidden: int = 0) -> str:
    """Draw a small net; of convolutions any stride and padding, and pools whose windows overlap or leave places out."""
    parts = [str(draw(st.integers(1, 5)))]
    if conv:
        height, width = draw(st.integers(3, 6)), draw(st.integers(3, 6))
        parts = [f"{height}x{width}x{draw(st.integers(1, 2))}"]
        for _ in range(draw(st.integers(1, 2))):
            kernel, stride, padding = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(0, 2))
            parts.append(f"{draw(st.integers(1, 3))}c{kernel}s{stride}p{padding}")
            if draw(st.booleans()):
                parts.append(f"{draw(st.integers(2, 3))}{draw(st.sampled_from('pa'))}s{draw(st.integers(1, 3))}")
    parts += [str(draw(st.integers(1, 5))) for _ in range(draw(st.integers(hidden, 2)))]
    return "-".join([*parts, str(draw(st.integers(2, 4)))])


@st.composite
def feedbacks(draw, rule: str) -> str:
    text = "uniform"
    if rule in ANY_STRUCTURE:
        structure = draw(st.sampled_from(("", "+k:1", "+k:2", "+nm:1:2", "+density:0.4", "+rank:1")))
        if structure == "+rank:1":
            return text + structure
        text += structure
    if rule in ANY_SIGNS and draw(st.booleans()):
        text += draw(st.sampled_from(("+sign", "+ternary")))
    return text


@st.composite
def cases(draw, rule: str) -> Case:
    conv = rule != "ifa" and draw(st.booleans())
    loss = draw(st.sampled_from(sorted(LOSSES)))
    step = StepSettings(
        draw(st.integers(1, 3)),
        loss=loss,
        reduction=draw(st.sampled_from(("sum", "mean"))),
        hook=draw(st.sampled_from(("pre_pool", "post_pool"))),
        error_scale=draw(st.sampled_from(("loss_gradient", "raw"))),
        feedback=draw(feedbacks(rule)),
    )
    hidden = draw(st.sampled_from(("tanh", "sigmoid", "relu", "linear")))
    return Case(draw(nets(conv, hidden=int(rule == "ifa"))), rule, step, hidden, draw(st.sampled_from(LOSSES[loss])))


QUICK = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("rule", RULES)
def test_random_nets_are_executed_as_counted(rule):
    made = Counter()

    @QUICK
    @given(cases(rule))
    def check(case):
        try:
            case.schedule  # noqa: B018
        except ConfigError:
            made["refused"] += 1  # a window or a sparse structure that does not fit
            return
        made["conv" if "c" in case.net else "dense"] += 1
        event(case.step.feedback)
        assert_executed_as_counted(case)
        assert_same_step(case)

    check()
    assert made["dense"] >= 8
    assert made["conv"] >= (0 if rule == "ifa" else 5)


# --- what random nets do not show -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("decay_kind", ["", "coupled", "decoupled", "adamw"])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov", "rmsprop", "adam"])
@pytest.mark.parametrize("rule", ["bp", "kp", "dkp"])
def test_optimizers_and_decay_are_executed_as_counted(rule, optimizer, decay_kind):
    """At N = 1 the sum of an optimizer with states takes the place of the accumulator: there MAC is MUL and ADD again."""
    settings = StepSettings(3, optimizer=optimizer)
    if decay_kind:
        settings = replace(settings, weight_decay=0.25, feedback_weight_decay=0.125, decay_kind=decay_kind)
    many = Case("5x4x2-2c3-2p-3-4", rule, settings)
    assert_executed_as_counted(many)
    assert_same_step(many)
    one = Case("4-3-2-3", rule, replace(settings, batch_size=1))
    assert_same_step(one)
    counts, done = count(one.schedule), one.executed.tally.operations
    learning = ("gradient", "update")

    def said(kind):
        return sum(counts.total(kind, phase) for phase in learning)

    def did(kind):
        return sum(done[phase, kind] for phase in learning)

    assert did("MUL") + did("MAC") == said("MUL") + said("MAC")
    assert did("ADD") + did("MAC") == said("ADD") + said("MAC")
    assert did("DIV") == said("DIV")
    if optimizer == "sgd":
        assert_executed_as_counted(one)


def test_one_sample_is_learnt_in_one_pass():
    """784-500-10 made small: I J products and I J additions once, J more products for the rate."""
    done = Case("6-5-4", "dfa", StepSettings(1)).executed.tally
    weights, units = 6 * 5 + 5 * 4, 5 + 4
    assert done.operations["gradient", "MAC"] == weights
    assert done.operations["update", "MUL"] == 2 * units  # weights and biases
    assert done.operations["update", "ADD"] == units
    assert done.moved["update", "weight", False] == done.moved["update", "weight", True] == weights
    assert not any(cls == "gradient" for _, cls, _ in done.moved)


@pytest.mark.parametrize("labels", [(2, 2, 2), (0, 1, 0), (1, 0, 2)])
def test_rows_of_labels_that_repeat_are_read_once(labels):
    """The package does not know the labels: it counts as many rows as can be different."""
    case = Case("5-4-3", "drtp", StepSettings(3), labels=labels)
    assert_executed_as_counted(case)
    assert_same_step(case)
    assert case.executed.tally.moved["error", "feedback", False] == 4 * len(set(labels))
    assert count(case.schedule).elements("feedback") == 4 * 3


@pytest.mark.parametrize(
    ("net", "forward", "without"),
    [
        ("28x28x1-1c5-2", 28 * 28 * 25, 134**2),  # 32 channels: 627 200 and 574 592
        ("6x5x2-3c3-2", 30 * 18 * 3, 16 * 13 * 2 * 3),
        ("6x5x2-3c3p0-2", 12 * 18 * 3, 12 * 18 * 3),
        ("7x7x1-2c3s2p2-2", 25 * 9 * 2, 11**2 * 2),
    ],
)
def test_products_by_the_zeros_of_the_border(net, forward, without):
    """Padding counts, unless it is skipped: sums over the offsets that lie on the map, by rows and by columns."""
    case = Case(net, "drtp", StepSettings(1))
    dense = int(np.prod(case.network.segments[1].weight_shape))
    for padding, products in (("count", forward), ("skip", without)):
        done = case.execute(padding).tally.operations
        for phase in ("forward", "gradient"):
            assert done[phase, "MAC"] == products + dense
    assert count(case.schedule).total("MAC", "forward") == forward + dense


@pytest.mark.parametrize("rule", ["bp", "fa", "dfa"])
def test_random_nets_without_their_border_are_executed_as_counted(rule):
    """Operations alone: what lies in the border is no memory, so nothing else moves."""
    fewer = Counter()

    @QUICK
    @given(nets(conv=True), st.sampled_from(("uniform", "uniform+sign")), st.integers(1, 2))
    def check(net, feedback, n):
        case = Case(net, rule, StepSettings(n, feedback=feedback))
        try:
            counts = count(case.schedule, options=CostOptions(padding="skip"))
        except ConfigError:
            return
        done = positive(case.execute("skip").tally.operations)
        assert done == positive(Counter({(p, kind): counts.total(kind, p) for p in PHASES for kind in OPERATIONS}))
        fewer[counts.macs < count(case.schedule).macs] += 1

    check()
    assert fewer[True] >= 5
    assert fewer[False] >= 3


def test_skipping_the_border_changes_no_value():
    case = Case("5x6x2-3c3-2c3s2p1-3", "bp", StepSettings(2))
    counted, skipped = case.executed, case.execute("skip")
    for all_of_it, less in zip(counted.weights, skipped.weights, strict=True):
        assert np.array_equal(all_of_it.array(), less.array())
    for phase in ("forward", "error", "gradient"):
        assert skipped.tally.operations[phase, "MAC"] < counted.tally.operations[phase, "MAC"]
    assert skipped.tally.moved == counted.tally.moved


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "missed"),
    [
        (6, 3, 1, 0, []),
        (6, 3, 2, 0, [5]),
        (6, 1, 2, 0, [1, 3, 5]),
        (6, 1, 3, 0, [1, 2, 4, 5]),
        (6, 3, 2, 1, []),
        (5, 2, 2, 0, [4]),
    ],
)
def test_places_that_no_window_reaches(size, kernel, stride, padding, missed):
    assert np.flatnonzero(untouched(size, kernel, stride, padding)).tolist() == missed


def test_maps_are_read_whole_where_windows_leave_places_out():
    case = Case("6x5x1-2c1s3p0-3", "dfa", StepSettings(2))
    assert_executed_as_counted(case)
    places = 2 * 2 * 2  # samples, rows and columns that the kernel meets
    assert case.executed.tally.moved["gradient", "act", False] == places + 2 * 8
    assert count(case.schedule).elements("act", "gradient") == 2 * 30 + 2 * 8
