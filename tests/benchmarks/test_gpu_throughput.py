"""The benchmark of GPUs beside PyTorch, tried on the device that the CUDA tests run on and with PyTorch on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import fasim_cuda
import numpy as np
import pytest
from fasim_cuda import Tile

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import gpu  # noqa: E402 - scripts, not a package
import gpu_products  # noqa: E402
import gpu_throughput  # noqa: E402
import throughput  # noqa: E402

QUICK = ["--rounds", "1", "--turn", "0.001", "--graphs", "0"]
NO_STEPS, NO_PRODUCTS = ["--nets"], ["--products"]
TINY = ["--nets", "4-3-2", "--batches", "2", "--formats", "float32", "s8", *QUICK]


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(gpu, "MOST_STEPS", 2)
    monkeypatch.setenv("FASIM_CUDA_GRAPHS", "0")
    gpu_throughput.peers.cache_clear()


def written(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_without_a_gpu_it_says_so_in_one_line():
    answer = subprocess.run(
        [sys.executable, str(BENCHMARKS / "throughput.py"), "--backend", "cuda"],
        env=os.environ | {"FASIM_CUDA": "gpu", "NUMBA_ENABLE_CUDASIM": "0", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith("backend cuda: ")
    assert answer.stderr.count("\n") == 1


def test_lines_have_pytorchs_rates_beside_them(tmp_path, monkeypatch, capsys):
    gpu_peers = pytest.importorskip("torch") and __import__("gpu_peers")
    monkeypatch.setattr(gpu_throughput, "torch_on_gpu", lambda: True)
    of_gpu = gpu_peers.Peers
    monkeypatch.setattr(gpu_peers, "Peers", lambda *cell: of_gpu(*cell, device="cpu"))
    path = tmp_path / "lines.jsonl"
    given = ["--backend", "cuda", *TINY, *NO_PRODUCTS, "--replicas", "1", "3", "--results", str(path)]
    assert throughput.main(given) == 0
    lines = written(path)
    cells = [(line["cell"]["rule"], line["cell"]["format"], line["cell"]["replicas"]) for line in lines]
    both = ("float32", "s8")
    expected = [("bp", name, 1) for name in both] + [("dfa", name, count) for name in both for count in (1, 3)]
    assert sorted(cells) == sorted(expected)
    for line in lines:
        assert line["command"] == "python benchmarks/throughput.py --backend cuda"
        rates = line["peers"]["samples_per_s"]
        assert set(rates) == ({"M", "E"} if line["cell"]["rule"] == "bp" else {"M"})
        assert line["peers"]["proof"]["largest_difference"] <= gpu.TOLERANCE
        assert line["peers"]["tf32"] is False
        for name, rate in rates.items():
            assert line["times_faster_than"][name] == pytest.approx(line["samples_per_s"] / rate, rel=0.01)
    assert "x E (one network)" in capsys.readouterr().out


def test_without_pytorch_on_a_gpu_lines_lack_it_and_one_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_throughput, "torch_on_gpu", lambda: False)
    path = tmp_path / "lines.jsonl"
    command = [*TINY, "--rules", "dfa", "--replicas", "1", *NO_PRODUCTS, "--results", str(path)]
    assert gpu_throughput.main(command) == 0
    assert [(line["peers"], line["times_faster_than"]) for line in written(path)] == [(None, {}), (None, {})]
    assert capsys.readouterr().err == gpu_throughput.HINT + "\n"


def test_what_would_begin_too_late_is_left_out_and_named(tmp_path, capsys):
    path = tmp_path / "lines.jsonl"
    assert gpu_throughput.main([*TINY, "--without-torch", "--minutes", "0", "--results", str(path)]) == 0
    assert not path.exists()
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("0 minutes are over: ")
    assert "cells are left out, from Cell(net='4-3-2'" in last


def test_what_matters_most_comes_first_and_nothing_begins_when_the_time_is_over(tmp_path, monkeypatch, capsys):
    """By a clock that a cell moves on by 100 s: six minutes are four cells, whose lines stay."""
    now, path, began = [1000.0], tmp_path / "lines.jsonl", []

    def measured(cell, *_):
        began.append(cell)
        now[0] += 100.0
        return {"cell": {}, "kind": "gpu", "samples_per_s": 1, "giga_operations_per_s": 1, "share_of_peak": None}

    lines = gpu_throughput.lines
    monkeypatch.setattr(gpu_throughput, "lines", lambda *given, **named: lines(*given, **named, clock=lambda: now[0]))
    monkeypatch.setattr(gpu, "line_of", measured)
    monkeypatch.setattr(gpu_products, "line_of", measured)
    every = ["--nets", "4-3-2", "--rules", "dfa", "--batches", "2", "--formats", "float32", "s8", "--products", "9"]
    assert gpu_throughput.main([*every, "--without-torch", "--results", str(path)]) == 0
    assert [gpu_throughput.kind(cell) for cell in began] == [0, 0, 1, 1]
    assert len(path.read_text().splitlines()) == 4
    first, *_, last = capsys.readouterr().out.splitlines()
    products = 3 if fasim_cuda.has_tensor_cores() else 2
    assert first.startswith(
        f"{8 + products} cells, each proven right and then timed; none begins after 6 minutes: 2 of single"
    )
    assert last.startswith(f"6 minutes are over: {4 + products} of {8 + products} cells are left out, from ")
    now[0] = 0.0
    assert gpu_throughput.main([*every, "--without-torch", "--minutes", "99", "--results", str(path)]) == 0
    kinds = [gpu_throughput.kind(cell) for cell in began[4:]]
    assert kinds == sorted(kinds)
    assert set(kinds) == set(range(len(gpu_throughput.KINDS)))
    assert "cells are left out" not in capsys.readouterr().out


def test_products_are_proven_and_named_by_their_way(tmp_path, capsys):
    path = tmp_path / "lines.jsonl"
    assert gpu_throughput.main([*NO_STEPS, "--products", "9", *QUICK, "--without-torch", "--results", str(path)]) == 0
    lines = written(path)
    ways = ["loop", "dp4a", "mma"] if fasim_cuda.has_tensor_cores() else ["loop", "dp4a"]
    assert [line["cell"]["way"] for line in lines] == ways
    if fasim_cuda.is_simulated:
        assert [line["kind"] for line in lines] == ["simulated kernel", "twin only"]
        assert "the card's peak is not known" in capsys.readouterr().out
    assert all(line["proof"] == {"against": "NumPy", "rows": 8, "same_bits": True} for line in lines)


def test_a_wrong_product_is_not_timed(monkeypatch):
    original = fasim_cuda.byte_products

    def wrong(way):
        return original(way, "uint8", "int8", Tile(*fasim_cuda.TILE))

    monkeypatch.setattr(fasim_cuda, "byte_products", wrong)
    with pytest.raises(SystemExit, match="sums differ from NumPy's"):
        gpu_products.line_of(gpu_products.Product(9, "dp4a", "any"), 1, 0.001)


def test_the_peak_is_that_of_the_makers_sheets():
    for capability, units, clock_khz, tera in (((9, 0), 132, 1_830_000, 1979), ((8, 0), 108, 1_410_000, 624)):
        assert gpu_products.peak(capability, units, clock_khz) == pytest.approx(tera * 1e12, rel=0.005)
    assert gpu_products.peak((99, 0), 132, 1_830_000) is None


@pytest.mark.parametrize("rule", ["bp", "dfa", "drtp"])
def test_pytorch_by_hand_on_the_device_takes_fasims_steps(rule, monkeypatch):
    gpu_peers = pytest.importorskip("torch") and __import__("gpu_peers")
    made = gpu_peers.Peers("4-3-2", rule, 2, device="cpu")
    assert made.prove() <= gpu.TOLERANCE
    hand = made.contenders["M"]
    monkeypatch.setattr(hand, "rate", hand.rate * 2)
    with pytest.raises(SystemExit, match="PyTorch by hand on cpu differs from fasim"):
        made.prove()


def test_moving_a_contender_keeps_what_is_one_tensor_one():
    torch = pytest.importorskip("torch")
    import gpu_peers

    made = gpu_peers.Peers("4-3-2", "bp", 2, device="meta")
    for contender in made.contenders.values():
        assert {tensor.device.type for tensor in tensors_of(contender, torch)} == {"meta"}
    hand, eager = made.contenders["M"], made.contenders["E"]
    assert hand.learned[0] is hand.layers[0].weight
    parameters = {id(parameter) for group in eager.optimizer.param_groups for parameter in group["params"]}
    assert parameters == {id(parameter) for parameter in eager.model.parameters()}


def tensors_of(thing, torch):
    """Return all tensors that are reached from a thing by attributes, lists and tuples, and by a model's parameters."""
    found, left, seen = [], [thing], set()
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, torch.nn.Module):
            left += list(one.parameters())
        elif isinstance(one, torch.Tensor):
            found.append(one)
        elif isinstance(one, list | tuple):
            left += list(one)
        elif type(one).__module__ in ("steps_torch", "eager_torch"):
            left += list(vars(one).values())
    assert len(found) > 5
    return found


def test_seconds_of_a_step_do_not_hold_what_a_run_costs_besides():
    assert gpu.seconds_between(lambda steps: 7 + 0.5 * steps, 3, 0.25) == pytest.approx(0.5)
    assert np.isfinite(gpu.seconds_between(lambda steps: 1e-9 * steps, 1, 1.0))
