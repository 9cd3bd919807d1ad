"""The oracle's integer arithmetic: Philox, rounding, overflow, tables, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.reference import fixed_step
from tests.reference.philox import philox4x32, random_word


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0,) * 4, (0,) * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_known_answers(counter: Any, key: Any, words: str) -> None:
    """The known-answer vectors of the Random123 library."""
    assert " ".join(f"{word:08x}" for word in philox4x32(counter, key)) == words


def test_random_word_places_its_arguments() -> None:
    """Index, step, site and seed sit where the page puts them (0xcbf43926 = CRC of 123456789)."""
    seed, step, index = 0x1122334455667788, 7, (5 << 34) + (9 << 2) + 2
    block = philox4x32((9, 5, 7, 0xCBF43926), (0x55667788, 0x11223344))
    assert random_word(seed, "123456789", step, index) == block[2]


@pytest.mark.parametrize(
    ("x", "shift", "trn", "rnd", "rnd_conv"),
    [
        (5, 1, 2, 3, 2),
        (7, 1, 3, 4, 4),
        (-5, 1, -3, -2, -2),
        (-7, 1, -4, -3, -4),
        (-1, 3, -1, 0, 0),
        (11, 2, 2, 3, 3),
        (-3, -2, -12, -12, -12),
    ],
)
def test_rounding_by_hand(x: int, shift: int, trn: int, rnd: int, rnd_conv: int) -> None:
    """Ties and negative numbers."""
    assert fixed_step.round_shift(x, shift, "TRN", 0) == trn
    assert fixed_step.round_shift(x, shift, "RND", 0) == rnd
    assert fixed_step.round_shift(x, shift, "RND_CONV", 0) == rnd_conv


def test_stochastic_rounding_is_unbiased_over_its_words() -> None:
    """Over all words the mean is x / 2^s exactly; 33 bits are too many for one word."""
    for x in (-13, -8, 0, 3, 13):
        total = sum(fixed_step.round_shift(x, 3, "STOCH", 8 * 5 + low) for low in range(8))
        assert total == x
    assert fixed_step.round_shift(1, 32, "STOCH", 0xFFFFFFFF) == 1
    with pytest.raises(ValueError, match="32 random bits"):
        fixed_step.round_shift(1, 33, "STOCH", 0)


@pytest.mark.parametrize(
    ("raw", "fmt", "overflow", "expected"),
    [
        (127, (8, 4, True), "SAT", (127, False, False)),
        (128, (8, 4, True), "SAT", (127, True, False)),
        (-129, (8, 4, True), "SAT", (-128, True, False)),
        (-129, (8, 4, True), "WRAP", (127, False, True)),
        (300, (8, 4, True), "WRAP", (44, False, True)),
        (256, (8, 4, False), "SAT", (255, True, False)),
        (-1, (8, 4, False), "SAT", (0, True, False)),
        (-1, (8, 4, False), "WRAP", (255, False, True)),
        (-128, (8, 4, True), "WRAP", (-128, False, False)),
    ],
)
def test_overflow_by_hand(raw: int, fmt: Any, overflow: str, expected: Any) -> None:
    """Clamping and two's complement, signed and unsigned."""
    assert fixed_step.cast(raw, 4, fmt, "TRN", overflow) == expected


def test_overflow_is_judged_after_rounding() -> None:
    """127.5 rounds up out of s8; 127.25 does not."""
    assert fixed_step.cast(255, 1, (8, 0, True), "RND", "SAT") == (127, True, False)
    assert fixed_step.cast(509, 2, (8, 0, True), "RND", "SAT") == (127, False, False)


def test_tables_by_hand() -> None:
    """Entries run from the smallest input up; u8.8 cannot hold 1, so its last value stands."""
    tanh = fixed_step.table("tanh", (8, 4, True), (8, 7, True))
    slope = fixed_step.slope_table("tanh", (8, 4, True), (8, 8, False))
    assert len(tanh) == len(slope) == 256
    # tanh(9/16) = 0.50983: 65.26 of 128; 1 - 0.50983^2 = 0.74007: 189.46 of 256
    assert (tanh[128 + 9], slope[128 + 9]) == (65, 189)
    assert (tanh[0], tanh[128], tanh[255], slope[128]) == (-128, 0, 127, 255)
    relu = fixed_step.table("relu", (4, 2, True), (4, 1, True))
    assert relu == (0,) * 9 + (1, 1, 2, 2, 3, 3, 4)
    assert fixed_step.slope_table("relu", (4, 2, True), (4, 1, True)) == (0,) * 9 + (2,) * 7
