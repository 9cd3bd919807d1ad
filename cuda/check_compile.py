"""Compile every CUDA kernel to machine code, without a GPU: ``python cuda/check_compile.py [sm_80 sm_90 ...]``.

Prints a table and fails where a kernel does not compile, spills registers into memory, keeps an array that should be
registers in local memory, computes in float64 where it is not meant to, needs more than 48 KB of static shared memory, or
lacks the instruction that it is written for. Kernels with such faults are compiled first and must be found. What it needs:
``pip install 'fasim[cuda]'``; with ``nvidia-cuda-nvdisasm`` besides, instructions are looked for in the machine code itself
and not in PTX, what it is made of.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

os.environ["FASIM_CUDA"] = "compile"

from cuda.core import Linker, LinkerOptions, ObjectCode
from fasim_cuda.catalog import IN_FLOAT64, Entry, entries
from fasim_cuda.target import cuda, jit
from numba import float32, int32, int64

TARGETS = ("sm_80", "sm_90")
MOST_SHARED = 48 * 1024
COLUMNS = ("registers", "shared", "stack", "spilled", "float64")
# what an instruction of PTX is called in machine code
MACHINE = {"dp4a": "IDP.4A", "mma": "IMMA.16832"}


class Figures(NamedTuple):
    """What the machine code of a kernel needs, in registers and bytes, and how often it names what is looked for."""

    registers: int
    shared: int
    stack: int
    spilled: int
    float64: int
    instructions: int | None
    """How often the instruction is there that the kernel is written for; None where it is written for none."""

    def faults(self, name: str) -> list[str]:
        """Return what is wrong with the kernel of this name."""
        found = {
            f"spills {self.spilled} bytes": self.spilled,
            f"keeps {self.stack} bytes in local memory": self.stack,
            f"{self.float64} operations in float64": self.float64 and name.removeprefix("each ") not in IN_FLOAT64,
            f"{self.shared} bytes of shared memory, at most {MOST_SHARED}": self.shared > MOST_SHARED,
            "the instruction that it is written for is not there": self.instructions == 0,
        }
        return [text for text, wrong in found.items() if wrong]


def compiled(entry: Entry) -> list[Any]:
    """Return a kernel in the compiler's own language, which becomes machine code of any target."""
    codes, _ = cuda.compile_all(entry.function, entry.types, device=False, abi="numba", cc=(8, 0), output="ltoir")
    return [code if isinstance(code, ObjectCode) else ObjectCode.from_ltoir(code) for code in codes]


def ptx_of(codes: list[Any], target: str) -> str:
    """Return what the machine code of a target is made of, as text."""
    made = Linker(*codes, options=LinkerOptions(arch=target, link_time_optimization=True, ptx=True)).link("ptx")
    return bytes(made.code).decode(errors="replace")


def disassembler() -> str | None:
    """Return the path of nvdisasm, from the path or from its package."""
    if found := shutil.which("nvdisasm"):
        return found
    places = (Path(folder) / "nvidia" for folder in sys.path)
    return next((str(path) for place in places for path in place.glob("*/bin/nvdisasm")), None)


def counted(instruction: str, codes: list[Any], cubin: bytes, target: str) -> int:
    """Return how often an instruction is in the machine code or, where nothing can read that, in its PTX."""
    tool = disassembler()
    if tool is None:
        return len(re.findall(rf"^\s*{instruction}\.", ptx_of(codes, target), re.MULTILINE))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        shown = subprocess.run([tool, "-c", str(path)], capture_output=True, text=True, check=True).stdout
    return shown.count(MACHINE[instruction])


def figures(codes: list[Any], target: str, float64: int, instruction: str = "") -> Figures:
    """Make machine code and read what its compiler says of it."""
    linker = Linker(*codes, options=LinkerOptions(arch=target, link_time_optimization=True, ptxas_options=["-v"]))
    cubin = bytes(linker.link("cubin").code)
    log = (linker.get_info_log() or "") + (linker.get_error_log() or "")

    def number(pattern: str) -> int:
        return sum(int(found) for found in re.findall(pattern, log))

    return Figures(
        number(r"Used (\d+) registers"),
        number(r"(\d+) bytes smem"),
        number(r"(\d+) bytes stack frame"),
        number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
        float64,
        counted(instruction, codes, cubin, target) if instruction else None,
    )


def check(given: Iterable[Entry], targets: list[str]) -> Iterator[str]:
    """Print a line for each kernel and target; yield what is wrong."""
    for entry in given:
        try:
            codes = compiled(entry)
            float64 = len(re.findall(r"\.f64\b", ptx_of(codes, targets[0])))  # the same for all targets
            for target in targets:
                found = figures(codes, target, float64, entry.instruction)
                has = f"   {found.instructions} {entry.instruction}" if entry.instruction else ""
                print(f"{entry.name:34s}{target:>8s}" + "".join(f"{number:>11d}" for number in found[:5]) + has, flush=True)
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

    @jit
    def in_a_loop(x, y, out):
        total = int32(0)
        for k in range(x.shape[0]):
            total = int32(total + int32(x[k]) * int32(y[k]))
        out[0] = total

    for instruction in MACHINE:
        # of bytes the compiler would make dp4a by itself
        entry = Entry("in_a_loop", in_a_loop, (int32[:, ::1], int32[:, ::1], int32[:, ::1]), instruction)
        yield entry, "the instruction that it is written for is not there"
    yield Entry("tenth", tenth, (float32[:, ::1],)), "operations in float64"
    yield Entry("crowded", crowded, (float32[:, ::1],)), "shared"
    yield Entry("indexed", indexed, (int64[:, ::1],)), "bytes in local memory"


def main(targets: list[str]) -> int:
    """Print the table; return 1 if a kernel is at fault, or a planted fault is not found."""
    started = time.perf_counter()
    print(f"instructions are looked for in {'machine code' if disassembler() else 'PTX, for want of nvdisasm'}")
    print(f"{'kernel':34s}{'target':>8s}" + "".join(f"{name:>11s}" for name in COLUMNS))
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
