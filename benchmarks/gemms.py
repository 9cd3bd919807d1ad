"""Matrix products of microkernels beside BLAS, PyTorch and this CPU's own peak, one JSON line a type and shape.

``python benchmarks/gemms.py`` times all contenders in turns, A B A B, in one process, on one thread and on 64-byte aligned
buffers, by CPU time, and appends to ``benchmarks/results/gemms.jsonl``; ``--rounds`` says how often, ``--no-results`` only
prints. Each product is first compared with NumPy's. A peak is what a loop of the same instruction on registers reaches.
Only ratios and shares of the peak mean anything elsewhere.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from gemm_peaks import peaks
from result_lines import append, provenance
from threadpoolctl import threadpool_info, threadpool_limits

from fasim.kernels import micro
from fasim.kernels.micro.ascending import worthwhile

RESULTS = Path(__file__).parent / "results" / "gemms.jsonl"
# samples, inputs, units
SHAPES = ((64, 784, 500), (64, 1000, 1000), (16, 784, 500), (1, 784, 500), (512, 1024, 1024))
TYPES: dict[str, tuple[Any, Any, Any]] = {
    "float32": (np.float32, np.float32, np.float32),
    "int16": (np.int16, np.int16, np.int32),
    "int8": (np.int8, np.int8, np.int32),
    "uint8": (np.uint8, np.int8, np.int32),
}
TURN_S = 0.004
ALIGNMENT = 64
ROUNDS = 41
NO_BIAS = np.empty(0, np.float32)
INT16_LIMIT = 1000  # 1024 products of these fit into int32


def aligned(shape: tuple[int, int], dtype: Any) -> np.ndarray:  # noqa: ANN401
    """Return an array that begins at a cache line."""
    size = shape[0] * shape[1] * np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % ALIGNMENT
    return memory[first : first + size].view(dtype).reshape(shape)


def drawn(shape: tuple[int, int], dtype: Any, random: np.random.Generator) -> np.ndarray:  # noqa: ANN401
    """Return an aligned matrix of random numbers."""
    matrix = aligned(shape, dtype)
    if dtype == np.float32:
        matrix[...] = random.standard_normal(shape, dtype)
    else:
        info = np.iinfo(dtype)
        matrix[...] = random.integers(max(info.min, -INT16_LIMIT), min(info.max, INT16_LIMIT), shape, dtype, endpoint=True)
    return matrix


def contenders(name: str, shape: tuple[int, int, int], random: np.random.Generator) -> dict[str, Callable[[], Any]]:
    """Return calls that form the same product, or one of the same shape in float32, each proven right where it is ours."""
    samples, inputs, units = shape
    left, right, result = TYPES[name]
    a, b, out = (
        drawn((samples, inputs), left, random),
        drawn((units, inputs), right, random),
        aligned((samples, units), result),
    )
    kernel = getattr(micro, f"gemm_nt_{name}")
    if name == "float32" and worthwhile(samples, units, inputs):
        kernel = lambda a, b, out: micro.gemm_nt_ascending_float32(a, b, NO_BIAS, out)  # noqa: E731
    kernel(a, b, out)
    exact = a.astype(np.float64) @ b.astype(np.float64).T
    if not np.allclose(out, exact, rtol=0, atol=1e-3 if name == "float32" else 0):
        raise SystemExit(f"gemm_nt_{name} of {shape} is wrong")
    a_f, b_f, out_f = (aligned(m.shape, np.float32) for m in (a, b, out))
    a_f[...], b_f[...] = a, b
    calls: dict[str, Callable[[], Any]] = {
        "fasim": lambda: kernel(a, b, out),
        "numpy sgemm": lambda: np.dot(a_f, b_f.T, out_f),
    }
    try:
        import torch
    except ImportError:
        return calls
    torch.set_num_threads(1)
    t_a, t_b, t_out = (torch.from_numpy(m) for m in (a_f, b_f, out_f))
    calls["torch mm"] = lambda: torch.mm(t_a, t_b.T, out=t_out)
    if name == "int8":
        i_a, i_b, i_out = (torch.from_numpy(m) for m in (a, b, out))
        try:
            torch._int_mm(i_a, i_b.T, out=i_out)
        except RuntimeError:  # it takes some shapes only
            return calls
        calls["torch._int_mm"] = lambda: torch._int_mm(i_a, i_b.T, out=i_out)
    return calls


def median_times(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Return the median CPU time of each call in seconds, taken in turns."""
    counts = {}
    for name, call in calls.items():
        call()
        start = time.perf_counter()
        call()
        counts[name] = max(1, int(TURN_S / max(time.perf_counter() - start, 1e-7)))
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.thread_time()
            for _ in range(counts[name]):
                call()
            taken[name].append((time.thread_time() - start) / counts[name])
    return {name: statistics.median(times) for name, times in taken.items()}


def main() -> None:
    """Run all and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--no-results", action="store_true", help="print only")
    given = parser.parse_args()
    random = np.random.default_rng(0)
    with threadpool_limits(1):
        blas = [f"{lib['internal_api']} {lib.get('version')} {lib.get('architecture')}" for lib in threadpool_info()]
        for name in TYPES:
            for shape in SHAPES:
                calls = contenders(name, shape, random)
                highest = peaks().get(name)
                calls |= {} if highest is None else {"peak": highest.call}
                seconds = median_times(calls, given.rounds)
                operations = 2 * shape[0] * shape[1] * shape[2]
                rates = {c: (highest.operations if c == "peak" else operations) / s / 1e9 for c, s in seconds.items()}
                line = {
                    "type": name,
                    "shape": shape,
                    "giga_operations_per_s": {c: round(rate, 1) for c, rate in rates.items()},
                    "times_faster_than": {
                        c: round(rates["fasim"] / rates[c], 2) for c in rates if c not in ("fasim", "peak")
                    },
                    "share_of_peak": round(rates["fasim"] / rates["peak"], 3) if "peak" in rates else None,
                    "target": micro.TARGET,
                    "rounds": given.rounds,
                    "blas": blas,
                    "command": "python benchmarks/gemms.py",
                } | provenance()
                if "torch mm" in calls:
                    line["versions"]["torch"] = version("torch")
                print(name, shape, line["giga_operations_per_s"], "share of peak", line["share_of_peak"], flush=True)
                if not given.no_results:
                    append(RESULTS, line)


if __name__ == "__main__":
    main()
