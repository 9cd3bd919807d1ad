"""The one form in which every data set reaches a training run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fasim.data import digits, fetch, npz
from fasim.errors import ConfigError, DataError, unknown_name

# the one way in which data sets code their inputs: value = code * 2^-8, the format u8.8
CODE_FRAC = 8


@dataclass(frozen=True, eq=False)
class Data:
    """A classification task, split into training and test samples.

    The value of a pixel is ``code * scale``. Fixed point reads the codes as ``u8.8``; float32
    computes the same values, so that both start from equal inputs.

    Parameters
    ----------
    name : str
        Name of the data set, or the file name of an ``.npz``.
    x_train, x_test : ndarray of uint8, shape (N, I), C-contiguous
        Codes; images are flattened in the order H, W, C.
    y_train, y_test : ndarray of int64, shape (N,)
        Labels from 0 to ``classes - 1``.
    shape : tuple of int
        ``(I,)``, or ``(H, W, C)`` for images.
    classes : int
        Number of labels, K.
    scale : float
        Value of one code step, 2**-8.
    note : str
        Empty for official data; else what a result must name beside its figures.
    """

    name: str
    x_train: NDArray[np.uint8]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.int64]
    shape: tuple[int, ...]
    classes: int
    scale: float = 2.0**-CODE_FRAC
    note: str = ""


def names() -> tuple[str, ...]:
    """Return the names that ``load`` knows, in alphabetical order."""
    return tuple(sorted(["digits", *fetch.ARCHIVES]))


def load(name_or_path: str | os.PathLike[str], *, allow_unverified: bool = False) -> Data:
    """Return a data set by its name, or from an ``.npz`` file.

    ``mnist`` and ``fashion-mnist`` come from the folder in the environment variable
    ``FASIM_DATA`` when it is set, else from the user's cache folder, downloaded on first use.

    Parameters
    ----------
    name_or_path : str or path
        A name of ``names()``, or a path that ends in ``.npz`` and holds ``x_train``, ``y_train``,
        ``x_test`` and ``y_test``.
    allow_unverified : bool
        Accept files at hand of a named data set whose SHA-256 is not known; the note then says
        "unverified data". Downloads are always verified.

    Returns
    -------
    Data
        Codes, labels and shape.

    Raises
    ------
    ConfigError
        The name is unknown.
    DataError
        A file is absent, damaged, not the one expected or does not fit.
    """
    text = os.fspath(name_or_path)
    if text == "digits":
        return _digits()
    if text in fetch.ARCHIVES:
        return _archive(fetch.ARCHIVES[text], allow_unverified)
    if text.lower().endswith(".npz"):
        return _npz(Path(text))
    raise ConfigError(f"{unknown_name('data set', text, names())}; for data of your own give the path of an .npz file")


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
