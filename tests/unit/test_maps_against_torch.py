"""Convolution, pooling, normalisation and clipping against PyTorch's own, forward and backward."""

from __future__ import annotations

import numpy as np
import pytest

from fasim import kernels

torch = pytest.importorskip("torch")
functional = torch.nn.functional

F32 = np.float32


def leaf(array):
    """Return a map NHWC, or weights JRSC, as a tensor NCHW that collects its gradient."""
    return torch.tensor(array.transpose(0, 3, 1, 2)).requires_grad_()


def nhwc(tensor):
    return tensor.detach().numpy().transpose(0, 2, 3, 1)


def close(found, expected):
    scale = max(np.abs(expected).max(), 1e-3)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=3e-6 * scale)


# N, H, W, C, J, side, stride, padding
CONVOLUTIONS = [
    (4, 9, 8, 3, 6, 3, 1, 1),
    (3, 12, 12, 1, 5, 5, 1, 2),
    (2, 11, 10, 8, 16, 3, 2, 1),
    (2, 8, 9, 5, 7, 2, 3, 0),
    (5, 3, 3, 16, 9, 3, 1, 0),
    (2, 6, 5, 4, 4, 1, 1, 0),
]


@pytest.mark.parametrize("shape", CONVOLUTIONS, ids=str)
def test_convolution(shape):
    samples, height, width, channels, units, side, stride, padding = shape
    random = np.random.default_rng(61)
    act = random.standard_normal((samples, height, width, channels)).astype(F32)
    weight = random.standard_normal((units, side, side, channels)).astype(F32)
    bias = random.standard_normal(units).astype(F32)
    x, w, b = leaf(act), leaf(weight), torch.tensor(bias).requires_grad_()
    theirs = functional.conv2d(x, w, b, stride, padding)
    out = np.empty(nhwc(theirs).shape, F32)
    kernels.conv_forward(act, weight, bias, stride, padding, out)
    close(out, nhwc(theirs))

    delta = random.standard_normal(out.shape).astype(F32)
    theirs.backward(torch.tensor(delta.transpose(0, 3, 1, 2)))
    back, gradient, of_bias = np.empty_like(act), np.empty_like(weight), np.empty_like(bias)
    kernels.conv_input_gradient(delta, weight, F32(1), stride, padding, back)
    kernels.conv_weight_gradient(delta, act, 0, stride, padding, gradient)
    kernels.bias_gradient(delta.reshape(-1, units), of_bias)
    close(back, nhwc(x.grad))
    close(gradient, nhwc(w.grad))
    close(of_bias, b.grad.numpy())


@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize(("side", "stride"), [(2, 2), (3, 2), (3, 1), (2, 3)])
def test_pooling(side, stride, kind):
    random = np.random.default_rng(62)
    # ties, which both give to the first
    act = random.integers(-3, 4, (3, 9, 8, 5)).astype(F32)
    x = leaf(act)
    pool = functional.max_pool2d if kind == "max" else functional.avg_pool2d
    theirs = pool(x, side, stride)
    out, back = np.empty(nhwc(theirs).shape, F32), np.empty_like(act)
    index = np.empty(out.shape, np.uint8)
    delta = random.standard_normal(out.shape).astype(F32)
    theirs.backward(torch.tensor(delta.transpose(0, 3, 1, 2)))
    if kind == "max":
        kernels.max_pool(act, side, stride, out, index)
        kernels.max_unpool(delta, index, side, stride, back)
    else:
        kernels.average_pool(act, side, stride, out)
        kernels.average_unpool(delta, side, stride, back)
    close(out, nhwc(theirs))
    close(back, nhwc(x.grad))


def test_batch_normalisation():
    """Three steps of training, then an evaluation with the running statistics that they left."""
    random = np.random.default_rng(63)
    rows, columns = 24, 7
    gain, shift = random.uniform(0.5, 2, columns).astype(F32), random.standard_normal(columns).astype(F32)
    layer = torch.nn.BatchNorm1d(columns, eps=1e-5, momentum=0.1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(gain))
        layer.bias.copy_(torch.tensor(shift))
    mean, var = np.zeros(columns, F32), np.ones(columns, F32)
    normal, out, back = (np.empty((rows, columns), F32) for _ in range(3))
    inverse, of_gain, of_shift = (np.empty(columns, F32) for _ in range(3))
    for _ in range(3):
        preact = (3 * random.standard_normal((rows, columns)) + 2).astype(F32)
        delta = random.standard_normal((rows, columns)).astype(F32)
        x = torch.tensor(preact).requires_grad_()
        layer.zero_grad()
        theirs = layer(x)
        theirs.backward(torch.tensor(delta))
        kernels.batch_norm(preact, gain, shift, mean, var, 0.1, 1e-5, normal, inverse, out)
        kernels.batch_norm_backward(delta, normal, inverse, gain, back)
        kernels.gain_gradient(delta, normal, of_gain)
        kernels.bias_gradient(delta, of_shift)
        close(out, theirs.detach().numpy())
        close(back, x.grad.numpy())
        close(of_gain, layer.weight.grad.numpy())
        close(of_shift, layer.bias.grad.numpy())
    close(mean, layer.running_mean.numpy())
    close(var, layer.running_var.numpy())
    layer.eval()
    kernels.batch_norm_inference(preact, gain, shift, mean, var, 1e-5, out)
    close(out, layer(torch.tensor(preact)).detach().numpy())


@pytest.mark.parametrize("limit", [0.5, 100.0])
def test_clipping_by_norm(limit):
    random = np.random.default_rng(64)
    gradients = [random.standard_normal(size).astype(F32) for size in (40, 7)]
    parameters = [torch.zeros(len(g)).requires_grad_() for g in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = torch.tensor(gradient)
    torch.nn.utils.clip_grad_norm_(parameters, limit)
    norm2 = np.zeros(1)
    for gradient in gradients:
        kernels.squared_norm(gradient, norm2)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        kernels.rescale(gradient, norm2, limit, gradient)
        close(gradient, parameter.grad.numpy())
