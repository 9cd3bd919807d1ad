"""Products of int8 matrices on the GPU, by each of fasim's kernels, as a share of what the card's tensor cores could do."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import fasim_cuda
import numpy as np
from fasim_cuda import cuda
from gpu import described, kind_of, seconds_between

from fasim.backends.cuda_products import LOOP, OF_INTEGERS

# multiplications and additions of int8 that the tensor cores of one multiprocessor do in a clock, without sparsity, by
# compute capability: NVIDIA's whitepapers of GA100 (624 TOPS, 108 x 1.41 GHz), GA102 (284, 82 x 1.695), AD102 (661,
# 128 x 2.52) and GH100 (1979, 132 x 1.83)
OPERATIONS = {(8, 0): 4096, (8, 6): 2048, (8, 9): 2048, (9, 0): 8192}
CHECKED_ROWS = 8


@dataclass(frozen=True)
class Product:
    """One measurement: ``[size, size] @ [size, size]`` transposed, int8 with sums in int32."""

    size: int
    way: str
    device: str
    product: str = "int8"


def peak(capability: tuple[int, int], multiprocessors: int, clock_khz: int) -> float | None:
    """Return operations a second of a card's tensor cores on int8 at its highest clock, None where that is not known."""
    per_clock = OPERATIONS.get(capability)
    return None if per_clock is None else float(per_clock) * multiprocessors * clock_khz * 1e3


def peak_of_device() -> float | None:
    """Return the same of the device that is there; None in the simulator."""
    if fasim_cuda.is_simulated:
        return None
    found = cuda.get_current_device()
    return peak(tuple(found.compute_capability), found.MULTIPROCESSOR_COUNT, found.CLOCK_RATE)


def line_of(cell: Product, rounds: int, turn_s: float) -> dict[str, Any]:
    """Prove and time a product.

    Raises
    ------
    SystemExit
        If a sum is wrong.
    """
    size, tile = cell.size, fasim_cuda.TILE
    random = np.random.default_rng(1)
    left, right = (random.integers(-128, 127, (1, size, size), np.int8, endpoint=True) for _ in range(2))
    made = fasim_cuda.integer_products("int32") if cell.way == LOOP else fasim_cuda.byte_products(cell.way)
    given = [cuda.to_device(array) for array in (left, right, np.full((1, size, size), 77, np.int32))]
    across = -(-size // tile.side)
    launch = made.project_up_fixed[(across, across, 1), (tile.threads, tile.threads)]

    def taken(times: int) -> float:
        cuda.synchronize()
        started = time.perf_counter()
        for _ in range(times):
            launch(*given)
        cuda.synchronize()
        return time.perf_counter() - started

    seconds = seconds_between(taken, rounds, turn_s)
    rows = np.unique(np.linspace(0, size - 1, CHECKED_ROWS).astype(int))
    # sums of less than 2^53 are exact in float64
    expected = left[0, rows].astype(np.float64) @ right[0].T.astype(np.float64)
    if not np.array_equal(given[2].copy_to_host()[0, rows], expected):
        raise SystemExit(f"{cell}: sums differ from NumPy's")
    rate = 2 * size**3 / seconds
    most = peak_of_device()
    return {
        "cell": asdict(cell),
        "kind": kind_of({cell.way}),
        "giga_operations_per_s": round(rate / 1e9, 1),
        "peak_giga_operations_per_s": None if most is None else round(most / 1e9),
        "share_of_peak": None if most is None else float(f"{rate / most:.3g}"),
        "proof": {"against": "NumPy", "rows": len(rows), "same_bits": True},
        "rounds": rounds,
        "turn_s": turn_s,
        "command": "python benchmarks/throughput.py --backend cuda",
        **described(),
    }


def products(sizes: list[int]) -> list[Product]:
    """Return what is to be measured: of each size every way that the device has."""
    tensor_cores = fasim_cuda.has_tensor_cores()
    ways = [way for way in OF_INTEGERS if way != "mma" or tensor_cores]
    return [Product(size, way, fasim_cuda.device_name()) for size in sizes for way in ways]
