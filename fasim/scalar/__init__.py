"""Functions of single numbers, one source for every compiled target.

Numba keys its cache on the file of the caller: after an edit here run ``make clean``, or kernels in other files keep the
old, inlined code.
"""
