"""The benchmark for GPUs, tried on the device that the CUDA tests run on."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import fasim_cuda
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import gpu  # noqa: E402 - scripts, not a package

TINY = ["--nets", "4-3-2", "--batches", "2", "--rules", "dfa", "--rounds", "1", "--turn", "0.001"]


def test_a_line_says_what_it_is_and_against_what_it_was_proven(tmp_path, capsys):
    path = tmp_path / "gpu.jsonl"
    assert gpu.main([*TINY, "--results", str(path)]) == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["cell"]["format"] for line in lines] == ["float32", "s8"]
    assert {line["kind"] for line in lines} == {"simulated kernel" if fasim_cuda.is_simulated else "gpu"}
    assert lines[0]["proof"]["largest_difference"] <= gpu.TOLERANCE
    assert lines[1]["proof"]["same_bits"]
    assert capsys.readouterr().out.count("samples/s") == 2


@pytest.mark.parametrize("name", gpu.FORMATS)
def test_a_wrong_program_is_not_timed(name, monkeypatch):
    run = gpu.Run(gpu.Cell("4-3-2", 2, "dfa", name, "any"))
    original = run.programs["cuda"].run

    def wrong(state, *given):
        original(state, *given)
        state["weight.1"][0, 0] += np.asarray(1).astype(state["weight.1"].dtype)

    monkeypatch.setattr(run.programs["cuda"], "run", wrong)
    with pytest.raises(SystemExit, match="differ"):
        run.prove()
