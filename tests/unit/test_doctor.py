"""What the doctor finds out about a machine, and what it warms up."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from fasim import doctor, warm
from fasim.cli import command


def found(monkeypatch, **features):
    monkeypatch.setattr(doctor.llvm, "get_host_cpu_features", lambda: features)
    return doctor.vector_instructions()


@pytest.fixture(autouse=True)
def nothing_forced(monkeypatch):
    for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"):
        monkeypatch.delenv(name, raising=False)


def test_vector_instructions_are_those_that_llvm_finds(monkeypatch):
    assert found(monkeypatch, avx2=True, avx512f=False, sse2=True) == ["AVX2"]
    assert found(monkeypatch, avx2=True, avx512f=True, avx512vnni=True) == ["AVX2", "AVX-512", "AVX-512 VNNI"]
    assert found(monkeypatch, neon=True) == ["NEON"]
    assert found(monkeypatch) == []


def test_a_platform_that_cannot_be_asked_has_none(monkeypatch):
    def fails():
        raise RuntimeError("not here")

    monkeypatch.setattr(doctor.llvm, "get_host_cpu_features", fails)
    assert doctor.vector_instructions() == []
    assert "vector instructions: none that LLVM names" in list(doctor.lines())


def test_instructions_withheld_from_numba_are_named(monkeypatch):
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert found(monkeypatch, avx2=True) == ["AVX2", "NUMBA_CPU_NAME=generic"]


def test_warm_says_how_many_kernels_are_ready(monkeypatch):
    monkeypatch.setattr(warm, "cases", lambda: [warm.Case("dfa", "s8"), warm.Case("dfa", "float32")])
    CliRunner().invoke(command, ["doctor", "--warm"])
    result = CliRunner().invoke(command, ["doctor", "--warm"])
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    last = result.stdout.splitlines()[-1]
    line = re.fullmatch(r"kernels: (\d+) ready, 0 of them compiled now, in \d+ s; cache (\S+)", last)
    assert line is not None, last
    assert int(line[1]) >= 20
    assert "kernels: " not in CliRunner().invoke(command, ["doctor"]).stdout
