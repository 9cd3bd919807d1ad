"""Shift registers against a register written bit by bit."""

from __future__ import annotations

import numpy as np
import pytest

from fasim.kernels import lfsr_words, philox_words
from fasim.scalar.lfsr import MAXIMAL_TAPS, lfsr_jump, lfsr_power, lfsr_shift, lfsr_start, tap_mask
from fasim.scalar.philox import random_word
from tests.kernel_checks import check, inside


def shifted(bits: list[int], taps: tuple[int, ...]) -> list[int]:
    """Return the register after one shift, as wires: bits[0] is bit number 1, which takes the parity of the taps."""
    return [sum(bits[tap - 1] for tap in taps) % 2, *bits[:-1]]


def draws(width: int, taps: tuple[int, ...], start: int, shifts: int, count: int) -> list[int]:
    bits, words = [start >> place & 1 for place in range(width)], []
    for _ in range(count):
        for _ in range(shifts):
            bits = shifted(bits, taps)
        words.append(sum(bit << place for place, bit in enumerate(bits)))
    return words


def prime_factors(number: int) -> set[int]:
    found, candidate = set(), 2
    while candidate * candidate <= number:
        while number % candidate == 0:
            found.add(candidate)
            number //= candidate
        candidate += 1
    return found | ({number} if number > 1 else set())


@pytest.mark.parametrize("width", MAXIMAL_TAPS)
def test_maximal_taps_have_the_full_period(width):
    """The matrix of 2^w - 1 shifts changes nothing, that of no part of them does (so for every start)."""
    period, taps = 2**width - 1, np.uint64(tap_mask(MAXIMAL_TAPS[width]))
    one = np.uint64(1) << np.arange(width, dtype=np.uint64)
    np.testing.assert_array_equal(lfsr_power(width, taps, period), one)
    for factor in prime_factors(period):
        assert (lfsr_power(width, taps, period // factor) != one).any()


@pytest.mark.parametrize("width", [2, 5, 8, 16])
def test_every_state_but_zero_comes_once(width):
    taps, state, seen = np.uint64(tap_mask(MAXIMAL_TAPS[width])), np.uint64(1), set()
    for _ in range(2**width - 1):
        state = np.uint64(lfsr_shift(state, taps, width))
        seen.add(int(state))
    assert seen == set(range(1, 2**width))


@pytest.mark.parametrize(("width", "shifts"), [(2, 1), (7, 3), (16, 1), (16, 16), (22, 448), (32, 32)])
def test_words_are_the_register_bit_by_bit(width, shifts):
    taps, start, elements = MAXIMAL_TAPS[width], lfsr_start(width, 3, 2**40 + 7, 0xCAFEBABE), 23
    every = draws(width, taps, start, shifts, 3 * elements)
    for call in (lfsr_words, inside(lfsr_words)):
        for first, count in ((0, 23), (0, 1), (5, 11), (22, 1), (23, 0)):
            at = 2 * elements + first
            arguments = (width, tap_mask(taps), start, shifts, elements, np.array([2]), first, np.full(count, 7, np.uint32))
            check(call, arguments, {7: every[at : at + count]})


def test_jumping_far_is_jumping_twice():
    taps, start = np.uint64(tap_mask(MAXIMAL_TAPS[24])), np.uint64(0xABCDEF)
    draw = lfsr_power(24, taps, 24)
    half = lfsr_jump(draw, 10**11, start)
    assert lfsr_jump(draw, 2 * 10**11, start) == lfsr_jump(draw, 10**11, half)
    assert lfsr_jump(draw, 0, start) == start
    np.testing.assert_array_equal(lfsr_power(24, taps, 10**6), lfsr_power(24, taps, 10**6 + 2**24 - 1))


def test_start_is_never_zero():
    assert lfsr_start(4, 0, 14, 0) == 15
    assert lfsr_start(4, 0, 15, 0) == 1
    assert lfsr_start(16, 5, 6, 7) == 19
    assert {lfsr_start(3, seed, 0, 0) for seed in range(20)} == set(range(1, 8))


def test_tap_mask():
    assert tap_mask((16, 15, 13, 4)) == 0b1101000000001000


@pytest.mark.parametrize("first", [0, 1, 2, 3, 4, 9, 2**34 - 3])
def test_philox_words_are_those_of_each_element(first):
    step = np.array([6])
    for count in (0, 1, 2, 3, 4, 5, 8, 13):
        expected = [int(random_word(np.uint64(2**40 + 3), 99, 6, first + i)) for i in range(count)]
        arguments = (np.uint64(2**40 + 3), 99, step, first, np.full(count, 7, np.uint32))
        check(philox_words, arguments, {4: expected})
    check(inside(philox_words), arguments, {4: expected})
