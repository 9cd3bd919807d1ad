"""Checks of how a rule's step runs: order, repetition, counts, backends, other networks, training."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fasim import backends, losses
from fasim.backends import Samples
from fasim.energy.counts import count
from fasim.errors import FasimError
from fasim.fixedpoint import load_datapath
from fasim.network import Network
from fasim.rules import evaluation_pass
from fasim.schedule import FUSIONS, ORDERS, StepSettings
from fasim.testing.bench import BATCH, TOLERANCE, Bench, Verdict, different, far, listed

# networks and settings beyond the dense bench; a rule runs on them, or refuses in one line
MAPS = "6x6x2-3c3-2p-4c3s2-5-3"
OTHERS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "conv, batch norm, max pool": (MAPS, {"batch_norm": True}, {}),
    "the same, hook post_pool": (MAPS, {"batch_norm": True}, {"hook": "post_pool"}),
    "average pool, dropout": (MAPS.replace("2p", "2a"), {"dropout": 0.25, "input_dropout": 0.1}, {}),
    "relu, softmax": ("6-5-4-3", {"hidden": "relu", "output": "softmax"}, {"loss": "cross_entropy"}),
    "values as targets": ("6-5-4-3", {"output": "linear"}, {"loss": "mse", "target": "value"}),
}
# normalisation over a small batch enlarges rounding errors; a kernel that reads the wrong thing is off by far more
OTHERS_BATCH, OTHERS_TOLERANCE = 8, 1e-3
# the task of `learns`: classes around random points
TASK_SAMPLES, TASK_NOISE, TASK_EPOCHS = 64, 20, 60


def orders_agree(bench: Bench) -> Verdict:
    """Catch a dependency that is missing: each order and fusion is valid, and all leave the same bits."""
    first = bench.trained(bench.step())
    for order_by in ORDERS:
        for fuse_by in FUSIONS:
            other = bench.trained(bench.step(order_by=order_by, fuse_by=fuse_by))
            if wrong := different(first, other):
                return Verdict(False, f"{listed(wrong)}: other bits in order {order_by}, fuse {fuse_by}")
    return Verdict(True, f"orders {', '.join(ORDERS)} x fusions {', '.join(FUSIONS)}: valid, the same bits")


def deterministic(bench: Bench) -> Verdict:
    """Catch randomness without a seed, and values that survive from step to step outside of the state."""
    one, other = bench.step(), bench.step()
    if one != other:
        return Verdict(False, "the rule writes another schedule each time; draw nothing in it")
    first = bench.trained(one)
    if wrong := different(first, bench.trained(other)):
        return Verdict(False, f"{listed(wrong)}: two runs with one seed differ")
    if wrong := different(first, bench.trained(one, at_once=False)):
        return Verdict(False, f"{listed(wrong)}: steps run one by one differ from the same steps at once")
    return Verdict(True, "two runs, and steps at once or one by one: the same bits")


def all_counted(bench: Bench) -> Verdict:
    """Catch an op that costs nothing: every op is costed and works or moves something, at N = 1 too."""
    for size in (BATCH, 1):
        schedule = bench.step(batch_size=size)
        counts = count(schedule)
        paid = {row.op for row in counts.operations} | {row.op for row in counts.traffic}
        for index, op in enumerate(schedule.ops):
            if not op.costed or index not in paid:
                return Verdict(False, f"{op.kind} of layer {op.layer} is not counted at batch size {size}")
        amounts = [row.count for row in counts.operations] + [row.words for row in counts.traffic]
        if min(amounts) <= 0:
            return Verdict(False, f"a count of {min(amounts)} at batch size {size}; counts are positive")
    return Verdict(True, f"{len(schedule.ops)} ops at N = 1, each with operations or traffic")


def backends_agree(bench: Bench) -> Verdict:
    """Catch what the kernels and the interpreter read differently, at N = 1 and in a batch."""
    for size in (1, BATCH):
        if wrong := _apart(bench, bench.network, {"batch_size": size}):
            return Verdict(False, f"{listed(wrong)}: cpu and reference differ at batch size {size}")
    return Verdict(True, f"cpu = reference within {TOLERANCE:g}, batch size 1 and {BATCH}")


def frozen_layers_stay(bench: Bench) -> Verdict:
    """Catch an update that ignores ``freeze``, and a rule that needs a layer to learn."""
    last = len(bench.network.segments)
    free = bench.gradients()
    for layer in (1, last):
        schedule = bench.step(freeze=str(layer))
        before, after = bench.start(schedule), bench.trained(schedule)
        own = [name for name in (f"weight.{layer}", f"bias.{layer}") if not np.array_equal(before[name], after[name])]
        if own:
            return Verdict(False, f"{listed(own)}: moves though layer {layer} is frozen")
        frozen = bench.gradients(freeze=str(layer))
        if wrong := different({name: free[name] for name in frozen}, frozen):
            return Verdict(False, f"{listed(wrong)}: has another gradient where layer {layer} is frozen")
    return Verdict(True, "frozen layers keep their bits, the others their gradients")


def other_networks(bench: Bench) -> Verdict:
    """Catch a rule that breaks where it was not tried: it runs alike on both backends, or refuses in one line."""
    ran = []
    for what, (net, options, settings) in OTHERS.items():
        chosen = settings | {"batch_size": OTHERS_BATCH}
        wrong, refusal = _or_refusal(partial(_apart, bench, Network.parse(net, **options), chosen, OTHERS_TOLERANCE))
        if wrong is None or wrong:
            return Verdict(False, f"{what}: {refusal or 'cpu and reference differ in ' + listed(wrong or [])}")
        ran += [] if refusal else [what]
    left = [what for what in OTHERS if what not in ran]
    refuses = f" - refuses {'; '.join(left)}" if left else ""
    return Verdict(True, f"runs on {'; '.join(ran) or 'the network of this table only'}{refuses}")


def fixed_point(bench: Bench) -> Verdict:
    """Catch a step whose fixed-point form differs between backends: every bit agrees, or the rule refuses in one line."""

    def differing() -> list[str]:
        schedule = bench.step(datapath=load_datapath("s8"))
        return different(bench.trained(schedule), bench.trained(schedule, "reference"))

    wrong, refusal = _or_refusal(differing)
    if wrong is None or wrong:
        return Verdict(False, refusal or f"{listed(wrong or [])}: cpu and reference differ on s8")
    return Verdict(True, "float32 alone" if refusal else "cpu = reference to the bit on s8")


def learns(bench: Bench) -> Verdict:
    """Catch signals that undo what the output layer learns: on well-parted clouds it must beat any constant answer.

    A wrong sign need not show here: behind fixed random feedback the weights may come to fit either sign. On deep networks
    of a few units a sound rule may miss the mark with some seeds; give it more units.
    """
    network, random = bench.network, np.random.default_rng(bench.seed)
    labels = np.arange(TASK_SAMPLES) % network.outputs
    centres = random.integers(0, 256, (network.outputs, network.inputs))
    noisy = centres[labels] + random.normal(0, TASK_NOISE, (TASK_SAMPLES, network.inputs))
    data = Samples(np.clip(noisy, 0, 255).astype(np.uint8), labels)
    schedule = bench.step()
    state, program = bench.start(schedule, rate=0.0625), backends.get("cpu")(schedule)
    evaluator = backends.get("cpu")(evaluation_pass(network, StepSettings(TASK_SAMPLES)))

    def loss() -> float:
        return losses.value("bce", evaluator.outputs(state, data), labels)

    before = loss()
    for epoch in range(TASK_EPOCHS):
        program.run(state, data, random.permutation(TASK_SAMPLES), epoch * TASK_SAMPLES // BATCH)
    after = loss()
    share = 1.0 / network.outputs
    constant = -share * math.log(share) - (1.0 - share) * math.log(1.0 - share)
    return Verdict(after < constant, f"training loss {before:.2f} -> {after:.2f}, of a constant {constant:.2f}")


def _apart(bench: Bench, network: Network, settings: dict[str, Any], tolerance: float = TOLERANCE) -> list[str]:
    """Return what the two backends leave differently after a few steps."""
    schedule = bench.step(network=network, **settings)
    target = str(settings.get("target", "label"))
    cpu, reference = (bench.trained(schedule, name, network=network, target=target) for name in ("cpu", "reference"))
    return far(cpu, reference, tolerance)


def _or_refusal(run: Callable[[], list[str]]) -> tuple[list[str] | None, str]:
    """Return what `run` finds, or, where it raises, nothing and why; None: not in the way that a user can mend."""
    try:
        return run(), ""
    except FasimError as refusal:
        text = str(refusal)
        return ([], text) if text and "\n" not in text else (None, f"refuses, but not in one line: {text!r}")
    except Exception as failure:  # noqa: BLE001 - a rule of anybody's may raise anything
        return None, " ".join(f"{type(failure).__name__} in the place of a refusal: {failure}".split())
