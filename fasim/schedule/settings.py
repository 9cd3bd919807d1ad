"""Everything besides network and rule that shapes a training step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fasim import feedback, losses, optimizers
from fasim.errors import ConfigError, unknown_name
from fasim.network import Conv2d, Network

HOOKS = ("pre_pool", "post_pool")
TARGETS = ("label", "value", "input")
CLIPS = ("value", "norm")


@dataclass(frozen=True)
class StepSettings:
    """Everything besides network and rule that shapes a training step.

    Parameters
    ----------
    batch_size : int
        N, samples per step.
    loss, reduction : str
        See :mod:`fasim.losses`.
    target : str
        What the output is held against: the ``label`` (classification), a ``value`` of each output (regression) or the
        ``input`` (auto-encoder).
    error_scale : str
        What direct feedback transports: ``loss_gradient`` (delta of the output layer, as backpropagation would) or ``raw``
        (``output - target``, as the DRTP authors' code does; under ``mean`` the hidden gradients are then N or N K times
        larger than the output's).
    optimizer, feedback_optimizer : str
        See :mod:`fasim.optimizers`. Feedback that learns (kp, dkp) has its own; empty: the same.
    weight_decay, feedback_weight_decay : float
        lambda of weights and of feedback that learns (None: the same); biases and normalisation do not decay.
    decay_kind : str
        ``coupled``, ``decoupled`` or ``adamw``, see :mod:`fasim.optimizers`.
    clip : str
        ``value:<limit>`` holds each element of each gradient, ``norm:<limit>`` the Euclidean norm of all of them together
        (PyTorch's ``clip_grad_norm_``); empty: none.
    hook : str
        Where direct feedback enters a segment: ``pre_pool``, at the activation (before dropout and pooling), or
        ``post_pool``, at the segment's end, from where it goes back through pooling and dropout.
    feedback : str
        Family of the feedback matrices, see :mod:`fasim.feedback`.
    freeze : str
        Layers that keep their weights: ``conv``, ``hidden``, ``output`` or numbers such as ``1,2``.
    fgsm : float
        Step of the fast gradient sign method (Goodfellow et al. 2015): the batch is moved by fgsm * sign(dLoss/dinput) -
        by true backpropagation, whatever the rule - and the step is taken on the moved batch alone (Nokland's code).
    """

    batch_size: int = 32
    loss: str = "bce"
    reduction: str = "sum"
    error_scale: str = "loss_gradient"
    optimizer: str = "sgd"
    hook: str = "pre_pool"
    feedback: str = "uniform"
    target: str = "label"
    feedback_optimizer: str = ""
    weight_decay: float = 0.0
    feedback_weight_decay: float | None = None
    decay_kind: str = "coupled"
    clip: str = ""
    freeze: str = ""
    fgsm: float = 0.0

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch size {self.batch_size}: at least 1 sample per step is needed")
        for what, given, known in (
            ("loss", self.loss, losses.LOSSES),
            ("optimizer", self.optimizer, optimizers.OPTIMIZERS),
            ("feedback optimizer", self.feedback_optimizer or self.optimizer, optimizers.OPTIMIZERS),
            ("reduction", self.reduction, losses.REDUCTIONS),
            ("error scale", self.error_scale, losses.ERROR_SCALES),
            ("hook", self.hook, HOOKS),
            ("target", self.target, TARGETS),
            ("kind of weight decay", self.decay_kind, optimizers.DECAY_KINDS),
        ):
            if given not in known:
                raise ConfigError(unknown_name(what, given, known))
        for what, value in (
            ("weight decay", self.weight_decay),
            ("feedback weight decay", self.feedback_decay),
            ("fgsm", self.fgsm),
        ):
            if not 0 <= value < math.inf:
                raise ConfigError(f"{what} {value}: a number of at least 0 is needed")
        if self.target != "label" and self.loss == "cross_entropy":
            raise ConfigError("loss cross_entropy needs labels; for values or inputs as targets use mse or bce")
        _ = self.clipping
        feedback.parse(self.feedback)

    @property
    def feedback_decay(self) -> float:
        """Lambda of feedback that learns."""
        return self.weight_decay if self.feedback_weight_decay is None else self.feedback_weight_decay

    @property
    def clipping(self) -> tuple[str, float]:
        """Kind and limit of gradient clipping; the kind is empty where there is none.

        Raises
        ------
        ConfigError
            If the text of `clip` cannot be read.
        """
        if not self.clip:
            return "", 0.0
        kind, _, text = self.clip.partition(":")
        try:
            limit = float(text)
        except ValueError:
            limit = math.nan
        if kind not in CLIPS or not 0 < limit < math.inf:
            raise ConfigError(f"clip {self.clip!r}: write value:<limit> or norm:<limit>, such as norm:1.0")
        return kind, limit

    def frozen(self, network: Network) -> frozenset[int]:
        """Return the numbers of the layers of `network` that keep their weights.

        Raises
        ------
        ConfigError
            If `freeze` names what the network does not have, or leaves no layer to train.
        """
        last = len(network.segments)
        found: set[int] = set()
        for item in filter(None, self.freeze.split(",")):
            if item == "conv":
                found |= {segment.index for segment in network.segments if isinstance(segment.layer, Conv2d)}
            elif item == "hidden":
                found |= set(range(1, last))
            elif item == "output":
                found.add(last)
            elif item.isascii() and item.isdigit() and 1 <= int(item) <= last:
                found.add(int(item))
            else:
                raise ConfigError(f"freeze {item!r}: write conv, hidden, output or numbers from 1 to {last}, such as 1,2")
        if len(found) == last:
            raise ConfigError(f"freeze {self.freeze!r} leaves no layer of {network} to train; freeze fewer")
        return frozenset(found)
