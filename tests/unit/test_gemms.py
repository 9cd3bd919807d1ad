"""The matrix products of a schedule are its multiply-accumulates, none less and none more."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from fasim.energy import count
from fasim.energy.gemms import MATRIX_KINDS, ConvShape, gemms
from fasim.schedule import ops as kinds
from tests.counting import GOLDEN, NETS, SMALL, step
from tests.schedules import ALL_RULES, DENSE_RULES, RULES_AND_DATAPATHS

FEEDBACK = ("uniform", "uniform+sign", "uniform+ternary", "uniform+lfsr", "uniform+rank:2", "uniform+k:1", "uniform+shared")
# products of numbers with themselves, not of matrices
ELEMENTWISE = (kinds.NORM, kinds.NORM_BACK, kinds.GRAD_GAIN, kinds.SQUARED_NORM, kinds.AFFINE, kinds.MOMENTUM)


def random_net(rng, conv):
    widths = "-".join(str(width) for width in rng.integers(2, 9, rng.integers(2, 5)))
    if not conv:
        return widths
    size, channels, kernel, stride, padding = rng.integers(10, 14), *rng.integers(1, 4, 3), rng.integers(0, 3)
    maps = f"{size}x{size + 1}x{channels}-{rng.integers(2, 5)}c{kernel}s{stride}p{padding}-3c2"
    return f"{maps}-2p-{widths}" if rng.integers(2) else f"{maps}-{widths}"


def random_steps(seed):
    """Steps of random nets, rules, datapaths, batch sizes and settings."""
    rng = np.random.default_rng(seed)
    for _ in range(12):
        rule, datapath = RULES_AND_DATAPATHS[rng.integers(len(RULES_AND_DATAPATHS))]
        net = random_net(rng, conv=rule not in DENSE_RULES and rng.integers(2))
        hook = ("pre_pool", "post_pool")[rng.integers(2)]
        fuse_by = ("none", "within_layer")[rng.integers(2)]
        yield step(net, rule, int(rng.integers(1, 5)), datapath, hook=hook, fuse_by=fuse_by)


def sums_of(counts):
    """Multiply-accumulates of each op; additions where it has none."""
    macs, adds = Counter(), Counter()
    for row in counts.operations:
        {"MAC": macs, "ADD": adds}.get(row.kind, Counter())[row.op] += row.count
    return {op: macs[op] or adds[op] for op in {*macs, *adds}}


def assert_complete(schedule):
    """Each matrix op has a product of its size, and nothing else multiplies and adds up."""
    products = gemms(schedule)
    sums = sums_of(count(schedule))
    assert {gemm.op: gemm.products for gemm in products} == {gemm.op: sums[gemm.op] for gemm in products}
    assert [gemm.op for gemm in products] == [i for i, op in enumerate(schedule.ops) if op.kind in MATRIX_KINDS]
    names = [gemm.name for gemm in products]
    assert len(set(names)) == len(names), names
    for gemm in products:
        op = schedule.ops[gemm.op]
        assert (gemm.phase, gemm.layer) == (op.phase, op.layer)
        assert (gemm.conv is None) == ("CONV" not in op.kind)
    sparse = (kinds.PROJECT_ELL, kinds.PROJECT_CSR)
    others = {
        schedule.ops[row.op].kind
        for row in count(schedule).operations
        if row.kind == "MAC" and row.op not in {gemm.op for gemm in products}
    }
    assert others <= {*sparse, *ELEMENTWISE}


def found(schedule):
    return {gemm.name: (gemm.m, gemm.n, gemm.k) for gemm in gemms(schedule)}


@pytest.mark.parametrize("n", [1, 64])
def test_products_of_784_500_10(n):
    forward = {"forward.1": (n, 500, 784), "forward.2": (n, 10, 500)}
    gradients = {"gradient.1": (784, 500, n), "gradient.2": (500, 10, n)}
    assert found(step("784-500-10", "bp", n)) == forward | gradients | {"error.1": (n, 500, 10)}
    assert found(step("784-500-10", "dfa", n)) == forward | gradients | {"feedback.1": (n, 500, 10)}
    assert found(step("784-500-10", "drtp", n)) == forward | gradients


def test_bp_goes_back_through_the_layer_above_and_dfa_from_the_output():
    assert found(step("9-7-5-3", "bp", 2))["error.1"] == (2, 7, 5)
    assert found(step("9-7-5-3", "dfa", 2))["feedback.1"] == (2, 7, 3)


def test_products_of_a_convolution_by_hand():
    # 9x8x2 -> 4 channels, 3x3, stride 2, padding 1: 5x4 places; then 2x2 without padding: 4x3 places
    schedule = step("9x8x2-4c3s2p1-5c2p0-3", "bp", 2)
    first = ConvShape(2, 9, 8, 2, 5, 4, 4, 3, 3, 2, 1)
    second = ConvShape(2, 5, 4, 4, 4, 3, 5, 2, 2, 1, 0)
    assert {(gemm.name, gemm.m, gemm.n, gemm.k, gemm.conv) for gemm in gemms(schedule) if gemm.conv} == {
        ("forward.1", 2 * 20, 4, 18, first),
        ("forward.2", 2 * 12, 5, 16, second),
        ("error.1", 2 * 12, 16, 5, second),
        ("gradient.2", 16, 5, 2 * 12, second),
        ("gradient.1", 18, 4, 2 * 20, first),
    }
    assert found(schedule)["error.2"] == (2, 60, 3)


@pytest.mark.parametrize("seed", range(12))
def test_sizes_multiply_to_the_counts_of_random_steps(seed):
    for schedule in random_steps(seed):
        assert_complete(schedule)


@pytest.mark.parametrize("rule", ALL_RULES)
def test_every_rule_is_complete(rule):
    for net in SMALL:
        if rule not in DENSE_RULES or "c" not in net:
            assert_complete(step(net, rule, 3))
            assert_complete(step(net, rule, 3, fgsm=0.1))


@pytest.mark.parametrize("feedback", FEEDBACK)
@pytest.mark.parametrize("rule", ["dfa", "drtp", "sdfa"])
def test_every_storage_of_feedback_is_complete(rule, feedback):
    assert_complete(step("9-8-7-6", rule, 2, feedback=feedback))


@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_products_of_the_golden_nets(net):
    for rule in ("bp", "dfa", "drtp"):
        assert sum(gemm.products for gemm in gemms(step(net["network"], rule))) == net[rule]


@pytest.mark.parametrize("flops", GOLDEN["torch_flops"], ids=lambda row: f"{row['network']}-{row['batch_size']}")
def test_products_are_half_the_flops_that_torch_counted(flops):
    products = gemms(step(flops["network"], n=flops["batch_size"]))
    assert 2 * sum(gemm.products for gemm in products if gemm.phase == "forward") == flops["forward"]
    assert 2 * sum(gemm.products for gemm in products) == flops["step"]


def test_names_say_what_a_product_is_for():
    assert {"feedback_up.1", "feedback.1"} <= set(found(step("9-7-5-3", "lafs", 2)))
    assert {"gradient.1", "gradient_feedback.1"} <= set(found(step("9-7-5-3", "dkp", 2)))
    assert {"feedback_in.1", "feedback_out.1"} <= set(found(step("9-8-7-6", "dfa", 2, feedback="uniform+rank:2")))
    assert {"clean.forward.1", "forward.1", "clean.error.0"} <= set(found(step("9-7-3", "dfa", 2, "float32", fgsm=0.1)))


def test_sparse_feedback_and_diagnostics_are_no_products():
    schedule = step("9-7-5-3", "dfa", 2, feedback="uniform+k:1")
    assert [gemm.name for gemm in gemms(schedule) if gemm.phase == "error"] == []
    silent = replace(schedule, ops=tuple(replace(op, costed=False) for op in schedule.ops))
    assert gemms(silent) == []
