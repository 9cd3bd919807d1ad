"""Build the sdist, the wheel out of it, and use both as somebody else would: ``python tests/check_package.py ENVIRONMENT``.

The environment is a virtual one that holds what fasim depends on and nothing of this checkout; ``make package`` makes it.
The wheel is installed there and compares rules in an empty folder, mypy reads its types from a user's file, and tests of
the sdist run where it was unpacked. The first failure ends the script with exit code 1 and says what was done.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("fasim", "cuda/fasim_cuda")
TOML_FOLDERS = ("fixedpoint/datapaths", "energy/processors", "experiments")
CODE = (".py", ".pyc", ".nbi", ".nbc")
COMPARE = ("compare", "--rules", "dfa", "--datapaths", "s8", "--epochs", "2", "--seeds", "0", "--out", "out")
# without kernels, for compiling them again would take minutes
SDIST_TESTS = ("unit/test_layers.py", "unit/test_repository.py", "unit/test_network.py", "unit/test_schedule.py")
LISTS = """
from pathlib import Path
import fasim
from fasim import experiments, fixedpoint
from fasim.energy import load
print(Path(fasim.__file__).parent)
for found in (fixedpoint.names(), load.names(), experiments.names()):
    print(len(found))
"""
TYPED = """
from fasim import Network, StepSettings, compare, estimate, train

run = train("64-16-10", "digits", rule="dfa", datapath="s8", epochs=1)
accuracy: float = run.test_accuracy
cost = estimate(Network.parse("64-16-10"), "drtp", settings=StepSettings(batch_size=1))
low: float = cost.energy_ratio_to_bp.low
names: list[str] = [row.rule for row in compare("digits", rules=["bp"]).rows]
"""
MISTYPED = """
from fasim import train

train("64-16-10", "digits", epochs="one")
"""


def run(*command: str | Path, cwd: Path, fails: bool = False) -> str:
    """Run a command as outside of the checkout; return what it prints, and end if it does not do as expected."""
    clean = {name: text for name, text in os.environ.items() if name not in ("PYTHONPATH", "NUMBA_CACHE_DIR")}
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, check=False)
    if bool(done.returncode) is not fails:
        shown = " ".join(map(str, command))
        raise SystemExit(f"in {cwd}: {shown}\nexit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def built(folder: Path) -> tuple[Path, Path]:
    """Return the unpacked sdist, and the wheel that was built from it."""
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (sdist,) = folder.glob("fasim-*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (source,) = (folder / "unpacked").iterdir()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=source)
    (wheel,) = folder.glob("fasim-*.whl")
    return source, wheel


def check_files(wheel: Path) -> None:
    """End unless the wheel holds all that lies in the packages, and nothing else."""
    present = set()
    for package in PACKAGES:
        above = (ROOT / package).parent
        files = (path for path in (ROOT / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        present |= {path.relative_to(above).as_posix() for path in files}
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if ".dist-info/" not in name}
    if shipped != present or "fasim/py.typed" not in shipped:
        raise SystemExit(f"wheel lacks {sorted(present - shipped)}, has besides {sorted(shipped - present)}")
    data = sorted(name for name in shipped if not name.endswith(CODE))
    print(f"wheel: {len(shipped)} files, {len(data)} of them data")


def check_installed(environment: Path, wheel: Path, folder: Path) -> None:
    """End unless the installed wheel finds its own data and compares rules in an empty folder."""
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps", wheel, cwd=folder)
    place, *counts = run(python, "-c", LISTS, cwd=folder).split("\n")
    if not Path(place).is_relative_to(environment):
        raise SystemExit(f"fasim was imported from {place}, not from {environment}")
    here = [len(list((ROOT / "fasim").glob(f"{name}/*.toml"))) for name in TOML_FOLDERS]
    if [int(count) for count in counts if count] != here:
        raise SystemExit(f"datapaths, processors, experiments: {counts} are installed, {here} are there")
    shown = run(environment / "bin" / "fasim", *COMPARE, cwd=folder)
    for name in ("accuracy_energy.png", "summary.json"):
        if not (folder / "out" / name).stat().st_size:
            raise SystemExit(f"the comparison left no {name}:\n{shown}")
    print("installed wheel: compares, and finds", *here, "datapaths, processors and experiments")


def check_types(environment: Path, folder: Path) -> None:
    """End unless mypy sees the types of the installed package."""
    python = environment / "bin" / "python"
    (folder / "typed.py").write_text(TYPED)
    (folder / "mistyped.py").write_text(MISTYPED)
    mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable", python)
    run(*mypy, "typed.py", cwd=folder)
    shown = run(*mypy, "mistyped.py", cwd=folder, fails=True)
    if 'Argument "epochs" to "train" has incompatible type "str"; expected "int"' not in shown:
        raise SystemExit(f"mypy did not see that epochs is a number:\n{shown}")
    print("types: seen from a user's file")


def check_tests(source: Path) -> None:
    """End unless tests of the sdist pass where it was unpacked."""
    files = [f"tests/{name}" for name in SDIST_TESTS]
    code = "import sys; sys.path[:0] = ['.', 'cuda']; import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    shown = run(sys.executable, "-c", code, "-q", "-p", "no:cacheprovider", *files, cwd=source)
    print("sdist:", shown.strip().splitlines()[-1])


def main() -> None:
    """Check the environment's name, then all in turn."""
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "bin" / "python").exists():
        raise SystemExit("usage: python tests/check_package.py ENVIRONMENT, a virtual one with fasim's dependencies")
    environment = Path(sys.argv[1]).absolute()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, wheel = built(folder)
        check_files(wheel)
        user = folder / "user"
        user.mkdir()
        check_installed(environment, wheel, user)
        check_types(environment, user)
        check_tests(source)


if __name__ == "__main__":
    main()
