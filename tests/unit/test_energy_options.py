"""Choices of the hardware: padding, transposes, gradients, zeros that are skipped, external memory."""

from __future__ import annotations

import itertools

import pytest

from fasim.energy import OPERATIONS, CostOptions, count, estimate, load_processor
from fasim.errors import ConfigError
from fasim.fixedpoint import load_datapath
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import StepSettings
from fasim.schedule import ops as kinds

MLP = Network.parse("784-1000-1000-10")
CONV = "28x28x1-32c5-2p-1000-10"


def step(network, rule="bp", n=1, datapath=None, **settings):
    network = Network.parse(network) if isinstance(network, str) else network
    return training_step(network, rule, StepSettings(n, **settings), load_datapath(datapath) if datapath else None)


def macs(schedule, **options):
    """Return multiply-accumulates by index of the op."""
    counts = count(schedule, options=CostOptions(**options))
    result = {}
    for row in counts.operations:
        if row.kind == "MAC":
            result[row.op] = result.get(row.op, 0) + row.count
    return result


def words(schedule, cls, **options):
    return count(schedule, options=CostOptions(**options)).words(cls)


@pytest.mark.parametrize("n", [1, 3])
def test_padding_that_is_left_out(n):
    """28 x 28 maps, 5 x 5 windows, 2 wide padding: 134 taps of 140 along each axis."""
    schedule = step(CONV, n=n)
    counted, skipped = macs(schedule), macs(schedule, padding="skip")
    convs = [index for index, op in enumerate(schedule.ops) if op.kind in (kinds.CONV, kinds.GRAD_CONV)]
    assert len(convs) == 2
    for index in convs:
        assert (counted[index], skipped[index]) == (n * 627_200, n * 574_592)
    assert {index: number for index, number in counted.items() if index not in convs} == {
        index: number for index, number in skipped.items() if index not in convs
    }


@pytest.mark.parametrize("net", ["9x7x2-3c3s2-4c3p0-5", "8x8x1-2c5p1-3c3s3-4", "6x5x3-4c1-2c4s2p2-3"])
def test_padding_by_looking_at_every_tap(net):
    """Each window of each convolution, tap by tap; back and gradient make the same products."""
    schedule = step(net, n=2)
    skipped = macs(schedule, padding="skip")
    by_layer = {}
    for index, op in enumerate(schedule.ops):
        if op.kind in (kinds.CONV, kinds.PROJECT_CONV, kinds.GRAD_CONV):
            # PROJECT_CONV stands with the layer that its signal goes to
            layer = op.layer + (op.kind == kinds.PROJECT_CONV)
            by_layer.setdefault(layer, set()).add(skipped[index])
    for op in schedule.find(kinds.CONV):
        _, height, width, inputs = schedule[op.reads[0]].shape
        units, rows, columns, _ = schedule[op.reads[1]].shape
        _, high, wide, _ = schedule[op.writes[0]].shape
        stride, padding = op.attrs["stride"], op.attrs["padding"]
        taps = sum(
            0 <= y * stride + r - padding < height and 0 <= x * stride + c - padding < width
            for y in range(high)
            for x in range(wide)
            for r in range(rows)
            for c in range(columns)
        )
        assert by_layer[op.layer] == {2 * taps * inputs * units}


@pytest.mark.parametrize("rule", ["bp", "dfa", "fa", "kp"])
def test_only_backpropagation_pays_for_a_transpose(rule):
    """Reads of W_2 and W_3 by columns: one useful weight a word makes 8 bits in words of 64 eight times as dear."""
    schedule = step(MLP, rule, datapath="s8")
    free = words(schedule, "weight")
    against = (1_000_000 + 10_000) if rule == "bp" else 0
    assert words(schedule, "weight", transpose="inefficient") - free == against * 7 // 8
    written = -(-1_000_000 // 8) + -(-10_000 // 8) if rule == "bp" else 0
    assert words(schedule, "weight", transpose="duplicate") - free == written
    # 1000 sums, written and read back for each of 10 and 1000 rows but the last
    sums = count(schedule, options=CostOptions(transpose="row_accumulate")).elements("accumulator")
    assert sums == (2 * 9 * 1000 + 2 * 999 * 1000 if rule == "bp" else 0)


def test_transposed_copy_and_deferred_gradients_take_memory():
    def bytes_of(**options):
        result = estimate(MLP, "bp", settings=StepSettings(4), options=CostOptions(**options))
        return result.peak_live_bytes, {cls: size for m in result.memories for cls, size in m.needed_bytes.items()}

    plain, by_class = bytes_of()
    copied, with_copy = bytes_of(transpose="duplicate")
    assert copied - plain == with_copy["weight"] - by_class["weight"] == 4 * 1_010_000
    deferred, kept = bytes_of(gradients="deferred")
    assert by_class["gradient"] == 4 * 1_000_000
    assert kept["gradient"] == 4 * (1_794_000 + 2010)
    assert deferred > plain


def test_skipped_zeros():
    """F: act; E: delta; G: delta and act; U at N = 1: the rows with a delta."""
    schedule = step("40-30-20-10", "bp", 1)
    densities = {"act.0": 0.5, "act.1": 0.25, "act.2": 0.5, "delta.1": 0.1, "delta.2": 0.2, "weight.2": 0.5}
    full, acts = macs(schedule), macs(schedule, skip="acts", densities=densities)
    both = macs(schedule, skip="both", densities=densities)
    only = macs(schedule, skip="weights", densities=densities)
    place = {(op.kind, op.layer): index for index, op in enumerate(schedule.ops)}
    for (kind, layer), share, of_weights in (
        ((kinds.DENSE, 1), 0.5, 1.0),
        ((kinds.DENSE, 2), 0.25, 0.5),
        ((kinds.PROJECT, 1), 0.2, 0.5),
        ((kinds.PROJECT, 2), 1.0, 1.0),
        ((kinds.GRAD, 1), 0.1 * 0.5, 1.0),
        ((kinds.GRAD, 2), 0.2 * 0.25, 1.0),
    ):
        index = place[kind, layer]
        assert acts[index] == round(full[index] * share)
        assert only[index] == round(full[index] * of_weights)
        assert both[index] == round(full[index] * share * of_weights)
    moved = count(schedule, options=CostOptions(skip="acts", densities=densities)).traffic
    updates = {(row.tensor, row.write): row.elements for row in moved if row.phase == "update"}
    for write in (False, True):
        assert updates["weight.1", write] == 120
        assert updates["weight.2", write] == 120
        assert updates["weight.3", write] == 200, "the error's density is not given"


def test_momentum_and_larger_batches_move_all_rows():
    densities = {"delta.1": 0.1}
    for n, optimizer in ((2, "sgd"), (1, "momentum")):
        schedule = step("40-30-20-10", "bp", n, optimizer=optimizer)
        moved = count(schedule, options=CostOptions(skip="acts", densities=densities)).traffic
        assert {row.elements for row in moved if row.phase == "update" and row.tensor == "weight.1"} == {1200}


@pytest.mark.parametrize("datapath", [None, "s8"])
@pytest.mark.parametrize("rule", ["bp", "dfa"])
def test_deferral_skips_the_same_zeros(rule, datapath):
    """What a step before has kept is as dense as it was then."""
    densities = {"act.0": 0.2, "act.1": 0.5, "delta.1": 0.1, "error": 0.9}
    options = CostOptions(skip="acts", densities=densities)
    net, datapath = Network.parse("784-500-10"), load_datapath(datapath) if datapath else None
    counts = [
        count(training_step(net, rule, StepSettings(1), datapath, fuse_by=fuse_by), options=options)
        for fuse_by in ("none", "within_layer", "deferred")
    ]
    assert len({tuple(each.total(kind) for kind in OPERATIONS) for each in counts}) == 1
    assert counts[2].words() < counts[1].words() < counts[0].words()


@pytest.mark.parametrize("datapath", [None, "s8"])
def test_rows_that_are_left_alone_cost_no_operations(datapath):
    """A tenth of the rows of the first layer, all of the second's: of ADD, MUL, SHIFT and CMP in the update."""
    schedule = step("400-300-10", "bp", 1, datapath)
    updates = [
        i
        for i, op in enumerate(schedule.ops)
        if op.phase == "update" and op.layer == 1 and schedule[op.writes[0]].cls != "bias"
    ]
    full, skipped = (
        {(row.op, row.kind): row.count for row in count(schedule, options=options).operations if row.op in updates}
        for options in (CostOptions(), CostOptions(skip="acts", densities={"delta.1": 0.1}))
    )
    assert full
    assert skipped == {key: round(0.1 * number) for key, number in full.items()}


@pytest.mark.parametrize("net", ["16x16x3-16c3-16c3-2p-200-10", "100-80-60-10"])
@pytest.mark.parametrize("rule", ["bp", "dfa", "kp"])
def test_more_sram_never_moves_more_words_of_dram(net, rule):
    """Also where a class that just fits would drive out others that move more: 675 to 700 KB of this convolution."""
    before = None
    for size in (*range(4 << 10, 800 << 10, 37 << 10), 675 << 10, 700 << 10, 4 << 20):
        result = estimate(net, rule, "s8", settings=StepSettings(16), options=CostOptions(sram_bytes=size))
        words = {size: sum(row.count for row in result.rows if row.level == "dram")}
        before = words if before is None else before | words
    ordered = [before[size] for size in sorted(before)]
    assert ordered == sorted(ordered, reverse=True)
    assert ordered[0] > ordered[-1] == 0


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        ({"padding": "none"}, "unknown padding 'none': there are count, skip"),
        ({"transpose": "fre"}, "did you mean 'free'"),
        ({"skip": "acts", "densities": {"act.1": 1.5}}, "density of act.1 is 1.5"),
        ({"densities": {"act.1": 0.5}}, "skip none makes no use of them"),
    ],
)
def test_wrong_choices_are_refused(options, needed):
    with pytest.raises(ConfigError, match=needed):
        CostOptions(**options)


def test_external_memory_is_named_and_chosen():
    processor = load_processor("generic_45nm")
    assert "lpddr4" in processor.technologies["dram"]
    energies = {}
    for dram in processor.technologies["dram"]:
        result = estimate(MLP, "bp", "s8", settings=StepSettings(1), options=CostOptions(dram=dram))
        assert [memory.technology for memory in result.memories if memory.external] == [dram]
        energies[dram] = result.energy_pj_per_sample.typical
    assert energies["hbm2"] < energies["lpddr4"] < energies["gddr5"] < energies["ddr3"]
    with pytest.raises(ConfigError, match="unknown dram of generic_45nm 'lpddr9'.*did you mean 'lpddr4'"):
        estimate(MLP, "bp", options=CostOptions(dram="lpddr9"))


@pytest.mark.parametrize("name", ["generic_45nm", "generic_28nm", "systolic_16x16"])
def test_energy_of_an_access_grows_with_the_memory(name):
    """By the root of its size; and a memory further out costs more for a bit than one nearer to the arithmetic."""
    processor = load_processor(name).with_dram("")
    for end in ("read", "write"):
        per_bit = [getattr(level, end).typical / level.word_bits for level in processor.levels]
        assert per_bit == sorted(per_bit)
        sizes = (1 << 12, 1 << 16, 1 << 20, 1 << 24)
        energies = [processor.with_capacity("sram", size).constant(f"sram.{end}") for size in sizes]
        for narrow, wide in itertools.pairwise(energies):
            assert wide.typical == pytest.approx(4 * narrow.typical)
            assert (wide.low, wide.high) == pytest.approx((4 * narrow.low, 4 * narrow.high))
            assert wide.kind == "derived"


def test_less_sram_is_cheaper_until_it_overflows():
    """784-100-10 in 8 bits: 240 KB of weights and masters, 80 KB of weights."""
    energies = {}
    for size in (32 << 10, 128 << 10, 512 << 10, 8 << 20):
        options = CostOptions(sram_bytes=size)
        result = estimate("784-100-10", "dfa", "s8", settings=StepSettings(1), options=options)
        energies[size] = result.energy_pj_per_sample.typical
        assert bool(result.external_bytes) is (size < 300 << 10)
    assert energies[512 << 10] == min(energies.values())
    with pytest.raises(ConfigError, match="sram of -1 bytes"):
        CostOptions(sram_bytes=-1)
    with pytest.raises(ConfigError, match="unknown memory of mcu_pulp 'sram': there are l1, l2"):
        load_processor("mcu_pulp").with_capacity("sram", 1024)
