"""What is read of the data, what DRTP fetches, and sums over a batch: parts of dense layers without a product.

As everywhere in this package, a kernel of single elements runs on any grid: each thread takes every so manieth element.
"""

from __future__ import annotations

from numba import float32, int64

from fasim_cuda.target import cuda, jit


@jit
def load_rows(codes, order, place, scale, out):
    """Gather the samples of one batch: ``out[n, i] = codes[order[place + n], i] * scale``.

    Parameters
    ----------
    codes : uint8 or float32[samples, I]
    order : int64[M]        rows of the whole run
    place : int64[1]        where in `order` the batch begins
    scale : float32         exact for a power of two
    out : float32[N, I]     written
    """
    columns = out.shape[1]
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n = p // columns
        i = p - n * columns
        out[n, i] = float32(float32(codes[order[place[0] + n], i]) * scale)


@jit
def load_standard_rows(codes, order, place, gain, offset, out):
    """Gather and standardise: ``out[n, i] = codes[order[place + n], i] * gain[i] + offset[i]``.

    Parameters
    ----------
    codes : uint8 or float32[samples, I]
    order : int64[M]
    place : int64[1]
    gain, offset : float32[I]
    out : float32[N, I]     written
    """
    columns = out.shape[1]
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n = p // columns
        i = p - n * columns
        out[n, i] = float32(float32(float32(codes[order[place[0] + n], i]) * gain[i]) + offset[i])


@jit
def gather_rows(codes, order, place, out):
    """Gather the samples of one batch as they are: ``out[n, i] = codes[order[place + n], i]``, integers."""
    columns = out.shape[1]
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n = p // columns
        i = p - n * columns
        out[n, i] = codes[order[place[0] + n], i]


@jit
def load_labels(labels, order, place, out):
    """Gather the labels of one batch: ``out[n] = labels[order[place + n]]``, int64[N]."""
    for n in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[n] = labels[order[place[0] + n]]


@jit
def project_target(label, matrix, scale, out):
    """Fetch the feedback row of each sample's label: ``out[n, j] = scale * matrix[label[n], j]``.

    Parameters
    ----------
    label : int64[N]
    matrix : float32[K, J]
    scale : float32
    out : float32[N, J]     written
    """
    columns = out.shape[1]
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n = p // columns
        j = p - n * columns
        out[n, j] = float32(scale * matrix[label[n], j])


@jit
def project_target_fixed(label, matrix, out):
    """Fetch the feedback row of each sample's label: ``out[n, j] = matrix[label[n], j]``, integers."""
    columns = out.shape[1]
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n = p // columns
        j = p - n * columns
        out[n, j] = matrix[label[n], j]


@jit
def add_bias(bias, out):
    """Add biases to products that came without them: ``out[n, j] = out[n, j] + bias[j]``; float32[J], float32[N, J]."""
    columns = out.shape[1]
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n = p // columns
        j = p - n * columns
        out[n, j] = float32(out[n, j] + bias[j])


@jit
def bias_gradient(delta, out):
    """Gradient of the biases: ``out[j] = sum_n delta[n, j]``, n ascending; float32[N, J] -> float32[J]."""
    for j in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        total = float32(0)
        for n in range(delta.shape[0]):
            total = float32(total + delta[n, j])
        out[j] = total


@jit
def bias_gradient_fixed(delta, out):
    """Exact bias gradient: ``out[j] = sum_n delta[n, j]``, integer[N, J] -> int32 or int64[J]."""
    for j in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        total = int64(0)
        for n in range(delta.shape[0]):
            total = int64(total + int64(delta[n, j]))
        out[j] = total
