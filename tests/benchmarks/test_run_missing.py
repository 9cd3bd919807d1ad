"""The command line that the scripts of long runs share: what is missing, each cell once, however many processes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from result_lines import append, claimed, done, run_missing  # noqa: E402 - a script, not a package

CELLS = [{"table": table, "seed": seed} for table in "ab" for seed in (0, 1)]


@pytest.fixture
def ran(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script.py"])
    return []


def start(path, ran, *words, more=lambda: None):
    def run(cell):
        ran.append(cell)
        more()
        return {"cell": cell, "shown": 7}

    sys.argv[1:] = words
    assert run_missing("title", path, CELLS, run) == 0


def test_what_is_missing_is_run_once(tmp_path, ran, capsys):
    path = tmp_path / "lines.jsonl"
    start(path, ran, "--table", "b")
    assert ran == CELLS[2:]
    start(path, ran)
    assert ran == CELLS[2:] + CELLS[:2]
    assert len(done(path)) == 4
    start(path, ran)
    assert len(ran) == 4
    assert capsys.readouterr().out.splitlines()[0] == "b 0 -> 7"


def test_what_another_process_is_at_or_has_run_meanwhile_is_left(tmp_path, ran):
    path = tmp_path / "lines.jsonl"
    with claimed(path, CELLS[1]):
        start(path, ran, more=lambda: append(path, {"cell": CELLS[2]}))
    assert ran == [CELLS[0], CELLS[3]]


def test_a_list_runs_nothing(tmp_path, ran, capsys):
    path = tmp_path / "lines.jsonl"
    append(path, {"cell": CELLS[0]})
    start(path, ran, "--list")
    assert ran == []
    assert capsys.readouterr().out == "a: 2 runs, 1 missing\nb: 2 runs, 2 missing\n"
