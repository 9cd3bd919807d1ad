"""What kernels were compiled to: their machine code, their bits on the paths of other CPUs, what they touch of memory."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fasim.kernels import micro

ROOT = Path(__file__).parents[1]
REGISTER = "%ymm" if micro.TARGET == "avx2" else "%zmm"
ORDER = ("portable", "avx2", "avx512", "avx512vnni")
X86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the targets are those of x86")
LINUX = pytest.mark.skipif(platform.system() != "Linux", reason="protects pages as Linux does")
# cpu, features and target of every path, with a fused multiply-add
PATHS = pytest.mark.parametrize(
    ("cpu", "features", "target"),
    [("haswell", "", "avx2"), ("skylake-avx512", "", "avx512"), ("generic", "+fma", "portable")],
)
# cpu and target of paths that integers take
INTEGER_PATHS = [("haswell", "avx2"), ("skylake-avx512", "avx512"), ("nehalem", "portable")]


def blocks(assembly: str) -> dict[str, str]:
    """Return the basic blocks of a compiled function by their labels."""
    return dict(re.findall(r"^(\.LBB\d+_\d+):\n((?:\t.*\n)+)", assembly, re.MULTILINE))


def machine_code(function: Callable[..., Any]) -> str:
    """Return the assembly of a function that has just been compiled for one signature; a cached one cannot be inspected."""
    (assembly,) = function.inspect_asm().values()  # type: ignore[attr-defined]
    return assembly


def counting(texts: Any, instruction: str, times: int) -> list[str]:  # noqa: ANN401
    """Return the texts that hold an instruction on whole registers just so often."""
    return [text for text in texts if len(re.findall(rf"{instruction}.*{REGISTER}", text)) == times]


def loops(assembly: str) -> list[str]:
    """Return the blocks that branch to themselves."""
    found = blocks(assembly)
    return [text for label, text in found.items() if re.search(rf"\tj\w+\t{re.escape(label)}$", text, re.MULTILINE)]


def assert_in_registers(inner: list[str]) -> None:
    """Check that there are such loops, and that none lays a vector down on the stack or takes one from there."""
    assert inner
    for text in inner:
        assert not re.search(rf"{REGISTER}.*\(%rsp\)|\(%rsp\).*{REGISTER}", text)


def in_another_process(code: str, environment: dict[str, str] | None = None) -> list[str]:
    """Run code that may import the tests; return the words it prints."""
    command = [sys.executable, "-W", "error", "-c", f"import sys\nsys.path[:0] = [sys.argv[1]]\n{code}", str(ROOT)]
    variables = os.environ | (environment or {})
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def imported(function: Callable[..., Any]) -> str:
    """Return the line that imports a function of a test file."""
    place = Path(function.__code__.co_filename).relative_to(ROOT).with_suffix("")
    return f"from {'.'.join(place.parts)} import {function.__name__}"


def on_path(
    digest: Callable[[], Any], cpu: str, target: str, features: str = "", *, fused: bool | None = None
) -> list[str]:
    """Return what ``digest()`` finds, word by word, where Numba compiles for another CPU; skip if this one cannot run it.

    `fused` says whether products of float32 are to be rounded with their sum there; None where that does not matter.
    """
    needed = "avx2" if fused and target == "portable" else target
    if ORDER.index(micro.TARGET) < ORDER.index(needed):
        pytest.skip(f"this CPU ({micro.TARGET}) cannot run {target}")
    name = digest.__name__
    code = f"{imported(digest)}\nfrom fasim.kernels import micro\nfound = {name}()\nprint(micro.TARGET, micro.FUSED)"
    code += "\nprint(*([found] if isinstance(found, str) else found or []))"
    ran, was_fused, *found = in_another_process(code, {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features})
    assert ran == target
    assert fused is None or was_fused == str(fused)
    return found


def at_an_edge(matrix: np.ndarray, front: bool, kept: list[Any]) -> np.ndarray:
    """Return a copy that begins, or ends, where memory does: what reads or writes beyond ends the process."""
    libc, page = ctypes.CDLL(None, use_errno=True), mmap.PAGESIZE
    memory = mmap.mmap(-1, 6 * page)
    kept.append(memory)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for first in (0, 5):
        assert libc.mprotect(ctypes.c_void_p(start + first * page), page, 0) == 0
    offset = page if front else 5 * page - matrix.nbytes
    moved = np.frombuffer(memory, matrix.dtype, matrix.size, offset).reshape(matrix.shape)
    moved[...] = matrix
    return moved


def assert_unharmed(edges: Callable[[], None]) -> None:
    """Check that a function that works `at_an_edge` lives to the end of its own process."""
    assert in_another_process(f"{imported(edges)}\n{edges.__name__}()\nprint('unharmed')") == ["unharmed"]
