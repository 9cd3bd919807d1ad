"""Checks of what a rule sends to the hidden layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fasim import rules
from fasim.schedule import Schedule, StepSettings, Value, locking, validate
from fasim.schedule import ops as kinds
from fasim.state import State
from fasim.testing.bench import BATCH, RATE, Bench, Verdict, different, far, listed, scaled

EXACT = 1e-12  # of float64
PERTURBATION = 1.25
COPY = "copy_of_"


def gradient_scale(bench: Bench) -> Verdict:
    """Catch a signal that does not scale as the output's gradient does: a sign or a target without ``target_scale``.

    Cross-entropy averaged over the batch divides every gradient by N. ``error_scale = raw`` takes away a factor that is 1
    where the loss is summed, and never touches the output layer.
    """
    summed, mean = (bench.gradients(soft=True, reduction=reduction) for reduction in ("sum", "mean"))
    if wrong := far(summed, scaled(mean, BATCH), EXACT):
        return Verdict(False, f"{listed(wrong)}: the gradient of the sum is not N x that of the mean")
    raw_sum, raw_mean = (
        bench.gradients(soft=True, reduction=reduction, error_scale="raw") for reduction in ("sum", "mean")
    )
    if wrong := far(raw_sum, summed, EXACT):
        return Verdict(False, f"{listed(wrong)}: error_scale raw changes the gradient of a sum, where its factor is 1")
    last = len(bench.network.segments)
    top = [f"weight.{last}", f"bias.{last}"]
    if wrong := far({n: raw_mean[n] for n in top}, {n: mean[n] for n in top}, EXACT):
        return Verdict(False, f"{listed(wrong)}: error_scale raw changes the output layer")
    below = [name for name in mean if name not in top and not name.startswith("feedback")]
    effect = "mixed"
    for text, factor in (("none", 1), ("x N", BATCH)):
        if not far({n: raw_mean[n] for n in below}, scaled({n: mean[n] for n in below}, factor), EXACT):
            effect = text
            break
    return Verdict(True, f"sum = N x mean in every layer; effect of error_scale raw on the hidden layers: {effect}")


def output_layer_is_exact(bench: Bench) -> Verdict:
    """Catch a rule that changes how the output layer learns: its gradient must be backpropagation's, bit for bit."""
    last = len(bench.network.segments)
    own, exact = bench.gradients(), bench.gradients("bp")
    names = [f"weight.{last}", f"bias.{last}"]
    if wrong := different({n: own[n] for n in names if n in own}, {n: exact[n] for n in names}):
        return Verdict(False, f"{listed(wrong)}: not the gradient of the loss")
    return Verdict(True, "the output layer's gradients are backpropagation's")


def not_silently_bp(bench: Bench) -> Verdict:
    """Catch backpropagation under another name, and feedback that is declared but carries nothing.

    What the signals depend on is found by changing it: first each feedback matrix, then copies of the weights that every op
    but a layer's own forward pass reads.
    """
    builder = bench.rule.step(bench.network, StepSettings(BATCH))
    plain = bench.step()
    copied, weights = _with_copies(plain)
    deltas = [f"delta.{layer}" for layer in bench.hidden if f"delta.{layer}" in plain.tensors]

    def found(schedule: Schedule, change: Callable[[State], None]) -> dict[str, np.ndarray]:
        state = bench.start(plain)
        state |= {COPY + name: state[name].copy() for name in weights}
        change(state)
        return bench.values(schedule, state, bench.samples(BATCH), deltas)

    def scale(*names: str) -> Callable[[State], None]:
        return lambda state: state.update({name: state[name] * np.float32(PERTURBATION) for name in names})

    before = found(plain, scale())
    matrices = [name for name in builder.storage if name.split(".")[0].startswith("feedback")]
    for name in matrices:
        if name not in plain.tensors or not different(found(plain, scale(name)), before):
            return Verdict(False, f"{name} is declared, but no signal depends on it")
    through_weights = different(found(copied, scale(*(COPY + name for name in weights))), before)
    exact = bench.step("bp")
    same = deltas and not far(before, bench.values(exact, bench.start(exact), bench.samples(BATCH), deltas), EXACT)
    if same and bench.rule is not rules.get("bp") and not bench.reads_weights:
        return Verdict(False, "every delta is that of backpropagation; if that is meant, say reads_weights=True")
    if bench.reads_weights is not None and bench.reads_weights != bool(through_weights):
        claim = "are said to read" if bench.reads_weights else "are said not to read"
        return Verdict(False, f"signals {claim} weights, but these do otherwise: {listed(through_weights) or 'none reads'}")
    kind = {op.kind for op in copied.ops for value in op.reads if value.tensor.startswith(COPY)}
    transposed = kind & {kinds.PROJECT, kinds.PROJECT_CONV} if through_weights else set()
    words = [f"reads weights transposed: {'yes' if transposed else 'no'}"]
    words += ["forward: yes"] if through_weights and kind - transposed else []
    return Verdict(True, f"{', '.join(words)}; feedback matrices: {len(matrices)}{', is backpropagation' if same else ''}")


def values_before_the_update(bench: Bench) -> Verdict:
    """Catch a signal that reads a parameter after its update: then it depends on the learning rate."""
    schedule = bench.step()
    for op in schedule.ops:
        for value in op.reads:
            if value.version > 0 and schedule[value].storage == "state":
                return Verdict(False, f"{op.kind} of layer {op.layer} reads {value.tensor} after its update")
    names = [tensor.name for tensor in schedule.of_class("delta", "gradient")]
    one, other = (
        bench.values(schedule, bench.start(schedule, rate=rate), bench.samples(BATCH), names) for rate in (RATE, 8 * RATE)
    )
    if wrong := different(one, other):
        return Verdict(False, f"{listed(wrong)}: depends on the learning rate of the step itself")
    return Verdict(True, "all signals and gradients are made of values from before the updates")


def samples_do_not_mix(bench: Bench) -> Verdict:
    """Catch a signal that mixes the samples of a batch, or depends on their number.

    The gradient of a summed loss over N samples is the sum of the N gradients of one sample.
    """
    whole, singles = bench.gradients(), bench.step(batch_size=1)
    names = [f"gradient.{name}" for name in whole]
    total = {name: np.zeros_like(array) for name, array in whole.items()}
    samples = bench.samples(BATCH)
    for n in range(BATCH):
        one = samples._replace(codes=samples.codes[n : n + 1], labels=samples.labels[n : n + 1])
        for name, array in bench.values(singles, bench.start(singles), one, names).items():
            total[name.removeprefix("gradient.")] += array.reshape(total[name.removeprefix("gradient.")].shape)
    if wrong := far(whole, total, EXACT):
        return Verdict(False, f"{listed(wrong)}: the gradient of {BATCH} samples is not the sum of theirs")
    return Verdict(True, "the gradient of a batch is the sum of its samples' gradients")


def locks(bench: Bench) -> Verdict:
    """Catch a schedule whose dependencies say something else than its numbers.

    What is locked is derived. A layer that does not wait for the output error is updated before it in eager order, and its
    gradient stays the same whatever the output layer holds.
    """
    schedule = bench.step()
    trained, update_locked, backward_locked = locking(schedule)
    free = [layer for layer in trained if layer not in update_locked]
    error = next(index for index, op in enumerate(schedule.ops) if op.writes[0].tensor == "error")
    late = {op.layer for op in schedule.ops[error:] if op.kind == kinds.UPDATE and op.layer in free}
    if late:
        return Verdict(False, f"layers {listed(tuple(late))} need no error, but are updated after it in eager order")
    names = [f"gradient.{group}.{layer}" for layer in free for group in ("weight", "bias")]
    last = len(bench.network.segments)
    state = bench.start(schedule)
    other = state | {f"weight.{last}": -2 * state[f"weight.{last}"]}
    if wrong := different(*(bench.values(schedule, s, bench.samples(BATCH), names) for s in (state, other))):
        return Verdict(False, f"{listed(wrong)}: waits for no error, but depends on the output layer")
    of = f"of {len(trained)} trained hidden layers"
    return Verdict(True, f"update-locked: {len(update_locked)}, backward-locked: {len(backward_locked)} {of}")


def _with_copies(schedule: Schedule) -> tuple[Schedule, list[str]]:
    """Let ops other than forward passes and updates read copies of the weights; return the names of those weights too."""
    tensors, ops, weights = dict(schedule.tensors), [], set()
    for op in schedule.ops:
        own = op.kind in (kinds.DENSE, kinds.CONV) and op.writes[0].tensor == f"preact.{op.layer}"
        reads = list(op.reads)
        for place, value in enumerate(op.reads):
            if schedule[value].cls == "weight" and not value.version and not own and op.kind != kinds.UPDATE:
                weights.add(value.tensor)
                reads[place] = Value(COPY + value.tensor)
                tensors[COPY + value.tensor] = replace(schedule[value], name=COPY + value.tensor)
        ops.append(replace(op, reads=tuple(reads)))
    return validate(replace(schedule, tensors=tensors, ops=tuple(ops))), sorted(weights)
