"""The initial training state: a dict of arrays by tensor name, which the training loop owns and backends update in place.

Values are drawn in float64 from named streams; a fixed-point run starts from the same draws, rounded to its formats, so
that float32 and fixed point differ by their arithmetic alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from fasim import feedback
from fasim.errors import ConfigError
from fasim.fixedpoint import Fixed, quantize
from fasim.memory import LINE_BYTES, aligned_copy, aligned_zeros
from fasim.network import Network, Segment, init_limit
from fasim.rng import check_seed, stream
from fasim.schedule import Draw, Op, Schedule, Tensor
from fasim.schedule import ops as kinds
from fasim.schedule.lowering import MAX_ACCUMULATOR_BITS, RANDOM_BITS
from fasim.schedule.lowering.exponents import Range, range_of, shift_range

State = dict[str, np.ndarray]

# by which an int64 rate can divide
MOST_DIVISOR = 2**62
# 512 KB of float64
_AT_ONCE = 1 << 16

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
        float32, or the integer storage type of each tensor's format; besides, the run's ``seed``. Each begins where a
        cache line does.
    """
    state: State = {"seed": np.array([check_seed(seed)], np.int64)}
    for tensor in schedule.tensors.values():
        if tensor.storage not in ("state", "generated"):
            continue
        if tensor.draw is not None:
            state[tensor.name] = _draw_feedback(tensor, tensor.draw, seed)
            continue
        state[tensor.name] = array = aligned_zeros(tensor.shape, _dtype(tensor.format))
        if tensor.cls == "norm":
            array[...] = _stored(np.full(tensor.shape, NORM_START[tensor.name.partition(".")[0]]), tensor.format)
    conversions = _conversions(schedule)

    def keep(name: str, start: int, values: np.ndarray) -> None:
        if name in state:
            state[name].reshape(-1)[start : start + len(values)] = conversions[name](values)

    for segment in network.segments:
        for kind, start, values in _draw_layer(network, segment, seed):
            keep(f"{kind}.{segment.index}", start, values)
            if kind == "weight":
                keep(f"master.{segment.index}", start, values)
    for tensor in schedule.of_class("master"):
        name = tensor.name.removeprefix("master.")
        if name.startswith("feedback."):
            raw, copy = state[tensor.name], schedule[name]
            state[name] = aligned_zeros(copy.shape, _dtype(copy.format))
            for part in _parts(raw.size):
                state[name].reshape(-1)[part] = _cast(raw.reshape(-1)[part], tensor.format, copy.format)
    return {name: aligned_copy(array) if array.ctypes.data % LINE_BYTES else array for name, array in state.items()}


def _parts(size: int) -> Iterator[slice]:
    """Divide numbers: what is drawn and cast in float64 at once takes no memory to speak of."""
    return (slice(start, min(start + _AT_ONCE, size)) for start in range(0, size, _AT_ONCE))


def _draw_feedback(tensor: Tensor, draw: Draw, seed: int) -> np.ndarray:
    """Return one array of a feedback matrix; the places of non-zeros are plain indices on every datapath."""
    values = feedback.parse(draw.family).draw(draw.stream, draw.shape, seed, widest=draw.widest)[draw.part]
    return values if draw.part in ("index", "start") else np.ascontiguousarray(_stored(values, tensor.format))


def _draw_layer(network: Network, segment: Segment, seed: int) -> Iterator[tuple[str, int, np.ndarray]]:
    """Draw weight and bias of a layer in float64: which of them, the number of the first value, some values."""
    shape, units = segment.weight_shape, segment.weight_shape[0]
    random, bias = stream(seed, "init", segment.index), np.zeros(units)
    limit = 0.0 if network.init == "lecun" else init_limit(network.init, segment)
    for part in _parts(math.prod(shape)):
        count = part.stop - part.start
        if network.init == "lecun":
            yield "weight", part.start, random.standard_normal(count) / math.sqrt(segment.fan_in)
        else:
            yield "weight", part.start, random.uniform(-limit, limit, count)
    if network.bias_init == "normal":
        bias = stream(seed, "bias", segment.index).standard_normal(units)
    elif network.bias_init != "zero" and network.init == "torch":
        bias = random.uniform(-limit, limit, units)
    yield "bias", 0, bias


def _conversions(schedule: Schedule) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return what makes the numbers of each tensor of drawn values.

    A copy that the datapath reads beside a master is cast from it by RND and SAT, not by its own cast: a stochastic one
    would need a step number before the first step. A layer that a rule leaves untrained has no master, but its weights are
    rounded as if it had: all rules start from the same ones.
    """
    found: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        tensor.name: partial(_stored, fmt=tensor.format) for tensor in schedule.tensors.values()
    }
    masters = {tensor.name.removeprefix("master."): tensor.format for tensor in schedule.of_class("master")}
    layers = [name for name in masters if name.isdecimal()]
    for copy in schedule.of_class("weight") if layers else []:
        master, other = masters.get(copy.name.removeprefix("weight.")), masters[layers[0]]
        beside = schedule[f"weight.{layers[0]}"].format
        assert copy.format is not None
        assert other is not None
        assert beside is not None
        if master is None:
            master = replace(other, frac=copy.format.frac + other.frac - beside.frac)
        found[copy.name] = partial(_through, master=master, fmt=copy.format)
    return found


def _dtype(fmt: Fixed | None) -> np.dtype:
    return np.dtype(np.float32) if fmt is None else np.dtype(fmt.dtype)


def _stored(values: np.ndarray, fmt: Fixed | None) -> np.ndarray:
    return values.astype(np.float32) if fmt is None else quantize(values, fmt)


def _through(values: np.ndarray, master: Fixed, fmt: Fixed) -> np.ndarray:
    """Return the numbers of a copy whose master has these values."""
    return _cast(quantize(values, master), master, fmt)


def _cast(raw: np.ndarray, source: Fixed | None, target: Fixed | None) -> np.ndarray:
    assert source is not None
    assert target is not None
    return quantize(np.ldexp(raw.astype(np.float64), -source.frac), target)


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
    rates = {"learning": rate, "feedback": rate if feedback_rate is None else feedback_rate}
    for what, given in rates.items():
        state[f"{what}_shift"], state[f"{what}_factor"] = _applied(schedule, what, given)


def _applied(schedule: Schedule, what: str, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a learning rate as the datapath applies it: k of 2^-k, and a factor or divisor.

    Checks that every update that it concerns stays exact.
    """
    updates = [op for op in schedule.find(kinds.UPDATE) if (op.attrs["group"] == "feedback") == (what == "feedback")]
    shift, factor = 0, 1
    for op in updates:
        where = f"learning rate {_text(rate)} on datapath {schedule.datapath}"
        if rate == 0:
            raise ConfigError(f"{where}: fixed point has no rate of 0; freeze the layer, or give feedback a tiny one")
        match op.attrs["rate"]:
            case "shift" if math.frexp(rate)[0] != 0.5:
                raise ConfigError(
                    f"{where}: fixed point shifts, so a power of two is needed, such as 2^{round(math.log2(rate))}"
                )
            case "shift":
                shift = 1 - math.frexp(rate)[1]
            case "multiply":
                mantissa, exponent = math.frexp(rate)
                bits = op.attrs["factor_bits"]
                factor, shift = math.floor(math.ldexp(mantissa, bits) + 0.5), bits - exponent
                if factor == 1 << bits:  # the next power of two is nearer
                    factor, shift = factor >> 1, shift - 1
            case "divide":
                if rate < 1 / MOST_DIVISOR:
                    raise ConfigError(f"{where}: it divides by a whole number of at most 2^62; give a larger rate")
                factor = round(1 / rate)
                if factor < 1 or abs(factor * rate - 1) > 1e-6:
                    raise ConfigError(
                        f"{where}: it divides by a whole number, so 1/{max(1, factor)} is possible; give that"
                    )
        _check_update(schedule, op, where, shift, factor)
    return np.array([shift], np.int64), np.array([factor], np.int64)


def _points(op: Op) -> list[str]:
    """Return the exponents of an update: what stands behind the scalars of its rate."""
    count = len(op.attrs["signs"])
    return [value.tensor for value in op.scalars[len(op.scalars) - count :]]


def _exponents(schedule: Schedule) -> dict[str, Range]:
    """Return what each exponent that is chosen in the step can be."""
    found = {}
    for op in schedule.find(kinds.EXPONENT):
        source = schedule[op.reads[0]].format
        assert source is not None
        found[op.writes[0].tensor] = range_of(op, source)
    return found


def _text(rate: float) -> str:
    """Return a rate as people write it: a power of two as such."""
    mantissa, exponent = math.frexp(rate)
    return f"2^{exponent - 1}" if mantissa == 0.5 else f"{rate:g}"


def _check_update(schedule: Schedule, op: Op, where: str, learning_shift: int, factor: int) -> None:
    """Refuse a rate with which a random word is too short, or an update would leave 63 bits."""
    shift = op.attrs["shift"] + (0 if op.attrs["rate"] in ("none", "divide") else learning_shift)
    random = op.attrs.get("random")
    words = RANDOM_BITS if random is None or random.source == "philox" else random.width
    all_bits = random is None or not random.bits
    _, dropped = shift_range(shift, op.attrs["signs"], _points(op), _exponents(schedule))
    if op.attrs["rounding"] == "STOCH" and op.attrs["kind"] == "subtract" and all_bits and dropped > words:
        raise ConfigError(
            f"{where}: {op.site} would round away {dropped} "
            f"bits, but a random word has {words}; use a larger rate or a master with more fraction bits"
        )
    gradient = schedule[op.reads[1]].format
    assert gradient is not None
    bits = gradient.bits + (factor.bit_length() if op.attrs["rate"] == "multiply" else 0)
    if max(bits, bits - shift) > MAX_ACCUMULATOR_BITS:
        raise ConfigError(
            f"{where}: {op.site} would shift its sum of "
            f"{bits} bits left by {max(0, -shift)}; at most {MAX_ACCUMULATOR_BITS} bits are exact, use a smaller rate"
        )
