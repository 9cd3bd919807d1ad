"""``fasim sweep``: runs, goes on, reports, refuses."""

from __future__ import annotations

import csv
import io
import json
import sys

import pytest
from click.testing import CliRunner

from fasim import report_sweep
from fasim.cli import command
from fasim.sweep import SweepFolder, engine, run_point

TEXT = (
    'title = "two rules"\n[settings]\nnet = "64-8-10"\nepochs = 1\n'
    '[grid]\nrule = ["bp", "dfa"]\ndatapath = ["float32", "s8"]\nseed = [0, 1]\n'
)
REPORT = {"points.csv", "rows.csv", "summary.json", "pareto.png", "parallel.png", "report.html"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grid.toml").write_text(TEXT, encoding="utf-8")
    return tmp_path


def invoke(*arguments):
    return CliRunner().invoke(command, ["sweep", *arguments], env={"COLUMNS": "160"})


def test_a_grid_runs_in_one_process_and_is_reported(folder):
    result = invoke("grid.toml", "--workers", "0")
    assert result.exit_code == 0, result.output
    out = folder / "runs" / "sweep-grid"
    assert {path.name for path in (out / "report").iterdir()} == REPORT
    assert "8 of 8 points finished" in result.stdout
    assert result.stderr.count(": done\n") == 8
    assert "rule dfa, datapath s8, seed 1: done" in result.stderr
    lines = [line for line in result.stdout.splitlines() if "│" in line]
    assert [tuple(cell.strip() for cell in line.split("│")[1:3]) for line in lines] == [
        ("bp", "float32"),
        ("bp", "s8"),
        ("dfa", "float32"),
        ("dfa", "s8"),
    ]
    rows = list(csv.DictReader(io.StringIO((out / "report" / "rows.csv").read_text())))
    assert [row["seeds"] for row in rows] == ["0 1"] * 4
    assert f"{100 * float(rows[0]['test_accuracy_mean']):.1f} ±" in lines[0]
    points = list(csv.DictReader(io.StringIO((out / "report" / "points.csv").read_text())))
    assert len({row["point"] for row in points}) == 8
    assert float(points[0]["energy_pj_per_sample_low"]) < float(points[0]["energy_pj_per_sample_typical"])
    for name in ("pareto.png", "parallel.png"):
        assert (out / "report" / name).read_bytes().startswith(b"\x89PNG")


def test_the_same_command_runs_nothing_again_and_the_report_alone_neither(folder, monkeypatch):
    assert invoke("grid.toml", "--workers", "0", "--out", "o").exit_code == 0
    monkeypatch.setattr(engine, "run_point", lambda *_: pytest.fail("a finished point was run again"))
    first = invoke("grid.toml", "--workers", "0", "--out", "o", "--json")
    assert first.exit_code == 0
    assert "8 of 8 points are there already" in first.stderr
    # nothing is missing, so that no Dask is needed either
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert invoke("grid.toml", "--out", "o").exit_code == 0
    second = invoke("--report", "o", "--json")
    assert json.loads(first.stdout) == json.loads(second.stdout)
    assert json.loads(first.stdout)["finished"] == 8
    assert sum(row["pareto"] for row in json.loads(first.stdout)["rows"]) >= 1


def test_ctrl_c_reports_what_is_there_and_exits_with_130(folder, monkeypatch):
    def stopped(settings, threads):
        if settings["rule"] == "dfa":
            raise KeyboardInterrupt
        return run_point(settings, threads)

    monkeypatch.setattr(engine, "run_point", stopped)
    result = invoke("grid.toml", "--workers", "0", "--out", "o")
    assert result.exit_code == 130
    assert "4 of 8 points finished" in result.stdout
    assert "stopped; what has finished is kept" in result.stderr
    monkeypatch.setattr(engine, "run_point", run_point)
    result = invoke("grid.toml", "--workers", "0", "--out", "o")
    assert (result.exit_code, result.stderr.count(": done\n")) == (0, 4)


def test_a_point_that_fails_has_a_line_and_the_exit_code_1(folder):
    (folder / "bad.toml").write_text(TEXT.replace('rule = ["bp", "dfa"]', "learning_rate = [0.3]"))
    result = invoke("bad.toml", "--workers", "0")
    assert result.exit_code == 1
    assert "2 of 4 points finished; 2 failed" in result.stdout
    lines = [line for line in result.stdout.splitlines() if line.startswith("failed: ")]
    assert len(lines) == 2
    assert "learning_rate 0.3, datapath s8" in lines[0]
    assert "2 could not run" in result.stderr


def test_all_that_fails_leaves_a_report_without_rows(folder):
    (folder / "bad.toml").write_text('[settings]\nnet = "64-8-10"\ndatapath = "s8"\n[grid]\nlearning_rate = [0.3]\n')
    result = invoke("bad.toml", "--workers", "0", "--out", "o")
    assert result.exit_code == 1
    assert "none of 1 points has finished yet" in result.stdout
    assert json.loads((folder / "o/report/summary.json").read_text())["rows"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give a .toml file, or --report"),
        (("grid.toml", "--report", "o"), "give a .toml file, or --report"),
        (("none.toml",), "cannot be read"),
        (("--report", "none"), "no sweep was started there"),
        (("grid.toml", "--workers", "2", "--scheduler", "tcp://127.0.0.1:1"), "the cluster has its own"),
        (("grid.toml", "--workers", "-1"), "at least 0"),
    ],
)
def test_what_cannot_be_is_one_line_and_the_exit_code_2(folder, arguments, message):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not (folder / "runs").exists()


def test_without_dask_the_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = invoke("grid.toml", "--workers", "2")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == (
        "fasim: sweeps on several workers need Dask: pip install 'fasim[sweep]'; or give --workers 0 to run in one process"
    )


def test_parquet_holds_the_points_and_is_refused_without_pyarrow(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = invoke("grid.toml", "--workers", "0", "--out", "o", "--parquet")
    assert result.exit_code == 2
    assert "pip install 'fasim[parquet]'" in result.stderr
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install 'fasim[parquet]'")
    assert invoke("--report", "o", "--parquet").exit_code == 0
    table = parquet.read_table(folder / "o/report/points.parquet").to_pylist()
    rows = SweepFolder(folder / "o").rows()
    assert {row["point"]: row["test_accuracy"] for row in table} == {row["point"]: row["test_accuracy"] for row in rows}
    assert report_sweep.flat(rows[0]).keys() == table[0].keys()


def test_many_groups_are_shortened_in_the_terminal_to_those_that_nothing_beats(folder, monkeypatch):
    monkeypatch.setattr(report_sweep, "MOST_ROWS", 3)
    result = invoke("grid.toml", "--workers", "0", "--json")
    front = [row for row in json.loads(result.stdout)["rows"] if row["pareto"]]
    result = invoke("--report", "runs/sweep-grid")
    assert len([line for line in result.stdout.splitlines() if "│" in line]) == len(front) < 4
    assert "all 4 rows are in rows.csv and report.html" in " ".join(result.stdout.split())


def test_without_labels_the_loss_is_compared(folder):
    (folder / "auto.toml").write_text(
        '[settings]\nnet = "64-8-64"\nepochs = 1\ntarget = "input"\n[grid]\nrule = ["bp", "dfa"]\nseed = [0]\n'
    )
    result = invoke("auto.toml", "--workers", "0", "--out", "o")
    assert result.exit_code == 0, result.output
    assert "test loss" in result.stdout
    assert "test accuracy" not in result.stdout
