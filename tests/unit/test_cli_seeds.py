"""How seeds are written on the command line."""

from __future__ import annotations

import pytest

from fasim.cli_read import seeds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0,1,2", [0, 1, 2]),
        ("7, 3", [7, 3]),
        ("0", [0]),
        ("1", [1]),
        ("256", list(range(256))),
        ("2", [0, 1]),
        ("5-7", [5, 6, 7]),
        ("4-4", [4]),
        ("9,0-2,5", [9, 0, 1, 2, 5]),
        ("7,7", [7, 7]),
    ],
)
def test_seeds(text: str, expected: list[int]) -> None:
    assert seeds(text) == expected
