"""Faults to plant where sweeps meet configurations, locks and the limits of memory."""

from __future__ import annotations

from planted import Mutant

CONFIGS = "tests/cli/test_sweep_configs.py"

MUTANTS = (
    Mutant(
        "the configuration of a point forgets its sparsity",
        "fasim/sweep/as_training.py",
        '"feedback": feedback_of(settings)}',
        '"feedback": settings["feedback"]}',
        f"{CONFIGS}::test_the_configuration_of_a_point_repeats_it_to_the_bit",
    ),
    Mutant(
        "the configuration of a point names no file that it rests on",
        "fasim/sweep/as_training.py",
        "if Path(settings[key]).is_absolute()]",
        'if settings[key] == ""]',
        f"{CONFIGS}::test_the_configuration_of_a_point_repeats_it_to_the_bit",
    ),
    Mutant(
        "train trains on what it holds out too",
        "fasim/cli_train.py",
        "data, held_out = split(data,",
        "_, held_out = split(data,",
        f"{CONFIGS}::test_the_configuration_of_a_point_repeats_it_to_the_bit",
    ),
    Mutant(
        "two sweeps work in one folder",
        "fasim/cli_sweep.py",
        "ResultFolder(folder.path, alone=True)",
        "ResultFolder(folder.path)",
        f"{CONFIGS}::test_a_folder_is_of_one_sweep_at_a_time",
    ),
    Mutant(
        "what a search has found still holds samples out",
        "fasim/sweep/search.py",
        '| {"validation": 0.0, "seed": search.seeds[0]}',
        '| {"seed": search.seeds[0]}',
        f"{CONFIGS}::test_a_search_leaves_a_configuration_for_each_best",
    ),
    Mutant(
        "a point without memory is a fault of ours",
        "fasim/sweep/engine.py",
        "except MemoryError as error:",
        "except BufferError as error:",
        f"{CONFIGS}::test_a_worker_without_memory_loses_its_point_and_no_other[0]",
    ),
    Mutant(
        "a point takes its name before its files are whole",
        "fasim/sweep/folders.py",
        "            part.mkdir()\n",
        "            part = target\n            part.mkdir()\n",
        "tests/cli/test_kills.py::test_while_a_file_is_written[sweep-4]",
    ),
)
