"""Losses as reports show them: by hand, in PyTorch's conventions, and finite where an output is exactly 0 or 1."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fasim import losses
from fasim.errors import ConfigError

OUTPUT = np.float32([[0.5, 0.25], [0.25, 0.75]])
LABEL = np.array([0, 1])


def test_values_by_hand():
    # bce: mean over N K of -t log y - (1 - t) log(1 - y)
    bce = -(math.log(0.5) + math.log(0.75) + math.log(0.75) + math.log(0.75)) / 4
    assert losses.value("bce", OUTPUT, LABEL) == pytest.approx(bce)
    assert losses.value("cross_entropy", OUTPUT, LABEL) == pytest.approx(-(math.log(0.5) + math.log(0.75)) / 2)
    assert losses.value("mse", OUTPUT, LABEL) == pytest.approx((0.25 + 0.0625 + 0.0625 + 0.0625) / 4)


def test_the_logarithm_stops_at_minus_100():
    exact = np.float32([[0.0, 1.0]])
    assert losses.value("bce", exact, np.array([1])) == 0
    assert losses.value("bce", exact, np.array([0])) == pytest.approx(100)
    assert losses.value("cross_entropy", exact, np.array([0])) == pytest.approx(100)


def test_values_of_pytorch():
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    output = random.uniform(0.01, 0.99, (7, 4)).astype(np.float32)
    label = random.integers(0, 4, 7)
    given, target = torch.tensor(output), torch.nn.functional.one_hot(torch.tensor(label), 4).float()
    theirs = {
        "bce": torch.nn.functional.binary_cross_entropy(given, target),
        "cross_entropy": torch.nn.functional.nll_loss(given.log(), torch.tensor(label)),
        "mse": torch.nn.functional.mse_loss(given, target),
    }
    for name, value in theirs.items():
        assert losses.value(name, output, label) == pytest.approx(value.item(), rel=1e-6)


def test_scales():
    assert [losses.LOSSES[name].scale("sum", 5, 3) for name in ("bce", "cross_entropy", "mse")] == [1, 1, 2]
    assert losses.LOSSES["bce"].scale("mean", 5, 3) == pytest.approx(1 / 15)
    assert losses.LOSSES["cross_entropy"].scale("mean", 5, 3) == pytest.approx(1 / 5)
    assert losses.LOSSES["mse"].scale("mean", 5, 3) == pytest.approx(2 / 15)


def test_loss_and_output_must_go_together():
    with pytest.raises(ConfigError, match="loss bce goes with output sigmoid"):
        losses.get("bce", "linear")
