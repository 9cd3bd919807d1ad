"""The one form in which every data set reaches a training run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

# the way in which images are coded: value = code * 2^-8, the format u8.8
CODE_FRAC = 8


@dataclass(frozen=True, eq=False)
class Data:
    """A task, split into training and test samples.

    Inputs are either uint8 codes, which fixed point reads as ``u8.8``, or float32 numbers. The value
    that a network reads is ``x * scale``, or after :func:`fasim.data.standardise`
    ``x * gain + offset``; see :meth:`values`.

    Parameters
    ----------
    name : str
        Name of the data set, or the file name of an ``.npz`` or ``.csv``.
    x_train, x_test : ndarray of uint8 or float32, shape (N, I), C-contiguous
        Codes or numbers, both sets alike; images are flattened in the order H, W, C.
    y_train, y_test : ndarray of int64, shape (N,), or of float32, shape (N, K)
        Labels from 0 to ``classes - 1``, or the targets of a regression.
    shape : tuple of int
        ``(I,)``, or ``(H, W, C)`` for images.
    classes : int
        Number of outputs, K: of labels, or of targets for each sample.
    scale : float
        Value of one code step, 2**-8; 1.0 for float32 inputs.
    note : str
        Empty for official data; else what a result must name beside its figures.
    task : {"classification", "regression"}
        What ``y_train`` and ``y_test`` hold.
    gain, offset : ndarray of float32, shape (I,), or None
        The standardisation of each input, both or neither; ``gain`` contains the scale.
    """

    name: str
    x_train: NDArray[np.uint8] | NDArray[np.float32]
    y_train: NDArray[np.int64] | NDArray[np.float32]
    x_test: NDArray[np.uint8] | NDArray[np.float32]
    y_test: NDArray[np.int64] | NDArray[np.float32]
    shape: tuple[int, ...]
    classes: int
    scale: float = 2.0**-CODE_FRAC
    note: str = ""
    task: Literal["classification", "regression"] = "classification"
    gain: NDArray[np.float32] | None = None
    offset: NDArray[np.float32] | None = None

    def values(self, x: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what a network reads for inputs `x`: ``x * scale``, or ``x * gain + offset``.

        Parameters
        ----------
        x : ndarray of uint8 or float32, shape (N, I)
            Rows of ``x_train`` or ``x_test``.

        Returns
        -------
        ndarray of float32, shape (N, I)
            The product and the sum are each rounded to float32.
        """
        if self.gain is None or self.offset is None:
            return x.astype(np.float32) * np.float32(self.scale)
        values = x * self.gain
        values += self.offset
        return values
