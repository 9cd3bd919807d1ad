"""Which target is taken, and what is said where there is none; and that nothing else imports one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from fasim_cuda import target

from fasim import gpus
from fasim.cli import command
from fasim.errors import ConfigError

ROOT = Path(__file__).parents[2]


def chosen(
    monkeypatch: pytest.MonkeyPatch, way: str, *, simulator: str = "0", found: int = 0, installed: bool = True
) -> str:
    """Return what is chosen on a machine with so many GPUs, with or without numba-cuda."""
    monkeypatch.setenv("FASIM_CUDA", way)
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", simulator)
    monkeypatch.setattr(target.gpus, "count", lambda: found)
    monkeypatch.setattr(target, "find_spec", lambda name: object() if installed else None)
    return target.chosen()


def test_the_target_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(monkeypatch, "sim", installed=False) == "sim"
    assert chosen(monkeypatch, "", simulator="1") == "sim"
    assert chosen(monkeypatch, "", found=1) == chosen(monkeypatch, "gpu", found=1) == "gpu"
    assert chosen(monkeypatch, "compile") == "compile"


@pytest.mark.parametrize(
    ("way", "machine", "text"),
    [
        ("", {}, "backend cuda: no NVIDIA GPU with a driver was found; use the backend cpu, or FASIM_CUDA=sim"),
        ("gpu", {"found": 1, "installed": False}, r"numba-cuda is not installed; pip install 'fasim\[cuda\]'"),
        ("fpga", {}, "FASIM_CUDA=fpga: one of gpu, sim, compile is needed"),
    ],
)
def test_one_line_says_what_is_missing(
    way: str, machine: dict[str, Any], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=text) as error:
        chosen(monkeypatch, way, **machine)
    assert "\n" not in str(error.value)


def test_options_that_the_simulator_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[dict[str, Any]] = []
    monkeypatch.setattr(target.cuda, "jit", lambda **options: taken.append(options) or (lambda function: function))
    for simulated in (True, False):
        monkeypatch.setattr(target, "is_simulated", simulated)
        assert target.jit(max_registers=32, fastmath=False)(abs).function is abs
    assert taken == [{"fastmath": False}, {"max_registers": 32, "fastmath": False}]


def without_gpu(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python where FASIM_CUDA asks for nothing."""
    path = f"{ROOT}:{ROOT / 'cuda'}"
    environment = {"PYTHONPATH": path, "MPLBACKEND": "Agg", "FASIM_CUDA": ""}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(gpus.count() > 0, reason="there is a GPU")
def test_the_command_line_refuses_in_one_line() -> None:
    done = without_gpu("-m", "fasim", "train", "--net", "64-10", "--backend", "cuda", "--epochs", "1")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("fasim: backend cuda: n")
    assert "Traceback" not in done.stderr


def test_the_cpu_imports_no_target() -> None:
    code = "import sys; from fasim import backends; backends.get('cpu'); print([n for n in sys.modules if 'cuda' in n])"
    done = without_gpu("-c", code)
    assert done.stdout.strip() in ("[]", "['_numba_cuda_redirector']"), done.stderr


def test_the_doctor_says_what_cuda_runs_on() -> None:
    lines = CliRunner().invoke(command, ["doctor"]).stdout.splitlines()
    (line,) = (line for line in lines if line.startswith("CUDA: "))
    assert line == "CUDA: " + target.device_name()


def test_a_run_on_the_command_line_is_that_of_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training, evaluation and counts of casts, as a user meets them."""
    monkeypatch.chdir(tmp_path)
    random, labels = np.random.default_rng(3), np.arange(40) % 2
    codes = random.integers(0, 256, (40, 4), dtype=np.uint8)
    np.savez("codes.npz", x_train=codes[:30], y_train=labels[:30], x_test=codes[30:], y_test=labels[30:])
    found = []
    for name in ("cpu", "cuda"):
        run = ["train", "--data", "codes.npz", "--net", "4-3-2", "--epochs", "1", "--batch-size", "8"]
        result = CliRunner().invoke(command, [*run, "--datapath", "s8", "--backend", name, "--json"])
        assert result.exit_code == 0, result.output
        found.append(json.loads(result.stdout))
    cpu, gpu = ((run["sites"], [(e["test_accuracy"], e["test_loss"]) for e in run["epochs"]]) for run in found)
    assert cpu == gpu
    assert sum(site["elements"] for site in cpu[0].values()) == 363
