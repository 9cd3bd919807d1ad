"""Numba CUDA kernels of fasim, twins of ``fasim.kernels``; they come with the CUDA work."""
