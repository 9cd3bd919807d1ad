"""Faults to plant in sweeps, their report, the search and paired differences."""

from __future__ import annotations

from planted import Mutant

SWEEP = "tests/unit/test_sweep.py"
GRID = "tests/unit/test_sweep_grid.py"
TUNE = "tests/unit/test_tune.py"

MUTANTS = (
    Mutant(
        "a finished point is run again",
        "fasim/sweep/engine.py",
        "missing = [point for point in points if not folder.has(point.name)]",
        "missing = list(points)",
        f"{SWEEP}::test_every_point_has_a_whole_folder_and_is_never_run_twice",
    ),
    Mutant(
        "the hash of a point knows a datapath by its name alone",
        "fasim/sweep/point.py",
        'identity["datapath_toml"] = None if datapath is None else datapath.to_toml()',
        'identity["datapath_toml"] = None',
        f"{SWEEP}::test_a_file_counts_by_what_it_holds_not_by_where_it_lies",
    ),
    Mutant(
        "of two workers with one point the second replaces the first",
        "fasim/sweep/folders.py",
        "            part.rename(target)",
        "            shutil.rmtree(target, ignore_errors=True)\n            part.rename(target)",
        f"{SWEEP}::test_two_workers_with_one_point_leave_one_result",
    ),
    Mutant(
        "the validation split is trained on too",
        "fasim/sweep/running.py",
        "    run = train(\n        network,\n        used,",
        "    run = train(\n        network,\n        data,",
        f"{SWEEP}::test_a_validation_split_is_held_out_of_the_training_and_evaluated",
    ),
    Mutant(
        "a sample draws a combination twice",
        "fasim/sweep/grid.py",
        "random.choice(whole, count, replace=False)",
        "random.choice(whole, count)",
        f"{GRID}::test_a_sample_draws_combinations_once_each_and_runs_them_with_every_seed",
    ),
    Mutant(
        "the front keeps what another beats at the same energy",
        "fasim/sweep/summary.py",
        "key=lambda place: (groups[place].energy_pj, -(quality(groups[place]) or 0.0))",
        "key=lambda place: groups[place].energy_pj",
        f"{SWEEP}::test_the_front_holds_what_no_other_beats",
    ),
    Mutant(
        "the best is chosen by the test set",
        "fasim/sweep/search.py",
        't_interval([row["validation_accuracy"] for row in same])',
        't_interval([row["test_accuracy"] for row in same])',
        f"{TUNE}::test_the_best_has_the_highest_mean_on_the_validation_split_over_all_seeds",
    ),
    Mutant(
        "a best at the upper end of a range is not warned of",
        "fasim/sweep/search.py",
        "return not 1 / count < share < 1 - 1 / count",
        "return not 1 / count < share",
        f"{TUNE}::test_a_best_at_the_end_of_a_range_is_warned_of",
    ),
    Mutant(
        "the interval of a mean is that of a single value",
        "fasim/intervals.py",
        "stdev(values) / math.sqrt(len(values))",
        "stdev(values)",
        "tests/unit/test_intervals.py::test_it_holds_the_true_mean_as_often_as_it_says",
    ),
    Mutant(
        "differences are taken to the first rule on another datapath",
        "fasim/comparison.py",
        "(one.rule, one.datapath) == (first, row.datapath)",
        "one.rule == first",
        "tests/unit/test_comparison.py::test_differences_are_taken_seed_by_seed_to_the_first_rule_on_the_same_datapath",
    ),
)
