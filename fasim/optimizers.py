"""Optimizers: which state each parameter needs, their constants, and the kinds of weight decay.

The update itself is an op of the schedule (``UPDATE``) and a kernel; this file says what the builder, the counter and the
initial state must know. Formulas and defaults are PyTorch's.
"""

from __future__ import annotations

from dataclasses import dataclass

from fasim.errors import ConfigError, unknown_name

# what an UPDATE may name as its group
PARAMETER_GROUPS = ("weight", "bias", "feedback", "norm")

# Weight decay of the old w, by its position the code that the kernels take: coupled ``g += decay * w`` (an L2 penalty),
# decoupled ``w -= decay * w`` (Kolen and Pollack's lambda, independent of the rate), adamw ``w -= rate * decay * w``
DECAY_KINDS = ("coupled", "decoupled", "adamw")


@dataclass(frozen=True)
class Optimizer:
    """An update rule.

    Parameters
    ----------
    name : str
        A key of :data:`OPTIMIZERS`.
    states : tuple of str
        State tensors of each parameter, each of the parameter's shape.
    constants : dict
        The numbers of the formula.
    mul, add, div : int
        Operations per parameter of one update (a square root counts as a division).
    """

    name: str
    states: tuple[str, ...]
    constants: dict[str, float]
    mul: int
    add: int
    div: int = 0


OPTIMIZERS = {
    # w -= lr * g
    "sgd": Optimizer("sgd", (), {}, mul=1, add=1),
    # v = mu * v + g; w -= lr * v
    "momentum": Optimizer("momentum", ("velocity",), {"mu": 0.9}, mul=2, add=2),
    # v = mu * v + g; w -= lr * (g + mu * v)
    "nesterov": Optimizer("nesterov", ("velocity",), {"mu": 0.9}, mul=3, add=3),
    # s as running mean of g^2; w -= lr * g / (sqrt(s) + eps): a root and a quotient
    "rmsprop": Optimizer("rmsprop", ("square",), {"alpha": 0.99, "eps": 1e-8}, mul=4, add=3, div=2),
    # m, v as running means of g and g^2; w -= lr * m_hat / (sqrt(v_hat) + eps): two corrections, a root and a quotient
    "adam": Optimizer(
        "adam",
        ("moment1", "moment2"),
        {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
        mul=8,
        add=4,
        div=2,
    ),
}


def get(name: str) -> Optimizer:
    """Return the optimizer of this name."""
    if name not in OPTIMIZERS:
        raise ConfigError(unknown_name("optimizer", name, OPTIMIZERS))
    return OPTIMIZERS[name]


def decay_operations(decay: float) -> tuple[int, int]:
    """Return the multiplications and additions per parameter that weight decay adds to an update.

    One of each whatever its kind, ``factor * w`` and its sum with the gradient or the step; the factor ``rate * decay`` of
    adamw is one number for all parameters and is not counted. Without decay there are none.
    """
    return (1, 1) if decay else (0, 0)
