"""The float32 sums of `fasim.kernels.micro.correlate` for every other CPU: plain loops for LLVM to vectorise, same bits."""

from __future__ import annotations

import numpy as np

from fasim.kernels.compile import kernel
from fasim.kernels.micro.portable import fused

_WORD = 4


@kernel
def correlate(image, places, pixels, segment, segments, terms, packed, start, scale, targets, out):
    """Sum as `correlate_float32` does."""
    width = packed.shape[2]
    total = np.empty(width, np.float32)
    for panel in range(packed.shape[0]):
        first = panel * width
        here = min(width, len(start) - first)
        for m in range(pixels):
            for j in range(here):
                total[j] = start[first + j]
            for g in range(segments):
                at = (places[m] + g * segment) // _WORD
                for t in range(terms):
                    row = packed[panel, g * terms + t]
                    for j in range(width):
                        total[j] = fused(total[j], image[at + t], row[j, 0])
            to = targets[m] // _WORD + first
            for j in range(here):
                out[to + j] = scale * total[j]


@kernel
def gradient(image, places, segment, step, signal, fresh, sums):
    """Sum as `gradient_float32` does."""
    rows, terms, columns = signal.shape[:3]
    for i in range(len(sums)):
        if fresh:
            for j in range(columns):
                sums[i, j] = np.float32(0)
        for p in range(rows):
            for q in range(terms):
                x = image[(places[i] + p * segment + q * step) // _WORD]
                for j in range(columns):
                    sums[i, j] = fused(sums[i, j], x, signal[p, q, j, 0])
