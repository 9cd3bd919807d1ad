"""CIFAR-10 and CIFAR-100 in small files of the official layout, and the real files where they are."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fasim import data
from fasim.data import cifar, fetch
from fasim.errors import DataError
from tests.data.helpers import one_line, sha256

TEN = ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"]


def records(labels, seed):
    """Bytes of a file: label bytes (N, 1) or (N, 2), then random planes; and these as images (N, H, W, C)."""
    labels = np.asarray(labels, np.uint8)
    planes = np.random.default_rng(seed).integers(0, 256, (len(labels), 3, 32, 32), dtype=np.uint8)
    content = np.concatenate([labels, planes.reshape(len(labels), -1)], axis=1).tobytes()
    images = np.stack([planes[:, 0], planes[:, 1], planes[:, 2]], axis=-1)
    return content, images


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("FASIM_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def ten(root):
    """A small CIFAR-10: 5 files of 3, 4, .. 7 images and a test file of 2; images in reading order."""
    folder = root / "cifar10" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    images = []
    for number, name in enumerate(TEN):
        content, part = records([[(number + i) % 10] for i in range(3 + number)], number)
        (folder / name).write_bytes(content)
        images.append(part)
    content, test = records([[9], [0]], 9)
    (folder / "test_batch.bin").write_bytes(content)
    return folder, np.concatenate(images), test


@pytest.fixture
def hundred(root):
    folder = root / "cifar100" / "cifar-100-binary"
    folder.mkdir(parents=True)
    train, _ = records([[19, 99], [0, 1], [7, 50]], 1)
    test, _ = records([[3, 4]], 2)
    (folder / "train.bin").write_bytes(train)
    (folder / "test.bin").write_bytes(test)
    return folder


def test_cifar10_images_and_labels(ten, monkeypatch):
    monkeypatch.setattr(cifar, "CHUNK_RECORDS", 2)  # no file is one chunk
    _, images, test = ten
    task = data.load("cifar10")
    np.testing.assert_array_equal(task.x_train.reshape(-1, 32, 32, 3), images)
    np.testing.assert_array_equal(task.x_test.reshape(-1, 32, 32, 3), test)
    assert task.y_train.tolist() == [(n + i) % 10 for n in range(5) for i in range(3 + n)]
    assert task.y_test.tolist() == [9, 0]
    assert (task.name, task.shape, task.classes, task.scale) == ("cifar10", (32, 32, 3), 10, 1 / 256)
    assert task.x_train.dtype == np.uint8
    assert task.x_train.flags.c_contiguous
    assert task.y_train.dtype == task.y_test.dtype == np.int64


def test_a_copy_of_another_content_and_size_is_named(ten):
    note = data.load("cifar10").note
    assert note == ("unofficial copy of cifar10: unknown SHA-256; 25 of 50000 training and 2 of 10000 test images")


def known(folder, **changes):
    """CIFAR-10 whose official files are the ones in the folder."""
    archive = cifar.ARCHIVES["cifar10"]
    train = {name: sha256((folder / name).read_bytes()) for name in archive.train}
    test = {name: sha256((folder / name).read_bytes()) for name in archive.test}
    return replace(archive, train=train, test=test, records=(25, 2), **changes)


def test_official_files_need_no_note(ten, monkeypatch):
    folder, _, _ = ten
    monkeypatch.setitem(cifar.ARCHIVES, "cifar10", known(folder))
    assert data.load("cifar10").note == ""
    # The same files in another order are not the official data.
    first, second = (folder / name for name in TEN[:2])
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    assert data.load("cifar10").note == "unofficial copy of cifar10: unknown SHA-256"


def test_known_variant_is_named(ten, monkeypatch):
    folder, _, _ = ten
    variant, _ = records([[1], [2]], 77)
    archive = known(folder, variants={sha256(variant): "CIFAR-10 (smoothed)"})
    (folder / "test_batch.bin").write_bytes(variant)
    monkeypatch.setitem(cifar.ARCHIVES, "cifar10", archive)
    assert data.load("cifar10").note == "CIFAR-10 (smoothed)"


def test_every_archive_states_hashes():
    for name, archive in cifar.ARCHIVES.items():
        assert archive.name == name
        digests = [*archive.train.values(), *archive.test.values(), *archive.variants]
        assert all(len(digest) == 64 and int(digest, 16) for digest in digests)
        assert len(set(digests)) == len(digests)


def test_cifar100_fine_and_coarse_labels(hundred):
    fine, coarse = data.load("cifar100"), data.load("cifar100-coarse")
    assert fine.y_train.tolist() == [99, 1, 50]
    assert fine.y_test.tolist() == [4]
    assert coarse.y_train.tolist() == [19, 0, 7]
    assert coarse.y_test.tolist() == [3]
    assert (fine.classes, coarse.classes) == (100, 20)
    assert (fine.name, coarse.name) == ("cifar100", "cifar100-coarse")
    np.testing.assert_array_equal(fine.x_train, coarse.x_train)
    planes = np.frombuffer((hundred / "train.bin").read_bytes(), np.uint8).reshape(3, -1)[:, 2:].reshape(3, 3, 32, 32)
    np.testing.assert_array_equal(fine.x_train.reshape(3, 32, 32, 3)[..., 1], planes[:, 1])


@pytest.mark.parametrize("place", ["cifar-10-batches-bin", "cifar10"])
def test_folder_is_found_directly(ten, root, place):
    folder, images, _ = ten
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    (root / place).mkdir(exist_ok=True)
    for name, raw in content.items():
        (root / place / name).write_bytes(raw)
    assert len(data.load("cifar10").x_train) == len(images)


def test_absent_says_what_to_download(root):
    with pytest.raises(DataError) as error:
        data.load("cifar10")
    text = one_line(error)
    assert f"FASIM_DATA={root} holds no cifar10/cifar-10-batches-bin/data_batch_1.bin" in text
    assert "download https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz" in text
    with pytest.raises(DataError, match=r"cifar100/cifar-100-binary/train.bin; download .*cifar-100-binary.tar.gz"):
        data.load("cifar100-coarse")


def test_without_the_variable_the_cache_is_looked_at(ten, root, monkeypatch):
    monkeypatch.setattr(fetch, "cache_folder", lambda: root)
    monkeypatch.delenv("FASIM_DATA")
    assert len(data.load("cifar10").x_test) == 2
    monkeypatch.setattr(fetch, "cache_folder", lambda: root / "empty")
    with pytest.raises(DataError, match="FASIM_DATA is not set"):
        data.load("cifar10")


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def empty(path):
    path.write_bytes(b"")


def relabel(path):
    raw = bytearray(path.read_bytes())
    raw[3073] = 10
    path.write_bytes(raw)


def into_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, "9218 bytes are 3.00 records; needed are whole records of 3073 bytes"),
        (empty, "0 bytes are 0.00 records"),
        (relabel, "record 1 has label 10; needed are 0 to 9"),
    ],
)
def test_damaged_file(ten, damage, reason):
    folder, _, _ = ten
    damage(folder / "data_batch_1.bin")
    with pytest.raises(DataError) as error:
        data.load("cifar10")
    text = one_line(error)
    assert str(folder / "data_batch_1.bin") in text
    assert reason in text
    assert "unpack https://" in text


@pytest.mark.parametrize(
    ("damage", "reason"), [(Path.unlink, "cannot be read (No such file or directory)"), (into_folder, "")]
)
def test_missing_file(ten, damage, reason):
    folder, _, _ = ten
    damage(folder / "test_batch.bin")
    with pytest.raises(DataError) as error:
        data.load("cifar10")
    text = one_line(error)
    assert f"{folder / 'test_batch.bin'}: {reason}" in text
    assert "unpack https://" in text


def test_label_out_of_range_of_the_coarse_ones_only(hundred):
    content, _ = records([[20, 5]], 3)
    (hundred / "test.bin").write_bytes(content)
    assert data.load("cifar100").y_test.tolist() == [5]
    with pytest.raises(DataError, match="record 0 has label 20; needed are 0 to 19"):
        data.load("cifar100-coarse")


def test_file_that_shrinks_while_it_is_read(ten, monkeypatch):
    monkeypatch.setattr(cifar, "_count", lambda archive, path: 8)
    with pytest.raises(DataError, match="became shorter while it was read"):
        data.load("cifar10")


def test_real_files():
    given = os.environ.get("FASIM_DATA", "")
    if not given or not (Path(given) / "cifar10").is_dir():
        pytest.skip("FASIM_DATA is not set or holds no cifar10")
    task = data.load("cifar10")
    assert np.bincount(task.y_train).tolist() == [5000] * 10
    assert np.bincount(task.y_test).tolist() == [1000] * 10
    assert task.note in ("", "unofficial copy: CIFAR-10 (JPEG)")
    standard = data.standardise(task, "channel")
    # Published: means 125.3, 123.0, 113.9 and deviations 63.0, 62.1, 66.7; JPEG takes a little off the deviations.
    mean, std = -standard.offset[:3] / standard.gain[:3], 1 / standard.gain[:3]
    np.testing.assert_allclose(mean, [125.3, 123.0, 113.9], atol=0.1)
    np.testing.assert_allclose(std, [63.0, 62.1, 66.7], atol=0.5)
