"""Arrays of a user's own that are not what kernels take: refused in one line, never read beyond their end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fasim import train
from fasim.checks import MAX_EPOCHS, check_data
from fasim.data import Data, load
from fasim.errors import ConfigError, DataError
from fasim.prediction import predict


def small() -> Data:
    random = np.random.default_rng(1)
    x = random.integers(0, 256, (40, 6), dtype=np.uint8)
    y = random.integers(0, 3, 40)
    return Data("own", x[:32], y[:32], x[32:], y[32:], (6,), 3)


def real() -> Data:
    data = small()
    values = {name: getattr(data, name).astype(np.float32) for name in ("x_train", "x_test")}
    return replace(data, **values, scale=1.0)


CASES = {
    "labels of other classes": (lambda d: replace(d, y_train=d.y_train + 1000), "labels 1000 .. 1002; needed: 0 .. 2"),
    "labels one too high": (lambda d: replace(d, y_train=d.y_train + 1), "labels 1 .. 3; needed: 0 .. 2 of 3 classes"),
    "labels below 0": (lambda d: replace(d, y_test=d.y_test - 1), "y_test has labels"),
    "huge labels": (lambda d: replace(d, y_train=d.y_train + 2**40), "y_train has labels"),
    "too few labels": (lambda d: replace(d, y_train=d.y_train[:5]), "y_train is of 5 samples, x_train of 32"),
    "another width": (lambda d: replace(d, x_test=np.ascontiguousarray(d.x_test[:, :4])), r"x_test has the shape \(8, 4\)"),
    "no test samples": (lambda d: replace(d, x_test=d.x_test[:0], y_test=d.y_test[:0]), r"x_test has the shape \(0, 6\)"),
    "one-hot labels": (lambda d: replace(d, y_train=np.eye(3, dtype=np.int64)[d.y_train]), "a label a sample"),
    "narrow labels": (lambda d: replace(d, y_train=d.y_train.astype(np.int8)), "holds int8"),
    "columns side by side": (lambda d: replace(d, x_train=np.asfortranarray(d.x_train)), "side by side in memory"),
    "foreign byte order": (lambda d: replace(d, x_train=d.x_train.astype(">f4")), "x_train holds >f4"),
    "two types": (lambda d: replace(d, x_test=d.x_test.astype(np.float32)), "x_test holds float32"),
    "flat targets": (
        lambda d: replace(d, task="regression", y_train=np.zeros(32, np.float32)),
        r"needed: float32 \(32, 3\)",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_refused(case: str) -> None:
    change, message = CASES[case]
    with pytest.raises(DataError, match=message):
        train("6-4-3", change(small()), rule="drtp", datapath="s8", epochs=1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused(value: float) -> None:
    data = real()
    data.x_test[3, 2] = value
    with pytest.raises(DataError, match="x_test holds numbers that are not finite"):
        check_data(data)


def test_every_data_set_of_fasim_passes() -> None:
    for name in ("digits", "synthetic-classification", "synthetic-regression"):
        check_data(load(name))
    check_data(small())
    check_data(real())


def test_predictions_are_of_inputs_that_fit() -> None:
    data = small()
    run = train("6-4-3", data, epochs=1, rule="bp")
    assert predict(run, data, data.x_test).shape == (8, 3)
    for wrong in (data.x_test[:, :3], data.x_test[0], data.x_test.astype(np.float64)):
        with pytest.raises(ConfigError, match="needed: rows of 6 uint8"):
            predict(run, data, wrong)


def test_more_epochs_than_anything_learns_for_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most 1,000,000 are possible"):
        train("6-4-3", small(), epochs=MAX_EPOCHS + 1)
