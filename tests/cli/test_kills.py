"""Commands that were killed go on to the same bits, and nobody ever reads half a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = Path(__file__).parents[1] / "kills.py"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="forks processes")


def kill(*words):
    done = subprocess.run([sys.executable, str(KILLS), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads(done.stdout.splitlines()[-1])
    assert content["killed"] > 0
    assert content["equal"] == content["runs"]
    return content


def test_at_random_moments():
    assert kill("train", "3")["runs"] == 3


# every how many places of the run's writes
@pytest.mark.parametrize(
    ("case", "stride"), [("train", 16), ("watch", 10), ("compare", 16), ("export", 1), ("run", 5), ("sweep", 4)]
)
def test_while_a_file_is_written(case, stride):
    kill(case, "--every-write", str(stride))


@pytest.mark.slow
def test_two_hundred_trainings():
    assert kill("train", "200", "--seed", "1")["equal"] == 200


@pytest.mark.slow
@pytest.mark.parametrize("case", ["train", "watch", "compare", "export", "run", "sweep"])
def test_at_every_write(case):
    met = kill(case, "--every-write", "1")
    assert case == "run" or met["killed with a file half done"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("case", ["watch", "compare", "export", "run", "sweep"])
def test_others_at_random_moments(case):
    kill(case, "30", "--seed", "2")
