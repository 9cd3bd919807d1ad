"""From a state of the package to a step of the independent float64 reference, and back to a state with the same names.

Dropout masks are drawn here from the reference's own Philox; everything else of a step is `tests/reference/`.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from fasim.backends import Samples
from fasim.network import Conv2d, MaxPool, Network
from fasim.schedule import StepSettings
from tests.reference import philox
from tests.reference import rules as by_hand
from tests.reference.learning import Learning, learn
from tests.reference.rules import Gradients, Step
from tests.reference.segments import Norm, Pool, Segment

Array = np.ndarray
State = dict[str, Array]
Matrices = Callable[[str], list[Any]]

# what a rule needs its feedback under: B (direct or in the shape of the next weights), from above, from below
RULES: dict[str, Callable[[Step, Matrices], Gradients]] = {
    "bp": lambda step, m: by_hand.bp(step),
    "fa": lambda step, m: by_hand.fa(step, m("feedback")),
    "dfa": lambda step, m: by_hand.dfa(step, m("feedback")),
    "sdfa": lambda step, m: by_hand.sdfa(step, m("feedback")),
    "drtp": lambda step, m: by_hand.drtp(step, m("feedback")),
    "shallow": lambda step, m: by_hand.shallow(step),
    "ifa": lambda step, m: by_hand.ifa(step, m("feedback")),
    "kp": lambda step, m: by_hand.kp(step, m("feedback")),
    "dkp": lambda step, m: by_hand.dkp(step, m("feedback")),
    "lafs": lambda step, m: by_hand.lafs(step, m("feedback")),
    "hybrid": lambda step, m: by_hand.hybrid(step, m("feedback")),
}
for _suffix, _errors in (("", "output"), ("_aux", "auxiliary")):
    RULES |= {
        f"strategy1{_suffix}": lambda step, m, e=_errors: by_hand.strategy1(step, m("feedback"), m("feedback_above"), e),
        f"strategy2{_suffix}": lambda step, m, e=_errors: by_hand.strategy2(step, m("feedback"), m("feedback_below"), e),
        f"strategy3{_suffix}": lambda step, m, e=_errors: by_hand.strategy3(
            step, m("feedback"), m("feedback_below"), m("feedback_above"), e
        ),
    }
DENSE_ONLY = {"ifa", *(name for name in RULES if name.startswith("strategy"))}
NEEDS_LABELS = {"drtp", "lafs", *(name for name in RULES if name.endswith("_aux"))}

OPTIMIZER_STATES = {
    "sgd": (),
    "momentum": ("velocity",),
    "nesterov": ("velocity",),
    "rmsprop": ("square",),
    "adam": ("moment1", "moment2"),
}
# tensor names of the package -> fields of the reference's gradients
GROUPS = {"weight": "weights", "bias": "biases", "gain": "gains", "shift": "shifts", "feedback": "feedback"}


@dataclass(frozen=True)
class Advance:
    """A step of the reference: the state after it, and by the package's names what led there.

    `gradients` are those of what learns, by the parameter's name; `clipped` the same after clipping.
    """

    state: State
    output: Array
    target: Array
    gradients: dict[str, Array]
    clipped: dict[str, Array]
    deltas: dict[str, Array]


def inputs(network: Network, data: Samples, rows: Array) -> Array:
    """Return rows of the data as the network reads them, in float64."""
    codes = data.codes[rows].astype(np.float64)
    x = codes * float(data.scale) if data.gain is None else codes * data.gain + data.offset
    return x.reshape(len(rows), *network.input_shape)


@cache
def _mask(seed: int, site: str, step: int, shape: tuple[int, ...], drop: float) -> Array:
    count = math.prod(shape)
    words = [
        word
        for block in range(-(-count // 4))
        for word in philox.philox4x32(
            (block, 0, step, zlib.crc32(site.encode())), (seed & philox.MASK, seed >> 32 & philox.MASK)
        )
    ]
    return (np.array(words[:count]) >= math.floor(drop * 2**32)).astype(np.float64).reshape(shape)


def _segments(network: Network, state: State, batch: int, seed: int, step: int, prefix: str) -> list[Segment]:
    found = []
    for segment in network.segments:
        layer = segment.layer
        conv = isinstance(layer, Conv2d)
        norm = mask = pool = None
        if segment.norm:
            norm = Norm(*(state[f"{name}.{segment.index}"] for name in ("gain", "shift", "running_mean", "running_var")))
        if segment.dropout:
            site = f"{prefix}dropout.{segment.index}"
            mask = _mask(seed, site, step, (batch, *segment.map_shape), segment.dropout)
        if segment.pool:
            kind = "max" if isinstance(segment.pool, MaxPool) else "average"
            pool = Pool(kind, segment.pool.kernel, segment.pool.stride)
        found.append(
            Segment(
                "conv" if conv else "dense",
                state[f"weight.{segment.index}"],
                state[f"bias.{segment.index}"],
                segment.activation,
                layer.stride if conv else 1,
                layer.padding if conv else 0,
                norm,
                mask,
                _scale(network, segment.dropout),
                pool,
            )
        )
    return found


def _scale(network: Network, drop: float) -> float:
    return 1.0 / (1.0 - drop) if network.dropout_kind == "inverted" else 1.0


def advance(
    network: Network, rule: str, settings: StepSettings, state: State, x: Array, target: Array, step: int
) -> Advance:
    """Return one step of a rule by hand, from a state with the package's names.

    Parameters
    ----------
    x : ndarray of float64, shape (N, I) or (N, H, W, C)
    target : ndarray
        Labels (N,) or values (N, K); an auto-encoder holds its output against x instead.
    """
    state = {name: array.astype(np.float64) if name != "seed" else array for name, array in state.items()}
    seed, batch = int(state["seed"][0]), len(x)
    if settings.target == "input":
        target = x.reshape(batch, -1)

    def begin(given: Array, prefix: str) -> Step:
        drop, mask = network.input_dropout, None
        if drop:
            mask = _mask(seed, f"{prefix}dropout.0", step, x.shape, drop)
        return by_hand.start(
            given,
            target,
            _segments(network, state, batch, seed, step, prefix),
            loss=settings.loss,
            reduction=settings.reduction,
            hook=settings.hook,
            error_scale=settings.error_scale,
            input_mask=mask,
            input_scale=_scale(network, drop),
        )

    at = begin(x, "clean." if settings.fgsm else "")
    if settings.fgsm:
        at = begin(by_hand.fgsm(at, settings.fgsm), "")

    def matrices(root: str) -> list[Any]:
        return _matrices(network, rule, settings.hook, state, root)

    found = RULES[rule](at, matrices)
    trained = _frozen(found, settings.frozen(network))
    clipped = _clipped(trained, settings, shared=rule == "kp")
    deltas = {f"delta.{layer}": delta for layer, delta in enumerate(found.deltas, 1) if delta is not None}
    new = state | _learnt(network, settings, state, at, clipped, matrices("feedback"), step)
    return Advance(new, at.passed[-1].end, at.target, _named(trained), _named(clipped), deltas)


def _named(found: Gradients) -> dict[str, Array]:
    return {
        f"{group}.{layer}": gradient
        for group, each in GROUPS.items()
        for layer, gradient in enumerate(getattr(found, each) or [], 1)
        if gradient is not None
    }


def _matrices(network: Network, rule: str, hook: str, state: State, root: str) -> list[Any]:
    """Return the matrices of the hidden layers; zeros for a layer that does not learn, which the package gives none."""
    found = []
    for segment, above in zip(network.segments[:-1], network.segments[1:], strict=True):
        units = segment.map_size if hook == "pre_pool" else segment.out_size
        if root == "feedback_above" or rule in ("fa", "kp"):
            shape = above.weight_shape
        elif root == "feedback_below":
            shape = segment.fan_in, units
        else:
            shape = network.outputs, units
        found.append(state.get(f"{root}.{segment.index}", np.zeros(shape)))
    return found


def _frozen(found: Gradients, layers: frozenset[int]) -> Gradients:
    kept = {
        name: [None if layer in layers else gradient for layer, gradient in enumerate(getattr(found, name), 1)]
        for name in ("weights", "biases", "gains", "shifts")
    }
    return replace(found, **kept)


def _clipped(found: Gradients, settings: StepSettings, *, shared: bool) -> Gradients:
    """Clip what learns. The gradient that kp's feedback shares with the weights above counts once in the norm."""
    kind, limit = settings.clipping
    if not kind:
        return found
    names = ("weights", "biases", "gains", "shifts", "feedback")
    lists = {name: getattr(found, name) for name in names if getattr(found, name) is not None}
    counted = [gradient for name in names[:4] for gradient in lists[name] if gradient is not None]
    for gradient, above in zip(found.feedback or [], found.weights[1:], strict=False):
        if not shared or above is None:
            counted.append(gradient)
    norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in counted))

    def clip(gradient: Array | None) -> Array | None:
        if gradient is None:
            return None
        return np.clip(gradient, -limit, limit) if kind == "value" else gradient * min(1.0, limit / (norm + 1e-6))

    return replace(found, **{name: [clip(gradient) for gradient in gradients] for name, gradients in lists.items()})


def _learnt(
    network: Network, settings: StepSettings, state: State, at: Step, found: Gradients, feedback: list[Any], step: int
) -> State:
    layers = range(1, len(network.segments) + 1)
    normed = [segment.index for segment in network.segments if segment.norm]
    names = {
        "weights": [f"weight.{layer}" for layer in layers],
        "others": [f"bias.{n}" for n in layers] + [f"gain.{n}" for n in normed] + [f"shift.{n}" for n in normed],
        "feedback": [f"feedback.{layer}" for layer in layers[:-1]],
    }
    of_feedback = settings.feedback_optimizer or settings.optimizer
    optimizers = {"weights": settings.optimizer, "others": settings.optimizer, "feedback": of_feedback}
    memory = {group: _memory(optimizers[group], state, names[group]) for group in names if group != "feedback"}
    if found.feedback is not None:
        memory["feedback"] = _memory(of_feedback, state, names["feedback"])
    segments, feedback, memory = learn(
        at,
        found,
        feedback,
        memory,
        weights=Learning(settings.optimizer, float(state["learning_rate"][0]), settings.weight_decay, settings.decay_kind),
        feedback_learning=Learning(
            of_feedback, float(state["feedback_rate"][0]), settings.feedback_decay, settings.decay_kind
        ),
        step=step,
    )
    new: State = {}
    for layer, segment in enumerate(segments, 1):
        new |= {f"weight.{layer}": segment.weight, f"bias.{layer}": segment.bias}
        if segment.norm is not None:
            new |= {f"{name}.{layer}": array for name, array in vars(segment.norm).items()}
    for group, kept in memory.items():
        for kind, arrays in zip(OPTIMIZER_STATES[optimizers[group]], _by_kind(kept), strict=False):
            new |= {f"{kind}.{name}": array for name, array in zip(names[group], arrays, strict=True)}
    if found.feedback is not None:
        new |= dict(zip(names["feedback"], feedback, strict=True))
    return {name: array for name, array in new.items() if name in state}


def _memory(optimizer: str, state: State, names: list[str]) -> Any:
    """Return an optimizer's state as the reference keeps it; zeros stand in for what does not learn and has none."""
    kinds = [
        [state.get(f"{kind}.{name}", np.zeros_like(state[name])) for name in names] for kind in OPTIMIZER_STATES[optimizer]
    ]
    if optimizer == "adam":
        return {"m": kinds[0], "v": kinds[1]}
    return kinds[0] if kinds else None


def _by_kind(memory: Any) -> list[list[Array]]:
    if memory is None:
        return []
    return [memory["m"], memory["v"]] if isinstance(memory, dict) else [memory]


def worst(actual: Array, expected: Array, scale: float = 0.0) -> float:
    """Return the largest difference relative to the largest element expected, or to a larger scale."""
    largest = max(float(np.abs(expected).max()), scale)
    difference = float(np.abs(np.asarray(actual, np.float64) - np.asarray(expected).reshape(np.shape(actual))).max())
    return difference / largest if largest else difference
