"""The picture of a trace, for fixed point and float, few epochs and many, with gaps."""

from __future__ import annotations

import io

import matplotlib.image
import numpy as np
import pytest

from fasim.plots_trace import trace_over_epochs


def records(fmt, epochs, without=None):
    names = ("act.1", "delta.1", "a_longer_name.weight.12")
    return [
        {
            "epoch": epoch,
            "name": name,
            "format": fmt,
            "used_bits": 5 if fmt else None,
            "elements": 100,
            "saturations": 3 * (name == "delta.1"),
            "wraps": 0,
            "zero_fraction": 0.25,
            "exponents": {"-3": 40, "1": 35} if epoch > 1 else {},
        }
        for epoch in epochs
        for name in names
        if (name, epoch) != without
    ]


def pixels(content):
    return matplotlib.image.imread(io.BytesIO(content))


@pytest.mark.parametrize("fmt", ["s8.6", "sym8.7", None])
@pytest.mark.parametrize("count", [1, 3, 45])
def test_any_number_of_epochs(fmt, count):
    picture = pixels(trace_over_epochs(records(fmt, range(1, count + 1)), "title"))
    assert picture.shape[1] > 900
    assert np.ptp(picture[..., :3]) > 0.9


def test_a_saturation_is_seen():
    with_one, without = records("s8.6", (1, 2)), records("s8.6", (1, 2))
    for record in without:
        record["saturations"] = 0
    one, other = (pixels(trace_over_epochs(given)) for given in (with_one, without))
    half = one.shape[1] // 2
    assert (one[:, half:] != other[:, half:]).any()
    assert (one[:, : half // 2] == other[:, : half // 2]).all()


def test_a_tensor_may_lack_an_epoch():
    assert trace_over_epochs(records("s8.6", (1, 2, 3), without=("act.1", 2))).startswith(b"\x89PNG")
