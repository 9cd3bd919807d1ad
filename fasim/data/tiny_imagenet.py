"""Reader of Tiny ImageNet in its official layout: 200 classes, JPEG files of 64 x 64 pixels.

The labels of its test images were never published, so the validation images are the test set, as is usual.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from fasim.data import folders
from fasim.data.dataset import Data
from fasim.errors import DataError

NAME = "tiny-imagenet"
FOLDER = "tiny-imagenet-200"
URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
SHAPE = (64, 64, 3)
PIXELS = 64 * 64 * 3
OFFICIAL = (200, 100_000, 10_000)
# The layout has no file to hash, and 110,000 hashes of single files are published nowhere.
UNVERIFIED = "unverified data: no official hash is known of unpacked Tiny ImageNet"

_WNID = re.compile(r"n\d{8}")


def read() -> Data:
    """Return Tiny ImageNet, images in the order H, W, C; a grey file gets three equal channels.

    Labels number the lines of ``wnids.txt`` from 0. Training images stand by class, then by file
    name; test images as in ``val_annotations.txt``.

    Raises
    ------
    DataError
        A file is absent, damaged, no JPEG of 64 x 64, or of an unknown class.
    """
    folder = folders.find(NAME, FOLDER, "wnids.txt", URL)
    wnids = _wnids(folder / "wnids.txt")
    train: list[Path] = []
    counts = []
    for wnid in wnids:
        files = _train_files(folder / "train" / wnid / "images")
        train += files
        counts.append(len(files))
    test, y_test = _validation(folder / "val", {wnid: label for label, wnid in enumerate(wnids)})
    y_train = np.repeat(np.arange(len(wnids)), counts)
    note = UNVERIFIED
    if (len(wnids), len(train), len(test)) != OFFICIAL:
        classes, images, tests = OFFICIAL
        note += (
            f"; {len(wnids)} of {classes} classes, {len(train)} of {images} training and {len(test)} of {tests} test images"
        )
    return Data(NAME, _decode(train), y_train, _decode(test), y_test, SHAPE, len(wnids), note=note)


def _refuse(path: Path, given: str, needed: str) -> NoReturn:
    raise DataError(f"{path}: {given}; needed: {needed}; unpack {URL} again")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else "not ASCII") or str(error)
        _refuse(path, f"cannot be read ({reason})", "a text file")


def _wnids(path: Path) -> list[str]:
    """Return the classes in the order of the file; only names that cannot lead out of the folder."""
    wnids = [line.strip() for line in _lines(path) if line.strip()]
    for wnid in wnids:
        if not _WNID.fullmatch(wnid):
            _refuse(path, f"has {wnid[:40]!r}", "one class a line, n and 8 digits")
    if len(set(wnids)) < max(2, len(wnids)):
        _refuse(path, f"has {len(wnids)} classes, {len(set(wnids))} different", "two or more, each once")
    return wnids


def _train_files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.JPEG"))
    if not files:
        _refuse(folder, "no *.JPEG there", "the training images of each class of wnids.txt")
    return files


def _validation(folder: Path, labels: dict[str, int]) -> tuple[list[Path], NDArray[np.int64]]:
    """Return the files and labels (N,) of ``val_annotations.txt``: file, class and four more columns, by tabs."""
    path = folder / "val_annotations.txt"
    rows = [line.split("\t") for line in _lines(path)]
    for number, row in enumerate(rows, 1):
        if len(row) < 2 or Path(row[0]).name != row[0] or row[1] not in labels:
            given = "\t".join(row)[:60]
            _refuse(path, f"line {number} is {given!r}", "a file name, a tab and a class of wnids.txt")
    if not rows:
        _refuse(path, "no lines", "one line for each validation image")
    files = [folder / "images" / row[0] for row in rows]
    return files, np.array([labels[row[1]] for row in rows], np.int64)


def _decode(files: Sequence[Path]) -> NDArray[np.uint8]:
    """Return codes (N, 12288). The loop is over files, which Pillow opens one by one."""
    from PIL import Image

    codes = np.empty((len(files), PIXELS), np.uint8)
    for row, path in zip(codes, files, strict=True):
        try:
            # Opening reads the header only: an image of another size is never decoded.
            with Image.open(path, formats=("JPEG",)) as image:
                size = image.size
                if size == SHAPE[1::-1]:
                    row[:] = np.asarray(image.convert("RGB")).ravel()
        except FileNotFoundError:
            _refuse(path, "there is no such file", "every image that the layout names")
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            reason = " ".join(str(error).split()).replace(f" {str(path)!r}", "")
            _refuse(path, f"not a whole JPEG file ({reason})", "a JPEG of 64 x 64")
        if size != SHAPE[1::-1]:
            _refuse(path, f"an image of {size[0]} x {size[1]}", "64 x 64")
    return codes
