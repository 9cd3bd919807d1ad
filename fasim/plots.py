"""Pictures, each a function from results to the bytes of a PNG."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fasim import rules
from fasim.comparison import Comparison
from fasim.training import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette, then Paul Tol's muted one: told apart by colour-blind readers too
COLOURS = ("#000000", "#0072B2", "#D55E00", "#CC79A7", "#009E73", "#999999", "#E69F00", "#56B4E9")
MORE_COLOURS = ("#332288", "#117733", "#882255", "#999933", "#CC6677", "#44AA99", "#AA4499", "#DDCC77", "#88CCEE")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*", "<", ">", "p", "h", "d", "8", "H")


def accuracy_energy(comparison: Comparison) -> bytes:
    """Draw accuracy against energy per training sample: colour = rule, marker = datapath.

    Vertical bars are one standard deviation over the seeds; horizontal bars go from the low to the high constants of the
    processor. Up and to the left is better. Without labels the loss takes the place of accuracy, and down is better; a row
    with a diverged seed has none and is left out.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator, NullFormatter

    content = comparison.as_dict()
    rows: list[dict[str, Any]] = content["rows"]  # type: ignore[assignment]
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    axes = figure.subplots()
    colours = rule_colours(row["rule"] for row in rows)
    what, unit = ("accuracy", 100) if comparison.has_labels else ("loss", 1)
    datapaths = list(dict.fromkeys(row["datapath"] for row in rows))
    markers = dict(zip(datapaths, itertools.cycle(MARKERS), strict=False))
    for row in rows:
        if row[f"test_{what}_mean"] is None:
            continue
        energy = row["energy_pj_per_sample"]
        x, y = energy["typical"] / 1e3, unit * row[f"test_{what}_mean"]
        colour = colours[row["rule"]]
        spread = [[x - energy["low"] / 1e3], [energy["high"] / 1e3 - x]]
        axes.errorbar(x, y, xerr=spread, fmt="none", ecolor=colour, elinewidth=0.6, alpha=0.35)
        deviation = unit * (row[f"test_{what}_std"] or 0)
        axes.errorbar(x, y, yerr=deviation, fmt="none", ecolor=colour, elinewidth=1.4, capsize=3)
        face, edge = ("white", colour) if row["diverged_seeds"] else (colour, "white")
        axes.plot(x, y, markers[row["datapath"]], markersize=8, markerfacecolor=face, markeredgecolor=edge)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"energy per training sample (nJ) on {comparison.processor}; thin bars: low to high constants")
    settings = comparison.settings
    label = "accuracy (%)" if comparison.has_labels else f"loss ({settings.loss})"
    axes.set_ylabel(f"test {label}; bars: one standard deviation")
    diverged = "hollow" if comparison.has_labels else "left out"
    seeds = max((len(row["seeds"]) for row in rows), default=0)
    axes.set_title(
        f"Which learning rule, at which bit width? {comparison.data}, {content['net']}\n"
        f"{comparison.epochs} epoch{'s' * (comparison.epochs > 1)}, batch {settings.batch_size}, "
        f"{seeds} seed{'s' * (seeds > 1)}"
        + ("" if comparison.complete else " (unfinished)")
        + f" - {'up' if comparison.has_labels else 'down'} and to the left is better"
        + (f"\n{diverged}: a seed has diverged" if any(row["diverged_seeds"] for row in rows) else ""),
        fontsize=11,
    )
    axes.grid(visible=True, which="both", linewidth=0.3, alpha=0.6)
    named = list(dict.fromkeys(row["rule"] for row in rows))
    rule_keys = [Line2D([], [], color=colours[name], marker="o", linestyle="", label=name) for name in named]
    data_keys = [Line2D([], [], color="#555555", marker=markers[name], linestyle="", label=name) for name in datapaths]
    first = axes.legend(handles=rule_keys, title="learning rule", loc="upper left", bbox_to_anchor=(1.01, 1.0))
    axes.add_artist(first)
    first.set_clip_on(False)  # else the layout leaves no room for it
    axes.legend(handles=data_keys, title="datapath", loc="lower left", bbox_to_anchor=(1.01, 0.0))
    return png(figure)


def learning_curves(run: Run, data: str) -> bytes:
    """Draw accuracy (where there are labels) and loss over the epochs of one run; of the training set too if measured."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 4), layout="constrained")
    label = {"accuracy": "accuracy (%)", "loss": f"loss ({run.settings.loss})"}
    unit, colour = {"accuracy": 100, "loss": 1}, {"accuracy": COLOURS[1], "loss": COLOURS[2]}
    shown = ["accuracy", "loss"] if run.settings.target == "label" else ["loss"]
    trained = not math.isnan(run.epochs[-1].train_loss)
    for axes, what in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        sets = {"test": "o-", "train": "o--"} if trained else {"test": "o-"}
        for name, style in sets.items():
            points = [(epoch.epoch, unit[what] * getattr(epoch, f"{name}_{what}")) for epoch in run.epochs]
            face = colour[what] if name == "test" else "white"
            axes.plot(*zip(*points, strict=True), style, color=colour[what], markerfacecolor=face, label=name)
        axes.set_ylabel(label[what] if trained else f"test {label[what]}")
        if trained:
            axes.legend()
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True, linewidth=0.3, alpha=0.6)
    figure.suptitle(f"{run.schedule.rule} on {run.schedule.datapath}: {data}, {run.network}, seed {run.seed}")
    return png(figure)


def rule_colours(used: Iterable[str]) -> dict[str, str]:
    """Return a colour for every rule, the same in all pictures; rules of the user's own come after those of fasim."""
    every = dict.fromkeys([*rules.names(), *used])
    return dict(zip(every, itertools.cycle(COLOURS + MORE_COLOURS), strict=False))


def png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG, at one resolution for all pictures."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=140)
    return buffer.getvalue()
