"""Draw what the auto-encoders of table 003-E3 give back of ten test images: ``docs/reconstructions.png``.

Trains the five rules with seed 0 anew, about a minute each on one core; MNIST must be in ``FASIM_DATA``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fasim.experiments import load_experiment, train_case
from fasim.experiments.running import data_of
from fasim.files import write_whole
from fasim.plots import png
from fasim.prediction import predict

PICTURE = Path(__file__).parents[1] / "docs" / "reconstructions.png"
SHOWN = 10
# a tenth of the paper's, as the lines that the page shows
EPOCHS = 10


def main() -> None:
    """Train, and draw the first images of the test set over each rule's."""
    from matplotlib.figure import Figure

    cases = load_experiment("003-E3").select("128 *")
    data = data_of(cases[0].value("data"), cases[0].value("standardise"), 0)
    rows = {"input": data.values(data.x_test[:SHOWN])}
    for case in cases:
        rows[case.value("rule")] = predict(train_case(case, 0, epochs=EPOCHS), data, data.x_test[:SHOWN])
    figure = Figure(figsize=(0.8 * SHOWN, 0.85 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), SHOWN, squeeze=False)
    for axes, (name, images) in zip(grid, rows.items(), strict=True):
        for place, image in zip(axes, np.clip(images, 0.0, 1.0).reshape(-1, *data.shape[:2]), strict=True):
            place.imshow(image, cmap="gray", vmin=0.0, vmax=1.0)
            place.set_xticks([])
            place.set_yticks([])
        axes[0].set_ylabel(name, fontsize=8)
    write_whole(PICTURE, png(figure))


if __name__ == "__main__":
    main()
