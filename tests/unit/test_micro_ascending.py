"""The forward product of a batch: every remainder in the stated order, the same bits for any slice and on every path."""

from __future__ import annotations

import hashlib
from itertools import pairwise, product

import numpy as np
import pytest

from fasim.kernels import micro
from fasim.kernels.micro.ascending import worthwhile
from fasim.kernels.micro.panels import ROWS
from tests.assembly import X86, on_path
from tests.kernel_checks import check, new

SAMPLES = (1, 2, 15, 16, 17, 40, 63, 64, 65, 130)
UNITS = (1, 3, 16, 17, 26)
TERMS = (0, 1, 15, 16, 33, 129)
NONE = np.zeros(0, np.float32)


def drawn(samples: int, units: int, terms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng([samples, units, terms])
    return tuple(random.standard_normal(shape, np.float32) for shape in ((samples, terms), (units, terms), units))  # type: ignore[return-value]


def product_of(a: np.ndarray, b: np.ndarray, bias: np.ndarray = NONE) -> np.ndarray:
    out = new(np.float32, len(a), len(b))
    micro.gemm_nt_ascending_float32(a, b, bias, out)
    return out


def test_every_remainder_is_the_transport_through_the_transpose() -> None:
    """Whose own order is tested against the statement."""
    for samples, units, terms in (*product(SAMPLES, UNITS, TERMS), (70, 40 * ROWS + 7, 5), (5, 80 * ROWS + 1, 3)):
        a, b, bias = drawn(samples, units, terms)
        out = new(np.float32, samples, units)
        micro.gemm_nn_float32(a, np.ascontiguousarray(b.T), out)
        np.testing.assert_array_equal(product_of(a, b), out)
        np.testing.assert_array_equal(product_of(a, b, bias), out + bias)


@pytest.mark.parametrize("shape", [(0, 3, 4), (5, 0, 4), (0, 0, 0)])
def test_nothing_to_add(shape: tuple[int, int, int]) -> None:
    assert not product_of(*drawn(*shape)[:2]).any()


def test_only_out_is_written_and_nothing_beside_is_read() -> None:
    for samples, units, terms in ((1, 3, 17), (5, 7, 65), (70, 26, 130), (17, 300, 16)):
        a, b, bias = (np.round(4 * m) for m in drawn(samples, units, terms))
        expected = a.astype(np.float64) @ b.T + bias
        check(micro.gemm_nt_ascending_float32, (a, b, bias, new(np.float32, samples, units)), {3: expected})


def test_layouts_and_slices() -> None:
    a, b, bias = drawn(70, 31, 77)
    plain = product_of(a, b, bias)
    wide_a, wide_b, memory = (np.full(shape, 99, np.float32) for shape in ((140, 90), (62, 101), (140, 40)))
    wide_a[::2, 3:80], wide_b[::-2, 1:78] = a, b
    micro.gemm_nt_ascending_float32(wide_a[::2, 3:80], wide_b[::-2, 1:78], bias, memory[::2, 4:35])
    np.testing.assert_array_equal(memory[::2, 4:35], plain)
    memory[::2, 4:35] = 99
    assert (memory == 99).all()
    for i, j in pairwise((0, 1, 17, 64, 70)):
        np.testing.assert_array_equal(product_of(a[i:j], b, bias), plain[i:j])
    for i, j in pairwise((0, 1, 17, 31)):
        np.testing.assert_array_equal(product_of(a, b[i:j], bias[i:j]), plain[:, i:j])


def test_refusals() -> None:
    a, b, bias, out = (np.zeros(shape, np.float32) for shape in ((3, 4), (5, 4), 5, (3, 5)))
    kernel = micro.gemm_nt_ascending_float32
    for wrong in ((a[:2], b, bias, out), (a, b[:4], bias, out), (a[:, :3], b, bias, out)):
        with pytest.raises(ValueError, match=r"needs shapes \(N, K\), \(J, K\) and \(N, J\)"):
            kernel(*wrong)
    with pytest.raises(ValueError, match="needs a bias for each unit, or none"):
        kernel(a, b, bias[:4], out)
    with pytest.raises(ValueError, match="side by side; copy by numpy.ascontiguousarray"):
        kernel(np.zeros((3, 8), np.float32)[:, ::2], b, bias, out)


def digest() -> str:
    """Return a hash of results for all sizes that meet a remainder."""
    found = hashlib.sha256()
    for samples, units, terms in product((1, 9, 24, 65), (1, 8, 17, 26), (1, 9, 33)):
        found.update(product_of(*drawn(samples, units, terms)).tobytes())
    return found.hexdigest()


@X86
@pytest.mark.parametrize(("cpu", "features", "target"), [("haswell", "", "avx2"), ("generic", "+fma", "portable")])
def test_same_bits_on_every_path(cpu: str, features: str, target: str) -> None:
    assert on_path(digest, cpu, target, features, fused=True) == [digest()]


@pytest.mark.parametrize(
    ("shape", "serves"),
    [
        ((1, 500, 784), False),
        ((13, 500, 784), False),
        ((16, 500, 784), True),
        ((16, 240, 240), False),
        ((27, 500, 784), False),
        ((28, 500, 784), True),
        ((32, 240, 240), True),
        ((33, 500, 784), False),
        ((64, 31, 784), False),
        ((64, 32, 8), True),
        ((100, 500, 784), True),
    ],
)
def test_it_serves_where_lanes_are_filled_and_units_are_many(shape: tuple[int, int, int], serves: bool) -> None:
    """Seven of eight lanes at least hold a sample, a single vector only beside a large matrix."""
    assert worthwhile(*shape) is serves
