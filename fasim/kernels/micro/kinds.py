"""The kinds of numbers that register tiles multiply on this CPU."""

from __future__ import annotations

from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.dot import Kind
from fasim.scalar.target import TARGET

WIDE = TARGET.startswith("avx512")
VNNI = TARGET == "avx512vnni"
_INTS = v.vector(v.I32, 16 if WIDE else 8)

FLOAT32 = Kind(v.F32, v.vector(v.F32, 16 if WIDE else 8), parts=1 if WIDE else 2)
INT16 = Kind(v.I16, _INTS, vnni=VNNI, masked=WIDE)
INT8 = Kind(v.I8, _INTS, vnni=VNNI, masked=WIDE)
UINT8 = INT8._replace(unsigned=True)
