"""Products of bytes in AMX's tiles: every remainder, extremes, any layout, any threads, the bits of the other tiles."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np
import pytest
from numba import int64, njit, types

from fasim.kernels import micro
from fasim.kernels.compile import CACHE_FOLDER
from fasim.kernels.micro import amx_move, outer_move, turned_amx, wide_amx
from fasim.kernels.micro.split import PANEL
from fasim.scalar import target
from tests.assembly import X86, assert_unharmed, at_an_edge, loops, machine_code, on_path
from tests.kernel_checks import check, new

needs_amx = pytest.mark.skipif(not micro.AMX, reason="this CPU has no AMX, or the system does not let this process use it")
SAMPLES = (1, 15, 16, 17, 31, 32, 33, 64, 100)
UNITS = (32, 33, 47, 64, 65)
TERMS = (0, 1, 3, 4, 63, 64, 65, 127, 130, 257)
TYPES: dict[str, Any] = {"int8": np.int8, "uint8": np.uint8}


def drawn(dtype: Any, *shape: int) -> np.ndarray:  # noqa: ANN401
    """Return numbers of the whole range, with both ends among them."""
    info, random = np.iinfo(dtype), np.random.default_rng(shape)
    array = random.integers(info.min, info.max, shape, dtype, endpoint=True)
    array[::2, ::3], array[1::2, ::5] = info.min, info.max
    return array


def product_in_tiles(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """Multiply along rows, whatever the shape: public kernels do so for large ones alone."""
    places = [place for matrix in (a, b, out) for place in (matrix.ctypes.data, matrix.strides[0])]
    (turned_amx.amx_int8 if a.dtype == np.int8 else turned_amx.amx_uint8)(*places, len(a), len(b), a.shape[1])


def exact(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a.astype(np.int64) @ b.astype(np.int64).T).astype(np.int32)


@needs_amx
@pytest.mark.parametrize("name", TYPES)
def test_every_remainder(name: str) -> None:
    for samples, units, terms in (*product(SAMPLES, UNITS, TERMS), (40, 70, 3073)):
        a, b, out = drawn(TYPES[name], samples, terms), drawn(np.int8, units, terms), new(np.int32, samples, units)
        product_in_tiles(a, b, out)
        np.testing.assert_array_equal(out, exact(a, b), err_msg=f"{samples} {units} {terms}")


@needs_amx
@pytest.mark.parametrize("name", TYPES)
def test_only_out_is_written_and_nothing_beside_is_read(name: str) -> None:
    for samples, units, terms in ((16, 32, 17), (33, 45, 64), (64, 33, 130)):
        a, b = drawn(TYPES[name], samples, terms), drawn(np.int8, units, terms)
        check(product_in_tiles, (a, b, new(np.int32, samples, units)), {2: exact(a, b)})


def edges() -> None:
    kept: list[Any] = []
    for dtype, front, terms in product(TYPES.values(), (True, False), (5, 64, 70)):
        a, b = drawn(dtype, 40, terms), drawn(np.int8, 37, terms)
        moved = [at_an_edge(matrix, front, kept) for matrix in (a, b, new(np.int32, 40, 37))]
        product_in_tiles(*moved)
        np.testing.assert_array_equal(moved[2], exact(a, b))


@needs_amx
def test_no_memory_beside_the_matrices_is_touched() -> None:
    assert_unharmed(edges)


@needs_amx
@pytest.mark.parametrize("name", TYPES)
def test_layouts(name: str) -> None:
    a, b = drawn(TYPES[name], 64, 77), drawn(np.int8, 35, 77)
    wide_a, wide_b, memory = new(a.dtype, 128, 90), new(np.int8, 70, 101), new(np.int32, 128, 44)
    wide_a[::2, 3:80], wide_b[::-2, 1:78] = a, b
    product_in_tiles(wide_a[::2, 3:80], wide_b[::-2, 1:78], memory[::2, 4:39])
    np.testing.assert_array_equal(memory[::2, 4:39], exact(a, b))
    memory[::2, 4:39] = 77
    assert (memory == 77).all()


@needs_amx
def test_sums_wrap() -> None:
    """Modulo 2^32, as in all other tiles: 2^17 products of -128 and -128 are 2^31."""
    a, b = np.full((32, 2**17), -128, np.int8), np.full((32, 2**17), -128, np.int8)
    out = new(np.int32, 32, 32)
    product_in_tiles(a, b, out)
    assert (out == -(2**31)).all()


@needs_amx
def test_threads_have_registers_of_their_own() -> None:
    """Other shapes, and other shapes of tiles, at the same time."""

    def work(seed: int) -> bool:
        samples, units, terms = 20 + seed, 40 + 7 * seed, 100 + 30 * seed
        a, b, out = drawn(np.int8, samples, terms), drawn(np.int8, units, terms), new(np.int32, samples, units)
        for _ in range(50):
            product_in_tiles(a, b, out)
            if not (out == exact(a, b)).all() or not same_moves(9 + seed, units, 70):
                return False
        return True

    work(0)
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))


def moved(kernel: Any, groups: int, units: int, inputs: int) -> list[np.ndarray]:  # noqa: ANN401
    """Return masters, weights, counts of both after a move, and what lies beside them."""
    random = np.random.default_rng([groups, units, inputs])
    left, right = drawn(np.int8, groups, units * 4), drawn(np.uint8, -(-inputs // PANEL), groups * PANEL * 4)
    begin = random.integers(-(2**20), 2**20, units, np.int32)
    master, weight = new(np.int16, units, inputs + 9), new(np.int8, units, inputs + 5)
    master[:, :inputs] = drawn(np.int16, units, inputs)
    counts = np.zeros(2, np.int64)
    shift, drop = max((groups * 4 * 128 * 255).bit_length() - 16, 1), 8
    numbers = shift, 1 << (15 - drop), 100, counts.ctypes.data, counts[1:].ctypes.data
    kernel(
        left.ctypes.data, right.ctypes.data, groups, units, inputs, master.ctypes.data, master.strides[0],
        weight.ctypes.data, weight.strides[0], begin.ctypes.data, numbers,
    )  # fmt: skip
    return [master, weight, counts]


def same_moves(groups: int, units: int, inputs: int) -> bool:
    found = (moved(kernel, groups, units, inputs) for kernel in (amx_move.amx_bytes_to_8, outer_move.move_bytes_to_8))
    return all((x == y).all() for x, y in zip(*found, strict=True))


@needs_amx
def test_masters_move_as_by_other_tiles() -> None:
    """Those are held against the statement of a step; numbers leave their ranges in both, and are counted."""
    for shape in product((1, 3, 8, 15, 16, 17, 32, 33), (1, 15, 16, 17, 33), (1, 31, 33, 63, 64, 65, 130)):
        assert same_moves(*shape), shape
    assert all(moved(amx_move.amx_bytes_to_8, 16, 33, 130)[2])


def wide_in_tiles(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """Multiply int16 along rows, exactly."""
    places = [place for matrix in (a, b, out) for place in (matrix.ctypes.data, matrix.strides[0])]
    wide_amx.amx_wide(*places, len(a), len(b), a.shape[1])


def exact_wide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a.astype(np.int64) @ b.astype(np.int64).T


@needs_amx
def test_every_remainder_of_wide_sums() -> None:
    for samples, units, terms in (*product(SAMPLES, (1, 15, 16, 17, 33), TERMS), (40, 70, 3073)):
        a, b, out = drawn(np.int16, samples, terms), drawn(np.int16, units, terms), new(np.int64, samples, units)
        wide_in_tiles(a, b, out)
        np.testing.assert_array_equal(out, exact_wide(a, b), err_msg=f"{samples} {units} {terms}")


@needs_amx
@pytest.mark.parametrize("right", [-(2**15), -(2**15) + 255, 2**15 - 1, -1])
@pytest.mark.parametrize("left", [-(2**15), -(2**15) + 255, 2**15 - 1, -1])
def test_int32_holds_the_sums_of_halves(left: int, right: int) -> None:
    """As many terms as are allowed, of numbers whose halves are the largest that there are."""
    a, b = np.full((16, wide_amx.MOST), left, np.int16), np.full((17, wide_amx.MOST), right, np.int16)
    out = new(np.int64, 16, 17)
    wide_in_tiles(a, b, out)
    assert (out == wide_amx.MOST * left * right).all()


@needs_amx
def test_samples_without_high_halves() -> None:
    """Of 0 .. 255 alone, but for one number that is more, or less, anywhere."""
    a, b = drawn(np.uint8, 48, 70).astype(np.int16), drawn(np.int16, 33, 70)
    for sample, term, number in ((0, 0, 256), (20, 69, -1), (47, 35, -(2**15)), (31, 64, 255)):
        a[sample, term] = number
        out = new(np.int64, 48, 33)
        wide_in_tiles(a, b, out)
        np.testing.assert_array_equal(out, exact_wide(a, b))
        a[sample, term] = 7


@needs_amx
def test_more_terms_go_another_way() -> None:
    a, b = drawn(np.int16, 16, wide_amx.MOST + 1), drawn(np.int16, 33, wide_amx.MOST + 1)
    out = new(np.int64, 16, 33)
    micro.gemm_nt_int16_wide(a, b, True, out)
    np.testing.assert_array_equal(out, exact_wide(a, b))


@needs_amx
def test_of_wide_sums_only_out_is_written_and_nothing_beside_is_read() -> None:
    for samples, units, terms in ((16, 32, 17), (33, 45, 64), (64, 33, 130)):
        a, b = drawn(np.int16, samples, terms), drawn(np.int16, units, terms)
        check(wide_in_tiles, (a, b, new(np.int64, samples, units)), {2: exact_wide(a, b)})


def wide_edges() -> None:
    kept: list[Any] = []
    for front, terms in product((True, False), (5, 64, 71)):
        a, b = drawn(np.int16, 40, terms), drawn(np.int16, 37, terms)
        moved = [at_an_edge(matrix, front, kept) for matrix in (a, b, new(np.int64, 40, 37))]
        wide_in_tiles(*moved)
        np.testing.assert_array_equal(moved[2], exact_wide(a, b))


@needs_amx
def test_wide_sums_touch_no_memory_beside_the_matrices() -> None:
    assert_unharmed(wide_edges)


@needs_amx
def test_layouts_of_wide_sums() -> None:
    a, b = drawn(np.int16, 64, 77), drawn(np.int16, 35, 77)
    wide_a, wide_b, memory = new(np.int16, 128, 90), new(np.int16, 70, 101), new(np.int64, 128, 44)
    wide_a[::2, 3:80], wide_b[::-2, 1:78] = a, b
    wide_in_tiles(wide_a[::2, 3:80], wide_b[::-2, 1:78], memory[::2, 4:39])
    np.testing.assert_array_equal(memory[::2, 4:39], exact_wide(a, b))
    memory[::2, 4:39] = 77
    assert (memory == 77).all()


@needs_amx
def test_assembly_of_wide_sums() -> None:
    """A round multiplies each pair of halves once, or what samples without high ones need, and touches no vectors."""
    function = njit(error_model="numpy")(wide_amx.amx_wide.py_func)
    function.compile((int64,) * 9)
    inner = [text for text in loops(machine_code(function)) if "tdpb" in text]
    found = {tuple(text.count(f"tdpb{signs}d") for signs in ("uu", "us", "su", "ss")) for text in inner}
    # LLVM may lay some rounds side by side
    assert {tuple(number // times[0] for number in times) for times in found} == {(1, 1, 1, 1), (1, 0, 1, 0)}
    assert not any("call" in text or "zmm" in text for text in inner)


INSTRUCTIONS = {"amx_int8": "tdpbssd", "amx_uint8": "tdpbsud", "amx_bytes_to_8": "tdpbsud"}


@needs_amx
@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_assembly(name: str) -> None:
    """Loops over K multiply tiles, four times a round and twice where there are 16 samples, and do no more."""
    move = name == "amx_bytes_to_8"
    function = njit(error_model="numpy")(getattr(amx_move if move else turned_amx, name).py_func)
    numbers = (types.UniTuple(int64, 5),) if move else ()
    function.compile((int64,) * (10 if move else 9) + numbers)
    inner = [text for text in loops(machine_code(function)) if INSTRUCTIONS[name] in text]
    # LLVM may lay some rounds side by side
    times = [text.count("tdpb") for text in inner]
    assert times
    assert all(number % (4 if move else 2) == 0 for number in times)
    assert move or any(text.count("tileloadd") == text.count("tdpb") for text in inner), "none loads each tile for two"
    assert not any("call" in text or "zmm" in text for text in inner)


def digest() -> str:
    """Return a hash of results of the public kernels that take these tiles where there are any."""
    found = hashlib.sha256()
    for (samples, units, terms), dtype in product(((16, 32, 65), (64, 50, 130), (100, 33, 64)), TYPES.values()):
        a, b, out = drawn(dtype, samples, terms), drawn(np.int8, units, terms), new(np.int32, samples, units)
        (micro.gemm_nt_int8 if dtype == np.int8 else micro.gemm_nt_uint8)(a, b, out)
        np.testing.assert_array_equal(out, exact(a, b))
        found.update(out.tobytes())
        a, b, wide = drawn(np.int16, samples, terms), drawn(np.int16, units, terms), new(np.int64, samples, units)
        micro.gemm_nt_int16_wide(a, b, True, wide)
        np.testing.assert_array_equal(wide, exact_wide(a, b))
        found.update(wide.tobytes())
    return found.hexdigest()


@X86
@pytest.mark.parametrize("cpu", ["cascadelake", "skylake-avx512"])
def test_same_bits_without_amx(cpu: str) -> None:
    assert on_path(digest, cpu, "avx512vnni" if cpu == "cascadelake" else "avx512") == [digest()]


def test_a_target_has_amx_only_by_name() -> None:
    """LLVM's names of CPUs imply it, but what Numba finds on a machine is what the system lets processes use."""
    both = "+amx-tile,+amx-int8"
    for cpu, features, has in (
        ("sapphirerapids", both, True),
        ("sapphirerapids", "", False),
        ("sapphirerapids", "+amx-tile,-amx-int8", False),
        ("haswell", both, False),
    ):
        assert target.ask("x86_64-unknown-linux-gnu", cpu, features).amx is has


def test_a_process_without_permission_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuses:
        @staticmethod
        def syscall(*_: int) -> int:
            return -1

    monkeypatch.setattr(target.ctypes, "CDLL", lambda _: Refuses)
    assert target._permitted() is False
    monkeypatch.setattr(target.sys, "platform", "darwin")
    monkeypatch.setattr(target.ctypes, "CDLL", None)
    assert target._permitted() is False


def test_kernels_with_amx_are_cached_apart() -> None:
    """A process that may not use it, on the same machine, must not run them."""
    assert CACHE_FOLDER.endswith("-amx") is micro.AMX
