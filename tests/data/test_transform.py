"""Standardisation of inputs and augmentation of images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fasim import data
from fasim.data import Data, transform
from fasim.errors import ConfigError
from tests.data.helpers import one_line

SHAPE = (5, 4, 3)


@pytest.fixture(params=[1 << 21, 130, 1], ids=["whole", "chunks", "rows"])
def chunk(request, monkeypatch):
    """Chunks of all samples, of two, and of one (I = 60)."""
    monkeypatch.setattr(transform, "CHUNK_NUMBERS", request.param)


def codes(count=41):
    """Channels of different mean and deviation; input 7 is constant."""
    rng = np.random.default_rng(11)
    x = rng.integers(0, (256, 100, 31), (count, 5, 4, 3)).astype(np.uint8).reshape(count, -1)
    x[:, 7] = 200
    return x


def task(x, test=None, shape=SHAPE, scale=2.0**-8):
    y = np.zeros(len(x), np.int64)
    return Data("made", x, y, x[:9] if test is None else test, y[:9], shape, 2, scale=scale)


def numbers(count=41):
    return (np.random.default_rng(12).normal(size=(count, 60)) * np.arange(60) + 1000).astype(np.float32)


def test_none_is_code_times_scale():
    made = task(codes())
    plain = data.standardise(made, "none")
    np.testing.assert_array_equal(plain.values(plain.x_train), made.x_train / 256)
    assert plain.values(plain.x_train).dtype == np.float32
    assert (plain.gain, plain.offset) == (None, None)


def test_unit_of_codes():
    made = data.standardise(task(codes()), "unit")
    values = made.values(np.arange(240, dtype=np.uint8).reshape(4, 60))
    np.testing.assert_allclose(values.ravel(), np.arange(240) / 255, rtol=2e-7)
    assert made.values(np.full((1, 60), 255, np.uint8)).max() == 1.0
    assert not np.signbit(made.offset).any()
    # Not from the samples: those of input 7 are all 200.
    assert len(set(made.gain.tolist())) == 1


def test_unit_of_numbers_is_from_the_training_set():
    x = numbers()
    low, high = x.min(), x.max()
    made = data.standardise(task(x, test=x[:9] * 2, scale=1.0), "unit")
    values = made.values(x)
    np.testing.assert_allclose([values.min(), values.max()], [0, 1], atol=1e-5)
    np.testing.assert_allclose(made.values(made.x_test), (x[:9] * 2.0 - low) / (high - low), rtol=1e-4)
    same = data.standardise(task(np.full((4, 60), 3, np.float32), scale=1.0), "unit")
    np.testing.assert_array_equal(same.values(same.x_train), np.zeros((4, 60)))


@pytest.mark.usefixtures("chunk")
def test_channel():
    x = codes()
    made = data.standardise(task(x), "channel")
    pixels = x.reshape(-1, 3).astype(np.float64)
    wanted = (pixels - pixels.mean(0)) / pixels.std(0)
    np.testing.assert_allclose(made.values(x).reshape(-1, 3), wanted, atol=2e-6)
    for part in (made.gain, made.offset):
        assert part.shape == (60,)
        assert part.dtype == np.float32
        np.testing.assert_array_equal(part.reshape(-1, 3), np.tile(part[:3], (20, 1)))


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("x", [codes(), numbers()], ids=["codes", "numbers"])
def test_pixel(x):
    made = data.standardise(task(x, scale=1.0), "pixel")
    exact = x.astype(np.float64)
    std = exact.std(0)
    constant = std == 0
    assert constant.sum() == 1  # input 7 of the codes, input 0 of the numbers
    wanted = (exact - exact.mean(0)) / np.where(constant, 1, std)
    # Near 1000 the offset of a small deviation is large, and rounds to float32.
    tolerance = 2e-6 * np.abs(exact.mean(0) / np.where(constant, 1, std)).max()
    np.testing.assert_allclose(made.values(x), wanted, atol=max(tolerance, 2e-6))
    np.testing.assert_array_equal(made.values(x)[:, constant], 0)


def test_small_deviation_beside_a_large_mean():
    """A sum of squares less the squared mean would be off here by more than the deviation."""
    x = (2.0**24 - np.arange(8).reshape(8, 1) % 2).astype(np.float32)
    made = data.standardise(task(x, shape=(1,), scale=1.0), "pixel")
    np.testing.assert_allclose(made.gain, 2.0, rtol=1e-6)


@pytest.mark.parametrize("how", ["unit", "channel", "pixel"])
def test_test_set_never_counts_and_inputs_stay(how):
    x = codes()
    before = x.copy()
    one = data.standardise(task(x), how)
    other = data.standardise(task(x, test=255 - x[:9]), how)
    np.testing.assert_array_equal(one.gain, other.gain)
    np.testing.assert_array_equal(one.offset, other.offset)
    assert one.x_train is x
    np.testing.assert_array_equal(x, before)


def test_standardisation_replaces_an_earlier_one():
    made = task(codes())
    twice = data.standardise(data.standardise(made, "pixel"), "channel")
    once = data.standardise(made, "channel")
    np.testing.assert_array_equal(twice.gain, once.gain)
    np.testing.assert_array_equal(twice.offset, once.offset)
    assert data.standardise(twice, "none").gain is None


def test_standardise_refuses():
    made = task(codes())
    with pytest.raises(ConfigError, match="unknown standardisation 'pixels': .*did you mean 'pixel'"):
        data.standardise(made, "pixels")
    with pytest.raises(ConfigError) as error:
        data.standardise(replace(made, shape=(60,)), "channel")
    assert "needed is (H, W, C); use 'pixel' or 'unit'" in one_line(error)


MANY = 400


def images(dtype=np.uint8):
    """Images without a zero, each pixel of an image another number."""
    rng = np.random.default_rng(6)
    order = rng.permuted(np.tile(np.arange(1, 61), (MANY, 1)), axis=1)
    return order.astype(dtype)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_flip(dtype):
    x = images(dtype)
    before = x.copy()
    out = data.augment(x, SHAPE, "flip", 5, 2)
    assert (out.dtype, out.shape) == (x.dtype, x.shape)
    assert out.flags.c_contiguous
    np.testing.assert_array_equal(x, before)
    assert not np.shares_memory(out, x)
    mirrored = x.reshape(-1, *SHAPE)[:, :, ::-1].reshape(MANY, -1)
    flipped = (out == mirrored).all(1)
    kept = (out == x).all(1)
    assert (flipped ^ kept).all()
    assert 150 < flipped.sum() < 250


def crop_by_hand(image, pad, y, x):
    """The H x W window at (y, x) of an image with a border of zeros, pixel by pixel."""
    height, width, channels = image.shape
    out = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            r, c = row + y - pad, column + x - pad
            if 0 <= r < height and 0 <= c < width:
                out[row, column] = image[r, c]
    return out


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("how", ["crop:1", "crop:3", "flip+crop:2"])
def test_crop(how):
    pad = int(how[-1])
    x = images()
    out = data.augment(x, SHAPE, how, 5, 2).reshape(-1, *SHAPE)
    seen = {}
    for image, given in zip(x.reshape(-1, *SHAPE), out, strict=True):
        sources = [image, image[:, ::-1]] if "flip" in how else [image]
        found = [
            (mirror, row, column)
            for mirror, source in enumerate(sources)
            for row in range(2 * pad + 1)
            for column in range(2 * pad + 1)
            if np.array_equal(crop_by_hand(source, pad, row, column), given)
        ]
        assert found, "each image is one of the possible crops"
        seen[found[0]] = seen.get(found[0], 0) + 1
    # every place occurs about as often: 400 images over 9, 49 or 50 places
    places = (2 * pad + 1) ** 2 * len(sources)
    assert len(seen) == places
    assert max(seen.values()) < 4 * MANY / places


def test_crops_are_the_same_with_and_without_the_flip():
    x = images()
    flips = (data.augment(x, SHAPE, "flip", 1, 0) != x).any(1)
    both, alone = (data.augment(x, SHAPE, how, 1, 0) for how in ("flip+crop:2", "crop:2"))
    np.testing.assert_array_equal(both[~flips], alone[~flips])
    assert (both[flips] != alone[flips]).any(1).all()


def test_draws_are_fixed_by_seed_and_epoch():
    x = images()
    first = data.augment(x, SHAPE, "flip+crop:1", 1, 3)
    np.testing.assert_array_equal(data.augment(x, SHAPE, "flip+crop:1", 1, 3), first)
    assert (data.augment(x, SHAPE, "flip+crop:1", 2, 3) != first).any()
    assert (data.augment(x, SHAPE, "flip+crop:1", 1, 4) != first).any()


@pytest.mark.parametrize(
    ("how", "meaning"), [("flip", (True, 0)), ("crop:4", (False, 4)), ("flip+crop:12", (True, 12)), ("crop:07", (False, 7))]
)
def test_meaning(how, meaning):
    assert data.parse_augmentation(how, (32, 28, 1)) == meaning


@pytest.mark.parametrize(
    ("how", "shape", "part"),
    [
        ("flop", SHAPE, "unknown augmentation 'flop': there are crop:4, flip, flip+crop:4; did you mean 'flip'?"),
        ("", SHAPE, "unknown augmentation ''"),
        ("crop", SHAPE, "unknown augmentation 'crop'"),
        ("crop:", SHAPE, "unknown augmentation 'crop:'"),
        ("crop:-1", SHAPE, "unknown augmentation"),
        ("crop:2.5", SHAPE, "unknown augmentation"),
        ("flip+flip", SHAPE, "unknown augmentation"),
        ("crop:2+flip", SHAPE, "unknown augmentation"),
        ("flip", (60,), "shape (60,) is no image, needed is (H, W, C)"),
        ("crop:1", (60,), "is no image"),
        ("crop:0", SHAPE, "a border from 1 to 3 pixels is needed"),
        ("flip+crop:4", SHAPE, "a border from 1 to 3 pixels is needed"),
        ("crop:" + 5000 * "9", SHAPE, "a border from 1 to 3"),
        ("flip", (5, 4, 1), "60 inputs do not fill the shape (5, 4, 1)"),
    ],
)
def test_augment_refuses(how, shape, part):
    with pytest.raises(ConfigError) as error:
        data.augment(images(), shape, how, 0, 0)
    assert part in one_line(error)
