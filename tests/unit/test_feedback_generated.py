"""Feedback from a shift register against a register of Python integers, one shift after the other."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from fasim.feedback import LFSR_TAPS, lfsr_integers, lfsr_state, parse
from fasim.feedback.generated import lfsr_stream
from fasim.rng import stream

K, J, SEED = 10, 37, 7
PERIOD = 2**32 - 1


def register(state: int) -> Iterator[int]:
    """Put out bit after bit."""
    while True:
        yield state & 1
        new = (state >> 22 ^ state >> 2 ^ state >> 1 ^ state) & 1
        state = state >> 1 | new << 31


def power_of_x(exponent: int) -> int:
    """Return x^exponent modulo the polynomial, over GF(2); bit i of a polynomial belongs to x^i."""
    polynomial = 1 << 32 | sum(1 << tap for tap in LFSR_TAPS)
    result = 1
    for digit in bin(exponent)[2:]:
        square = sum(((result >> i) & 1) << 2 * i for i in range(32))
        result = square << 1 if digit == "1" else square
        for place in range(result.bit_length() - 1, 31, -1):
            if result >> place & 1:
                result ^= polynomial << (place - 32)
    return result


def test_taps() -> None:
    assert LFSR_TAPS == (22, 2, 1, 0)


def test_the_period_is_maximal() -> None:
    """The order of x divides 2^32 - 1 and none of its largest proper divisors: every non-zero state comes once."""
    assert PERIOD == 3 * 5 * 17 * 257 * 65537
    assert power_of_x(PERIOD) == 1
    assert all(power_of_x(PERIOD // prime) != 1 for prime in (3, 5, 17, 257, 65537))


@pytest.mark.parametrize("state", [1, 2**31, 0xDEADBEEF, PERIOD])
@pytest.mark.parametrize("count", [1, 31, 32, 33, 42, 43, 64, 65, 5000])
def test_bits_are_those_of_a_register(state: int, count: int) -> None:
    bits = register(state)
    assert lfsr_stream(state, count).tolist() == [next(bits) for _ in range(count)]


@pytest.mark.parametrize("width", [1, 2, 5, 8, 32])
def test_integers_are_twos_complement_highest_bit_first(width: int) -> None:
    bits = register(0xC0FFEE)
    expected = []
    for _ in range(50):
        word = int("".join(str(next(bits)) for _ in range(width)), 2)
        expected.append(word - 2**width if word >= 2 ** (width - 1) else word)
    assert lfsr_integers(0xC0FFEE, width, 50).tolist() == expected


def test_states() -> None:
    states = [lfsr_state(seed, layer) for seed in range(30) for layer in range(4)]
    assert len(set(states)) == len(states)
    assert all(0 < state <= PERIOD for state in states)
    assert lfsr_state(SEED, 3) == stream(SEED, "feedback", 3).integers(1, 2**32)


@pytest.mark.parametrize("width", [1, 2, 4, 8, 16])
def test_elements_are_odd_steps_of_the_bound(width: int) -> None:
    family = parse(f"nokland+lfsr:{width}")
    limit = 1 / math.sqrt(J)
    whole = lfsr_integers(lfsr_state(SEED, 2), width, K * J)
    matrix = family.draw(2, (K, J), SEED)[""]
    assert matrix.ravel() == pytest.approx(limit * (2 * whole + 1) / 2**width, rel=1e-15)
    assert family.generated_bits == width
    assert family.bound((K, J)) == pytest.approx(limit * (1 - 2.0**-width), rel=1e-15)
    assert np.abs(matrix).max() <= family.bound((K, J))


def test_elements_are_uniform_and_neighbours_uncorrelated() -> None:
    values = parse("uniform:1+lfsr").draw(1, (10, 2000), SEED)[""].ravel()
    assert len(np.unique(values)) == 256
    assert values.mean() == pytest.approx(0, abs=3 / math.sqrt(3 * values.size))
    assert values.std() == pytest.approx(1 / math.sqrt(3), rel=0.02)
    for lag in (1, 2, 4, 2000):
        assert abs(np.corrcoef(values[:-lag], values[lag:])[0, 1]) < 4 / math.sqrt(values.size)


def test_codes_of_generated_values() -> None:
    plain = parse("uniform+lfsr:4").draw(1, (K, J), SEED)[""]
    signs = parse("uniform+lfsr:4+sign").draw(1, (K, J), SEED)[""]
    assert (np.sign(signs) == np.sign(plain)).all()
    assert len(np.unique(np.abs(signs))) == 1
    ternary = parse("uniform+lfsr:3+ternary").draw(1, (10, 1000), SEED)[""]
    assert np.mean(ternary == 0) == pytest.approx(0.25, abs=0.02)


def test_a_convolutions_shape_is_filled_row_by_row() -> None:
    flat = parse("uniform:1+lfsr").draw(1, (4, 18), SEED)[""]
    assert (parse("uniform:1+lfsr").draw(1, (4, 3, 3, 2), SEED)[""].ravel() == flat.ravel()).all()
