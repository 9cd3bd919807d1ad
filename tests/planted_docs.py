"""Faults to plant in what a newcomer meets first: rule files, the package that ships, the pages that show both."""

from __future__ import annotations

from planted import Mutant

RULE_FILE = "tests/cli/test_rule_file.py"

MUTANTS = (
    Mutant(
        "a rule file takes over a built-in name",
        "fasim/rules/__init__.py",
        "if rule.name in names():",
        "if False:",
        f"{RULE_FILE}::test_a_file_without_a_rule_is_refused_in_one_line",
    ),
    Mutant(
        "a name in a settings file runs code",
        "fasim/rules/__init__.py",
        "    if isinstance(name, Rule):\n        return name\n",
        "    if isinstance(name, Rule):\n        return name\n    if name.endswith('.py'):\n        return load(name)\n",
        f"{RULE_FILE}::test_only_what_is_typed_runs_a_file",
    ),
    Mutant(
        "an exported run takes any rule",
        "fasim/export/start.py",
        "if rule.name != rule_name:",
        "if False:",
        f"{RULE_FILE}::test_a_run_is_exported_and_resumed_with_its_file",
    ),
    Mutant(
        "rates go by the file's path",
        "fasim/comparison.py",
        "Replica(seed, rates[rule.name], datapath",
        "Replica(seed, rates[rules[0].name], datapath",
        f"{RULE_FILE}::test_compare_takes_a_file_beside_names",
    ),
)
