"""Energy to a target accuracy on the command line: what is printed, written and refused."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from fasim.cli import command
from fasim.progress import COMPILING

QUICK = ["--epochs", "2", "--seeds", "0,1", "--net", "64-12-10", "--rules", "bp,drtp", "--datapaths", "s8"]


def invoke(*arguments):
    return CliRunner().invoke(command, list(arguments))


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_compare_writes_the_curve_and_the_picture(tmp_path):
    result = invoke("compare", *QUICK, "--target-accuracy", "20%", "--evaluate-every", "250", "--out", "found")
    assert result.exit_code == 0, result.output
    words = " ".join(result.stdout.split())
    for word in ("energy to 20 %", "2 of 2", "the 10 % of the training set that is held out", "every 256 samples"):
        assert word in words, word
    found = tmp_path / "found"
    names = ["accuracy_energy.png", "accuracy_over_energy.png", "config.toml", "curve.csv", "rows.csv", "summary.json"]
    assert sorted(path.name for path in found.iterdir()) == names
    assert result.stdout.rstrip().splitlines()[-2:] == ["picture: found/accuracy_over_energy.png", "results: found"]
    rows = list(csv.DictReader((found / "rows.csv").read_text().splitlines()))
    points = list(csv.DictReader((found / "curve.csv").read_text().splitlines()))
    summary = json.loads((found / "summary.json").read_text())
    assert summary["target"] == {"accuracy": 0.2, "validation": 0.1, "evaluate_every": 256, "stop": False}
    for row, kept in zip(rows, summary["rows"], strict=True):
        per_sample = float(row["energy_pj_per_sample_typical"])
        energies = [samples * per_sample for samples in kept["samples_to_target"]]
        assert float(row["energy_pj_to_target_typical"]) == pytest.approx(np.median(energies))
        assert float(row["energy_pj_to_target_range_largest"]) == pytest.approx(max(energies))
        own = [point for point in points if point["rule"] == row["rule"]]
        assert {int(point["samples"]) for point in own} == {256 * k for k in range(1, 11)}
        for point in own:
            assert float(point["energy_pj"]) == pytest.approx(int(point["samples"]) * per_sample)
    energies = [float(row["energy_pj_to_target_typical"]) for row in rows]
    shown = [line.split("│")[7].strip() for line in result.stdout.splitlines() if line.startswith("│")]
    for row, energy, text in zip(rows, energies, shown, strict=True):
        ratio = float(row["energy_to_target_ratio_to_bp_typical"])
        assert ratio == pytest.approx(energy / energies[0])
        ends = [float(row[f"energy_to_target_ratio_to_bp_range_{end}"]) for end in ("smallest", "largest")]
        assert text == f"{ratio:.2f} (seeds {ends[0]:.2f}..{ends[1]:.2f})"
    steps = sorted(256 / np.median(kept["samples_to_target"]) for kept in summary["rows"])
    low, high = (f"{100 * step:.2g}" for step in steps)
    assert low != high
    assert f"one evaluation step is {low} .. {high} % of a median" in words
    assert energies[0] != energies[1]


def test_json_says_what_was_not_reached():
    arguments = ["--target-accuracy", "1", "--validation", "20%", "--evaluate-every", "500", "--json"]
    result = invoke("compare", *QUICK, *arguments)
    content = json.loads(result.stdout)
    assert set(content) == {"data", "net", "processor", "run_folder", "target", "rows"}
    assert content["target"] == {"accuracy": 1.0, "validation": 0.2, "evaluate_every": 512, "stop": False}
    for row in content["rows"]:
        assert row["target_reached"] == 0
        assert row["samples_to_target"] == [None, None]
        assert row["energy_pj_to_target"] == {"low": None, "typical": None, "high": None}
        assert row["energy_to_target_ratio_to_bp"] == {"low": None, "typical": None, "high": None}
        assert row["energy_to_target_ratio_to_bp_range"] == {"smallest": None, "largest": None}
        assert row["target_resolution"] is None


def test_the_ratio_of_one_seed_has_no_range():
    result = invoke("compare", *QUICK, "--seeds", "0", "--target-accuracy", "20%", "--evaluate-every", "250")
    assert "1.00 (1 seed)" in result.stdout
    assert "(seeds" not in result.stdout


def test_the_table_says_not_reached():
    result = invoke("compare", *QUICK, "--target-accuracy", "1", "--evaluate-every", "500")
    rows = [line.split("│") for line in result.stdout.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row[4:8]] for row in rows] == [["not reached", "0 of 2", "-", "-"]] * 2


def test_a_run_stops_at_its_target(tmp_path):
    arguments = ["--target-accuracy", "0", "--stop-at-target", "--epochs", "50", "--out", "found"]
    result = invoke("compare", *QUICK, *arguments)
    assert result.exit_code == 0, result.output
    assert [len(run["epochs"]) for run in json.loads((tmp_path / "found" / "summary.json").read_text())["runs"]] == [2] * 4


REFUSED = {
    "a bare percentage": (["--target-accuracy", "95"], ["--target-accuracy '95'", "0.95", "95%"]),
    "more than all": (["--target-accuracy", "1.01"], ["--target-accuracy '1.01'", "0.95", "95%"]),
    "no number": (["--target-accuracy", "high"], ["--target-accuracy 'high'", "0.95", "95%"]),
    "no share": (["--target-accuracy", "0.9", "--validation", "2"], ["--validation '2'"]),
    "no split": (["--target-accuracy", "0.9", "--validation", "0"], ["validation 0.0"]),
    "no samples": (["--target-accuracy", "0.9", "--evaluate-every", "0"], ["evaluate every 0"]),
    "one evaluation": (["--target-accuracy", "0.9", "--epochs", "1"], ["1 of them, 2 are needed"]),
    "stages": (["--target-accuracy", "0.9", "--stages", "hidden:5,all:5"], ["stages hidden:5,all:5"]),
    "regression": (["--target-accuracy", "0.9", "--data", "synthetic-regression"], ["without labels"]),
    "auto-encoder": (["--target-accuracy", "0.9", "--target", "input", "--net", "64-9-64"], ["without labels"]),
    "a split without a target": (["--validation", "0.2"], ["--validation is for --target-accuracy"]),
    "evaluations without a target": (["--evaluate-every", "500"], ["--evaluate-every is for --target-accuracy"]),
    "a stop without a target": (["--stop-at-target"], ["--stop-at-target is for --target-accuracy"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_one_line_and_exit_code_2(name, tmp_path):
    arguments, words = REFUSED[name]
    result = invoke("compare", "--datapaths", "float32", *arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.strip().splitlines()
    for word in words:
        assert word in line, line
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_the_curves_of_the_runs_that_have_finished(tmp_path):
    seeds = ",".join(map(str, range(300)))
    process = subprocess.Popen(
        [sys.executable, "-m", "fasim", "compare", "--seeds", seeds, "--target-accuracy", "0.9", "--out", "kept"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    first = next(line for line in process.stderr if not line.startswith(COMPILING))
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, first + stderr
    assert stdout.rstrip().endswith("results: kept")
    content = json.loads((tmp_path / "kept" / "summary.json").read_text())
    points = list(csv.DictReader((tmp_path / "kept" / "curve.csv").read_text().splitlines()))
    (row,) = content["rows"]
    assert {int(point["seed"]) for point in points} == set(row["seeds"])
    assert len(points) == 25 * len(row["seeds"])
    assert (tmp_path / "kept" / "accuracy_over_energy.png").exists()
