"""A probe: the rule's step and backpropagation's on one batch, without updates, and what they computed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fasim import backends, rules
from fasim.backends import Samples
from fasim.data import Data
from fasim.errors import ConfigError, unknown_name
from fasim.network import Network
from fasim.rules import Rule
from fasim.schedule import Builder, Op, Schedule, StepSettings, validate
from fasim.schedule import ops as kinds
from fasim.state import State

PROBE_SAMPLES = 256
PLACES = ("preact", "act")
LOCAL = "local."
DELTA, GRADIENT, PREACT = "delta", "gradient.weight", "preact"
# a low-rank matrix is stored as two factors
FEEDBACK = ("feedback", "feedback_in")


def probe_samples(data: Data, count: int = PROBE_SAMPLES) -> Samples:
    """Return the first `count` test samples, all if there are fewer: the same ones in every epoch and for every rule.

    Raises
    ------
    ConfigError
        If `count` is not positive.
    """
    if count < 1:
        raise ConfigError(f"probe samples {count}: at least 1 is needed")
    return Samples(data.x_test[:count], data.y_test[:count], data.gain, data.offset)


def probe_settings(settings: StepSettings, count: int) -> StepSettings:
    """Return the settings of a step on `count` samples, without what only disturbs a comparison.

    Off are the fast gradient sign method (it would move the batch), clipping and freezing.
    """
    return replace(settings, batch_size=count, fgsm=0.0, clip="", freeze="")


def probe_schedule(step: Builder, names: set[str]) -> Schedule:
    """Return those ops of a training step that are needed for some of its tensors: no update, and none is costed.

    Batch normalisation keeps its batch statistics but does not move the running ones.
    """

    def wanted(op: Op) -> bool:
        return any(value.tensor in names for value in op.writes)

    ops = tuple(replace(op, costed=False, writes=op.writes[:3] if op.kind == kinds.NORM else op.writes) for op in step.ops)
    whole = Schedule(step.tensors, ops, step.settings.batch_size, str(step.network), step.rule, pass_name="diagnostics")
    return validate(whole.needed_for(wanted))


@dataclass(frozen=True)
class Reading:
    """What a probe has computed, by tensor name: of the rule (with ``local.`` deltas) and of backpropagation."""

    rule: dict[str, np.ndarray]
    bp: dict[str, np.ndarray]
    state: State


class Probe:
    """The two schedules of a rule on `count` samples, ready to run on any state of a network.

    Memory: one batch of all activations and deltas, once for the rule and once for backpropagation.

    Parameters
    ----------
    network : Network
    rule : str or Rule
    settings : StepSettings
        Of the training; its batch size does not matter.
    count : int
        N, samples of the batch.
    where : {"preact", "act"}
        What is compared: deltas, or the signals at the activation, before the slope and batch normalisation.

    Raises
    ------
    ConfigError
        If `where` is neither, or the rule cannot have this network or these settings.
    """

    def __init__(
        self, network: Network, rule: str | Rule, settings: StepSettings, count: int, where: str = "preact"
    ) -> None:
        if where not in PLACES:
            raise ConfigError(unknown_name("place of a comparison", where, PLACES))
        settings = probe_settings(settings, count)
        self.network, self.settings, self.count, self.where = network, settings, count, where
        self.step = rules.get(rule).step(network, settings)
        self.hidden = range(1, self.step.last)
        self.step.local_deltas()
        exact = self._exact = rules.get("bp").step(network, settings)
        hooks = {layer: self._act_at_hook(layer) for layer in self.hidden if has_feedback(self.step, layer)}
        logits = f"{PREACT}.{self.step.last}"
        self._names = [self._compared(self.step, LOCAL) | {logits, *hooks.values()}, self._compared(exact)]
        schedules = [probe_schedule(step, names) for step, names in zip((self.step, exact), self._names, strict=True)]
        self.schedule = schedules[0]
        cpu = backends.get("cpu")
        self._programs = [cpu(schedule) for schedule in schedules]
        self.hooks, self.logits = hooks, logits

    def read(self, state: State, samples: Samples) -> Reading:
        """Run both schedules on a batch.

        Parameters
        ----------
        state : dict of str to ndarray
            In float32, see :func:`fasim.diagnostics.float_state`; not a bit of it changes.
        samples : Samples
            Exactly N.

        Raises
        ------
        ConfigError
            If the samples do not fit, or the state lacks what the rule reads.
        """
        if samples.codes.shape != (self.count, self.network.inputs):
            raise ConfigError(
                f"probe of {self.count} samples with {self.network.inputs} inputs: samples of shape "
                f"{samples.codes.shape} are given; give as many"
            )
        check_state(self.schedule, state)
        rule, exact = (
            program.values(state, samples, sorted(names))
            for program, names in zip(self._programs, self._names, strict=True)
        )
        return Reading(rule, exact, state)

    def pair(self, reading: Reading, kind: str, layer: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Return what the rule sends to a hidden layer and what it is held against, each (N, ...); None without a signal.

        Against backpropagation through the whole network (``global``), or from the rule's own delta above (``local``).
        """
        own = self._name(self.step, "", layer)
        prefix, values, step = (LOCAL, reading.rule, self.step) if kind == "local" else ("", reading.bp, self._exact)
        other = self._name(step, prefix, layer)
        if own not in reading.rule or other not in values:
            return None
        return reading.rule[own], values[other]

    def _compared(self, step: Builder, *prefixes: str) -> set[str]:
        """Return the gradients and the deltas, or signals, that a step writes."""
        names = {f"{GRADIENT}.{layer}" for layer in range(1, step.last + 1)}
        names |= {self._name(step, prefix, layer) for prefix in ("", *prefixes) for layer in self.hidden}
        return names & step.tensors.keys()

    def _name(self, step: Builder, prefix: str, layer: int) -> str:
        """Return the name of what is compared at a layer; empty if the step has no delta there."""
        if self.where == "preact":
            return f"{prefix}{DELTA}.{layer}"
        made = {op.writes[0].tensor: op.reads[0].tensor for op in step.ops if op.kind == kinds.DELTA}
        names = (f"{prefix}{DELTA}_normed.{layer}", f"{prefix}{DELTA}.{layer}")
        return next((made[name] for name in names if name in made), "")

    def _act_at_hook(self, layer: int) -> str:
        """Return the name of a hidden layer's activation where direct feedback arrives."""
        return self.step.active(layer).tensor if self.settings.hook == "pre_pool" else f"act.{layer}"


def check_state(step: Builder | Schedule, state: State) -> None:
    """Refuse a state that lacks what a step reads.

    Raises
    ------
    ConfigError
        With the first array that is missing or has another shape.
    """
    for tensor in step.tensors.values():
        if tensor.storage not in ("state", "generated") or tensor.cls == "state":
            continue
        if tensor.name not in state or state[tensor.name].shape != tensor.shape:
            raise ConfigError(
                f"probe of rule {step.rule}: the state has no {tensor.name} of shape {tensor.shape}; give the state of a "
                "run with this rule, network and feedback"
            )


def has_feedback(step: Builder, layer: int) -> bool:
    """Tell whether a step reads a matrix ``feedback.layer``, in whatever storage."""
    return any(f"{name}.{layer}" in step.tensors for name in FEEDBACK)
