"""The timing itself on contenders with a clock of their own, the cells, and one real run on a tiny network."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import cases  # noqa: E402 - scripts, not a package
import machine  # noqa: E402
import throughput  # noqa: E402
import turns  # noqa: E402
from result_lines import append  # noqa: E402

from fasim.schedule import FUSIONS  # noqa: E402

NET = "12-9-5"
TINY = ["--nets", NET, "--batches", "4", "--rules", "dfa", "--threads", "1", "2", "--rounds", "2", "--turn", "0.001"]


class Worker:
    """Takes a time for its start and for each step, on a clock that all share; notes when it ran."""

    now = 0.0
    ran: list[str]

    def __init__(self, name, step, start=0.0):
        self.name, self.step, self.start, self.steps = name, step, start, []

    def restart(self):
        Worker.now += 1000.0  # must never be timed

    def run(self, steps):
        Worker.now += self.start + steps * self.step
        self.steps.append(steps)
        Worker.ran.append(self.name)


@pytest.fixture(autouse=True)
def _fresh_clock():
    Worker.now, Worker.ran = 0.0, []


def clock():
    return Worker.now


def test_contenders_take_turns_of_the_wanted_length():
    workers = {"a": Worker("a", 0.01), "b": Worker("b", 0.04)}
    times = turns.in_turns(workers, 5, {"a": 0.2, "b": 0.2}, clock)
    assert Worker.ran[-10:] == ["a", "b"] * 5
    assert (workers["a"].steps[-1], workers["b"].steps[-1]) == (20, 5)
    assert times["a"].median == pytest.approx(0.01)
    assert turns.times_faster(times["a"], times["b"]) == pytest.approx(4)
    assert turns.fastest(workers, clock) == "a"


def test_a_slow_step_is_a_turn_of_its_own():
    slow = Worker("slow", 3.0)
    turns.in_turns({"slow": slow}, 2, {"slow": 0.2}, clock)
    assert slow.steps[-1] == 1


def test_a_long_start_makes_longer_turns_but_not_endless_ones():
    fast, slow = Worker("fast", 0.001, start=0.02), Worker("slow", 0.001, start=0.5)
    turns.in_turns({"fast": fast, "slow": slow}, 2, {"fast": 0.2, "slow": 0.2}, clock)
    assert 370 <= fast.steps[-1] <= 380  # 0.4 s, of which the start is 5 %
    assert 1490 <= slow.steps[-1] <= 1500  # two seconds


def test_a_start_that_a_single_step_does_not_need_is_none_of_the_steps():
    """A deferred update is bound by the second step: 13 steps filled a turn of 100 layers, where 200 do."""
    late = Worker("late", 0.001)
    late.run = lambda steps: (setattr(late, "start", 0.05 * (steps > 1)), Worker.run(late, steps))
    turns.in_turns({"late": late}, 2, {"late": 0.2}, clock)
    assert 940 <= late.steps[-1] <= 960  # one second, of which the start is 5 %


def test_ratios_are_paired_by_round():
    """A slow half of the rounds slows both: the ratio stays, that of the medians would not."""
    own, other = turns.Times((1.0, 1.0, 9.0)), turns.Times((2.0, 18.0, 18.0))
    assert turns.times_faster(own, other) == 2
    assert other.median / own.median == 18
    assert (own.best, own.median) == (1, 1)


def test_clocks():
    import time

    assert turns.clock_of(1) is time.process_time
    assert turns.clock_of(2) is time.perf_counter


def test_the_grid_is_the_whole_one():
    options = throughput.arguments([])
    grid = [getattr(options, name) for name in ("nets", "batches", "rules", "formats", "threads")]
    found = list(cases.cells(*grid, options.fuse))
    assert len(set(found)) == len(found) == 8 * 4 * 6 * 3 * 2 + 4 * 6
    assert {cell.format for cell in found} == {"float32", "s16", "s8", "s8_stoch"}
    assert options.turn == throughput.TURN_S >= 0.2
    assert options.rounds >= 9


def test_quick_cells_are_few_and_in_the_grid():
    options = throughput.arguments(["--quick"])
    found = list(cases.cells(options.nets, options.batches, options.rules, options.formats, options.threads, "fastest"))
    assert {cell.net for cell in found} == {"784-500-10", "784-1000-1000-10"}
    assert {(cell.batch, cell.rule, cell.format, cell.threads) for cell in found} == {
        (batch, rule, name, 1) for batch in (1, 64) for rule in ("bp", "dfa") for name in ("float32", "s8")
    }
    assert throughput.arguments(["--quick", "--nets", "784-7x240-10"]).nets == ("784-7x240-10",)


def test_absent_torch_is_one_line_and_a_code(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(machine, "torch_is_there", lambda: False)
    assert throughput.main(["--results", str(tmp_path / "lines.jsonl")]) == 2
    assert capsys.readouterr().err == machine.HINT + "\n"
    assert "pip install -e '.[oracle]'" in machine.HINT


def test_variables_of_the_environment_are_shown(monkeypatch):
    for name in machine.variables():
        monkeypatch.delenv(name)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("NUMBA_CPU_NAME", "haswell")
    monkeypatch.setenv("NUMBA_CACHE_DIR", "some/folder")  # `make bench` sets it
    assert machine.variables() == {"NUMBA_CPU_NAME": "haswell", "OPENBLAS_CORETYPE": "Haswell"}
    assert "OPENBLAS_CORETYPE=Haswell" in machine.header(with_torch=False)


def test_missing_are_cells_without_a_line_or_without_the_peers(tmp_path):
    path = tmp_path / "lines.jsonl"
    cells = list(cases.cells([NET], [1, 2, 3], ["bp"], ["float32"], [1], "fastest"))
    append(path, {"cell": asdict(cells[0]), "samples_per_s": {"fasim": [1, 1], "M": [1, 1]}})
    append(path, {"cell": asdict(cells[1]), "samples_per_s": {"fasim": [1, 1]}})
    assert throughput.missing(cells, path, with_torch=True) == cells[1:]
    assert throughput.missing(cells, path, with_torch=False) == cells[2:]


def test_accuracy_is_that_of_the_committed_runs():
    found = throughput.accuracy("s8", "fa")
    assert found is not None
    assert found == throughput.accuracy("s8", "dfa")
    assert (found["net"], found["datapath"]) == ("784-500-10", "s8")
    assert abs(found["test_error_percent"] - found["float32_test_error_percent"]) < 0.5
    assert throughput.accuracy("no such datapath", "dfa") is None


@pytest.mark.parametrize("with_torch", [True, False])
def test_a_tiny_run_leaves_whole_lines_and_is_resumed(with_torch, tmp_path, capsys):
    if with_torch:
        pytest.importorskip("torch")
    command = [*TINY, "--results", str(tmp_path / "lines.jsonl"), *([] if with_torch else ["--without-torch"])]
    assert throughput.main(command) == 0
    text = capsys.readouterr().out
    assert f"kernels: compiled for {machine.micro.TARGET}" in text
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert len(lines) == 3 * 2
    for line in lines:
        cell, fixed = line["cell"], line["cell"]["format"] != "float32"
        peers = {"M", "E"} if with_torch else set()
        assert set(line["samples_per_s"]) == {"fasim", *peers}
        assert set(line["times_faster_than"]) == peers | ({"float32"} if fixed else set()) | (
            {"one_thread"} if cell["threads"] == 2 else set()
        )
        assert all(median <= best for median, best in line["samples_per_s"].values())
        assert line["fuse"] in FUSIONS
        assert line["clock"] == ("CPU time" if cell["threads"] == 1 else "wall clock")
        assert line["threads"] == cell["threads"]
        assert line["proof"]["against"] == (
            "plain NumPy" if fixed else "PyTorch by hand" if with_torch else "the interpreter in float64"
        )
        assert line["ceiling"]["share"] > 0
        assert {"name", "operations", "written_bytes", "read_bytes", "memory_s"} <= set(line["ceiling"])
        assert line["ceiling"]["threads"] == cell["threads"]
        assert {"commit", "cpu", "versions", "target", "blas", "torch", "variables", "rounds", "turn_s"} <= set(line)
        assert (line.get("accuracy") is not None) == fixed
    assert throughput.main(command) == 0
    assert "0 cells to measure" in capsys.readouterr().out
    assert len((tmp_path / "lines.jsonl").read_text().splitlines()) == len(lines)


def test_a_line_says_what_the_times_say():
    """784-500-10 at batch 1: 2 x 2 x 397000 products forward and back, 397510 parameters read and written."""
    cell = cases.Cell("784-500-10", 1, "bp", "float32", 2, "none", "", "")
    group = throughput.Group([cell], with_torch=False)
    group.programs["float32"] = cases.Fasim(cell, *cases.samples_of(cases.Network.parse(cell.net), 8), 1, "none")
    group.proofs["float32"], group.peaks["float32"] = {"steps": 3}, 1000
    seconds = {
        "float32": (0.001, 0.002),
        "float32, 1 thread": (0.0015, 0.003),
        "M": (0.004, 0.008),
        "E": (0.01, 0.02),
        "peak of float32": (1e-9, 1e-9),
        "written by float32": (4 * 0.0003, 4 * 0.0003),
    }
    (line,) = group.lines({name: turns.Times(both) for name, both in seconds.items()}, 2, 0.2)
    assert line["times_faster_than"] == pytest.approx({"M": 4, "E": 10, "one_thread": 1.5})
    assert line["samples_per_s"] == {"fasim": [667, 1000], "M": [167, 250], "E": [67, 100]}
    operations = 2 * (2 * 397_000 + 5_000)
    assert line["giga_operations_per_s"]["M"] == pytest.approx(operations / 0.006 / 1e9, abs=0.005)
    ceiling = line["ceiling"]
    assert (ceiling["operations"], ceiling["written_bytes"], ceiling["read_bytes"]) == (operations, 4 * 397_510, 0)
    assert (ceiling["name"], ceiling["share"]) == ("weights read and written once", pytest.approx(0.3 / 1.5))
    seconds["peak of float32"] = (1e-6, 1e-6)
    (line,) = group.lines({name: turns.Times(both) for name, both in seconds.items()}, 2, 0.2)
    assert line["ceiling"]["name"] == "FMA peak"
    assert line["ceiling"]["share"] == pytest.approx(operations / 1e9 / 0.0015, abs=0.001)
    assert "x M" in throughput.text_of(line)


@pytest.mark.parametrize("name", ["s8", "float32"])
def test_a_wrong_program_is_refused(name, monkeypatch):
    cell = cases.Cell(NET, 4, "dfa", name, 1, "none", "", "")
    program = cases.Fasim(cell, *cases.samples_of(cases.Network.parse(NET), 64), 1, "none")
    run = program.program.run

    def wrong(state, *arguments):
        run(state, *arguments)
        state["weight.1"][3, 5] += 1

    prove = cases.prove_fixed if name == "s8" else cases.prove_float
    assert prove(program)["steps"] == cases.PROOF_STEPS
    monkeypatch.setattr(program.program, "run", wrong)
    with pytest.raises(SystemExit, match="differs"):
        prove(program)


def test_what_is_timed_lies_as_in_a_training():
    cell = cases.Cell(NET, 4, "dfa", "float32", 1, "none", "", "")
    program = cases.Fasim(cell, *cases.samples_of(cases.Network.parse(NET), 64), 1, "none")
    assert not any(array.ctypes.data % 64 for array in program.state.values())


def test_a_program_that_does_not_move_proves_nothing(monkeypatch):
    cell = cases.Cell(NET, 4, "dfa", "float32", 1, "none", "", "")
    program = cases.Fasim(cell, *cases.samples_of(cases.Network.parse(NET), 64), 1, "none")
    program.initial["learning_rate"][:] = 1e-9
    with pytest.raises(SystemExit, match="moved by"):
        cases.prove_float(program)
