"""`fasim export` on the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fasim.cli import command

NET = ["--net", "64-6-10", "--datapath", "s8"]


def invoke(*arguments):
    return CliRunner().invoke(command, list(arguments))


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refused(*arguments):
    """Return the one line of a refusal, after which nothing is left."""
    before = sorted(Path().rglob("*"))
    result = invoke("export", *arguments)
    assert result.exit_code == 2, result.output
    assert sorted(Path().rglob("*")) == before
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_a_fresh_run_as_hex():
    result = invoke("export", "--to", "hex", *NET, "--rule", "drtp", "--steps", "2", "--seed", "4", "--out", "here")
    assert result.exit_code == 0, result.output
    manifest = json.loads(Path("here/manifest.json").read_text())
    assert (manifest["rule"], manifest["seed"], len(manifest["steps"])) == ("drtp", 4, 2)
    assert manifest["learning_rate"] == 2.0**-7
    assert result.stdout == f"hex: here ({len(manifest['files']) + 1} files)\n"


def test_a_run_folder_in_each_form():
    pytest.importorskip("onnx", reason="needs onnx (pip install 'fasim[export]')")
    trained = invoke("train", *NET, "--rule", "drtp", "--epochs", "1", "--checkpoint", "--out", "run")
    assert trained.exit_code == 0, trained.output
    for form, file in (("hex", "manifest.json"), ("npz", "state.npz"), ("qonnx", "network.onnx")):
        result = invoke("export", "run", "--to", form, "--out", form)
        assert result.exit_code == 0, result.output
        assert Path(form, file).is_file()
    assert json.loads(Path("hex/manifest.json").read_text())["rule"] == "drtp"
    arrays = json.loads(Path("run/checkpoint.json").read_text())["arrays"]
    with np.load("npz/state.npz") as exported, np.load(Path("run", arrays)) as saved:
        assert np.array_equal(exported["weight.1"], saved["weight.1"])
    assert "--lr: run says that already" in refused("run", "--to", "npz", "--lr", "0.5", "--out", "x")
    assert "has the rule drtp, not dfa" in refused("run", "--to", "npz", "--rule", "dfa", "--out", "x")
    assert "other datapath than these" in refused("run", "--to", "npz", "--datapath", "s16", "--out", "x")
    assert "something is there already" in refused("run", "--to", "npz", "--out", "hex")


def test_refusals():
    assert "float32: hex vectors hold integers" in refused("--to", "hex", "--net", "64-6-10", "--out", "x")
    assert "unknown form of export 'csv'" in refused("--to", "csv", *NET)
    assert "give 1 .. 44" in refused("--to", "hex", *NET, "--steps", "45", "--out", "x")
    assert "no checkpoint can be read there" in refused("nowhere", "--to", "hex")


def test_qonnx_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "pip install 'fasim[export]'" in refused("--to", "qonnx", *NET, "--out", "x")
