"""The generator of broadcast tiles: every kind, every remainder, nothing beside the sums is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import int64, njit, types

from fasim.kernels.micro import TARGET, kinds, outer_integer, outer_move, wide
from fasim.kernels.micro.broadcast import STORED, Epilogue, broadcast_tile, store
from tests.assembly import assert_in_registers, blocks, counting, machine_code

ROWS, VECTORS = 3, 2
LANES = kinds.FLOAT32.sums.count
KINDS: dict[str, tuple[Any, int, Any, Any]] = {  # kind; terms in a number; types of a and b
    "float32": (kinds.FLOAT32, 1, np.float32, np.float32),
    "int16": (kinds.INT16, 2, np.int16, np.int16),
    "int8": (kinds.INT8, 4, np.int8, np.uint8),
    "uint8": (kinds.UINT8, 4, np.uint8, np.int8),
}


def compiled(tile: Any) -> Any:  # noqa: ANN401
    @njit
    def call(a, a_row, a_k, b, b_k, terms, rows, columns, out, step, fresh):
        tile(a, a_row, a_k, b, b_k, terms, rows, columns, (out, step, fresh))

    return call


def drawn(dtype: Any, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:  # noqa: ANN401
    """Whole numbers, so that the order of additions does not matter."""
    low, high = (-8, 8) if dtype == np.float32 else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return random.integers(low, high, shape, endpoint=True).astype(dtype)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.skipif(TARGET == "portable", reason="no register tiles for the target portable")
def test_sums_of_every_kind(name: str) -> None:
    kind, group, left, right = KINDS[name]
    if group == 4 and not kind.by_bytes:
        pytest.skip(f"no dot products of bytes in the target {TARGET}")
    whole, part, one = (
        compiled(broadcast_tile(kind, ROWS, VECTORS, STORED, whole=True)),
        compiled(broadcast_tile(kind, ROWS, VECTORS, STORED)),
        compiled(broadcast_tile(kind, ROWS, 1, STORED)),
    )
    random = np.random.default_rng(0)
    for terms in (0, 1, 5):
        for rows in range(1, ROWS + 1):
            for columns in (1, LANES - 1, LANES, LANES + 1, 2 * LANES - 3, 2 * LANES):
                a, b = (drawn(t, (terms, n, group), random) for t, n in ((left, rows), (right, columns)))
                result = np.float32 if group == 1 else np.int32
                memory = np.full((rows + 2, 3 * LANES), 77, result)
                out = memory[1:-1, 5 : 5 + columns]
                tile = one if columns <= LANES else whole if (rows, columns) == (ROWS, 2 * LANES) else part
                expected = np.einsum("krg,kcg->rc", a.astype(np.int64), b.astype(np.int64))
                at = a.ctypes.data, 4, 4 * rows, b.ctypes.data, 4 * columns, terms, rows, columns, out.ctypes.data
                tile(*at, memory.strides[0], 1)
                np.testing.assert_array_equal(out, expected.astype(result))
                tile(*at, memory.strides[0], 0)
                np.testing.assert_array_equal(out, (2 * expected).astype(result))
                out[...] = 77
                assert (memory == 77).all()


@pytest.mark.skipif(TARGET == "portable", reason="no register tiles for the target portable")
def test_epilogue_begins_with_zero_and_ends_only_rows_that_exist() -> None:
    ended = []

    def end(b: Any, row: Any, sums: Any, given: Any) -> None:  # noqa: ANN401
        ended.append((row.number, row.exists is None, len(sums)))
        store(b, row, sums, given)

    tile = compiled(broadcast_tile(kinds.FLOAT32, ROWS, 1, Epilogue(end)))
    a, b = np.float32([[1, 2, 3]]), np.ones((1, LANES), np.float32)
    out = np.full((ROWS, LANES), 77, np.float32)
    tile(a.ctypes.data, 4, 12, b.ctypes.data, 4 * LANES, 1, 2, LANES, out.ctypes.data, out.strides[0], 0)
    assert ended == [(0, True, 1), (1, False, 1), (2, False, 1)]
    assert out[:, 0].tolist() == [1, 2, 77]


MOVES = (*[int64] * 10, types.UniTuple(int64, 5))
# module, signature, the instruction, how often the inner loop of the whole tile has it
INTEGER_LOOPS: dict[str, tuple[Any, tuple[Any, ...], str, int]] = {
    "cover_outer_words": (outer_integer, (int64,) * 11, "vpdpwssd", 24),
    "cover_outer_bytes": (outer_integer, (int64,) * 11, "vpdpbusd", 24),
    "move_bytes_to_8": (outer_move, MOVES, "vpdpbusd", 24),
    "move_words_to_8": (outer_move, MOVES, "vpdpwssd", 24),
    "move_words_to_16": (outer_move, MOVES, "vpdpwssd", 24),
    "cover_bounded": (wide, (int64,) * 9, "vpdpwssd", 16),
    "cover_split": (wide, (int64,) * 9, "vpdpwssd", 24),
}


@pytest.mark.skipif(TARGET != "avx512vnni", reason=f"the target {TARGET} has other tiles")
@pytest.mark.parametrize("name", INTEGER_LOOPS)
def test_assembly_of_loops_of_integers(name: str) -> None:
    """Sums of outer products, updates and wide products multiply by the target's instruction, all sums in registers."""
    module, signature, instruction, times = INTEGER_LOOPS[name]
    function = njit(error_model="numpy")(getattr(module, name).py_func)
    function.compile(signature)
    inner = [text for text in blocks(machine_code(function)).values() if instruction in text]
    assert counting(inner, instruction, times)
    assert_in_registers(inner)
