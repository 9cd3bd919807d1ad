"""Plant faults in copies of the package, one at a time: for each, the test named beside it must fail.

Run ``python tests/mutants.py``, or name faults by a part of what they are: ``python tests/mutants.py "mistake 7"``. Each
worker has a copy of its own. A control comes first: every test that the worker is to run passes there without a fault.
Kernels compiled once are used again, for their cache goes by the content of all files that kernels are made of
(:mod:`fasim.kernels.compile`): after ``make test``, the control of ``make mutants`` compiles none. The exit code is 1 if a
fault survives, or if its place in the source is gone. A fault whose test is skipped, since PyTorch is absent, say, is
skipped too, and printed as that.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import planted
import planted_amx
import planted_benchmarks
import planted_config
import planted_cuda
import planted_cuda_bytes
import planted_cuda_maps
import planted_cuda_variants
import planted_docs
import planted_experiments
import planted_fixed
import planted_float
import planted_integers
import planted_kernels
import planted_meeting
import planted_registers
import planted_single
import planted_sweep
from numba.core.caching import UserProvidedCacheLocator
from planted import Mutant

from fasim.kernels.compile import CACHE_FOLDER

ROOT = Path(__file__).resolve().parents[1]
WORKERS = 2
TIMEOUT_S = 600
CONTROL_TIMEOUT_S = 1800  # one core compiles nearly all kernels
LISTS = (
    planted,
    planted_amx,
    planted_benchmarks,
    planted_config,
    planted_cuda,
    planted_cuda_bytes,
    planted_cuda_maps,
    planted_cuda_variants,
    planted_docs,
    planted_experiments,
    planted_fixed,
    planted_float,
    planted_integers,
    planted_kernels,
    planted_meeting,
    planted_registers,
    planted_single,
    planted_sweep,
)
MUTANTS = tuple(mutant for one in LISTS for mutant in one.MUTANTS)
COPIED = ("fasim", "cuda", "benchmarks", "tests", "pyproject.toml")  # what these tests need
CACHE = "numba-cache"
CAUGHT, SKIPPED, SURVIVED = "caught", "skipped", "SURVIVED"
PASSED, FAILED = 0, 1  # pytest's exit codes; any other means that no test has run


def copy_to(folder: Path) -> None:
    """Copy what the tests need, without anything compiled."""
    ignored = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc", ".hypothesis")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder)


def copy_compiled_to(folder: Path) -> int:
    """Copy what Numba has compiled of these sources to where it looks for that of a copy; return how many kernels."""
    place = UserProvidedCacheLocator.get_suitable_cache_subpath  # by the name of a source file's folder
    found = 0
    for sources in {path.parent.relative_to(ROOT) for name in ("fasim", "cuda") for path in (ROOT / name).rglob("*.py")}:
        compiled = Path(CACHE_FOLDER) / place(str(ROOT / sources / "any.py"))
        if CACHE_FOLDER and compiled.is_dir():
            into = folder / CACHE / Path(CACHE_FOLDER).name / place(str(folder / sources / "any.py"))
            shutil.copytree(compiled, into)
            found += sum(1 for _ in into.glob("*.nbc"))
    return found


def run_in(folder: Path, timeout_s: float, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a copy, which comes first on the path, with a Numba cache of its own."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(folder), str(folder / "cuda")]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_CACHE_DIR": str(folder / CACHE),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def run_tests(folder: Path, timeout_s: float, *tests: str) -> subprocess.CompletedProcess[str]:
    """Run tests in a copy, up to the first that fails."""
    return run_in(folder, timeout_s, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests)


def control(folder: Path, mutants: tuple[Mutant, ...]) -> str:
    """Return what is wrong on a copy without a fault, or nothing."""
    imported = run_in(folder, TIMEOUT_S, "-c", "import fasim; print(fasim.__file__)").stdout.strip()
    if not imported or not Path(imported).resolve().is_relative_to(folder):
        return f"the tests would import fasim from {imported or 'nowhere'}, not from the copy"
    try:
        done = run_tests(folder, CONTROL_TIMEOUT_S, *dict.fromkeys(mutant.test for mutant in mutants))
    except subprocess.TimeoutExpired:
        return f"the named tests took more than {CONTROL_TIMEOUT_S} s"
    return "" if done.returncode == PASSED else done.stdout[-2000:] + done.stderr[-2000:]


def fate(folder: Path, mutant: Mutant) -> tuple[str, str]:
    """Plant a fault, return what became of it and, unless it was caught, why."""
    path = folder / mutant.file
    source, times = path.read_bytes(), path.stat()
    text = source.decode()
    if text.count(mutant.old) != 1:
        return SURVIVED, f"{mutant.old!r} stands {text.count(mutant.old)} times in {mutant.file}"
    path.write_bytes(text.replace(mutant.old, mutant.new).encode())
    try:
        done = run_tests(folder, TIMEOUT_S, mutant.test)
    except subprocess.TimeoutExpired:
        return SURVIVED, f"its test took more than {TIMEOUT_S} s"
    finally:
        path.write_bytes(source)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # Numba asks for it before it uses what it has cached
    if done.returncode == FAILED:
        return CAUGHT, ""
    if done.returncode != PASSED:
        return SURVIVED, f"pytest ended with code {done.returncode}"
    return (SURVIVED, "its test passes") if " passed" in done.stdout else (SKIPPED, "its test is skipped here")


def work(mutants: tuple[Mutant, ...]) -> Counter[str]:
    """Run the control and these mutants in a copy, print a line for each, return how many met which fate."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        copy_to(folder)
        compiled = copy_compiled_to(folder)
        started = time.perf_counter()
        if wrong := control(folder, mutants):
            print(wrong)
            print("control: the named tests do not pass without a fault; mend them first", flush=True)
            return Counter({SURVIVED: len(mutants)})
        what = f"control, no fault; {compiled} compiled kernels were there"
        print(f"{'':9}{what:68}{time.perf_counter() - started:5.1f} s", flush=True)
        fates: Counter[str] = Counter()
        for mutant in mutants:
            started = time.perf_counter()
            found, reason = fate(folder, mutant)
            fates[found] += 1
            taken = f"{time.perf_counter() - started:5.1f} s"
            print(f"{found:9}{mutant.what:68}{taken}  {mutant.test} {reason}", flush=True)
        return fates


def main(*parts: str) -> int:
    """Share the mutants, or those whose names hold one of the parts, among the workers; return the exit code."""
    started = time.perf_counter()
    chosen = tuple(mutant for mutant in MUTANTS if not parts or any(part in mutant.what for part in parts))
    if not chosen:
        print(f"no fault is named so: {', '.join(parts)}; `what` in tests/planted*.py says what there is")
        return 2
    shares = [share for start in range(WORKERS) if (share := chosen[start::WORKERS])]
    with ThreadPoolExecutor(WORKERS) as pool:
        fates = sum(pool.map(work, shares), Counter())
    print(f"{time.perf_counter() - started:.0f} s")
    print(f"{fates[CAUGHT]} passed, {fates[SURVIVED]} failed, {fates[SKIPPED]} skipped")
    return 1 if fates[SURVIVED] else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
