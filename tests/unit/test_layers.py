"""Imports go downwards only, and importing fasim brings in nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "fasim"

LAYERS = {
    0: (
        *("arrays", "errors", "files", "gpus", "intervals", "locks", "machine", "memory"),
        *("result_lines", "scalar", "tomlfiles"),
    ),
    1: (
        "kernels",
        "plan",
        "schedule",
        "network",
        "feedback",
        "fixedpoint",
        "losses",
        "optimizers",
        "learning_rates",
        "stopping",
        "data",
        "config",
        "rng",
        "state",
    ),
    2: ("rules",),
    3: ("backends", "energy", "diagnostics"),
    4: (
        "trainer",
        "training",
        "checkpoint",
        "checks",
        "execution",
        "population",
        "prediction",
        "export",
        "runs",
        "target",
        "warm",
    ),
    5: ("calibration", "comparison", "experiments", "sweep"),
    6: (
        "catalogue",
        "cli",
        "cli_calibrate",
        "cli_compare",
        "cli_config",
        "cli_doctor",
        "cli_energy",
        "cli_export",
        "cli_format",
        "cli_groups",
        "cli_lists",
        "cli_options",
        "cli_read",
        "cli_run",
        "cli_show",
        "cli_sweep",
        "cli_train",
        "cli_tune",
        "doctor",
        "format_page",
        "measured_zeros",
        "page_sweep",
        "plots",
        "plots_angles",
        "plots_energy",
        "plots_experiments",
        "plots_images",
        "plots_sweep",
        "plots_target",
        "plots_trace",
        "progress",
        "report",
        "report_energy",
        "report_experiments",
        "report_sweep",
        "report_tune",
        "run_files",
        "run_trace",
        "testing",
    ),
    # Above all: the public names, and `python -m fasim`.
    7: ("__init__", "__main__"),
}
LAYER_OF = {part: layer for layer, parts in LAYERS.items() for part in parts}
TOP = max(LAYERS)
HEAVY = ("matplotlib", "sklearn", "numba.cuda", "dask", "torch")
CUDA_TARGETS = ("numba.cuda", "numba_cuda", "fasim_cuda", "cuda", "cupy")
CUDA_USER = "fasim/backends/cuda.py"


def imported(source, package):
    """Dotted names that a module of `package` imports, wherever in the file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, *filter(None, [node.module])]) if node.level else node.module
            # `from fasim import network` imports the module fasim.network.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def part_of(dotted):
    """Which part of fasim a dotted name belongs to; a name of the package itself is __init__."""
    parts = dotted.split(".")
    known = len(parts) > 1 and ((PACKAGE / parts[1]).is_dir() or (PACKAGE / f"{parts[1]}.py").is_file())
    return parts[1] if known else "__init__"


def upward(part, source, package):
    """Imports of a module of `part` that go up; a part without a layer counts as the top."""
    own = LAYER_OF.get(part, TOP)
    return [
        name
        for name in imported(source, package)
        if name.split(".")[0] == "fasim"
        and name != "fasim.__version__"  # a constant, not a layer
        and LAYER_OF.get(part_of(name), TOP) > own
    ]


def uses_cuda(source, package):
    """Imports of a CUDA target."""
    return [
        name
        for name in imported(source, package)
        if any(name == target or name.startswith(f"{target}.") for target in CUDA_TARGETS)
    ]


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        package = ".".join(("fasim", *relative.parts[:-1]))
        yield path, relative.parts[0].removesuffix(".py"), package


def test_every_module_has_a_layer():
    unknown = {part for _, part, _ in modules()} - set(LAYER_OF)
    assert unknown == set(), "say in LAYERS where it belongs"


def test_imports_go_downwards_only():
    wrong = {
        str(path.relative_to(ROOT)): found
        for path, part, package in modules()
        if (found := upward(part, path.read_text(encoding="utf-8"), package))
    }
    assert wrong == {}


def test_only_the_cuda_backend_imports_a_cuda_target():
    users = {
        path.relative_to(ROOT).as_posix()
        for path, _, package in modules()
        if uses_cuda(path.read_text(encoding="utf-8"), package)
    }
    assert users <= {CUDA_USER}


def test_kernels_of_the_gpu_share_the_lowest_layer():
    """What both targets inline stands in fasim.scalar; besides, the simulator's functions are cached beside the CPU's."""
    shared = (*(f"fasim.{part}." for part in LAYERS[0]), "fasim.kernels.compile.")
    for path in sorted((ROOT / "cuda" / "fasim_cuda").glob("*.py")):
        names = [f"{name}." for name in imported(path.read_text(encoding="utf-8"), "fasim_cuda")]
        beside = [name for name in names if name.startswith("fasim.") and not name.startswith(shared)]
        assert beside == [], path.name


@pytest.mark.parametrize(
    ("part", "package", "source", "found"),
    [
        ("data", "fasim.data", "import fasim.errors", []),
        ("data", "fasim.data", "def f():\n    import fasim.data.idx", []),
        ("errors", "fasim", "import fasim.data.idx", ["fasim.data.idx"]),
        ("errors", "fasim", "from fasim import data", ["fasim.data"]),
        ("errors", "fasim", "from .data import load", ["fasim.data.load"]),
        ("errors", "fasim", "def f():\n    from . import data", ["fasim.data"]),
        ("data", "fasim.data", "from fasim import train", ["fasim.train"]),
        ("data", "fasim.data", "from ..errors import DataError", []),
        ("data", "fasim.data", "from . import idx", []),
    ],
)
def test_upward_imports_are_found(part, package, source, found):
    assert upward(part, source, package) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from numba import cuda", ["numba.cuda"]),
        ("import numba.cuda.random", ["numba.cuda.random"]),
        ("import fasim_cuda", ["fasim_cuda"]),
        ("from cuda.bindings import driver", ["cuda.bindings.driver"]),
        ("import numba", []),
        ("from fasim.backends import cuda", []),
    ],
)
def test_cuda_imports_are_found(source, found):
    assert uses_cuda(source, "fasim.backends") == found


def test_importing_fasim_imports_nothing_heavy():
    code = f"import sys, fasim\nprint([name for name in {HEAVY!r} if name in sys.modules], fasim.__version__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[] ")
