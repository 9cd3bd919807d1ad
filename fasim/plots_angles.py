"""The picture of a run's diagnostics: angles to backpropagation, and those of the feedback itself, over the epochs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fasim.files import write_whole
from fasim.plots import COLOURS, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Records = list[dict[str, Any]]

RIGHT_ANGLE = 90
LABELS = 8  # layers named in a legend


def draw_angles(records: Records, path: Path, title: str = "") -> None:
    """Write the picture of the diagnostics of a run as a PNG, whole or not at all.

    Parameters
    ----------
    records : list of dict
        Of :class:`fasim.diagnostics.Diagnostics`.
    path : Path
    title : str

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    write_whole(path, angles_over_epochs(records, title))


def angles_over_epochs(records: Records, title: str = "") -> bytes:
    """Draw angles over the epochs, one colour a layer, and return the bytes of a PNG.

    Left: deltas of the rule against those of backpropagation, through the whole network (solid) and from the rule's own
    delta one layer above (dashed). Right: feedback against the weights that it stands for (solid), and what it reads out
    against the logits (dashed). Below 90 degrees a signal points the same way.

    Parameters
    ----------
    records : list of dict
        Of :class:`fasim.diagnostics.Diagnostics`.
    title : str
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    deltas = {kind: _lines(records, "angles", "mean", kind) for kind in ("global", "local")}
    weights, readouts = _lines(records, "weight_angles", "angle"), _lines(records, "readout_angles", "mean")
    layers = sorted({layer for lines in (*deltas.values(), weights, readouts) for layer in lines})
    colours = _colours(layers)
    _panel(left, "deltas to backpropagation", "global", deltas["global"], "local", deltas["local"], colours)
    _panel(right, "feedback", "to weights", weights, "read-out to logits", readouts, colours)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(title)
    return png(figure)


def _lines(records: Records, name: str, figure: str, kind: str = "") -> dict[int, list[tuple[int, float]]]:
    """Return epochs and degrees by layer; a figure that is None leaves a gap."""
    found: dict[int, list[tuple[int, float]]] = {}
    for record in records:
        for entry in record[name]:
            if kind in ("", entry.get("kind")):
                degrees = math.nan if entry[figure] is None else entry[figure]
                found.setdefault(entry["layer"], []).append((record["epoch"], degrees))
    return found


def _colours(layers: list[int]) -> dict[int, Any]:
    """Return a colour for each layer: of the palette as long as it lasts, else along a scale from bottom to top."""
    if len(layers) < len(COLOURS):
        return dict(zip(layers, COLOURS[1:], strict=False))
    import matplotlib as mpl

    scale = mpl.colormaps["viridis"]
    return {layer: scale(0.9 * index / (len(layers) - 1)) for index, layer in enumerate(layers)}


def _panel(
    axes: Axes,
    what: str,
    solid_name: str,
    solid: dict[int, list[tuple[int, float]]],
    dashed_name: str,
    dashed: dict[int, list[tuple[int, float]]],
    colours: dict[int, Any],
) -> None:
    """Draw solid and dashed lines by layer, with the line of 90 degrees and a legend."""
    from matplotlib.lines import Line2D

    axes.axhline(RIGHT_ANGLE, color="#999999", linewidth=1, linestyle=":")
    for lines, style in ((solid, "o-"), (dashed, "s--")):
        for layer, points in lines.items():
            epochs, degrees = zip(*points, strict=True)
            axes.plot(epochs, degrees, style, color=colours[layer], markersize=3.5, linewidth=1.3)
    axes.set_ylabel("degrees")
    axes.set_ylim(bottom=0)
    axes.set_title(f"angle of {what}", fontsize=10)
    axes.grid(visible=True, linewidth=0.3, alpha=0.6)
    layers = sorted(solid.keys() | dashed.keys())
    if not layers:
        axes.text(0.5, 0.3, "none in this run", ha="center", transform=axes.transAxes)
        return
    step = math.ceil(len(layers) / LABELS)
    handles = [Line2D([], [], color=colours[layer], label=f"layer {layer}") for layer in layers[::step]]
    if solid:
        handles.append(Line2D([], [], color="#555555", marker="o", markersize=3.5, label=solid_name))
    if dashed:
        handles.append(Line2D([], [], color="#555555", linestyle="--", marker="s", markersize=3.5, label=dashed_name))
    axes.legend(handles=handles, fontsize=7, handlelength=3.5)
