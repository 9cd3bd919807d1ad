"""``fasim train --trace`` and ``fasim calibrate`` on the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from fasim.cli import command
from fasim.fixedpoint import Datapath

SMALL = ["--net", "64-12-10", "--epochs", "2"]


def invoke(*arguments):
    return CliRunner().invoke(command, list(arguments), env={"COLUMNS": "160"})


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("datapath", ["float32", "s8"])
def test_a_trace_changes_nothing_and_is_written(datapath, tmp_path):
    plain = invoke("train", *SMALL, "--datapath", datapath, "--checkpoint", "--out", "plain")
    traced = invoke("train", *SMALL, "--datapath", datapath, "--checkpoint", "--out", "traced", "--trace")
    assert traced.exit_code == plain.exit_code == 0, traced.output
    one, other = (np.load(tmp_path / name / "checkpoint-2.npz") for name in ("plain", "traced"))
    assert set(one.files) == set(other.files)
    for name in one.files:
        np.testing.assert_array_equal(one[name], other[name])
    records = lines(tmp_path / "traced" / "trace.jsonl")
    assert {record["epoch"] for record in records} == {1, 2}
    names = [record["name"] for record in records if record["epoch"] == 2]
    assert len(set(names)) == len(names) > 14
    assert [record["layer"] for record in records if record["epoch"] == 1] == sorted(
        record["layer"] for record in records if record["epoch"] == 1
    )
    for record in records:
        assert record["format"] is None or record["used_bits"] <= int(record["format"].partition(".")[0][1:])
        assert record["min"] <= record["max"]
    assert (tmp_path / "traced" / "trace.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "plain" / "trace.jsonl").exists()
    assert "tensors in epoch 2" in traced.stdout
    assert ("used bits" if datapath == "s8" else "binary exponents") in traced.stdout
    assert "picture: traced/trace.png" in traced.stdout
    for name in names:
        assert f" {name} " in traced.stdout


def test_saturations_of_the_trace_are_those_of_the_summary(tmp_path):
    result = invoke("train", *SMALL, "--lr", "2^-4", "--datapath", "s8", "--out", "run", "--trace", "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    records = lines(tmp_path / "run" / "trace.jsonl")
    assert sum(record["saturations"] for record in records) == sum(epoch["saturations"] for epoch in summary["epochs"]) > 0


def test_a_resumed_run_goes_on_with_its_trace(tmp_path):
    assert invoke("train", *SMALL, "--checkpoint", "--trace", "--out", "run").exit_code == 0
    more = ["--net", "64-12-10", "--epochs", "3", "--trace"]
    assert invoke("train", *more, "--resume", "run").exit_code == 0
    assert invoke("train", *more, "--out", "whole").exit_code == 0
    assert lines(tmp_path / "run" / "trace.jsonl") == lines(tmp_path / "whole" / "trace.jsonl")
    (tmp_path / "run" / "trace.jsonl").write_text('{"epoch": 1}\n{"epo')
    result = invoke("train", *more[:3], "4", "--trace", "--resume", "run")
    assert result.exit_code == 2
    assert "trace.jsonl: damaged" in result.stderr


def test_the_reference_backend_has_no_trace(tmp_path):
    result = invoke("train", *SMALL, "--backend", "reference", "--trace")
    assert result.exit_code == 2
    assert "backend reference does not observe tensors" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_a_calibrated_datapath_trains(tmp_path):
    result = invoke("calibrate", "--net", "64-12-10", "--out", "new/own.toml", "--bits", "7", "--quantile", "0.999")
    assert result.exit_code == 0, result.output
    datapath = Datapath.from_toml(tmp_path / "new" / "own.toml")
    assert datapath.name == "own"
    assert datapath.weight.format.bits == 7
    for words in ("delta.1", str(datapath.delta.format), "s8 format", "one bit less", "--datapath new/own.toml"):
        assert words in result.stdout
    trained = invoke("train", "--net", "64-12-10", "--epochs", "5", "--datapath", "new/own.toml", "--json")
    assert json.loads(trained.stdout)["epochs"][-1]["test_accuracy"] > 0.85
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["own.toml"]


def test_calibrate_as_json():
    result = invoke("calibrate", "--net", "64-12-10", "--out", "own.toml", "--json")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content["datapath"] == "own.toml"
    one = next(tensor for tensor in content["tensors"] if tensor["name"] == "delta.1")
    assert one["format"].startswith("s8.")
    assert one["like"] == "s8.7"


REFUSED = {
    "no toml": (["--out", "own.txt"], ["own.txt", "ends in .toml"]),
    "no out": ([], ["--out", "--help"]),
    "there already": (["--out", "there.toml"], ["there.toml", "is there already"]),
    "quantile": (["--out", "x/own.toml", "--quantile", "1.5"], ["quantile 1.5"]),
    "bits": (["--out", "x/own.toml", "--bits", "99"], ["bits 99", "2 to 32"]),
    "like": (["--out", "x/own.toml", "--like", "s9"], ["unknown datapath 's9'", "s8"]),
    "like float": (["--out", "x/own.toml", "--like", "float32"], ["like float32"]),
    "epochs": (["--out", "x/own.toml", "--epochs", "0"], ["epochs 0"]),
    "rate": (["--out", "x/own.toml", "--lr", "fast"], ["--lr 'fast'"]),
    "rule": (["--out", "x/own.toml", "--rule", "dfb"], ["dfb", "dfa"]),
    "inputs": (["--out", "x/own.toml", "--standardise", "unit"], ["own", "float32"]),
    "reduction": (["--out", "x/own.toml", "--reduction", "mean"], ["sum"]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_calibrate_refuses_in_one_line_and_writes_nothing(what, tmp_path):
    (tmp_path / "there.toml").write_text("")
    arguments, words = REFUSED[what]
    result = invoke("calibrate", "--net", "64-12-10", *arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.strip().splitlines()
    for word in words:
        assert word in line, line
    assert [path.name for path in tmp_path.iterdir()] == ["there.toml"]
