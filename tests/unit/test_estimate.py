"""Estimates: energy, its interval, the ratio to backpropagation, memory."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

import fasim
from fasim.energy import Constant, count, estimate, load_processor
from fasim.energy.price import Prices
from fasim.errors import ConfigError, ProcessorError
from fasim.fixedpoint import Fixed, load_datapath
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import StepSettings
from tests.schedules import DENSE_RULES, FLOAT_RULES, RULES

GENERIC = load_processor("generic_45nm").with_dram("")
MLP = Network.parse("784-1000-1000-10")
SMALL = Network.parse("12-9x7-4")
CONV = Network.parse("8x8x2-3c3-2p-12-5")
ENDS = ("low", "typical", "high")


def at(n, **settings):
    return StepSettings(batch_size=n, **settings)


def constants(end):
    return np.array([getattr(GENERIC.constant(name), end) for name in GENERIC.prices])


def paid_by(step, places):
    """Return how often each price is paid, each transfer followed from its home through every memory on its way."""
    counts = count(step)
    words = dict.fromkeys(("registers", "sram", "dram"), 0)
    paid = dict.fromkeys(GENERIC.prices, 0.0)
    for row in counts.traffic:
        moved = -(-row.elements * row.bits // 64)
        way = list(words)[: list(words).index(places[row.cls]) + 1] if row.cls in places else ["registers"]
        for place, level in enumerate(way):
            inner = place < len(way) - 1
            for end in ("read", "write"):
                paid[f"{level}.{end}"] += moved * (inner or end == ("write" if row.write else "read"))
    return Prices(GENERIC).operations(counts.operations) + np.array(list(paid.values()))


def homes(result):
    return {cls: memory.name for memory in result.memories for cls in memory.needed_bytes}


@pytest.mark.parametrize(
    ("network", "rule", "datapath"),
    [
        *((network, rule, "s8") for rule in RULES for network in (SMALL, CONV)),
        *((network, rule, None) for rule in (*RULES, *FLOAT_RULES) for network in (SMALL, CONV)),
        *((SMALL, rule, None) for rule in DENSE_RULES),
    ],
    ids=str,
)
def test_energy_is_priced_counts_and_parts_sum_to_it(network, rule, datapath):
    for n in (1, 4):
        result = estimate(network, rule, datapath, settings=at(n), processor=GENERIC)
        step = training_step(network, rule, at(n), load_datapath(datapath) if datapath else None)
        paid = paid_by(step, homes(result))
        energy = result.energy_pj_per_sample
        for end in ENDS:
            assert getattr(energy, end) == pytest.approx(paid @ constants(end) / n, rel=1e-12)
        assert energy.low < energy.typical < energy.high
        for parts in ("phase", "class", "level", "layer"):
            assert sum(getattr(result, f"{parts}_pj_per_sample").values()) == pytest.approx(energy.typical, rel=1e-12)
        assert result.phase_pj_per_sample["update"] > 0


def test_energy_of_one_dense_layer_by_hand():
    # 2-1 in float, N = 1, bce: 2 MAC, 1 LUT; error 1 ADD; 2 MAC; 1 + 1 MUL and 1 ADD for the bias
    result = estimate(Network.parse("2-1"), "bp", settings=at(1))
    arithmetic = 4 * (3.7 + 0.9) + 32 * 0.0552 + 2 * 0.9 + 2 * 3.7
    assert result.class_pj_per_sample["operations"] == pytest.approx(arithmetic)
    # act.0, weight, bias, preact w, r, output w, r, label, error w, r (weight), r (bias), act.0, weight r, w,
    # bias r, w: one word each, and all of it fits into the registers
    assert homes(result).keys() >= {"act", "weight", "bias", "error"}
    assert set(homes(result).values()) == {"registers"}
    assert result.energy_pj_per_sample.typical == pytest.approx(arithmetic + 16 * 3.54)


@pytest.mark.parametrize("fuse_by", ["none", "within_layer"])
@pytest.mark.parametrize("datapath", [None, "s8"])
@pytest.mark.parametrize("network", [SMALL, CONV], ids=str)
def test_ratio_of_bp_to_itself_is_exactly_one(network, datapath, fuse_by):
    ratio = estimate(network, "bp", datapath, settings=at(3), fuse_by=fuse_by).energy_ratio_to_bp
    assert (ratio.low, ratio.typical, ratio.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("rule", RULES)
def test_ratio_interval_is_over_all_corners(rule):
    """Brute force: price both steps at every corner of the constants."""
    settings = at(2)
    results = {name: estimate(SMALL, name, "s8", settings=settings) for name in (rule, "bp")}
    paid, base = (
        paid_by(training_step(SMALL, name, settings, load_datapath("s8")), homes(results[name])) for name in (rule, "bp")
    )
    used = np.flatnonzero(paid + base)
    corners = np.array(list(itertools.product(*zip(constants("low")[used], constants("high")[used], strict=True))))
    ratios = (corners @ paid[used]) / (corners @ base[used])
    interval = results[rule].energy_ratio_to_bp
    assert interval.low == pytest.approx(ratios.min(), rel=1e-12)
    assert interval.high == pytest.approx(ratios.max(), rel=1e-12)
    assert interval.typical == pytest.approx((paid @ constants("typical")) / (base @ constants("typical")), rel=1e-12)
    assert interval.low <= interval.typical <= interval.high


def narrow(processor, low, high):
    """Return the processor with other ends for each of its energies."""

    def ends(constant):
        at_low, at_high = (getattr(constant, end) if isinstance(end, str) else end for end in (low, high))
        return replace(constant, low=at_low, high=at_high)

    return replace(
        processor,
        constants={name: ends(constant) for name, constant in processor.constants.items()},
        levels=tuple(replace(level, read=ends(level.read), write=ends(level.write)) for level in processor.levels),
    )


def test_ratio_without_spread_is_one_number():
    ratio = estimate(MLP, "drtp", settings=at(1), processor=narrow(GENERIC, "typical", "typical")).energy_ratio_to_bp
    assert ratio.low == pytest.approx(ratio.high, rel=1e-12)
    assert ratio.low <= ratio.typical <= ratio.high


def test_what_bp_saves_shows_in_the_ratio():
    """N = 1 is bound by weight traffic: DFA saves one of four accesses, less the first layer's."""
    dfa = estimate(MLP, "dfa", settings=at(1))
    assert 5.38 / 6.39 - 0.01 < dfa.energy_ratio_to_bp.typical < 5.38 / 6.39 + 0.01
    alone = sized(registers=0, dram=0)
    one_hidden = estimate("784-500-10", "dfa", settings=at(1), processor=alone).energy_ratio_to_bp
    assert one_hidden.typical == one_hidden.low == one_hidden.high == 1.0
    # two elements a word; from DRAM each crosses the SRAM and the registers, in and out
    crossing = 512 + 2 * 100 + 2 * 3.54
    assert dfa.class_pj_per_sample["weight"] == pytest.approx(5_382_000 / 2 * crossing)


def test_macs_per_sample():
    for n in (1, 2, 5):
        result = estimate(MLP, "bp", settings=at(n))
        assert result.macs_per_sample == 4_598_000
        assert type(result.macs_per_sample) is int


def test_memory_of_the_step():
    bp, drtp = (estimate(MLP, rule, settings=at(1)) for rule in ("bp", "drtp"))
    assert (bp.peak_activation_bytes, drtp.peak_activation_bytes) == (4 * 2784, 4 * 2000)
    assert (bp.feedback_bytes, drtp.feedback_bytes) == (0, 4 * 20_000)
    conv = estimate(CONV, "bp", settings=at(1))
    assert conv.peak_activation_bytes == 4 * (128 + 48 + 12), "maps before pooling are not activations"
    parameters = 4 * (1_794_000 + 2010)
    assert parameters < bp.peak_live_bytes < parameters + 40_000
    assert parameters + drtp.feedback_bytes < drtp.peak_live_bytes < parameters + drtp.feedback_bytes + 40_000
    assert estimate(MLP, "dfa", "s8", settings=at(1)).feedback_bytes == 20_000
    assert estimate(MLP, "fa", "s8", settings=at(1)).feedback_bytes == 1_010_000


def sized(**capacities):
    """Return the generic processor with memories of other sizes, without those of size 0."""
    levels = (
        replace(level, capacity=Constant(size, size, size, "bytes", "test", "assumed"))
        for level in GENERIC.levels
        if (size := capacities.get(level.name, level.capacity_bytes))
    )
    return replace(GENERIC, levels=tuple(levels))


def test_everything_has_a_place_and_says_if_it_is_too_small():
    small = estimate(SMALL, "bp", settings=at(1))
    assert small.fits
    assert small.external_bytes == 0
    large = estimate(MLP, "bp", settings=at(1))
    assert large.fits
    assert homes(large)["weight"] == "dram"
    assert large.external_bytes >= 4 * 1_794_000
    needed = sum(sum(memory.needed_bytes.values()) for memory in small.memories)
    for size, fits in ((int(np.ceil(needed)), True), (int(needed) - 1, False)):
        result = estimate(SMALL, "bp", settings=at(1), processor=sized(registers=0, dram=0, sram=size))
        assert result.fits is fits
        assert set(homes(result).values()) == {"sram"}


@pytest.mark.parametrize("rule", ["bp", "dfa", "kp"])
def test_the_nearest_memory_holds_what_moves_most(rule):
    """Every choice of classes, one by one: none that fits together moves more bits than the one that is kept."""
    rng = np.random.default_rng(11)
    schedule = training_step(Network.parse("16-8-4"), rule, at(2), load_datapath("s8"))
    moved: dict[str, int] = {}
    for row in count(schedule).traffic:
        moved[row.cls] = moved.get(row.cls, 0) + row.elements * row.bits
    for _ in range(12):
        room = int(rng.integers(1, 900))
        result = estimate("16-8-4", rule, "s8", settings=at(2), processor=sized(registers=room))
        needed = {cls: size for memory in result.memories for cls, size in memory.needed_bytes.items()}
        kept = sum(moved.get(cls, 0) for cls in result.memories[0].needed_bytes)
        assert sum(result.memories[0].needed_bytes.values()) <= room
        for number in range(len(needed) + 1):
            for chosen in itertools.combinations(needed, number):
                if sum(needed[cls] for cls in chosen) <= room:
                    assert sum(moved.get(cls, 0) for cls in chosen) <= kept


def test_needed_bytes_of_a_small_step():
    needed = estimate("16-8-4", "bp", settings=at(1), processor=sized(registers=1 << 20)).memories[0].needed_bytes
    assert needed["weight"] == 4 * (16 * 8 + 8 * 4)
    assert needed["bias"] == 4 * 12
    assert needed["act"] == 4 * (16 + 8)


def test_dram_words_never_grow_with_capacity():
    """From no SRAM worth the name to room for all."""
    for rule in ("bp", "dfa", "kp"):
        words = []
        for size in (1, 1000, 20_000, 100_000, 300_000, 1 << 20, 1 << 23):
            result = estimate("100-80-60-10", rule, "s8", settings=at(4), processor=sized(sram=size))
            words.append(sum(row.count for row in result.rows if row.level == "dram"))
        assert words == sorted(words, reverse=True)
        assert words[0] > words[-1] == 0


@pytest.mark.parametrize("rule", RULES)
def test_energy_rises_with_the_bits_of_each_tensor(rule):
    base = load_datapath("s8")
    # one memory for all: a class that outgrows the registers leaves their room to others
    alone = sized(registers=0, dram=0)

    def energy(datapath):
        return estimate(SMALL, rule, datapath, settings=at(2), processor=alone).energy_pj_per_sample

    def rising(datapaths):
        energies = [energy(datapath) for datapath in datapaths]
        for narrow, wide in itertools.pairwise(energies):
            for end in ENDS:
                assert getattr(narrow, end) <= getattr(wide, end)
        return energies[-1].typical > energies[0].typical

    assert rising([replace(base, weight=replace(base.weight, format=Fixed(b, 7))) for b in (8, 10, 13, 16)])
    delta = rising([replace(base, delta=replace(base.delta, format=Fixed(b, 7))) for b in (8, 10, 13, 16)])
    assert delta is (rule != "shallow"), "the output delta is the error itself"
    assert rising([replace(base, act=replace(base.act, format=Fixed(b, 7))) for b in (8, 10, 13, 16)])
    assert rising([replace(base, master=Fixed(b, 15)) for b in (16, 20, 32)])
    feedback = rising([replace(base, feedback_bits=b) for b in (4, 8, 12)])
    assert feedback is (rule in ("fa", "dfa", "sdfa", "drtp", "hybrid"))
    assert energy("s8").typical < energy("s16").typical < energy(None).typical


def test_names_and_objects_are_the_same_question():
    by_name = estimate(SMALL, "dfa", "s8", processor="generic_45nm")
    assert estimate(SMALL, "dfa", load_datapath("s8"), processor=GENERIC) == by_name
    assert estimate(SMALL, "dfa", "float32") == estimate(SMALL, "dfa", None) == estimate(SMALL, "dfa")
    assert by_name.batch_size == StepSettings().batch_size
    assert (by_name.rule, by_name.datapath, by_name.processor) == ("dfa", "s8", "generic_45nm")
    assert (by_name.network, by_name.order, by_name.fuse) == (str(SMALL), "eager", "none")


def test_order_and_fusion_reach_the_schedule():
    plain = estimate(MLP, "drtp", settings=at(1))
    phased = estimate(MLP, "drtp", settings=at(1), order_by="phased")
    fused = estimate(MLP, "drtp", settings=at(1), fuse_by="within_layer")
    assert phased.peak_activation_bytes == 4 * 2784 > plain.peak_activation_bytes
    assert phased.energy_pj_per_sample == plain.energy_pj_per_sample
    assert fused.energy_pj_per_sample.typical < plain.energy_pj_per_sample.typical
    assert (phased.order, fused.fuse) == ("phased", "within_layer")


def test_wide_words_are_fewer():
    word = Constant(128, 128, 128, "bits", "test", "assumed")
    levels = tuple(replace(level, word=word) for level in GENERIC.levels)
    wide = estimate(SMALL, "bp", settings=at(1), processor=replace(GENERIC, levels=levels))
    assert wide.energy_pj_per_sample.typical < estimate(SMALL, "bp", settings=at(1)).energy_pj_per_sample.typical


def test_as_dict_is_json():
    result = estimate(CONV, "dfa", "s8", settings=at(2))
    document = json.loads(json.dumps(result.as_dict()))
    assert document["energy_pj_per_sample"]["typical"] == result.energy_pj_per_sample.typical
    assert set(document["energy_ratio_to_bp"]) == set(ENDS)
    assert document["rule"] == "dfa"
    assert document["fits"] is True


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="unknown rule 'bq'"):
        estimate(SMALL, "bq")
    with pytest.raises(ConfigError, match="unknown datapath 's9'"):
        estimate(SMALL, "bp", "s9")
    with pytest.raises(ConfigError, match="unknown processor 'generic'"):
        estimate(SMALL, "bp", processor="generic")


def test_processor_that_may_be_free_has_no_ratio():
    with pytest.raises(ProcessorError, match="a ratio needs a constant above 0"):
        estimate(SMALL, "dfa", processor=narrow(GENERIC, 0.0, "high"))


def test_estimate_is_a_public_name():
    assert fasim.estimate is estimate


@pytest.mark.parametrize(
    ("feedback", "expected"),
    [("uniform", 4 * (4 * 8 + 4 * 6)), ("uniform+shared", 4 * 4 * 8), ("uniform+lfsr", 0), ("uniform+lfsr+shared", 0)],
)
def test_feedback_bytes_are_those_that_a_memory_holds(feedback, expected):
    assert estimate("12-8-6-4", "dfa", settings=at(4, feedback=feedback)).feedback_bytes == expected


@pytest.mark.parametrize(("feedback", "index_bits"), [("uniform+k:5", 4), ("uniform+nm:2:4", 2)])
def test_places_of_sparse_feedback_take_the_bits_that_hardware_needs(feedback, index_bits):
    result = estimate(Network.parse("16-100-10"), "dfa", settings=at(4, feedback=feedback))
    entries = 100 * {"uniform+k:5": 5, "uniform+nm:2:4": 6}[feedback]
    assert result.feedback_bytes == entries * (32 + index_bits) / 8


def test_tables_are_named_beside_the_peak():
    """Three tables of 2^10 entries of 8 bits: tanh, its slope, the sigmoid."""
    assert estimate("64-16-10", "dfa", "s8", settings=at(1)).table_bytes == 3 * 1024
    assert estimate("64-16-10", "dfa", settings=at(1)).table_bytes == 0
