"""The kinds of operation, and how many operands each reads and writes.

============== ============================================ ==============================================================
kind           reads -> writes                              computes
============== ============================================ ==============================================================
DENSE          act, weight, bias -> preact                  ``act @ weight.T + bias``
CONV           act, weight, bias -> preact                  correlation with stride and padding, plus bias
NORM           preact, gain, shift, mean, var -> normed,    ``normal = (preact - batch mean) * inverse std``, ``normed =
               normal, inverse std, mean, var               gain * normal + shift``; running statistics
NORM_INFERENCE preact, gain, shift, mean, var -> normed     the same with the running statistics
ACTIVATE       preact or normed -> act                      tanh, sigmoid, relu, linear or softmax
DROPOUT        act -> act, mask                             ``scale * mask * act``, mask drawn at a named site
SCALE          act -> act                                   ``scale * act``: classical dropout in evaluation
POOL           map -> act, index                            maximum of each window and its place
AVERAGE_POOL   map -> act                                   mean of each window
PERTURB        act, signal -> act                           ``act + eps * sign(signal)``: fast gradient sign
ERROR          output, label -> error                       ``output - one_hot(label)``
RESIDUAL       output, target -> error                      ``output - target``
SIGN           error -> sign                                -1, 0 or 1; in fixed point the sign bit, -1 or 1
SLOPE          act -> slope                                 derivative of the activation, from its value
PROJECT        signal, matrix -> signal                     ``scale * signal @ matrix``: weights or feedback alike
PROJECT_UP     signal, matrix -> signal                     ``scale * signal @ matrix.T``: forward through weights, or a
                                                            read-out
PROJECT_CONV   signal, weight-shaped -> signal              transposed convolution, the same for convolutions
PROJECT_ELL    signal, values, index -> signal              PROJECT, k non-zeros for each unit
PROJECT_CSR    signal, values, index, start -> signal       PROJECT, any number of non-zeros for each unit
SELECT         label, matrix -> signal                      ``scale * matrix[label]``
SELECT_ELL     label, values, index -> signal               SELECT from the same
SELECT_CSR     label, values, index, start -> signal        SELECT from the same
MEAN           signals -> signal                            ``scale * (a + b [+ c])``, the scale being 1 / their number
UNPOOL         signal, index -> signal                      each value to the place of its maximum, zero elsewhere
AVERAGE_UNPOOL signal -> signal                             each value spread evenly over its window
MASK           signal, mask -> signal                       ``scale * signal * mask``: back through dropout
DELTA          signal[, slope] -> delta                     ``scale * signal * slope``
NORM_BACK      delta, normal, inverse std, gain -> delta    exact derivative of NORM, batch statistics included
GRAD           delta, act -> gradient                       ``delta.T @ act``
GRAD_CONV      delta, act -> gradient                       correlation of the input with delta
GRAD_BIAS      delta -> gradient                            sum over samples (and places)
GRAD_GAIN      delta, normal -> gradient                    sum over samples (and places) of ``delta * normal``
CLIP           gradient -> gradient                         each element held within +-limit
SQUARED_NORM   gradients -> number                          sum of all their squares
RESCALE        gradient, number -> gradient                 ``gradient * min(1, limit / sqrt(number))``
UPDATE         parameter, gradient, states -> the same      the optimizer and weight decay, in place
LOOKUP         preact, table -> act or slope                fixed point: ``table[preact - lowest code]``
REQUANT        any -> any                                   fixed point: cast to a narrower format at a named site
EXPONENT       any -> number                                fixed point: bits to drop so that max |x| fits
AFFINE         normal, gain, shift -> accumulator           fixed point: ``gain * normal + shift``, aligned
SOFTMAX        preact, table -> output                      fixed point: softmax in base 2
MOMENTUM       velocity, gradient -> accumulator            fixed point: ``M * velocity + gradient``, aligned
============== ============================================ ==============================================================
"""

from __future__ import annotations

DENSE = "DENSE"
CONV = "CONV"
NORM = "NORM"
NORM_INFERENCE = "NORM_INFERENCE"
ACTIVATE = "ACTIVATE"
DROPOUT = "DROPOUT"
SCALE = "SCALE"
POOL = "POOL"
AVERAGE_POOL = "AVERAGE_POOL"
PERTURB = "PERTURB"
ERROR = "ERROR"
RESIDUAL = "RESIDUAL"
SIGN = "SIGN"
SLOPE = "SLOPE"
PROJECT = "PROJECT"
PROJECT_UP = "PROJECT_UP"
PROJECT_CONV = "PROJECT_CONV"
PROJECT_ELL = "PROJECT_ELL"
PROJECT_CSR = "PROJECT_CSR"
SELECT = "SELECT"
SELECT_ELL = "SELECT_ELL"
SELECT_CSR = "SELECT_CSR"
MEAN = "MEAN"
UNPOOL = "UNPOOL"
AVERAGE_UNPOOL = "AVERAGE_UNPOOL"
MASK = "MASK"
DELTA = "DELTA"
NORM_BACK = "NORM_BACK"
GRAD = "GRAD"
GRAD_CONV = "GRAD_CONV"
GRAD_BIAS = "GRAD_BIAS"
GRAD_GAIN = "GRAD_GAIN"
CLIP = "CLIP"
SQUARED_NORM = "SQUARED_NORM"
RESCALE = "RESCALE"
UPDATE = "UPDATE"
LOOKUP = "LOOKUP"
REQUANT = "REQUANT"
EXPONENT = "EXPONENT"
AFFINE = "AFFINE"
SOFTMAX = "SOFTMAX"
MOMENTUM = "MOMENTUM"

# kind -> (numbers of reads allowed, numbers of writes), optimizer state included; SQUARED_NORM reads any number
ARITY: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    # without biases: 2; batch normalisation in fixed point: gain and shift are read by AFFINE
    DENSE: ((2, 3), (1,)),
    CONV: ((2, 3), (1,)),
    NORM: ((3, 5), (2, 3, 4, 5)),
    NORM_INFERENCE: ((3, 5), (1,)),
    ACTIVATE: ((1,), (1,)),
    DROPOUT: ((1,), (1, 2)),
    SCALE: ((1,), (1,)),
    POOL: ((1,), (1, 2)),
    AVERAGE_POOL: ((1,), (1,)),
    PERTURB: ((2,), (1,)),
    ERROR: ((2,), (1,)),
    RESIDUAL: ((2,), (1,)),
    SIGN: ((1,), (1,)),
    SLOPE: ((1,), (1,)),
    PROJECT: ((2,), (1,)),
    PROJECT_UP: ((2,), (1,)),
    PROJECT_CONV: ((2,), (1,)),
    PROJECT_ELL: ((3,), (1,)),
    PROJECT_CSR: ((4,), (1,)),
    SELECT: ((2,), (1,)),
    SELECT_ELL: ((3,), (1,)),
    SELECT_CSR: ((4,), (1,)),
    MEAN: ((2, 3), (1,)),
    UNPOOL: ((2,), (1,)),
    AVERAGE_UNPOOL: ((1,), (1,)),
    MASK: ((2,), (1,)),
    DELTA: ((1, 2), (1,)),
    NORM_BACK: ((4,), (1,)),
    GRAD: ((2,), (1,)),
    GRAD_CONV: ((2,), (1,)),
    GRAD_BIAS: ((1,), (1,)),
    GRAD_GAIN: ((2,), (1,)),
    CLIP: ((1,), (1,)),
    RESCALE: ((2,), (1,)),
    UPDATE: ((2, 3, 4), (1, 2, 3)),
    LOOKUP: ((2,), (1,)),
    REQUANT: ((1,), (1,)),
    EXPONENT: ((1,), (1,)),
    AFFINE: ((3,), (1,)),
    SOFTMAX: ((2,), (1,)),
    MOMENTUM: ((2,), (1,)),
}
