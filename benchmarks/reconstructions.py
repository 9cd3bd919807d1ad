"""Draw the auto-encoders of table 003-E3.

``docs/reconstructions.png``: ten test images and what each rule gives back of them; ``docs/hidden-units.png``: the weights
of each rule's first ten hidden units.

Trains the five rules with seed 0 anew, about a minute each on one core; MNIST must be in ``FASIM_DATA``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fasim.experiments import load_experiment, train_case
from fasim.experiments.running import data_of
from fasim.files import write_whole
from fasim.plots import png
from fasim.prediction import predict

DOCS = Path(__file__).parents[1] / "docs"
SHOWN = 10
# a tenth of the paper's, as the lines that the page shows
EPOCHS = 10


def grid(rows: Mapping[str, np.ndarray], shape: tuple[int, int], **style: object) -> bytes:
    """Return a picture with a named row of images (SHOWN, H W) for each entry."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.8 * SHOWN, 0.85 * len(rows)), layout="constrained")
    for axes, (name, images) in zip(figure.subplots(len(rows), SHOWN, squeeze=False), rows.items(), strict=True):
        for place, image in zip(axes, images.reshape(-1, *shape), strict=True):
            place.imshow(image, **style)
            place.set_xticks([])
            place.set_yticks([])
        axes[0].set_ylabel(name, fontsize=8)
    return png(figure)


def main() -> None:
    """Train, and draw both pictures."""
    cases = load_experiment("003-E3").select("128 *")
    data = data_of(cases[0].value("data"), cases[0].value("standardise"), 0)
    outputs, weights = {"input": data.values(data.x_test[:SHOWN])}, {}
    for case in cases:
        rule, run = case.value("rule"), train_case(case, 0, epochs=EPOCHS)
        outputs[rule] = np.clip(predict(run, data, data.x_test[:SHOWN]), 0.0, 1.0)
        units = run.state["weight.1"][:SHOWN]
        weights[rule] = units / np.abs(units).max(1, keepdims=True)
    height, width = data.shape[:2]
    write_whole(DOCS / "reconstructions.png", grid(outputs, (height, width), cmap="gray", vmin=0.0, vmax=1.0))
    write_whole(DOCS / "hidden-units.png", grid(weights, (height, width), cmap="RdBu_r", vmin=-1.0, vmax=1.0))


if __name__ == "__main__":
    main()
