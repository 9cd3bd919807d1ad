"""Counts, bytes and cycles of settings that meet rarely, each held against a count by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from fasim.energy import CostOptions, count, estimate, load_processor
from fasim.energy.bill import time_training
from fasim.energy.hierarchy import needed_bytes
from fasim.errors import ConfigError, ProcessorError
from fasim.fixedpoint import Cast, Fixed, load_datapath
from fasim.fixedpoint.options import Momentum
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import StepSettings
from fasim.schedule import ops as kinds

ONE = StepSettings(batch_size=1)


def step(net, rule, datapath="float32", settings=ONE, **options):
    datapath = load_datapath(datapath) if isinstance(datapath, str) else datapath
    return training_step(Network.parse(net), rule, settings, datapath, **options)


def of_ops(schedule, *of_kinds):
    """Return how many operations of each kind the ops of these kinds do."""
    found = Counter()
    for row in count(schedule).operations:
        if schedule.ops[row.op].kind in of_kinds:
            found[row.kind] += row.count
    return dict(found)


def test_a_deferred_update_leaves_rows_that_the_forward_pass_still_reads():
    schedule = step("4-3-2", "dfa", fuse_by="deferred")
    options = CostOptions(skip="acts", densities={"delta.1": 1 / 3})
    moved = Counter()
    for transfer in count(schedule, options=options).traffic:
        if transfer.tensor == "weight.1":
            moved[transfer.write] += transfer.elements
    assert moved == {False: 12, True: 4}


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_deferred_update_saves_a_read_of_each_weight_also_before_a_normalisation(batch_norm):
    network, settings = Network.parse("6-5-4-3", batch_norm=batch_norm), StepSettings(batch_size=2)
    reads = []
    for how in ("none", "deferred"):
        counts = count(training_step(network, "bp", settings, fuse_by=how))
        reads.append(counts.elements("weight"))
    assert reads == [3 * 30 + 4 * (20 + 12), 2 * 30 + 3 * (20 + 12)]


@pytest.mark.parametrize("feedback", ["uniform+k:4", "uniform+density:0.4"])
@pytest.mark.parametrize("processor", ["mcu_pulp", "systolic_16x16"])
def test_additions_by_sparse_signs_take_as_long_as_products(processor, feedback):
    cycles = []
    for coding in ("", "+sign"):
        settings = replace(ONE, feedback=feedback + coding)
        schedule = step("784-500-10", "dfa", settings=settings)
        timing = time_training(schedule, load_processor(processor))
        (sparse,) = (op for op in timing.ops if schedule.ops[op.op].kind in (kinds.PROJECT_ELL, kinds.PROJECT_CSR))
        cycles.append((sparse.products, sparse.arithmetic))
    assert cycles[0][0] == cycles[1][0] > 0
    assert cycles[1][1] >= cycles[0][1] > 0


def test_a_limited_register_works_at_every_product_of_every_op():
    register = "20 SAT every_mac RND:10"
    datapath = replace(load_datapath("s8"), sums={"transport": register, "gradient": register})
    schedule = step("4-3-2", "lafs", datapath, StepSettings(batch_size=3))
    up = of_ops(schedule, kinds.PROJECT_UP)
    assert up == {"MAC": up["MAC"], "SHIFT": up["MAC"], "ADD": up["MAC"], "CMP": 2 * up["MAC"]}
    # a delta of 7 fraction bits has none to round away
    bias = of_ops(schedule, kinds.GRAD_BIAS)
    assert bias == {"ADD": bias["ADD"], "CMP": 2 * bias["ADD"]}


def test_copies_of_what_is_read_both_ways_are_those_of_stored_matrices():
    processor, options = load_processor("generic_45nm"), CostOptions(transpose="duplicate")
    for feedback, stored in (("uniform+lfsr", 0), ("uniform+shared", 150), ("uniform", 270)):
        schedule = step("20-15-12-10", "lafs", "s8", replace(ONE, feedback=feedback))
        assert needed_bytes(schedule, processor, options).get("feedback", 0) == 2 * stored
        assert needed_bytes(schedule, processor, CostOptions()).get("feedback", 0) == stored


def test_places_of_sparse_feedback_are_no_entries():
    found = estimate("8-5-6-4", "dfa", settings=replace(ONE, feedback="uniform+k:2"))
    assert found.feedback_entries == 2 * (5 + 6)


def test_average_pooling_goes_back_by_the_binary_point():
    schedule = step("4x4x1-2c3-2a-3-2", "bp", "s8")
    assert list(schedule.find(kinds.AVERAGE_UNPOOL))
    assert of_ops(schedule, kinds.AVERAGE_UNPOOL) == {}
    overlapping = step("5x5x1-2c3p0-2as1-3-2", "bp", "s8")
    assert of_ops(overlapping, kinds.AVERAGE_UNPOOL) == {"ADD": 4 * (2 * 2 * 2)}


def test_an_update_that_drops_nothing_rounds_nothing():
    datapath = replace(load_datapath("s8"), rate="none:0", update_rounding="STOCH")
    schedule = step("4-3-2", "bp", datapath)
    assert {(op.attrs["rate"], op.attrs["shift"]) for op in schedule.find(kinds.UPDATE)} == {("none", 0)}
    assert "RNG_BITS" not in of_ops(schedule, kinds.UPDATE)


@pytest.mark.parametrize(("batch", "kind"), [(1, "MUL"), (3, "MAC")])
def test_momentum_multiplies_by_its_factor(batch, kind):
    momentum = Momentum(Cast(Fixed(16, 15), "RND", "SAT"), "115/128")
    datapath = replace(load_datapath("s8"), momentum=momentum)
    schedule = step("4-3-2", "bp", datapath, StepSettings(batch_size=batch, optimizer="momentum"))
    rows = [row for row in count(schedule).operations if schedule.ops[row.op].kind == kinds.MOMENTUM]
    weights = [row for row in rows if row.count in (12, 6)]
    assert {row.kind for row in weights} == {kind}
    assert {row.bits_b for row in rows} == {8}  # 115, and a sign


def test_places_are_compared_as_integers():
    schedule = step("784-1000-10", "drtp", settings=replace(ONE, feedback="uniform+k:1"))
    (row,) = (
        row for row in count(schedule).operations if schedule.ops[row.op].kind == kinds.SELECT_ELL and row.kind == "CMP"
    )
    assert (row.count, row.bits_accumulator, row.float32) == (1000, 4, False)


@pytest.mark.parametrize("dataflow", [16, True, 1.5, [{}]])
def test_a_dataflow_that_is_no_text_is_refused(dataflow):
    with pytest.raises(ProcessorError, match="dataflow"):
        replace(load_processor("systolic_16x16"), dataflow=dataflow)


def test_numbers_beyond_any_float_are_refused():
    constant = load_processor("generic_45nm").levels[0].capacity
    with pytest.raises(ProcessorError, match="write a finite number"):
        replace(constant, high=10**400)
    with pytest.raises(ConfigError, match="write 1 to"):
        CostOptions(sram_bytes=10**400)


def test_a_ratio_is_taken_on_one_processor():
    options = CostOptions(dram="lpddr4")
    with pytest.raises(ConfigError, match="dram 'ddr3', but 'lpddr4' in options"):
        estimate("4-3-2", "bp", options=options, versus_options=CostOptions(dram="ddr3"))
    with pytest.raises(ConfigError, match="sram_bytes 64"):
        estimate("4-3-2", "bp", versus_options=CostOptions(sram_bytes=64))
    assert estimate("4-3-2", "bp", options=options, versus_options=CostOptions()).energy_ratio_to_bp.typical == 1
