"""Cycles and accesses of a systolic array: those that SCALE-Sim counted, and laws that hold for any product."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fasim.energy.gemms import Gemm
from fasim.energy.systolic import DATAFLOWS, Accesses, Array, accesses, cycles, utilisation
from fasim.errors import ConfigError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "scalesim.json").read_text(encoding="utf-8"))


def gemm(m, n, k):
    return Gemm(0, "forward", 1, "forward.1", m, n, k)


def runs(dataflow):
    return [
        (row, gemm(row["m"], row["n"], row["k"]), Array(row["rows"], row["columns"], dataflow))
        for row in GOLDEN["runs"]
        if row["dataflow"] == dataflow
    ]


def random_products(seed, count=200):
    rng = np.random.default_rng(seed)
    for m, n, k, rows, columns in rng.integers(1, 60, (count, 5)).tolist():
        yield gemm(m, n, k), rows + 1, columns


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_cycles_are_those_of_scalesim(dataflow):
    rows = runs(dataflow)
    assert len({row["name"] for row, _, _ in rows}) >= 12
    assert all(row["stall_cycles"] == 0 for row, _, _ in rows)
    assert [cycles(product, array) for _, product, array in rows] == [row["cycles"] for row, _, _ in rows]


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_reads_and_writes_are_those_of_scalesim(dataflow):
    for row, product, array in runs(dataflow):
        got = accesses(product, array)
        # SCALE-Sim adds the array's edges to the writes of each tile that drains
        tiles = -(-product.m // array.rows) * -(-product.n // array.columns)
        drained = tiles * (array.rows + array.columns) if dataflow == "os" else 0
        assert (got.reads_a, got.reads_w, got.writes_o + drained) == (row["reads_a"], row["reads_w"], row["writes_o"])


def test_a_product_by_hand():
    # 3 x 5 times 5 x 4 on 2 x 3: under ws 3 x 2 tiles of the weights
    product = gemm(3, 4, 5)
    assert cycles(product, Array(2, 3, "ws")) == 6 * (2 * 2 + 3 + 3 - 2) - 1
    assert cycles(product, Array(2, 3, "os")) == 2 * 2 * (2 + 3 + 5 - 2) - 1
    assert cycles(product, Array(2, 3, "is")) == 3 * 1 * (2 * 2 + 3 + 4 - 2) - 1
    assert accesses(product, Array(2, 3, "ws")) == Accesses(15 * 2, 20, 12 * 3, 12 * 2)
    assert accesses(product, Array(2, 3, "os")) == Accesses(15 * 2, 20 * 2, 12, 0)
    assert accesses(product, Array(2, 3, "is")) == Accesses(15, 20 * 1, 12 * 3, 12 * 2)
    assert utilisation(product, Array(2, 3, "os")) == 60 / (31 * 6)


def test_small_products_leave_most_of_an_array_idle():
    # what SCALE-Sim showed for the weight gradient and the feedback of 784-500-10 at N = 1
    assert utilisation(gemm(784, 500, 1), Array(16, 16)) == pytest.approx(0.058, abs=5e-4)
    assert utilisation(gemm(1, 500, 10), Array(16, 16)) == pytest.approx(0.013, abs=5e-4)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_no_multiplier_works_more_than_once_a_cycle(dataflow):
    for product, rows, columns in random_products(1):
        assert 0 < utilisation(product, Array(rows, columns, dataflow)) <= 1


def test_ws_and_is_are_each_other_transposed():
    for product, rows, columns in random_products(2):
        turned = gemm(product.n, product.m, product.k)
        ws, other = Array(rows, columns, "ws"), Array(rows, columns, "is")
        assert cycles(product, ws) == cycles(turned, other)
        one, two = accesses(product, ws), accesses(turned, other)
        assert (one.reads_a, one.reads_w, one.writes_o, one.reads_o) == (
            two.reads_w,
            two.reads_a,
            two.writes_o,
            two.reads_o,
        )


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_an_array_that_holds_everything_reads_and_writes_once(dataflow):
    for product, _, _ in random_products(3, 20):
        got = accesses(product, Array(64, 64, dataflow))
        assert got == Accesses(product.m * product.k, product.k * product.n, product.m * product.n, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 4), "rows = 0: write a whole number"),
        ((4, 2.0), "columns = 2.0: write a whole number"),
        ((True, 4), "rows = True"),
        ((1, 1), "1 x 1: one multiplier"),
        ((4, 4, "rs"), "unknown dataflow 'rs': there are is, os, ws"),
    ],
)
def test_what_is_no_array_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Array(*arguments)
