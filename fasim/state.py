"""The initial training state: a dict of arrays by tensor name, which the training loop owns and backends update in place.

Values are drawn in float64 from named streams; a fixed-point run starts from the same draws, rounded to its formats, so
that float32 and fixed point differ by their arithmetic alone.
"""

from __future__ import annotations

import math

import numpy as np

from fasim import feedback
from fasim.errors import ConfigError
from fasim.fixedpoint import quantize
from fasim.network import Network, Segment
from fasim.rng import check_seed, stream
from fasim.schedule import Draw, Schedule, Tensor
from fasim.schedule import ops as kinds
from fasim.schedule.lower import MAX_ACCUMULATOR_BITS, RANDOM_BITS

State = dict[str, np.ndarray]

NORM_START = {"gain": 1.0, "shift": 0.0, "running_mean": 0.0, "running_var": 1.0}


def initial_state(network: Network, schedule: Schedule, seed: int) -> State:
    """Return weights, biases, feedback, masters and optimizer state of a fresh run.

    Parameters
    ----------
    network : Network
    schedule : Schedule
        Says which arrays there are and their formats.
    seed : int

    Returns
    -------
    dict of str to ndarray
        float32, or the integer storage type of each tensor's format; besides, the run's ``seed``.
    """
    state: State = {"seed": np.array([check_seed(seed)], np.int64)}
    drawn = {}
    for segment in network.segments:
        weight, bias = _draw_layer(network, segment, seed)
        drawn[f"weight.{segment.index}"] = drawn[f"master.{segment.index}"] = weight
        drawn[f"bias.{segment.index}"] = bias
    for tensor in schedule.tensors.values():
        if tensor.storage not in ("state", "generated"):
            continue
        if tensor.draw is not None:
            state[tensor.name] = _draw_feedback(tensor, tensor.draw, seed)
            continue
        if tensor.cls == "state":
            values = np.zeros(tensor.shape)
        elif tensor.cls == "norm":
            values = np.full(tensor.shape, NORM_START[tensor.name.partition(".")[0]])
        else:
            values = drawn[tensor.name]
        state[tensor.name] = _store(values, tensor)
    _copy_from_masters(schedule, state, drawn)
    return state


def _draw_feedback(tensor: Tensor, draw: Draw, seed: int) -> np.ndarray:
    """Return one array of a feedback matrix; the places of non-zeros are plain indices on every datapath."""
    values = feedback.parse(draw.family).draw(draw.stream, draw.shape, seed, widest=draw.widest)[draw.part]
    return values if draw.part in ("index", "start") else _store(values, tensor)


def _draw_layer(network: Network, segment: Segment, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return weight and bias of a layer in float64."""
    weight, bias = _draw_default(network.init, segment, seed)
    match network.bias_init:
        case "zero":
            bias = np.zeros_like(bias)
        case "normal":
            bias = stream(seed, "bias", segment.index).standard_normal(bias.shape)
    return weight, bias


def _draw_default(init: str, segment: Segment, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight of a layer, and the bias that its initialisation brings along."""
    shape, fan_in = segment.weight_shape, segment.fan_in
    units = shape[0]
    random = stream(seed, "init", segment.index)
    if init == "torch":
        limit = 1 / math.sqrt(fan_in)
        return random.uniform(-limit, limit, shape), random.uniform(-limit, limit, units)
    if init == "lecun":
        return random.standard_normal(shape) / math.sqrt(fan_in), np.zeros(units)
    fan_out = units * math.prod(shape[1:-1])
    limit = {"xavier": math.sqrt(6 / (fan_in + fan_out)), "he": math.sqrt(6 / fan_in), "zero": 0.0}[init]
    return random.uniform(-limit, limit, shape), np.zeros(units)


def _store(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    if tensor.format is None:
        return np.ascontiguousarray(values, np.float32)
    return np.ascontiguousarray(quantize(values, tensor.format))


def _copy_from_masters(schedule: Schedule, state: State, drawn: State) -> None:
    """Cast each master to the copy that the datapath reads, by RND and SAT.

    Not by the copy's own cast: a stochastic one would need a step number before the first step. A layer that a rule leaves
    untrained has no master, but its weights are rounded as if it had: all rules start from the same ones.
    """
    masters = schedule.of_class("master")
    for copy in schedule.of_class("weight") if masters else []:
        master, target = masters[0].format, copy.format
        assert master is not None
        assert target is not None
        values = quantize(drawn[copy.name], master).astype(np.float64)
        state[copy.name] = quantize(np.ldexp(values, -master.frac), target)


def set_learning_rate(state: State, schedule: Schedule, rate: float, feedback_rate: float | None = None) -> None:
    """Put the learning rate of the next steps into the state: as it is in float, as k of 2^-k in fixed point.

    Feedback that learns has a rate of its own, by default the same.

    Raises
    ------
    ConfigError
        If the rate is not positive or, where the datapath shifts, no power of two; if a stochastic update would have to
        drop more bits than a random word has, or an update would leave 63 bits.
    """
    in_float = schedule.datapath == "float32"
    if not 0 < rate < math.inf or (in_float and np.float32(rate) == 0):
        raise ConfigError(f"learning rate {rate}: a positive number is needed, and in float32 one that it can hold")
    if feedback_rate is not None and not 0 <= feedback_rate < math.inf:
        raise ConfigError(f"feedback learning rate {feedback_rate}: a number of at least 0 is needed")
    if in_float:
        state["learning_rate"] = np.array([rate], np.float64)
        state["feedback_rate"] = np.array([rate if feedback_rate is None else feedback_rate], np.float64)
        return
    if math.frexp(rate)[0] != 0.5:
        raise ConfigError(
            f"learning rate {rate:g} on datapath {schedule.datapath}: fixed point shifts, so a power of two is needed, "
            f"such as 2^{round(math.log2(rate))}"
        )
    learning_shift = 1 - math.frexp(rate)[1]
    for op in schedule.find(kinds.UPDATE):
        shift = op.attrs["shift"] + learning_shift
        if op.attrs["rounding"] == "STOCH" and shift > RANDOM_BITS:
            raise ConfigError(
                f"learning rate 2^-{learning_shift} on datapath {schedule.datapath}: {op.site} would round away {shift} "
                f"bits, but a random word has {RANDOM_BITS}; use a larger rate or a master with more fraction bits"
            )
        gradient = schedule[op.reads[1]].format
        assert gradient is not None
        if gradient.bits - shift > MAX_ACCUMULATOR_BITS:
            raise ConfigError(
                f"learning rate 2^{-learning_shift} on datapath {schedule.datapath}: {op.site} would shift its sum of "
                f"{gradient.bits} bits left by {-shift}; at most {MAX_ACCUMULATOR_BITS} bits are exact, use a smaller rate"
            )
    state["learning_shift"] = np.array([learning_shift], np.int64)
