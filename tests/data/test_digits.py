"""The digits and the names of data sets."""

from __future__ import annotations

import gzip
import subprocess
import sys

import numpy as np
import pytest

from fasim import data
from fasim.data import digits
from fasim.errors import ConfigError
from tests.data.helpers import one_line, sha256


def test_names():
    assert data.names() == (
        "cifar10",
        "cifar100",
        "cifar100-coarse",
        "digits",
        "fashion-mnist",
        "mnist",
        "synthetic-classification",
        "synthetic-regression",
        "tiny-imagenet",
    )


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ConfigError) as error:
        data.load("fashion-mnits")
    text = one_line(error)
    assert ", ".join(data.names()) in text
    assert "did you mean 'fashion-mnist'" in text
    assert ".npz or .csv" in text


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
    assert (task.task, task.gain, task.offset) == ("classification", None, None)


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


def test_digits_need_no_import_of_scikit_learn():
    code = "import sys\nfrom fasim.data import load\nload('digits')\nprint('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


OTHERS = {
    "absent": None,
    "empty": b"",
    "no archive": b"no archive",
    "other columns": gzip.compress(b"1,2,3\n4,5,6\n"),
    "no numbers": gzip.compress(b"a,b\n"),
    "other greys": gzip.compress((b"17," * 64 + b"1\n") * 2),
}


@pytest.mark.parametrize("content", OTHERS.values(), ids=OTHERS)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_digits_come_from_scikit_learn_itself_where_its_file_is_another(content, tmp_path, monkeypatch):
    expected = digits.arrays()
    path = tmp_path / "digits.csv.gz"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(digits, "FILE", path)
    asked = []
    import sklearn.datasets

    real = sklearn.datasets.load_digits
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda **given: asked.append(given) or real(**given))
    for found, wanted in zip(digits.arrays(), expected, strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
    assert len(asked) == 1
