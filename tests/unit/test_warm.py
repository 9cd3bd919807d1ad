"""The kernels that are compiled ahead are all that training calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fasim import fixedpoint, rules, warm
from fasim.warm import Case

ROOT = Path(__file__).parents[2]
COMPARED = ("float32", "s16", "s8")
COMMANDS = """
compare --epochs 1 --seeds 0
train --epochs 1 --datapath s8 --rule bp --net 8x8x1-8c3-2p-32-10
train --epochs 1 --datapath s16 --rule dkp --net 8x8x1-8c3-2p-32-10 --dropout 0.5
train --epochs 1 --rule dkp --batch-norm --net 8x8x1-8c3-2p-32-10 --angles
train --epochs 1 --optimizer adam --weight-decay 0.01 --clip norm:1.0 --standardise unit
train --epochs 1 --batch-size 1
train --epochs 1 --batch-size 1 --rule dkp --optimizer momentum
train --epochs 1 --datapath s16 --batch-size 1
train --epochs 1 --datapath s8 --batch-size 1 --net 64-600-10
train --epochs 1 --datapath s8 --threads 2 --rule kp
train --epochs 1 --threads 2 --rule bp --net 64-300-300-10
train --epochs 1 --threads 2 --rule bp --net 64-300-300-10 --datapath s8
train --epochs 1 --threads 2 --rule bp --net 64-300-300-10 --datapath s16 --batch-size 4
train --epochs 1 --datapath s8 --feedback uniform+k:1 --rule drtp
train --epochs 1 --last-batch keep --train-accuracy --stages hidden:10,all:5
train --epochs 1 --target input --datapath s8 --output sigmoid --hidden relu
train --epochs 1 --augment crop:2
train --epochs 1 --rule strategy3 --net 64-20-20-20-10
train --epochs 1 --rule dfa --fgsm 0.1 --input-dropout 0.1
export --net 64-16-10 --rule dfa --datapath s8 --steps 2 --to hex --out vectors
"""
COUNT = """
import sys
from fasim.kernels.compile import compilations
from fasim.cli import command
told = []
with compilations(told.append):
    try:
        command(sys.argv[1:])
    except SystemExit as end:
        assert not end.code
print(told)
"""


def test_training_calls_no_kernel_that_is_not_compiled_ahead(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "recorded_kernels.py"), *COMPARED],
        input=COMMANDS.strip(),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["called"] > 50
    assert found["missing"] == {}


def test_every_preset_rule_and_kind_of_input_has_cases():
    cases = warm.cases()
    assert {case.datapath for case in cases} == {"float32", *fixedpoint.names()}
    for datapath in ("float32", *fixedpoint.names()):
        there = [case for case in cases if case.datapath == datapath]
        assert {case.rule for case in there} == set(rules.names())
        assert {case.inputs for case in there} == {warm.CODES, warm.NUMBERS, warm.STANDARDISED}
    assert {case.datapath for case in warm.cases(["s8"])} == {"s8"}


def test_a_case_runs_or_is_refused():
    assert warm.run(Case("dfa", "float32"))
    assert warm.run(Case("dfa", "s8", observe=True))
    assert not warm.run(Case("dfa", "s8", settings={"target": "value"}, inputs=warm.NUMBERS))
    assert not warm.run(Case("dfa", "niti"))


def test_a_second_time_compiles_nothing():
    done = []
    cases = [Case("dfa", "s8"), Case("dfa", "niti"), Case("bp", "float32")]
    warm.warm_up(cases)
    again = warm.warm_up(cases, lambda: done.append(1))
    assert len(done) == 3
    assert again.compiled == 0
    assert again.kernels == sum(map(len, warm.ready().values())) >= 20
    assert Path(again.folder).is_dir()


@pytest.mark.slow
def test_after_warming_a_second_process_compiles_nothing(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(tmp_path / "empty")}

    def printed(code, *arguments):
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[-1]

    ahead = f"from fasim import warm\nprint(warm.warm_up(warm.cases({COMPARED!r})).compiled)"
    assert int(printed(ahead)) > 50
    assert printed(COUNT, "compare", "--epochs", "1", "--seeds", "0") == "[]"
    assert printed(COUNT, "train", "--rule", "kp", "--datapath", "s8", "--epochs", "1") == "[]"
