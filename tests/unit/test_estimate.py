"""Estimates: energy, its interval, the ratio to backpropagation, memory."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

import fasim
from fasim.energy import count, estimate, load_processor
from fasim.energy.price import coefficients
from fasim.energy.processor import CONSTANTS
from fasim.errors import ConfigError, ProcessorError
from fasim.fixedpoint import Fixed, load_datapath
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import StepSettings
from tests.schedules import DENSE_RULES, FLOAT_RULES, RULES

GENERIC = load_processor("generic_45nm")
MLP = Network.parse("784-1000-1000-10")
SMALL = Network.parse("12-9x7-4")
CONV = Network.parse("8x8x2-3c3-2p-12-5")
ENDS = ("low", "typical", "high")


def at(n, **settings):
    return StepSettings(batch_size=n, **settings)


def constants(end):
    return np.array([getattr(GENERIC.constants[name], end) for name in CONSTANTS])


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
        result = estimate(network, rule, datapath, settings=at(n))
        step = training_step(network, rule, at(n), load_datapath(datapath) if datapath else None)
        counts = count(step)
        paid = coefficients(counts.operations, counts.traffic)
        energy = result.energy_pj_per_sample
        for end in ENDS:
            assert getattr(energy, end) == pytest.approx(paid @ constants(end) / n, rel=1e-12)
        assert energy.low < energy.typical < energy.high
        assert sum(result.phase_pj_per_sample.values()) == pytest.approx(energy.typical, rel=1e-12)
        assert sum(result.class_pj_per_sample.values()) == pytest.approx(energy.typical, rel=1e-12)
        assert result.class_pj_per_sample["weight"] == pytest.approx(100 * counts.words("weight") / n)
        assert result.phase_pj_per_sample["update"] > 0


def test_energy_of_one_dense_layer_by_hand():
    # 2-1 in float, N = 1, bce: 2 MAC, 1 LUT; error 1 ADD; 2 MAC; 1 + 1 MUL and 1 ADD for the bias
    result = estimate(Network.parse("2-1"), "bp", settings=at(1))
    arithmetic = 4 * (3.7 + 0.9) + 32 * 0.0552 + 2 * 0.9 + 2 * 3.7
    assert result.class_pj_per_sample["operations"] == pytest.approx(arithmetic)
    # act.0, weight, bias, preact w, r, output w, r, label, error w, r (weight), r (bias), act.0, weight r, w,
    # bias r, w: one word each
    assert result.energy_pj_per_sample.typical == pytest.approx(arithmetic + 16 * 100)


@pytest.mark.parametrize("fuse_by", ["none", "within_layer"])
@pytest.mark.parametrize("datapath", [None, "s8"])
@pytest.mark.parametrize("network", [SMALL, CONV], ids=str)
def test_ratio_of_bp_to_itself_is_exactly_one(network, datapath, fuse_by):
    ratio = estimate(network, "bp", datapath, settings=at(3), fuse_by=fuse_by).energy_ratio_to_bp
    assert (ratio.low, ratio.typical, ratio.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("rule", RULES)
def test_ratio_interval_is_over_all_corners(rule):
    """Brute force: price both steps at every corner of the constants, one by one."""
    settings = at(2)
    result = estimate(SMALL, rule, "s8", settings=settings)
    paid, base = (
        coefficients(counts.operations, counts.traffic)
        for counts in (count(training_step(SMALL, r, settings, load_datapath("s8"))) for r in (rule, "bp"))
    )
    ratios = [
        np.dot(paid, corner) / np.dot(base, corner)
        for corner in itertools.product(*zip(constants("low"), constants("high"), strict=True))
    ]
    interval = result.energy_ratio_to_bp
    assert interval.low == pytest.approx(min(ratios), rel=1e-12)
    assert interval.high == pytest.approx(max(ratios), rel=1e-12)
    assert interval.typical == pytest.approx((paid @ constants("typical")) / (base @ constants("typical")), rel=1e-12)
    assert interval.low <= interval.typical <= interval.high


def test_ratio_holds_for_any_constants_inside_of_their_intervals():
    rng = np.random.default_rng(7)
    settings = at(1)
    interval = estimate(MLP, "dfa", settings=settings).energy_ratio_to_bp
    paid, base = (
        coefficients(counts.operations, counts.traffic)
        for counts in (count(training_step(MLP, rule, settings)) for rule in ("dfa", "bp"))
    )
    points = rng.uniform(constants("low"), constants("high"), (500, len(CONSTANTS)))
    ratios = (points @ paid) / (points @ base)
    assert interval.low <= ratios.min() <= ratios.max() <= interval.high


def test_ratio_without_spread_is_one_number():
    fixed = {name: replace(c, low=c.typical, high=c.typical) for name, c in GENERIC.constants.items()}
    ratio = estimate(MLP, "drtp", settings=at(1), processor=replace(GENERIC, constants=fixed)).energy_ratio_to_bp
    assert ratio.low == pytest.approx(ratio.high, rel=1e-12)
    assert ratio.low <= ratio.typical <= ratio.high


def test_what_bp_saves_shows_in_the_ratio():
    """N = 1 is bound by weight traffic: DFA saves one of four accesses, less the first layer's."""
    dfa = estimate(MLP, "dfa", settings=at(1))
    assert 5.38 / 6.39 - 0.01 < dfa.energy_ratio_to_bp.typical < 5.38 / 6.39 + 0.01
    one_hidden = estimate(Network.parse("784-500-10"), "dfa", settings=at(1)).energy_ratio_to_bp
    assert one_hidden.typical == one_hidden.low == one_hidden.high == 1.0
    weights = dfa.class_pj_per_sample["weight"]
    assert weights == pytest.approx(5_382_000 / 2 * 100)


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


def test_fits_compares_the_peak_with_the_memory():
    result = estimate(SMALL, "bp", settings=at(1))
    assert result.fits
    assert not estimate(MLP, "bp", settings=at(1)).fits
    assert result.memory_bytes == 2**20
    # SMALL needs whole bytes in float, and the labels' 2 bits
    needed = int(np.ceil(result.peak_live_bytes))
    for memory, fits in ((needed, True), (needed - 1, False)):
        sized = estimate(SMALL, "bp", settings=at(1), processor=replace(GENERIC, memory_bytes=memory))
        assert (sized.fits, sized.memory_bytes) == (fits, memory)


@pytest.mark.parametrize("rule", RULES)
def test_energy_rises_with_the_bits_of_each_tensor(rule):
    base = load_datapath("s8")

    def energy(datapath):
        return estimate(SMALL, rule, datapath, settings=at(2)).energy_pj_per_sample

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
    wide = estimate(SMALL, "bp", settings=at(1), processor=replace(GENERIC, word_bits=128))
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
    free = {name: replace(constant, low=0.0) for name, constant in GENERIC.constants.items()}
    with pytest.raises(ProcessorError, match="a ratio needs a constant above 0"):
        estimate(SMALL, "dfa", processor=replace(GENERIC, constants=free))


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
