"""What sweeps and searches share with single runs: configurations, names of settings, folders, limits of memory."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fasim import cli_config
from fasim.cli import command
from fasim.errors import ConfigError
from fasim.fixedpoint import load_datapath
from fasim.locks import FolderLock
from fasim.sweep import SweepFolder, read_text, resolve
from fasim.sweep.as_training import options_of
from fasim.sweep.keys import KEYS

GRID = '[settings]\nnet = "64-8-10"\nepochs = 1\n[grid]\nrule = ["bp", "dfa"]\nseed = [0, 1]\n'
# what a run says of itself, by the names that a point's result and the summary of `fasim train` have for it
FIGURES = ("validation_accuracy", "diverged", "stopped")
OF_AN_EPOCH = ("test_accuracy", "test_loss", "train_accuracy")


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def invoke(*arguments):
    return CliRunner().invoke(command, list(arguments))


def done(*arguments):
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def swept(text, out="out"):
    """Run a sweep in this process; return its finished points by name."""
    Path("grid.toml").write_text(text, encoding="utf-8")
    done("sweep", "grid.toml", "--workers", "0", "--out", out)
    return {row["point"]: row for row in SweepFolder(Path(out)).rows()}


def check_same(row, summary):
    """Hold a point against a run of its configuration, to the bit."""
    last = summary["epochs"][-1]
    assert [row[name] for name in OF_AN_EPOCH] == [last[name] for name in OF_AN_EPOCH]
    assert [row[name] for name in FIGURES] == [summary[name] for name in FIGURES]
    assert row["epochs"] == len(summary["epochs"])
    assert row["saturations"] == sum(epoch["saturations"] for epoch in summary["epochs"])
    for name in ("energy_pj_per_sample", "macs_per_sample"):
        assert row[name] == summary["energy"][name]


CASES = (
    'rule = "dfa"\nfeedback = "crafton"\nsparsity = "k:1"\nvalidation = 0.25\nlr = "2^-5"\nhidden = "relu"',
    'rule = "kp"\ndatapath = "s8"\nfeedback_rate = "2^-9"\nlearning_rate = "2^-6"\nbatch_size = 16\nlast_batch = "keep"',
    'rule = "drtp"\ndatapath = "my8.toml"\nlearning_rate = "2^-5"\nvalidation = 0.1\nprocessor = "generic_28nm"',
    'rule = "bp"\noptimizer = "adam"\nlearning_rate = 0.003\nloss = "cross_entropy"\ndropout = 0.3\ntrain_accuracy = true\n'
    'rate_schedule = "cosine"\nstop = "train_error:0.01"\nweight_decay = 0.01\ndecay_kind = "adamw"\ninit = "he"\n'
    'clip = "norm:1"\nstandardise = "unit"',
    'rule = "dkp"\nnet = "8x8x1-4c3-2p-10"\nbatch_norm = true\nhook = "post_pool"\nreduction = "mean"\nlearning_rate = 0.3',
    'rule = "dfa"\ndata = "own.npz"\nnet = "6-8-3"\ndatapath = "s16"\nbatch_size = 8',
)


def test_the_configuration_of_a_point_repeats_it_to_the_bit():
    own = np.random.default_rng(5)
    x, y = own.integers(0, 256, (60, 6)).astype(np.uint8), np.arange(60) % 3
    np.savez("own.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    s8 = load_datapath("s8").to_toml()
    Path("my8.toml").write_text(s8.replace('name = "s8"', 'name = "my8"'), encoding="utf-8")
    cases = "".join(f"[[cases]]\n{case}\n" + ('net = "64-8-10"\n' if "net" not in case else "") for case in CASES)
    points = swept(f"[settings]\nepochs = 2\n{cases}[grid]\nseed = [3]\n")
    assert len(points) == len(CASES)
    for name, row in points.items():
        file = f"out/points/{name}/config.toml"
        check_same(row, json.loads(done("run", file, "--json", "--threads", "2")))
        # train --config is the same run, of which something may be changed
        changed = json.loads(done("train", "--config", file, "--epochs", "1", "--json"))
        assert len(changed["epochs"]) == 1
        assert changed["learning_rate"] == row["learning_rate"]
    assert {name for name in points if points[name]["validation_accuracy"] is not None} == {
        name for name in points if points[name]["validation"]
    }
    (own_data,) = (name for name in points if points[name]["data"] == "own.npz")
    np.savez("own.npz", x_train=255 - x, y_train=y, x_test=x, y_test=y)
    refused = invoke("run", f"out/points/{own_data}/config.toml")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "own.npz is not what it was" in refused.stderr


def test_the_name_of_a_point_is_the_hash_of_a_file_in_it():
    for name in swept(GRID):
        content = Path("out/points", name, "identity.json").read_bytes()
        assert hashlib.sha256(content).hexdigest().startswith(name)
        assert json.loads(content)["epochs"] == 1


def test_every_setting_of_a_point_is_an_option_of_train():
    settings = {**KEYS, **{key: "x" for key, value in KEYS.items() if value is None}}
    options = options_of(settings)
    assert set(options) <= set(cli_config.parameters(command.commands["train"].load()))
    assert {*options, "learning_rate", "sparsity"} == {*KEYS, "lr"}


def test_the_learning_rate_has_the_name_of_the_option_too():
    tables = (
        '[grid]\n{} = ["2^-6", "2^-7"]',
        "[[cases]]\n{} = 0.5\n[[cases]]\n{} = 0.25",
        "[settings]\n{} = 1.0\n[grid]\nseed = [0]",
    )
    for text in (*tables, "[sample]\npoints = 3\n[sample.ranges.{}]\nlow = 1e-4\nhigh = 1e-1"):
        one, other = (read_text(text.replace("{}", name)) for name in ("lr", "learning_rate"))
        assert (one.cases, one.axes) == (other.cases, other.axes)
        assert [resolve(case).name for case in one.cases] == [resolve(case).name for case in other.cases]
    with pytest.raises(ConfigError, match=r"\[settings\] lr and learning_rate are the same; write one"):
        read_text("[settings]\nlr = 0.5\nlearning_rate = 0.5\n[grid]\nseed = [0]")


def test_train_holds_out_what_it_is_told_and_refuses_what_it_cannot():
    options = ("--net", "64-8-10", "--epochs", "1", "--out", "kept")
    assert "held out 25 %" in done("train", *options, "--validation", "25%")
    content = json.loads(Path("kept/summary.json").read_text())
    assert content["validation"] == 0.25
    assert tomllib.loads(Path("kept/config.toml").read_text())["validation"] == "25%"
    for given, words in (
        ("2", "write a share"),
        ("1", "between 0 and 1 is needed"),
        ("1e-9", "samples of digits are held out"),
    ):
        refused = invoke("train", *options, "--validation", given)
        assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
        assert words in refused.stderr
    refused = invoke("train", "--net", "64-8-64", "--target", "input", "--validation", "0.1")
    assert "trained without labels" in refused.stderr


def test_a_search_leaves_a_configuration_for_each_best():
    search = (
        "--net",
        "64-8-10",
        "--rules",
        "bp,dfa",
        "--datapaths",
        "s8",
        "--seeds",
        "2",
        "--trials",
        "3",
        "--epochs",
        "1",
    )
    content = json.loads(done("tune", *search, "--workers", "0", "--out", "out", "--json"))
    folder = Path("out/report")
    assert sorted(path.name for path in folder.glob("train-*.toml")) == ["train-bp-s8.toml", "train-dfa-s8.toml"]
    done("sweep", "out/report/best.toml", "--workers", "0", "--out", "best")
    rows = {row["rule"]: row for row in SweepFolder(Path("best")).rows()}
    assert len(content["best_configurations"]) == 2
    for path in content["best_configurations"]:
        summary = json.loads(done("train", "--config", path, "--json"))
        check_same(rows[summary["rule"]], summary)


def test_a_folder_is_of_one_sweep_at_a_time():
    Path("grid.toml").write_text(GRID, encoding="utf-8")
    Path("other.toml").write_text(GRID.replace("[0, 1]", "[2]"), encoding="utf-8")
    done("sweep", "grid.toml", "--workers", "0", "--out", "out")
    before = Path("out/plan.json").read_bytes()
    lock = FolderLock(Path("out"))
    for words in (("sweep", "grid.toml"), ("sweep", "other.toml"), ("tune", "--net", "64-8-10", "--trials", "2")):
        refused = invoke(*words, "--workers", "0", "--out", "out")
        assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1), refused.output
        assert f"out: process {os.getpid()} on " in refused.stderr
        assert "is at work there; wait until it has ended, or give another folder" in refused.stderr
        assert Path("out/plan.json").read_bytes() == before
    # to look is no work
    assert json.loads(done("sweep", "--report", "out", "--json"))["finished"] == 4
    lock.release()
    done("sweep", "other.toml", "--workers", "0", "--out", "out")
    assert len(SweepFolder(Path("out")).finished()) == 6
    assert not Path("out/.lock").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of the address space as Linux holds it")
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_worker_without_memory_loses_its_point_and_no_other(workers):
    import resource

    if workers != "0":
        pytest.importorskip("distributed", reason="Dask is not installed: pip install 'fasim[sweep]'")
    nets = '["64-8-10", "64-60000-60000-10", "64-9-10"]'
    Path("grid.toml").write_text(f"[settings]\nepochs = 1\n[grid]\nnet = {nets}\nseed = [0]\n", encoding="utf-8")
    limit = 6 * 2**30
    result = subprocess.run(
        [sys.executable, "-m", "fasim", "sweep", "grid.toml", "--workers", workers, "--out", "out"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert result.returncode == 1, result.stdout + result.stderr
    lines = [line for line in result.stdout.splitlines() if line.startswith("failed: ")]
    assert len(lines) == 1
    assert "64-60000-60000-10" in lines[0]
    assert "not enough memory" in lines[0]
    assert "fasim: 1 could not run; the same command tries them again" in result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert {row["net"] for row in SweepFolder(Path("out")).rows()} == {"64-8-10", "64-9-10"}
