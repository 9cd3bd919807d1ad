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
ALONE = ["--replicas", "1", "--graphs", "0"]


def test_a_line_says_what_it_is_and_against_what_it_was_proven(tmp_path, capsys):
    path = tmp_path / "gpu.jsonl"
    assert gpu.main([*TINY, *ALONE, "--results", str(path)]) == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["cell"]["format"] for line in lines] == ["float32", "s8"]
    said = [(line["kind"], line["products"]) for line in lines]
    # no product of this net is large enough for tensor cores
    assert said == (
        [("simulated kernel", []), ("twin only", ["dp4a"])] if fasim_cuda.is_simulated else [("gpu", []), ("gpu", ["dp4a"])]
    )
    assert lines[0]["proof"]["largest_difference"] <= gpu.TOLERANCE
    assert lines[1]["proof"]["same_bits"]
    assert capsys.readouterr().out.count("samples/s") == 2


def test_a_population_is_held_against_runs_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "MOST_STEPS", 2)
    monkeypatch.setenv("FASIM_CUDA_GRAPHS", "0")
    path = tmp_path / "gpu.jsonl"
    assert gpu.main([*TINY, "--formats", "s8", "--replicas", "1", "3", "--graphs", "0", "1", "--results", str(path)]) == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["cell"]["replicas"], line["cell"]["graphs"]) for line in lines] == [(1, 0), (1, 1), (3, 0), (3, 1)]
    assert ["replicas_are_their_own_runs" in line["proof"] for line in lines] == [False, False, True, True]
    assert all(line["samples_per_s"] > 0 for line in lines)


def test_replicas_that_are_not_their_own_runs_are_not_timed(monkeypatch):
    run = gpu.Run(gpu.Cell("4-3-2", 2, "dfa", "s8", "any", replicas=3))
    original = run.programs["cuda"].run_together

    def wrong(states, *given):
        traces = original(states, *given)
        if len(states) == 3:
            states[2]["bias.2"][1] += 1
        return traces

    monkeypatch.setattr(run.programs["cuda"], "run_together", wrong)
    with pytest.raises(SystemExit, match="of replica 2 differ from its own run"):
        run.prove()


def test_populations_are_measured_for_the_last_net_and_rule_alone():
    options = gpu.argparse.Namespace(
        nets=gpu.NETS,
        rules=gpu.RULES,
        batches=gpu.BATCHES,
        formats=gpu.FORMATS,
        replicas=gpu.REPLICAS,
        graphs=gpu.GRAPHS,
    )
    cells = list(gpu.cells(options))
    assert len(cells) == len(set(cells)) == 16 + 3 * 4
    large = {(cell.net, cell.rule, cell.batch, cell.format) for cell in cells if cell.replicas == 256}
    assert large == {("784-1000-1000-10", "dfa", batch, name) for batch in (64, 1024) for name in ("float32", "s8")}


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
