"""What may happen to inputs between a data set and a network: standardisation and augmentation of images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fasim.data.dataset import Data
from fasim.errors import ConfigError, unknown_name
from fasim.rng import stream

STANDARDISATIONS = ("none", "unit", "channel", "pixel")
AUGMENTATIONS = ("flip", "crop:4", "flip+crop:4")

# Numbers that are worked on at a time: float64 copies stay at 16 MiB however large the data set.
CHUNK_NUMBERS = 1 << 21

Inputs = NDArray[np.uint8] | NDArray[np.float32]


def standardise(data: Data, how: str) -> Data:
    r"""Return the data set with another value for each input; the inputs themselves stay as they are.

    A network then reads ``x * gain + offset`` (:meth:`Data.values`), computed in float32: a feature whose mean is
    many times its deviation loses as many bits. All figures are those of the training set, also for the test set.

    Parameters
    ----------
    data : Data
        Codes or float32 numbers; an earlier standardisation of it is replaced.
    how : {"none", "unit", "channel", "pixel"}
        - none: ``x * scale``.
        - unit: code / 255; for numbers :math:`(x - min) / (max - min)` over all inputs together.
        - channel: :math:`(x - mean) / std` over the pixels of each channel; shape (H, W, C) is needed.
        - pixel: :math:`(x - mean) / std` of each input alone.

        The deviation divides by N; where it is 0, and where max = min, it counts as 1.

    Returns
    -------
    Data
        Shares the inputs of `data`; ``gain`` and ``offset`` are float32 (I,), or None for "none".

    Raises
    ------
    ConfigError
        `how` is unknown, or "channel" is asked of data without channels.
    """
    if how not in STANDARDISATIONS:
        raise ConfigError(unknown_name("standardisation", how, STANDARDISATIONS))
    if how == "none":
        return replace(data, gain=None, offset=None)
    x = data.x_train
    inputs = x.shape[1]
    if how == "unit":
        low, high = (0.0, 255.0) if x.dtype == np.uint8 else (float(x.min()), float(x.max()))
        centre, spread = np.full(inputs, low), np.full(inputs, high - low)
    else:
        channels = inputs if how == "pixel" else _channels(data)
        centre, spread = (np.tile(part, inputs // channels) for part in _mean_and_std(x, channels))
    gain = 1.0 / np.where(spread == 0, 1.0, spread)
    # 0.0 - 0.0 is +0.0, where a minus sign would give -0.0
    return replace(data, gain=gain.astype(np.float32), offset=(0.0 - centre * gain).astype(np.float32))


def _channels(data: Data) -> int:
    if len(data.shape) != 3:
        raise ConfigError(
            f"standardisation 'channel': {data.name} has shape {data.shape}, needed is (H, W, C); use 'pixel' or 'unit'"
        )
    return data.shape[2]


def _chunks(x: Inputs) -> Iterator[Inputs]:
    rows = max(1, CHUNK_NUMBERS // x.shape[1])
    for start in range(0, len(x), rows):
        yield x[start : start + rows]


def _mean_and_std(x: Inputs, channels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and deviation (channels,) of inputs (N, I), where input i belongs to channel i mod channels.

    Two passes: the sum of squares less the squared mean would lose what is small beside the mean.
    """
    count = x.size // channels
    mean = sum((_by_channel(c.sum(0, dtype=np.float64), channels) for c in _chunks(x)), np.zeros(channels)) / count
    centre = np.tile(mean, x.shape[1] // channels)
    squares = sum((_by_channel(_squares(c - centre), channels) for c in _chunks(x)), np.zeros(channels))
    return mean, np.sqrt(squares / count)


def _by_channel(sums: NDArray[np.float64], channels: int) -> NDArray[np.float64]:
    return sums.reshape(-1, channels).sum(0)


def _squares(difference: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.einsum("ni,ni->i", difference, difference)


class Augmentation(NamedTuple):
    """What ``augment`` does: mirror images or not, and the width of the border to crop from (0: no crop)."""

    flip: bool
    pad: int


def parse_augmentation(how: str, shape: tuple[int, ...]) -> Augmentation:
    """Return the meaning of ``"flip"``, ``"crop:P"`` or ``"flip+crop:P"`` for images of a shape.

    Raises
    ------
    ConfigError
        `how` is none of these, P is not from 1 to the shorter side less 1, or `shape` is not (H, W, C).
    """
    flip, pad = how == "flip", 0
    text = how.removeprefix("flip+")
    if text.startswith("crop:") and text[5:].isdecimal() and text.isascii():
        # Nine digits are more than any image has, and int() refuses thousands of them.
        flip, pad = text != how, int(text[5:14])
    elif not flip:
        raise ConfigError(unknown_name("augmentation", how, AUGMENTATIONS) + " (4: any width of the border)")
    if len(shape) != 3:
        raise ConfigError(f"augmentation {how!r}: shape {shape} is no image, needed is (H, W, C); leave augmentation out")
    if text != "flip" and not 1 <= pad < min(shape[:2]):
        raise ConfigError(
            f"augmentation {how!r}: a border from 1 to {min(shape[:2]) - 1} pixels is needed for images of shape {shape}"
        )
    return Augmentation(flip, pad)


def augment(x: Inputs, shape: tuple[int, ...], how: str, seed: int, epoch: int) -> Inputs:
    """Return a varied copy of images: mirrored at random, cropped at random from a border of zeros.

    Draws come from the stream ``"augment"`` of `seed`, number `epoch`: for each image whether it is mirrored
    (with probability 1/2), then each crop's row and column, 0 .. 2P; so crops of one P are the same with and without
    the flip. Zeros are code 0, before any standardisation.

    Parameters
    ----------
    x : ndarray of uint8 or float32, shape (N, I)
        Images, flattened in the order H, W, C.
    shape : tuple of int
        (H, W, C), I = H * W * C.
    how : str
        ``"flip"``; ``"crop:P"``: P zeros are added on each side and a crop of the old size is taken; or
        ``"flip+crop:P"``.
    seed : int
        The run's seed.
    epoch : int
        Number of the epoch, from 0.

    Returns
    -------
    ndarray, shape (N, I), dtype of `x`
        A new array.

    Raises
    ------
    ConfigError
        See :func:`parse_augmentation`; or `shape` does not fit `x`.
    """
    flip, pad = parse_augmentation(how, shape)
    height, width, channels = shape
    if x.shape[1] != height * width * channels:
        raise ConfigError(f"augmentation {how!r}: {x.shape[1]} inputs do not fill the shape {shape}; give the data's shape")
    rng = stream(seed, "augment", epoch)
    mirrored = rng.random(len(x)) < 0.5
    places = rng.integers(0, 2 * pad + 1, (len(x), 2))
    varied = x.copy()
    images = varied.reshape(-1, *shape)
    rows = max(1, CHUNK_NUMBERS // x.shape[1])
    for start in range(0, len(x), rows):
        part = slice(start, start + rows)
        if flip:
            chosen = mirrored[part]
            images[part][chosen] = images[part][chosen][:, :, ::-1]
        if pad:
            images[part] = _crop(images[part], pad, places[part])
    return varied


def _crop(images: NDArray[np.generic], pad: int, places: NDArray[np.int64]) -> NDArray[np.generic]:
    """Return crops (N, H, W, C) of images with a border of zeros; `places` (N, 2) are their first rows and columns."""
    count, height, width, channels = images.shape
    bordered = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    # A row of pixels is one run of W * C numbers, so that each crop is copied run by run.
    lines = bordered.reshape(count, height + 2 * pad, -1)
    windows = sliding_window_view(lines, (height, width * channels), axis=(1, 2))
    crops = windows[np.arange(count), places[:, 0], places[:, 1] * channels]
    return crops.reshape(images.shape)
