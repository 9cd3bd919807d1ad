"""The picture of accuracy over the energy that training has cost so far."""

from __future__ import annotations

import itertools
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from fasim.comparison import Comparison, Row
from fasim.errors import ConfigError
from fasim.plots import png, rule_colours
from fasim.target import samples_to_target

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LineStyle = Any  # Matplotlib's name or (offset, lengths): its stubs know the two only as separate literals
LINES: tuple[LineStyle, ...] = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 3)))
JOULES_PER_PJ = 1e-12
TICKS = (0, 20, 40, 60, 70, 80, 85, 90, 95, 97, 99, 100)


def accuracy_over_energy(comparison: Comparison) -> bytes:
    """Draw validation accuracy over energy: colour = rule, line style = datapath, thin lines = seeds, thick = their median.

    A dot marks where a seed has confirmed the target; further left is better. Rules differ most where accuracy is high, so
    that its axis is stretched there.

    Raises
    ------
    ConfigError
        If the comparison has no target.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    target = comparison.target
    if target is None:
        raise ConfigError("a comparison without a target has no evaluations within its epochs; give compare a target")
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    axes = figure.subplots()
    colours = rule_colours(row.rule for row in comparison.rows)
    datapaths = list(dict.fromkeys(row.datapath for row in comparison.rows))
    styles = dict(zip(datapaths, itertools.cycle(LINES), strict=False))
    for row in comparison.rows:
        _draw(axes, row, colours[row.rule], styles[row.datapath], target.accuracy)
    axes.axhline(100 * target.accuracy, color="#555555", linewidth=0.8)
    axes.annotate(
        f"target {100 * target.accuracy:g} %",
        (0.005, 100 * target.accuracy),
        xycoords=("axes fraction", "data"),
        xytext=(0, 2),
        textcoords="offset points",
        fontsize=8,
        color="#555555",
    )
    axes.set_yscale("function", functions=(_stretch, _unstretch))
    axes.set_yticks(TICKS)
    axes.set_ylim(top=100.1)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(EngFormatter(unit="J", sep=" "))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel(f"energy of training so far on {comparison.processor}, typical constants")
    axes.set_ylabel("validation accuracy (%), stretched towards 100")
    every = target.steps_between(comparison.settings.batch_size) * comparison.settings.batch_size
    axes.set_title(
        f"Accuracy over the energy that it costs: {comparison.data}, {comparison.network}\n"
        f"every {every:,} samples, batch {comparison.settings.batch_size}"
        + ("" if comparison.complete else " (unfinished)")
        + " - up and to the left is better\nthick: median of the seeds; dots: a seed has reached the target",
        fontsize=11,
    )
    axes.grid(visible=True, which="both", linewidth=0.3, alpha=0.6)
    named = list(dict.fromkeys(row.rule for row in comparison.rows))
    rule_keys = [Line2D([], [], color=colours[name], linewidth=2, label=name) for name in named]
    data_keys = [Line2D([], [], color="#555555", linestyle=styles[name], linewidth=2, label=name) for name in datapaths]
    first = axes.legend(handles=rule_keys, title="learning rule", loc="upper left", bbox_to_anchor=(1.01, 1.0))
    axes.add_artist(first)
    first.set_clip_on(False)  # else the layout leaves no room for it
    axes.legend(handles=data_keys, title="datapath", loc="lower left", bbox_to_anchor=(1.01, 0.0), handlelength=3)
    return png(figure)


def _stretch(accuracy: np.ndarray) -> np.ndarray:
    """Return places on the axis for accuracies in %: the error plus one, logarithmic, so that 100 % has a place too."""
    return -np.log(np.maximum(101.0 - accuracy, 1e-3))


def _unstretch(place: np.ndarray) -> np.ndarray:
    return 101.0 - np.exp(-place)


def _draw(axes: Axes, row: Row, colour: str, style: LineStyle, target: float) -> None:
    """Draw the lines of one rule on one datapath."""
    joules = row.energy.energy_pj_per_sample.typical * JOULES_PER_PJ
    curves = [run.points for run in row.runs]
    for points in curves:
        places, heights = [joules * point.samples for point in points], [100 * point.accuracy for point in points]
        axes.plot(places, heights, color=colour, linestyle=style, linewidth=0.5, alpha=0.35)
        reached = samples_to_target(points, target)
        if reached is not None:
            axes.plot(joules * reached, 100 * target, "o", color=colour, markersize=5, markeredgecolor="white")
    # as far as all seeds go: one that has stopped at its target would leave a median of the others
    common = list(zip(*curves, strict=False))
    middle = [100 * median(point.accuracy for point in points) for points in common]
    axes.plot([joules * points[0].samples for points in common], middle, color=colour, linestyle=style, linewidth=1.8)
