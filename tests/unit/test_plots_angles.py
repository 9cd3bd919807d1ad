"""The picture of angles over the epochs."""

from __future__ import annotations

import io

import pytest
from matplotlib import image

from fasim.diagnostics import Diagnostics
from fasim.errors import OutputError
from fasim.plots_angles import _colours, _lines, angles_over_epochs, draw_angles
from fasim.schedule import StepSettings
from fasim.training import train

SIZE = (616, 1540)  # 4.4 x 11 inches of 140 dots


def record(epoch: int, layers: int, mean: float | None = 80.0) -> dict:
    angles = [
        {"kind": kind, "layer": layer, "mean": mean, "std": 1.0, "samples": 3, "skipped": 0}
        for kind in ("global", "local")
        for layer in range(1, layers + 1)
    ]
    return {"epoch": epoch, "angles": angles, "weight_angles": [], "readout_angles": []}


def pixels(png: bytes):
    return image.imread(io.BytesIO(png), format="png")


def test_a_run_is_drawn(tmp_path) -> None:
    from fasim.data import load

    watch = Diagnostics(load("digits"), count=20)
    train("64-9-8-10", "digits", rule="dfa", epochs=1, settings=StepSettings(32), after_epoch=watch)
    path = tmp_path / "angles.png"
    draw_angles(watch.records, path, "a run")
    assert path.read_bytes() == angles_over_epochs(watch.records, "a run")
    assert pixels(path.read_bytes()).shape[:2] == SIZE
    assert path.read_bytes() != angles_over_epochs(watch.records[:1], "a run")


@pytest.mark.parametrize("layers", [0, 1, 3, 40])
def test_any_number_of_layers(layers: int) -> None:
    assert pixels(angles_over_epochs([record(0, layers), record(1, layers, None)])).shape[:2] == SIZE


def test_lines_keep_gaps_and_kinds() -> None:
    records = [record(0, 2), record(2, 2, None)]
    records[0]["angles"][0]["mean"] = 11.0
    found = _lines(records, "angles", "mean", "global")
    assert found[1][0] == (0, 11.0)
    assert found[2][0] == (0, 80.0)
    assert [epoch for epoch, _ in found[1]] == [0, 2]
    assert found[1][1][1] != found[1][1][1]  # not a number


def test_every_layer_has_a_colour_of_its_own() -> None:
    for layers in (1, 7, 8, 60):
        colours = _colours(list(range(1, layers + 1)))
        assert len({str(colour) for colour in colours.values()}) == layers


def test_a_folder_that_is_not_there_is_refused(tmp_path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        draw_angles([record(0, 1)], tmp_path / "none" / "angles.png")
