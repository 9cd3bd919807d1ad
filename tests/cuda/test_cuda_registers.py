"""Sums in registers of limited width on the device, against single additions in Python integers."""

from __future__ import annotations

from typing import Any

import fasim_cuda as kernels
import numpy as np
import pytest

from fasim.scalar.constants import ASCENDING, LANES, TREE
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS
from tests.cuda_runs import check
from tests.fixed_statements import WRAPPING, brought, rounded

N, I, J = 2, 7, 3  # noqa: E741 - the letters of the docstrings
HI = 2**11 - 1
random = np.random.default_rng(5)
ACT, WEIGHT, DELTA = (random.integers(-128, 128, shape).astype(np.int8) for shape in ((N, I), (J, I), (N, J)))
BIAS = random.integers(-(2**9), 2**9, J).astype(np.int16)
ORDERS = {"ascending": (ASCENDING, 1), "lanes": (LANES, 3), "tree": (TREE, 2), "more lanes than terms": (LANES, 9)}


def register(pairs: list[tuple[int, int]], start: int, given: tuple[int, str, str, bool, int, int]) -> tuple[int, int]:
    """State a register: its last number and how often it left its range."""
    shift, rounding, mode, every_mac, order, lanes = given
    lo = -HI if mode == "SAT_SYM" else -HI - 1
    events = 0

    def into(value: int) -> int:
        nonlocal events
        inside, was = brought(value, lo, HI, mode)
        events += was
        return inside

    terms = [rounded(x * y, shift, rounding) for x, y in pairs]
    if not every_mac:
        return into(start + sum(terms)), events
    total = into(start)
    if order == TREE:
        for first in range(0, len(terms), lanes):
            total = into(total + sum(terms[first : first + lanes]))
        return total, events
    parts = [total] + [0] * (lanes - 1)
    for k, term in enumerate(terms):
        parts[k % lanes] = into(parts[k % lanes] + term)
    total = parts[0]
    for part in parts[1:]:
        total = into(total + part)
    return total, events


def whole(array: Any) -> list[list[int]]:  # noqa: ANN401
    return [[int(value) for value in row] for row in array]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("every_mac", "mode", "rounding", "shift"),
    [
        (True, "SAT", "RND", 3),
        (True, "WRAP", "TRN", 0),
        (True, "SAT_ZERO", "JAM", 2),
        (True, "NUMERIC_STD", "RND_CONV", 4),
        (True, "SAT_SYM", "TRN", -1),
        (False, "SAT", "TRN", 1),
        (False, "WRAP", "RND", 0),
    ],
)
def test_registers(every_mac: bool, mode: str, rounding: str, shift: int, order: str) -> None:
    code, lanes = ORDERS[order]
    given = shift, rounding, mode, every_mac, code, lanes
    lo = -HI if mode == "SAT_SYM" else -HI - 1
    register_of = shift, ROUNDINGS[rounding], lo, HI, OVERFLOWS[mode], int(every_mac), code, lanes
    act, weight, delta = whole(ACT), whole(WEIGHT), whole(DELTA)
    by_weight, by_sample, by_delta = (
        list(zip(*weight, strict=True)),
        list(zip(*act, strict=True)),
        list(zip(*delta, strict=True)),
    )
    stated: dict[str, tuple[tuple[Any, ...], list[list[tuple[int, int]]]]] = {
        "dense_accumulate": (
            (ACT.ravel(), WEIGHT.ravel(), BIAS, 2, *register_of),
            [
                [
                    register(list(zip(row, unit, strict=True)), int(b) << 2, given)
                    for unit, b in zip(weight, BIAS, strict=True)
                ]
                for row in act
            ],
        ),
        "project_accumulate": (
            (DELTA.ravel(), WEIGHT.ravel(), *register_of),
            [[register(list(zip(row, column, strict=True)), 0, given) for column in by_weight] for row in delta],
        ),
        "weight_gradient_accumulate": (
            (DELTA.ravel(), ACT.ravel(), *register_of),
            [[register(list(zip(d, a, strict=True)), 0, given) for a in by_sample] for d in by_delta],
        ),
        "bias_gradient_accumulate": (
            (DELTA.ravel(), np.ones(1, np.int64), *register_of),
            [[register([(x, 1) for x in d], 0, given) for d in by_delta]],
        ),
    }
    for name, (arguments, pairs) in stated.items():
        values = np.array([[value for value, _ in row] for row in pairs])
        values = values[0] if name.startswith("bias") else values
        events = sum(event for row in pairs for _, event in row)
        counters = [5, 6 + events] if mode in WRAPPING else [5 + events, 6]
        out = np.full(values.shape, 77, np.int32)
        check(
            getattr(kernels, name),
            (*arguments, out, np.array([5, 6])),
            {len(arguments): values, len(arguments) + 1: counters},
        )
