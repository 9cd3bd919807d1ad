"""SCALE-Sim and ZigZag run on what fasim exports, where they are installed: here, or in another environment.

SCALE-Sim 3.0.0 wants a NumPy before 2.4 and ZigZag 3.9.1 brings many packages, so that each may live in an environment of
its own: ``FASIM_SCALESIM_PYTHON`` and ``FASIM_ZIGZAG_PYTHON`` name the Python there.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fasim.energy.gemms import gemms
from fasim.energy.systolic import DATAFLOWS, Array, accesses, cycles
from fasim.energy.traffic import transfers
from fasim.energy.workloads import scalesim_csv, zigzag_workload
from fasim.fixedpoint import Fixed
from tests.counting import step

GOLDEN = Path(__file__).parents[1] / "golden"
NETS = ("40-20-10-5", "9x8x2-4c3s2p1-5c2p0-3")


def python_with(module, variable):
    """The Python that has an oracle, or a skip that says how to give one."""
    if given := os.environ.get(variable):
        return given
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed; install it, or set {variable} to a Python that has it")
    return sys.executable


def run(python, script, source, folder):
    """What an oracle's script in tests/golden finds for a workload."""
    out = folder / "out.json"
    command = [python, str(GOLDEN / script), str(out), str(source)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text(encoding="utf-8"))


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("rule", ["bp", "dfa"])
def test_scalesim_takes_the_export_and_needs_these_cycles(rule, net, tmp_path):
    python = python_with("scalesim", "FASIM_SCALESIM_PYTHON")
    numpy = tuple(int(part) for part in importlib.metadata.version("numpy").split(".")[:2])
    if python == sys.executable and numpy >= (2, 4):
        pytest.skip("SCALE-Sim 3.0.0 fails with NumPy 2.4; set FASIM_SCALESIM_PYTHON to a Python with an earlier one")
    schedule = step(net, rule, 3)
    record = run(python, "make_scalesim_golden.py", written(tmp_path / "gemms.csv", scalesim_csv(schedule)), tmp_path)
    products = {gemm.name: gemm for gemm in gemms(schedule)}
    assert len(record["runs"]) == len(DATAFLOWS) * len(products)
    for row in record["runs"]:
        gemm, array = products[row["name"]], Array(row["rows"], row["columns"], row["dataflow"])
        assert (row["m"], row["n"], row["k"]) == (gemm.m, gemm.n, gemm.k)
        assert row["cycles"] == cycles(gemm, array)
        got = accesses(gemm, array)
        assert (row["reads_a"], row["reads_w"]) == (got.reads_a, got.reads_w)
        if array.dataflow != "os":
            assert row["writes_o"] == got.writes_o


@pytest.mark.parametrize(("net", "rule"), [("40-20-10-5", "bp"), ("40-20-10-5", "dfa"), ("7x6x2-4c3s2p1-8c2p0-3", "bp")])
def test_zigzag_takes_the_export_and_moves_these_dram_words(net, rule, tmp_path):
    python = python_with("zigzag", "FASIM_ZIGZAG_PYTHON")
    schedule = step(net, rule, 4, "s8")
    record = run(python, "make_zigzag_golden.py", written(tmp_path / "net.yaml", zigzag_workload(schedule)), tmp_path)
    products = gemms(schedule)
    assert [row["name"] for row in record["runs"]] == [gemm.name for gemm in products]
    # sums leave the array as ZigZag was told, none stays in a register
    outs = {
        schedule.ops[gemm.op].writes[0].tensor: row["bits"]["O_final"]
        for row, gemm in zip(record["runs"], products, strict=True)
    }
    stored = {name: replace(schedule[name], format=Fixed(bits, 0), storage="temp") for name, bits in outs.items()}
    schedule = replace(schedule, tensors=schedule.tensors | stored)
    moved = {(row.op, row.tensor, row.write): row.words for row in transfers(schedule)}
    for row, gemm in zip(record["runs"], products, strict=True):
        op = schedule.ops[gemm.op]
        assert row["macs"] == gemm.products
        left, right = (moved[gemm.op, value.tensor, False] for value in op.reads[:2])
        inputs, weights = (right, left) if op.kind == "GRAD_CONV" else (left, right)
        results = moved[gemm.op, op.writes[0].tensor, True]
        assert row["dram_words"] == {"I": inputs, "W": weights, "O": results}
