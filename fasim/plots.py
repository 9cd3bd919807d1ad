"""Pictures, each a function from results to the bytes of a PNG."""

from __future__ import annotations

import io
import itertools
from typing import TYPE_CHECKING, Any

from fasim import rules
from fasim.comparison import Comparison
from fasim.training import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart by colour-blind readers too
COLOURS = ("#000000", "#0072B2", "#D55E00", "#CC79A7", "#009E73", "#999999", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*", "<", ">", "p", "h", "d", "8", "H")


def accuracy_energy(comparison: Comparison) -> bytes:
    """Draw accuracy against energy per training sample: colour = rule, marker = datapath.

    Vertical bars are one standard deviation over the seeds; horizontal bars go from the low to the high constants of the
    processor. Up and to the left is better.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator, NullFormatter

    content = comparison.as_dict()
    rows: list[dict[str, Any]] = content["rows"]  # type: ignore[assignment]
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    axes = figure.subplots()
    colours = dict(zip(rules.names(), COLOURS, strict=False))
    datapaths = list(dict.fromkeys(row["datapath"] for row in rows))
    markers = dict(zip(datapaths, itertools.cycle(MARKERS), strict=False))
    for row in rows:
        energy = row["energy_pj_per_sample"]
        x, y = energy["typical"] / 1e3, 100 * row["test_accuracy_mean"]
        colour = colours[row["rule"]]
        spread = [[x - energy["low"] / 1e3], [energy["high"] / 1e3 - x]]
        axes.errorbar(x, y, xerr=spread, fmt="none", ecolor=colour, elinewidth=0.6, alpha=0.35)
        deviation = 100 * (row["test_accuracy_std"] or 0)
        axes.errorbar(x, y, yerr=deviation, fmt="none", ecolor=colour, elinewidth=1.4, capsize=3)
        face, edge = ("white", colour) if row["diverged_seeds"] else (colour, "white")
        axes.plot(x, y, markers[row["datapath"]], markersize=8, markerfacecolor=face, markeredgecolor=edge)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"energy per training sample (nJ) on {comparison.processor}; thin bars: low to high constants")
    axes.set_ylabel("test accuracy (%); bars: one standard deviation")
    settings = comparison.settings
    seeds = max((len(row["seeds"]) for row in rows), default=0)
    axes.set_title(
        f"Which learning rule, at which bit width? {comparison.data}, {content['net']}\n"
        f"{comparison.epochs} epoch{'s' * (comparison.epochs > 1)}, batch {settings.batch_size}, "
        f"{seeds} seed{'s' * (seeds > 1)}"
        + ("" if comparison.complete else " (unfinished)")
        + " - up and to the left is better"
        + ("\nhollow: a seed has diverged" if any(row["diverged_seeds"] for row in rows) else ""),
        fontsize=11,
    )
    axes.grid(visible=True, which="both", linewidth=0.3, alpha=0.6)
    named = list(dict.fromkeys(row["rule"] for row in rows))
    rule_keys = [Line2D([], [], color=colours[name], marker="o", linestyle="", label=name) for name in named]
    data_keys = [Line2D([], [], color="#555555", marker=markers[name], linestyle="", label=name) for name in datapaths]
    first = axes.legend(handles=rule_keys, title="learning rule", loc="upper left", bbox_to_anchor=(1.01, 1.0))
    axes.add_artist(first)
    axes.legend(handles=data_keys, title="datapath", loc="lower left", bbox_to_anchor=(1.01, 0.0))
    return _png(figure)


def learning_curves(run: Run, data: str) -> bytes:
    """Draw test accuracy and test loss over the epochs of one run."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [epoch.epoch for epoch in run.epochs]
    left.plot(epochs, [100 * epoch.test_accuracy for epoch in run.epochs], "o-", color=COLOURS[1])
    left.set_ylabel("test accuracy (%)")
    right.plot(epochs, [epoch.test_loss for epoch in run.epochs], "o-", color=COLOURS[2])
    right.set_ylabel(f"test loss ({run.settings.loss})")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True, linewidth=0.3, alpha=0.6)
    figure.suptitle(f"{run.schedule.rule} on {run.schedule.datapath}: {data}, {run.network}, seed {run.seed}")
    return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=140)
    return buffer.getvalue()
