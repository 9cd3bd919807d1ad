"""The one place that imports a CUDA target: the GPU's (numba-cuda), or the simulator of Numba.

========================== ==========================================================================================
``FASIM_CUDA``             what is taken
========================== ==========================================================================================
not set, or ``gpu``        the GPU; one line says what is missing where there is none
``sim``                    the simulator: kernels run as Python, thread by thread, on small cases (about 75 us a thread)
``compile``                the GPU's compiler without a GPU, for `cuda/check_compile.py`; nothing can be launched
========================== ==========================================================================================

Numba's own ``NUMBA_ENABLE_CUDASIM=1`` asks for the simulator too. The choice is made when this module is imported first.
"""

from __future__ import annotations

import os
from functools import partial
from importlib.util import find_spec
from typing import Any

from numba.core import config

from fasim import gpus
from fasim.errors import ConfigError
from fasim_cuda.replicas import Kernel

INSTALL = "pip install 'fasim[cuda]'"
WAYS = ("gpu", "sim", "compile")
# what the GPU's decorator takes and the simulator's refuses
NOT_SIMULATED = ("launch_bounds", "max_registers", "lineinfo", "lto", "forceinline")


def chosen() -> str:
    """Return which target is asked for: ``gpu``, ``sim`` or ``compile``.

    Raises
    ------
    ConfigError
        If the choice is unknown, or what it needs is not there.
    """
    way = os.environ.get("FASIM_CUDA", "")
    if not way and os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0"):
        way = "sim"
    way = way or "gpu"
    if way not in WAYS:
        raise ConfigError(f"FASIM_CUDA={way}: one of {', '.join(WAYS)} is needed")
    if way != "sim" and find_spec("numba_cuda") is None:
        raise ConfigError(f"backend cuda: numba-cuda is not installed; {INSTALL}, or FASIM_CUDA=sim for small cases")
    if way == "gpu" and not gpus.count():
        raise ConfigError(
            "backend cuda: no NVIDIA GPU with a driver was found; use the backend cpu, or FASIM_CUDA=sim for small cases"
        )
    return way


WAY = chosen()
is_simulated = WAY == "sim"
# Numba decides when numba.cuda is imported first; two copies of the setting, for numba-cuda reads the environment
os.environ["NUMBA_ENABLE_CUDASIM"] = "1" if is_simulated else "0"
vars(config)["ENABLE_CUDASIM"] = int(is_simulated)
# small layers launch small grids, and each would warn
os.environ.setdefault("NUMBA_CUDA_LOW_OCCUPANCY_WARNINGS", "0")

from numba import cuda  # noqa: E402

if is_simulated:
    from fasim_cuda.simulator import repair

    repair()


def device_name() -> str:
    """Return what the kernels run on."""
    if is_simulated:
        return "the simulator"
    name = cuda.get_current_device().name
    return name.decode() if isinstance(name, bytes) else str(name)


def has_tensor_cores() -> bool:
    """Return whether the device multiplies bytes by ``mma`` m16n8k32, as those from compute capability 8.0 on do."""
    return not is_simulated and tuple(cuda.get_current_device().compute_capability) >= (8, 0)


def free_bytes() -> int:
    """Return how much memory of the device is free; the simulator, which has none of its own, says 2^62."""
    return int(min(cuda.current_context().get_memory_info()[0], 1 << 62))


def jit(function: Any = None, **options: Any) -> Any:
    """Make a kernel for any number of replicas, see `fasim_cuda.replicas`; never with types, which ask for a GPU at import.

    Parameters
    ----------
    function : callable
        The kernel of one network. It is compiled when it is launched first.
    **options
        Of ``numba.cuda.jit``; those that the simulator has not are dropped there.
    """
    if function is None:
        return partial(jit, **options)
    if is_simulated:
        options = {name: value for name, value in options.items() if name not in NOT_SIMULATED}
    return Kernel(function, cuda.jit(**options), _inlined)


def device(function: Any) -> Any:
    """Make a function that kernels of the same module call, inlined into them.

    Of the same module alone: the simulator replaces the name ``cuda`` by module, and a thread that returns to another
    module would take it away from those that are still in this one.
    """
    return cuda.jit(device=True)(function) if is_simulated else _inlined(function)


def _inlined(function: Any) -> Any:
    """Return a function as a kernel calls it; the simulator's own threads run it as it is."""
    return function if is_simulated else cuda.jit(device=True, inline="always")(function)
