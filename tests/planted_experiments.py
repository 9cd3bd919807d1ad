"""Faults to plant in the papers' experiments: reading, running, and published against measured."""

from __future__ import annotations

from planted import Mutant

FILES = "tests/unit/test_experiments.py"
SUMMARY = "tests/unit/test_experiment_summary.py"
LINES = "tests/unit/test_result_lines.py"

MUTANTS = (
    Mutant(
        "a table of cells is read from right to left",
        "fasim/experiments/document.py",
        "zip(names, entries, strict=True)",
        "zip(names, entries[::-1], strict=True)",
        f"{FILES}::test_cells_have_their_own_settings_and_figures",
    ),
    Mutant(
        "a variant yields to the settings that it is to replace",
        "fasim/experiments/experiment.py",
        "settings={**case.settings, **variant.settings}",
        "settings={**variant.settings, **case.settings}",
        f"{FILES}::test_a_variant_replaces_settings_and_is_held_against_the_papers_figures",
    ),
    Mutant(
        "the band of a published figure is the narrower of the two",
        "fasim/experiments/experiment.py",
        "reach = max(POINTS,",
        "reach = min(POINTS,",
        f"{FILES}::test_band_is_three_deviations_and_at_least_three_tenths_of_a_point",
    ),
    Mutant(
        "lines of other settings count as those of a case",
        "fasim/experiments/summary.py",
        "bool(run == cell) and",
        "bool(run) and",
        f"{SUMMARY}::test_lines_of_other_settings_do_not_count",
    ),
    Mutant(
        "a short run averages over as many epochs as the paper",
        "fasim/experiments/summary.py",
        " * min(longest, paper) / paper",
        "",
        f"{SUMMARY}::test_a_short_run_averages_over_as_small_a_share_and_is_called_short",
    ),
    Mutant(
        "seeds that diverged are left out of the verdict",
        "fasim/experiments/summary.py",
        "len(self.values) == len(self.seeds) and band[0]",
        "band[0]",
        f"{SUMMARY}::test_a_diverged_run_is_counted_and_not_reproduced",
    ),
    Mutant(
        "half a line stays in the file when the disk is full",
        "fasim/result_lines.py",
        "                except OSError:\n                    os.ftruncate(file, size)\n",
        "                except OSError:\n",
        f"{LINES}::test_a_full_disk_leaves_the_lines_that_were_there",
    ),
    Mutant(
        "a file system without locks takes no lines",
        "fasim/result_lines.py",
        "if error.errno not in NO_LOCKS:",
        "if error.errno:",
        "tests/cli/test_faults.py::test_a_file_system_without_locks_is_used_all_the_same",
    ),
    Mutant(
        "a cell that has its line is run again",
        "fasim/result_lines.py",
        "yield key(cell) not in done(path)",
        "yield True",
        f"{LINES}::test_a_cell_is_run_by_one_at_a_time_and_once",
    ),
    Mutant(
        "all cells of a file have one lock",
        "fasim/result_lines.py",
        "hashlib.sha256(key(cell).encode())",
        "hashlib.sha256(str(path).encode())",
        f"{LINES}::test_a_cell_is_run_by_one_at_a_time_and_once",
    ),
    Mutant(
        "a run that the paper's rule ended counts as short",
        "fasim/experiments/summary.py",
        "self.epochs < self.epochs_of and not self.stopped",
        "self.epochs < self.epochs_of",
        "tests/unit/test_report_experiments.py::test_runs_that_the_papers_rule_ended_are_whole",
    ),
    Mutant(
        "one run that the paper's rule ended speaks for all",
        "fasim/experiments/summary.py",
        'and all(line.get("stopped", False)',
        'and any(line.get("stopped", False)',
        "tests/unit/test_report_experiments.py::test_runs_that_the_papers_rule_ended_are_whole",
    ),
)
