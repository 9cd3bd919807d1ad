"""Which register tiles suit the CPU that Numba compiles for.

Numba takes its target from the host or from NUMBA_CPU_NAME and NUMBA_CPU_FEATURES, and a name implies features that no list
shows. LLVM itself is therefore asked: a few lines are compiled for exactly that target and its instructions are read.
"""

from __future__ import annotations

import ctypes
import platform
import re
import sys
from typing import NamedTuple

import llvmlite.binding as llvm  # type: ignore[import-untyped]
from numba.core.registry import cpu_target

_EVEN = ", ".join(f"i32 {2 * i}" for i in range(16))
_ODD = ", ".join(f"i32 {2 * i + 1}" for i in range(16))
# sums of pairs of int16 products, which every x86 has an instruction for, and a fused multiply-add
_QUESTION = f"""
define <16 x i32> @pairs(<16 x i32> %sum, <32 x i16> %a, <32 x i16> %b) "min-legal-vector-width"="512" {{
  %x = sext <32 x i16> %a to <32 x i32>
  %y = sext <32 x i16> %b to <32 x i32>
  %m = mul <32 x i32> %x, %y
  %e = shufflevector <32 x i32> %m, <32 x i32> %m, <16 x i32> <{_EVEN}>
  %o = shufflevector <32 x i32> %m, <32 x i32> %m, <16 x i32> <{_ODD}>
  %p = add <16 x i32> %e, %o
  %s = add <16 x i32> %p, %sum
  ret <16 x i32> %s
}}
declare float @llvm.fma.f32(float, float, float)
define float @fused(float %a, float %b, float %c) {{
  %s = call float @llvm.fma.f32(float %a, float %b, float %c)
  ret float %s
}}
"""


class Target(NamedTuple):
    """What Numba's target can do."""

    name: str
    """``avx512vnni``, ``avx512`` (F, BW, VL), ``avx2`` (with FMA) or ``portable``."""
    fused: bool
    """Whether it has a fused multiply-add (an absent one would be a call of the C library for each product)."""
    amx: bool = False
    """Whether it has AMX's products of bytes, by the features that are named."""


def ask(triple: str, cpu: str, features: str) -> Target:
    """Return what LLVM makes of a target: its triple, the name of its CPU, its features as ``+avx2,-avx512f,...``."""
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features, opt=2)
    assembly = machine.emit_assembly(llvm.parse_assembly(_QUESTION))
    fused = re.search(r"\bfmaf\b", assembly) is None
    amx = {"+amx-tile", "+amx-int8"} <= set(features.split(","))

    def has(pattern: str) -> bool:
        return re.search(pattern, assembly) is not None

    if has(r"vpdpwssd.*zmm"):
        return Target("avx512vnni", fused, amx)
    if has(r"vpmaddwd.*zmm"):
        return Target("avx512", fused)
    if has(r"vp(maddwd|dpwssd).*ymm") and has("vfmadd"):
        return Target("avx2", fused)
    return Target("portable", fused)


def _permitted() -> bool:
    """Ask the system to keep AMX's registers for this process; True where it will.

    Linux keeps those of processes only that ask: ``arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)``.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    arch_prctl, ask_for, tile_data = 158, 0x1023, 18
    return bool(ctypes.CDLL(None).syscall(arch_prctl, ask_for, tile_data) == 0)


# what Numba itself keys its cache on
_FOUND = ask(*cpu_target.target_context.codegen().magic_tuple())
TARGET = _FOUND.name
FUSED = _FOUND.fused
AMX = _FOUND.amx and _permitted()
