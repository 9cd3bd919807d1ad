"""Matrices of Python integers and the named casts of one fixed-point step."""

from __future__ import annotations

from collections.abc import Callable
from operator import index
from typing import Any

from .integers import Fmt, cast, overflow_to, round_shift
from .philox import random_word

Matrix = list[list[int]]
Counts = dict[str, tuple[int, int]]


def to_ints(x: Any) -> Any:
    """Return nested lists of Python ints from nested lists or an array; None stays."""
    if x is None:
        return None
    x = x.tolist() if hasattr(x, "tolist") else x
    return [to_ints(row) for row in x] if isinstance(x, (list, tuple)) else index(x)


def multiply(left: Matrix, right: Matrix) -> Matrix:
    """Return the exact left @ right."""
    columns = list(zip(*right, strict=True))
    return [[sum(a * b for a, b in zip(row, c, strict=True)) for c in columns] for row in left]


def transposed(matrix: Matrix) -> Matrix:
    """Return the matrix with rows and columns exchanged."""
    return [list(column) for column in zip(*matrix, strict=True)]


def times(left: Matrix, right: Matrix) -> Matrix:
    """Return the element-wise product."""
    return [[a * b for a, b in zip(p, q, strict=True)] for p, q in zip(left, right, strict=True)]


class Sites:
    """The casts of one step: each by the rule of its site, each counted under its name."""

    def __init__(self, spec: dict[str, Any], seed: int, step: int) -> None:
        self.spec, self.seed, self.step = spec, seed, step
        self.counts: Counts = {}

    def _each(self, site: str, raw: Matrix, one: Callable[..., tuple[int, bool, bool]]) -> Matrix:
        mode, overflow = self.spec["cast"][site.split(".")[0]]
        saturations = wraps = position = 0
        result: Matrix = []
        for row in raw:
            result.append([])
            for x in row:
                word = 0
                if mode == "STOCH":
                    word = random_word(self.seed, site, self.step, position)
                value, saturated, wrapped = one(position, x, mode, overflow, word)
                result[-1].append(value)
                saturations, wraps = saturations + saturated, wraps + wrapped
                position += 1
        self.counts[site] = (saturations, wraps)
        return result

    def cast(self, site: str, raw: Matrix, from_frac: int, fmt: Fmt) -> Matrix:
        """Return the matrix in `fmt`."""
        return self._each(site, raw, lambda _, x, mode, over, word: cast(x, from_frac, fmt, mode, over, word))

    def update(self, site: str, old: Matrix, sums: Matrix, shift: int, fmt: Fmt) -> Matrix:
        """Return ``overflow(old - round(sums / 2^shift))``."""
        olds = [x for row in old for x in row]
        return self._each(
            site,
            sums,
            lambda position, x, mode, over, word: overflow_to(
                olds[position] - round_shift(x, shift, mode, word), fmt, over
            ),
        )
