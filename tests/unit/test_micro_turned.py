"""Integer products of a batch in broadcast tiles: every remainder, extremes, any layout, the same bits on every path."""

from __future__ import annotations

import hashlib
from itertools import product
from typing import Any

import numpy as np
import pytest
from numba import int64, njit

from fasim.kernels import micro
from fasim.kernels.micro import gemm, turned
from fasim.kernels.micro.kinds import INT16
from tests.assembly import INTEGER_PATHS, X86, assert_in_registers, blocks, counting, machine_code, on_path
from tests.kernel_checks import by_turning, check, new

SAMPLES = (16, 24, 36, 48, 63, 64, 65, 100)
UNITS = (1, 3, 6, 13, 23, 24, 29, 48, 49, 60)
TERMS = (0, 1, 2, 3, 4, 5, 7, 30, 67)
TYPES: dict[str, tuple[Any, Any]] = {
    "gemm_nt_int16": (np.int16, np.int16),
    "gemm_nt_int8": (np.int8, np.int8),
    "gemm_nt_uint8": (np.uint8, np.int8),
}
WIDE = by_turning("gemm_nt_int16_wide")
INSTRUCTIONS = {
    "turned_int16": "vpdpwssd",
    "turned_int8": "vpdpbusd",
    "turned_uint8": "vpdpbusd",
    "turned_float32": "vfmadd",
}


def drawn(name: str, samples: int, units: int, terms: int) -> tuple[np.ndarray, np.ndarray]:
    """Return factors over the whole range of their types."""
    random = np.random.default_rng([samples, units, terms])
    limits = [np.iinfo(dtype) for dtype in TYPES[name]]
    a, b = (
        random.integers(i.min, i.max, shape, i.dtype, endpoint=True)
        for i, shape in zip(limits, ((samples, terms), (units, terms)), strict=True)
    )
    return a, b


def exact(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the sums modulo 2^32."""
    return (a.astype(np.int64) @ b.astype(np.int64).T).astype(np.int32)


def product_of(name: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    out = new(np.int32, len(a), len(b))
    by_turning(name)(a, b, out)
    return out


@pytest.mark.parametrize("name", TYPES)
def test_every_remainder(name: str) -> None:
    for shape in (*product(SAMPLES, UNITS, TERMS), (16, 25, 12300), (64, 250, 12289), (20, 300, 6150), (64, 5, 12291)):
        a, b = drawn(name, *shape)
        np.testing.assert_array_equal(product_of(name, a, b), exact(a, b), err_msg=str(shape))


@pytest.mark.parametrize("name", TYPES)
def test_extremes(name: str) -> None:
    ends = [(i.min, i.max) for i in map(np.iinfo, TYPES[name])]
    for left, right, terms in product(*ends, (1, 4, 63)):
        a, b = np.full((32, terms), left, TYPES[name][0]), np.full((7, terms), right, TYPES[name][1])
        np.testing.assert_array_equal(product_of(name, a, b), exact(a, b))


@pytest.mark.parametrize("name", TYPES)
def test_only_out_is_written_and_nothing_beside_is_read(name: str) -> None:
    for shape in ((16, 3, 17), (24, 29, 7), (64, 6, 3), (65, 60, 33)):
        a, b = drawn(name, *shape)
        check(by_turning(name), (a, b, new(np.int32, *shape[:2])), {2: exact(a, b)})


@pytest.mark.parametrize("name", TYPES)
def test_layouts(name: str) -> None:
    a, b = drawn(name, 64, 31, 77)
    wide_a, wide_b, memory = (
        np.full((128, 90), 99, a.dtype),
        np.full((62, 101), 99, b.dtype),
        np.full((128, 40), 99, np.int32),
    )
    wide_a[::2, 3:80], wide_b[::-2, 1:78] = a, b
    by_turning(name)(wide_a[::2, 3:80], wide_b[::-2, 1:78], memory[::2, 4:35])
    np.testing.assert_array_equal(memory[::2, 4:35], exact(a, b))
    memory[::2, 4:35] = 99
    assert (memory == 99).all()


@pytest.mark.parametrize("most", [2**15, 255])
def test_wide_sums(most: int) -> None:
    """Products of any int16, or up to 2^23, added in blocks that int32 just holds."""
    shapes = (*product((24, 36, 64, 100), (1, 5, 29, 53), (0, 1, 2, 7, 253, 254, 255, 256, 509, 511)), (64, 250, 1021))
    for samples, units, terms in shapes:
        random = np.random.default_rng([samples, units, terms])
        a = random.integers(-most, most, (samples, terms), np.int16)
        b = random.integers(-(2**15), 2**15, (units, terms), np.int16)
        a[0], a[1], b[0] = -most, most - 1, -(2**15)
        out = new(np.int64, samples, units)
        WIDE(a, b, most > 256, out)
        np.testing.assert_array_equal(out, a.astype(np.int64) @ b.astype(np.int64).T, err_msg=f"{samples} {units} {terms}")
    for terms in (255, 256, 257, 1100):
        a, b = np.full((32, terms), -256, np.int16), np.full((7, terms), -(2**15), np.int16)
        out = new(np.int64, 32, 7)
        WIDE(a, b, False, out)
        assert (out == terms * 2**23).all()


def test_wide_sums_write_out_alone_and_read_nothing_beside() -> None:
    for samples, units, terms, split in ((24, 3, 17, True), (65, 60, 33, False), (64, 29, 258, True)):
        random = np.random.default_rng([samples, units, terms])
        a, b = (random.integers(-256, 257, (rows, terms), np.int16) for rows in (samples, units))
        expected = a.astype(np.int64) @ b.astype(np.int64).T
        check(WIDE, (a, b, split, new(np.int64, samples, units)), {3: expected})


@pytest.mark.parametrize("name", [*TYPES, "gemm_nt_int16_wide"])
def test_the_way_that_a_shape_takes_changes_no_bit(name: str) -> None:
    """Public kernels turn A from some rows and columns on."""
    for samples, units in product((11, 12, 15, 16, 23, 24), (31, 32, 127, 128)):
        a, b = drawn(name if name in TYPES else "gemm_nt_int16", samples, units, 130)
        cases = [((), a, exact(a, b))]
        if name not in TYPES:
            bounded = a >> 7  # within 2^8
            cases = [((split,), x, x.astype(np.int64) @ b.astype(np.int64).T) for split, x in ((True, a), (False, bounded))]
        for split, x, expected in cases:
            for way in (getattr(micro, name), by_turning(name)):
                out = new(expected.dtype, samples, units)
                way(x, b, *split, out)
                np.testing.assert_array_equal(out, expected)


def test_which_shapes_turn() -> None:
    """Few columns never do, nor rows that leave many lanes without one."""
    lanes = INT16.sums.count
    shapes = ((lanes, 31), (lanes, 32), (lanes - 1, 500), (lanes + 1, 500), (2 * lanes, 10), (4 * lanes, 500))
    assert [bool(gemm.worthwhile(*shape)) for shape in shapes] == [False, True, False, False, False, True]


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_assembly(name: str) -> None:
    """The inner loop of every shape forms sums by the instruction that the target has, none of them on the stack."""
    if micro.TARGET != "avx512vnni":
        pytest.skip(f"the target {micro.TARGET} has other tiles")
    function = njit(error_model="numpy")(getattr(turned, name).py_func)
    function.compile((int64,) * (10 if name == "turned_float32" else 9))
    inner = counting(blocks(machine_code(function)).values(), INSTRUCTIONS[name], 24)
    assert len(inner) >= 4
    assert_in_registers(inner)


def digest() -> str:
    """Return a hash of results that are right, for sizes that meet remainders."""
    found = hashlib.sha256()
    for name, shape in product(TYPES, product((16, 24, 65), (1, 8, 17, 50), (1, 9, 34))):
        a, b = drawn(name, *shape)
        np.testing.assert_array_equal(out := product_of(name, a, b), exact(a, b))
        found.update(out.tobytes())
    for shape, split in product(product((24, 65), (8, 50), (1, 9, 300)), (True, False)):
        a, b = drawn("gemm_nt_int16", *shape)
        a = a if split else a >> 7
        wide = new(np.int64, *shape[:2])
        WIDE(a, b, split, wide)
        np.testing.assert_array_equal(wide, a.astype(np.int64) @ b.astype(np.int64).T)
        found.update(wide.tobytes())
    # bands of units whose sums int32 holds, or some terms of, or none
    a, b = drawn("gemm_nt_int16", 65, 150, 300)
    b >>= np.repeat(np.array([12, 6, 0], np.int16), 50)[:, None]
    WIDE(a, b, True, wide := new(np.int64, 65, 150))
    np.testing.assert_array_equal(wide, a.astype(np.int64) @ b.astype(np.int64).T)
    found.update(wide.tobytes())
    return found.hexdigest()


@X86
@pytest.mark.parametrize(("cpu", "target"), INTEGER_PATHS[:2])
def test_same_bits_on_every_path(cpu: str, target: str) -> None:
    assert on_path(digest, cpu, target) == [digest()]
