"""Reader of CIFAR-10 and CIFAR-100 in their official binary version.

A file is a row of records: one label byte (CIFAR-10) or a coarse and a fine one (CIFAR-100), then the red, the green
and the blue plane of 32 x 32 bytes each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fasim.data import folders
from fasim.data.dataset import Data
from fasim.errors import DataError

SHAPE = (32, 32, 3)
PIXELS = 32 * 32 * 3
CHUNK_RECORDS = 2000


@dataclass(frozen=True)
class Archive:
    """A data set in binary batches and the hashes it is known by.

    Parameters
    ----------
    name, place, folder : str
        Name of the data set, of its folder in ``FASIM_DATA``, and of the one its archive unpacks to.
    url : str
        Address of the official archive.
    train, test : mapping of str to str
        File name -> SHA-256 of the official file, in reading order.
    classes : int
        Number of labels.
    label_bytes, label_at : int
        Label bytes of a record, and which of them is read.
    records : tuple of int
        Official numbers of training and test images.
    variants : mapping of str to str
        SHA-256 -> name of a known variant, which every result then names.
    """

    name: str
    place: str
    folder: str
    url: str
    train: Mapping[str, str]
    test: Mapping[str, str]
    classes: int
    label_bytes: int
    label_at: int
    records: tuple[int, int]
    variants: Mapping[str, str]


# Hashes of the unpacked official files: torchvision-ruby, lib/torchvision/datasets/cifar10.rb and cifar100.rb. Their
# publisher states only MD5s of the archives.
_CIFAR10 = Archive(
    name="cifar10",
    place="cifar10",
    folder="cifar-10-batches-bin",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    train={
        "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    },
    test={"test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"},
    classes=10,
    label_bytes=1,
    label_at=0,
    records=(50_000, 10_000),
    # Each image went through JPEG (quality about 75, 4:2:0), and the order is another.
    variants=dict.fromkeys(
        (
            "95bc40a96c189b4ae973b8e377256610c0b0865f59a76bf2e7b5f5d3b6a9cd51",
            "5bb5b7448ab13050c953f52e49624887d937f2dbc737ba8308b771b88b6f5ced",
            "ecc5c793ff8d4a06b657d4f9dfc1eb1e29f15f7e75fed9b9c34eb4df9459108d",
            "9e28b99d5925a27d404ec940d84ec491ea1cd48e3ceb0e9db193afd19c93e65b",
            "887c29d30b4a78aa9e3c200efd2298570173503aa557ab013e8e62afb37a242a",
            "27510dceb090e887f9424124a1302375eea207f1debd1501081084547e6b732a",
        ),
        "unofficial copy: CIFAR-10 (JPEG)",
    ),
)


def _cifar100(name: str, classes: int, label_at: int) -> Archive:
    return Archive(
        name=name,
        place="cifar100",
        folder="cifar-100-binary",
        url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        train={"train.bin": "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29"},
        test={"test.bin": "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a"},
        classes=classes,
        label_bytes=2,
        label_at=label_at,
        records=(50_000, 10_000),
        variants={},
    )


ARCHIVES: dict[str, Archive] = {
    "cifar10": _CIFAR10,
    "cifar100": _cifar100("cifar100", 100, 1),
    "cifar100-coarse": _cifar100("cifar100-coarse", 20, 0),
}


def read(archive: Archive) -> Data:
    """Return a data set of ``ARCHIVES``, images in the order H, W, C.

    A copy whose hashes are not the official ones is accepted, and the note says so.

    Raises
    ------
    DataError
        A file is absent, is no whole number of records, or holds a label out of range.
    """
    folder = folders.find(archive.place, archive.folder, next(iter(archive.train)), archive.url)
    x_train, y_train, train_notes = _read_files(archive, folder, archive.train)
    x_test, y_test, test_notes = _read_files(archive, folder, archive.test)
    notes = [*train_notes, *test_notes]
    if (len(x_train), len(x_test)) != archive.records:
        wanted, wanted_test = archive.records
        notes.append(f"{len(x_train)} of {wanted} training and {len(x_test)} of {wanted_test} test images")
    note = "; ".join(dict.fromkeys(notes))
    return Data(archive.name, x_train, y_train, x_test, y_test, SHAPE, archive.classes, note=note)


def _read_files(
    archive: Archive, folder: Path, files: Mapping[str, str]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], list[str]]:
    """Return codes (N, 3072), labels (N,) and what is to be noted of several files in a row."""
    counts = [_count(archive, folder / name) for name in files]
    codes = np.empty((sum(counts), PIXELS), np.uint8)
    labels = np.empty(sum(counts), np.int64)
    notes = []
    start = 0
    for (name, official), count in zip(files.items(), counts, strict=True):
        rows = slice(start, start + count)
        given = _read_file(archive, folder / name, codes[rows], labels[rows])
        if given != official:
            notes.append(archive.variants.get(given, f"unofficial copy of {archive.name}: unknown SHA-256"))
        start += count
    return codes, labels, notes


def _count(archive: Archive, path: Path) -> int:
    """Return the number of records of a file."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _unreadable(archive, path, error) from error
    record = archive.label_bytes + PIXELS
    if size == 0 or size % record:
        raise DataError(
            f"{path}: {size} bytes are {size / record:.2f} records; needed are whole records of {record} bytes: "
            f"the file is truncated or damaged, unpack {archive.url} again"
        )
    return size // record


def _read_file(archive: Archive, path: Path, codes: NDArray[np.uint8], labels: NDArray[np.int64]) -> str:
    """Fill codes (N, 3072) and labels (N,) of one file chunk by chunk; return its SHA-256."""
    sha256 = hashlib.sha256()
    images = codes.reshape(-1, *SHAPE)
    record = archive.label_bytes + PIXELS
    try:
        with open(path, "rb") as file:
            for start in range(0, len(codes), CHUNK_RECORDS):
                rows = slice(start, min(start + CHUNK_RECORDS, len(codes)))
                content = file.read((rows.stop - start) * record)
                if len(content) != (rows.stop - start) * record:
                    raise DataError(f"{path}: became shorter while it was read; wait until it is whole")
                sha256.update(content)
                chunk = np.frombuffer(content, np.uint8).reshape(-1, record)
                labels[rows] = chunk[:, archive.label_at]
                images[rows] = chunk[:, archive.label_bytes :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    except DataError:
        raise
    except OSError as error:
        raise _unreadable(archive, path, error) from error
    if int(labels.max()) >= archive.classes:
        at = int(np.argmax(labels >= archive.classes))
        raise DataError(
            f"{path}: record {at} has label {int(labels[at])}; needed are 0 to {archive.classes - 1}: "
            f"unpack {archive.url} again"
        )
    return sha256.hexdigest()


def _unreadable(archive: Archive, path: Path, error: OSError) -> DataError:
    return DataError(
        f"{path}: cannot be read ({error.strerror or error}); needed are all of "
        f"{', '.join([*archive.train, *archive.test])}: unpack {archive.url} again"
    )
