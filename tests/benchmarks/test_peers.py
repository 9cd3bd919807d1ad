"""A fixed-point library that the comparison lacks is named: by the program, and below the table."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import render_fixed  # noqa: E402

LACKING = """
import sys
sys.path[:0] = [sys.argv[1]]
sys.modules.update({"torch": None, "fxpmath": None, "qtorch.quant": None})
import peers
print(peers.absent())
"""


def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *lines: dict[str, Any]) -> list[str]:
    results = tmp_path / "peers_fixed.jsonl"
    results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr(render_fixed, "PEERS", results)
    return render_fixed.peers_table()


def test_what_cannot_be_imported_is_absent() -> None:
    pytest.importorskip("apytypes")
    done = subprocess.run([sys.executable, "-c", LACKING, str(BENCHMARKS)], capture_output=True, text=True, check=False)
    assert done.stdout == "['QPyTorch', 'fxpmath', 'torch._int_mm and cast']\n", done.stderr


def test_the_table_names_what_was_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = {
        "bits": 8,
        "shape": [64, 500, 10],
        "median_s": {"fasim": 2e-5},
        "ratio_to_fasim": {"fasim": 1, "APyTypes": 4.25},
    }
    row = "| 8 | 64 x 500 @ 500 x 10 | 0.020 | 4.25 |"
    assert table(tmp_path, monkeypatch, line)[2:] == [row]
    found = table(
        tmp_path, monkeypatch, line | {"absent": ["QPyTorch"]}, line | {"bits": 16, "absent": ["QPyTorch", "fxpmath"]}
    )
    assert found[-2:] == ["", "Absent when this was measured: QPyTorch, fxpmath."]
    # the last line of a size holds
    assert table(tmp_path, monkeypatch, line | {"absent": ["QPyTorch"]}, line)[2:] == [row]
