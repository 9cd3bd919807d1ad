"""Verilog that was written from the documentation alone gives the bits that fasim exports, under Icarus by cocotb."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fasim import export
from fasim.data import Data
from fasim.fixedpoint import load_datapath
from fasim.network import Network
from fasim.schedule import StepSettings

HERE = Path(__file__).parent
MISSING = [
    *(["iverilog (apt-get install iverilog)"] if shutil.which("iverilog") is None else []),
    *(["cocotb (pip install 'fasim[rtl]')"] if importlib.util.find_spec("cocotb_tools") is None else []),
]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"the Verilog benches need {' and '.join(MISSING)}")

RATE = 4
ROUNDINGS = {"TRN": 0, "RND": 1, "RND_CONV": 2, "RND_ZERO": 3}
CASES = [("dfa", 1), ("dfa", 2), ("drtp", 1), ("drtp", 2)]


def simulate(name, sources, toplevel, parameters, folder, monkeypatch, tmp_path):
    """Run a bench in a folder; return how many of its tests failed, and what it said."""
    from cocotb_tools.runner import get_results, get_runner

    monkeypatch.syspath_prepend(HERE)
    runner = get_runner("icarus")
    runner.build(
        sources=[HERE / source for source in sources],
        hdl_toplevel=toplevel,
        parameters=parameters,
        build_dir=tmp_path / "build",
        build_args=["-g2001", "-Wall", "-Wno-timescale"],
        timescale=("1ns", "1ns"),
        log_file=tmp_path / "build.log",
    )
    # under pytest the runner exits where a bench fails; that is read from its results, which a crash does not write
    with contextlib.suppress(SystemExit):
        runner.test(
            test_module=name,
            hdl_toplevel=toplevel,
            test_dir=folder,
            build_dir=tmp_path / "build",
            results_xml=str(tmp_path / "results.xml"),
            log_file=tmp_path / "test.log",
        )
    tests, failed = get_results(tmp_path / "results.xml")
    assert tests == 1
    # step.v has memories, to whose whole every process that reads a word is sensitive: that alone is warned of
    warnings = [line for line in (tmp_path / "build.log").read_text().splitlines() if "sensitive to all" not in line]
    assert warnings == []
    return failed, (tmp_path / "test.log").read_text()


@pytest.fixture
def vectors(tmp_path):
    """Return a function that exports three steps of a rule."""

    def make(rule, batch_size):
        random = np.random.default_rng(11)
        x, y = random.integers(0, 256, (16, 8), dtype=np.uint8), random.integers(0, 3, 16)
        start = export.fresh(
            Network.parse("8-6-4-3"),
            Data("small", x, y, x, y, (8,), 3),
            rule=rule,
            datapath=load_datapath("s8"),
            learning_rate=2.0**-RATE,
            settings=StepSettings(batch_size=batch_size),
        )
        with export.whole_folder(tmp_path / "vectors") as folder:
            export.write_vectors(folder, start, 3)
        return tmp_path / "vectors"

    return make


def step(folder, monkeypatch, tmp_path, rounding="RND"):
    """Run the steps of the vectors in a folder; return failures and what was said."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    shifts = {op["site"]: op["attrs"]["shift"] for op in manifest["steps"][0]["ops"] if op["kind"] == "REQUANT"}
    parameters = {
        "DRTP": int(manifest["rule"] == "drtp"),
        "N": manifest["batch_size"],
        "RATE": RATE,
        "DELTA_SHIFT_1": shifts["delta.1"],
        "DELTA_SHIFT_2": shifts["delta.2"],
        "ROUND": ROUNDINGS[rounding],
    }
    sources = ("step.v", "mac.v", "requant.v")
    return simulate("bench_step", sources, "step", parameters, folder, monkeypatch, tmp_path)


@pytest.mark.parametrize(("rule", "batch_size"), CASES)
def test_three_steps_leave_the_exported_parameters(rule, batch_size, vectors, monkeypatch, tmp_path):
    failed, said = step(vectors(rule, batch_size), monkeypatch, tmp_path)
    assert failed == 0, said


@pytest.mark.parametrize("rounding", ["TRN", "RND_CONV", "RND_ZERO"])
@pytest.mark.parametrize("rule", ["dfa", "drtp"])
def test_another_rounding_is_found(rule, rounding, vectors, monkeypatch, tmp_path):
    failed, said = step(vectors(rule, 2), monkeypatch, tmp_path, rounding)
    assert failed == 1
    assert "AssertionError: step 0: " in said


@pytest.mark.parametrize(
    ("name", "line", "bit", "found"),
    [
        ("step1/act.0.hex", 3, 7, "step 1: "),
        ("step2/label.hex", 1, 0, "step 2: "),
        ("initial/feedback.1.hex", 0, 6, "step 0: "),
        ("initial/weight.2.hex", 5, 5, "step 0: "),
        ("step2/bias.3.v1.hex", 2, 0, "step 2: bias differs at [12]"),
    ],
)
def test_a_flipped_bit_is_found(name, line, bit, found, vectors, monkeypatch, tmp_path):
    folder = vectors("dfa", 2)
    words = (folder / name).read_text().split()
    words[line] = f"{int(words[line], 16) ^ 1 << bit:0{len(words[line])}x}"
    (folder / name).write_text("\n".join(words) + "\n")
    failed, said = step(folder, monkeypatch, tmp_path)
    assert failed == 1
    assert f"AssertionError: {found}" in said


@pytest.mark.parametrize("saturate", [0, 1])
def test_multiply_accumulate(saturate, monkeypatch, tmp_path):
    parameters = {"A_BITS": 9, "B_BITS": 8, "ACC_BITS": 18, "SATURATE": saturate}
    failed, said = simulate("bench_mac", ["mac.v"], "mac", parameters, tmp_path, monkeypatch, tmp_path)
    assert failed == 0, said


def test_requantisation(monkeypatch, tmp_path):
    sources = ["requant_all.v", "requant.v"]
    failed, said = simulate("bench_requant", sources, "requant_all", {}, tmp_path, monkeypatch, tmp_path)
    assert failed == 0, said
