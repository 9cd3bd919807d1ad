"""Settings that hold for every test."""

from __future__ import annotations

import importlib.util
import os
import signal

from fasim import gpus

# Before anything imports Matplotlib: tests draw into files, never onto a screen.
os.environ["MPLBACKEND"] = "Agg"

# A shell has jobs in the background ignore Ctrl-C, and so would every process that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The CUDA tests run on a GPU where there is one, else in Numba's simulator; the tests of the CPU do not notice, for the
# choice is read when the CUDA kernels are imported.
if not os.environ.get("FASIM_CUDA"):
    os.environ["FASIM_CUDA"] = "gpu" if importlib.util.find_spec("numba_cuda") and gpus.count() else "sim"


def pytest_report_header() -> str:
    """Say what the CUDA tests prove."""
    return "CUDA kernels: " + {"gpu": "gpu", "sim": "simulated kernel"}.get(os.environ["FASIM_CUDA"], "none")
