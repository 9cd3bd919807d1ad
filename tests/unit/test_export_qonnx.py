"""The QONNX graph gives the outputs of the fixed-point network, and refuses what it could not give."""

from __future__ import annotations

import importlib.util
import sys
import warnings

import numpy as np
import pytest

from fasim import export
from fasim.backends import Samples
from fasim.backends.cpu import CpuProgram
from fasim.data import Data
from fasim.errors import ConfigError
from fasim.fixedpoint import load_datapath
from fasim.network import Network
from fasim.rules import evaluation_pass
from fasim.schedule import StepSettings

needs_qonnx = pytest.mark.skipif(
    importlib.util.find_spec("qonnx") is None, reason="the executor needs qonnx (pip install 'fasim[export]')"
)
BIG = Samples(np.random.default_rng(4).integers(0, 256, (48, 16), dtype=np.uint8), np.zeros(48, np.int64))


def data():
    random = np.random.default_rng(3)
    x, y = random.integers(0, 256, (160, 16), dtype=np.uint8), random.integers(0, 3, 160)
    return Data("small", x, y, x[:8], y[:8], (16,), 3)


def start(network, datapath="s8", **settings):
    options = {"rule": "dfa", "datapath": load_datapath(datapath), "settings": StepSettings(batch_size=4, **settings)}
    return export.fresh(network, data(), **options)


def executed(path, codes):
    """Return what qonnx's own executor gives, sample by sample; warnings of its libraries are theirs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.core.onnx_exec import execute_onnx

        model = ModelWrapper(str(path))
        inputs = (codes.astype(np.float32) / 256)[:, None]
        return np.concatenate([execute_onnx(model, {"input": one})["output"] for one in inputs])


def spread(begin):
    """Draw weights and biases anew, so that the outputs lie all over their range."""
    random = np.random.default_rng(9)
    for name, array in begin.state.items():
        if name.startswith(("weight", "bias")):
            array[:] = random.integers(-100, 101, array.shape)
    return begin


@needs_qonnx
@pytest.mark.parametrize("hidden", ["tanh", "relu"])
def test_the_graph_gives_the_fixed_point_outputs(hidden, tmp_path):
    network = Network.parse("16-12-6-3", hidden=hidden)
    begin = spread(start(network))
    path = export.write_qonnx(tmp_path, begin)
    evaluation = evaluation_pass(network, StepSettings(batch_size=48), begin.datapath)
    expected = CpuProgram(evaluation).outputs(begin.state, BIG) * 128
    assert len(np.unique(expected)) > 20, "outputs that hardly differ would show nothing"
    found = executed(path, BIG.codes) * 128
    # the two entries of the sigmoid near a tie, see below, are 63 or 64 and 64 or 65
    sure = np.abs(expected - 64) > 1
    assert np.array_equal(found[sure], expected[sure])
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize(("function", "near"), [("tanh", []), ("sigmoid", [-1, 1])])
def test_entries_of_the_tables_that_float32_could_miss(function, near):
    """An entry is sure where the function lies farther from the middle of two steps than float32 errs."""
    codes = np.arange(-512, 512)
    exact = {"tanh": np.tanh, "sigmoid": lambda x: 1 / (1 + np.exp(-x))}[function](codes / 64) * 128
    distance = np.abs(exact - np.floor(exact) - 0.5)
    # measured of onnxruntime's functions: at most 2.2e-5 steps of s8.7
    assert list(codes[distance < 2e-4]) == near


@pytest.mark.parametrize(
    ("net", "datapath", "match"),
    [
        ("16-12-3", "float32", "float32: a QONNX graph states formats"),
        ("16-12-3", "s16", "not exact in the float32 of QONNX"),
        ("4x4x1-2c3-3", "s8", "CONV has no QONNX form here; use dense layers"),
    ],
)
def test_what_the_graph_could_not_give_is_refused(net, datapath, match, tmp_path):
    pytest.importorskip("onnx", reason="needs onnx (pip install 'fasim[export]')")
    with pytest.raises(ConfigError, match=match):
        export.write_qonnx(tmp_path, start(Network.parse(net), datapath))
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigError, match=r"needs the package onnx; install it with pip install 'fasim\[export\]'"):
        export.write_qonnx(tmp_path, start(Network.parse("16-12-3")))
