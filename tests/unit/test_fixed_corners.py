"""Fixed point where numbers are as large as their formats allow, or larger: wide enough, or refused in one line."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fasim import backends
from fasim.backends import Samples
from fasim.errors import ConfigError, FormatError
from fasim.fixedpoint import Cast, Fixed, conv2d, load_datapath, matmul, requantize
from fasim.fixedpoint.options import Functions
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import StepSettings
from fasim.schedule import ops as kinds
from fasim.state import initial_state, set_learning_rate

BP2 = StepSettings(batch_size=2)


def states_after_steps(network, schedule, codes, steps=3, rate=2.0**-5):
    """Return the state that each backend leaves, of the same start."""
    found = []
    data = Samples(codes, np.arange(len(codes)) % network.outputs)
    for backend in ("reference", "cpu"):
        state = initial_state(network, schedule, 4)
        set_learning_rate(state, schedule, rate)
        order = np.arange(len(codes))
        backends.get(backend)(schedule).run(state, data, np.tile(order, steps)[: steps * schedule.batch_size], 0)
        found.append(state)
    return found


def assert_same(states):
    for name, array in states[0].items():
        np.testing.assert_array_equal(states[1][name], array, err_msg=name)


def test_the_way_back_of_windows_that_share_a_maximum_has_room_for_its_sum():
    datapath = replace(load_datapath("s16"), signal=Cast(Fixed(16, 22), "RND", "SAT"))
    network = Network.parse("6x6x1-2c3-3ps1-4")
    schedule = training_step(network, "bp", BP2, datapath)
    (op,) = schedule.find(kinds.UNPOOL)
    assert (schedule[op.reads[0]].format, schedule[op.writes[0]].format) == (Fixed(16, 22), Fixed(20, 22))
    (apart,) = training_step(Network.parse("6x6x1-2c3-3p-4"), "bp", BP2, datapath).find(kinds.UNPOOL)
    assert schedule[apart.reads[0]].format == Fixed(16, 22)
    codes = np.random.default_rng(1).integers(0, 256, (6, 36), np.uint8)
    assert_same(states_after_steps(network, schedule, codes))


def test_divisors_of_files_are_whole(tmp_path: Path):
    """256 is 0 in eight bits, and 300 is 44."""
    network, codes = Network.parse("4-3-2"), np.random.default_rng(1).integers(0, 256, (6, 4), np.uint8)
    datapath = load_datapath("s8")
    entries = 2**datapath.preact.format.bits
    act = np.clip(np.round(np.tanh(np.arange(-entries // 2, entries // 2) / 64) * 128), -128, 127).astype(int)
    for name, numbers in (("act", act), ("slope", 1 + np.arange(entries) % 300), ("small", 1 + np.arange(entries) % 250)):
        (tmp_path / f"{name}.txt").write_text("\n".join(map(str, numbers)))
    for name, bits in (("small", 8), ("slope", 9)):
        files = {"tanh": str(tmp_path / "act.txt"), "tanh_slope": str(tmp_path / f"{name}.txt")}
        functions = Functions(**files, slope="divide")
        schedule = training_step(network, "bp", BP2, replace(datapath, functions=functions))
        assert schedule["slope.1"].format == Fixed(bits, 0, signed=False)
        assert_same(states_after_steps(network, schedule, codes))


def test_the_one_number_that_a_symmetric_format_lacks_is_refused():
    lowest = np.full((4, 2), -(2**15), np.int16)
    sym16, sym8 = Fixed(16, 0, symmetric=True), Fixed(8, 0, symmetric=True)
    for array in (lowest, lowest.astype(np.int32)):
        with pytest.raises(FormatError, match="outside of sym16.0"):
            matmul(array, lowest[:1].T, sym16, sym16)
    with pytest.raises(FormatError, match="outside of sym8.0"):
        requantize(np.array([-128], np.int8), sym8, Fixed(8, 0), "RND", "SAT")


def test_a_bias_and_its_products_are_summed_before_the_end_brings_them_into_range():
    a, b = np.full((1, 3), -(2**61)), np.full((3, 1), -1, np.int8)
    formats = Fixed(62, 0), Fixed(1, 0)
    with pytest.raises(FormatError, match="64 are possible"):
        matmul(a, b, *formats, accumulator="8 SAT end", bias=np.array([2**62 - 1]), bias_format=Fixed(63, 0))
    small = matmul(
        a >> 2, b, Fixed(60, 0), Fixed(1, 0), accumulator="8 SAT end", bias=np.array([9]), bias_format=Fixed(8, 0)
    )
    assert np.asarray(small[0] if isinstance(small, tuple) else small).ravel()[0] == 127


def test_normalisation_knows_how_far_its_drift_goes():
    """The mean of delta times normal, times normal, may be many times a delta."""
    wide = replace(
        load_datapath("s8"),
        norm=Fixed(32, 30),
        preact=Cast(Fixed(10, 0), "RND", "SAT"),
        delta=Cast(Fixed(29, 20), "RND", "SAT"),
    )
    network = Network.parse("4-3-2", batch_norm=True)
    with pytest.raises(FormatError, match="NORM_BACK"):
        training_step(network, "bp", StepSettings(batch_size=2048), wide)
    narrow = replace(load_datapath("s8"), norm=Fixed(16, 12))
    assert training_step(network, "bp", StepSettings(batch_size=64), narrow).datapath == "s8"


def test_numbers_of_foreign_byte_order_are_numbers():
    foreign = np.array([100, -100], ">i2")
    found = requantize(foreign, Fixed(16, 4), Fixed(8, 0), "RND", "SAT")
    expected = requantize(foreign.astype(np.int16), Fixed(16, 4), Fixed(8, 0), "RND", "SAT")
    np.testing.assert_array_equal(found, expected)


def test_maps_without_channels_have_no_products():
    found = conv2d(np.zeros((1, 3, 3, 0), np.int8), np.zeros((2, 2, 2, 0), np.int8), Fixed(8, 0), Fixed(8, 0))
    sums = found[0] if isinstance(found, tuple) else found
    assert sums.shape == (1, 2, 2, 2)
    assert not sums.any()


def test_a_limit_above_all_numbers_clips_none():
    schedule = training_step(Network.parse("4-3-2"), "bp", replace(BP2, clip="value:1e308"), load_datapath("s8"))
    assert all(op.attrs["limit"] > 0 for op in schedule.find(kinds.CLIP))


@pytest.mark.parametrize("rate", [1e-20, 1e-310])
def test_a_rate_whose_divisor_no_integer_holds_is_refused(rate: float):
    network = Network.parse("4-3-2", output="tanh")
    schedule = training_step(network, "bp", replace(BP2, loss="half_mse"), load_datapath("pocketnn"))
    with pytest.raises(ConfigError, match="at most 2\\^62; give a larger rate"):
        set_learning_rate(initial_state(network, schedule, 1), schedule, rate)


def test_such_a_rate_on_the_command_line_is_one_line():
    words = ["train", "--net", "64-8-10", "--datapath", "pocketnn", "--loss", "half_mse", "--lr", "1e-20"]
    done = subprocess.run([sys.executable, "-m", "fasim", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
