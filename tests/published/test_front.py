"""What the committed lines of `benchmarks/front.py` must say; the runs themselves take hours."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fasim import estimate, rules
from fasim.errors import ConfigError
from fasim.fixedpoint import Fixed, load_datapath

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import front  # noqa: E402 - scripts beside the results, not a package
import render_front  # noqa: E402

LINES = list(front.done(front.RESULTS).values())


def of_table(table):
    return [line for line in LINES if line["cell"]["table"] == table]


def test_every_line_is_of_a_cell_of_today():
    known = {front.key_of(cell) for cell in front.cells()}
    assert {front.key(line["cell"]) for line in LINES} <= known


@pytest.mark.parametrize("table", list(front.TASKS))
def test_a_rule_runs_with_every_kind_of_feedback_that_it_can_have(table):
    task = front.TASKS[table]
    network = front.network_of(task)
    for rule in set(task.rules) - {"bp", *task.learned}:
        for kind in front.KINDS:
            for datapath in front.DATAPATHS:
                step = rule, front.settings_of(task, kind), front.datapath_of(task, datapath)
                if kind in front.kinds_of(task, rule):
                    rules.training_step(network, *step)
                else:
                    with pytest.raises(ConfigError, match="is not defined"):
                        rules.training_step(network, *step)


def test_a_normalised_network_has_points_for_its_sums_and_no_other_is_touched():
    """Up to 4 behind the normalisation, up to 32 before it; 8-bit deltas up to a quarter."""
    for name, act, delta in (("s8", Fixed(8, 5), Fixed(8, 9)), ("s16", Fixed(16, 13), Fixed(16, 15))):
        found = front.datapath_of(front.TASKS["cifar10"], name)
        assert (found.act.format, found.delta.format) == (act, delta)
        assert (found.preact.format, found.norm) == (Fixed(12, 6), Fixed(16, 12))
        assert front.datapath_of(front.TASKS["mnist"], name) == load_datapath(name)
    assert front.datapath_of(front.TASKS["cifar10"], "float32") is None


def test_no_seed_of_a_table_has_chosen_its_learning_rates():
    for name, task in front.TASKS.items():
        assert front.RATES_SEED not in range(task.seeds)
        assert {line["cell"]["seed"] for line in of_table(f"{name}-rates")} <= {front.RATES_SEED}


@pytest.mark.parametrize("table", list(front.TASKS))
def test_energy_of_the_lines_is_what_is_estimated_today(table):
    """One seed of each: the estimate knows no seed."""
    task = front.TASKS[table]
    network = front.network_of(task)
    first = {tuple(line["cell"][name] for name in ("rule", "feedback", "datapath")): line for line in of_table(table)}
    for (rule, kind, datapath), line in first.items():
        on, settings = front.datapath_of(task, datapath), front.settings_of(task, kind)
        found = estimate(network, rule, on, settings=settings).as_dict()
        assert line["energy_pj_per_sample"] == pytest.approx(found["energy_pj_per_sample"], rel=1e-9)
        assert line["peak_live_bytes"] == found["peak_live_bytes"]
        assert line["feedback_bytes"] == found["feedback_bytes"]


def test_the_front_holds_what_nothing_else_beats():
    found = render_front.points("mnist")
    best = render_front.front(found)
    assert len(best) >= 2
    for point in found:
        if point.energy_to_target_pj is None:
            continue
        better = [one for one in best if one.energy_to_target_pj <= point.energy_to_target_pj and one.error <= point.error]
        assert better
        assert (point in best) == (better == [point])
