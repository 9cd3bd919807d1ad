"""Functions of single numbers: one source for NumPy, the CPU kernels and the CUDA kernels."""
