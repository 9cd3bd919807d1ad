"""Calibration: the proposal is the smallest range that fits, it trains as float32 does, and what cannot be is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from fasim.calibration import calibrate
from fasim.errors import ConfigError, FormatError
from fasim.fixedpoint import Datapath, Fixed, load_datapath
from fasim.network import Network
from fasim.schedule import StepSettings
from fasim.training import train

NET = "64-24-10"


def limit(fmt):
    """m of the range 2^m."""
    return fmt.bits - fmt.signed - fmt.frac


@pytest.fixture(scope="module")
def proposed():
    return calibrate(NET)


def test_every_table_gets_the_smallest_range_that_holds_all_of_its_tensors(proposed):
    data = proposed.datapath
    for table in ("weight", "preact", "act", "slope", "error", "delta", "bias"):
        entry = getattr(data, table)
        fmt = entry if table == "bias" else entry.format
        largest = max(one.largest for one in proposed.proposals if one.table == table)
        assert 2.0 ** (limit(fmt) - 1) < largest <= 2.0 ** limit(fmt), table
    assert limit(data.master) == limit(data.weight.format)
    assert {one.name for one in proposed.proposals} >= {"weight.1", "weight.2", "preact.2", "output", "delta.1", "bias.2"}
    assert "act.0" not in {one.name for one in proposed.proposals}


def test_all_else_is_that_of_the_given_datapath(proposed):
    s8, data = load_datapath("s8"), proposed.datapath
    for table in ("weight", "preact", "act", "slope", "error", "delta"):
        given, found = getattr(s8, table), getattr(data, table)
        assert (found.format.bits, found.rounding, found.overflow) == (given.format.bits, given.rounding, given.overflow)
    assert (data.input, data.feedback_bits, data.accumulator) == (s8.input, s8.feedback_bits, s8.accumulator)
    assert data.name == "calibrated"
    assert f"dfa on {NET}" in data.source


def test_the_proposal_round_trips_through_toml(proposed, tmp_path):
    (tmp_path / "own.toml").write_text(proposed.datapath.to_toml())
    assert Datapath.from_toml(tmp_path / "own.toml") == proposed.datapath


def test_the_run_is_the_float32_run(proposed):
    alone = train(NET, epochs=1)
    for name, array in alone.state.items():
        np.testing.assert_array_equal(array, proposed.run.state[name])


def test_the_proposal_trains_within_two_points_of_float32(proposed):
    in_float = train(NET, epochs=8).test_accuracy
    assert in_float > 0.94
    assert abs(train(NET, epochs=8, datapath=proposed.datapath).test_accuracy - in_float) <= 0.02


def test_a_datapath_that_does_not_fit_is_mended():
    """Points far off: the proposal is the same as from a datapath whose points fit, and trains."""
    s8 = load_datapath("s8")
    off = {name: replace(getattr(s8, name), format=Fixed(8, 12)) for name in ("weight", "error", "delta", "slope")}
    off |= {"act": replace(s8.act, format=Fixed(8, 2)), "master": Fixed(16, 20), "bias": Fixed(16, 3)}
    found = calibrate(NET, like=replace(s8, **off), name="own")
    reference = calibrate(NET, name="own")
    assert found.datapath == replace(reference.datapath, source=found.datapath.source)
    delta = next(one for one in found.proposals if one.name == "delta.1")
    assert delta.cut == 0
    assert delta.cut_like > 0.3


def test_shares_beyond_are_those_of_the_run(proposed):
    for one in proposed.proposals:
        assert one.cut == 0
        assert 0 <= one.cut_one_less <= 1
        tightest = limit(one.format) == math.ceil(math.log2(one.largest))
        assert (one.cut_one_less > 0) == tightest, one
    slope = next(one for one in proposed.proposals if one.name == "slope.1")
    assert slope.cut_one_less > 0.2


def test_a_quantile_cuts_no_more_than_it_says():
    whole, most = calibrate(NET), calibrate(NET, quantile=0.98)
    narrower = 0
    for one, other in zip(most.proposals, whole.proposals, strict=True):
        assert one.name == other.name
        assert one.cut <= 0.02
        assert limit(one.format) <= limit(other.format)
        narrower += limit(one.format) < limit(other.format)
        # one bit less would cut more of some tensor of the table
        table = [tensor for tensor in most.proposals if tensor.table == one.table]
        assert max(tensor.cut_one_less for tensor in table) > 0.02
    assert narrower >= 3


def test_bits_change_what_is_as_wide_as_the_weight():
    data = calibrate(NET, bits=5).datapath
    widths = {name: getattr(data, name).format.bits for name in ("weight", "act", "slope", "error", "delta", "preact")}
    assert widths == {"weight": 5, "act": 5, "slope": 5, "error": 5, "delta": 5, "preact": 10}
    assert (data.master.bits, data.bias.bits, data.feedback_bits) == (16, 16, 5)
    wide = calibrate(NET, bits=20).datapath
    assert (wide.preact.format.bits, wide.master.bits, wide.weight.format.bits, wide.feedback_bits) == (16, 20, 20, 20)


def test_optional_tables_are_proposed_where_the_datapath_has_them():
    s8 = load_datapath("s8")
    full = replace(
        s8, signal=s8.delta, gradient=replace(s8.delta, format=Fixed(16, 0)), feedback=Fixed(8, 0), feedback_bits=None
    )
    found = calibrate(NET, like=full)
    tables = {one.table for one in found.proposals}
    assert tables >= {"signal", "gradient", "feedback"}
    for table in ("gradient", "feedback"):
        largest = max(one.largest for one in found.proposals if one.table == table)
        entry = getattr(found.datapath, table)
        fmt = entry if table == "feedback" else entry.format
        assert 2.0 ** (limit(fmt) - 1) < largest <= 2.0 ** limit(fmt)


def test_per_tensor_formats_differ_from_their_table_alone():
    found = calibrate("64-24-16-10", per_tensor=True, epochs=2)
    own, data = found.datapath.tensors, found.datapath
    assert own
    for one in found.proposals:
        assert (one.name in own) == (own.get(one.name, one.format) == one.format != table_format(data, one.table))
        assert 2.0 ** (limit(one.format) - 1) < one.largest <= 2.0 ** limit(one.format)
    for name, fmt in own.items():
        if name.startswith("weight."):
            assert limit(own[name.replace("weight", "master")]) == limit(fmt)
    accuracy = train("64-24-16-10", datapath=data, epochs=6).test_accuracy
    assert abs(accuracy - train("64-24-16-10", epochs=6).test_accuracy) < 0.04


def table_format(datapath, table):
    entry = getattr(datapath, table)
    return entry if isinstance(entry, Fixed) else entry.format


REFUSED = {
    "quantile 0": ({"quantile": 0.0}, "quantile 0"),
    "quantile 2": ({"quantile": 2.0}, "quantile 2"),
    "quantile nan": ({"quantile": math.nan}, "quantile nan"),
    "bits": ({"bits": 1}, "bits 1: 2 to 32"),
    "epochs": ({"epochs": 0}, "epochs 0"),
    "float32": ({"like": "float32"}, "no formats to start from"),
    "mean": ({"settings": StepSettings(reduction="mean")}, "sum"),
    "name": ({"name": "float32"}, "name of its own"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_before_anything_has_run(what):
    options, words = REFUSED[what]
    seen = []
    with pytest.raises((ConfigError, FormatError), match=words) as caught:
        calibrate(NET, on_epoch=seen.append, **options)
    assert "\n" not in str(caught.value)
    assert seen == []


def test_a_run_that_diverges_is_refused():
    network = Network.parse(NET, hidden="linear", output="linear")
    with pytest.raises(ConfigError, match="diverged .* smaller learning rate"), np.errstate(all="ignore"):
        calibrate(network, rule="bp", settings=StepSettings(loss="mse"), learning_rate=1e30)
