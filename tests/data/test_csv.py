"""Data of the user's own in a csv file."""

from __future__ import annotations

import numpy as np
import pytest

from fasim import data
from fasim.data import csv
from fasim.data.digits import permutation
from fasim.errors import DataError
from tests.data.helpers import one_line

ROWS = np.array([[i, -i / 4, 10.0**-i] for i in range(10)])
LABELS = [3, 7, 3, 3, 7, 7, 3, 7, 3, 7]


def text(labels=LABELS, header=""):
    lines = [
        ",".join([*(repr(float(value)) for value in row), str(label)]) for row, label in zip(ROWS, labels, strict=True)
    ]
    return header + "\n".join(lines) + "\n"


@pytest.fixture
def saved(tmp_path):
    def save(content):
        path = tmp_path / "mine.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return save


def whole(task):
    """Samples and labels of both sets in the order of the file."""
    x = np.concatenate([task.x_train, task.x_test])
    y = np.concatenate([task.y_train, task.y_test])
    back = np.argsort(permutation(len(y)))
    return x[back], y[back]


@pytest.mark.parametrize("fields", [1, 9, 1 << 18])
def test_numbers_and_labels(saved, monkeypatch, fields):
    monkeypatch.setattr(csv, "BLOCK_FIELDS", fields)  # blocks of 1, of 3 and of all lines
    task = data.load(saved(text()))
    x, y = whole(task)
    np.testing.assert_array_equal(x, ROWS.astype(np.float32))
    assert y.tolist() == [LABELS[i] // 7 for i in range(10)]
    assert (len(task.x_train), len(task.x_test)) == (8, 2)
    assert (task.name, task.shape, task.classes, task.note) == ("mine.csv", (3,), 2, "no header")
    assert (task.task, task.scale) == ("classification", 1.0)
    assert task.x_train.dtype == np.float32
    assert task.x_train.flags.c_contiguous
    assert task.y_train.dtype == task.y_test.dtype == np.int64
    np.testing.assert_array_equal(task.values(task.x_test), task.x_test)


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        ([10, 9, 9, 10, 9, 10, 100, 100, 9, 10], [1, 0, 0, 1, 0, 1, 2, 2, 0, 1]),  # by value, not by text
        ([-1, 1, 1, -1, 1, -1, 1, -1, 1, 1], [0, 1, 1, 0, 1, 0, 1, 0, 1, 1]),
        (["1.0", "2e0", 1, 2, "01", "+2", 1, 2, 1, 2], [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]),
        (["b", "a", " b", "B", "a", "B", "b", "a", "b", "a"], [2, 1, 2, 0, 1, 0, 2, 1, 2, 1]),
        (["b", 10, 9, "b", 9, 10, "b", 9, 10, 9], [2, 0, 1, 2, 1, 0, 2, 1, 0, 1]),  # one text: all are texts
        (['"x,1"', '"y ""z"""', '"x,1"', '"y ""z"""', '"x,1"', '"y ""z"""'] + 2 * ['"x,1"', '"y ""z"""'], 5 * [0, 1]),
    ],
)
def test_labels_are_numbered_in_sorted_order(saved, labels, wanted):
    _, y = whole(data.load(saved(text(labels))))
    assert y.tolist() == wanted


@pytest.mark.parametrize(
    ("header", "labels", "note"),
    [
        ("a,b,c,y\n", LABELS, "header: 'a, b, c, y'"),
        ("0,1,c,y\n", LABELS, "header: '0, 1, c, y'"),
        ("0,1,2,y\n", LABELS, "header: '0, 1, 2, y'"),
        ("", 5 * ["cat", "dog"], "no header"),
        ("a,b,c,y\n", 5 * ["cat", "dog"], "header: 'a, b, c, y'"),
        ("\ufeff\na,b,c,y\n", LABELS, "header: 'a, b, c, y'"),
        ('a,"b\nb",c,y\n', LABELS, "header: 'a, b\\nb, c, y'"),
        (f"{'long' * 20},b,c,y\n", LABELS, f"header: '{'long' * 10}...'"),
    ],
)
def test_header(saved, header, labels, note):
    task = data.load(saved(text(labels, header)))
    x, _ = whole(task)
    np.testing.assert_array_equal(x, ROWS.astype(np.float32))
    assert task.note == note
    assert task.classes == 2


def test_line_ends_and_empty_lines(saved):
    task = data.load(saved(text().replace("\n", "\r\n\r\n")))
    x, _ = whole(task)
    np.testing.assert_array_equal(x, ROWS.astype(np.float32))


def test_split_never_changes(saved):
    lines = [f"{i},{i % 3}" for i in range(103)]
    task = data.load(saved("\n".join(lines)))
    assert (len(task.x_train), len(task.x_test)) == (82, 21)
    order = permutation(103)
    assert task.x_train[:, 0].tolist() == order[:82].tolist()
    assert task.x_test[:, 0].tolist() == order[82:].tolist()


def test_label_of_test_samples_only_is_noted(saved):
    labels = list(LABELS)
    labels[permutation(10)[-1]] = 5
    task = data.load(saved(text(labels)))
    assert task.classes == 3
    assert task.note == "no header; no training sample of label '5'"


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        pytest.param("1,2,0\n1,x,1\n", ("line 2 has 'x' in column 2", "a number", "remove that line"), id="word"),
        pytest.param("a,b,y\n1,2,0\n1,,1\n", ("line 3 has '' in column 2",), id="gap"),
        pytest.param("1,2,0\n1,nan,1\n", ("line 2 has 'nan' in column 2",), id="nan"),
        pytest.param("1,2,0\n\n-inf,1,1\n", ("line 3 has '-inf' in column 1",), id="inf"),
        pytest.param("1,2,0\n1,1e39,1\n", ("line 2 has '1e39' in column 2", "float32"), id="too large"),
        pytest.param(f"1,2,0\n1,{'1' * 50},1\n", ("line 2 has '11111", "...' in column 2"), id="long"),
        pytest.param("1,2,0\n1,1\n", ("line 2 has 2 columns; needed: 3 as in the first line",), id="short line"),
        pytest.param("1,2,0\n1,1,2,3\n", ("line 2 has 4 columns",), id="long line"),
        pytest.param("1;2;0\n1;1;2\n", ("line 1 has one column, '1;2;0'", "separate by commas"), id="semicolons"),
        pytest.param("1,2,0\n1,1, \n", ("line 2 has no label",), id="no label"),
        pytest.param("1,2,0\n1,1,0.5\n", ("has label '0.5'", "whole numbers"), id="fraction"),
        pytest.param("1,2,cat\n1,1,nan\n", ("has label 'nan'",), id="nan label"),
        pytest.param("1,2,7\n1,1,7\n", ("has label '7' only", "two classes"), id="one class"),
        pytest.param("1,2,7\n", ("has label '7' only",), id="one sample"),
        pytest.param("", ("holds no samples",), id="empty"),
        pytest.param("a,b,y\n", ("holds no samples",), id="header only"),
        pytest.param('1,2,0\n1,"2,1\n', ("line 2 has what is no CSV (",), id="open quote"),
        pytest.param(b"1,2,0\n1,2,caf\xe9\n", ("not UTF-8 text",), id="latin-1"),
        pytest.param(b"\x89PNG\x0d\x0a\x1a\x0a\x00\x00", ("not UTF-8 text",), id="binary"),
        pytest.param(b"1,2,0\n1,\x00,1\n", ("line 2 has '\\x00' in column 2",), id="nul"),
    ],
)
def test_refuses(saved, content, parts):
    path = saved(content)
    with pytest.raises(DataError) as error:
        data.load(path)
    message = one_line(error)
    assert message.startswith(f"{path}: ")
    for part in parts:
        assert part in message


def test_bad_line_in_a_later_block(saved, monkeypatch):
    monkeypatch.setattr(csv, "BLOCK_FIELDS", 4)
    lines = [f"{i},{i % 3}" for i in range(20)]
    lines[13] = "x,1"
    with pytest.raises(DataError, match=r"line 14 has 'x' in column 1"):
        data.load(saved("\n".join(lines)))


def test_line_without_end(saved, monkeypatch):
    monkeypatch.setattr(csv, "MAX_LINE", 1000)
    with pytest.raises(DataError, match="line 2 has 1000 characters or more"):
        data.load(saved("1,2,0\n" + 5000 * "1"))


def test_quoted_field_without_end(saved):
    with pytest.raises(DataError, match="what is no CSV .*field larger than field limit"):
        data.load(saved('1,2,0\n1,2,"' + 20 * ("x" * 10000 + "\n")))


def test_too_many_labels(saved, monkeypatch):
    monkeypatch.setattr(csv, "MAX_LABEL", 4)
    assert data.load(saved("\n".join(f"1,{i % 5}" for i in range(20)))).classes == 5
    with pytest.raises(DataError, match="line 6 has label number 6; needed: 5 labels at most"):
        data.load(saved("\n".join(f"1,{i % 6}" for i in range(20))))


def test_absent_and_folder(tmp_path):
    with pytest.raises(DataError, match="there is no such file; give the path of a .csv file"):
        data.load(tmp_path / "absent.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        data.load(tmp_path / "folder.csv")
