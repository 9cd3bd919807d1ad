"""tanh, sigmoid and softmax of float32 against float64 on a dense grid, and at their limits."""

from __future__ import annotations

import numpy as np
import pytest

from fasim import kernels
from tests.kernel_checks import new

F32 = np.float32
POSITIVE = np.concatenate([np.geomspace(1e-38, 120, 400_001), np.linspace(0, 20, 1_000_001)]).astype(F32)
GRID = np.stack([POSITIVE, -POSITIVE])
SMALLEST = float(np.finfo(F32).smallest_normal)


def of(name: str, x: np.ndarray) -> np.ndarray:
    out = new(F32, *x.shape)
    getattr(kernels, name)(x, out)
    return out


def units_off(found: np.ndarray, exact: np.ndarray) -> float:
    """Return the largest error in units in the last place of the exact value."""
    return float((abs(found - exact) / np.spacing(abs(exact).astype(F32))).max())


def test_tanh() -> None:
    found, exact = of("tanh", GRID), np.tanh(GRID.astype(np.float64))
    assert abs(found - exact).max() < 3.2e-7
    assert units_off(found, exact) < 6
    assert (found[1] == -found[0]).all()
    assert abs(found).max() == 1


def test_sigmoid() -> None:
    found, exact = of("sigmoid", GRID), 1 / (1 + np.exp(-GRID.astype(np.float64)))
    assert units_off(found[exact >= SMALLEST], exact[exact >= SMALLEST]) < 4
    assert (abs(found - exact)[exact < SMALLEST] <= SMALLEST).all()


@pytest.mark.parametrize(
    ("name", "values"),
    [("tanh", [np.nan, 1, -1, 1, -1, 0, 1e-40]), ("sigmoid", [np.nan, 1, 0, 1, 0, 0.5, 0.5])],
)
def test_limits(name: str, values: list[float]) -> None:
    special = F32([[np.nan, np.inf, -np.inf, 1e30, -1e30, 0, 1e-40]])
    np.testing.assert_array_equal(of(name, special), F32([values]))


def test_tanh_keeps_the_sign_of_zero() -> None:
    assert np.signbit(of("tanh", F32([[0.0, -0.0]]))).tolist() == [[False, True]]


def test_softmax() -> None:
    x = np.random.default_rng(0).uniform(-100, 100, (200, 37)).astype(F32)
    found = of("softmax", x)
    exact = np.exp((x - x.max(1, keepdims=True)).astype(np.float64))
    exact /= exact.sum(1, keepdims=True)
    normal = exact >= SMALLEST
    assert (abs(found / np.where(normal, exact, 1) - 1)[normal] < 2e-6).all()
    assert (found[~normal] <= SMALLEST).all()


def test_place_and_neighbours_do_not_matter() -> None:
    """The vector and the rest of a row give the same bits."""
    x = np.random.default_rng(1).standard_normal((1, 67), F32) * 5
    for name in ("tanh", "sigmoid"):
        one_by_one = np.array([of(name, x[:, i : i + 1])[0, 0] for i in range(67)])
        np.testing.assert_array_equal(of(name, x)[0], one_by_one)
