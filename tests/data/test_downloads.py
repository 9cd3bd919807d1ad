"""Downloads from a local server: mirrors, limits, damaged files."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fasim import data
from fasim.data import fetch
from fasim.errors import DataError
from tests.data.helpers import SHAPES, idx_bytes, one_line, serving, sha256


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
