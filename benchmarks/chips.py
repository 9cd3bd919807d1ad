"""Published ratios of learning chips beside what fasim predicts: one line a check in results/chips.jsonl.

No chip's constants are known, so ratios alone are compared, on a generic processor (tables ``learning`` and ``external``).
What fasim leaves out of a chip is sized: the shares of deltas that are not 0 and of samples that are classified wrongly are
measured by training (table ``measured``), and the ratio is predicted anew without the updates of the others. Nothing is
fitted; networks that no source names are assumed, and said to be.

Run ``python benchmarks/chips.py``; the measurements need MNIST (a minute or two), the ratios a second.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fasim import data, train
from fasim.energy import CostOptions, Estimate, estimate, load_processor
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import StepSettings

sys.path.insert(0, str(Path(__file__).parent))

from result_lines import done, key, provenance, run_missing  # noqa: E402 - a script beside this one

RESULTS = Path(__file__).parent / "results" / "chips.jsonl"
WITHOUT_MASTER = str(Path(__file__).parent / "s8_without_master.toml")

TRAINING_SAMPLES, TEST_SAMPLES, EPOCHS, LEARNING_RATE = 4_000, 1_000, 2, 2.0**-7


@dataclass(frozen=True)
class Learner:
    """How a chip that learns one sample at a time is modelled; networks, which its memory holds, are assumed."""

    published: float
    rule: str
    networks: tuple[str, ...]
    processor: str
    settings: StepSettings
    accuracy: str


LEARNERS = {
    "spoon": Learner(
        1.168,
        "drtp",
        ("28x28x1-10c5p0-2p-128-10", "28x28x1-8c5-2p-100-10"),
        "generic_28nm",
        StepSettings(batch_size=1, freeze="conv"),
        "accuracy on MNIST, learned on the chip",
    ),
    "park_2020": Learner(
        1.075,
        "dfa",
        ("784-200-200-10", "784-300-10"),
        "generic_45nm",
        StepSettings(batch_size=1),
        "accuracy on MNIST",
    ),
}

# of DF-LNPU: the share of external accesses that binary feedback from a generator saves
EXTERNAL = {"df_lnpu": 0.428}
EXTERNAL_NETWORKS = ("4608-512-512-2", "1024-1024-1024-1024-10", "28x28x1-32c5-2p-1000-10")
GENERATED = "uniform+sign+lfsr"


@dataclass(frozen=True)
class Cell:
    """One line."""

    table: str
    chip: str


CELLS = (
    *(Cell("measured", chip) for chip in LEARNERS),
    *(Cell("learning", chip) for chip in LEARNERS),
    *(Cell("external", chip) for chip in EXTERNAL),
)


def measured(chip: str) -> dict[str, Any]:
    """Train the first network of a chip sample by sample; return the shares that its updates depend on.

    ``densities``: share of the error's and the deltas' numbers other than 0, in the last epoch; ``test_accuracy``
    after it, on samples that the network has not seen.
    """
    learner = LEARNERS[chip]
    whole = data.load("mnist")
    part = replace(
        whole,
        x_train=whole.x_train[:TRAINING_SAMPLES],
        y_train=whole.y_train[:TRAINING_SAMPLES],
        x_test=whole.x_test[:TEST_SAMPLES],
        y_test=whole.y_test[:TEST_SAMPLES],
    )
    run = train(
        learner.networks[0],
        part,
        rule=learner.rule,
        datapath="s8",
        epochs=EPOCHS,
        learning_rate=LEARNING_RATE,
        settings=learner.settings,
        trace=True,
    )
    names = _deltas(learner, learner.networks[0])
    found = {name: one for name, one in run.last_tensors.items() if name in names}
    return {
        "settings": {"samples": TRAINING_SAMPLES, "epochs": EPOCHS, "learning_rate": LEARNING_RATE, "datapath": "s8"},
        "densities": {name: round(1 - one.zeros / one.elements, 4) for name, one in found.items()},
        "test_accuracy": run.epochs[-1].test_accuracy,
    }


def _deltas(learner: Learner, network: str) -> list[str]:
    """Return the tensors without which a layer has no update."""
    schedule = training_step(Network.parse(network), learner.rule, learner.settings)
    return [tensor.name for tensor in schedule.of_class("error", "delta")]


def _step_over_forward(learner: Learner, network: str, datapath: str, fuse: str, options: CostOptions) -> dict[str, float]:
    """Return the energy of a training step over that of its forward phase, at each end of the constants."""
    result = estimate(
        network,
        learner.rule,
        datapath,
        settings=learner.settings,
        processor=learner.processor,
        options=options,
        fuse_by=fuse,
        versus=learner.rule,
    )
    return {end: _energy(result, end) / _energy(result, end, "forward") for end in ("low", "typical", "high")}


def _energy(result: Estimate, end: str, phase: str = "") -> float:
    return sum(getattr(row.pj_per_sample, end) for row in result.rows if phase in ("", row.phase))


def _spread(learner: Learner, options: dict[str, CostOptions]) -> dict[str, float]:
    """Return the smallest and largest ratio over networks, master copies, fusion and constants, and one in the middle."""
    points = {
        (network, datapath, fuse): _step_over_forward(learner, network, datapath, fuse, options[network])
        for network in learner.networks
        for datapath in (WITHOUT_MASTER, "s8")
        for fuse in ("within_layer", "none")
    }
    every = [value for point in points.values() for value in point.values()]
    middle = points[learner.networks[0], WITHOUT_MASTER, "within_layer"]["typical"]
    return {"low": round(min(every), 3), "typical": round(middle, 3), "high": round(max(every), 3)}


def learning(chip: str, shares: dict[str, Any]) -> dict[str, Any]:
    """Predict the energy of a step over that of inference: dense, zeros skipped, and updated on wrong samples alone.

    Parameters
    ----------
    chip : str
    shares : dict
        What :func:`measured` returned.
    """
    learner = LEARNERS[chip]
    claims = {claim.what: claim.number.typical for claim in load_processor(chip).claims}

    def updated(share: float) -> dict[str, float]:
        options = {
            network: CostOptions(skip="acts", densities=dict.fromkeys(_deltas(learner, network), share))
            for network in learner.networks
        }
        return _spread(learner, options)

    dense = _spread(learner, dict.fromkeys(learner.networks, CostOptions()))
    known = shares["densities"]
    zeros = {
        n: CostOptions(skip="acts", densities={d: known.get(d, 1.0) for d in _deltas(learner, n)}) for n in learner.networks
    }
    final = round(1 - claims[learner.accuracy] / 100, 4)
    return {
        "published": learner.published,
        "networks_assumed": learner.networks,
        "dense": dense,
        "zero_deltas_skipped": _spread(learner, zeros),
        "wrong_samples_alone": {
            "share_at_published_accuracy": final,
            "at_published_accuracy": updated(final),
            "share_measured": round(1 - shares["test_accuracy"], 4),
            "at_measured_share": updated(round(1 - shares["test_accuracy"], 4)),
        },
        # of the samples that would have to be updated for the published ratio: derived from it, and no prediction
        "share_needed": round((learner.published - 1) / (dense["typical"] - 1), 4),
    }


def external(chip: str) -> dict[str, Any]:
    """Predict the share of external words that direct feedback from a generator saves over backpropagation.

    ``whole_steps``: of all words of a step, smallest and largest over networks, batches and fusion. ``updates_left_out``:
    of the weights' reads forward and backward alone, as if no batch were followed by an update.
    """
    whole, reads = [], []
    for network in EXTERNAL_NETWORKS:
        for batch_size in (1, 32):
            for fuse in ("none", "within_layer"):
                settings = StepSettings(batch_size=batch_size, feedback=GENERATED)
                ours, bp = (
                    estimate(network, rule, "s16", settings=settings, processor="generic_28nm", fuse_by=fuse, versus=rule)
                    for rule in ("dfa", "bp")
                )
                whole.append(1 - _external_words(ours) / _external_words(bp))
        reads.append(_external_words(bp, "weight", "error") / _external_words(bp, "weight", "forward", "error"))
    return {
        "published": EXTERNAL[chip],
        "networks_assumed": EXTERNAL_NETWORKS,
        "whole_steps": {"low": round(min(whole), 3), "high": round(max(whole), 3)},
        "updates_left_out": {"low": round(min(reads), 3), "high": round(max(reads), 3)},
    }


def _external_words(result: Estimate, part: str = "", *phases: str) -> int:
    outside = {memory.name for memory in result.memories if memory.external}
    rows = (row for row in result.rows if row.level in outside and part in ("", row.part))
    return sum(row.count for row in rows if not phases or row.phase in phases)


def validation(line: dict[str, Any]) -> str:
    """Return what a processor's file says of a check."""
    if "whole_steps" in line:
        return (
            f"not validated: {_percent(line['whole_steps'])} % of the external words saved predicted, "
            f"{100 * line['published']:.1f} % published; {_percent(line['updates_left_out'])} % of the weights' reads "
            "without updates; network and batch are assumed"
        )
    wrong = line["wrong_samples_alone"]
    share = 100 * wrong["share_at_published_accuracy"]
    return (
        f"not validated: energy of learning over inference {_range(line['dense'])} predicted, {line['published']} "
        f"published; {_range(line['zero_deltas_skipped'])} without updates by a delta of 0, "
        f"{_range(wrong['at_published_accuracy'])} if only {share:.1f} % of the samples update, those classified wrongly; "
        "network and skipping are assumed"
    )


def _range(found: dict[str, float]) -> str:
    return f"{found['low']:.2f} to {found['high']:.2f}"


def _percent(found: dict[str, float]) -> str:
    return f"{100 * found['low']:.0f} to {100 * found['high']:.0f}"


def run(cell: Cell) -> dict[str, Any]:
    """Return the line of a cell."""
    match cell.table:
        case "measured":
            found = measured(cell.chip)
        case "learning":
            found = learning(cell.chip, done(RESULTS)[key(asdict(Cell("measured", cell.chip)))])
        case _:
            found = external(cell.chip)
    shown = validation(found) if cell.table != "measured" else f"test accuracy {found['test_accuracy']}"
    return {"cell": asdict(cell), **found, "shown": shown, **provenance()}


if __name__ == "__main__":
    sys.exit(run_missing(__doc__ or "", RESULTS, CELLS, run))
