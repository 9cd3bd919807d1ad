"""Kernels of normalisation, dropout and adjustment against NumPy: alone, inside a compiled function, at their edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fasim import kernels
from fasim.scalar.philox import random_word
from tests.kernel_checks import check, inside, names_of, new

N, J, C, ROWS = 3, 5, 3, 11
SEED, SITE, STEP, FIRST = 2**40 + 3, 0xCAFEBABE, np.array([12]), 6
THRESHOLD = 2**32 * 3 // 8
F32 = np.float32

random = np.random.default_rng(54)


def real(*shape: int) -> np.ndarray:
    """Return float32 numbers in -2 .. 2."""
    return random.uniform(-2, 2, shape).astype(F32)


Z, D, GAIN, SHIFT = 3 * real(ROWS, C) + 5, real(ROWS, C), real(C), real(C)
MEAN, VAR = real(C), np.abs(real(C))
INVERSE = 1 / np.sqrt(Z.var(0, dtype=np.float64) + 1e-3)
NORMAL = ((Z - Z.mean(0, dtype=np.float64)) * INVERSE).astype(F32)
X, SLOPE = real(N, J), real(N, J)
WORDS = np.array([random_word(SEED, SITE, 12, FIRST + i) for i in range(N * J)]).reshape(N, J)
KEPT = WORDS >= THRESHOLD
CODES = random.integers(-(2**15), 2**15, (N, J), np.int16)
G = real(33)
SQUARES = float((G.astype(np.float64) ** 2).sum())

# name -> (arguments, what each array that the kernel writes must hold, by position of the argument)
CASES: dict[str, tuple[tuple[Any, ...], dict[int, Any]]] = {
    "batch_norm": (
        (*(Z, GAIN, SHIFT, MEAN, VAR, 0.25, 1e-3), new(F32, ROWS, C), new(F32, C), new(F32, ROWS, C)),
        {
            3: 0.75 * MEAN + 0.25 * Z.mean(0, dtype=np.float64),
            4: 0.75 * VAR + 0.25 * Z.var(0, ddof=1, dtype=np.float64),
            7: NORMAL,
            8: INVERSE,
            9: GAIN * NORMAL + SHIFT,
        },
    ),
    "batch_norm_inference": (
        (Z, GAIN, SHIFT, MEAN, VAR, 1e-3, new(F32, ROWS, C)),
        {6: GAIN * (Z - MEAN) / np.sqrt(VAR + 1e-3) + SHIFT},
    ),
    "batch_norm_backward": (
        (D, NORMAL, INVERSE.astype(F32), GAIN, new(F32, ROWS, C)),
        {4: GAIN * INVERSE * (D - D.mean(0) - NORMAL * (D * NORMAL).mean(0))},
    ),
    "gain_gradient": ((D, NORMAL, new(F32, C)), {2: (D * NORMAL).sum(0)}),
    "dropout": (
        (X, THRESHOLD, F32(1.6), np.uint64(SEED), SITE, STEP, FIRST, new(F32, N, J), new(F32, N, J)),
        {7: KEPT, 8: 1.6 * KEPT * X},
    ),
    "dropout_fixed": (
        (CODES, WORDS.astype(np.uint32).reshape(-1), THRESHOLD, new(np.uint8, N, J), new(np.int16, N, J)),
        {3: KEPT, 4: CODES * KEPT},
    ),
    "clip": ((G, F32(0.5), new(F32, 33)), {2: np.clip(G, -0.5, 0.5)}),
    "squared_norm": ((G, np.array([4.0])), {1: [4 + SQUARES]}),
    "rescale": (
        (G, np.array([SQUARES]), 0.5, new(F32, 33)),
        {3: G * 0.5 / (np.sqrt(SQUARES) + 1e-6)},
    ),
    "perturb": ((X, SLOPE, F32(0.1), new(F32, N, J)), {3: X + 0.1 * np.sign(SLOPE)}),
    "mean_of_two": ((X, SLOPE, new(F32, N, J)), {2: (X + SLOPE) / 2}),
    "mean_of_three": ((X, SLOPE, KEPT.astype(F32), new(F32, N, J)), {3: (X + SLOPE + KEPT) / 3}),
}


def test_every_kernel_of_these_modules_is_here() -> None:
    assert sorted(CASES) == names_of("adjust", "dropout", "norm")


@pytest.mark.parametrize("name", CASES)
def test_kernel_is_its_statement(name: str) -> None:
    check(getattr(kernels, name), *CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_kernel_inside_a_compiled_function(name: str) -> None:
    check(inside(getattr(kernels, name)), *CASES[name])


# --- normalisation ------------------------------------------------------------------------------


def test_statistics_of_a_column_far_from_zero() -> None:
    """Mean 4096, variance 1.25: a one-pass float32 variance would be noise."""
    preact = np.tile(np.array([[4094.5], [4095.5], [4096.5], [4097.5]], F32), (500, 1))
    mean, var, inverse = np.zeros(1, F32), np.zeros(1, F32), new(F32, 1)
    normal, out = new(F32, 2000, 1), new(F32, 2000, 1)
    kernels.batch_norm(preact, np.ones(1, F32), np.zeros(1, F32), mean, var, 1.0, 0.0, normal, inverse, out)
    assert mean[0] == 4096
    assert var[0] == F32(1.25 * 2000 / 1999)
    assert inverse[0] == F32(1 / np.sqrt(1.25))
    np.testing.assert_array_equal(out, (preact - 4096) * inverse)


def test_one_row_has_no_variance() -> None:
    arguments, _ = CASES["batch_norm"]
    row = tuple(a[:1].copy() if isinstance(a, np.ndarray) and a.ndim == 2 else a for a in arguments)
    with pytest.raises(ValueError, match="at least 2 samples"):
        kernels.batch_norm(*row)


def test_normalisation_in_place() -> None:
    (preact, *rest, out), expected = CASES["batch_norm"]
    z, given = preact.copy(), [np.copy(a) for a in rest[:4]]
    kernels.batch_norm(z, *given, 0.25, 1e-3, np.empty_like(out), np.empty(C, F32), z)
    np.testing.assert_allclose(z, expected[9], rtol=2e-5, atol=4e-6)
    delta = D.copy()
    kernels.batch_norm_backward(delta, NORMAL, INVERSE.astype(F32), GAIN, delta)
    np.testing.assert_allclose(delta, CASES["batch_norm_backward"][1][4], rtol=2e-5, atol=4e-6)


# --- dropout ------------------------------------------------------------------------------------


def mask_of(act: np.ndarray, threshold: int, first: int) -> np.ndarray:
    mask, out = new(F32, *act.shape), new(F32, *act.shape)
    kernels.dropout(act, threshold, F32(1), np.uint64(SEED), SITE, STEP, first, mask, out)
    np.testing.assert_array_equal(out, mask * act)
    return mask


@pytest.mark.parametrize("first", [0, 1, 2, 7, 2**34 - 3])
def test_slices_of_a_batch_draw_the_same_mask(first: int) -> None:
    act = np.ones((6, 7), F32)
    whole = mask_of(act, THRESHOLD, first)
    for cuts in ((0, 1, 6), (0, 2, 3, 6), range(7)):
        parts = [mask_of(act[a:b], THRESHOLD, first + 7 * a) for a, b in zip(cuts[:-1], cuts[1:], strict=True)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert set(np.unique(whole)) == {0, 1}


def test_thresholds_at_and_around_a_word() -> None:
    """A word equal to the threshold is kept; 0 keeps all, 2^32 none."""
    act = np.ones((1, 1), F32)
    word = int(random_word(SEED, SITE, 12, FIRST))
    assert mask_of(act, word, FIRST) == 1
    assert mask_of(act, word + 1, FIRST) == 0
    assert mask_of(np.ones((20, 50), F32), 0, 0).all()
    assert not mask_of(np.ones((20, 50), F32), 2**32, 0).any()


def test_dropout_keeps_the_stated_share() -> None:
    """The 8000 draws are the seed's, so the bounds never move."""
    assert 0.61 < mask_of(np.ones((80, 100), F32), THRESHOLD, 0).mean() < 0.64


# --- adjustment ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(10))
def test_squared_norm_of_any_length(size: int) -> None:
    check(kernels.squared_norm, (G[:size], np.array([0.5])), {1: [0.5 + (G[:size].astype(np.float64) ** 2).sum()]})


@pytest.mark.parametrize("size", range(4, 12))
def test_squared_norm_sums_in_the_stated_order(size: int) -> None:
    """Bit for bit, with magnitudes so far apart that the order of summation shows."""
    gradient = real(size) * F32(2) ** random.integers(-14, 15, size).astype(F32)
    total = [0.0] * 4
    for p, square in enumerate(gradient.astype(np.float64) ** 2):
        total[p % 4] += square
    out = np.zeros(1)
    kernels.squared_norm(gradient, out)
    assert out[0] == (total[0] + total[1]) + (total[2] + total[3])


def test_squared_norm_does_not_overflow_float32() -> None:
    out = np.zeros(1)
    kernels.squared_norm(np.full(8, 1e30, F32), out)
    assert out[0] == pytest.approx(8e60, rel=1e-6)


def test_a_short_gradient_keeps_its_bits() -> None:
    out = np.empty_like(G)
    kernels.rescale(G, np.array([SQUARES]), 2 * np.sqrt(SQUARES), out)
    np.testing.assert_array_equal(out, G)


def test_a_vanishing_gradient_is_not_divided_by_zero() -> None:
    out = np.empty_like(G)
    kernels.rescale(G, np.zeros(1), 2.5e-7, out)
    np.testing.assert_array_equal(out, G / 4)


def test_divergence_stays_visible() -> None:
    out = np.empty(3, F32)
    kernels.clip(np.array([np.nan, np.inf, -np.inf], F32), F32(2), out)
    np.testing.assert_array_equal(out, np.array([np.nan, 2, -2], F32))
    kernels.rescale(np.ones(3, F32), np.array([np.nan]), 1.0, out)
    assert np.isnan(out).all()


def test_a_zero_gradient_moves_nothing() -> None:
    out = np.empty((1, 3), F32)
    kernels.perturb(np.ones((1, 3), F32), np.array([[-5, 0, 1e-30]], F32), F32(0.5), out)
    assert out.tolist() == [[0.5, 1, 1.5]]


def test_adjustments_in_place() -> None:
    for name in ("clip", "rescale"):
        (gradient, *rest, _), expected = CASES[name]
        own = gradient.copy()
        getattr(kernels, name)(own, *rest, own)
        np.testing.assert_allclose(own, *expected.values(), rtol=2e-5, atol=4e-6)
