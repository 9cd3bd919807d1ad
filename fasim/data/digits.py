"""The 8 x 8 digits that scikit-learn ships: a real task without any download."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHAPE = (8, 8, 1)
CLASSES = 10
TRAIN = 1437

# The split belongs to the data set: were it drawn from the user's seed, accuracies of two seeds
# would be measured on two different test sets. With 360 test samples the choice matters: over five
# split seeds bp in float32 (mean of 3 runs) went from 96.3 to 98.7 %. Compare within one split only.
SPLIT_SEED = 0


def permutation(count: int) -> NDArray[np.int64]:
    """Return the fixed order in which samples are split, shape (count,); a test pins its hash."""
    return np.random.default_rng(SPLIT_SEED).permutation(count)


def arrays() -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]:
    """Return x_train (1437, 64), y_train (1437,), x_test (360, 64), y_test (360,).

    Codes are ``round(v * 255 / 16)`` for the grey values v = 0 .. 16 of scikit-learn.
    """
    from sklearn.datasets import load_digits

    grey, labels = load_digits(return_X_y=True)
    codes = np.rint(grey * 255 / 16).astype(np.uint8)
    order = permutation(len(codes))
    train, test = order[:TRAIN], order[TRAIN:]
    labels = labels.astype(np.int64)
    return codes[train], labels[train], codes[test], labels[test]
