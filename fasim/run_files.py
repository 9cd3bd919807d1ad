"""The files of one training run: figures, learning curves, angles, reconstructions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fasim import plots, plots_angles, plots_images
from fasim.data import Data
from fasim.diagnostics import Diagnostics
from fasim.errors import DataError
from fasim.files import parse_json, write_json, write_whole
from fasim.prediction import predict
from fasim.report import as_csv, provenance
from fasim.training import Run

ANGLES = "angles.jsonl"


class Watch:
    """Measures angles after every epoch and writes them at once, one JSON object a line; for ``train(after_epoch=...)``.

    Parameters
    ----------
    data : Data
    folder : Path
    resume : bool
        Go on with the lines that are in the folder.

    Raises
    ------
    DataError
        If those lines cannot be read.
    """

    def __init__(self, data: Data, folder: Path, *, resume: bool = False) -> None:
        self.path = folder / ANGLES
        self.diagnostics = Diagnostics(data, records=self._lines() if resume and self.path.exists() else None)

    def __call__(self, run: Run) -> None:
        """Measure and write the epoch that a run has just finished."""
        self.diagnostics(run)
        write_whole(self.path, self.diagnostics.json_lines().encode())

    def _lines(self) -> list[dict[str, Any]]:
        try:
            records = [parse_json(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
            _ = [record["epoch"] for record in records]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self.path}: damaged ({error}); delete this file to go on without its angles") from error
        return records


def title(run: Run, data: Data) -> str:
    """Return the title of a run's pictures."""
    return f"{run.schedule.rule} on {run.schedule.datapath}: {data.name}, {run.network}, seed {run.seed}"


def write(
    run: Run,
    content: dict[str, Any],
    folder: Path,
    data: Data,
    *,
    datapath: str = "float32",
    backend: str = "cpu",
    watch: Watch | None = None,
    finished: bool = True,
) -> list[Path]:
    """Write ``summary.json``, ``epochs.csv`` and the pictures of a run, each whole or not at all; return the pictures.

    These are ``learning_curves.png``; ``angles.png`` if angles were measured; ``reconstructions.png`` of an auto-encoder of
    images, unless the run was stopped within an epoch.
    """
    named = title(run, data)
    write_json(folder / "summary.json", content | provenance())
    write_whole(folder / "epochs.csv", as_csv(content["epochs"]))
    pictures = {"learning_curves.png": plots.learning_curves(run, data.name)}
    if watch is not None and watch.diagnostics.records:
        pictures["angles.png"] = plots_angles.angles_over_epochs(watch.diagnostics.records, named)
    if run.settings.target == "input" and finished and plots_images.can_be_shown(data.shape):
        outputs = predict(run, data, data.x_test, datapath=datapath, backend=backend)
        pictures["reconstructions.png"] = plots_images.reconstructions(data.values(data.x_test), outputs, data.shape, named)
    for name, picture in pictures.items():
        write_whole(folder / name, picture)
    return [folder / name for name in pictures]
