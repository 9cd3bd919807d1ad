"""Microkernels against NumPy: every remainder, extreme numbers, any layout, the same bits on every path of this CPU."""

from __future__ import annotations

import hashlib
import shutil
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import int64, njit
from numba.core.errors import TypingError

from fasim.kernels import compile as compiling
from fasim.kernels import micro
from fasim.kernels.micro import tiles
from fasim.scalar.target import ask
from tests.assembly import (
    LINUX,
    ROOT,
    X86,
    assert_in_registers,
    assert_unharmed,
    at_an_edge,
    counting,
    loops,
    machine_code,
    on_path,
)
from tests.kernel_checks import check, inside, new

SIZES = range(1, 10)
TERMS = (0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 200, 784)
BLOCKS = (511, 512, 513, 528, 1024, 1025, 1100, 2047, 2049, 4100)
# name: types of a, b, out; largest magnitude, for which int32 holds 4100 products
TYPES: dict[str, tuple[Any, Any, Any, int]] = {
    "gemm_nt_float32": (np.float32, np.float32, np.float32, 1),
    "gemm_nt_int16": (np.int16, np.int16, np.int32, 700),
    "gemm_nt_int8": (np.int8, np.int8, np.int32, 128),
    "gemm_nt_uint8": (np.uint8, np.int8, np.int32, 255),
}
# instruction of each inner loop, by target
INSTRUCTIONS = {
    "cover_float32": {name: "vfmadd231ps" for name in ("avx512vnni", "avx512", "avx2")},
    "cover_int16": {"avx512vnni": "vpdpwssd", "avx512": "vpmaddwd", "avx2": "vpmaddwd"},
    "cover_int8": {"avx512vnni": "vpdpbusd", "avx512": "vpmaddwd", "avx2": "vpmaddwd"},
    "cover_uint8": {"avx512vnni": "vpdpbusd", "avx512": "vpmaddwd", "avx2": "vpmaddwd"},
}


def drawn(name: str, rows: int, columns: int, terms: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return a and b over the whole range of their types, of int16 as wide as the sums allow."""
    random = np.random.default_rng([seed, rows, columns, terms])
    matrices = []
    for dtype, shape in zip(TYPES[name], ((rows, terms), (columns, terms)), strict=False):
        if dtype == np.float32:
            matrices.append(random.standard_normal(shape, dtype))
        else:
            most, info = TYPES[name][3], np.iinfo(dtype)
            matrices.append(random.integers(max(info.min, -most), min(info.max, most), shape, dtype, endpoint=True))
    return matrices[0], matrices[1]


def exact(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    wide = np.float64 if a.dtype == np.float32 else np.int64
    return a.astype(wide) @ b.astype(wide).T


def bound(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the error of float32 that is promised, and what float64 may add to it."""
    terms = a.shape[1]
    share = (ceil(min(terms, 1024) / 16) + ceil(terms / 1024) + 3) * 2.0**-24
    return (share / (1 - share) + 1e-12) * exact(abs(a), abs(b))


def assert_product(name: str, a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    if a.dtype == np.float32:
        assert (abs(out - exact(a, b)) <= bound(a, b)).all()
    else:
        np.testing.assert_array_equal(out, exact(a, b))


def bits(kernel: Any, *matrices: np.ndarray) -> bytes:  # noqa: ANN401
    out = new(np.float32 if matrices[0].dtype == np.float32 else np.int32, len(matrices[0]), len(matrices[1]))
    kernel(*matrices, out)
    return out.tobytes()


@pytest.mark.parametrize("name", TYPES)
def test_every_remainder(name: str) -> None:
    for rows, columns, terms in product(SIZES, SIZES, TERMS):
        a, b = drawn(name, rows, columns, terms)
        out = new(TYPES[name][2], rows, columns)
        getattr(micro, name)(a, b, out)
        assert_product(name, a, b, out)


@pytest.mark.parametrize("name", TYPES)
def test_long_rows_and_many(name: str) -> None:
    """Blocks of K, bands of A, several columns of tiles."""
    shapes = [(rows, columns, terms) for rows, columns in ((1, 9), (5, 18)) for terms in BLOCKS]
    for rows, columns, terms in [*shapes, (201, 37, 1030), (290, 3, 2050)]:
        a, b = drawn(name, rows, columns, terms)
        out = new(TYPES[name][2], rows, columns)
        getattr(micro, name)(a, b, out)
        assert_product(name, a, b, out)


@pytest.mark.parametrize("shape", [(0, 3, 5), (3, 0, 5), (0, 0, 0), (2, 3, 0)])
@pytest.mark.parametrize("name", TYPES)
def test_nothing_to_add(name: str, shape: tuple[int, int, int]) -> None:
    a, b = drawn(name, *shape)
    out = new(TYPES[name][2], *shape[:2])
    getattr(micro, name)(a, b, out)
    assert not out.any()


@pytest.mark.parametrize("terms", [1, 7, 33, 130, 600])
@pytest.mark.parametrize("name", TYPES)
def test_only_out_is_written_and_nothing_beside_is_read(name: str, terms: int) -> None:
    for rows, columns in ((1, 3), (3, 9), (4, 7), (5, 5), (6, 17)):
        a, b = drawn(name, rows, columns, terms)
        expected = exact(a, b)
        if a.dtype == np.float32:  # whole numbers: no rounding, whatever the order
            a, b = np.round(4 * a), np.round(4 * b)
            expected = exact(a, b)
        check(getattr(micro, name), (a, b, new(TYPES[name][2], rows, columns)), {2: expected})


@pytest.mark.parametrize("name", list(TYPES)[1:])
def test_extremes(name: str) -> None:
    lefts, rights = (
        sorted({np.iinfo(dtype).min, np.iinfo(dtype).max, 0, 1, 127, *([-1, -128] if dtype != np.uint8 else [])})
        for dtype in TYPES[name][:2]
    )
    for left, right, terms in product(lefts, rights, (1, 3, 32, 64, 65, 130, 784)):
        if terms * abs(left * right) >= 2**31:
            continue
        a, b = np.full((5, terms), left, TYPES[name][0]), np.full((6, terms), right, TYPES[name][1])
        out = new(np.int32, 5, 6)
        getattr(micro, name)(a, b, out)
        assert (out == terms * left * right).all()


def test_int16_reaches_both_ends_of_int32_and_wraps_beyond() -> None:
    low, high = -(2**15), 2**15 - 1
    cases = (
        ([low, low, low], [low, high, 1], low * low + low * high + low),
        ([low, low], [low, low], -(2**31)),
        ([low] * 3, [low, low, high], 2**31 + low * high),
    )
    for a, b, expected in cases:
        for rows in (1, 4):
            out = new(np.int32, rows, 4)
            micro.gemm_nt_int16(np.int16([a] * rows), np.int16([b] * 4), out)
            assert (out == np.int64(expected + 2**31) % 2**32 - 2**31).all()


@pytest.mark.parametrize("name", TYPES)
def test_layouts(name: str) -> None:
    """Steps between rows, also backwards; addresses that are no multiple of an element; rows repeated."""
    a, b = drawn(name, 7, 6, 77)
    kernel = getattr(micro, name)
    plain = bits(kernel, a, b)
    wide_a, wide_b = np.full((14, 90), 99, a.dtype), np.full((12, 101), 99, b.dtype)
    wide_a[::2, 3:80], wide_b[::-2, 1:78] = a, b
    assert bits(kernel, wide_a[::2, 3:80], wide_b[::-2, 1:78]) == plain
    for shift in (1, 2, 3, 13):
        odd = np.zeros(a.nbytes + 64, np.uint8)[shift : shift + a.nbytes].view(a.dtype).reshape(a.shape)
        odd[...] = a
        assert bits(kernel, odd, b) == plain
    same = np.broadcast_to(a[:1], a.shape)
    assert bits(kernel, same, b) == bits(kernel, same.copy(), b)
    memory = new(TYPES[name][2], 14, 9)
    kernel(a, b, memory[::2, 2:8])
    assert memory[::2, 2:8].tobytes() == plain
    memory[::2, 2:8] = 77
    assert (memory == 77).all()


@pytest.mark.parametrize("name", TYPES)
def test_a_row_knows_no_other_rows(name: str) -> None:
    """The same bits for any division of the batch, float32 included."""
    a, b = drawn(name, 23, 21, 1100)
    kernel = getattr(micro, name)
    whole = bits(kernel, a, b)
    for cuts in ((0, 1, 23), (0, 2, 5, 22, 23), tuple(range(24))):
        assert b"".join(bits(kernel, a[i:j], b) for i, j in zip(cuts[:-1], cuts[1:], strict=True)) == whole


@pytest.mark.parametrize("name", TYPES)
def test_inside_a_compiled_function_and_once_for_all_sizes(name: str) -> None:
    """Tiles are compiled once for all sizes and layouts. A product from the cache brings them along and counts none."""
    a, b = drawn(name, 5, 9, 40)
    kernel = getattr(micro, name)
    assert bits(inside(kernel), a, b) == bits(kernel, a, b)
    if micro.TARGET != "portable":
        fresh = njit(error_model="numpy")(kernel.py_func)
        for shape in ((5, 9, 40), (33, 70, 1100)):
            a, b = drawn(name, *shape)
            apart = np.repeat(a, 2, axis=0)[::2], np.repeat(b, 2, axis=0)[::2]
            assert bits(fresh, a, b) == bits(fresh, *apart) == bits(kernel, a, b)
        assert len(getattr(tiles, name.replace("gemm_nt", "cover")).signatures) == 1


@pytest.mark.parametrize(("terms", "length"), [(2100, 704), (2048, 1024), (1025, 528), (1024, 1024)])
def test_float32_adds_in_the_stated_order(terms: int, length: int) -> None:
    """Blocks of `length` terms, which is ceil(K / blocks) in whole sixteens; lanes; groups of lanes."""
    if not micro.FUSED:
        pytest.skip("no fused multiply-add in this target")
    a, b = drawn("gemm_nt_float32", 3, 5, terms)
    out = new(np.float32, 3, 5)
    micro.gemm_nt_float32(a, b, out)
    for n, j in product(range(3), range(5)):
        total = np.float32(0)
        for start in range(0, terms, length):
            s = np.zeros(16, np.float32)
            for k in range(start, min(start + length, terms)):
                lane = (k - start) % 16
                # a product is exact in float64 and its sum with a float32 is rounded to 53 bits first: the second
                # rounding differs from a fused one only at a tie, which these numbers do not have
                s[lane] = np.float32(np.float64(s[lane]) + np.float64(a[n, k]) * np.float64(b[j, k]))
            g = [(s[4 * i] + s[4 * i + 2]) + (s[4 * i + 1] + s[4 * i + 3]) for i in range(4)]
            total = np.float32(((g[0] + g[2]) + (g[1] + g[3])) + total)
        assert out[n, j] == total


@pytest.mark.parametrize("name", TYPES)
def test_refusals(name: str) -> None:
    kernel, (left, right, result, _) = getattr(micro, name), TYPES[name]
    a, b, out = np.zeros((3, 4), left), np.zeros((5, 4), right), np.zeros((3, 5), result)
    for wrong in ((a[:2], b, out), (a, b[:4], out), (a[:, :3], b, out), (a, b, out[:, :4])):
        with pytest.raises(ValueError, match=r"needs shapes \(N, K\), \(J, K\) and \(N, J\)"):
            kernel(*wrong)
    for wrong in ((np.zeros((3, 8), left)[:, ::2], b, out), (a, np.zeros((4, 5), right).T, out), (a, b, out[::-1, ::-1])):
        with pytest.raises(ValueError, match="side by side; copy by numpy.ascontiguousarray"):
            kernel(*wrong)
    for wrong in (
        (a.astype(np.int64), b, out),
        (a, b.astype(np.float64), out),
        (a, b, out.astype(np.int16)),
        (a[0], b, out),
    ):
        with pytest.raises(TypingError, match=r"product of .*: needs a matrix of (float32|u?int\d+)"):
            kernel(*wrong)


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_assembly(name: str) -> None:
    """The inner loop forms sums by the instruction that the target has for it and lays none down on the stack."""
    instruction = INSTRUCTIONS[name].get(micro.TARGET)
    if instruction is None:
        pytest.skip(f"no register tiles for the target {micro.TARGET}")
    # A cached function cannot be inspected: compiled anew
    function = njit(error_model="numpy")(getattr(tiles, name).py_func)
    function.compile((int64,) * 9)
    sums = {"cover_float32": 12}.get(name, 6) if micro.TARGET == "avx2" else 16
    assert_in_registers(counting(loops(machine_code(function)), instruction, sums))


def edges() -> None:
    kept: list[Any] = []
    shapes = ((1, 1, 1), (1, 3, 17), (2, 5, 33), (3, 3, 64), (5, 6, 31), (4, 9, 100), (7, 1, 129))
    for name, shape, front in product(TYPES, shapes, (True, False)):
        a, b = drawn(name, *shape)
        given = [at_an_edge(matrix, front, kept) for matrix in (a, b, np.empty(shape[:2], TYPES[name][2]))]
        getattr(micro, name)(*given)
        assert_product(name, a, b, given[2])


@LINUX
def test_nothing_beyond_a_page_is_touched() -> None:
    """Arrays end, or begin, where memory does: a vector too many is the end of that process."""
    assert_unharmed(edges)


def digests() -> list[str]:
    """Return a hash of the results of each kernel, for all sizes that meet a remainder."""
    hashes = []
    for name in TYPES:
        found = hashlib.sha256()
        for rows, columns, terms in product((1, 2, 4, 7, 9), (1, 2, 5, 8, 17), (*TERMS, *BLOCKS)):
            a, b = drawn(name, rows, columns, terms)
            out = new(TYPES[name][2], rows, columns)
            getattr(micro, name)(a, b, out)
            assert_product(name, a, b, out)
            found.update(out.tobytes())
        hashes.append(found.hexdigest())
    return hashes


@X86
@pytest.mark.parametrize(
    ("cpu", "features", "target", "fused"),
    [
        ("haswell", "", "avx2", True),
        ("skylake-avx512", "", "avx512", True),
        ("generic", "", "portable", False),
        ("generic", "+fma", "portable", True),
    ],
)
def test_same_bits_on_every_path(cpu: str, features: str, target: str, fused: bool) -> None:
    hashes = on_path(digests, cpu, target, features, fused=fused)
    first = 0 if fused == micro.FUSED else 1  # float32 needs the same rounding of products
    assert hashes[first:] == digests()[first:]


@X86
@pytest.mark.parametrize(
    ("cpu", "features", "target", "fused"),
    [
        ("x86-64", "", "portable", False),
        ("sandybridge", "", "portable", False),
        ("x86-64", "+fma", "portable", True),
        ("haswell", "", "avx2", True),
        ("alderlake", "", "avx2", True),
        ("x86-64-v3", "+avxvnni", "avx2", True),
        ("skylake-avx512", "", "avx512", True),
        ("cascadelake", "", "avx512vnni", True),
        ("znver4", "", "avx512vnni", True),
        ("znver4", "-avx512f", "avx2", True),
        ("znver4", "-avx512vnni", "avx512", True),
    ],
)
def test_target(cpu: str, features: str, target: str, fused: bool) -> None:
    assert ask("x86_64-unknown-linux-gnu", cpu, features) == (target, fused, False)


def test_an_edit_of_a_tile_reaches_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("kernels", "scalar"):
        shutil.copytree(ROOT / "fasim" / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(compiling, "PACKAGE", tmp_path)
    before = compiling._fingerprint()
    (tmp_path / "kernels" / "micro" / "dot.py").write_text("# edited\n")
    assert compiling._fingerprint() != before
