"""``fasim run``: lists, shows, runs, goes on, refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fasim import experiments
from fasim.cli import command
from fasim.data.sources import _digits
from fasim.experiments.running import data_of
from fasim.result_lines import append, claimed
from tests.small_experiment import SMALL


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FASIM_DATA", raising=False)
    (tmp_path / "small.toml").write_text(SMALL, encoding="utf-8")
    experiments.load_experiment.cache_clear()
    return tmp_path


def invoke(*arguments):
    return CliRunner().invoke(command, ["run", *arguments])


def lines(path="runs/papers.jsonl"):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def rows(*arguments):
    result = invoke(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["rows"]


def test_a_file_runs_every_case_and_seed_and_shows_published_beside_measured(folder):
    result = invoke("small.toml")
    assert result.exit_code == 0, result.output
    found = lines()
    assert [(line["cell"]["case"], line["cell"]["seed"]) for line in found] == [
        (case, seed) for seed in (0, 1) for case in ("thin bp", "thin dfa", "wide bp", "wide dfa")
    ]
    mean = sum(line["test_error_percent"][-1] for line in found if line["cell"]["case"] == "thin bp") / 2
    row = next(text for text in result.stdout.splitlines() if "thin bp" in text)
    assert f"{mean:.2f} ±" in row
    assert "10.5 ±.5" in row
    assert "reproduced" in row
    assert "not given" in next(text for text in result.stdout.splitlines() if "wide dfa" in text)


def test_a_line_says_what_made_it():
    invoke("small.toml", "--seeds", "1", "--case", "thin bp", "--epochs", "1")
    (line,) = lines()
    assert line["cell"] == {
        "table": "small",
        "case": "thin bp",
        "rule": "bp",
        "seed": 0,
        "epochs": 1,
        "learning_rate": 0.01,
        "data": "digits",
        "standardise": "unit",
        "network": {"net": "64-8-10"},
        "settings": {},
        "plan": {},
    }
    assert {"commit", "cpu", "versions", "threads", "seconds", "seconds_per_epoch"} <= set(line)
    assert line["command"] == 'fasim run small --case "thin bp" --seeds 1 --epochs 1'
    assert len(line["test_error_percent"]) == len(line["test_loss"]) == 1
    assert "train_error_percent" not in line


def test_what_has_its_line_is_not_run_again_and_the_rest_is(monkeypatch):
    arguments = ("small.toml", "--seeds", "1", "--epochs", "1")
    invoke(*arguments, "--case", "dfa")
    before = lines()
    result = invoke(*arguments)
    assert result.exit_code == 0
    assert lines()[:2] == before
    assert [line["cell"]["case"] for line in lines()] == ["thin dfa", "wide dfa", "thin bp", "wide bp"]

    def never(*_, **__):
        raise AssertionError("run again")

    monkeypatch.setattr(experiments, "run_case", never)
    assert invoke(*arguments).exit_code == 0
    assert len(lines()) == 4


def test_what_another_process_has_run_meanwhile_is_not_run_again(monkeypatch):
    train, seen = experiments.run_case, []

    def with_another(case, seed, **more):
        seen.append(case.name)
        line = train(case, seed, **more)
        experiment = experiments.load_experiment("small.toml")
        for other in experiment.select("thin dfa,wide bp"):
            append(Path("runs/papers.jsonl"), {"cell": experiments.cell_of(experiment, other, seed, epochs=1), **line})
        return line

    monkeypatch.setattr(experiments, "run_case", with_another)
    result = invoke("small.toml", "--seeds", "1", "--epochs", "1")
    assert result.exit_code == 0
    assert "other processes" not in result.stderr, "they have done it"
    assert seen == ["thin bp", "wide dfa"]


def test_what_another_process_is_at_is_left_to_it():
    arguments = ("small.toml", "--seeds", "1", "--epochs", "1")
    experiment = experiments.load_experiment("small.toml")
    (case,) = experiment.select("thin dfa")
    with claimed(Path("runs/papers.jsonl"), experiments.cell_of(experiment, case, 0, epochs=1)) as mine:
        result = invoke(*arguments)
    assert mine
    assert result.exit_code == 0
    assert "fasim: other processes are at 1 of these runs" in result.stderr
    assert [line["cell"]["case"] for line in lines()] == ["thin bp", "wide bp", "wide dfa"]
    invoke(*arguments)
    assert [line["cell"]["case"] for line in lines()][3:] == ["thin dfa"]


def test_the_same_seed_gives_the_same_figures_in_another_file():
    arguments = ("small.toml", "--seeds", "1", "--case", "thin dfa")
    invoke(*arguments, "--results", "a.jsonl")
    invoke(*arguments, "--results", "deep/b.jsonl", "--threads", "2")
    first, other = lines("a.jsonl")[0], lines("deep/b.jsonl")[0]
    assert first["test_loss"] == other["test_loss"]
    assert (first["threads"], other["threads"]) == (1, 2)


def test_what_was_published_is_measured(folder):
    """Each measure has a row and figures of its own; angles only of rules with direct feedback."""
    more = "\n".join(
        f'[published.{measure}]\nsource = "paper"\nthin = ["50", "50"]\nwide = ["50", "50"]'
        for measure in ("train_accuracy", "test_loss", "readout_angle", "signal_angle")
    )
    (folder / "small.toml").write_text(f"{SMALL}{more}\n", encoding="utf-8")
    found = {row["measure"]: row["mean"] for row in rows("small.toml", "--case", "thin dfa", "--seeds", "1")}
    (line,) = lines()
    assert found["train_accuracy"] == pytest.approx(100 - line["train_error_percent"][-1])
    assert found["test_loss"] == line["test_loss"][-1]
    assert found["readout_angle"] == pytest.approx(line["readout_angles"][-1][0])
    assert found["signal_angle"] == pytest.approx(line["signal_angles"][-1][0])
    assert 0 < found["signal_angle"] < 90
    assert found["readout_angle"] != found["signal_angle"]
    names = ("train_error_percent", "test_loss", "readout_angles", "signal_angles")
    assert [len(line[name]) for name in names] == [2] * 4


def test_fewer_epochs_are_marked_as_a_short_run():
    (row,) = rows("small.toml", "--seeds", "1", "--case", "thin bp", "--epochs", "1")
    assert (row["epochs"], row["epochs_of_paper"], row["verdict"]) == (1, 2, "short run")
    assert (row["epochs_run"], row["stopped"]) == ([1], False)
    table = invoke("small.toml", "--seeds", "1", "--case", "thin bp", "--epochs", "1").stdout
    assert "1 of 2" in table


def test_a_variant_has_lines_and_rows_of_its_own():
    plain = rows("small.toml", "--seeds", "1", "--case", "thin bp")
    fast = rows("small.toml", "--seeds", "1", "--case", "thin bp", "--variant", "fast")
    assert plain[0]["mean"] != fast[0]["mean"]
    assert [line["cell"].get("variant") for line in lines()] == [None, "fast"]
    assert [line["cell"]["learning_rate"] for line in lines()] == [0.01, 0.08]


def test_ctrl_c_keeps_the_lines_that_are_there(monkeypatch):
    train = experiments.run_case

    def once(case, seed, **more):
        if case.name == "thin dfa":
            raise KeyboardInterrupt
        return train(case, seed, **more)

    monkeypatch.setattr(experiments, "run_case", once)
    result = invoke("small.toml", "--epochs", "1")
    assert result.exit_code == 130
    assert "the runs that have finished are kept" in result.stderr
    assert [line["cell"]["case"] for line in lines()] == ["thin bp"]
    assert "thin bp" in result.stdout


def test_a_picture_is_written_and_named(folder):
    result = invoke("small.toml", "--seeds", "1", "--case", "thin bp", "--plot", "curves.png")
    assert result.exit_code == 0, result.output
    assert "picture: curves.png" in result.stdout
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    refused = invoke("small.toml", "--seeds", "1", "--case", "thin bp", "--plot", "none/curves.png")
    assert (refused.exit_code, len(refused.stderr.strip().splitlines())) == (2, 1)


def test_show_prints_settings_sources_and_figures_and_runs_nothing(folder):
    result = invoke("004-M", "--show", "--case", "784-500-10")
    assert result.exit_code == 0
    for text in ("original code: function.py", "2.59 ±.11", "--variant dropout-0.1", "0.00015", "Frenkel et al."):
        assert text in result.stdout
    assert not (folder / "runs").exists()


def test_show_says_what_cannot_run():
    assert "cannot run: the authors crop" in invoke("001-T2", "--show").stdout


def test_the_list_has_every_experiment_and_the_time_of_those_that_were_run():
    listed = invoke("--list").stdout
    for name in experiments.names():
        assert f"│ {name} " in listed
    there = experiments.measured_times()
    assert f"({there.one_run['004-M']})" in listed
    assert " ".join(there.cpu.split()[-2:]) in " ".join(listed.split())
    case = experiments.load_experiment("004-M").select("784-500-10 dfa")[0]
    cell = experiments.cell_of(experiments.load_experiment("004-M"), case, 0, epochs=2)
    with open("lines.jsonl", "w", encoding="utf-8") as file:
        file.write(json.dumps({"cell": cell, "test_error_percent": [5, 4], "test_loss": [1, 1], "seconds": 12.0}) + "\n")
    row = next(line for line in invoke("--list", "--results", "lines.jsonl").stdout.splitlines() if "│ 004-M " in line)
    assert "10 min" in row


def with_band(folder, low, high):
    quick = f'[quick]\nepochs = 1\nsource = "measured: here"\nbands."thin dfa" = [{low}, {high}]\n'
    (folder / "small.toml").write_text(SMALL.replace("[rows.thin]", quick + "[rows.thin]"), encoding="utf-8")
    experiments.load_experiment.cache_clear()


def test_a_quick_run_holds_the_first_measure_of_seed_0_against_its_band(folder):
    (row,) = rows("small.toml", "--case", "thin dfa", "--seeds", "1", "--epochs", "1")
    value, before = row["mean"], lines()
    for low, high, code in (
        (value - 0.01, value + 0.01, 0),
        (value + 0.01, value + 1, 1),
        (value - 1, value - 0.01, 1),
        (0, value, 0),
    ):
        with_band(folder, low, high)
        result = invoke("small.toml", "--quick")
        assert result.exit_code == code, result.output
        assert ("a figure has left its band" in result.stderr) is bool(code)
        assert f"{value:.4g}" in result.stdout
    found = json.loads(invoke("small.toml", "--quick", "--json").stdout)
    assert [(row["case"], row["measure"], row["value"], row["inside"]) for row in found] == [
        ("thin dfa", "test_error", value, True)
    ]
    assert lines() == before


def test_a_quick_run_that_diverges_is_outside(folder, monkeypatch):
    with_band(folder, 0, 100)
    monkeypatch.setattr("fasim.experiments.quick.run_case", lambda *_, **__: {"test_error_percent": [None]})
    result = invoke("small.toml", "--quick")
    assert result.exit_code == 1
    assert "diverged" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["small.toml", "--quick"], "small.toml has no quick runs"),
        (["small.toml", "--quick", "--epochs", "1"], "--quick has cases, seed and epochs of its own"),
        ([], "which experiment: give a name of `fasim run --list`"),
        (["004-N"], "unknown experiment '004-N'"),
        (["none.toml"], "none.toml: cannot be read as TOML"),
        (["004-M", "--list"], "--list 004-M: the list has all experiments"),
        (["004-M", "--variant", "nags"], "did you mean 'nag'"),
        (["004-M", "--case", "784-600*"], "unknown case of 004-M '784-600*'"),
        (["001-T2"], "001-T2 cannot run: the authors crop"),
        (["004-M", "--epochs", "0"], "0 is not in the range x>=1"),
        (["small.toml", "--backend", "gpu"], "unknown backend 'gpu'"),
        (["small.toml", "--results", "small.toml"], "small.toml, line 1: no result line"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(arguments, message):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_absent_data_is_one_line(folder, monkeypatch):
    monkeypatch.setenv("FASIM_DATA", str(folder))
    result = invoke("004-CI", "--epochs", "1", "--seeds", "1")
    assert result.exit_code == 2
    assert "cifar-10-binary.tar.gz" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_samples_that_are_held_out_are_the_first(folder):
    small = SMALL.replace('standardise = ["unit"', 'held_out = [1000, "paper"]\nstandardise = ["unit"')
    (folder / "small.toml").write_text(small, encoding="utf-8")
    case = experiments.load_experiment("small.toml").cases[0]
    run = experiments.train_case(case, 0, epochs=1)
    assert run.samples_per_epoch == (len(_digits().x_train) - 1000) // 32 * 32
    data = data_of("digits", "pixel", 1000)
    assert (data.x_train == _digits().x_train[1000:]).all()
    assert (data.y_train == _digits().y_train[1000:]).all()
    assert np.abs(data.values(data.x_train).mean(0)).max() < 1e-5
    (folder / "all.toml").write_text(small.replace("1000", "9000"), encoding="utf-8")
    assert "held_out 9000: digits has 1437" in invoke("all.toml").stderr
