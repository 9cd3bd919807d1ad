"""From a case of the package to the integer reference of tests/reference, and the comparison of both, bit for bit."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from fasim import backends, rules
from fasim.backends import Samples
from fasim.fixedpoint import Datapath, load_datapath
from fasim.network import Conv2d, MaxPool, Network, Segment
from fasim.schedule import Schedule, StepSettings
from fasim.state import State, initial_state, set_learning_rate
from tests.reference.fixed_numbers import Num
from tests.reference.fixed_training import Result, train_step

OUTPUT = {"bce": "sigmoid", "cross_entropy": "softmax", "mse": "tanh", "half_mse": "tanh"}


@dataclass(frozen=True)
class Case:
    """A network, a rule, settings and a datapath: the text of a preset, or of a preset with changed tables."""

    net: str
    rule: str
    settings: StepSettings
    options: dict[str, Any] = field(default_factory=dict)
    preset: str = "s8"
    tables: dict[str, Any] = field(default_factory=dict)
    rate: float = 0.125
    seed: int = 5
    first_step: int = 0
    steps: int = 2

    def __str__(self) -> str:
        changed = {name: value for name, value in vars(self.settings).items() if value != getattr(StepSettings(), name)}
        return f"{self.rule} {self.net} {self.preset} {self.options} {changed} {self.tables}"

    @cached_property
    def network(self) -> Network:
        """The network; its output follows from the loss where no option names it."""
        return Network.parse(self.net, **({"output": OUTPUT[self.settings.loss]} | self.options))

    @cached_property
    def document(self) -> dict[str, Any]:
        """The tables of the datapath's TOML file."""
        loaded = load_datapath(self.preset)
        assert loaded is not None
        document = tomllib.loads(loaded.to_toml())
        for table, entries in self.tables.items():
            if table == "feedback" and "format" in entries:
                document[table] = {}
            document[table] = document.get(table, {}) | entries if isinstance(entries, dict) else entries
        return document

    def datapath(self, folder: Any) -> Datapath:
        """Return the datapath as the package reads it from a file."""
        if not self.tables:
            loaded = load_datapath(self.preset)
            assert loaded is not None
            return loaded
        path = folder / "datapath.toml"
        path.write_text(_toml(self.document), encoding="utf-8")
        return Datapath.from_toml(path)

    def samples(self) -> tuple[Samples, np.ndarray]:
        """Return samples and the order in which the batches take them."""
        random = np.random.default_rng(self.seed)
        count = self.settings.batch_size * self.steps
        codes = random.integers(0, 256, (count, self.network.inputs), dtype=np.uint8)
        return Samples(codes, random.integers(0, self.network.outputs, count)), random.permutation(count)

    def start(self, schedule: Schedule) -> State:
        """Return an initial state; where it is zero by chance random numbers stand, so that everything is in use."""
        state = initial_state(self.network, schedule, self.seed)
        random = np.random.default_rng(self.seed + 1)
        for name in sorted(state):
            if name.partition(".")[0] in ("velocity", "shift", "running_mean"):
                state[name] += random.integers(-20, 21, state[name].shape).astype(state[name].dtype)
        set_learning_rate(state, schedule, self.rate)
        return state


def _toml(document: dict[str, Any]) -> str:
    def value(given: Any) -> str:
        if isinstance(given, bool):
            return "true" if given else "false"
        return repr(given) if isinstance(given, int | list) else f'"{given}"'

    lines = [f"{key} = {value(entry)}" for key, entry in document.items() if not isinstance(entry, dict)]
    for table, entries in document.items():
        if isinstance(entries, dict):
            lines += [f"[{table}]", *(f'"{key}" = {value(entry)}' for key, entry in entries.items())]
    return "\n".join(lines) + "\n"


# --- the same case for the reference ----------------------------------------------------------------------------------


def _limit(network: Network, segment: Segment) -> float:
    fan_in = segment.fan_in
    fan_out = segment.weight_shape[0] * math.prod(segment.weight_shape[1:-1] if len(segment.weight_shape) == 4 else ())
    return {
        "torch": 1 / math.sqrt(fan_in),
        "xavier": math.sqrt(6 / (fan_in + fan_out)),
        "he": math.sqrt(6 / fan_in),
        "zero": 1.0,
    }.get(network.init, 0.0)


def plain_network(network: Network) -> dict[str, Any]:
    """Return the network as the reference describes one."""
    layers = []
    for segment in network.segments:
        conv, pool = isinstance(segment.layer, Conv2d), segment.pool
        layers.append(
            {
                "kind": "conv" if conv else "dense",
                "stride": segment.layer.stride if isinstance(segment.layer, Conv2d) else 1,
                "padding": segment.layer.padding if isinstance(segment.layer, Conv2d) else 0,
                "activation": segment.activation,
                "norm": segment.norm,
                "dropout": segment.dropout,
                "pool": pool and ("max" if isinstance(pool, MaxPool) else "average", pool.kernel, pool.stride),
                "limit": _limit(network, segment),
            }
        )
    return {
        "input_shape": network.input_shape,
        "layers": layers,
        "input_dropout": network.input_dropout,
        "dropout_kind": network.dropout_kind,
    }


def plain_settings(settings: StepSettings, network: Network, rate: float) -> dict[str, Any]:
    """Return the settings as the reference reads them."""
    names = ("loss", "hook", "error_scale", "target", "optimizer", "feedback_optimizer", "weight_decay", "clip", "fgsm")
    return {name: getattr(settings, name) for name in names} | {
        "rate": rate,
        "feedback_decay": settings.feedback_decay,
        "freeze": settings.frozen(network),
    }


def by_hand(case: Case, schedule: Schedule, state: dict[str, Any]) -> list[Result]:
    """Return every step of the reference."""
    network, found = case.network, []
    bounds = {tensor.name: tensor.bound for tensor in schedule.of_class("feedback") if tensor.bound is not None}
    data, order = case.samples()
    size = case.settings.batch_size
    for step in range(case.steps):
        rows = order[step * size : (step + 1) * size]
        found.append(
            train_step(
                case.rule,
                plain_network(network),
                case.document,
                plain_settings(case.settings, network, case.rate),
                state,
                data.codes[rows],
                data.labels[rows],
                seed=case.seed,
                step=case.first_step + step,
                bounds=bounds,
            )
        )
        state = found[-1].state
    return found


def compare(case: Case, folder: Any, backend: str = "reference") -> dict[str, tuple[int, int]]:
    """Run a case on a backend and by hand; return the counts. Every state and, of the first step, every tensor is equal.

    Raises
    ------
    ConfigError
        If the package refuses the case.
    """
    datapath = case.datapath(folder)
    schedule = rules.training_step(case.network, case.rule, case.settings, datapath)
    start = case.start(schedule)
    state = {name: array.copy() for name, array in start.items()}
    data, order = case.samples()
    trace = backends.get(backend)(schedule).run(state, data, order, case.first_step)
    found = by_hand(case, schedule, dict(start))
    if case.first_step == 0:
        rows = order[: case.settings.batch_size]
        first = Samples(data.codes[rows], data.labels[rows])
        _tensors_equal(schedule, backend, {name: array.copy() for name, array in start.items()}, first, found[0].tensors)
    for name, array in state.items():
        if name in found[-1].state:
            assert array.tolist() == np.asarray(found[-1].state[name]).tolist(), f"{name} differs"
    counts: dict[str, tuple[int, int]] = {}
    for result in found:
        for site, (saturations, wraps) in result.counts.items():
            before = counts.get(site, (0, 0))
            counts[site] = before[0] + saturations, before[1] + wraps
    counted = {site: (count.saturations, count.wraps) for site, count in trace.sites.items()}
    differing = {site: (counted.get(site), counts.get(site)) for site in counted.keys() | counts.keys()}
    # signals that are to be added come to one point by exact left shifts, which the package writes down as casts
    exact = ("aligned.signal.", (0, 0), None)
    differing = {
        site: both
        for site, both in differing.items()
        if both[0] != both[1] and not (site.startswith(exact[0]) and both == exact[1:])
    }
    assert not differing, f"counts (backend, reference) differ: {differing}"
    return counts


def _tensors_equal(schedule: Schedule, backend: str, state: State, data: Samples, expected: dict[str, Num]) -> None:
    written = {value.tensor for op in schedule.ops for value in op.writes if value.version == 0}
    # the package keeps a score's exact sum under its name, and beside it the cast that the reference means
    names = {f"{name}.cast" if f"{name}.cast" in written else name: name for name in expected}
    kept = [name for name in names if name in written]
    assert any(name.startswith(("delta.", "error")) for name in kept)
    for name, array in backends.get(backend)(schedule).values(state, data, kept).items():
        number = expected[names[name]]
        wanted = np.array([math.ldexp(float(x), -number.frac) for x in number.raw.reshape(-1)])
        np.testing.assert_array_equal(array.reshape(-1), wanted, err_msg=name)
