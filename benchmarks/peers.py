"""Matrix product and requantisation beside other fixed-point libraries, in one process: ``python benchmarks/peers.py``.

Each line of ``benchmarks/results/peers_fixed.jsonl`` is one size and width: the median time of every engine over rounds
that take turns, on one thread, and the ratios to fasim. Before anything is timed, results are compared bit for bit, or,
of a library that computes in floats or rounds ties in its own way, the share of equal numbers is noted. Libraries that
are absent are named in the line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "APYTYPES_THREAD_COUNT"):
    os.environ[name] = "1"  # before the libraries that read it

import numpy as np  # noqa: E402
from apytypes import APyFixedArray, OverflowMode, QuantizationMode  # noqa: E402
from result_lines import append, provenance  # noqa: E402
from turns import Loop, clock_of, in_turns  # noqa: E402

from fasim.fixedpoint import Cast, Fixed, matmul  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "peers_fixed.jsonl"
SHAPES = ((128, 784, 500), (64, 500, 10), (1, 784, 500))
# a turn is one call at least: what takes microseconds would else find its operands evicted by what takes milliseconds
ROUNDS, TURN_S = 9, 0.01
INT_BITS = 6
SAME = "fasim"
EVERY_MAC, EVERY_MAC_PEER = "fasim, SAT at every MAC", "APyTypes, SAT at every MAC"
# distribution and module -> what it is called in the tables
OPTIONAL = {"qtorch": "QPyTorch", "fxpmath": "fxpmath", "torch": "torch._int_mm and cast"}

Engine = Callable[[], Any]


@dataclass(frozen=True)
class Task:
    """``cast(a @ b)``, RND and SAT into the operands' width, from raw integers (N, K) and (K, J) that are at hand."""

    bits: int
    a: np.ndarray
    b: np.ndarray

    @cached_property
    def fmt(self) -> Fixed:
        """Format of both operands: all bits but the sign are fraction."""
        return Fixed(self.bits, self.bits - 1)

    @cached_property
    def cast(self) -> Cast:
        """The result keeps `INT_BITS` before the point."""
        return Cast(Fixed(self.bits, self.bits - INT_BITS), "RND", "SAT")

    @property
    def shift(self) -> int:
        """Bits that the cast rounds away."""
        return 2 * (self.bits - 1) - (self.bits - INT_BITS)

    def fasim(self, engine: str, accumulator: str = "exact") -> np.ndarray:
        """Return the result of an engine of fasim."""
        return matmul(self.a, self.b, self.fmt, self.fmt, out=self.cast, engine=engine, accumulator=accumulator)[0]


def drawn(bits: int, shape: tuple[int, int, int]) -> Task:
    """Return random operands."""
    samples, inputs, units = shape
    fmt, random = Fixed(bits, bits - 1), np.random.default_rng(0)
    a, b = (random.integers(fmt.lo, fmt.hi + 1, size, fmt.dtype) for size in ((samples, inputs), (inputs, units)))
    return Task(bits, a, b)


def exact_engines(task: Task) -> dict[str, Engine]:
    """Return what has fasim's bits."""
    bits, fmt = task.bits, task.fmt
    left, right = (APyFixedArray(raw.tolist(), bits=bits, int_bits=1) for raw in (task.a, task.b))
    modes: dict[str, Any] = {"quantization": QuantizationMode.RND, "overflow": OverflowMode.SAT}

    def numpy() -> np.ndarray:
        rounded = (task.a.astype(np.int64) @ task.b.astype(np.int64) + (1 << (task.shift - 1))) >> task.shift
        return np.clip(rounded, fmt.lo, fmt.hi).astype(fmt.dtype)

    found: dict[str, Engine] = {
        SAME: lambda: task.fasim("auto"),
        "fasim, integer loops": lambda: task.fasim("integer"),
        "APyTypes": lambda: (left @ right).cast(bits=bits, int_bits=INT_BITS, **modes),
        "NumPy int64": numpy,
    }
    return found | _int_mm(task)


def _int_mm(task: Task) -> dict[str, Engine]:
    """Return PyTorch's product of bytes and the cast in its integers, if it takes the shape."""
    try:
        import torch
    except ImportError:
        return {}
    torch.set_num_threads(1)
    if task.bits != 8:
        return {}
    a, b = (torch.from_numpy(raw) for raw in (task.a, task.b))
    try:
        torch._int_mm(a, b)
    except RuntimeError:
        return {}

    def engine() -> Any:  # noqa: ANN401
        sums = torch._int_mm(a, b).add_(1 << (task.shift - 1)).bitwise_right_shift_(task.shift)
        return sums.clamp_(task.fmt.lo, task.fmt.hi).to(torch.int8).numpy()

    return {OPTIONAL["torch"]: engine}


def near_engines(task: Task) -> dict[str, Engine]:
    """Return what rounds ties differently, or sums in floats: QPyTorch and fxpmath, where they are installed."""
    found: dict[str, Engine] = {}
    scale = 2.0 ** -(task.bits - 1)
    fraction = task.bits - INT_BITS
    try:
        import torch
        from qtorch.quant import fixed_point_quantize  # compiles itself when it is imported first
    except (ImportError, OSError, RuntimeError):
        pass
    else:
        x, y = (torch.from_numpy(raw.astype(np.float32)) * scale for raw in (task.a, task.b))

        def qtorch() -> Any:  # noqa: ANN401
            return fixed_point_quantize(x @ y, task.bits, fraction, rounding="nearest").numpy() * 2**fraction

        found[OPTIONAL["qtorch"]] = qtorch
    try:
        from fxpmath import Fxp
    except ImportError:
        pass
    else:
        left, right = (Fxp(raw.astype(np.int64), True, task.bits, task.bits - 1, raw=True) for raw in (task.a, task.b))
        like = {"rounding": "around", "overflow": "saturate"}
        found[OPTIONAL["fxpmath"]] = lambda: Fxp(left.dot(right), True, task.bits, fraction, **like).val
    return found


def every_mac_engines(task: Task) -> dict[str, Engine]:
    """Return what saturates a register of 2 bits + 4 at each addition: fasim, and a loop of APyTypes' casts."""
    bits, register, inputs = task.bits, 2 * task.bits + 4, task.a.shape[1]
    left, right = (APyFixedArray(raw.tolist(), bits=bits, int_bits=1) for raw in (task.a, task.b))
    into: dict[str, Any] = {"bits": register, "int_bits": register - 2 * (bits - 1), "overflow": OverflowMode.SAT}

    def apytypes() -> Any:  # noqa: ANN401
        total = (left[:, 0:1] * right[0:1, :]).cast(**into)
        for k in range(1, inputs):
            total = (total + left[:, k : k + 1] * right[k : k + 1, :]).cast(**into)
        return total.cast(bits=bits, int_bits=INT_BITS, quantization=QuantizationMode.RND, overflow=OverflowMode.SAT)

    return {EVERY_MAC: lambda: task.fasim("auto", f"{register} SAT every_mac"), EVERY_MAC_PEER: apytypes}


def raw_of(result: Any, fmt: Fixed) -> np.ndarray:  # noqa: ANN401
    """Return the whole numbers of any engine's result."""
    if isinstance(result, APyFixedArray):
        result = np.array(result.to_bits(numpy=True)).astype(fmt.dtype)
    return np.asarray(result).astype(np.int64)


def engines(task: Task) -> tuple[dict[str, Engine], dict[str, float]]:
    """Return all engines, compared with each other, and the share of fasim's numbers that the near ones have."""
    exact, near, every = exact_engines(task), near_engines(task), every_mac_engines(task)
    for group in (exact, every):
        expected = None
        for name, engine in group.items():
            raw = raw_of(engine(), task.fmt)
            expected = raw if expected is None else expected
            np.testing.assert_array_equal(raw, expected, err_msg=name)
    expected = raw_of(exact[SAME](), task.fmt)
    equal = {name: round(float(np.mean(raw_of(engine(), task.fmt) == expected)), 5) for name, engine in near.items()}
    as_float = [raw.astype(np.float32) for raw in (task.a, task.b)]
    alone: dict[str, Engine] = {"NumPy float32 alone (BLAS)": lambda: as_float[0] @ as_float[1]}
    return exact | near | every | alone, equal


def absent() -> list[str]:
    """Return the libraries of the comparison that are not installed, or cannot be imported: QPyTorch needs a compiler."""
    found = []
    for module, shown in OPTIONAL.items():
        try:
            import_module("qtorch.quant" if module == "qtorch" else module)
        except (ImportError, OSError, RuntimeError):
            found.append(shown)
    return found


def main() -> int:
    """Measure every size and width and append the lines."""
    lacking = absent()
    if lacking:
        print(f"absent, left out: {', '.join(lacking)}; pip install -e '.[oracle]', and a C++ compiler for QPyTorch")
    for bits in (8, 16):
        for shape in SHAPES:
            found, equal = engines(drawn(bits, shape))
            loops = {name: Loop(engine) for name, engine in found.items()}
            times = in_turns(loops, ROUNDS, dict.fromkeys(loops, TURN_S), clock_of(1))
            medians = {name: one.median for name, one in times.items()}
            line: dict[str, Any] = {
                "bits": bits,
                "shape": shape,
                "median_s": {name: float(f"{value:.4g}") for name, value in medians.items()},
                "ratio_to_fasim": {name: round(value / medians[SAME], 2) for name, value in medians.items()},
                "every_mac_ratio": round(medians[EVERY_MAC_PEER] / medians[EVERY_MAC], 1),
                "share_equal": equal,
                "absent": lacking,
                "rounds": ROUNDS,
                "command": "python benchmarks/peers.py",
                **provenance(),
            }
            there = [name for name in ("apytypes", *OPTIONAL) if name == "apytypes" or OPTIONAL[name] not in lacking]
            line["versions"] |= {name: version(name) for name in there}
            append(RESULTS, line)
            print(bits, shape, line["ratio_to_fasim"], "every MAC:", line["every_mac_ratio"], "equal:", equal, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
