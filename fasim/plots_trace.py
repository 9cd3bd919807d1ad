"""The picture of a trace: how full the format of each tensor is, and how much is cut off, over the epochs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fasim.fixedpoint import Fixed
from fasim.plots import png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Records = list[dict[str, Any]]

# epochs up to which a number in every cell can be read
NUMBERED = 20


def trace_over_epochs(records: Records, title: str = "") -> bytes:
    """Draw tensors as rows and epochs as columns, and return the bytes of a PNG.

    In fixed point: left the bits that the values used, dark where the format is full; right the share of elements that
    saturated or wrapped, white where none did. In float32: left the largest binary exponent, right the share of zeros.

    Parameters
    ----------
    records : list of dict
        Of :class:`fasim.run_trace.TraceLog`: one a tensor and epoch.
    title : str
    """
    from matplotlib.figure import Figure

    fixed = any(record["format"] for record in records)
    rows = {record["name"]: record for record in records if not fixed or record["format"]}
    epochs = sorted({record["epoch"] for record in records})
    at = {(record["name"], record["epoch"]): record for record in records}

    def grid(figure: Any) -> np.ndarray:  # noqa: ANN401 - a function of a record
        return np.array(
            [[figure(at[name, epoch]) if (name, epoch) in at else math.nan for epoch in epochs] for name in rows],
            np.float64,
        )

    figure = Figure(figsize=(min(16, 8 + 0.35 * len(epochs)), 1.8 + 0.24 * len(rows)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    if fixed:
        used = grid(lambda record: record["used_bits"])
        free = grid(lambda record: Fixed.parse(record["format"]).bits - record["used_bits"])
        _panel(left, -free, used, "used bits (darker: fewer bits of the format left free)", "Blues", epochs)
        cut = grid(lambda record: (record["saturations"] + record["wraps"]) / record["elements"])
        shown = np.log10(np.where(cut > 0, cut, math.nan))
        _panel(right, shown, 100 * cut, "saturated or wrapped (%)", "Reds", epochs, limits=(-6, 0), hide_zero=True)
    else:
        largest = grid(lambda record: max((int(e) for e in record["exponents"]), default=math.nan))
        _panel(left, largest, largest, "largest binary exponent", "Blues", epochs)
        zeros = grid(lambda record: record["zero_fraction"])
        shown = np.where(zeros > 0, zeros, math.nan)
        _panel(right, shown, 100 * zeros, "zeros (%)", "Reds", epochs, limits=(0, 1), hide_zero=True)
    labels = [f"{name}  {record['format']}" if fixed else name for name, record in rows.items()]
    left.set_yticks(range(len(rows)), labels, fontsize=8)
    figure.suptitle(title, fontsize=11)
    return png(figure)


def _panel(
    axes: Axes,
    colours: np.ndarray,
    numbers: np.ndarray,
    what: str,
    scale: str,
    epochs: list[int],
    *,
    limits: tuple[float, float] | None = None,
    hide_zero: bool = False,
) -> None:
    """Draw a grid of coloured cells; with few epochs each cell shows its number."""
    low, high = limits or _limits(colours)
    axes.imshow(colours, aspect="auto", cmap=scale, vmin=low, vmax=high + 0.35 * (high - low), interpolation="nearest")
    axes.set_title(what, fontsize=10)
    axes.set_xlabel("epoch")
    step = max(1, math.ceil(len(epochs) / NUMBERED))
    axes.set_xticks(range(0, len(epochs), step), [str(epoch) for epoch in epochs[::step]])
    if len(epochs) > NUMBERED:
        return
    for row, column in np.ndindex(*numbers.shape):
        number = numbers[row, column]
        if math.isfinite(number) and (number or not hide_zero):
            axes.text(column, row, f"{number:.2g}", ha="center", va="center", fontsize=7)


def _limits(colours: np.ndarray) -> tuple[float, float]:
    """Return the range of the finite numbers, at least 1 wide."""
    finite = colours[np.isfinite(colours)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return low, max(high, low + 1)
