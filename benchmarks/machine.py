"""What a timing depends on beside the code: CPU, target of the kernels, BLAS and PyTorch with their threads, variables."""

from __future__ import annotations

import os
import re
from typing import Any

from threadpoolctl import threadpool_info

from fasim.doctor import vector_instructions
from fasim.kernels import micro
from fasim.machine import cpu_model

VARIABLES = re.compile(r"(OMP|GOMP|KMP|MKL|OPENBLAS|BLIS|NUMBA|ONEDNN|DNNL|ATEN|TORCH)_\w+|CPU_CAPABILITY")
# the first two are set by scikit-learn in every process that imports it; the last is a folder, which the Makefile names
WITHOUT_EFFECT = ("KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "NUMBA_CACHE_DIR")
HINT = "PyTorch is absent: pip install -e '.[oracle]', or give --without-torch to time fasim against the ceilings alone"


def torch_is_there() -> bool:
    """Tell whether PyTorch can be imported."""
    try:
        import torch  # noqa: F401
    except ImportError:
        return False
    return True


def torch_build() -> list[str]:
    """Return PyTorch's version, its instruction set and the libraries that do its products."""
    import torch

    libraries = re.findall(r"- (.*?(?:Math Kernel Library Version [\w.-]+|MKL-DNN v[\d.]+))", torch.__config__.show())
    return [
        torch.__version__,
        torch.backends.cpu.get_cpu_capability(),
        *(name.replace("Intel(R) ", "") for name in libraries),
    ]


def blas() -> list[str]:
    """Return the BLAS of NumPy and SciPy: name, version, the CPU that its kernels are for, how many threads it may take."""
    found = [lib for lib in threadpool_info() if lib["user_api"] == "blas"]
    return [
        f"{lib['internal_api']} {lib.get('version')} {lib.get('architecture')} ({lib['num_threads']} threads)"
        for lib in found
    ]


def variables() -> dict[str, str]:
    """Return the variables of the environment that change threads or instruction sets."""
    found = sorted(os.environ.items())
    return {name: value for name, value in found if VARIABLES.fullmatch(name) and name not in WITHOUT_EFFECT}


def describe(*, with_torch: bool) -> dict[str, Any]:
    """Return what belongs to every line."""
    return {
        "target": micro.TARGET,
        "vectors": vector_instructions(),
        "cores": os.cpu_count(),
        "blas": blas(),
        "torch": torch_build() if with_torch else None,
        "variables": variables(),
    }


def header(*, with_torch: bool) -> str:
    """Return the same for people."""
    found = describe(with_torch=with_torch)
    lines = [
        f"CPU: {cpu_model()}, {found['cores']} cores, {', '.join(found['vectors'])}",
        f"kernels: compiled for {found['target']}",
        f"BLAS of NumPy and SciPy: {'; '.join(found['blas'])}",
        f"PyTorch: {', '.join(found['torch']) if with_torch else 'absent'}",
        f"variables: {', '.join(f'{name}={value}' for name, value in found['variables'].items()) or 'none'}",
    ]
    return "\n".join(lines)
