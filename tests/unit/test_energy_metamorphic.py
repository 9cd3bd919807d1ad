"""What must hold between two counts or two estimates, for random nets, rules, datapaths and batches."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fasim.energy import OPERATIONS, count, estimate, load_processor
from fasim.fixedpoint import Fixed, load_datapath
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import CLASSES, PHASES, StepSettings
from tests.schedules import DENSE_RULES, RULES_AND_DATAPATHS

PROCESSOR = load_processor("generic_45nm")
CONVOLUTIONS = ("", "3c3-", "2c3s2p0-2p-", "2c1-3ps1-", "3c3-2a-2c2p1-")
LAWS = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
FEW = settings(LAWS, max_examples=15)
DIRECT = ("dfa", "sdfa", "drtp")


@st.composite
def networks(draw, *, dense: bool = False, hidden: int = 0, activations: tuple[str, ...] = ("tanh", "sigmoid")) -> Network:
    """Draw a small net, with or without convolutions, with this many hidden dense layers or more."""
    front = "" if dense else draw(st.sampled_from(CONVOLUTIONS))
    first = f"{draw(st.integers(6, 9))}x{draw(st.integers(6, 8))}x{draw(st.integers(1, 2))}" if front else "7"
    sizes = [draw(st.integers(1, 9)) for _ in range(draw(st.integers(hidden, 3)))] + [draw(st.integers(2, 5))]
    hidden_function = draw(st.sampled_from(activations))
    return Network.parse(f"{first}-{front}" + "-".join(map(str, sizes)), hidden=hidden_function)


@st.composite
def steps(draw) -> tuple[Network, str, str]:
    """Draw a net, a rule that it can have, and a datapath."""
    rule, datapath = draw(st.sampled_from(RULES_AND_DATAPATHS))
    return draw(networks(dense=rule in DENSE_RULES, hidden=1)), rule, datapath


def counted(network, rule, n=1, datapath="float32", **settings):
    return count(training_step(network, rule, StepSettings(n, **settings), load_datapath(datapath)))


def operations(counts, *phases):
    found = Counter({(phase, kind): counts.total(kind, phase) for phase in phases or PHASES for kind in OPERATIONS})
    return {key: number for key, number in found.items() if number}


def rows(counts):
    """Return everything that is counted, op by op."""
    return counts.operations, counts.traffic


# --- parts and wholes ----------------------------------------------------------------------------------------------------


@LAWS
@given(steps(), st.integers(1, 4))
def test_phases_and_classes_add_up_to_the_whole(drawn, n):
    network, rule, datapath = drawn
    counts = counted(network, rule, n, datapath)
    for kind in OPERATIONS:
        assert sum(counts.total(kind, phase) for phase in PHASES) == counts.total(kind)
    for moved in (counts.words, counts.elements):
        assert sum(moved(cls, phase) for cls in CLASSES for phase in PHASES) == moved() > 0
    result = estimate(network, rule, load_datapath(datapath), settings=StepSettings(n), processor=PROCESSOR)
    energy = result.energy_pj_per_sample.typical
    for parts in (result.phase_pj_per_sample, result.class_pj_per_sample):
        assert min(parts.values()) >= 0
        assert sum(parts.values()) == pytest.approx(energy, rel=1e-12)


# --- the batch -----------------------------------------------------------------------------------------------------------


@LAWS
@given(steps(), st.integers(2, 4), st.integers(2, 3))
def test_operations_of_forward_error_and_gradient_are_linear_in_n(drawn, n, factor):
    """The update's do not depend on N, the scales of a summed loss are the same for any N."""
    network, rule, datapath = drawn
    few, many = (counted(network, rule, size, datapath) for size in (n, factor * n))
    for phase in ("forward", "error", "gradient"):
        grown = {key: factor * number for key, number in operations(few, phase).items()}
        assert operations(many, phase) == grown
    assert operations(many, "update") == operations(few, "update")


@LAWS
@given(steps())
def test_one_sample_saves_what_the_rank_one_pass_leaves_out(drawn):
    """One sample makes half of the operations of two, but for dense layers.

    There the bias gradient is delta itself, without an addition for each unit; the addition to each weight is that of its
    MAC; and in float the rate multiplies J deltas and not I J gradients. (The gradients that kp reads twice are kept.)
    """
    network, rule, datapath = drawn
    assume(rule != "kp")
    one, two = (counted(network, rule, n, datapath) for n in (1, 2))
    schedule = training_step(network, rule, StepSettings(1), load_datapath(datapath))
    passes = [op for op in schedule.find("GRAD") if not op.attrs["materialised"]]
    units = sum(schedule[op.writes[0]].shape[0] for op in passes)
    weights = sum(schedule[op.writes[0]].elements for op in passes)
    half = {key: number // 2 for key, number in operations(two, "forward", "error", "gradient").items()}
    # feedback that learns has no bias
    biases = sum(
        schedule[op.writes[0]].shape[0] for op in passes if schedule[op.writes[0]].name.startswith("gradient.weight")
    )
    half["gradient", "ADD"] = half.get(("gradient", "ADD"), 0) - biases
    positive = {key: number for key, number in half.items() if number}
    assert operations(one, "forward", "error", "gradient") == positive
    assert two.total("ADD", "update") - one.total("ADD", "update") == weights
    assert two.total("MUL", "update") - one.total("MUL", "update") == (weights - units) * (datapath == "float32")


# --- feedback ------------------------------------------------------------------------------------------------------------


@LAWS
@given(networks(hidden=1), st.sampled_from(DIRECT), st.integers(1, 3), st.data())
def test_sparse_feedback_that_keeps_everything_is_dense(network, rule, n, data):
    outputs = network.outputs
    full = data.draw(st.sampled_from((f"+k:{outputs}", "+density:1", f"+nm:{outputs}:{outputs}", "+nm:2:2")))
    code = data.draw(st.sampled_from(("", "+sign", "+ternary")))
    dense, sparse = (counted(network, rule, n, feedback=f"uniform{text}{code}") for text in ("", full))
    assert rows(sparse) == rows(dense)


@LAWS
@given(networks(hidden=1), st.integers(1, 3), st.data())
def test_transport_grows_by_as_much_with_each_non_zero(network, n, data):
    """One product for each non-zero and sample; values and places are read once each. Dense feedback reads no places."""
    outputs = network.outputs
    k = data.draw(st.integers(1, outputs - 1))
    sparse = counted(network, "dfa", n, feedback=f"uniform+k:{k}")
    dense = counted(network, "dfa", n)
    direct = dense.total("MAC", "error") // (n * outputs)
    assert sparse.total("MAC", "error") == n * direct * k
    assert sparse.elements("feedback") == 2 * direct * k
    assert dense.elements("feedback") == direct * outputs
    same = [phase for phase in PHASES if phase != "error"]
    assert operations(sparse, *same) == operations(dense, *same)


@LAWS
@given(
    networks(hidden=1), st.integers(1, 4), st.sampled_from(("float32", "s8")), st.sampled_from(("pre_pool", "post_pool"))
)
def test_drtp_is_dfa_without_products_in_the_transport(network, n, datapath, hook):
    dfa, drtp = (counted(network, rule, n, datapath, hook=hook) for rule in ("dfa", "drtp"))
    schedule = training_step(network, "dfa", StepSettings(n, hook=hook), load_datapath(datapath))
    entries = sum(tensor.elements for tensor in schedule.of_class("feedback"))
    assert entries > 0
    transport = {key: number for key, number in operations(dfa, "error").items() if key[1] == "MAC"}
    assert transport == {("error", "MAC"): n * entries}
    assert drtp.total("MAC", "error") == 0
    if datapath == "float32":
        assert operations(dfa) == operations(drtp) | transport
    for phase in ("forward", "gradient", "update"):
        assert operations(dfa, phase) == operations(drtp, phase)
    used = min(n, network.outputs)
    assert drtp.elements("feedback") * network.outputs == used * dfa.elements("feedback")


@LAWS
@given(networks(hidden=1), st.integers(1, 4))
def test_the_sign_of_the_error_turns_products_into_additions(network, n):
    dfa, sdfa = (counted(network, rule, n) for rule in ("dfa", "sdfa"))
    assert sdfa.total("MAC", "error") == 0
    assert sdfa.total("ADD", "error") == dfa.total("ADD", "error") + dfa.total("MAC", "error")
    assert sdfa.total("MUL") == dfa.total("MUL")


# --- prices --------------------------------------------------------------------------------------------------------------


def operation_pj(network, rule, datapath, processor=PROCESSOR):
    return estimate(network, rule, datapath, settings=StepSettings(2), processor=processor).class_pj_per_sample[
        "operations"
    ]


def wider(datapath, what, bits):
    """Return the datapath with more bits before the point of one class of tensors: no cast shifts by another amount."""
    cast = getattr(datapath, what)
    return replace(datapath, **{what: replace(cast, format=Fixed(cast.format.bits + bits, cast.format.frac))})


@FEW
@given(
    networks(hidden=1),
    st.sampled_from([rule for rule, datapath in RULES_AND_DATAPATHS if datapath == "s8"]),
    st.sampled_from(("weight", "act", "slope", "error", "delta")),
    st.integers(1, 4),
)
def test_wider_numbers_never_cost_less(network, rule, what, bits):
    narrow = load_datapath("s8")
    before, after = (operation_pj(network, rule, path) for path in (narrow, wider(narrow, what, bits)))
    assert after >= before
    # all rules multiply activations and deltas of hidden layers by weights, or train the output layer with the error
    if what in ("weight", "act"):
        assert after > before
    assert operation_pj(network, rule, load_datapath("s16")) > before


@settings(LAWS, max_examples=6)
@given(steps(), st.sampled_from((0.0, 0.5, 3.0)))
def test_scaling_a_constant_scales_its_share(drawn, factor):
    """Energy is a sum of shares, one for each constant: scaled alone, each moves the energy by its share."""
    network, rule, name = drawn
    datapath = load_datapath(name)
    whole = operation_pj(network, rule, datapath)
    shares = {}
    for constant, number in PROCESSOR.constants.items():
        scaled = {
            scale: replace(
                PROCESSOR,
                constants=PROCESSOR.constants
                | {
                    constant: replace(
                        number, low=scale * number.low, typical=scale * number.typical, high=scale * number.high
                    )
                },
            )
            for scale in (2.0, factor)
        }
        shares[constant] = operation_pj(network, rule, datapath, scaled[2.0]) - whole
        moved = operation_pj(network, rule, datapath, scaled[factor]) - whole
        assert moved == pytest.approx((factor - 1) * shares[constant], rel=1e-9, abs=1e-9 * whole)
        assert shares[constant] >= -1e-12 * whole
    assert sum(shares.values()) == pytest.approx(whole, rel=1e-9)
    in_float = {constant for constant, share in shares.items() if constant.startswith("float32") and share > 1e-9 * whole}
    assert bool(in_float) == (name == "float32")
