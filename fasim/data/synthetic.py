"""The synthetic tasks of the DRTP talk (paper 004): a regression and a classification of 256 numbers.

Generators and sizes are those of ``synth_dataset_gen.py`` in the repository ChFrenkel/DirectRandomTargetProjection.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fasim.data.dataset import Data

INPUTS = 256
OUTPUTS = 10
SEED = 0
REGRESSION_SIZES = (5_000, 1_000)
CLASSIFICATION_SIZES = (25_000, 5_000)
# The original draws from PyTorch without a seed, so that nobody can draw its samples again.
REGRESSION_NOTE = "own samples: the originals were drawn without a seed"


def regression() -> Data:
    r"""Return ``synthetic-regression``: shifted cosines of the mean of noisy inputs.

    For each sample :math:`\mu \sim U(-\pi, \pi)`, each of 256 inputs :math:`x_j \sim N(\mu, 1)`, and the targets are
    :math:`t_i = \cos(\bar x + \pi (i - 4.5) / 9)` for i = 0 .. 9 (from the source). The 5,000 training samples are
    drawn first, then 1,000 test samples, each set its :math:`\mu` first (from the source); the generator is NumPy's
    default with seed 0 (ours: the source has no seed).
    """
    rng = np.random.default_rng(SEED)
    train, test = REGRESSION_SIZES
    x_train, t_train = _cosines(rng, train)
    x_test, t_test = _cosines(rng, test)
    return Data(
        "synthetic-regression",
        x_train,
        t_train,
        x_test,
        t_test,
        (INPUTS,),
        OUTPUTS,
        scale=1.0,
        note=REGRESSION_NOTE,
        task="regression",
    )


def _cosines(rng: np.random.Generator, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return inputs (N, 256) and targets (N, 10); targets belong to the inputs as rounded to float32."""
    centre = rng.uniform(-math.pi, math.pi, (count, 1))
    x = (centre + rng.standard_normal((count, INPUTS))).astype(np.float32)
    phase = math.pi * (np.arange(OUTPUTS) - 4.5) / 9
    return x, np.cos(x.mean(1, keepdims=True, dtype=np.float64) + phase).astype(np.float32)


def classification() -> Data:
    """Return ``synthetic-classification``: 10 classes of 5 clusters each in 256 numbers, 128 of them informative.

    scikit-learn's ``make_classification`` with the arguments of the source, ``random_state=0`` among them; the first
    25,000 samples are for training, the other 5,000 for the test. By its default 1 % of the labels are drawn anew,
    so no rule reaches 100 %.
    """
    from sklearn.datasets import make_classification

    train, test = CLASSIFICATION_SIZES
    x, y = make_classification(
        n_samples=train + test,
        n_features=INPUTS,
        n_informative=128,
        n_redundant=0,
        n_repeated=0,
        n_classes=OUTPUTS,
        n_clusters_per_class=5,
        class_sep=4.5,
        scale=np.ones(INPUTS),
        shuffle=True,
        random_state=SEED,
    )
    x = x.astype(np.float32)
    y = y.astype(np.int64)
    return Data("synthetic-classification", x[:train], y[:train], x[train:], y[train:], (INPUTS,), OUTPUTS, scale=1.0)
