"""The repository agrees with itself."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fasim

ROOT = Path(__file__).parents[2]
TARGETS = (
    "demo",
    "test",
    "test-all",
    "lint",
    "bench",
    "docs",
    "package",
    "check-cuda",
    "gpu",
    "reproduce",
    "mutants",
)
# A path below a home or work folder of one machine; "a/home/b" and "x.org/home" are none.
MACHINE_PATH = re.compile(r"(?<![\w.)\]}*-])/(?:home|root|work|Users)(?![\w-])|[A-Z]:\\Users\\")


def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def tracked_text_files():
    """Text of every file that is committed or would be."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout.decode()
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: there is no list of tracked files")
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        try:
            yield name, path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # binary, or deleted and not yet committed


def test_cuda_folder_is_no_package():
    assert (ROOT / "cuda" / "fasim_cuda" / "__init__.py").is_file()
    assert not (ROOT / "cuda" / "__init__.py").exists(), "it would shadow NVIDIA's package `cuda`"


def test_version_has_one_source():
    project = pyproject()
    assert "version" in project["project"]["dynamic"]
    source = (ROOT / project["tool"]["hatch"]["version"]["path"]).read_text(encoding="utf-8")
    stated = re.findall(r"""^__version__ = ["'](.+)["']$""", source, re.MULTILINE)
    assert stated == [fasim.__version__]


def test_version_is_the_one_of_the_changelog_and_the_citation():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(\d[^]]*)\]", changelog, re.MULTILINE)
    assert versions[0] == fasim.__version__
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [fasim.__version__]


def test_wheel_packages_exist():
    for package in pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        assert (ROOT / package / "__init__.py").is_file()


def test_types_ship():
    assert (ROOT / "fasim" / "py.typed").read_text() == "", "PEP 561: without it nobody's checker reads our hints"


@pytest.mark.parametrize("target", TARGETS)
def test_makefile_has_target(target):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony is not None
    assert target in phony[1].split(), "a file of that name would hide the target"


def test_ci_runs_lint_tests_and_mutants():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    lines = script.read_text(encoding="utf-8").splitlines()
    assert "set -euo pipefail" in lines
    ran = [line.strip() for line in lines if line.strip().startswith("make ") and "installed" not in line]
    rest = 'make test TESTS="tests --ignore=tests/unit"'
    assert ran == ["make lint", rest, "make test TESTS=tests/unit", "make mutants"]
    assert lines.index("make test TESTS=tests/unit") < lines.index('[ "$held" = 0 ]') < lines.index("make mutants")
    beside = dict(re.findall(r"^make (\S+) && beside\+=\((\S+)\)", "\n".join(lines), flags=re.MULTILINE))
    assert beside == {
        ".venv/.installed-docs": "docs",
        ".venv-package/.installed": "package",
        ".venv-cuda/.installed": "check-cuda",
    }
    assert '    for target in "${beside[@]}"; do make "$target"; done' in lines


def test_planted_faults_stand_in_what_is_copied_for_them(monkeypatch):
    """A fault elsewhere makes the control of half of them fail, an hour into CI."""
    monkeypatch.syspath_prepend(str(ROOT / "tests"))
    planted = importlib.import_module("mutants")
    for mutant in planted.MUTANTS:
        text = (ROOT / mutant.file).read_text(encoding="utf-8")
        assert text.count(mutant.old) == 1, mutant.what
        assert Path(mutant.file).parts[0] in planted.COPIED, mutant.what
    names = [mutant.what for mutant in planted.MUTANTS]
    assert sorted(names) == sorted(set(names))


def test_every_planted_fault_has_its_test(monkeypatch):
    """One test that went by another name took the control of 128 faults with it."""
    monkeypatch.syspath_prepend(str(ROOT / "tests"))
    tests = dict.fromkeys(mutant.test for mutant in importlib.import_module("mutants").MUTANTS)
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout[-2000:]
    found = {part for line in done.stdout.splitlines() for part in (line, line.split("[")[0], line.split("::")[0])}
    assert not tests.keys() - found, "deselected"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see " + "/" + "home/ann/x", True),
        ("path='" + "/" + "work'", True),
        ("C:" + "\\Users\\ann", True),
        ("https://example.org/home/x", False),
        ("docs/home/x and the word work", False),
        ("/" + "workshop/x", False),
    ],
)
def test_machine_path_is_recognised(text, found):
    assert bool(MACHINE_PATH.search(text)) is found


def test_no_tracked_file_names_a_folder_of_one_machine():
    bad = [f"{name}: {match[0]}" for name, text in tracked_text_files() if (match := MACHINE_PATH.search(text))]
    assert bad == []
