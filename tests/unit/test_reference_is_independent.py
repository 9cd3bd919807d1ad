"""The oracle in tests/reference imports nothing but NumPy and the standard library."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

REFERENCE = Path(__file__).resolve().parents[1] / "reference"
FILES = sorted(REFERENCE.glob("**/*.py"))
ALLOWED = (set(sys.stdlib_module_names) | {"numpy"}) - {"importlib", "runpy"}
BY_NAME = {"__import__", "exec", "eval"}


def foreign_imports(source: str) -> list[str]:
    """Return what the source reaches beyond NumPy, the standard library and its own folder."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split(".")[0] not in ALLOWED]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            own = node.level == 1
            if not own and (node.level > 1 or module.split(".")[0] not in ALLOWED):
                found.append(module)
        elif isinstance(node, ast.Name) and node.id in BY_NAME:
            found.append(node.id)
    return found


def test_the_oracle_is_found() -> None:
    """The check below looks at the files it is meant for."""
    names = {path.name for path in FILES}
    assert {"float_step.py", "fixed_step.py", "philox.py"} <= names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_file_imports_only_numpy_and_standard_library(path: Path) -> None:
    """No file of the oracle imports the package or another library."""
    assert foreign_imports(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import fasim", ["fasim"]),
        ("import numpy as np, fasim.rules", ["fasim.rules"]),
        ("def f():\n    from fasim.kernels import dense", ["fasim.kernels"]),
        ("from .. import golden", [".."]),
        ("from scipy.special import expit", ["scipy.special"]),
        ("import importlib", ["importlib"]),
        ("__import__('fasim')", ["__import__"]),
        ("from . import philox\nfrom .integers import cast\nimport numpy.linalg, math", []),
    ],
)
def test_the_check_sees_foreign_imports(source: str, expected: list[str]) -> None:
    """The check itself tells foreign imports from the allowed ones."""
    assert foreign_imports(source) == expected
