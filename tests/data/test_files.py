"""Files at hand: verification, known variants, and the official files where they are."""

from __future__ import annotations

import gzip
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fasim import data
from fasim.data import fetch
from fasim.errors import DataError
from tests.data.helpers import SHAPES, idx_bytes, one_line, serving, sha256


def test_load_from_given_folder(folder, contents):
    task = data.load("tiny")
    assert (task.name, task.shape, task.classes, task.note) == ("tiny", (4, 3, 1), 10, "")
    assert task.x_train.shape == (6, 12)
    assert task.x_test.shape == (5, 12)
    assert task.x_train.tobytes() == contents["train-images-idx3-ubyte"][16:]
    assert task.y_test.astype(np.uint8).tobytes() == contents["t10k-labels-idx1-ubyte"][8:]
    assert task.x_train.flags.c_contiguous
    assert task.y_train.dtype == task.y_test.dtype == np.int64


def test_load_raw_files(folder, contents):
    zipped = data.load("tiny")
    for stem, content in contents.items():
        (folder / f"{stem}.gz").unlink()
        (folder / stem).write_bytes(content)
    raw = data.load("tiny")
    np.testing.assert_array_equal(raw.x_train, zipped.x_train)
    np.testing.assert_array_equal(raw.y_test, zipped.y_test)
    assert raw.note == ""


def test_load_only_reads_the_given_folder(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.parent.rglob("*")}
    os.chmod(folder, 0o555)
    try:
        data.load("tiny")
    finally:
        os.chmod(folder, 0o755)
    assert {path: path.stat().st_mtime_ns for path in folder.parent.rglob("*")} == before


def test_absent_file_in_given_folder_is_not_downloaded(folder, archive, monkeypatch):
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with serving({}) as (address, asked):
        mirrored = replace(archive, mirrors=(f"{address}/",))
        monkeypatch.setitem(fetch.ARCHIVES, "tiny", mirrored)
        with pytest.raises(DataError) as error:
            data.load("tiny")
    text = one_line(error)
    assert f"FASIM_DATA={folder.parent} holds no tiny/t10k-labels-idx1-ubyte" in text
    assert "unset FASIM_DATA" in text
    assert asked == []


def test_foreign_file_is_refused_and_says_what_was_expected(folder, archive):
    stem = "train-labels-idx1-ubyte"
    foreign = idx_bytes(np.array([9, 8, 7, 6, 5, 4]))
    (folder / f"{stem}.gz").write_bytes(gzip.compress(foreign))
    with pytest.raises(DataError) as error:
        data.load("tiny")
    text = one_line(error)
    assert f"{folder / stem}.gz" in text
    assert sha256(foreign) in text
    assert f"expected {archive.sha256[stem]}" in text
    assert "--allow-unverified-data" in text
    task = data.load("tiny", allow_unverified=True)
    assert task.note == "unverified data"
    assert task.y_train.tolist() == [9, 8, 7, 6, 5, 4]


def test_known_variant_is_named(folder, archive, monkeypatch):
    stem = "train-labels-idx1-ubyte"
    variant = idx_bytes(np.array([9, 8, 7, 6, 5, 4]))
    (folder / f"{stem}.gz").write_bytes(gzip.compress(variant))
    known = replace(archive, variants={sha256(variant): "tiny (relabelled)"})
    monkeypatch.setitem(fetch.ARCHIVES, "tiny", known)
    assert data.load("tiny").note == "tiny (relabelled)"
    other = idx_bytes(np.array([1, 2, 3, 4, 5]))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(other))
    task = data.load("tiny", allow_unverified=True)
    assert task.note == "tiny (relabelled); unverified data"


@pytest.mark.parametrize(
    ("stem", "array", "reason"),
    [
        ("train-labels-idx1-ubyte", np.zeros(7), "images have shape (6, 4, 3) and labels (7,)"),
        ("train-labels-idx1-ubyte", np.zeros((6, 1)), "labels (6, 1)"),
        ("t10k-images-idx3-ubyte", np.zeros((5, 12)), "images have shape (5, 12)"),
        ("t10k-images-idx3-ubyte", np.zeros((5, 4, 4)), "train images are (4, 3)"),
        ("t10k-labels-idx1-ubyte", np.array([0, 1, 2, 10, 1]), "labels reach 10"),
    ],
)
def test_unverified_files_must_still_fit_together(folder, stem, array, reason):
    (folder / f"{stem}.gz").write_bytes(gzip.compress(idx_bytes(array)))
    with pytest.raises(DataError) as error:
        data.load("tiny", allow_unverified=True)
    assert reason in one_line(error)


def test_verification_by_the_gz_file(folder, archive, monkeypatch):
    hashes = {stem: sha256((folder / f"{stem}.gz").read_bytes()) for stem in SHAPES}
    monkeypatch.setitem(fetch.ARCHIVES, "tiny", replace(archive, sha256=hashes, hashed="gz"))
    assert data.load("tiny").note == ""
    stem = "train-images-idx3-ubyte"
    content = gzip.decompress((folder / f"{stem}.gz").read_bytes())
    (folder / f"{stem}.gz").write_bytes(gzip.compress(content, compresslevel=0))
    with pytest.raises(DataError, match=f"SHA-256 of the .gz file is .*expected {hashes[stem]}"):
        data.load("tiny")
    (folder / f"{stem}.gz").unlink()
    (folder / stem).write_bytes(content)
    with pytest.raises(DataError, match="can be verified only by its official .gz file"):
        data.load("tiny")
    assert data.load("tiny", allow_unverified=True).note == "unverified data"


def test_every_archive_states_a_hash_of_every_file():
    for name, known in fetch.ARCHIVES.items():
        assert known.name == name
        assert tuple(known.sha256) == fetch.STEMS
        assert len(known.mirrors) >= 2
        assert all(mirror.endswith("/") for mirror in known.mirrors)
        hashes = [*known.sha256.values(), *known.variants]
        assert all(len(digest) == 64 and int(digest, 16) for digest in hashes)
        assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_official_files(name):
    given = os.environ.get("FASIM_DATA", "")
    if not given or not (Path(given) / name).is_dir():
        pytest.skip(f"FASIM_DATA is not set or holds no {name}")
    task = data.load(name)
    assert task.x_train.shape == (60000, 784)
    assert task.x_test.shape == (10000, 784)
    assert (task.shape, task.classes, task.note) == ((28, 28, 1), 10, "")
    assert sorted(set(task.y_train.tolist())) == list(range(10))
    assert len(task.y_train) == 60000
    assert len(task.y_test) == 10000
