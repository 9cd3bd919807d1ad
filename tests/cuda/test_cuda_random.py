"""Shift registers on the device against shifts one by one, what takes their words, and clipping by the norm."""

from __future__ import annotations

from typing import Any

import fasim_cuda as kernels
import numpy as np
import pytest
from fasim_cuda.random_words import RUN

from fasim.backends.cuda_random import draws
from fasim.rules import training_step
from fasim.scalar.lfsr import MAXIMAL_TAPS, tap_mask
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS
from fasim.schedule import StepSettings
from tests.cuda.test_cuda_maps import SIZE, same
from tests.cuda_runs import check
from tests.fixed_bridge import Case
from tests.fixed_statements import brought, rounded

LFSR = {"source": "lfsr", "width": 16, "taps": [16, 15, 13, 4], "shifts": 3, "seed": 9}
random = np.random.default_rng(91)


def register(width: int, shifts: int, start: int, count: int) -> list[int]:
    """State the first draws of a register of maximal period, by single shifts."""
    state, found, mask = start, [], tap_mask(MAXIMAL_TAPS[width])
    for _ in range(count):
        for _ in range(shifts):
            state = (state << 1 | (state & mask).bit_count() & 1) % 2**width
        found.append(state)
    return found


@pytest.mark.parametrize(("width", "shifts", "elements", "step"), [(16, 3, 70, 2), (2, 1, 5, 3), (32, 32, 130, 1)])
def test_words_are_those_of_single_shifts(width: int, shifts: int, elements: int, step: int) -> None:
    """A thread jumps to its run; elements 64 and 128 begin runs of their own."""
    assert RUN == 64
    powers = np.array(draws(width, tap_mask(MAXIMAL_TAPS[width]), shifts), np.uint64)
    expected = register(width, shifts, 2, (step + 1) * elements)[step * elements :]
    out = np.full(elements, 77, np.uint32)
    for blocks, threads in ((1, 1), (2, 2)):
        arguments = powers, 2, elements, np.array([step]), out
        check(kernels.lfsr_words, arguments, {4: expected}, blocks=blocks, threads=threads)


def test_a_register_far_on_is_where_its_period_says() -> None:
    """After 2^62 draws of a register whose period is 2^16 - 1, and at the draw of the remainder."""
    powers = draws(16, tap_mask(MAXIMAL_TAPS[16]), 1)
    state, far = 1, 0
    for b in range(16):
        far ^= powers[62][b] if state >> b & 1 else 0
    assert far == register(16, 1, 1, 2**62 % (2**16 - 1))[-1]


WORDS = random.integers(0, 2**32, 12, dtype=np.uint32)
HI = 63
CODES = ROUNDINGS["STOCH"], OVERFLOWS["SAT"]
PARAMETER = random.integers(-HI - 1, HI + 1, 12).astype(np.int16)
GRADIENT = random.integers(-(2**12), 2**12, 12).astype(np.int32)


def number(value: int) -> np.ndarray:
    return np.array([value], np.int64)


def into(stated: list[int]) -> tuple[list[int], list[int]]:
    """Return the numbers in range, and the counters, which had stood at 5 and 6."""
    pairs = [brought(value, -HI - 1, HI, "SAT") for value in stated]
    outside = sum(was for _, was in pairs)
    assert 0 < outside < len(stated)
    return [value for value, _ in pairs], [5 + outside, 6]


@pytest.mark.parametrize(("bits", "half"), [(0, False), (3, False), (3, True)])
def test_casts_and_updates_take_words(bits: int, half: bool) -> None:
    words = WORDS.tolist()
    values, counters = into(
        [rounded(x, 5, "STOCH", word, bits, half) for x, word in zip(GRADIENT.tolist(), words, strict=True)]
    )
    arguments = GRADIENT, number(5), -HI - 1, HI, *CODES, WORDS, bits, half, np.full(12, 77, np.int8), np.array([5, 6])
    check(kernels.requantize_random, arguments, {9: values, 10: counters})
    steps = [rounded(5 * g, 9, "STOCH", word, bits, half) for g, word in zip(GRADIENT.tolist(), words, strict=True)]
    stated = [w - rounded(w, 2, "RND") - step for w, step in zip(PARAMETER.tolist(), steps, strict=True)]
    values, counters = into(stated)
    given = PARAMETER, GRADIENT, number(6), number(3), number(5), -HI - 1, HI, *CODES, WORDS, bits, half, 2
    check(kernels.update_scaled, (*given, np.array([5, 6])), {0: values, 13: counters})


def test_updates_by_one_take_words() -> None:
    """Of 8 bits, moved where the size of the gradient, at 12 bits less, reaches the word."""
    parameter = np.where(np.arange(12) % 2, HI, -HI - 1).astype(np.int16)
    values = []
    for w, g, word in zip(parameter.tolist(), GRADIENT.tolist(), WORDS.tolist(), strict=True):
        values.append(w - ((g > 0) - (g < 0) if min(abs(g) >> 4, 256) >= word % 256 else 0))
    values, counters = into(values)
    given = parameter, GRADIENT, number(9), number(3), -HI - 1, HI, OVERFLOWS["SAT"], WORDS, 8
    check(kernels.update_by_one_random, (*given, np.array([5, 6])), {0: values, 9: counters})


@pytest.mark.parametrize(
    "tables",
    [
        {"preact": {"rounding": "STOCH"}, "update": {"rounding": "STOCH"}, "random": LFSR},
        {"update": {"rounding": "STOCH", "rate": "multiply:4"}, "random": LFSR | {"bits": 5, "half": True}},
        {"update": {"kind": "plus_minus_one"}, "master": {"format": "s12.9"}, "random": LFSR},
    ],
    ids=["casts", "rates that multiply", "updates by one"],
)
def test_runs_with_registers_are_those_of_the_cpu(tables: dict[str, Any], tmp_path: Any) -> None:  # noqa: ANN401
    case = Case("6-5-4-3", "bp", StepSettings(SIZE), preset="s8", tables=tables)
    same(training_step(case.network, case.rule, case.settings, case.datapath(tmp_path)))


def test_squares_are_added_over_tensors() -> None:
    gradient, parts = random.uniform(-2, 2, 11).astype(np.float32), np.array([1.0, 2.0, 3.0, 4.0])
    squares = np.array([(gradient[q::4].astype(np.float64) ** 2).sum() for q in range(4)])
    check(kernels.squared_norm, (gradient, 1, parts), {2: parts + squares})
    check(kernels.squared_norm, (gradient, 0, parts), {2: squares})


@pytest.mark.parametrize(("squared", "factor"), [(16.0, 0.25), (0.5, 1.0), (np.inf, 0.0)])
def test_gradients_longer_than_a_limit_are_shortened(squared: float, factor: float) -> None:
    gradient = np.array([1.0, -2.0, 0.5], np.float32)
    arguments = gradient, np.array([squared]), np.float32(1), np.full(3, 77, np.float32)
    check(kernels.rescale, arguments, {3: factor * gradient})


@pytest.mark.parametrize("limit", [0.05, 100.0])
def test_clipping_by_the_norm_is_that_of_the_cpu(limit: float) -> None:
    case = Case("6-5-4-3", "bp", StepSettings(SIZE, clip=f"norm:{limit}"), preset="float32")
    same(training_step(case.network, case.rule, case.settings, None))
