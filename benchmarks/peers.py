"""Matrix product and requantisation beside APyTypes and NumPy, in one process: ``python benchmarks/peers.py``.

Each line of ``benchmarks/results/peers_fixed.jsonl`` is one size and width: the median time of every engine over rounds
that take turns, on one thread, and the ratios to fasim. The results are compared bit for bit before anything is timed.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "APYTYPES_THREAD_COUNT"):
    os.environ[name] = "1"  # before the libraries that read it

import numpy as np  # noqa: E402
from apytypes import APyFixedArray, OverflowMode, QuantizationMode  # noqa: E402
from result_lines import append, provenance  # noqa: E402

from fasim.fixedpoint import Cast, Fixed, matmul  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "peers_fixed.jsonl"
SHAPES = ((128, 784, 500), (64, 500, 10), (1, 784, 500))
ROUNDS = 15


def engines(bits: int, shape: tuple[int, int, int]) -> dict[str, Callable[[], np.ndarray]]:
    """Return what computes ``cast(a @ b)``, RND and SAT into the operands' width, from raw integers that are at hand."""
    samples, inputs, units = shape
    fmt = Fixed(bits, bits - 1)
    random = np.random.default_rng(0)
    a, b = (random.integers(fmt.lo, fmt.hi + 1, size, fmt.dtype) for size in ((samples, inputs), (inputs, units)))
    left, right = (APyFixedArray(raw.tolist(), bits=bits, int_bits=1) for raw in (a, b))
    cast = Cast(Fixed(bits, bits - 6), "RND", "SAT")

    def apytypes() -> np.ndarray:
        modes = {"quantization": QuantizationMode.RND, "overflow": OverflowMode.SAT}
        return (left @ right).cast(bits=bits, int_bits=6, **modes)

    def numpy() -> np.ndarray:
        shift = 2 * (bits - 1) - (bits - 6)
        rounded = (a.astype(np.int64) @ b.astype(np.int64) + (1 << (shift - 1))) >> shift
        return np.clip(rounded, fmt.lo, fmt.hi).astype(fmt.dtype)

    def with_engine(engine: str, accumulator: str = "exact") -> Callable[[], np.ndarray]:
        return lambda: matmul(a, b, fmt, fmt, out=cast, engine=engine, accumulator=accumulator)[0]

    found = {
        "fasim": with_engine("auto"),
        "fasim, integer loops": with_engine("integer"),
        "APyTypes": apytypes,
        "NumPy int64": numpy,
    }
    exact = found["fasim"]()
    for name, engine in found.items():
        result = engine()
        raw = np.array(result.to_bits(numpy=True)).view(fmt.dtype) if name == "APyTypes" else result
        np.testing.assert_array_equal(raw.astype(np.int64), exact, err_msg=name)
    found["fasim, SAT at every MAC"] = with_engine("auto", f"{2 * bits + 4} SAT every_mac")
    as_float = [raw.astype(np.float32) for raw in (a, b)]
    found["NumPy float32 alone (BLAS)"] = lambda: as_float[0] @ as_float[1]
    return found


def main() -> int:
    """Measure every size and width and append the lines."""
    for bits in (8, 16):
        for shape in SHAPES:
            timed: dict[str, list[float]] = {}
            found = engines(bits, shape)
            for engine in found.values():
                engine()
            for _ in range(ROUNDS):
                for name, engine in found.items():
                    started = time.perf_counter()
                    engine()
                    timed.setdefault(name, []).append(time.perf_counter() - started)
            medians = {name: statistics.median(times) for name, times in timed.items()}
            line: dict[str, Any] = {
                "bits": bits,
                "shape": shape,
                "median_s": {name: float(f"{value:.4g}") for name, value in medians.items()},
                "ratio_to_fasim": {name: round(value / medians["fasim"], 2) for name, value in medians.items()},
                "rounds": ROUNDS,
                "command": "python benchmarks/peers.py",
                **provenance(),
            }
            line["versions"] |= {"apytypes": version("apytypes")}
            append(RESULTS, line)
            print(bits, shape, line["ratio_to_fasim"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
