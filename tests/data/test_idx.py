"""IDX files: what is read, what is refused, bounded memory for lying headers."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from fasim.data import idx
from fasim.errors import DataError
from tests.data.helpers import idx_bytes, one_line, sha256


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
