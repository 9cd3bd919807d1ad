"""Data of the user's own in an npz file."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from fasim import data
from fasim.data import npz
from fasim.errors import DataError
from tests.data.helpers import one_line


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
