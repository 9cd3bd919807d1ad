"""The synthetic tasks of paper 004: sizes, distribution, and that they never change."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fasim import data
from tests.data.helpers import sha256


@pytest.fixture(scope="module")
def regression():
    return data.load("synthetic-regression")


@pytest.fixture(scope="module")
def classification():
    return data.load("synthetic-classification")


def test_regression_form(regression):
    assert (regression.x_train.shape, regression.x_test.shape) == ((5000, 256), (1000, 256))
    assert (regression.y_train.shape, regression.y_test.shape) == ((5000, 10), (1000, 10))
    for array in (regression.x_train, regression.x_test, regression.y_train, regression.y_test):
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
    assert (regression.task, regression.shape, regression.classes) == ("regression", (256,), 10)
    assert regression.scale == 1.0
    assert "drawn without a seed" in regression.note


def test_regression_targets_follow_from_the_inputs(regression):
    for x, t in ((regression.x_train, regression.y_train), (regression.x_test, regression.y_test)):
        for i in range(10):
            # the slide's form of the phase
            wanted = np.cos(x.astype(np.float64).mean(1) - math.pi / 2 + i * math.pi / 9)
            np.testing.assert_allclose(t[:, i], wanted, atol=1e-7)


def test_regression_inputs_are_noise_around_one_centre_a_sample(regression):
    x = regression.x_train.astype(np.float64)
    centre = x.mean(1)
    # 256 inputs a sample: its mean lies within 1/16 (one deviation) of mu; mu is uniform in (-pi, pi)
    assert np.abs(centre).max() < math.pi + 5 / 16
    shares = np.histogram(centre, 4, (-math.pi, math.pi))[0] / len(x)
    np.testing.assert_allclose(shares, 0.25, atol=0.025)
    noise = x - centre[:, None]
    assert abs(noise.std() - math.sqrt(255 / 256)) < 0.005
    # the noise of two inputs is independent: all correlations of the first with others stay small
    correlation = noise[:, :1].T @ noise[:, 1:] / len(x)
    assert np.abs(correlation).max() < 5 / math.sqrt(len(x))


def test_regression_sets_are_different_draws(regression):
    assert not np.isin(regression.x_test[:, 0], regression.x_train[:, 0]).all()
    assert np.corrcoef(regression.x_test[:, 0], regression.x_train[:1000, 0])[0, 1] < 0.2


def test_tasks_never_change(regression, classification):
    np.random.seed(3)
    again = data.load("synthetic-classification")
    np.testing.assert_array_equal(again.x_test, classification.x_test)
    np.testing.assert_array_equal(data.load("synthetic-regression").x_test, regression.x_test)
    # Fixed here: other samples make every published figure another number. Labels are whole numbers, the same on
    # every machine; inputs pass through a matrix product and may differ in their last bits.
    labels = np.concatenate([classification.y_train, classification.y_test])
    assert sha256(labels.astype("<i8").tobytes())[:16] == "4d349d2a986b2e12"
    np.testing.assert_allclose(classification.x_train[0, :3], [7.418659, 0.05644917, -0.248105], rtol=1e-5)
    np.testing.assert_allclose(classification.x_test[-1, -3:], [-12.70604, 10.249983, 1.1450226], rtol=1e-5)
    np.testing.assert_allclose(regression.x_train[0, :3], [0.71978134, 0.37335584, 3.0105793], rtol=1e-6)
    np.testing.assert_allclose(regression.x_test[-1, -3:], [-0.31127882, -2.3085392, -0.4848369], rtol=1e-6)


def test_classification_form(classification):
    assert (classification.x_train.shape, classification.x_test.shape) == ((25000, 256), (5000, 256))
    assert classification.x_train.dtype == np.float32
    assert classification.x_train.flags.c_contiguous
    assert classification.x_test.flags.c_contiguous
    assert classification.y_train.dtype == classification.y_test.dtype == np.int64
    assert (classification.task, classification.shape, classification.classes) == ("classification", (256,), 10)
    assert (classification.scale, classification.note) == (1.0, "")
    np.testing.assert_allclose(np.bincount(classification.y_train) / 25000, 0.1, atol=0.01)


def test_classification_is_the_generator_of_the_source(classification):
    """Half of the inputs are informative: their deviation is far above the 1 of the others."""
    spread = classification.x_train.std(0)
    assert ((spread > 0.9) & (spread < 1.1)).sum() == 128
    assert (spread > 4).sum() == 128
