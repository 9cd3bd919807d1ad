"""Counts of operations: golden tables, torch's counter, small steps by hand, and laws that hold for any net."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from fasim.energy import OPERATIONS, count
from fasim.errors import ConfigError, ScheduleError
from fasim.fixedpoint import Fixed, load_datapath
from fasim.network import Conv2d, Dense, Network
from fasim.rules import evaluation_pass, training_step
from fasim.schedule import CLASSES, PHASES, Op, Schedule, StepSettings, Tensor, Value
from tests.counting import GOLDEN, NETS, SMALL, counted, step, totals
from tests.schedules import DENSE_RULES, RULES, RULES_AND_DATAPATHS

STEPS = [
    (net, rule, datapath)
    for net in SMALL
    for rule, datapath in RULES_AND_DATAPATHS
    if rule not in DENSE_RULES or "c" not in net
]

# --- golden: multiply-accumulates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", ["tanh", "relu"])
@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_macs_of_the_golden_nets(net, hidden):
    def macs(rule):
        return counted(net["network"], rule, hidden=hidden)

    bp, dfa = macs("bp"), macs("dfa")
    assert bp.total("MAC", "forward") == bp.total("MAC", "gradient") == net["forward"]
    assert bp.total("MAC", "error") == net["error"]
    assert bp.macs == net["bp"] == 2 * net["forward"] + net["error"]
    assert macs("fa").macs == net["bp"]
    assert dfa.macs == net["dfa"]
    assert dfa.total("MAC", "error") == net["feedback"]
    assert macs("drtp").macs == macs("sdfa").macs == net["drtp"]


@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_feedback_entries_of_the_golden_nets(net):
    for hook, key in (("pre_pool", "feedback"), ("post_pool", "feedback_post_pool")):
        schedule = step(net["network"], "dfa", hook=hook)
        assert sum(tensor.elements for tensor in schedule.of_class("feedback")) == net[key]
        assert count(schedule).total("MAC", "error") == net[key]


@pytest.mark.parametrize("flops", GOLDEN["torch_flops"], ids=lambda row: f"{row['network']}-{row['batch_size']}")
def test_flops_that_torch_counted(flops):
    counts = counted(flops["network"], n=flops["batch_size"])
    assert 2 * counts.total("MAC", "forward") == flops["forward"]
    assert 2 * counts.macs == flops["step"]


@pytest.mark.parametrize(
    "flops",
    [
        *({"network": name, "batch_size": 1, "step": 2 * net["bp"]} for name, net in NETS.items()),
        *(row for row in GOLDEN["torch_flops"] if row["batch_size"] > 1 or row["network"] not in NETS),
    ],
    ids=lambda row: f"{row['network']}-{row['batch_size']}",
)
def test_flops_that_torch_counts_now(flops):
    torch = pytest.importorskip("torch")
    flop_counter = pytest.importorskip("torch.utils.flop_counter")
    network = Network.parse(flops["network"])
    layers = []
    for segment in network.segments:
        match segment.layer:
            case Conv2d(channels, kernel, stride, padding):
                layers.append(torch.nn.Conv2d(segment.in_shape[2], channels, kernel, stride, padding))
            case Dense(units):
                inputs = segment.weight_shape[1]
                layers += [torch.nn.Flatten(), torch.nn.Linear(inputs, units)]
        layers.append(torch.nn.Tanh())
        if segment.pool is not None:
            layers.append(torch.nn.MaxPool2d(segment.pool.kernel, segment.pool.stride))
    model = torch.nn.Sequential(*layers)
    height, width, channels = network.input_shape if len(network.input_shape) == 3 else (1, network.inputs, 1)
    batch = torch.zeros(flops["batch_size"], channels, height, width)
    with flop_counter.FlopCounterMode(display=False) as counter:
        model(batch).sum().backward()
    assert counter.get_total_flops() == flops["step"]


# --- small steps by hand ------------------------------------------------------------------------------------------------


def test_dfa_step_in_float_by_hand():
    # 4-3-2, N = 2, bce: weights 3x4 and 2x3
    counts = counted("4-3-2", "dfa", 2)
    assert totals(counts, "forward") == {"MAC": 2 * (12 + 6), "LUT": 2 * 3 + 2 * 2}
    # error 2x2 ADD; feedback 2x3 MAC a sample; slope of 2x3 units MUL + ADD; delta 2x3 MUL
    assert totals(counts, "error") == {"MAC": 2 * 6, "MUL": 6 + 6, "ADD": 4 + 6}
    # two matrices, and the sums of delta over samples
    assert totals(counts, "gradient") == {"MAC": 2 * (12 + 6), "ADD": 2 * (3 + 2)}
    assert totals(counts, "update") == {"MUL": 12 + 3 + 6 + 2, "ADD": 12 + 3 + 6 + 2}


def test_rank_one_update_at_n_1_is_counted_once_in_float():
    counts = counted("4-3-2", "dfa", 1)
    assert totals(counts, "gradient") == {"MAC": 12 + 6}
    # the learning rate times 3 and 2 deltas; then the biases
    assert totals(counts, "update") == {"MUL": 3 + 2 + (3 + 2), "ADD": 3 + 2}
    assert counts.elements("gradient") == 0


@pytest.mark.parametrize(
    ("optimizer", "per_parameter"),
    [("sgd", (1, 1, 0)), ("momentum", (2, 2, 0)), ("adam", (8, 4, 2))],
)
def test_update_by_optimizer_in_float(optimizer, per_parameter):
    mul, add, div = per_parameter
    weights, parameters = 18, 18 + 5
    many = counted("4-3-2", n=2, optimizer=optimizer)
    got = [many.total(kind, "update") for kind in ("MUL", "ADD", "DIV")]
    assert got == [mul * parameters, add * parameters, div * parameters]
    one = counted("4-3-2", n=1, optimizer=optimizer)
    # the MAC of the rank-1 pass holds the first addition of each weight
    assert one.total("ADD", "update") == add * parameters - weights
    assert one.total("DIV", "update") == div * parameters
    assert one.total("MUL", "update") == (mul * parameters if optimizer != "sgd" else (3 + 2) + (3 + 2))
    states = {"sgd": 0, "momentum": 1, "adam": 2}[optimizer]
    assert many.elements("state") == 2 * states * parameters


def test_dfa_step_in_fixed_point_by_hand():
    # s8: RND and SAT at every cast, s16 master; accumulators of frac 15 -> preact frac 6
    counts = counted("4-3-2", "dfa", 2, "s8")
    units = 2 * (3 + 2)
    assert totals(counts, "forward") == {
        "MAC": 2 * (12 + 6),
        "SHIFT": units,
        "ADD": units,
        "CMP": 2 * units,
        "LUT": units,
    }
    # error: 4 ADD, 4 casts s?.7 -> s8.7 without a shift; delta.1: 6 MUL, 6 casts; slope.1: 6 LUT
    assert totals(counts, "error") == {
        "MAC": 2 * 6,
        "MUL": 6,
        "ADD": 4 + 6,
        "SHIFT": 6,
        "CMP": 2 * (4 + 6),
        "LUT": 6,
    }
    assert totals(counts, "gradient") == {"MAC": 2 * (12 + 6), "ADD": 2 * (3 + 2)}
    # 23 parameters shift, round, subtract and clamp; the 18 weights are cast from their master
    assert totals(counts, "update") == {"SHIFT": 23 + 18, "ADD": 23 + 23 + 18, "CMP": 2 * (23 + 18)}


def test_rank_one_update_at_n_1_in_fixed_point():
    counts = counted("4-3-2", "dfa", 1, "s8")
    assert totals(counts, "gradient") == {"MAC": 18}
    # each product is shifted and rounded; its subtraction is the MAC's. Biases subtract; weights are cast from the master
    assert totals(counts, "update") == {"SHIFT": 23 + 18, "ADD": 23 + 5 + 18, "CMP": 2 * (23 + 18)}
    wide = replace(load_datapath("s8"), master=Fixed(24, 15))
    schedule = training_step(Network.parse("4-3-2"), "dfa", StepSettings(batch_size=1), wide)
    rows = [row for row in count(schedule).operations if row.kind == "MAC" and row.phase == "gradient"]
    assert {row.bits_accumulator for row in rows} == {24}, "the products of 16 bits go into the master"


@pytest.mark.parametrize("n", [1, 2])
def test_stochastic_update_draws_32_bits_an_element(n):
    plain, stochastic = counted("4-3-2", n=n, datapath="s8"), counted("4-3-2", n=n, datapath="s8_stoch")
    assert stochastic.total("RNG_BITS") == 32 * 23
    assert stochastic.total("ADD") == plain.total("ADD"), "a random word is added in the place of one half"
    assert plain.total("RNG_BITS") == 0


def test_cast_without_change_of_the_point_shifts_and_rounds_nothing():
    # s16: master and weight have one format
    counts = counted("4-3-2", n=2, datapath="s16")
    assert totals(counts, "update") == {"SHIFT": 23, "ADD": 23 + 23, "CMP": 2 * (23 + 18)}


@pytest.mark.parametrize(
    ("fracs", "rounding", "overflow", "expected"),
    [
        ((15, 6), "RND", "SAT", {"SHIFT": 10, "ADD": 10, "CMP": 20}),
        ((15, 6), "RND_CONV", "WRAP", {"SHIFT": 10, "ADD": 10}),
        ((15, 6), "TRN", "WRAP", {"SHIFT": 10}),
        ((15, 6), "STOCH", "WRAP", {"SHIFT": 10, "ADD": 10, "RNG_BITS": 90}),
        ((6, 7), "STOCH", "SAT", {"SHIFT": 10, "CMP": 20}),
        ((6, 6), "RND", "WRAP", {}),
    ],
)
def test_requantisation(fracs, rounding, overflow, expected):
    tensors = {
        "a": Tensor("a", "accumulator", "NJ", (2, 5), "input", Fixed(24, fracs[0])),
        "b": Tensor("b", "preact", "NJ", (2, 5), "temp", Fixed(8, fracs[1])),
    }
    attrs = {"shift": fracs[0] - fracs[1], "rounding": rounding, "overflow": overflow}
    op = Op("REQUANT", (Value("a"),), (Value("b"),), "forward", 1, attrs, site="b")
    counts = count(Schedule(tensors, (op,), 2, "5-5", "none"))
    assert totals(counts) == expected
    assert {row.bits_accumulator for row in counts.operations if row.kind != "RNG_BITS"} <= {24}


def test_softmax_by_hand():
    counts = counted("4-3-5", n=2, output="softmax", loss="cross_entropy", hidden="linear")
    assert totals(counts, "forward") == {"MAC": 2 * (12 + 15), "LUT": 10, "ADD": 18, "DIV": 10, "CMP": 8}
    assert totals(counts, "error") == {"MAC": 2 * 15, "ADD": 10}


def test_relu_is_a_comparison_and_its_slope_a_mask():
    counts = counted("4-3-2", n=2, hidden="relu")
    assert totals(counts, "forward") == {"MAC": 36, "CMP": 6, "LUT": 4}
    assert totals(counts, "error") == {"MAC": 12, "ADD": 4}


def test_mse_multiplies_slope_and_scale():
    # delta.2 = 2 * error * slope: slope 4 MUL + 4 ADD, delta 2 * 4 MUL; delta.1: slope 6 MUL + 6 ADD, delta 6 MUL
    counts = counted("4-3-2", n=2, loss="mse")
    assert totals(counts, "error") == {"MAC": 12, "MUL": 4 + 8 + 6 + 6, "ADD": 4 + 4 + 6}


def test_scale_is_one_multiplication_an_element():
    assert counted("4-3-2", "drtp", 2).total("MUL", "error") == 6 + 6
    assert counted("4-3-2", "drtp", 2, loss="mse", output="linear").total("MUL", "error") == 4 + 6 + 6 + 6
    assert counted("4-3-2", "sdfa", 2, loss="mse", output="linear").total("MUL", "error") == 4 + 6 + 6 + 6


@pytest.mark.parametrize("datapath", ["float32", "s8"])
def test_sign_of_the_error_adds_instead_of_multiplying(datapath):
    dfa, sdfa = counted("4-3-2", "dfa", 2, datapath), counted("4-3-2", "sdfa", 2, datapath)
    assert dfa.total("MAC", "error") == 12
    assert sdfa.total("MAC", "error") == 0
    assert sdfa.total("ADD", "error") == dfa.total("ADD", "error") + 12


def test_pooling_by_hand():
    # 6x6 maps of 3 channels, windows of 2 on 3x3 places, N = 2
    counts = counted("6x6x2-3c3-2p-5-3", n=2)
    assert counts.total("CMP", "forward") == 2 * 3 * 3 * 3 * 3
    assert counts.total("MAC", "forward") == 2 * (36 * 3 * 18 + 27 * 5 + 5 * 3)
    assert counts.total("ADD", "gradient") == 2 * (36 * 3 + 5 + 3)


def test_transposed_convolution_is_as_large_as_the_convolution_above():
    # 8x7x1 -> 4x4x2 (stride 2) -> 2x2x3 -> 1x1x3 -> 4
    counts = counted("8x7x1-2c3s2-3c3p0-2p-4", n=1)
    assert counts.total("MAC", "forward") == 4 * 4 * 2 * 9 + 2 * 2 * 3 * 18 + 3 * 4
    assert counts.total("MAC", "error") == 2 * 2 * 3 * 18 + 3 * 4


def test_widths_of_products():
    rows = counted("4-3-2", "dfa", 2, "s8").operations
    forward = next(row for row in rows if row.kind == "MAC" and row.layer == 2)
    transport = next(row for row in rows if row.kind == "MAC" and row.phase == "error")
    gradient = next(row for row in rows if row.kind == "MAC" and row.phase == "gradient")
    # exact accumulators: 3 products of s8 by s8 aligned to the bias' 15 frac bits, 3 * 2^15 + 2^15; then sums of 2 products
    assert (forward.bits_a, forward.bits_b) == (8, 8)
    assert [row.bits_accumulator for row in (forward, transport, gradient)] == [19, 17, 17]
    assert not any(row.float32 for row in rows)
    assert all(row.float32 and row.bits_accumulator == 32 for row in counted("4-3-2").operations)


def test_op_that_is_not_costed_counts_nothing():
    schedule = step("4-3-2", n=2)
    silent = replace(schedule, ops=tuple(replace(op, costed=False) for op in schedule.ops))
    assert count(silent).operations == count(silent).traffic == ()
    one = replace(schedule, ops=(*schedule.ops[:-1], replace(schedule.ops[-1], costed=False)))
    kept, all_rows = count(one), count(schedule)
    assert kept.operations == tuple(row for row in all_rows.operations if row.op != len(schedule.ops) - 1)
    assert kept.traffic == tuple(row for row in all_rows.traffic if row.op != len(schedule.ops) - 1)


def test_unknown_names_are_refused():
    counts = counted("4-3-2")
    with pytest.raises(ConfigError, match="unknown operation 'MACS': .* did you mean 'MAC'"):
        counts.total("MACS")
    with pytest.raises(ConfigError, match="unknown phase 'forwards'"):
        counts.total("MAC", "forwards")
    with pytest.raises(ConfigError, match="unknown tensor class 'weights'"):
        counts.words("weights")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"kind": "FFT"}, "op FFT has no operation count"), ({"attrs": {"function": "gelu"}}, "activation 'gelu'")],
)
def test_unknown_op_is_refused(change, message):
    schedule = step("4-3-2")
    ops = tuple(replace(op, **change) if op.kind == "ACTIVATE" else op for op in schedule.ops)
    with pytest.raises(ScheduleError, match=message):
        count(replace(schedule, ops=ops))


# --- laws ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("net", "rule", "datapath"), STEPS)
def test_phases_and_classes_sum_to_the_total(net, rule, datapath):
    for n in (1, 3):
        counts = counted(net, rule, n, datapath)
        for kind in OPERATIONS:
            assert counts.total(kind) == sum(counts.total(kind, phase) for phase in PHASES)
        assert counts.words() == sum(counts.words(cls) for cls in CLASSES)
        assert counts.words() == sum(counts.words(phase=phase) for phase in PHASES)
        assert all(type(row.count) is int and row.count > 0 for row in counts.operations)


@pytest.mark.parametrize("net", SMALL)
def test_dfa_differs_from_bp_by_feedback_less_transport(net):
    for n in (1, 2, 5):
        bp, dfa = counted(net, "bp", n), counted(net, "dfa", n)
        feedback = sum(tensor.elements for tensor in step(net, "dfa", n).of_class("feedback"))
        assert dfa.macs - bp.macs == n * feedback - bp.total("MAC", "error")
        assert bp.macs == 2 * bp.total("MAC", "forward") + bp.total("MAC", "error")


@pytest.mark.parametrize(("net", "rule", "datapath"), STEPS)
def test_macs_are_linear_in_n(net, rule, datapath):
    one = counted(net, rule, 1, datapath).macs
    for n in (2, 3, 8):
        assert counted(net, rule, n, datapath).macs == n * one


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("net", SMALL)
def test_order_and_fusion_change_no_operation(net, rule):
    network, settings = Network.parse(net), StepSettings(batch_size=2)

    def operations(**how):
        rows = count(training_step(network, rule, settings, load_datapath("s8"), **how)).operations
        return Counter((replace(row, op=0, count=1)) for row in rows for _ in range(row.count))

    plain = operations()
    assert operations(order_by="phased") == plain
    assert operations(fuse_by="within_layer") == plain
    fused = count(training_step(network, rule, settings, None, fuse_by="within_layer"))
    assert fused.words() < counted(net, rule, 2).words()


def test_evaluation_pass_counts_the_forward_phase_alone():
    schedule = step("9-5-4-3", "bp", 4, "s8")
    network = Network.parse("9-5-4-3")
    evaluation = count(evaluation_pass(network, StepSettings(4), load_datapath("s8")))
    whole = count(schedule)
    assert totals(evaluation) == totals(whole, "forward")
    assert evaluation.words() == whole.words(phase="forward")


# --- feedback that learns, signs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "kept"), [("dfa", set()), ("dkp", set()), ("kp", {"weight.2", "weight.3"})])
def test_at_one_sample_only_a_gradient_that_is_read_twice_is_stored(rule, kept):
    schedule = step("12-8-6-4", rule)
    stored = {t.name for t in schedule.of_class("gradient") if t.storage == "temp"}
    assert stored == {f"gradient.{name}" for name in kept}
    moved = {row.tensor for row in count(schedule).traffic if row.cls == "gradient"}
    assert moved == stored


@pytest.mark.parametrize(
    ("net", "rule", "kind", "outputs"),
    [
        ("6x6x2-3c3-4c3-4", "fa", "PROJECT_CONV", 6 * 6 * 3),
        ("6-5-4", "lafs", "PROJECT_UP", 4),
        ("6-5-4", "dfa", "PROJECT", 5),
    ],
)
def test_the_magnitude_of_signs_is_one_product_for_each_output(net, rule, kind, outputs):
    for feedback, products in (("uniform", 0), ("uniform+sign", 3 * outputs), ("uniform+ternary", 3 * outputs)):
        schedule = step(net, rule, 3, feedback=feedback)
        rows = [row for row in count(schedule).operations if schedule.ops[row.op].kind == kind and row.layer == 1]
        assert sum(row.count for row in rows if row.kind == "MUL") == products


@pytest.mark.parametrize(("pool", "adds"), [("2p", 0), ("2ps1", 2 * 49 * 3), ("2a", 0), ("2as1", 4 * 2 * 49 * 3)])
def test_overlapping_windows_add_up_on_the_way_back(pool, adds):
    counts = counted(f"8x8x1-3c3-{pool}-2", "bp", 2)
    rows = [row for row in counts.operations if row.phase == "error" and row.kind == "ADD" and row.layer == 1]
    slopes = 2 * 64 * 3
    assert sum(row.count for row in rows) == slopes + adds
