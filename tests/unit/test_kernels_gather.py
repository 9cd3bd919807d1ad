"""Tables read by vectors of codes: every entry, the last bytes of a table, any types and layouts."""

from __future__ import annotations

import numpy as np
import pytest

from fasim import kernels
from tests.kernel_checks import check, new

TYPES = [
    ("int16", "int8", "int8"),
    ("int8", "uint8", "int16"),
    ("uint8", "int16", "int16"),
    ("int16", "uint16", "int32"),
    ("int32", "int32", "int32"),
    ("int32", "int16", "int8"),
    ("int64", "int8", "int8"),
    ("int16", "int8", "int64"),
]


@pytest.mark.parametrize("types", TYPES, ids="-".join)
def test_every_entry(types: tuple[str, str, str]) -> None:
    """Tables of 1 to 200 entries between guards, each entry at every place of a vector."""
    code, entry, result = (np.dtype(name) for name in types)
    for size in (1, 2, 3, 4, 5, 17, 100):
        lowest = -(size // 2) if code.kind == "i" else 0
        ends = np.iinfo(entry)
        table = np.random.default_rng(size).integers(ends.min, ends.max, size, entry, endpoint=True)
        table[-1] = ends.min
        for columns in (1, 15, 16, 17, 40):
            codes = (np.arange(size * columns).reshape(-1, columns) % size + lowest).astype(code)
            expected = table[codes.astype(np.int64) - lowest].astype(result)
            check(kernels.look_up, (codes, table, lowest, new(result, *codes.shape)), {3: expected})


def test_layouts() -> None:
    """Rows that lie apart, columns that do, and a table of every other number."""
    table = np.random.default_rng(0).integers(-128, 127, 512).astype(np.int8)
    codes = np.random.default_rng(1).integers(-128, 128, (80, 90)).astype(np.int16)
    for some in (codes[:, 3:43], codes[::2, :40], codes[:, ::2], codes.T):
        for entries in (table[:256], table[::2]):
            memory = np.full((some.shape[0], 2 * some.shape[1]), 77, np.int8)
            for out in (memory[:, : some.shape[1]], memory[:, ::2]):
                memory[...] = 77
                kernels.look_up(some, entries, -128, out)
                np.testing.assert_array_equal(out, entries[some.astype(np.int64) + 128])
                assert (memory == 77).sum() >= out.size


def test_bias_gradients_of_some_units() -> None:
    """Full scale, by slices of the units."""
    delta = np.random.default_rng(2).choice(np.array([-128, 127, 0], np.int8), (300, 37))
    for first, stop in ((0, 37), (0, 1), (5, 36), (36, 37), (9, 9)):
        check(kernels.bias_gradient_fixed, (delta, first, new(np.int32, stop - first)),
              {2: delta[:, first:stop].astype(np.int64).sum(0)})  # fmt: skip
