"""The options of a training run on the command line: what they do, what they refuse, how a run goes on."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from fasim import data, feedback, rules, stopping
from fasim.cli import command
from fasim.progress import COMPILING

SMALL = ["--net", "64-12-10", "--epochs", "1"]
STEP_OPTIONS = ["--target", "value", "--feedback-optimizer", "adam", "--weight-decay", "0.01"]
STEP_OPTIONS += ["--feedback-weight-decay", "0.02", "--decay-kind", "adamw", "--clip", "norm:1", "--freeze", "1"]
STEP_OPTIONS += ["--fgsm", "0.1", "--hook", "post_pool", "--feedback", "gaussian:0.1"]
NETWORK_OPTIONS = ["--batch-norm", "--dropout", "0.5", "--input-dropout", "0.25", "--dropout-kind", "classical"]


def invoke(*arguments):
    return CliRunner().invoke(command, list(arguments))


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def trained(*arguments):
    result = invoke("train", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_options_of_network_step_and_plan_reach_the_run():
    plan = ["--rate-schedule", "step:0.5:2", "--feedback-rate", "2^-9", "--feedback-schedule", "cosine"]
    plan += ["--last-batch", "keep", "--augment", "crop:1", "--stages", "hidden:5,all:5", "--stop", "train_error:0.001"]
    step = ["--target", "label", *STEP_OPTIONS[2:], "--loss", "mse"]
    run = trained("--net", "8x8x1-2c3-2p-9-10", "--epochs", "1", "--rule", "kp", *NETWORK_OPTIONS, *step, *plan)
    found = {name: run[name] for name in run if name not in ("epochs", "energy", "run_folder", "sites")}
    expected = {
        "batch_norm": True,
        "dropout": 0.5,
        "input_dropout": 0.25,
        "dropout_kind": "classical",
        "output": "linear",
        "target": "label",
        "feedback_optimizer": "adam",
        "weight_decay": 0.01,
        "feedback_weight_decay": 0.02,
        "decay_kind": "adamw",
        "clip": "norm:1",
        "freeze": "1",
        "fgsm": 0.1,
        "hook": "post_pool",
        "feedback": "gaussian:0.1",
        "rate_schedule": "step:0.5:2",
        "feedback_rate": 2**-9,
        "feedback_schedule": "cosine",
        "last_batch": "keep",
        "augment": "crop:1",
        "stages": "hidden:5,all:5",
        "stop": "train_error:0.001",
        "standardise": "none",
    }
    assert expected.items() <= found.items()


@pytest.mark.parametrize("name", ["show", "energy"])
def test_show_and_energy_take_the_options_of_network_and_step(name):
    plain = invoke(name, "--net", "16-8-4", "--rule", "kp")
    full = invoke(name, "--net", "16-8-4", "--rule", "kp", "--loss", "mse", *NETWORK_OPTIONS, *STEP_OPTIONS)
    assert full.exit_code == 0, full.output
    assert full.stdout != plain.stdout


REFUSED = {
    "dropout 1": (["--dropout", "1"], ["dropout 1.0", "p < 1"]),
    "dropout nan": (["--dropout", "nan"], ["dropout nan"]),
    "negative input dropout": (["--input-dropout", "-0.1"], ["input dropout -0.1"]),
    "kind of dropout": (["--dropout-kind", "invert"], ["kind of dropout 'invert'", "inverted"]),
    "target": (["--target", "lable"], ["unknown target 'lable'", "label"]),
    "target of labels": (["--target", "value"], ["target value", "classification", "label"]),
    "labels of a regression": (["--data", "own.npz", "--target", "value"], ["target value"]),
    "feedback optimizer": (["--feedback-optimizer", "adm"], ["feedback optimizer 'adm'", "adam"]),
    "negative weight decay": (["--weight-decay", "-1"], ["weight decay -1.0"]),
    "weight decay in words": (["--weight-decay", "little"], ["little", "--help"]),
    "negative feedback decay": (["--feedback-weight-decay", "-1"], ["feedback weight decay -1.0"]),
    "kind of decay": (["--decay-kind", "l2"], ["kind of weight decay 'l2'", "coupled"]),
    "clip": (["--clip", "1"], ["clip '1'", "norm:1.0"]),
    "clip at nothing": (["--clip", "norm:0"], ["clip 'norm:0'"]),
    "freeze a layer that is not there": (["--freeze", "7"], ["freeze '7'", "1 to 3"]),
    "freeze all": (["--freeze", "hidden,output"], ["leaves no layer"]),
    "fgsm": (["--fgsm", "-0.1"], ["fgsm -0.1"]),
    "hook": (["--hook", "pool"], ["unknown hook 'pool'", "pre_pool"]),
    "feedback modifier": (["--feedback", "uniform+sparse"], ["modifier 'sparse'"]),
    "rate schedule": (["--rate-schedule", "steps"], ["learning-rate schedule 'steps'", "step:0.5:7"]),
    "feedback schedule": (["--feedback-schedule", "step:2:1"], ["step:2:1"]),
    "feedback rate": (["--feedback-rate", "fast"], ["--feedback-rate 'fast'"]),
    "negative feedback rate": (["--feedback-rate", "-1"], ["feedback learning rate -1.0"]),
    "last batch": (["--last-batch", "pad"], ["last batch 'pad'", "drop", "keep"]),
    "augmentation": (["--augment", "rotate"], ["augmentation 'rotate'", "flip"]),
    "augmentation too wide": (["--augment", "crop:8"], ["crop:8", "7 pixels"]),
    "stages": (["--stages", "hidden"], ["stage 'hidden'", "hidden:90"]),
    "stop": (["--stop", "train_error:2"], ["train_error:2", "train_error:1e-4"]),
    "stop without labels": (["--target", "input", "--stop", "train_error:0.1"], ["stop train_error:0.1", "no labels"]),
    "standardise": (["--standardise", "zscore"], ["standardisation 'zscore'", "pixel"]),
    "cross entropy without labels": (["--target", "input", "--loss", "cross_entropy"], ["cross_entropy needs labels"]),
    "bce outside 0..1": (["--target", "input", "--loss", "bce", "--standardise", "pixel"], ["loss bce", "0..1"]),
    "outputs of an auto-encoder": (["--net", "64-8-10", "--target", "input"], ["10 outputs", "64 inputs"]),
}
IN_TRAIN = {
    "standardised inputs in fixed point": (["--datapath", "s8", "--standardise", "unit"], ["s8", "float32"]),
    "batch norm in fixed point": (["--datapath", "s8", "--batch-norm"], ["s8"]),
    "a schedule off powers of two": (
        ["--datapath", "s8", "--rate-schedule", "step:0.6:1"],
        ["rate schedule, epoch 2", "power of two"],
    ),
    "resume nothing": (["--resume", "nowhere"], ["nowhere", "--checkpoint"]),
    "resume into another folder": (["--resume", "here", "--out", "there"], ["--resume here", "--out"]),
}
IN_COMPARE = {
    "standardised inputs in fixed point": (["--datapaths", "float32,s8", "--standardise", "unit"], ["s8", "float32"]),
    "a schedule off powers of two": (
        ["--datapaths", "float32,s8", "--rate-schedule", "step:0.6:1"],
        ["rate schedule, epoch 2", "power of two"],
    ),
}


def refused(tmp_path, arguments, words):
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.strip().splitlines()
    for word in words:
        assert word in line, line
    assert [path.name for path in tmp_path.iterdir()] in ([], ["own.npz"])


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_option_of_train_is_one_line_before_anything_has_run(name, tmp_path):
    if "own.npz" in REFUSED[name][0]:
        x, y = np.zeros((40, 64), np.uint8), np.arange(40) % 2
        np.savez("own.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    refused(tmp_path, ["train", *REFUSED[name][0]], REFUSED[name][1])


@pytest.mark.parametrize("name", ["dropout 1", "clip", "stages", "standardise", "stop", "rate schedule", "augmentation"])
def test_a_bad_option_of_compare_is_one_line_before_anything_has_run(name, tmp_path):
    refused(tmp_path, ["compare", *REFUSED[name][0]], REFUSED[name][1])


@pytest.mark.parametrize("name", IN_TRAIN)
def test_train_refuses(name, tmp_path):
    refused(tmp_path, ["train", *IN_TRAIN[name][0]], IN_TRAIN[name][1])


@pytest.mark.parametrize("name", IN_COMPARE)
def test_compare_refuses_what_only_a_later_run_would_meet(name, tmp_path):
    refused(tmp_path, ["compare", *IN_COMPARE[name][0]], IN_COMPARE[name][1])


@pytest.fixture
def regression():
    """Return the options of a small regression: files of the user's hold labels only."""
    from fasim.data import synthetic

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "REGRESSION_SIZES", (400, 100))
        yield ["--data", "synthetic-regression", "--lr", "2^-12"]


def test_a_regression_is_told_by_its_loss(regression, tmp_path):
    result = invoke("train", *regression, "--net", "256-8-10", "--epochs", "2", "--train-accuracy", "--out", "run")
    assert result.exit_code == 0, result.output
    assert re.search(r"test loss 0\.\d{4} \(mse\)", result.stdout)
    assert "on the training set: loss" in result.stdout
    assert "accuracy" not in result.output.replace("fasim train", "")
    content = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert content["target"] == "value"
    assert content["output"] == "linear"
    assert [epoch["test_accuracy"] for epoch in content["epochs"]] == [None, None]
    assert content["epochs"][1]["train_loss"] < content["epochs"][0]["train_loss"]


def test_rules_are_compared_by_loss_where_there_are_no_labels(regression, tmp_path):
    quick = ["--net", "256-8-10", "--epochs", "1", "--seeds", "0,1", "--rules", "bp,dfa", "--datapaths", "float32"]
    result = invoke("compare", *regression, *quick, "--out", "rows")
    assert result.exit_code == 0, result.output
    assert "test loss" in result.stdout
    assert "accuracy" not in result.output
    assert (tmp_path / "rows" / "loss_energy.png").read_bytes().startswith(b"\x89PNG")
    (row, _) = json.loads((tmp_path / "rows" / "summary.json").read_text())["rows"]
    assert row["test_accuracy_mean"] is None
    assert 0 < row["test_loss_mean"] < 10
    assert row["test_loss_std"] > 0
    diverged = invoke("compare", *regression[:2], *quick, "--hidden", "linear", "--lr", "1")
    assert diverged.exit_code == 0, diverged.output
    assert "diverged" in diverged.stdout


@pytest.mark.parametrize("rate", ["2^-10", "100"])
def test_an_auto_encoder_shows_its_reconstructions(tmp_path, rate):
    arguments = ["--target", "input", "--hidden", "linear", "--net", "64-8-64", "--epochs", "1", "--rule", "bp"]
    result = invoke("train", *arguments, "--lr", rate, "--out", "run")
    assert result.exit_code == 0, result.output
    assert ("diverged" in result.stdout) == (rate == "100")
    assert "picture: run/reconstructions.png" in result.stdout
    assert (tmp_path / "run" / "reconstructions.png").read_bytes().startswith(b"\x89PNG")


def test_training_accuracy_and_an_early_stop_are_shown(tmp_path):
    arguments = ["--net", "64-32-10", "--rule", "bp", "--epochs", "30", "--stop", "train_error:0.4", "--lr", "2^-5"]
    result = invoke("train", *arguments, "--out", "run")
    assert result.exit_code == 0, result.output
    assert "on the training set: accuracy" in result.stdout
    assert "training accuracy" in result.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    errors = [1 - epoch["train_accuracy"] for epoch in summary["epochs"]]
    assert summary["stopped"]
    assert 3 <= len(errors) < 10
    assert f"stopped after {len(errors)} epochs: train_error:0.4 was reached" in result.stdout
    assert stopping.parse("train_error:0.4").stops(errors)
    assert not stopping.parse("train_error:0.4").stops(errors[:-1])


def test_angles_are_written_after_every_epoch(tmp_path):
    result = invoke("train", "--net", "64-12-12-10", "--epochs", "2", "--angles", "--out", "run")
    assert result.exit_code == 0, result.output
    records = [json.loads(line) for line in (tmp_path / "run" / "angles.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [0, 1, 2]
    assert (tmp_path / "run" / "angles.png").read_bytes().startswith(b"\x89PNG")


def test_rules_and_feedback_list_everything_with_sources():
    listed = invoke("rules").stdout
    for name in rules.names():
        row = next(line for line in listed.splitlines() if line.split()[1:2] == [name])
        assert rules.get(name).source.split(",")[0] in row
    answers = {line.split()[1]: re.findall(r"\b(?:yes|no)\b", line)[-2:] for line in listed.splitlines() if "│" in line}
    assert answers["dfa"] == ["yes", "yes"]
    assert answers["shallow"] == ["no", "yes"]
    assert answers["kp"] == ["yes", "yes"]
    assert answers["ifa"] == ["no", "yes"]
    words = invoke("feedback").stdout
    for name in (*feedback.BASES, *(f"+{name}" for name in feedback.MODIFIERS)):
        assert re.search(rf"│ {re.escape(name)}[ :]", words), name


def test_help_names_every_data_set_and_groups_the_options():
    text = " ".join(re.sub(r"-\n +", "-", invoke("train", "--help").stdout).split())
    for name in data.names():
        assert name in text
    for title in ("Data:", "Network:", "Training step:", "Feedback:", "From epoch to epoch:", "Run and results:"):
        assert title in text


def test_help_imports_no_numba():
    code = (
        "import sys\nfrom fasim.cli import command\ntry:\n    command(['train', '--help'])\nexcept SystemExit:\n    pass\n"
    )
    code += "print([name for name in ('numba', 'numpy', 'matplotlib') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


LONG = ["--net", "64-12-10", "--rule", "kp", "--optimizer", "momentum", "--batch-norm", "--dropout", "0.2", "--angles"]


def test_a_run_stopped_with_ctrl_c_goes_on_with_the_same_bits(tmp_path):
    arguments = ["train", *LONG, "--epochs", "40"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fasim", *arguments, "--checkpoint", "--out", "stopped"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    lines = (line for line in process.stderr if not line.startswith(COMPILING))
    first = [next(lines) for _ in range(2)]
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130, first + [rest]
    saved = json.loads((tmp_path / "stopped" / "checkpoint.json").read_text())
    assert 2 <= len(saved["epochs"]) < 40
    resumed = invoke(*arguments, "--resume", "stopped")
    assert resumed.exit_code == 0, resumed.output
    assert f"epoch {len(saved['epochs'])}:" not in resumed.stderr
    assert invoke(*[word for word in arguments if word != "--angles"], "--checkpoint", "--out", "whole").exit_code == 0
    one, other = (np.load(tmp_path / name / "checkpoint-40.npz") for name in ("stopped", "whole"))
    assert set(one.files) == set(other.files)
    assert [name for name in one.files if not np.array_equal(one[name], other[name])] == []
    records = [json.loads(line)["epoch"] for line in (tmp_path / "stopped" / "angles.jsonl").read_text().splitlines()]
    assert records[-1] == 40
    assert len(records) >= 40


def test_a_checkpoint_is_neither_replaced_nor_continued_by_another_run(tmp_path):
    trained(*SMALL, "--checkpoint", "--out", "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    for arguments, words in (
        (["--checkpoint", "--out", "run"], ["--resume run"]),
        (["--resume", "run", "--seed", "1"], ["seed 0", "1 is given"]),
        (["--resume", "run", "--dropout", "0.5"], ["dropout 0.0"]),
        (["--resume", "run", "--standardise", "unit"], ["other standardisation"]),
        (["--resume", "run", "--batch-size", "16"], ["batch_size 32"]),
    ):
        result = invoke("train", *SMALL, *arguments)
        assert result.exit_code == 2, result.output
        for word in words:
            assert word in result.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_damaged_angles_are_refused(tmp_path):
    trained(*SMALL, "--checkpoint", "--angles", "--out", "run")
    (tmp_path / "run" / "angles.jsonl").write_text('{"epoch": 0}\n{"epo')
    result = invoke("train", *SMALL, "--angles", "--resume", "run")
    assert result.exit_code == 2
    assert "angles.jsonl: damaged" in result.stderr
