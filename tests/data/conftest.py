"""Small data sets in the official layout, in FASIM_DATA or in a cache."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from fasim.data import fetch
from tests.data.helpers import SHAPES, idx_bytes, sha256


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


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder, and no FASIM_DATA and no proxy."""
    place = tmp_path / "cache"
    monkeypatch.delenv("FASIM_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetch, "cache_folder", lambda: place)
    return place
