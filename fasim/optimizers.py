"""Optimizers: which state each parameter needs, and their constants.

The update itself is an op of the schedule (``UPDATE``) and a kernel; this file says what the builder, the counter and the
initial state must know. Formulas and defaults are PyTorch's.
"""

from __future__ import annotations

from dataclasses import dataclass

from fasim.errors import ConfigError, unknown_name

# what an UPDATE may name as its group
PARAMETER_GROUPS = ("weight", "bias", "feedback", "norm")


@dataclass(frozen=True)
class Optimizer:
    """An update rule.

    Parameters
    ----------
    name : str
        ``sgd``, ``momentum`` or ``adam``.
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
