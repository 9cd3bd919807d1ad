"""What a bug report needs: versions, machine, folders, and whether the kernels give the right bits here."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import version

import llvmlite.binding as llvm  # type: ignore[import-untyped]
import numpy as np

from fasim import __version__, backends
from fasim.data import fetch
from fasim.errors import ConfigError
from fasim.fixedpoint import load_datapath
from fasim.kernels import micro
from fasim.machine import cpu_model
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import StepSettings
from fasim.state import initial_state, set_learning_rate

PACKAGES = ("numpy", "numba", "llvmlite", "scipy", "scikit-learn", "matplotlib")
# what LLVM calls the instruction sets that make kernels faster: wide vectors, fused multiply-add, dot products of bytes
VECTORS = {
    "avx2": "AVX2",
    "fma": "FMA",
    "avx512f": "AVX-512",
    "avx512bw": "AVX-512 BW",
    "avx512vnni": "AVX-512 VNNI",
    "avxvnni": "AVX-VNNI",
    "amx-int8": "AMX int8",
    "neon": "NEON",
    "dotprod": "NEON dot product",
    "sve": "SVE",
}


def lines() -> Iterator[str]:
    """Yield the report line by line."""
    yield f"fasim {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    yield "packages: " + ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    yield f"CPU: {cpu_model()}, {os.cpu_count()} cores"
    yield f"vector instructions: {', '.join(vector_instructions()) or 'none that LLVM names'}"
    yield f"matrix products: tiles for {micro.TARGET}{', of bytes by AMX' if micro.AMX else ''}"
    yield f"backends: {', '.join(backends.names())}"
    yield f"CUDA: {_cuda()}"
    yield f"data: {os.environ.get('FASIM_DATA') or fetch.cache_folder()}"
    yield f"self-test, 3 steps of dfa in s8_stoch, cpu against the interpreter: {_self_test()}"


def vector_instructions() -> list[str]:
    """Return the instruction sets of this CPU that matter for speed, as LLVM finds them; Numba compiles for all of them.

    Unless the variables NUMBA_CPU_NAME or NUMBA_CPU_FEATURES say otherwise; these are then named too.
    """
    try:
        found = llvm.get_host_cpu_features()
    except RuntimeError:  # a platform on which LLVM cannot ask
        found = {}
    forced = [f"{name}={os.environ[name]}" for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES") if os.environ.get(name)]
    return [name for feature, name in VECTORS.items() if found.get(feature)] + forced


def _cuda() -> str:
    """Return what CUDA kernels would run on, or why they cannot."""
    try:
        backends.get("cuda")
    except ConfigError as error:
        return str(error).removeprefix("backend cuda: ")
    from fasim.backends.cuda import device_name

    return device_name()


def _self_test() -> str:
    """Run the same steps on the CPU and in the interpreter and say whether all bits agree."""
    network = Network.parse("12-7-5-3")
    schedule = training_step(network, "dfa", StepSettings(batch_size=4), load_datapath("s8_stoch"))
    random = np.random.default_rng(0)
    samples = backends.Samples(random.integers(0, 256, (12, 12)).astype(np.uint8), random.integers(0, 3, 12))
    states = []
    for name in ("cpu", "reference"):
        state = initial_state(network, schedule, 0)
        set_learning_rate(state, schedule, 2.0**-5)
        backends.get(name)(schedule).run(state, samples, np.arange(12), 0)
        states.append(state)
    same = all(np.array_equal(states[0][name], states[1][name]) for name in states[0])
    return "same bits" if same else "DIFFERENT BITS - please report this"
