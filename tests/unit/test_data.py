"""Data sets: codes, splits, verification, downloads, refusals."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import os
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fasim import data
from fasim.data import digits, fetch, idx, npz
from fasim.errors import ConfigError, DataError

SHAPES = {
    "train-images-idx3-ubyte": (6, 4, 3),
    "train-labels-idx1-ubyte": (6,),
    "t10k-images-idx3-ubyte": (5, 4, 3),
    "t10k-labels-idx1-ubyte": (5,),
}


def idx_bytes(array, dims=None):
    dims = array.shape if dims is None else dims
    header = bytes([0, 0, 8, len(dims)]) + b"".join(d.to_bytes(4, "big") for d in dims)
    return header + array.astype(np.uint8).tobytes()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def contents():
    """Four small files in the official layout, unzipped."""
    rng = np.random.default_rng(5)
    return {stem: idx_bytes(rng.integers(0, 10 if len(shape) == 1 else 256, shape)) for stem, shape in SHAPES.items()}


@pytest.fixture
def archive(contents):
    """A data set that consists of `contents`, without a mirror."""
    hashes = {stem: sha256(content) for stem, content in contents.items()}
    return fetch.Archive(name="tiny", classes=10, mirrors=(), sha256=hashes)


@pytest.fixture
def folder(tmp_path, monkeypatch, contents, archive):
    """FASIM_DATA with the files of `archive`, gzipped, and `archive` known as "tiny"."""
    place = tmp_path / "given" / "tiny"
    place.mkdir(parents=True)
    for stem, content in contents.items():
        (place / f"{stem}.gz").write_bytes(gzip.compress(content))
    monkeypatch.setenv("FASIM_DATA", str(place.parent))
    monkeypatch.setitem(fetch.ARCHIVES, "tiny", archive)
    return place


@contextmanager
def serving(pages, lie_by=0):
    """Serve path -> bytes on 127.0.0.1; `lie_by` bytes more are announced than sent."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if self.path not in pages:
                self.send_error(404)
                return
            body = pages[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body) + lie_by))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder, and no FASIM_DATA and no proxy."""
    place = tmp_path / "cache"
    monkeypatch.delenv("FASIM_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetch, "cache_folder", lambda: place)
    return place


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    return text


# --- names


def test_names():
    assert data.names() == ("digits", "fashion-mnist", "mnist")


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ConfigError) as error:
        data.load("fashion-mnits")
    text = one_line(error)
    assert "digits, fashion-mnist, mnist" in text
    assert "did you mean 'fashion-mnist'" in text
    assert ".npz" in text


# --- digits


def test_digits_shape_and_type():
    task = data.load("digits")
    assert task.x_train.shape == (1437, 64)
    assert task.x_test.shape == (360, 64)
    assert task.y_train.shape == (1437,)
    assert task.y_test.shape == (360,)
    for x in (task.x_train, task.x_test):
        assert x.dtype == np.uint8
        assert x.flags.c_contiguous
    assert task.y_train.dtype == task.y_test.dtype == np.int64
    assert (task.name, task.shape, task.classes, task.note) == ("digits", (8, 8, 1), 10, "")
    assert task.scale == 1 / 256


def test_digits_are_those_of_scikit_learn_once_each():
    from sklearn.datasets import load_digits

    grey, labels = load_digits(return_X_y=True)
    task = data.load("digits")
    codes = np.concatenate([task.x_train, task.x_test])
    order = digits.permutation(1797)
    # The codes of 0, 8, 16: 0, 127.5 (ties to even) and 255.
    assert codes[grey[order] == 0].max() == 0
    assert set(codes[grey[order] == 8]) == {128}
    assert set(codes[grey[order] == 16]) == {255}
    assert np.abs(codes - grey[order] * 15.9375).max() <= 0.5
    np.testing.assert_array_equal(np.concatenate([task.y_train, task.y_test]), labels[order])


def test_digits_split_never_changes():
    np.random.seed(1)
    first = data.load("digits")
    np.random.seed(2)
    second = data.load("digits")
    np.testing.assert_array_equal(first.x_test, second.x_test)
    order = digits.permutation(1797)
    assert sorted(order) == list(range(1797))
    # Fixed here: another split makes every published accuracy another number.
    assert order[:5].tolist() == [360, 1773, 1482, 600, 850]
    assert sha256(order.astype("<i8").tobytes())[:16] == "14b7f6bc58ce844e"


# --- IDX


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("dims", [(3,), (2, 3), (2, 3, 4), (2, 3, 4, 5)])
def test_idx_reads_raw_and_zipped_by_content(tmp_path, zipped, dims):
    array = np.random.default_rng(0).integers(0, 256, dims)
    content = idx_bytes(array)
    stored = gzip.compress(content) if zipped else content
    path = tmp_path / "name-says-nothing.gz"
    path.write_bytes(stored)
    file = idx.read(path)
    np.testing.assert_array_equal(file.array, array)
    assert file.array.dtype == np.uint8
    assert file.array.flags.writeable
    assert file.zipped is zipped
    assert file.content_sha256 == sha256(content)
    assert file.file_sha256 == sha256(stored)


CUBE = np.arange(24).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "begins with nothing", id="empty"),
        pytest.param(b"\0\0\x08", "begins with 00 00 08;", id="three bytes"),
        pytest.param(b"\x89PNG....", "begins with 89 50 4e 47", id="foreign"),
        pytest.param(b"\0\0\x0d\x01" + bytes(8), "begins with 00 00 0d 01", id="floats"),
        pytest.param(b"\0\0\x08\0", "begins with 00 00 08 00", id="no axes"),
        pytest.param(b"\0\0\x08\xff" + bytes(2000), "begins with 00 00 08 ff", id="255 axes"),
        pytest.param(idx_bytes(CUBE)[:10], "ends inside its header of 16 bytes", id="header"),
        pytest.param(idx_bytes(CUBE, (0, 3, 4)), "holds no values", id="no samples"),
        pytest.param(idx_bytes(CUBE)[:-1], "needs 40 bytes", id="one byte short"),
        pytest.param(idx_bytes(CUBE) + b"x", "needs 40 bytes", id="one byte long"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_idx_refuses(tmp_path, content, reason, zipped):
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(DataError) as error:
        idx.read(path)
    text = one_line(error)
    assert reason in text
    assert str(path) in text
    assert "official file" in text or "fetch it again" in text


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_lying_header_allocates_nothing(tmp_path, zipped):
    import tracemalloc

    lie = idx_bytes(CUBE, (2**32 - 1, 2**32 - 1, 2**32 - 1))
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(lie) if zipped else lie)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=f"needs {16 + (2**32 - 1) ** 3} bytes") as error:
            idx.read(path)
        # Seen from the length of the file alone, not after reading it.
        assert ("it cannot unzip to over" if zipped else "the file holds 40") in one_line(error)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_idx_gzip_bomb_stops_at_the_claimed_size(tmp_path):
    import tracemalloc

    path = tmp_path / "file"
    path.write_bytes(gzip.compress(idx_bytes(CUBE) + bytes(64 << 20)))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="needs 40 bytes and there are over 40"):
            idx.read(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_idx_longer_by_less_than_a_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(idx, "CHUNK", CUBE.size)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(idx_bytes(CUBE)))
    np.testing.assert_array_equal(idx.read(path).array, CUBE)
    path.write_bytes(gzip.compress(idx_bytes(CUBE) + b"x"))
    with pytest.raises(DataError, match="there are over 40"):
        idx.read(path)


@pytest.mark.parametrize("cut", [3, 11, -12, -1])
def test_idx_truncated_gzip(tmp_path, cut):
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(idx_bytes(CUBE))[:cut])
    with pytest.raises(DataError, match="truncated or damaged gzip"):
        idx.read(path)


def test_idx_damaged_gzip(tmp_path):
    stored = bytearray(gzip.compress(idx_bytes(CUBE)))
    stored[-6] ^= 1  # in the checksum
    path = tmp_path / "file"
    path.write_bytes(stored)
    with pytest.raises(DataError, match="truncated or damaged gzip"):
        idx.read(path)


def test_idx_absent_file_and_folder(tmp_path):
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            idx.read(path)


# --- files at hand


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


# --- downloads


def test_download_once_into_the_cache(cache, archive, contents, monkeypatch):
    pages = {f"/good/{stem}.gz": gzip.compress(content) for stem, content in contents.items()}
    with serving(pages) as (address, asked):
        mirrored = replace(archive, mirrors=(f"{address}/absent/", f"{address}/good/"))
        monkeypatch.setitem(fetch.ARCHIVES, "tiny", mirrored)
        first = data.load("tiny")
        count = len(asked)
        second = data.load("tiny")
        assert len(asked) == count == 8
    np.testing.assert_array_equal(first.x_train, second.x_train)
    assert first.x_train.tobytes() == contents["train-images-idx3-ubyte"][16:]
    assert first.note == ""
    assert sorted(p.name for p in (cache / "tiny").iterdir()) == sorted(f"{s}.gz" for s in SHAPES)


def test_empty_variable_means_the_cache(cache, archive, contents, monkeypatch):
    monkeypatch.setenv("FASIM_DATA", "")
    (cache / "tiny").mkdir(parents=True)
    stem = "t10k-labels-idx1-ubyte"
    (cache / "tiny" / stem).write_bytes(contents[stem])
    assert fetch.find(archive, stem) == cache / "tiny" / stem


STEM = "train-images-idx3-ubyte"


def test_next_mirror_after_a_bad_one(cache, archive, contents):
    good = gzip.compress(contents[STEM])
    foreign = gzip.compress(idx_bytes(np.ones((6, 4, 3))))
    pages = {
        f"/foreign/{STEM}.gz": foreign,
        f"/html/{STEM}.gz": b"<html>moved</html>",
        f"/cut/{STEM}.gz": good[:-20],
        f"/good/{STEM}.gz": good,
    }
    with serving(pages) as (address, asked):
        kinds = ("foreign", "html", "cut", "good", "never-asked")
        mirrored = replace(archive, mirrors=tuple(f"{address}/{kind}/" for kind in kinds))
        path = fetch.find(mirrored, STEM)
    assert asked == [f"/{kind}/{STEM}.gz" for kind in kinds[:4]]
    assert path.read_bytes() == good
    assert list((cache / "tiny").iterdir()) == [path]


def test_no_mirror_works_says_how_each_failed(cache, archive, contents):
    good = gzip.compress(contents[STEM])
    foreign = idx_bytes(np.ones((6, 4, 3)))
    pages = {
        f"/foreign/{STEM}.gz": gzip.compress(foreign),
        f"/html/{STEM}.gz": b"<html>moved</html>",
        f"/cut/{STEM}.gz": good[:-20],
    }
    with serving(pages) as (address, _):
        kinds = ("absent", "foreign", "html", "cut")
        mirrored = replace(archive, mirrors=tuple(f"{address}/{kind}/" for kind in kinds))
        with pytest.raises(DataError) as error:
            fetch.find(mirrored, STEM)
    text = one_line(error)
    assert "404" in text
    assert f"/foreign/{STEM}.gz: SHA-256 of the unzipped content is {sha256(foreign)}" in text
    assert f"expected {archive.sha256[STEM]}" in text
    assert f"/html/{STEM}.gz: begins with 3c 68 74 6d" in text
    assert f"/cut/{STEM}.gz: truncated or damaged gzip" in text
    assert f"set FASIM_DATA to a folder that holds tiny/{STEM}.gz" in text
    assert list((cache / "tiny").iterdir()) == []


def test_download_is_never_unverified(cache, archive):
    pages = {f"/{STEM}.gz": gzip.compress(idx_bytes(np.ones((6, 4, 3))))}
    with serving(pages) as (address, _):
        mirrored = replace(archive, mirrors=(f"{address}/",))
        with pytest.raises(DataError, match="SHA-256 of the unzipped content"):
            fetch.read(mirrored, STEM, allow_unverified=True)


def test_connection_that_breaks_off(cache, archive, contents):
    pages = {f"/{STEM}.gz": gzip.compress(contents[STEM])}
    with serving(pages, lie_by=100) as (address, _):
        mirrored = replace(archive, mirrors=(f"{address}/",))
        with pytest.raises(DataError, match="could not be downloaded from any mirror") as error:
            fetch.find(mirrored, STEM)
    assert "IncompleteRead" in one_line(error)
    assert list((cache / "tiny").iterdir()) == []


def test_mirror_that_cannot_be_reached(cache, archive):
    with serving({}) as (address, _):
        pass  # the port is closed from here on
    with pytest.raises(DataError) as error:
        fetch.find(replace(archive, mirrors=(f"{address}/",)), STEM)
    text = one_line(error)
    assert "Connection refused" in text
    assert "Max retries" not in text


def test_download_stops_at_a_limit(cache, archive, monkeypatch):
    monkeypatch.setattr(fetch, "MAX_DOWNLOAD_BYTES", 5000)
    with serving({f"/{STEM}.gz": bytes(9000)}) as (address, _):
        mirrored = replace(archive, mirrors=(f"{address}/",))
        with pytest.raises(DataError, match="sends more than 5000 bytes"):
            fetch.find(mirrored, STEM)
    assert list((cache / "tiny").iterdir()) == []


def test_cache_that_cannot_be_written(cache, archive):
    cache.write_text("a file where the folder should be")
    with pytest.raises(DataError, match="cache folder cannot be written") as error:
        fetch.find(replace(archive, mirrors=("http://127.0.0.1:1/",)), STEM)
    assert "set FASIM_DATA" in one_line(error)


def test_damaged_file_of_the_cache_is_refused(cache, archive, contents):
    (cache / "tiny").mkdir(parents=True)
    (cache / "tiny" / f"{STEM}.gz").write_bytes(gzip.compress(contents[STEM])[:-9])
    with pytest.raises(DataError, match="truncated or damaged gzip"):
        fetch.read(archive, STEM)


def test_cache_folder_is_the_users(monkeypatch, tmp_path):
    import pooch

    assert fetch.cache_folder() == Path(pooch.os_cache("fasim"))


# --- npz


def arrays(**changes):
    rng = np.random.default_rng(3)
    content = {
        "x_train": rng.integers(0, 256, (7, 6), dtype=np.uint8),
        "y_train": np.array([0, 1, 2, 0, 1, 2, 0]),
        "x_test": rng.integers(0, 256, (4, 6), dtype=np.uint8),
        "y_test": np.array([2, 1, 0, 0]),
    }
    return {key: value for key, value in (content | changes).items() if value is not None}


def saved(tmp_path, **changes):
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays(**changes))
    return path


@pytest.mark.parametrize("as_text", [False, True])
def test_npz_codes_are_kept(tmp_path, as_text):
    path = saved(tmp_path)
    task = data.load(str(path) if as_text else path)
    np.testing.assert_array_equal(task.x_train, arrays()["x_train"])
    np.testing.assert_array_equal(task.x_test, arrays()["x_test"])
    np.testing.assert_array_equal(task.y_test, arrays()["y_test"])
    assert task.y_train.dtype == np.int64
    assert (task.name, task.shape, task.classes, task.note) == ("mine.npz", (6,), 3, "")


def test_npz_compressed_and_fortran_order(tmp_path):
    path = tmp_path / "mine.npz"
    x = np.asfortranarray(arrays()["x_train"])
    np.savez_compressed(path, **arrays(x_train=x))
    task = data.load(path)
    np.testing.assert_array_equal(task.x_train, x)
    assert task.x_train.flags.c_contiguous


@pytest.mark.parametrize(("axes", "shape"), [((6,), (6,)), ((2, 3), (2, 3, 1)), ((1, 2, 3), (1, 2, 3))])
def test_npz_image_shape(tmp_path, axes, shape):
    x = {key: arrays()[key].reshape(-1, *axes) for key in ("x_train", "x_test")}
    task = data.load(saved(tmp_path, **x))
    assert task.shape == shape
    np.testing.assert_array_equal(task.x_train, arrays()["x_train"])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_npz_floats_are_coded(tmp_path, dtype):
    values = np.array([0, 1 / 512, 3 / 512, 0.5, 255 / 256, 1.0]) * np.ones((7, 1))
    x = values.astype(dtype)
    task = data.load(saved(tmp_path, x_train=x, x_test=x[:4]))
    # Ties to even: 0.5 -> 0 and 1.5 -> 2; 256 does not fit and becomes 255.
    assert task.x_train[3].tolist() == [0, 0, 2, 128, 255, 255]
    assert "floats coded" in task.note


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.uint64, ">i2"])
def test_npz_label_types(tmp_path, dtype):
    y = {key: arrays()[key].astype(dtype) for key in ("y_train", "y_test")}
    task = data.load(saved(tmp_path, **y))
    assert task.y_train.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert task.y_train.dtype == np.int64


FLOATS = np.linspace(0, 1, 42).reshape(7, 6)


def with_value(value):
    x = FLOATS.copy()
    x[3, 3] = value
    return {"x_train": x, "x_test": FLOATS[:4]}


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        pytest.param({"x_test": None}, ("lacks x_test", "holds x_train, y_train, y_test"), id="key"),
        pytest.param(with_value(np.nan), ("x_train has NaN",), id="nan"),
        pytest.param(with_value(np.inf), ("x_train has NaN or infinite",), id="inf"),
        pytest.param(with_value(-0.25), ("x_train has values from -0.25 to 1",), id="below"),
        pytest.param(with_value(1.5), ("x_train has values from 0 to 1.5",), id="above"),
        pytest.param({"x_train": FLOATS}, ("x_test has dtype uint8", "float64"), id="mixed"),
        pytest.param(
            {"x_train": np.zeros((7, 6), int), "x_test": np.zeros((4, 6), int)},
            ("x_train has dtype int64", "uint8"),
            id="int64 codes",
        ),
        pytest.param({"x_train": np.zeros(7, np.uint8)}, ("x_train has shape (7,)",), id="1-d"),
        pytest.param(
            {"x_train": np.zeros((7, 1, 1, 2, 3), np.uint8)},
            ("x_train has shape (7, 1, 1, 2, 3)",),
            id="5-d",
        ),
        pytest.param({"x_train": np.uint8(3)}, ("x_train has shape ()",), id="0-d"),
        pytest.param(
            {"x_train": np.zeros((0, 6), np.uint8), "y_train": np.zeros(0, int)},
            ("y_train has no labels",),
            id="empty train",
        ),
        pytest.param({"x_test": np.zeros((0, 6), np.uint8)}, ("x_test has shape (0, 6)",), id="empty x"),
        pytest.param({"x_train": np.zeros((7, 0), np.uint8)}, ("x_train has shape (7, 0)",), id="no inputs"),
        pytest.param({"y_train": np.array([0, 1, 2])}, ("y_train has 3 labels", "7 samples"), id="short y"),
        pytest.param({"y_test": np.array([0, 1, 2])}, ("y_test has 3 labels", "4 samples"), id="short y test"),
        pytest.param({"x_test": np.zeros((4, 5), np.uint8)}, ("(5,)", "(6,)"), id="other inputs"),
        pytest.param({"x_test": np.zeros((4, 2, 3), np.uint8)}, ("(2, 3)", "(6,)"), id="other shape"),
        pytest.param({"y_train": np.zeros(7)}, ("y_train has dtype float64", "integers"), id="float y"),
        pytest.param({"y_train": np.zeros(7, bool)}, ("y_train has dtype bool",), id="bool y"),
        pytest.param({"y_train": np.eye(7, dtype=int)}, ("y_train has shape (7, 7)",), id="one-hot"),
        pytest.param({"y_test": np.array([0, 1, -1, 2])}, ("from -1 to 2",), id="negative"),
        pytest.param({"y_test": np.array([0, 2**63, 1, 2], np.uint64)}, (f"to {2**63}",), id="huge label"),
        pytest.param({"y_test": np.array([0, 1, 2, 5])}, ("label 5, which y_train never shows",), id="unseen"),
        pytest.param(
            {"y_train": np.zeros(7, int), "y_test": np.zeros(4, int)},
            ("y_train has label 0 only",),
            id="one class",
        ),
        pytest.param({"y_train": np.array([None] * 7)}, ("y_train has dtype object", "pickled"), id="object"),
        pytest.param({"x_test": np.zeros(4, [("a", "u1")])}, ("x_test has dtype", "structured"), id="struct"),
    ],
)
def test_npz_refuses(tmp_path, changes, parts):
    path = saved(tmp_path, **changes)
    with pytest.raises(DataError) as error:
        data.load(path)
    text = one_line(error)
    assert str(path) in text
    for part in parts:
        assert part in text
    assert text.count(";") >= 2 or "save them" in text, "says what is needed and what to do"


def test_npz_absent(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        data.load(tmp_path / "absent.npz")


def test_npz_folder(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        data.load(tmp_path / "folder.npz")


@pytest.mark.parametrize("size", [0, 100, -30, -400])
def test_npz_truncated(tmp_path, size):
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match="not a whole .npz file"):
        data.load(path)


def test_npz_that_is_a_single_array(tmp_path):
    path = tmp_path / "mine.npz"
    with path.open("wb") as file:
        np.save(file, np.zeros((3, 3)))
    with pytest.raises(DataError, match="not a whole .npz file"):
        data.load(path)


def member_bytes(array, header_shape):
    """An .npy whose header claims `header_shape`."""
    import io

    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": header_shape})
    return buffer.getvalue() + array.tobytes()


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        pytest.param(member_bytes(np.zeros(42, np.uint8), (7, 6)), None, id="honest"),
        pytest.param(member_bytes(np.zeros(42, np.uint8), (2**40, 2**20)), "a header of", id="lying header"),
        pytest.param(member_bytes(np.zeros(41, np.uint8), (7, 6)), "a header of", id="one byte short"),
        pytest.param(b"no npy at all", "is not a whole array", id="no npy"),
        pytest.param(b"", "is not a whole array", id="empty member"),
        pytest.param(b"\x93NUMPY\x03\x00" + bytes(200), "npy version", id="version 3"),
    ],
)
def test_npz_damaged_member(tmp_path, member, reason):
    path = saved(tmp_path, x_train=None)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("x_train.npy", member)
    if reason is None:
        assert data.load(path).x_train.shape == (7, 6)
        return
    with pytest.raises(DataError) as error:
        data.load(path)
    text = one_line(error)
    assert "x_train" in text
    assert reason in text


def test_npz_content_that_fails_its_checksum(tmp_path):
    path = saved(tmp_path)
    raw = bytearray(path.read_bytes())
    at = raw.find(arrays()["x_train"].tobytes())
    raw[at] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match="not a whole .npz file"):
        npz.read(path)


# --- the real files, where they are


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
