"""Tiny ImageNet in small files of the official layout."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from fasim import data
from fasim.data import tiny_imagenet
from fasim.errors import DataError
from tests.data.helpers import one_line

WNIDS = ["n02000002", "n01000001", "n03000003"]  # as officially, not sorted
COUNTS = [3, 2, 4]


def smooth(seed, channels=3):
    """An image (64, 64, C) that JPEG keeps nearly as it is: a ramp in each channel."""
    rng = np.random.default_rng(seed)
    start, slope = rng.integers(0, 100, channels), rng.integers(0, 3, (2, channels))
    rows, columns = np.mgrid[:64, :64]
    return (start + slope[0] * rows[..., None] * 0.8 + slope[1] * columns[..., None] * 0.3).astype(np.uint8)


def write(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.squeeze()).save(path, "JPEG", quality=95, subsampling=0, **options)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three classes of 3, 2 and 4 images, and 4 validation images; the second image of each class is grey."""
    monkeypatch.setenv("FASIM_DATA", str(tmp_path))
    place = tmp_path / "tiny-imagenet" / "tiny-imagenet-200"
    for label, (wnid, count) in enumerate(zip(WNIDS, COUNTS, strict=True)):
        for i in range(count):
            image = smooth(10 * label + i, 1 if i == 1 else 3)
            write(place / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", image)
    (place / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    lines = []
    for i, label in enumerate([2, 0, 1, 0]):
        write(place / "val" / "images" / f"val_{i}.JPEG", smooth(100 + i))
        lines.append(f"val_{i}.JPEG\t{WNIDS[label]}\t0\t32\t44\t62")
    (place / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    return place


def test_images_and_labels(folder):
    task = data.load("tiny-imagenet")
    assert task.y_train.tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 2]
    assert task.y_test.tolist() == [2, 0, 1, 0]
    assert (task.name, task.shape, task.classes) == ("tiny-imagenet", (64, 64, 3), 3)
    assert task.x_train.dtype == task.x_test.dtype == np.uint8
    assert task.y_train.dtype == task.y_test.dtype == np.int64
    assert task.x_train.shape == (9, 12288)
    seeds = [10 * label + i for label, count in enumerate(COUNTS) for i in range(count)]
    for row, seed in zip(task.x_train, seeds, strict=True):
        wanted = np.broadcast_to(smooth(seed, 1 if seed % 10 == 1 else 3), (64, 64, 3))
        assert np.abs(row.reshape(64, 64, 3).astype(int) - wanted).max() <= 6
    for i, row in enumerate(task.x_test):
        assert np.abs(row.reshape(64, 64, 3).astype(int) - smooth(100 + i)).max() <= 6


def test_grey_has_equal_channels(folder):
    image = data.load("tiny-imagenet").x_train[1].reshape(64, 64, 3)
    np.testing.assert_array_equal(image[..., 0], image[..., 1])
    np.testing.assert_array_equal(image[..., 0], image[..., 2])


def test_note_says_that_it_is_not_verified_and_not_whole(folder, monkeypatch):
    note = data.load("tiny-imagenet").note
    assert note.startswith("unverified data")
    assert "3 of 200 classes, 9 of 100000 training and 4 of 10000 test images" in note
    monkeypatch.setattr(tiny_imagenet, "OFFICIAL", (3, 9, 4))
    assert data.load("tiny-imagenet").note == tiny_imagenet.UNVERIFIED


def test_folder_is_found_directly(folder):
    shutil.move(folder, folder.parents[1] / "tiny-imagenet-200")
    assert len(data.load("tiny-imagenet").x_test) == 4


def test_absent_says_what_to_download(tmp_path, monkeypatch):
    monkeypatch.setenv("FASIM_DATA", str(tmp_path))
    with pytest.raises(DataError) as error:
        data.load("tiny-imagenet")
    text = one_line(error)
    assert "tiny-imagenet/tiny-imagenet-200/wnids.txt" in text
    assert "download http://cs231n.stanford.edu/tiny-imagenet-200.zip" in text


def image_of(folder):
    return folder / "train" / WNIDS[0] / "images" / f"{WNIDS[0]}_0.JPEG"


def cut_image(folder):
    path = image_of(folder)
    path.write_bytes(path.read_bytes()[:-20])


def cut_header(folder):
    path = image_of(folder)
    path.write_bytes(path.read_bytes()[:100])


def small_image(folder):
    write(image_of(folder), smooth(1)[:32])


def png_image(folder):
    Image.fromarray(smooth(1)).save(image_of(folder), "PNG")


def no_image(folder):
    image_of(folder).write_bytes(b"")


def no_class(folder):
    shutil.rmtree(folder / "train" / WNIDS[1])


def no_validation_image(folder):
    (folder / "val" / "images" / "val_2.JPEG").unlink()


def no_annotations(folder):
    (folder / "val" / "val_annotations.txt").unlink()


def annotate(text):
    def change(folder):
        (folder / "val" / "val_annotations.txt").write_text(text)

    return change


def list_classes(content):
    def change(folder):
        (folder / "wnids.txt").write_bytes(content)

    return change


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        (cut_image, ("n02000002_0.JPEG: not a whole JPEG file (", "truncated")),
        (cut_header, ("n02000002_0.JPEG: not a whole JPEG file (",)),
        (small_image, ("n02000002_0.JPEG: an image of 64 x 32; needed: 64 x 64",)),
        (png_image, ("n02000002_0.JPEG: not a whole JPEG file (cannot identify image file)",)),
        (no_image, ("n02000002_0.JPEG: not a whole JPEG file",)),
        (no_class, ("n01000001", "no *.JPEG there")),
        (no_validation_image, ("val_2.JPEG: there is no such file",)),
        (no_annotations, ("val_annotations.txt: cannot be read (No such file or directory)",)),
        (annotate("val_0.JPEG\tn09999999\t0\n"), ("line 1 is 'val_0.JPEG\\tn09999999\\t0'", "a class of wnids.txt")),
        (annotate("val_0.JPEG n01000001\n"), ("line 1 is",)),
        (annotate("../up.JPEG\tn01000001\t0\n"), ("line 1 is",)),
        (annotate(""), ("val_annotations.txt: no lines",)),
        (list_classes(b"n01000001\n../../home\n"), ("wnids.txt: has '../../home'",)),
        (list_classes(b"n01000001\nn01000001\n"), ("has 2 classes, 1 different",)),
        (list_classes(b"n01000001\n"), ("has 1 classes",)),
        (list_classes(b"n0100000\xff\n"), ("wnids.txt: cannot be read (not ASCII)",)),
    ],
)
def test_damage(folder, damage, parts):
    damage(folder)
    with pytest.raises(DataError) as error:
        data.load("tiny-imagenet")
    text = one_line(error)
    for part in parts:
        assert part in text
    assert text.endswith("unpack http://cs231n.stanford.edu/tiny-imagenet-200.zip again")
