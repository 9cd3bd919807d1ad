"""The same in fixed point, exact, of any integer storage types: flat arrays of P numbers, unless said otherwise.

Numbers are computed in 64 bits and written into the type of `out`, which the lowering has proven wide enough.
"""

from __future__ import annotations

from numba import int64

from fasim_cuda.target import cuda, jit


@jit
def look_up(codes, table, lowest, out):
    """Read a table by code: ``out[p] = table[codes[p] - lowest]``."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[p] = table[int64(codes[p]) - int64(lowest)]


@jit
def output_error_fixed(output, label, one, out):
    """Difference to the one-hot target at the output's binary point, integer[N, K]; `one` is the raw value of 1.0."""
    columns = out.shape[1]
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n = p // columns
        k = p - n * columns
        value = int64(output[n, k])
        out[n, k] = int64(value - int64(one)) if k == label[n] else value


@jit
def residual_fixed(output, target, output_shift, target_shift, out):
    """Error at the finer binary point: ``out = (output << output_shift) - (target << target_shift)``, shifts >= 0."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[p] = int64((int64(output[p]) << int64(output_shift)) - (int64(target[p]) << int64(target_shift)))


@jit
def sign_fixed(error, out):
    """``out = -1 where error < 0, else 1``: the sign bit, so that an error that rounds to 0 still counts as +1."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[p] = int64(-1) if error[p] < 0 else int64(1)


@jit
def multiply_fixed(signal, slope, out):
    """``out = signal * slope``, exact."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[p] = int64(int64(signal[p]) * int64(slope[p]))


@jit
def copy_fixed(source, out):
    """``out = source``, of any two types."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[p] = source[p]


@jit
def relu_fixed(preact, out):
    """``out = max(preact, 0)``, before its cast."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[p] = max(int64(preact[p]), int64(0))


@jit
def relu_mask(act, highest, out):
    """Slope of a ReLU as a mask: ``out = 1 where 0 < act < highest, else 0``."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        code = int64(act[p])
        out[p] = int64(1) if code > int64(0) and code < int64(highest) else int64(0)


@jit
def mask_fixed(signal, mask, out):
    """``out = signal where mask is not 0, else 0``."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[p] = int64(signal[p]) if mask[p] != 0 else int64(0)


@jit
def divide_by_fixed(signal, divisor, out):
    """``out = signal / divisor`` toward zero, the divisor > 0: slopes held as whole-number reciprocals (PocketNN)."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        value = int64(signal[p])
        whole = int64(abs(value) // int64(divisor[p]))
        out[p] = int64(-whole) if value < int64(0) else whole


@jit
def mean_of_two_fixed(a, b, out):
    """``out = a + b``: the mean at one fraction bit more."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[p] = int64(int64(a[p]) + int64(b[p]))


@jit
def mean_of_three_fixed(a, b, c, out):
    """``out = (a + b + c) * 341``: the mean at 10 fraction bits more, 1/3 taken as 341 / 2^10."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[p] = int64(int64(int64(a[p]) + int64(b[p]) + int64(c[p])) * int64(341))


@jit
def perturb_fixed(act, signal, eps, out):
    """Move inputs along the sign of their gradient, before the cast: ``out = act + sign(signal) * eps``."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        g = int64(signal[p])
        step = int64(eps) if g > int64(0) else (int64(-int64(eps)) if g < int64(0) else int64(0))
        out[p] = int64(int64(act[p]) + step)


@jit
def clip_fixed(gradient, limit, out):
    """``out = min(max(gradient, -limit), limit)``; meant, so counted nowhere. `out` may be `gradient`."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[p] = min(max(int64(gradient[p]), int64(-int64(limit))), int64(limit))


@jit
def momentum_fixed(velocity, gradient, factor, velocity_shift, gradient_shift, out):
    """Form the velocity before its cast: ``out = (M v << velocity_shift) + (g << gradient_shift)``, exact; int64[P]."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        kept = int64(int64(velocity[p]) * int64(factor)) << int64(velocity_shift)
        out[p] = int64(kept + (int64(gradient[p]) << int64(gradient_shift)))
