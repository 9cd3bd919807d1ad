"""Angles between vectors, row by row, in float64."""

from __future__ import annotations

import numpy as np


def row_angles(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the angle between each row of one array and the same row of another, in degrees.

    ``angle[n] = arccos(<first[n], second[n]> / (|first[n]| |second[n]|))``: 0 for equal rows, exactly; angles below 1e-6
    degrees are not told apart from 0.

    Parameters
    ----------
    first, second : ndarray, shape (N, ...)
        As many elements in each row; axes after the first count as one.

    Returns
    -------
    float64[N]
        NaN where a row is zero or holds a number that is not finite: it has no direction.
    """
    a, b = (array.reshape(len(array), -1) for array in (first, second))
    with np.errstate(all="ignore"):  # of rows that have no direction
        product = _dots(a, b)
        norms = np.sqrt(_dots(a, a) * _dots(b, b))
        cosine = np.where(norms > 0, product, np.nan) / np.where(norms > 0, norms, 1.0)
    return np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))


def vector_angle(first: np.ndarray, second: np.ndarray) -> float:
    """Return the angle between two arrays, each as one vector, in degrees; NaN where one has no direction."""
    return float(row_angles(first.reshape(1, -1), second.reshape(1, -1))[0])


def norm(array: np.ndarray) -> float:
    """Return the Euclidean norm of all elements; not a finite number where an element is none."""
    with np.errstate(all="ignore"):
        return float(np.sqrt(_dots(array.reshape(1, -1), array.reshape(1, -1))[0]))


def _dots(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the dot products of rows, summed in float64 without a copy of the arrays in float64."""
    return np.asarray(np.einsum("ni,ni->n", a, b, dtype=np.float64))
