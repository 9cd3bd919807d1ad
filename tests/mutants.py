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
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORKERS = 2
TIMEOUT_S = 300
PASSED, FAILED = 0, 1  # pytest's exit codes; any other means that no test has run


@dataclass(frozen=True)
class Mutant:
    """A fault: the text `old`, which stands once in `file`, becomes `new`; `test` must notice."""

    what: str
    file: str
    old: str
    new: str
    test: str


KERNELS = "tests/unit/test_kernels.py"
STATEMENT = f"{KERNELS}::test_kernel_is_its_statement"
SCHEDULE = "tests/unit/test_schedule.py"
NOT_BP = "tests/unit/test_not_silently_bp.py"
BY_HAND = "tests/unit/test_rules_float.py::test_interpreter_is_the_rule_by_hand"
PRESETS = "tests/property/test_fixed_bits.py::test_presets"

MUTANTS = (
    Mutant(
        "fixed-point update adds the step",
        "fasim/kernels/update.py",
        "np.int64(parameter[p]) - shift_round(gradient[p], shift, rounding, 0)",
        "np.int64(parameter[p]) + shift_round(gradient[p], shift, rounding, 0)",
        f"{STATEMENT}[update_fixed]",
    ),
    Mutant(
        "float update adds the step",
        "fasim/kernels/optimize.py",
        "parameter[p] -= lr * gradient[p]",
        "parameter[p] += lr * gradient[p]",
        f"{STATEMENT}[sgd]",
    ),
    Mutant(
        "RND looks at the bit that is left after the shift, not at the one that it drops",
        "fasim/scalar/rounding.py",
        "half = (value >> min(count - 1, 63)) & 1",
        "half = (value >> min(count, 63)) & 1",
        f"{STATEMENT}[requantize]",
    ),
    Mutant(
        "RND loses its half",
        "fasim/scalar/rounding.py",
        "        return whole + half\n",
        "        return whole\n",
        f"{STATEMENT}[requantize]",
    ),
    Mutant(
        "a cast saturates before it rounds, so that nothing is counted",
        "fasim/kernels/requantize.py",
        "value = shift_round(raw[i], shift, rounding, 0)",
        "value = shift_round(overflow(raw[i], lo << shift, hi << shift, mode), shift, rounding, 0)",
        f"{STATEMENT}[requantize]",
    ),
    Mutant(
        "saturations are counted as wraps",
        "fasim/kernels/requantize.py",
        "counters[0 if overflow_mode == SAT else 1] += outside",
        "counters[1 if overflow_mode == SAT else 0] += outside",
        "tests/unit/test_requantize.py::test_counters_accumulate",
    ),
    Mutant(
        "the mean forgets N",
        "fasim/losses.py",
        "self.factor / (batch_size * (outputs if self.mean_over_outputs else 1))",
        "self.factor / (outputs if self.mean_over_outputs else 1)",
        f"{BY_HAND}[bp-sgd]",
    ),
    Mutant(
        "the mean squared error forgets its factor 2",
        "fasim/losses.py",
        '"mse": Loss("mse", ACTIVATIONS, 2, True, True)',
        '"mse": Loss("mse", ACTIVATIONS, 1, True, True)',
        f"{BY_HAND}[dfa-sgd]",
    ),
    Mutant(
        "drtp fetches the row of the next label",
        "fasim/kernels/integer.py",
        "        row = label[n]\n",
        "        row = (label[n] + 1) % matrix.shape[0]\n",
        f"{STATEMENT}[project_target_fixed]",
    ),
    Mutant(
        "the bias is not aligned to the accumulator",
        "fasim/kernels/integer.py",
        "(np.int64(bias[j]) << bias_shift)",
        "np.int64(bias[j])",
        f"{STATEMENT}[dense_forward_fixed]",
    ),
    Mutant(
        "a fixed-point error of 0 counts as negative",
        "fasim/kernels/integer.py",
        "-1 if error[n, k] < 0 else 1",
        "-1 if error[n, k] <= 0 else 1",
        f"{KERNELS}::test_sign_of_zero",
    ),
    Mutant(
        "STOCH of an update draws from 0 instead of from the slice's place",
        "fasim/kernels/update.py",
        "random_block(seed, site, step, block)",
        "random_block(seed, site, step, block - (first >> 2))",
        f"{KERNELS}::test_slices_of_parameters_make_the_same_update[6-STOCH-SAT]",
    ),
    Mutant(
        "the second thread draws the random words of the first",
        "fasim/backends/cpu_bind.py",
        "part.start * (tensor.elements // tensor.shape[0])",
        "0",
        f"{PRESETS}[dfa-s8_stoch]",
    ),
    Mutant(
        "one round of Philox is missing",
        "fasim/scalar/philox.py",
        "for _ in range(10):",
        "for _ in range(9):",
        "tests/unit/test_philox.py",
    ),
    Mutant(
        "the slope of tanh is 1 - a",
        "fasim/kernels/elementwise.py",
        "ONE - act[n, j] * act[n, j]",
        "ONE - act[n, j]",
        f"{STATEMENT}[tanh_slope]",
    ),
    Mutant(
        "Adam corrects its bias one step late",
        "fasim/kernels/optimize.py",
        "t = step[0] + 1",
        "t = step[0] + 2",
        f"{STATEMENT}[adam]",
    ),
    Mutant(
        "a hidden layer reads the feedback of the layer below",
        "fasim/schedule/builder.py",
        'self._tensor(f"feedback.{layer}"',
        'self._tensor(f"feedback.{max(1, layer - 1)}"',
        f"{SCHEDULE}::test_transport_reads_the_matrix_of_its_layer[dfa]",
    ),
    Mutant(
        "fa transports the weights: it is bp",
        "fasim/rules/fa.py",
        "step.layered_feedback(layer)",
        "step.weight(layer + 1)",
        f"{NOT_BP}::test_fa_with_its_own_feedback_is_not_bp",
    ),
    Mutant(
        "raw error scale still scales the signs",
        "fasim/schedule/builder.py",
        'return 1.0 if self.settings.error_scale == "raw" else self._scale',
        "return self._scale",
        f"{NOT_BP}::test_raw_error_scale_under_mean_is_n_times_k_larger[sdfa]",
    ),
    Mutant(
        "the eager order is the phased one",
        "fasim/schedule/order.py",
        'if how == "phased":',
        "if how:",
        f"{SCHEDULE}::test_drtp_updates_a_layer_before_the_next_one_runs[float32]",
    ),
    Mutant(
        "a weight may be overwritten before its last reader",
        "fasim/schedule/order.py",
        "before[index].update(readers[old])",
        "before[index].update(())",
        f"{SCHEDULE}::test_a_circle_through_an_overwritten_version_is_refused",
    ),
    Mutant(
        "validation takes any version",
        "fasim/schedule/validate.py",
        "if current.get(value.tensor) != value.version:",
        "if value.tensor not in current:",
        f"{SCHEDULE}::test_validate_names_the_op_at_fault",
    ),
)


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
