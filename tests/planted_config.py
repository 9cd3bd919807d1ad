"""Faults to plant in configurations, in what is left by a kill, and in what holds hostile files off."""

from __future__ import annotations

from planted import Mutant

CONFIG, FAULTS = "tests/cli/test_cli_config.py", "tests/cli/test_faults.py"
HOSTILE = "tests/property/test_hostile_files.py"

MUTANTS = (
    Mutant(
        "a saved configuration takes a file that has changed since",
        "fasim/config.py",
        "if _digest(name) != digest:",
        "if not _digest(name):",
        f"{CONFIG}::test_a_saved_configuration_repeats_its_run_to_the_bit",
    ),
    Mutant(
        "a configuration of another command is taken",
        "fasim/cli_config.py",
        'if found.command not in ("", name):',
        "if not name:",
        f"{CONFIG}::test_what_a_file_may_not_say",
    ),
    Mutant(
        "a lock counts though its file has been taken away",
        "fasim/locks.py",
        "if not _is_still_there(self._file, self.path):",
        "if self._file < 0:",
        f"{FAULTS}::test_a_lock_that_was_taken_away_meanwhile_is_none",
    ),
    Mutant(
        "a write that Ctrl-C ends leaves its part",
        "fasim/files.py",
        "    except BaseException as error:\n        with contextlib",
        "    except OSError as error:\n        with contextlib",
        f"{FAULTS}::test_ctrl_c_within_a_write_leaves_no_half_file",
    ),
    Mutant(
        "what a killed run left half-written stays",
        "fasim/files.py",
        'self.path.glob(f".*{PART}")',
        'self.path.glob("*.none")',
        f"{FAULTS}::test_a_folder_belongs_to_one_process_until_that_is_killed",
    ),
    Mutant(
        "a second Ctrl-C says that nothing had finished",
        "fasim/cli_groups.py",
        "if STOPPED in ctx.meta else NOTHING_FINISHED",
        "if not ctx.meta else NOTHING_FINISHED",
        f"{FAULTS}::test_a_second_ctrl_c_while_files_are_written",
    ),
    Mutant(
        "the lines of a repeated epoch stand twice",
        "fasim/diagnostics/collection.py",
        'if record["epoch"] != len(run.epochs)]',
        'if record["epoch"] <= len(run.epochs)]',
        "tests/cli/test_kills.py::test_while_a_file_is_written[watch-10]",
    ),
    Mutant(
        "an array may claim more than is stored",
        "fasim/arrays.py",
        "header.claimed != info.file_size or header.claimed > most(archive, info)",
        "header.claimed < 0",
        f"{HOSTILE}::test_an_array_that_claims_more_than_it_holds",
    ),
    Mutant(
        "arrays of objects are read",
        "fasim/arrays.py",
        "if header.dtype.hasobject:",
        "if header.dtype.names:",
        f"{HOSTILE}::test_nothing_is_unpickled",
    ),
)
