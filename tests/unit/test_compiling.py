"""That kernels are being compiled is told: once each, on standard error, and only when it happens."""

from __future__ import annotations

import os
import subprocess
import sys

import numba
import pytest
from click.testing import CliRunner

from fasim import progress
from fasim.cli import command
from fasim.kernels import compile as kernel_compile
from fasim.kernels.compile import compilations, kernel
from fasim.progress import COMPILING, Compiling, Progress


def doubled(x):
    return x + x


def wrong(x):
    return x.nothing_of_the_kind


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_compile, "CACHE_FOLDER", str(tmp_path / "cache"))


def test_each_kernel_is_told_once_for_each_type():
    told = []
    function = kernel(doubled)
    with compilations(told.append):
        assert function(1) == 2
        assert function(2) == 4
        assert told == ["doubled"]
        assert function(1.5) == 3.0
    assert told == ["doubled"] * 2
    function(1j)
    assert told == ["doubled"] * 2


def test_a_kernel_from_the_cache_is_not_told(tmp_path):
    told = []
    kernel(doubled)(1)
    assert list((tmp_path / "cache").rglob("*.nbc"))
    with compilations(told.append):
        assert kernel(doubled)(1) == 2
    assert told == []


def test_a_kernel_that_another_calls_belongs_to_that_one():
    inner, told = numba.njit(doubled), []

    def outer(x):
        return inner(x) + 1

    with compilations(told.append):
        assert numba.njit(outer)(1) == 3
    assert told == ["outer"]


def test_a_kernel_that_cannot_be_compiled_ends_too():
    told = []
    with compilations(told.append):
        with pytest.raises(numba.TypingError):
            kernel(wrong)(1)
        kernel(doubled)(1)
    assert told == ["wrong", "doubled"]


def test_one_plain_line_however_many_kernels(capsys):
    function = kernel(doubled)
    with Compiling() as compiling:
        assert capsys.readouterr() == ("", "")
        function(1)
        function(1.5)
    assert compiling.count == 2
    assert capsys.readouterr() == ("", f"{COMPILING}\n")


def test_a_terminal_shows_how_many_so_far(capsys, monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    function = kernel(doubled)
    with Compiling():
        assert capsys.readouterr() == ("", "")
        function(1)
        function(1.5)
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{COMPILING}: 2 so far" in err


def test_the_bar_shows_how_many_so_far(capsys, monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with Progress(1):
        kernel(doubled)(1)
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{COMPILING}: 1 so far" in err


def test_progress_without_compiling_says_nothing_of_it(capsys):
    with Progress(1, compiling=False):
        kernel(doubled)(1)
    assert capsys.readouterr() == ("", "")
    with Progress(1):
        kernel(doubled)(1.5)
    assert capsys.readouterr() == ("", f"{COMPILING}\n")


SMALL = ["--net", "64-4-10", "--epochs", "1"]
COMMANDS = {
    "train": ["train", *SMALL, "--json"],
    "compare": ["compare", *SMALL, "--seeds", "0", "--rules", "bp", "--datapaths", "float32", "--json"],
    "calibrate": ["calibrate", *SMALL, "--out", "own.toml", "--json"],
    "export": ["export", "--net", "64-4-10", "--datapath", "s8", "--to", "hex", "--out", "vectors"],
    "doctor": ["doctor"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_tell_it_except_with_json(name, tmp_path, monkeypatch):
    entered = []

    class Told(Compiling):
        def __enter__(self):
            entered.append(name)
            return super().__enter__()

    monkeypatch.setattr(progress, "Compiling", Told)
    monkeypatch.chdir(tmp_path)
    arguments = COMMANDS[name]
    assert CliRunner().invoke(command, arguments).exit_code == 0
    if "--json" in arguments:
        assert entered == []
        (tmp_path / "own.toml").unlink(missing_ok=True)
        assert CliRunner().invoke(command, arguments[:-1]).exit_code == 0
    assert entered == [name]


def test_the_first_process_tells_it_and_the_second_finds_the_cache(tmp_path):
    def lines():
        arguments = ["train", *SMALL, "--rule", "shallow", "--out", "run"]
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "empty")}
        done = subprocess.run(
            [sys.executable, "-m", "fasim", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert COMPILING not in done.stdout
        return done.stderr.splitlines()

    first, second = lines(), lines()
    assert first == [COMPILING, *second]
    assert len(second) == 1
