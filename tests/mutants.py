"""Plant faults in copies of the package, one at a time: for each, the test named beside it must fail.

Run ``python tests/mutants.py``. A control comes first: every named test passes on a copy without a fault. Each copy has a
Numba cache of its own, for a cached kernel would hide what changed in a function that it has inlined. The exit code is 1
if a fault survives, or if its place in the source is gone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from planted import MUTANTS as FIRST
from planted import Mutant
from planted_float import MUTANTS as SECOND

ROOT = Path(__file__).resolve().parents[1]
WORKERS = 2
TIMEOUT_S = 300
MUTANTS = (*FIRST, *SECOND)
PASSED, FAILED = 0, 1  # pytest's exit codes; any other means that no test has run


def copy_to(folder: Path) -> None:
    """Copy what the tests need, without anything compiled."""
    ignored = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc", ".hypothesis")
    for name in ("fasim", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)


def run_in(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a copy, which comes first on the path, with an empty Numba cache."""
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_CACHE_DIR": str(folder / "numba-cache"),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def run_tests(folder: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """Run tests in a copy, up to the first that fails."""
    return run_in(folder, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests)


def control() -> str:
    """Return what is wrong on a copy without a fault, or nothing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        copy_to(folder)
        imported = run_in(folder, "-c", "import fasim; print(fasim.__file__)").stdout.strip()
        if not imported or not Path(imported).resolve().is_relative_to(folder):
            return f"the tests would import fasim from {imported or 'nowhere'}, not from the copy"
        try:
            done = run_tests(folder, *dict.fromkeys(mutant.test for mutant in MUTANTS))
        except subprocess.TimeoutExpired:
            return f"the named tests took more than {TIMEOUT_S} s"
        return "" if done.returncode == PASSED else done.stdout[-2000:] + done.stderr[-2000:]


def survives(mutant: Mutant) -> tuple[str, float]:
    """Return why a mutant was not caught, or nothing; and the seconds that it took."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        copy_to(folder)
        path = folder / mutant.file
        source = path.read_text(encoding="utf-8")
        if source.count(mutant.old) != 1:
            return f"{mutant.old!r} stands {source.count(mutant.old)} times in {mutant.file}", 0.0
        path.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
        try:
            code = run_tests(folder, mutant.test).returncode
        except subprocess.TimeoutExpired:
            return f"its test took more than {TIMEOUT_S} s", TIMEOUT_S
    reason = {FAILED: "", PASSED: "its test passes"}.get(code, f"pytest ended with code {code}")
    return reason, time.perf_counter() - started


def main() -> int:
    """Run the control and all mutants, print a table, return the exit code."""
    started = time.perf_counter()
    if wrong := control():
        print(wrong)
        print("control: the named tests do not pass without a fault; mend them first")
        print("0 passed, 1 failed")
        return 1
    print(f"{'':9}{'control, no fault':68}{time.perf_counter() - started:5.1f} s")
    survivors = 0
    with ThreadPoolExecutor(WORKERS) as pool:
        for mutant, (reason, seconds) in zip(MUTANTS, pool.map(survives, MUTANTS), strict=True):
            survivors += bool(reason)
            print(f"{'SURVIVED' if reason else 'caught':9}{mutant.what:68}{seconds:5.1f} s  {mutant.test}", flush=True)
            if reason:
                print(f"{'':9}{reason}", flush=True)
    print(f"{time.perf_counter() - started:.0f} s")
    print(f"{len(MUTANTS) - survivors} passed, {survivors} failed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
