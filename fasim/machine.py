"""What a figure was measured with: CPU, versions, commit."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fasim import __version__

ROOT = Path(__file__).parents[1]


def cpu_model() -> str:
    """Return the name of the CPU, as the system gives it."""
    try:
        with open("/proc/cpuinfo") as info:
            names = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown"


@cache
def commit() -> str:
    """Return the commit of the checkout that fasim is imported from, ``unknown`` where it is installed without one.

    It is that of the first call: a process goes on with the code that it began with. Call it before what takes long.
    """
    if not (ROOT / ".git").exists():
        return "unknown"
    try:
        answer = subprocess.run(
            ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        )
    except OSError:
        return "unknown"
    return answer.stdout.strip() or "unknown"


def provenance(threads: int = 1) -> dict[str, Any]:
    """Return commit, CPU, threads and versions, for a result line."""
    return {
        "commit": commit(),
        "cpu": cpu_model(),
        "threads": threads,
        "versions": {"fasim": __version__} | {name: version(name) for name in ("numpy", "numba", "scipy")},
    }
