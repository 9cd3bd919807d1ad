"""The commands as a user meets them: what they print, write and refuse."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from fasim.cli import command
from fasim.progress import COMPILING

QUICK = ["--epochs", "1", "--seeds", "0", "--net", "64-16-10"]


def invoke(*arguments):
    return CliRunner().invoke(command, list(arguments))


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_compare_writes_table_picture_and_results(tmp_path):
    out = tmp_path / "results"
    result = invoke("compare", *QUICK, "--rules", "bp,drtp", "--datapaths", "float32,s8", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert result.stdout.rstrip().endswith(f"results: {out}")
    for word in ("bp", "drtp", "float32", "s8", "ratio to bp", "generic_45nm"):
        assert word in result.stdout
    assert sorted(path.name for path in out.iterdir()) == ["accuracy_energy.png", "config.toml", "rows.csv", "summary.json"]
    assert (out / "accuracy_energy.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((out / "rows.csv").read_text().splitlines()))
    assert [(row["rule"], row["datapath"]) for row in rows] == [
        ("bp", "float32"),
        ("drtp", "float32"),
        ("bp", "s8"),
        ("drtp", "s8"),
    ]
    assert float(rows[0]["energy_ratio_to_bp_typical"]) == 1.0


def test_compare_json_has_the_promised_keys_and_nothing_else_on_stdout():
    arguments = ["--net", "64-16-16-10", "--epochs", "1", "--rules", "dfa", "--datapaths", "s8", "--seeds", "0,3"]
    result = invoke("compare", *arguments, "--json")
    content = json.loads(result.stdout)
    assert set(content) == {"data", "net", "processor", "run_folder", "rows"}
    (row,) = content["rows"]
    assert set(row) == {
        "rule",
        "datapath",
        "test_accuracy_mean",
        "test_accuracy_std",
        "test_loss_mean",
        "test_loss_std",
        "seeds",
        "train_samples_per_s",
        "macs_per_sample",
        "energy_pj_per_sample",
        "energy_ratio_to_bp",
        "learning_rate",
        "peak_activation_bytes",
        "peak_live_bytes",
        "feedback_bytes",
        "saturations",
        "saturation_fraction",
        "wraps",
        "difference_to_first",
    }
    assert row["seeds"] == [0, 3]
    assert 0 < row["test_accuracy_mean"] < 1
    assert row["test_accuracy_std"] >= 0
    assert row["energy_pj_per_sample"]["low"] <= row["energy_pj_per_sample"]["high"]
    assert row["energy_ratio_to_bp"]["typical"] != 1.0
    assert row["learning_rate"] == 2**-7
    assert os.path.isfile(os.path.join(content["run_folder"], "summary.json"))


def test_one_seed_has_no_deviation():
    result = invoke("compare", *QUICK, "--rules", "dfa", "--datapaths", "float32", "--json")
    assert json.loads(result.stdout)["rows"][0]["test_accuracy_std"] is None


def test_learning_rate_by_rule():
    arguments = ["compare", *QUICK, "--rules", "bp,dfa,fa", "--datapaths", "float32", "--json"]
    rows = json.loads(invoke(*arguments, "--lr", "2^-8,dfa=0.003").stdout)["rows"]
    assert [row["learning_rate"] for row in rows] == [2**-8, 0.003, 2**-8]


def test_train_draws_learning_curves(tmp_path):
    out = tmp_path / "run"
    result = invoke("train", "--rule", "fa", "--datapath", "s16", "--net", "64-16-10", "--epochs", "2", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "test accuracy" in result.stdout
    assert result.stdout.rstrip().endswith(f"results: {out}")
    assert (out / "learning_curves.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(csv.DictReader((out / "epochs.csv").read_text().splitlines()))) == 2
    assert json.loads((out / "summary.json").read_text())["rule"] == "fa"


def test_show_prints_the_schedule_and_its_locking():
    result = invoke("show", "--net", "784-500-10", "--rule", "drtp")
    assert result.exit_code == 0
    assert "SELECT" in result.stdout
    assert "update-locked (wait for the output error): 0 of 1" in result.stdout
    locked = invoke("show", "--net", "784-500-500-10", "--rule", "bp", "--datapath", "s8", "--fuse", "within_layer")
    assert "update-locked (wait for the output error): 2 of 2" in locked.stdout
    assert "backward-locked (wait for the delta of a hidden layer above): 1 of 2" in locked.stdout
    assert "layers that read weights transposed: 2" in locked.stdout
    direct = invoke("show", "--net", "784-500-500-10", "--rule", "dfa")
    assert "backward-locked (wait for the delta of a hidden layer above): 0 of 2" in direct.stdout
    conv = invoke("show", "--net", "28x28x1-32c5-2p-1000-10", "--rule", "dfa", "--hidden", "relu")
    assert "GRAD_CONV" in conv.stdout


def test_energy_prints_breakdown_and_json():
    result = invoke("energy", "--net", "784-500-10", "--rule", "dfa", "--datapath", "s8", "--batch-size", "1")
    assert result.exit_code == 0, result.output
    assert "ratio to bp" in result.stdout
    assert "MACs per sample: 799,000" in result.stdout
    content = json.loads(invoke("energy", "--net", "784-500-10", "--rule", "bp", "--batch-size", "1", "--json").stdout)
    assert content["macs_per_sample"] == 799_000
    assert content["energy_ratio_to_bp"] == {"low": 1.0, "typical": 1.0, "high": 1.0}


def test_doctor_and_version():
    result = invoke("doctor")
    assert "same bits" in result.stdout
    assert invoke("--version").stdout.strip() == "fasim, version 0.1.0"


REFUSED = {
    "unknown rule": (["compare", "--rules", "bpp"], ["unknown rule 'bpp'", "did you mean 'bp'"]),
    "impossible topology": (["compare", "--net", "64-5c3-10"], ["convolution '5c3' needs maps"]),
    "unreadable topology": (["compare", "--net", "banana"], ["784-500-10"]),
    "wrong input size": (["compare", "--net", "63-10-10"], ["takes 63 inputs", "64 features", "start the network with 64"]),
    "wrong outputs": (["train", "--net", "64-10-9"], ["9 outputs", "10 classes"]),
    "unknown processor": (["compare", "--processor", "generic_45"], ["generic_45", "generic_45nm"]),
    "negative epochs": (["compare", "--epochs", "-1"], ["epochs -1", "at least 1"]),
    "zero batch": (["train", "--batch-size", "0"], ["batch size 0"]),
    "large batch": (["train", "--batch-size", "5000"], ["batch size 5000", "1437"]),
    "bare format": (["compare", "--datapaths", "s8.6"], ["s8.6", "s8"]),
    "unknown datapath": (["compare", "--datapaths", "s9"], ["s9"]),
    "unknown data": (["compare", "--data", "digit"], ["digit"]),
    "missing file": (["compare", "--data", "nowhere.npz"], ["nowhere.npz"]),
    "learning rate by unknown rule": (["compare", "--lr", "dfb=0.1"], ["unknown rule 'dfb'"]),
    "unreadable learning rate": (["compare", "--lr", "fast"], ["fast", "2^-7"]),
    "learning rate no power of two": (["compare", "--lr", "0.01"], ["power of two", "2^-7"]),
    "negative learning rate": (["compare", "--datapaths", "float32", "--lr", "-1"], ["positive"]),
    "momentum in fixed point": (["compare", "--optimizer", "momentum"], ["momentum", "sgd"]),
    "adam in fixed point": (["compare", "--optimizer", "adam"], ["adam", "sgd or momentum"]),
    "mean in fixed point": (["compare", "--reduction", "mean"], ["reduction sum"]),
    "loss and output": (["compare", "--loss", "bce", "--output", "linear"], ["bce", "sigmoid", "linear"]),
    "unknown loss": (["compare", "--loss", "hinge"], ["unknown loss 'hinge'"]),
    "unknown optimizer": (["train", "--optimizer", "sdg"], ["did you mean 'sgd'"]),
    "unknown backend": (["train", "--backend", "gpu"], ["unknown backend 'gpu'"]),
    "seed not a number": (["compare", "--seeds", "a"], ["--seeds 'a'"]),
    "negative seed": (["compare", "--seeds", "-3"], ["seed -3"]),
    "seeds downwards": (["compare", "--seeds", "5-2"], ["--seeds '5-2'", "upwards", "0-255"]),
    "too many seeds": (["compare", "--seeds", "100001"], ["1 to 100000 seeds"]),
    "a seed twice": (["compare", "--seeds", "0-3,2"], ["seeds: at least one is needed, and each only once"]),
    "huge seed": (["train", "--seed", "99999999999999999999"], ["seed 99999999999999999999"]),
    "epochs in words": (["compare", "--epochs", "two"], ["two", "--help"]),
    "unknown option": (["compare", "--epoch", "2"], ["--epoch", "--help"]),
    "unknown command": (["compair"], ["compair", "--help"]),
    "two rates for a rule": (["compare", "--lr", "bp=0.1,bp=0.01"], ["bp stands twice"]),
    "a rate for a rule that does not run": (
        ["compare", "--rules", "bp", "--lr", "dfa=2^-7"],
        ["dfa", "not among the rules"],
    ),
    "a rate below float32": (["train", "--lr", "2^-200"], ["learning rate"]),
    "more than any memory": (["train", "--net", "64-2-1000000-1000000-10"], ["memory"]),
    "same rule twice": (["compare", "--rules", "bp,bp"], ["only once"]),
    "empty list": (["compare", "--rules", ""], ["--rules"]),
    "negative threads": (["train", "--threads", "-2"], ["threads -2"]),
    "batch normalisation without a format": (["train", "--batch-norm", "--datapath", "s8"], ["[norm]"]),
    "unknown feedback": (["train", "--feedback", "gauss"], ["unknown feedback 'gauss'"]),
    "show unknown order": (["show", "--net", "4-3-2", "--order", "lazy"], ["unknown order 'lazy'"]),
    "show unknown fusion": (["show", "--net", "4-3-2", "--fuse", "all"], ["unknown fusion 'all'"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_one_line_and_exit_code_2(name, tmp_path):
    arguments, words = REFUSED[name]
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.strip().splitlines()
    assert "Traceback" not in line
    for word in words:
        assert word in line, line
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left == []
    assert [path for path in tmp_path.rglob("*") if path.is_dir()] == []


def test_nan_in_the_data_and_a_truncated_file_are_refused(tmp_path):
    x = np.full((20, 4), 0.5)
    labels = np.arange(20) % 2
    x[3, 1] = np.nan
    np.savez(tmp_path / "bad.npz", x_train=x, y_train=labels, x_test=x, y_test=labels)
    result = invoke("compare", "--data", "bad.npz")
    assert result.exit_code == 2
    assert "x_train" in result.stderr
    whole = tmp_path / "bad.npz"
    (tmp_path / "cut.npz").write_bytes(whole.read_bytes()[:300])
    cut = invoke("train", "--data", "cut.npz")
    assert cut.exit_code == 2
    assert len(cut.stderr.strip().splitlines()) == 1


def test_own_data_trains(tmp_path):
    random = np.random.default_rng(0)
    labels = np.arange(200) % 2
    x = (random.integers(0, 100, (200, 6)) + 100 * labels[:, None]).astype(np.uint8)
    np.savez(tmp_path / "own.npz", x_train=x, y_train=labels, x_test=x, y_test=labels)
    result = invoke("train", "--data", "own.npz", "--epochs", "20", "--json", "--batch-size", "8")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["epochs"][-1]["test_accuracy"] > 0.95


def test_what_has_finished_before_an_error_is_kept(tmp_path, monkeypatch):
    from fasim import comparison

    trained = comparison.train_population

    def train(*given, **options):
        if str(options["rule"]) == "dfa":
            raise MemoryError("no room")
        return trained(*given, **options)

    monkeypatch.setattr(comparison, "train_population", train)
    result = invoke("compare", *QUICK, "--rules", "bp,dfa", "--datapaths", "float32", "--out", "kept")
    assert result.exit_code == 2
    assert "not enough memory" in result.stderr
    assert [row["rule"] for row in json.loads((tmp_path / "kept" / "summary.json").read_text())["rows"]] == ["bp"]


def test_a_folder_of_the_users_stays(tmp_path):
    (tmp_path / "mine").mkdir()
    assert invoke("compare", "--rules", "nope", "--out", "mine").exit_code == 2
    assert (tmp_path / "mine").is_dir()
    assert invoke("compare", "--rules", "nope", "--out", "mine/deep/below").exit_code == 2
    assert list((tmp_path / "mine").iterdir()) == []


def test_runs_of_one_second_have_folders_of_their_own(tmp_path):
    arguments = ["train", "--net", "64-4-10", "--epochs", "1", "--json"]
    folders = {json.loads(invoke(*arguments).stdout)["run_folder"] for _ in range(3)}
    assert len(folders) == 3


def test_datapaths_of_one_name_are_refused(tmp_path):
    from fasim.fixedpoint import load_datapath

    (tmp_path / "mine.toml").write_text(load_datapath("s8").to_toml())
    result = invoke("compare", "--datapaths", "s8,mine.toml")
    assert result.exit_code == 2
    assert "two have one name" in result.stderr
    (tmp_path / "float.toml").write_text(load_datapath("s8").to_toml().replace('name = "s8"', 'name = "float32"'))
    assert "float32" in invoke("train", "--datapath", "float.toml").stderr


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    result = invoke("compare", "--out", str(tmp_path / "file" / "below"))
    assert result.exit_code == 2
    assert "--out" in result.stderr


def test_console_script_has_no_traceback():
    done = subprocess.run(
        [sys.executable, "-m", "fasim", "train", "--rule", "nope"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "unknown rule 'nope'" in done.stderr


def stopped_after_its_first_line(arguments):
    """Run a command, send Ctrl-C once it has reported something, and return it finished."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fasim", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    first = next(line for line in process.stderr if not line.startswith(COMPILING))
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout, first + stderr


def test_ctrl_c_keeps_the_runs_that_have_finished(tmp_path):
    seeds = ",".join(map(str, range(200)))
    code, stdout, stderr = stopped_after_its_first_line(["compare", "--seeds", seeds, "--out", "kept"])
    assert code == 130, stderr
    assert "Traceback" not in stderr
    assert "what has finished is kept" in stderr
    assert stdout.rstrip().endswith("results: kept")
    content = json.loads((tmp_path / "kept" / "summary.json").read_text())
    assert not content["complete"]
    assert len(content["rows"][0]["seeds"]) >= 1
    assert (tmp_path / "kept" / "accuracy_energy.png").exists()


def test_ctrl_c_keeps_the_epochs_that_have_finished(tmp_path):
    code, _, stderr = stopped_after_its_first_line(
        ["train", "--datapath", "s8", "--threads", "2", "--epochs", "5000", "--out", "kept"]
    )
    assert code == 130, stderr
    assert "Traceback" not in stderr
    assert 1 <= len(json.loads((tmp_path / "kept" / "summary.json").read_text())["epochs"]) < 5000
