"""The picture of an experiment: every measure over the epochs, beside what was published."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from fasim.experiments import Experiment, Row
from fasim.experiments.keys import MEASURES
from fasim.experiments.summary import curve_of
from fasim.plots import COLOURS, MORE_COLOURS, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLES = ("-", "--", ":", "-.")
LEGEND_COLUMN = 12
# errors and losses that fall by more than this over a run are drawn on a logarithmic scale
DECADES = 10.0

Curve = tuple[list[float], list[float], list[float]]


def experiment_curves(experiment: Experiment, rows: list[Row], variant: str = "") -> bytes:
    """Draw the measures of an experiment over the epochs, a panel a measure and a curve a case, as the bytes of a PNG.

    A curve is the mean over the seeds, its band their smallest and largest value; a dotted line at the right is what was
    published. A case without lines is left out, and so is an epoch in which a seed has no figure.

    Parameters
    ----------
    experiment : Experiment
    rows : list of Row
        See :func:`fasim.experiments.summary`.
    variant : str
        Whose rows these are, for the title.
    """
    from matplotlib.figure import Figure

    measured = [row for row in rows if row.lines]
    measures = list(dict.fromkeys(row.measure for row in measured)) or list(experiment.measures[:1])
    cases = list(dict.fromkeys(row.case for row in rows))
    looks = dict(zip(cases, itertools.cycle(itertools.product(STYLES, COLOURS + MORE_COLOURS)), strict=False))
    figure = Figure(figsize=(5.2 * len(measures) + 1.8, 4.6), layout="constrained")
    panels = figure.subplots(1, len(measures), squeeze=False)[0]
    for axes, measure in zip(panels, measures, strict=True):
        _panel(axes, measure, [row for row in measured if row.measure == measure], looks)
    names = {line.get_label(): line for axes in panels for line in axes.get_lines() if line.get_label() in cases}
    columns = math.ceil(len(names) / LEGEND_COLUMN)
    if names:
        figure.legend(names.values(), names.keys(), loc="outside right center", fontsize=7, ncols=columns, handlelength=3)
    figure.suptitle(f"{experiment.name}{f' ({variant})' if variant else ''}: {experiment.title}", fontsize=10)
    return png(figure)


def over_seeds(row: Row) -> Curve:
    """Return mean, smallest and largest value over the seeds after each epoch that all seeds have; NaN without a figure."""
    means, lows, highs = [], [], []
    for values in zip(*(curve_of(line, row.measure) for line in row.lines), strict=False):
        numbers = [value for value in values if value is not None]
        whole = numbers if len(numbers) == len(values) else [math.nan]
        means.append(sum(whole) / len(whole))
        lows.append(min(whole))
        highs.append(max(whole))
    return means, lows, highs


def _panel(axes: Axes, measure: str, rows: list[Row], looks: dict[str, tuple[str, str]]) -> None:
    from matplotlib.ticker import MaxNLocator

    for row in rows:
        (style, colour), (means, lows, highs) = looks[row.case], over_seeds(row)
        epochs = range(1, len(means) + 1)
        mark = "o" if len(means) == 1 else None
        axes.plot(epochs, means, style, color=colour, linewidth=1.3, marker=mark, label=row.case)
        axes.fill_between(epochs, lows, highs, color=colour, alpha=0.15, linewidth=0)
        if row.published.figure is not None:
            axes.axhline(row.published.figure, 0.93, color=colour, linestyle=":", linewidth=1.6)
    numbers = [value for row in rows for value in over_seeds(row)[0] if math.isfinite(value)]
    if measure.endswith(("error", "loss")) and numbers and 0 < DECADES * min(numbers) < max(numbers):
        axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(
        f"{measure.replace('_', ' ')} ({MEASURES[measure]})" if MEASURES[measure] else measure.replace("_", " ")
    )
    axes.grid(visible=True, linewidth=0.3, alpha=0.6)
