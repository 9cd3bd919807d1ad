"""Compile every CUDA kernel to machine code, without a GPU: ``python cuda/check_compile.py [sm_80 sm_90 ...]``.

Prints a table and fails where a kernel does not compile, spills registers into memory, keeps an array that should be
registers in local memory, computes in float64 where it is not meant to, or needs more than 48 KB of static shared memory.
Kernels with such faults are compiled first and must be found. What it needs: ``pip install 'fasim[cuda]'``.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

os.environ["FASIM_CUDA"] = "compile"

from cuda.core import Linker, LinkerOptions, ObjectCode
from fasim_cuda.catalog import IN_FLOAT64, Entry, entries
from fasim_cuda.target import cuda, jit
from numba import float32, int64

TARGETS = ("sm_80", "sm_90")
MOST_SHARED = 48 * 1024
COLUMNS = ("registers", "shared", "stack", "spilled", "float64")


class Figures(NamedTuple):
    """What the machine code of a kernel needs, in registers and bytes, and how often it names float64."""

    registers: int
    shared: int
    stack: int
    spilled: int
    float64: int

    def faults(self, name: str) -> list[str]:
        """Return what is wrong with the kernel of this name."""
        found = {
            f"spills {self.spilled} bytes": self.spilled,
            f"keeps {self.stack} bytes in local memory": self.stack,
            f"{self.float64} operations in float64": self.float64 and name not in IN_FLOAT64,
            f"{self.shared} bytes of shared memory, at most {MOST_SHARED}": self.shared > MOST_SHARED,
        }
        return [text for text, wrong in found.items() if wrong]


def compiled(entry: Entry) -> list[Any]:
    """Return a kernel in the compiler's own language, which becomes machine code of any target."""
    codes, _ = cuda.compile_all(entry.function, entry.types, device=False, abi="numba", cc=(8, 0), output="ltoir")
    return [code if isinstance(code, ObjectCode) else ObjectCode.from_ltoir(code) for code in codes]


def doubles(codes: list[Any], target: str) -> int:
    """Return how often float64 is named in what is the same for all targets."""
    text = Linker(*codes, options=LinkerOptions(arch=target, link_time_optimization=True, ptx=True)).link("ptx")
    return len(re.findall(r"\.f64\b", bytes(text.code).decode(errors="replace")))


def figures(codes: list[Any], target: str, float64: int) -> Figures:
    """Make machine code and read what its compiler says of it."""
    linker = Linker(*codes, options=LinkerOptions(arch=target, link_time_optimization=True, ptxas_options=["-v"]))
    linker.link("cubin")
    log = (linker.get_info_log() or "") + (linker.get_error_log() or "")

    def number(pattern: str) -> int:
        return sum(int(found) for found in re.findall(pattern, log))

    return Figures(
        number(r"Used (\d+) registers"),
        number(r"(\d+) bytes smem"),
        number(r"(\d+) bytes stack frame"),
        number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
        float64,
    )


def check(given: Iterable[Entry], targets: list[str]) -> Iterator[str]:
    """Print a line for each kernel and target; yield what is wrong."""
    for entry in given:
        try:
            codes = compiled(entry)
            float64 = doubles(codes, targets[0])
            for target in targets:
                found = figures(codes, target, float64)
                print(f"{entry.name:28s}{target:>8s}" + "".join(f"{number:>11d}" for number in found), flush=True)
                yield from (f"{entry.name} {entry.types} {target}: {fault}" for fault in found.faults(entry.name))
        except Exception as error:  # whatever a compiler raises, the other kernels are to be seen
            yield f"{entry.name} {entry.types}: {type(error).__name__}: {error}"


def planted() -> Iterator[tuple[Entry, str]]:
    """Yield kernels with a fault, and what must be said of them."""

    @jit
    def tenth(out):
        out[cuda.grid(1)] *= 0.1

    @jit
    def crowded(out):
        shared = cuda.shared.array(16384, float32)
        shared[cuda.threadIdx.x] = out[0]
        cuda.syncthreads()
        out[0] = shared[cuda.threadIdx.x + 1]

    @jit
    def indexed(out):
        local = cuda.local.array(64, int64)
        for k in range(64):
            local[k] = 0
        for k in range(1024):
            local[out[k]] += k
        for k in range(64):
            out[k] = local[k]

    yield Entry("tenth", tenth, (float32[:, ::1],)), "operations in float64"
    yield Entry("crowded", crowded, (float32[:, ::1],)), "shared"
    yield Entry("indexed", indexed, (int64[:, ::1],)), "bytes in local memory"


def main(targets: list[str]) -> int:
    """Print the table; return 1 if a kernel is at fault, or a planted fault is not found."""
    started = time.perf_counter()
    print(f"{'kernel':28s}{'target':>8s}" + "".join(f"{name:>11s}" for name in COLUMNS))
    for entry, expected in planted():
        found = list(check([entry], targets[:1]))
        if not any(expected in fault for fault in found):
            print(f"the planted fault of {entry.name} is not found: {found}")
            return 1
    print("planted faults found, now the kernels")
    given = list(entries())
    wrong = list(check(given, targets))
    print(f"{len(given)} kernels in {time.perf_counter() - started:.0f} s, {len(wrong)} faults", *wrong, sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(TARGETS)))
