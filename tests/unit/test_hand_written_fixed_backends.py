"""Fixed point to the bit: the interpreter of schedules against the integer reference, every tensor and every site."""

from __future__ import annotations

from pathlib import Path

import pytest

from fasim.errors import FasimError
from tests import fixed_cases
from tests.fixed_bridge import Case, compare

ALL = [
    pytest.param(case, id=f"{group}-{number}-{case.rule}-{case.net}")
    for group in ("of_every_rule", "of_layers", "of_feedback", "of_accumulators", "of_casts", "of_tables")
    for number, case in enumerate(getattr(fixed_cases, group)())
]
RANDOM = [
    pytest.param(case, id=f"{number}-{case.rule}-{case.net}") for number, case in enumerate(fixed_cases.at_random(120))
]


def _compared(case: Case, folder: Path) -> dict[str, tuple[int, int]]:
    try:
        return compare(case, folder)
    except FasimError as refused:
        pytest.skip(str(refused))


@pytest.mark.parametrize("case", ALL)
def test_interpreter_is_the_reference(case: Case, tmp_path: Path) -> None:
    """Each rule, layer, option and table."""
    assert _compared(case, tmp_path)


@pytest.mark.parametrize("case", RANDOM)
def test_random_cases(case: Case, tmp_path: Path) -> None:
    """Options that no list brings together."""
    assert _compared(case, tmp_path)
