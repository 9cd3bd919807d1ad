"""How convolutions lay out maps and weights for `fasim.kernels.micro.correlate`.

Maps are copied into a border of padding, one sample at a time; weights are packed once a call into panels of B. G numbers
of a row of the window lie side by side in a group: 1 in float32, 2 of int16, 4 of bytes; groups are filled up with zeros.

The way back through a convolution of any stride is a forward correlation too, of the deltas with the kernel's taps turned
around: a dense one for each pair of phases of rows and columns (`fasim.scalar.phases`), with no zero between deltas.
"""

from __future__ import annotations

from numba import njit

from fasim.kernels.compile import kernel
from fasim.kernels.micro.correlate import PANEL
from fasim.scalar.phases import taps


@njit(inline="always", cache=True)
def panels(columns):
    """Return how many panels hold so many columns."""
    return (columns + PANEL - 1) // PANEL


@kernel
def load_map(source, lead, offset, line, image):
    """Copy source[H, W, C] plus `offset` into an image of lines, `lead` rows and columns from its corner.

    What lies beyond the image or beyond a line is left out.
    """
    cast = image.dtype.type
    height, width, channels = source.shape
    rows = source.reshape(height, width * channels)
    first = lead * channels
    count = min(width * channels, line - first)
    for h in range(min(height, len(image) // line - lead)):
        start = (h + lead) * line + first
        target = image[start : start + count]
        for k in range(count):
            target[k] = cast(rows[h, k] + offset)


@kernel
def pack(weight, packed):
    """Lay weight[J, R, S, C] out as packed[panel, (r, (s c) in groups), j, group], which holds zeros."""
    units, side, _, channels = weight.shape
    strip = side * channels
    group = packed.shape[3]
    groups = (strip + group - 1) // group
    flat = weight.reshape(units, side, strip)
    for j in range(units):
        for r in range(side):
            for t in range(strip):
                packed[j // PANEL, r * groups + t // group, j % PANEL, t % group] = flat[j, r, t]


@kernel
def pack_back(weight, stride, phase_h, phase_w, packed):
    """Lay the taps of a phase of weight[J, R, S, C] out as packed[panel, (r, (s j) in groups), c, group].

    It holds zeros. r and s fall, so that p and q ascend.
    """
    units, side, _, channels = weight.shape
    down, across = taps(side, stride, phase_h), taps(side, stride, phase_w)
    group = packed.shape[3]
    groups = (across * units + group - 1) // group
    for j in range(units):
        for u in range(down):
            r = phase_h + stride * (down - 1 - u)
            for w in range(across):
                s = phase_w + stride * (across - 1 - w)
                t = w * units + j
                for c in range(channels):
                    packed[c // PANEL, u * groups + t // group, c % PANEL, t % group] = weight[j, r, s, c]
