"""How every CPU kernel is compiled, in one place."""

from __future__ import annotations

from numba import njit

# error_model "numpy": the Python model puts a ZeroDivisionError branch into every division, which keeps tanh and sigmoid
# loops scalar (measured 13 times slower). nogil: several threads work on slices of one batch. No fastmath: results must
# not depend on how LLVM reassociates a sum.
kernel = njit(cache=True, nogil=True, error_model="numpy")
