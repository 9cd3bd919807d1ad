"""The pictures of a sweep: accuracy against energy with the groups that nothing beats, and parallel coordinates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fasim import rules
from fasim.plots import COLOURS, MARKERS, MORE_COLOURS, png
from fasim.sweep import Group
from fasim.sweep.point import shown
from fasim.sweep.summary import quality

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def rule_colours() -> dict[str, str]:
    """Return the colour of every rule, the same in all pictures."""
    return dict(zip(rules.names(), itertools.cycle(COLOURS + MORE_COLOURS), strict=False))


def figure_label(groups: Sequence[Group]) -> str:
    """Return what the groups are compared by, for an axis."""
    if all(each.accuracy is not None for each in groups):
        return "test accuracy (%)"
    return f"test loss ({', '.join(sorted({each.settings['loss'] for each in groups}))})"


def height(each: Group) -> float | None:
    """Return the figure of a group on that axis: accuracy in %, without labels the loss."""
    value = quality(each)
    return None if value is None else 100 * value if each.accuracy is not None else -value


def pareto_picture(title: str, groups: Sequence[Group], front: Sequence[int]) -> bytes:
    """Draw every group by its energy and accuracy, and a staircase through those that no other beats.

    Colour is the rule, marker the datapath; vertical bars are one standard deviation over the seeds, horizontal ones go
    from the low to the high constants of the processor. Up (of a loss: down) and to the left is better.

    Parameters
    ----------
    title : str
    groups : sequence of Group
    front : sequence of int
        From :func:`fasim.sweep.pareto`.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(9, 5.4), layout="constrained")
    axes = figure.subplots()
    colours = rule_colours()
    datapaths = list(dict.fromkeys(each.settings["datapath"] for each in groups))
    markers = dict(zip(datapaths, itertools.cycle(MARKERS), strict=False))
    steps = [(groups[place].energy_pj / 1e3, height(groups[place])) for place in front]
    if steps:
        energies, heights = zip(*steps, strict=True)
        axes.step(energies, heights, where="post", color="#888888", linewidth=1.2, zorder=1, label="front")
    for each in groups:
        _dot(axes, each, colours[each.settings["rule"]], markers[each.settings["datapath"]])
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("energy per training sample (nJ); thin bars: low to high constants")
    axes.set_ylabel(f"{figure_label(groups)}; bars: one standard deviation")
    axes.set_title(f"{title}\ngrey: no other is at least as good for less energy", fontsize=11)
    axes.grid(visible=True, which="both", linewidth=0.3, alpha=0.6)
    named = list(dict.fromkeys(each.settings["rule"] for each in groups))
    rule_keys = [Line2D([], [], color=colours[name], marker="o", linestyle="", label=name) for name in named]
    data_keys = [Line2D([], [], color="#555555", marker=markers[name], linestyle="", label=name) for name in datapaths]
    first = axes.legend(handles=rule_keys, title="learning rule", loc="upper left", bbox_to_anchor=(1.01, 1.0))
    axes.add_artist(first)
    first.set_clip_on(False)  # else the layout leaves no room for it
    axes.legend(handles=data_keys, title="datapath", loc="lower left", bbox_to_anchor=(1.01, 0.0))
    return png(figure)


def _dot(axes: Axes, each: Group, colour: str, marker: str) -> None:
    y, energy = height(each), each.figures["energy_pj_per_sample"]
    if y is None:
        return
    x = energy["typical"] / 1e3
    name, unit = ("test_accuracy_std", 100) if each.accuracy is not None else ("test_loss_std", 1)
    spread = [[x - energy["low"] / 1e3], [energy["high"] / 1e3 - x]]
    axes.errorbar(x, y, xerr=spread, fmt="none", ecolor=colour, elinewidth=0.5, alpha=0.25)
    axes.errorbar(x, y, yerr=unit * (each.figures[name] or 0), fmt="none", ecolor=colour, elinewidth=1.2, capsize=2)
    face, edge = ("white", colour) if each.figures["diverged_seeds"] else (colour, "white")
    axes.plot(x, y, marker, markersize=7, markerfacecolor=face, markeredgecolor=edge)


def parallel_picture(title: str, groups: Sequence[Group], columns: Sequence[str]) -> bytes:
    """Draw parallel coordinates: an axis for each setting that varies, for energy and for accuracy; a line a group.

    Lines are darker the better they are. Numbers that are all positive and reach over a decade have a logarithmic axis;
    texts stand in the order in which they first come.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    drawn = [each for each in groups if height(each) is not None]
    lines = [
        [*(each.settings[key] for key in columns), each.energy_pj / 1e3, height(each)]
        for each in sorted(drawn, key=lambda each: quality(each) or 0.0)
    ]
    names = [*(key.replace("_", " ") for key in columns), "energy (nJ)", figure_label(groups)]
    scales = [_scale([line[place] for line in lines]) for place in range(len(names))]
    figure = Figure(figsize=(1.8 * len(names) + 1.5, 4.8), layout="constrained")
    axes = figure.subplots()
    shades = colormaps["viridis_r"]
    for rank, line in enumerate(lines):
        heights = [scale[1](value) for scale, value in zip(scales, line, strict=True)]
        axes.plot(range(len(names)), heights, color=shades(rank / max(1, len(lines) - 1)), linewidth=1.1, alpha=0.8)
    for place, (ticks, where) in enumerate(scales):
        axes.axvline(place, color="#444444", linewidth=0.8)
        for value in ticks:
            axes.annotate(
                shown(value), (place, where(value)), xytext=(3, 0), textcoords="offset points", fontsize=7, va="center"
            )
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.set_yticks([])
    axes.set_xlim(-0.2, len(names) - 0.5)
    axes.set_title(f"{title}\ndark lines: best {figure_label(groups)}", fontsize=11)
    for side in axes.spines.values():
        side.set_visible(False)
    return png(figure)


def _scale(values: list[Any]) -> tuple[list[Any], Any]:
    """Return the ticks of an axis, and the function from a value to its height 0..1."""
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values) and len(set(values)) > 1:
        low, high = min(values), max(values)
        if low > 0 and high > 10 * low:
            return [low, math.sqrt(low * high), high], lambda value: math.log(value / low) / math.log(high / low)
        return [low, (low + high) / 2, high], lambda value: (value - low) / (high - low)
    known = list(dict.fromkeys(values))
    places = {value: 0.5 if len(known) == 1 else place / (len(known) - 1) for place, value in enumerate(known)}
    return known, places.__getitem__
