"""A cached kernel never outlives the sources that it was made of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HALF = """
import numpy as np
from fasim.kernels import requantize
out = np.zeros(1, np.int8)
requantize(np.array([3], np.int32), 1, -128, 127, 1, 1, 0, 0, 0, 0, out, np.zeros(2, np.int64))
print(out[0])
"""


def run(folder, **environment):
    settings = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    settings |= {"PYTHONPATH": str(folder)} | environment
    command = [sys.executable, "-c", HALF]
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_an_edit_of_an_inlined_function_reaches_every_kernel(tmp_path):
    shutil.copytree(ROOT / "fasim", tmp_path / "fasim", ignore=shutil.ignore_patterns("__pycache__"))
    assert run(tmp_path) == run(tmp_path) == 2
    folders = list((tmp_path / "fasim" / "kernels" / "__pycache__").glob("kernels-*"))
    assert len(folders) == 1
    rounding = tmp_path / "fasim" / "scalar" / "rounding.py"
    rounding.write_text(rounding.read_text().replace("return whole + half\n", "return whole\n"))
    assert run(tmp_path) == 1


def test_a_given_cache_folder_is_used(tmp_path):
    run(ROOT, NUMBA_CACHE_DIR=str(tmp_path / "given"))
    assert len(list((tmp_path / "given").glob("kernels-*"))) == 1
