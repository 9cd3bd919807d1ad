"""Every data set by its name or its path."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fasim.data import cifar, csv, digits, fetch, npz, synthetic, tiny_imagenet
from fasim.data.dataset import Data
from fasim.errors import ConfigError, DataError, unknown_name


def names() -> tuple[str, ...]:
    """Return the names that ``load`` knows, in alphabetical order."""
    return tuple(sorted([*_OTHERS, *fetch.ARCHIVES, *cifar.ARCHIVES]))


def load(name_or_path: str | os.PathLike[str], *, allow_unverified: bool = False) -> Data:
    """Return a data set by its name, or from an ``.npz`` or ``.csv`` file.

    Files come from the folder in the environment variable ``FASIM_DATA`` when it is set, else from
    the user's cache folder. ``mnist`` and ``fashion-mnist`` are downloaded there on first use;
    ``cifar10``, ``cifar100``, ``cifar100-coarse`` and ``tiny-imagenet`` are not: a message says
    what to fetch. ``digits`` and the synthetic tasks need no file.

    Parameters
    ----------
    name_or_path : str or path
        A name of ``names()``; or a path that ends in ``.npz`` and holds ``x_train``, ``y_train``,
        ``x_test`` and ``y_test``; or one that ends in ``.csv``, features first and the label last.
    allow_unverified : bool
        Accept files of MNIST or Fashion-MNIST at hand whose SHA-256 is not known; the note then
        says "unverified data". Downloads are always verified. Files of the other data sets are
        always accepted, and the note says when they are not the official ones.

    Returns
    -------
    Data
        Inputs, labels or targets, and shape.

    Raises
    ------
    ConfigError
        The name is unknown.
    DataError
        A file is absent, damaged, not the one expected or does not fit.
    """
    text = os.fspath(name_or_path)
    if text in fetch.ARCHIVES:
        return _archive(fetch.ARCHIVES[text], allow_unverified)
    if text in cifar.ARCHIVES:
        return cifar.read(cifar.ARCHIVES[text])
    if text in _OTHERS:
        return _OTHERS[text]()
    if text.lower().endswith(".npz"):
        return _npz(Path(text))
    if text.lower().endswith(".csv"):
        return csv.read(Path(text))
    raise ConfigError(
        f"{unknown_name('data set', text, names())}; for data of your own give the path of an .npz or .csv file"
    )


def _digits() -> Data:
    x_train, y_train, x_test, y_test = digits.arrays()
    return Data("digits", x_train, y_train, x_test, y_test, digits.SHAPE, digits.CLASSES)


def _archive(archive: fetch.Archive, allow_unverified: bool) -> Data:
    parts: list[NDArray[np.uint8]] = []
    notes: list[str] = []
    for stem in fetch.STEMS:
        array, note = fetch.read(archive, stem, allow_unverified=allow_unverified)
        parts.append(array)
        notes.append(note)
    images, labels, test_images, test_labels = parts
    _check_split(archive, "train", images, labels)
    _check_split(archive, "t10k", test_images, test_labels)
    if images.shape[1:] != test_images.shape[1:]:
        raise DataError(
            f"{archive.name}: train images are {images.shape[1:]} and t10k images "
            f"{test_images.shape[1:]}; both need one shape: replace the files by the official ones"
        )
    return Data(
        archive.name,
        images.reshape(len(images), -1),
        labels.astype(np.int64),
        test_images.reshape(len(test_images), -1),
        test_labels.astype(np.int64),
        (*images.shape[1:], 1),
        archive.classes,
        note="; ".join(dict.fromkeys(note for note in notes if note)),
    )


def _check_split(archive: fetch.Archive, split: str, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    """Refuse files that are sound alone and do not fit together (only unverified ones can)."""
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise DataError(
            f"{archive.name}: {split} images have shape {images.shape} and labels {labels.shape}; "
            "needed are (N, H, W) and (N,): replace the files by the official ones"
        )
    if int(labels.max()) >= archive.classes:
        raise DataError(
            f"{archive.name}: {split} labels reach {int(labels.max())}, needed are 0 to "
            f"{archive.classes - 1}: replace the file by the official one"
        )


def _npz(path: Path) -> Data:
    content = npz.read(path)
    return Data(
        path.name,
        content.x_train,
        content.y_train,
        content.x_test,
        content.y_test,
        content.shape,
        content.classes,
        note=content.note,
    )


_OTHERS: dict[str, Callable[[], Data]] = {
    "digits": _digits,
    "synthetic-classification": synthetic.classification,
    "synthetic-regression": synthetic.regression,
    "tiny-imagenet": tiny_imagenet.read,
}
