"""`benchmarks/start_up.py` with processes that do nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import render_performance  # noqa: E402 - scripts, not a package
import start_up  # noqa: E402


def kind(code, **more):
    return start_up.Kind("nothing", 0.5, [sys.executable, "-c", code], **more)


def test_what_is_measured_is_the_process_or_what_it_says():
    assert start_up.seconds_of(kind("print(3)", prints=True)) == 3.0
    assert start_up.seconds_of(kind("import time; time.sleep(0.2)")) >= 0.2
    with pytest.raises(SystemExit, match="nothing: no such"):
        start_up.seconds_of(kind("raise SystemExit('no such')"))


def test_each_kind_has_a_line_and_a_row(tmp_path, monkeypatch, capsys):
    slow = start_up.Kind("by itself", None, [sys.executable, "-c", "print(0.25)"], prints=True)
    monkeypatch.setattr(start_up, "kinds", lambda: [kind("print(0.125)", prints=True), slow])
    monkeypatch.setattr(start_up, "RESULTS", tmp_path / "start_up.jsonl")
    monkeypatch.setattr(sys, "argv", ["start_up.py", "--rounds", "2"])
    assert start_up.main() == 0
    assert "nothing: 0.125 s" in capsys.readouterr().out
    found = [json.loads(text) for text in (tmp_path / "start_up.jsonl").read_text().splitlines()]
    assert [line["median_s"] for line in found] == [0.125, 0.25]
    monkeypatch.setattr(render_performance, "RESULTS", tmp_path)
    assert render_performance.start_table()[2:] == [
        "| nothing | 0.12 s | 0.12 s | 0.5 s |",
        "| by itself | 0.25 s | 0.25 s | - |",
    ]


def test_every_kind_starts():
    """Each of those that are measured, once."""
    assert all(start_up.seconds_of(one) > 0 for one in start_up.kinds())
