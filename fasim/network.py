"""Networks as the papers write them: ``784-500-10``, ``784-7x240-10``, ``28x28x1-32c5-2p-1000-10``.

Grammar, tokens joined by ``-``::

    input    <I> | <H>x<W>x<C>               features, or height x width x channels
    dense    <J>                             fully connected, J units
    conv     <C>c<K>[s<S>][p<P>]             C channels, kernel K; stride S = 1, padding P = (K-1)/2
    pool     <K>p[s<S>]                      max pooling, window K, stride S = K
    average  <K>a[s<S>]                      average pooling
    repeat   <R>x<dense or conv>             the same layer R times

A *segment* is one trained layer with what follows it, in this order: batch normalisation, activation, dropout, pooling.
Rules see segments only: they say which signal enters a segment, everything inside it is differentiated exactly.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from fasim.errors import ConfigError, TopologyError, unknown_name

ACTIVATIONS = ("tanh", "sigmoid", "relu", "linear")
OUTPUTS = (*ACTIVATIONS, "softmax")
INITS = ("torch", "xavier", "he", "lecun", "wage", "zero")
# Wu et al. 2018: 1.5 steps of their two-bit weights, below which all of them would start at 0
WAGE_LIMIT = 0.75
# default: what the weights' initialisation brings along; normal: N(0, 1), as Flam-Shepherd's experiments start
BIAS_INITS = ("default", "zero", "normal")
# inverted: kept units are scaled by 1/(1-p) in training; classical: every unit is scaled by 1-p in evaluation
DROPOUTS = ("inverted", "classical")

GRAMMAR = "write it like 784-500-10, 784-7x240-10 or 28x28x1-32c5-2p-1000-10"
MAX_TEXT = 1_000
MAX_LAYERS = 10_000
MAX_ELEMENTS = 2**40

_INPUT = re.compile(r"(\d+)(?:x(\d+)x(\d+))?", re.ASCII)
_REPEAT = re.compile(r"(\d+)x(.+)", re.ASCII)
_CONV = re.compile(r"(\d+)c(\d+)(?:s(\d+))?(?:p(\d+))?", re.ASCII)
_POOL = re.compile(r"(\d+)([pa])(?:s(\d+))?", re.ASCII)


@dataclass(frozen=True)
class Dense:
    """A fully connected layer with `units` outputs."""

    units: int

    def __str__(self) -> str:
        return str(self.units)


@dataclass(frozen=True)
class Conv2d:
    """A two-dimensional convolution (correlation) with square kernels."""

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0

    def __str__(self) -> str:
        stride = f"s{self.stride}" if self.stride != 1 else ""
        padding = f"p{self.padding}" if self.padding != (self.kernel - 1) // 2 else ""
        return f"{self.channels}c{self.kernel}{stride}{padding}"


@dataclass(frozen=True)
class MaxPool:
    """Max pooling over square windows, no padding; ties go to the first index."""

    kernel: int
    stride: int

    def __str__(self) -> str:
        return f"{self.kernel}p" + (f"s{self.stride}" if self.stride != self.kernel else "")


@dataclass(frozen=True)
class AveragePool:
    """Average pooling over square windows, no padding."""

    kernel: int
    stride: int

    def __str__(self) -> str:
        return f"{self.kernel}a" + (f"s{self.stride}" if self.stride != self.kernel else "")


Pool = MaxPool | AveragePool
Layer = Dense | Conv2d | MaxPool | AveragePool


@dataclass(frozen=True)
class Segment:
    """One trained layer and what follows it; shapes without the batch axis, maps as (H, W, C)."""

    index: int
    layer: Dense | Conv2d
    pool: Pool | None
    activation: str
    norm: bool
    dropout: float
    in_shape: tuple[int, ...]
    map_shape: tuple[int, ...]
    out_shape: tuple[int, ...]

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(J, I) of a dense layer, (C out, R, S, C in) of a convolution."""
        if isinstance(self.layer, Dense):
            return (self.layer.units, math.prod(self.in_shape))
        return (self.layer.channels, self.layer.kernel, self.layer.kernel, self.in_shape[2])

    @property
    def fan_in(self) -> int:
        """Number of products in one pre-activation."""
        return math.prod(self.weight_shape[1:])

    @property
    def map_size(self) -> int:
        """Units before pooling: where the pre-activations and slopes live."""
        return math.prod(self.map_shape)

    @property
    def out_size(self) -> int:
        """Units that the next segment reads."""
        return math.prod(self.out_shape)


@dataclass(frozen=True)
class Network:
    """A network: input shape, layers, activations and how the weights start.

    Parameters
    ----------
    input_shape : tuple of int
        ``(I,)`` or ``(H, W, C)``.
    layers : tuple of Dense, Conv2d, MaxPool or AveragePool
        In forward order; the last one is dense.
    hidden, output : str
        Activation of the hidden layers and of the output (tanh, sigmoid, relu, linear; output also softmax).
    init : str
        ``torch`` uniform +-1/sqrt(I) for weights and biases, ``xavier``, ``he``, ``lecun`` (normal, deviation 1/sqrt(I)),
        ``zero``.
    bias_init : str
        ``default`` (uniform with ``torch``, else 0), ``zero`` or ``normal``.
    batch_norm : bool
        Normalise each hidden pre-activation over the batch (and the places of a map).
    dropout, input_dropout : float
        Probability with which a hidden activation, or an input, is dropped: 0 <= p < 1.
    dropout_kind : str
        ``inverted`` (PyTorch's: kept units times 1/(1-p) while training) or ``classical`` (all units times 1-p afterwards).
    """

    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    hidden: str = "tanh"
    output: str = "sigmoid"
    init: str = "torch"
    bias_init: str = "default"
    batch_norm: bool = False
    dropout: float = 0.0
    input_dropout: float = 0.0
    dropout_kind: str = "inverted"

    def __post_init__(self) -> None:
        if self.hidden not in ACTIVATIONS:
            raise ConfigError(unknown_name("hidden activation", self.hidden, ACTIVATIONS))
        if self.output not in OUTPUTS:
            raise ConfigError(unknown_name("output activation", self.output, OUTPUTS))
        if self.init not in INITS:
            raise ConfigError(unknown_name("initialisation", self.init, INITS))
        if self.bias_init not in BIAS_INITS:
            raise ConfigError(unknown_name("initialisation of biases", self.bias_init, BIAS_INITS))
        for name, given in (("dropout", self.dropout), ("input dropout", self.input_dropout)):
            if not 0.0 <= given < 1.0:
                raise ConfigError(f"{name} {given}: a probability with 0 <= p < 1 is needed")
        if self.dropout_kind not in DROPOUTS:
            raise ConfigError(unknown_name("kind of dropout", self.dropout_kind, DROPOUTS))
        _ = self.segments

    @classmethod
    def parse(cls, text: str, **options: Any) -> Network:  # noqa: ANN401 - the fields below `layers`
        """Build a network from its topology string (grammar on top of this module).

        `options` are the fields after `layers`, such as ``hidden="relu", batch_norm=True``.

        Raises
        ------
        TopologyError
            If the string does not follow the grammar or a layer does not fit the one before it.
        """
        if len(text) > MAX_TEXT:
            raise TopologyError(
                f"network {text[:40]!r}... has {len(text)} characters; at most {MAX_TEXT} are read, "
                "repeat layers as in 784-7x240-10"
            )
        tokens = text.strip().split("-")
        match = _INPUT.fullmatch(tokens[0])
        if match is None or len(tokens) < 2:
            raise TopologyError(f"network {text!r}: an input and at least one layer are needed; {GRAMMAR}")
        input_shape = tuple(int(size) for size in match.groups() if size is not None)
        layers: list[Layer] = []
        for token in tokens[1:]:
            layers.extend(_parse_token(text, token))
            if len(layers) > MAX_LAYERS:
                raise TopologyError(f"network {text!r}: more than {MAX_LAYERS} layers; use fewer")
        return cls(input_shape, tuple(layers), **options)

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """The trained layers with their shapes, numbered from 1."""
        return tuple(_segments(self))

    @property
    def inputs(self) -> int:
        """Number of input features."""
        return math.prod(self.input_shape)

    @property
    def outputs(self) -> int:
        """Number of outputs, K."""
        return self.segments[-1].out_size

    def __str__(self) -> str:
        tokens = ["x".join(str(size) for size in self.input_shape)]
        start = 0
        while start < len(self.layers):
            layer, stop = self.layers[start], start + 1
            while stop < len(self.layers) and self.layers[stop] == layer:
                stop += 1
            run = stop - start
            if run > 2 and not isinstance(layer, Pool):
                tokens.append(f"{run}x{layer}")
            else:
                tokens.extend([str(layer)] * run)
            start = stop
        return "-".join(tokens)


def init_limit(init: str, segment: Segment) -> float:
    """Return the bound of a layer's initial weights (normal ones: 4 deviations); 0 where they start at 0."""
    fan_in, shape = segment.fan_in, segment.weight_shape
    fan_out = shape[0] * math.prod(shape[1:-1])
    match init:
        case "torch":
            return 1 / math.sqrt(fan_in)
        case "lecun":
            return 4 / math.sqrt(fan_in)
        case "xavier":
            return math.sqrt(6 / (fan_in + fan_out))
        case "he":
            return math.sqrt(6 / fan_in)
        case "wage":
            return max(math.sqrt(6 / fan_in), WAGE_LIMIT)
    return 0.0


def _parse_token(text: str, token: str) -> list[Layer]:
    """Return the layers of one token; a repeat gives several."""
    if match := _REPEAT.fullmatch(token):
        repeat = int(match[1])
        if not 1 <= repeat <= MAX_LAYERS:
            raise TopologyError(f"network {text!r}: {token!r} repeats {repeat} times; 1 to {MAX_LAYERS} are allowed")
        if "x" in match[2]:
            raise TopologyError(f"network {text!r}: {token!r} has two repeats; {GRAMMAR}")
        return _parse_token(text, match[2]) * repeat
    if token.isascii() and token.isdigit():
        return [Dense(int(token))]
    if match := _CONV.fullmatch(token):
        kernel = int(match[2])
        padding = (kernel - 1) // 2 if match[4] is None else int(match[4])
        return [Conv2d(int(match[1]), kernel, int(match[3] or 1), padding)]
    if match := _POOL.fullmatch(token):
        kind = MaxPool if match[2] == "p" else AveragePool
        return [kind(int(match[1]), int(match[3] or match[1]))]
    raise TopologyError(f"network {text!r}: cannot read the layer {token!r}; {GRAMMAR}")


def _segments(network: Network) -> list[Segment]:
    """Walk the layers, check that each fits the one before it, and group them into segments."""
    if min(network.input_shape) < 1:
        raise TopologyError(f"input shape {network.input_shape}: every size must be at least 1")
    if not network.layers or not isinstance(network.layers[-1], Dense):
        raise TopologyError("the last layer must be dense (its units are the outputs); end the network with a number")
    segments: list[Segment] = []
    shape: tuple[int, ...] = network.input_shape
    out: tuple[int, ...]
    for position, layer in enumerate(network.layers):
        if min(size for name, size in vars(layer).items() if name != "padding") < 1:
            raise TopologyError(f"layer {str(layer)!r} has a size of 0; every size must be at least 1")
        if isinstance(layer, Pool):
            if not segments or segments[-1].pool is not None or len(shape) != 3:
                raise TopologyError(f"pooling {str(layer)!r} must follow a convolution directly")
            last = segments[-1]
            out = (*_window(str(layer), shape[:2], layer.kernel, layer.stride, 0), shape[2])
            segments[-1] = replace(last, pool=layer, out_shape=out)
            shape = out
            continue
        if isinstance(layer, Conv2d):
            if len(shape) != 3:
                raise TopologyError(
                    f"convolution {str(layer)!r} needs maps, but what comes before it has shape {shape}; "
                    "start with HxWxC, such as 28x28x1, and put dense layers last"
                )
            size = _window(str(layer), shape[:2], layer.kernel, layer.stride, layer.padding)
            out = (*size, layer.channels)
        else:
            out = (layer.units,)
        last_layer = position == len(network.layers) - 1
        activation = network.output if last_layer else network.hidden
        norm, dropout = (False, 0.0) if last_layer else (network.batch_norm, network.dropout)
        segment = Segment(len(segments) + 1, layer, None, activation, norm, dropout, shape, out, out)
        if max(math.prod(segment.weight_shape), segment.map_size) > MAX_ELEMENTS:
            raise TopologyError(f"layer {str(layer)!r} has more than 2^40 weights or units; make it smaller")
        segments.append(segment)
        shape = out
    return segments


def _window(name: str, shape: tuple[int, ...], kernel: int, stride: int, padding: int) -> tuple[int, int]:
    """Output height and width of a sliding window."""
    height, width = ((size + 2 * padding - kernel) // stride + 1 for size in shape)
    if min(shape) + 2 * padding < kernel:
        raise TopologyError(
            f"layer {name!r} has a window of {kernel} on a map of {shape[0]}x{shape[1]} (padding {padding}): "
            "the window must fit; use a smaller one or more padding"
        )
    return height, width
