"""Bands of the committed ratio checks against chips, computed anew from the measured shares; what presets say of them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from fasim.energy import estimate, load_processor, names
from fasim.schedule import StepSettings

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import chips  # noqa: E402 - a script beside the results, not a package

LINES = chips.done(chips.RESULTS)
CHECKS = [cell for cell in chips.CELLS if cell.table != "measured"]


def line(table, chip):
    return LINES[chips.key(asdict(chips.Cell(table, chip)))]


@pytest.mark.parametrize("cell", chips.CELLS, ids=lambda cell: f"{cell.table}-{cell.chip}")
def test_every_check_has_its_line(cell):
    assert {"cell", "shown", "commit", "cpu", "versions"} <= set(line(cell.table, cell.chip))


@pytest.mark.parametrize("cell", CHECKS, ids=lambda cell: cell.chip)
def test_computing_anew_gives_the_same(cell):
    found = (
        chips.external(cell.chip) if cell.table == "external" else chips.learning(cell.chip, line("measured", cell.chip))
    )
    committed = line(cell.table, cell.chip)
    assert json.loads(json.dumps(found)) == {name: committed[name] for name in found}


@pytest.mark.parametrize("cell", CHECKS, ids=lambda cell: cell.chip)
def test_the_preset_says_what_the_check_found(cell):
    assert load_processor(cell.chip).validation == chips.validation(line(cell.table, cell.chip))


def test_published_ratios_are_those_of_the_presets():
    def claim(chip, what):
        return next(one.number.typical for one in load_processor(chip).claims if one.what.startswith(what))

    assert line("learning", "spoon")["published"] == pytest.approx(1 + claim("spoon", "power that learning adds") / 100)
    assert line("learning", "park_2020")["published"] == pytest.approx(1 + claim("park_2020", "energy that training") / 100)
    assert line("external", "df_lnpu")["published"] == pytest.approx(claim("df_lnpu", "external memory access") / 100)
    assert {cell.chip for cell in CHECKS} < set(names())


@pytest.mark.parametrize("chip", sorted(chips.LEARNERS))
def test_learning_each_sample_costs_more_than_published(chip):
    """Weights are read to infer, and read and written once more to learn: that is no overhead of a few percent."""
    found = line("learning", chip)
    assert 2 < found["dense"]["low"] <= found["dense"]["typical"] <= found["dense"]["high"] < 8
    assert found["published"] < 1.2


@pytest.mark.parametrize("chip", sorted(chips.LEARNERS))
def test_skipping_deltas_of_0_does_not_close_the_gap(chip):
    found = line("learning", chip)
    assert found["published"] < found["zero_deltas_skipped"]["low"] <= found["dense"]["low"]
    densities = line("measured", chip)["densities"]
    assert "error" in densities
    assert all(0 < share <= 1 for share in densities.values())


@pytest.mark.parametrize("chip", sorted(chips.LEARNERS))
def test_updates_of_wrong_samples_alone_are_of_the_published_size(chip):
    """Of the size alone: how the chips choose what they update is not known."""
    found = line("learning", chip)
    wrong = found["wrong_samples_alone"]
    assert 0.01 < wrong["share_at_published_accuracy"] < wrong["share_measured"] < 0.3
    assert wrong["at_published_accuracy"]["typical"] == pytest.approx(found["published"], abs=0.1)
    assert wrong["at_published_accuracy"]["typical"] < wrong["at_measured_share"]["typical"] < found["dense"]["typical"]
    assert found["share_needed"] == pytest.approx(wrong["share_at_published_accuracy"], abs=0.08)


def test_generated_feedback_saves_less_than_published_where_each_batch_updates():
    settings = StepSettings(batch_size=1, feedback=chips.GENERATED)
    made = estimate(chips.EXTERNAL_NETWORKS[0], "dfa", "s16", settings=settings, processor="generic_28nm")
    assert made.feedback_entries > 0
    assert made.feedback_bytes == 0
    found = line("external", "df_lnpu")
    assert 0 < found["whole_steps"]["low"] < found["whole_steps"]["high"] < found["published"]
    # without updates the saving depends on the network: half at most, for forward and backward read the same weights
    assert found["updates_left_out"]["low"] < found["published"] < found["updates_left_out"]["high"] <= 0.5
