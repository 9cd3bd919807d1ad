"""The kinds of operation, and how many operands each reads and writes.

========== ======================================== =========================================================
kind       reads -> writes                          computes
========== ======================================== =========================================================
DENSE      act, weight, bias -> preact              ``act @ weight.T + bias``
CONV       act, weight, bias -> preact              correlation with stride and padding, plus bias
ACTIVATE   preact -> act                            tanh, sigmoid, relu, linear or softmax
POOL       map -> act, index                        maximum of each window and its place
ERROR      output, label -> error                   ``output - one_hot(label)``
SIGN       error -> sign                            -1, 0 or 1; in fixed point the sign bit, -1 or 1
SLOPE      act -> slope                             derivative of the activation, from its value
PROJECT    signal, matrix -> signal                 ``scale * signal @ matrix``: weights or feedback alike
PROJECT_CONV signal, weight-shaped -> signal        transposed convolution, the same for convolutions
SELECT     label, matrix -> signal                  ``scale * matrix[label]``
UNPOOL     signal, index -> signal                  each value to the place of its maximum, zero elsewhere
DELTA      signal[, slope] -> delta                 ``scale * signal * slope``
GRAD       delta, act -> gradient                   ``delta.T @ act``
GRAD_CONV  delta, act -> gradient                   correlation of the input with delta
GRAD_BIAS  delta -> gradient                        sum over samples (and places)
UPDATE     parameter, gradient, states -> the same  the optimizer, in place
LOOKUP     preact, table -> act or slope            fixed point: ``table[preact - lowest code]``
REQUANT    any -> any                               fixed point: cast to a narrower format at a named site
========== ======================================== =========================================================
"""

from __future__ import annotations

DENSE, CONV, ACTIVATE, POOL = "DENSE", "CONV", "ACTIVATE", "POOL"
ERROR, SIGN, SLOPE, PROJECT, PROJECT_CONV = "ERROR", "SIGN", "SLOPE", "PROJECT", "PROJECT_CONV"
SELECT, UNPOOL, DELTA = "SELECT", "UNPOOL", "DELTA"
GRAD, GRAD_CONV, GRAD_BIAS, UPDATE = "GRAD", "GRAD_CONV", "GRAD_BIAS", "UPDATE"
LOOKUP, REQUANT = "LOOKUP", "REQUANT"

# kind -> (numbers of reads allowed, number of writes); UPDATE also reads and writes optimizer state
ARITY: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    DENSE: ((3,), (1,)),
    CONV: ((3,), (1,)),
    ACTIVATE: ((1,), (1,)),
    POOL: ((1,), (1, 2)),
    ERROR: ((2,), (1,)),
    SIGN: ((1,), (1,)),
    SLOPE: ((1,), (1,)),
    PROJECT: ((2,), (1,)),
    PROJECT_CONV: ((2,), (1,)),
    SELECT: ((2,), (1,)),
    UNPOOL: ((2,), (1,)),
    DELTA: ((1, 2), (1,)),
    GRAD: ((2,), (1,)),
    GRAD_CONV: ((2,), (1,)),
    GRAD_BIAS: ((1,), (1,)),
    UPDATE: ((2, 3, 4), (1, 2, 3)),
    LOOKUP: ((2,), (1,)),
    REQUANT: ((1,), (1,)),
}
