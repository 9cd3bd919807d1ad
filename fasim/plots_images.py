"""Pictures of what an auto-encoder makes of its inputs."""

from __future__ import annotations

import numpy as np

from fasim.plots import png

SHOWN = 10
CHANNELS = (1, 3)


def can_be_shown(shape: tuple[int, ...]) -> bool:
    """Return whether data of this shape are images, grey or RGB."""
    return len(shape) == 3 and shape[2] in CHANNELS


def reconstructions(inputs: np.ndarray, outputs: np.ndarray, shape: tuple[int, ...], title: str) -> bytes:
    """Draw the first inputs above their reconstructions, and the means of all: an output that only knows the mean shows it.

    Both rows have one scale, from the smallest to the largest input; what lies outside is clipped.

    Parameters
    ----------
    inputs, outputs : ndarray of float, shape (N, I)
        As the network reads and writes them.
    shape : tuple of int
        (H, W, C), see :func:`can_be_shown`.
    title : str

    Returns
    -------
    bytes
        A PNG.
    """
    from matplotlib.figure import Figure

    count = min(SHOWN, len(inputs))
    low, high = float(inputs.min()), float(inputs.max())
    figure = Figure(figsize=(0.9 * (count + 1), 2.5), layout="constrained")
    grid = figure.subplots(2, count + 1, squeeze=False)
    for row, values, name in zip(grid, (inputs, outputs), ("input", "output"), strict=True):
        with np.errstate(over="ignore", invalid="ignore"):
            images = np.concatenate([values[:count], values.mean(0, keepdims=True)]).reshape(-1, *shape)
        images = np.clip((np.nan_to_num(images, nan=low) - low) / ((high - low) or 1.0), 0.0, 1.0)
        for axes, image in zip(row, images, strict=True):
            axes.imshow(image if shape[2] == 3 else image[..., 0], cmap="gray", vmin=0.0, vmax=1.0)
            axes.set_xticks([])
            axes.set_yticks([])
        row[0].set_ylabel(name)
    grid[0, count].set_title("mean", fontsize=9)
    figure.suptitle(title, fontsize=10)
    return png(figure)
