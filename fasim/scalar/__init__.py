"""Functions of single numbers, one source for every compiled target.

They are inlined into kernels, whose cache is keyed by the content of these files too (:mod:`fasim.kernels.compile`).
"""
