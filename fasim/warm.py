"""All CPU kernels compiled ahead, so that no run waits for it.

Numba compiles a kernel for the types of its arguments, and those follow from datapath, rule, settings and rough size. Which
there are is therefore not written down: tiny networks take one step in every combination below, and whatever that needs is
compiled and cached. A combination that a rule or datapath refuses needs no kernel. A datapath of one's own may bring types
that no preset has; they are compiled in its first run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from fasim import backends, fixedpoint, kernels, rules
from fasim.errors import ConfigError
from fasim.execution import executed, steps_to_warm
from fasim.fixedpoint import Datapath, load_datapath
from fasim.kernels.compile import CACHE_FOLDER, compilations
from fasim.losses import DEFAULT_OUTPUTS
from fasim.network import ACTIVATIONS, DROPOUTS, Network
from fasim.optimizers import OPTIMIZERS
from fasim.schedule import Schedule, StepSettings
from fasim.schedule.settings import CLIPS, HOOKS
from fasim.state import State, initial_state, set_learning_rate

FLOAT = "float32"
# enough layers for a rule to show what it does above and below others; widths at which a float GEMM takes over from loops
DENSE, MAPS, AVERAGED = "36-5-5-4-3", "6x6x1-2c3-2p-2c3-3-3", "6x6x1-2c3-2a-2c3-2a-3-3"
WIDE, WIDER, AUTO_ENCODER = "128-256-256-16", "320-272-272-16", "36-5-36"
# besides, sums of so many products that their registers are wide
LARGE_MAPS = "32x32x1-2c3-2c3-8p-8-4"
SIZES = ((DENSE, 4), (MAPS, 4), (WIDE, 1), (WIDE, 32), (WIDER, 1), (WIDER, 32), (WIDER, 512), (LARGE_MAPS, 128))
# rules that read weights, the error, its sign, the label
MAIN_RULES = ("bp", "dfa", "sdfa", "drtp")
# hidden activation and loss, as the presets and their papers have them
STYLES = (("tanh", "bce"), ("relu", "cross_entropy"), ("relu", "half_mse"))
RATES = (2.0**-7, 1.0, 2.0**-12)
CODES, NUMBERS, STANDARDISED = "codes", "numbers", "standardised"
FEEDBACK = ("k:1", "block:2", "nm:1:2", "density:0.5", "rank:1", "sign", "ternary", "pow2", "lfsr", "shared", "k:1+sign")


@dataclass(frozen=True)
class Case:
    """One combination of a tiny network and what decides the types of its kernels' arguments."""

    rule: str
    datapath: str
    hidden: str = "tanh"
    loss: str = "bce"
    topology: str = DENSE
    network: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    batch: int = 4
    inputs: str = CODES
    observe: bool = False
    threads: int = 1


class Warmed(NamedTuple):
    """What came of it: kernels by argument types that are ready, those compiled now, how long it took, where they are."""

    kernels: int
    compiled: int
    seconds: float
    folder: str


def cases(datapaths: Sequence[str] | None = None) -> list[Case]:
    """Return all combinations, by default of float32 and every preset."""
    found: list[Case] = []
    for datapath in datapaths or (FLOAT, *fixedpoint.names()):
        for (hidden, loss), (topology, batch), rule in product(STYLES, SIZES, MAIN_RULES):
            found.append(Case(rule, datapath, hidden, loss, topology, batch=batch))
        hidden, loss = next(style for style in STYLES if _accepts(datapath, *style))
        others = [rule for rule in rules.names() if rule not in MAIN_RULES]
        found += (Case(rule, datapath, hidden, loss, topology) for rule in others for topology in (DENSE, MAPS))
        found += _variations(datapath, hidden, loss)
    return found


def _accepts(datapath: str, hidden: str, loss: str) -> bool:
    """Return whether a datapath trains a network of this style."""
    return _prepared(Case("dfa", datapath, hidden, loss)) is not None


def _variations(datapath: str, hidden: str, loss: str) -> Iterator[Case]:
    """Yield what differs from the plain cases in one setting."""
    layers: tuple[dict[str, Any], ...] = (
        {"batch_norm": True},
        *({"dropout": 0.5, "input_dropout": 0.5, "dropout_kind": kind} for kind in DROPOUTS),
    )
    for network in layers:
        for topology in (DENSE, MAPS):
            yield Case("dfa", datapath, hidden, loss, topology, network)
    for rule in ("bp", "dfa"):
        yield Case(rule, datapath, hidden, loss, AVERAGED)
    steps: tuple[dict[str, Any], ...] = (
        *({"clip": f"{kind}:1.0"} for kind in CLIPS),
        *({"hook": hook} for hook in HOOKS),
        {"fgsm": 2.0**-6},
        {"reduction": "mean"},
        {"error_scale": "raw"},
    )
    for settings in steps:
        yield Case("dfa", datapath, hidden, loss, MAPS, settings=settings)
    for optimizer in OPTIMIZERS:
        for decay in (0.0, 2.0**-7):
            for rule in ("dfa", "dkp"):
                yield Case(rule, datapath, hidden, loss, settings={"optimizer": optimizer, "weight_decay": decay})
    for family in FEEDBACK:
        for rule in ("dfa", "drtp", "sdfa"):
            yield Case(rule, datapath, hidden, loss, settings={"feedback": f"uniform+{family}"})
    for activation in ACTIVATIONS:
        yield Case("dfa", datapath, activation, loss, DENSE)
    for squared in ("sigmoid", "linear"):
        yield Case("dfa", datapath, hidden, "mse", AUTO_ENCODER, {"output": squared}, {"target": "input"})
    yield Case("dfa", datapath, hidden, loss, settings={"target": "value"}, inputs=NUMBERS)
    yield Case("dfa", datapath, hidden, loss, inputs=STANDARDISED)
    for topology in (DENSE, MAPS):
        yield Case("dfa", datapath, hidden, loss, topology, observe=True)
    yield Case("dfa", datapath, hidden, loss, threads=2)
    # products that threads divide by columns, as strided parts of arrays
    for topology, batch in product((WIDE, WIDER), (4, 32)):
        yield Case("bp", datapath, hidden, loss, topology, batch=batch, threads=2)


def warm_up(given: Sequence[Case], on_case: Callable[[], None] | None = None) -> Warmed:
    """Take one step, and one evaluation, of every case.

    Parameters
    ----------
    given : sequence of Case
        See :func:`cases`.
    on_case : callable, optional
        Called after each.
    """
    compiled: list[str] = []
    started = time.perf_counter()
    with compilations(compiled.append):
        for case in given:
            run(case)
            if on_case is not None:
                on_case()
    seconds = time.perf_counter() - started
    any_kernel: Any = kernels.load_labels
    return Warmed(sum(map(len, ready().values())), len(compiled), seconds, CACHE_FOLDER or any_kernel.stats.cache_path)


def ready() -> dict[str, list[tuple[Any, ...]]]:
    """Return the argument types that each kernel of this process is loaded or compiled for."""
    functions = {name: getattr(kernels, name) for name in kernels.__all__}
    return {name: list(function.signatures) for name, function in functions.items() if function.signatures}


class _Prepared(NamedTuple):
    step: Schedule
    evaluation: Schedule
    state: State
    samples: backends.Samples


def run(case: Case) -> bool:
    """Take the step and the evaluation of a case, and return whether there is such a case: it may be refused."""
    prepared = _prepared(case)
    if prepared is None:
        return False
    make = backends.observing("cpu") if case.observe else backends.get("cpu")
    order = np.tile(np.arange(case.batch), steps_to_warm(prepared.step))
    make(prepared.step, threads=case.threads).run(prepared.state, prepared.samples, order, 0)
    backends.get("cpu")(prepared.evaluation).outputs(prepared.state, prepared.samples)
    return True


def _prepared(case: Case) -> _Prepared | None:
    """Return what a case runs, or None where rule or datapath refuse it."""
    datapath = _datapath(case.datapath)
    options = {"hidden": case.hidden, "output": DEFAULT_OUTPUTS[case.loss]} | case.network
    try:
        network = Network.parse(case.topology, **options)
        settings = StepSettings(batch_size=case.batch, loss=case.loss, **case.settings)
        step = rules.training_step(network, case.rule, settings, datapath, fuse_by=executed(case.batch, datapath))
        evaluation = rules.evaluation_pass(network, settings, datapath)
        state = initial_state(network, step, 0)
    except ConfigError:
        return None
    rate = next((rate for rate in RATES if _holds(rate, step)), None)
    if rate is None:
        return None
    set_learning_rate(state, step, rate)
    return _Prepared(step, evaluation, state, _samples(case, network))


@cache
def _datapath(name: str) -> Datapath | None:
    return load_datapath(name)


def _holds(rate: float, schedule: Schedule) -> bool:
    """Return whether the datapath can hold a learning rate."""
    try:
        set_learning_rate({}, schedule, rate)
    except ConfigError:
        return False
    return True


def _samples(case: Case, network: Network) -> backends.Samples:
    """Return a batch of black images: types do not depend on what they show."""
    size, inputs = case.batch, network.inputs
    codes = np.zeros((size, inputs), np.float32 if case.inputs == NUMBERS else np.uint8)
    by_value = case.settings.get("target") == "value"
    targets = np.zeros((size, network.outputs), np.float32) if by_value else np.zeros(size, np.int64)
    if case.inputs != STANDARDISED:
        return backends.Samples(codes, targets)
    return backends.Samples(codes, targets, np.ones(inputs, np.float32), np.zeros(inputs, np.float32))
