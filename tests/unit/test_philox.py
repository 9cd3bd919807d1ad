"""The random words: known answers, their place in a tensor, and what rounding makes of them."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from fasim.scalar.philox import philox4x32_10, random_block, random_word
from fasim.scalar.rounding import STOCH, shift_round

# Counter and key, then the words, as published with Random123.
KNOWN = [
    (
        (0, 0, 0, 0, 0, 0),
        (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ),
    (
        (0xFFFFFFFF,) * 6,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
SITE = zlib.crc32(b"update.weight.1")


@pytest.mark.parametrize(("given", "words"), KNOWN)
@pytest.mark.parametrize("function", [philox4x32_10, philox4x32_10.py_func], ids=["njit", "numpy"])
def test_known_answers(function, given, words):
    assert tuple(int(word) for word in function(*given)) == words


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32 + 5, 2**64 - 1])
@pytest.mark.parametrize("index", [0, 1, 2, 3, 4, 1001, 2**32 + 6, 2**34 - 1, 2**34 + 3, 2**50 + 9])
def test_the_counter_of_an_element(seed, index):
    step = 77
    block = philox4x32_10((index >> 2) & 0xFFFFFFFF, index >> 34, step, SITE, seed & 0xFFFFFFFF, seed >> 32)
    word = block[index & 3]
    seed = np.uint64(seed)
    assert random_word(seed, SITE, step, index) == word
    assert random_word.py_func(seed, SITE, step, index) == word
    assert random_block(seed, SITE, step, index >> 2) == block
    assert random_block.py_func(seed, SITE, step, index >> 2) == block


def test_every_part_of_the_counter_and_key_matters():
    words = {
        int(random_word(seed, site, step, index))
        for seed in (3, 4, 3 + 2**32)
        for site in (SITE, SITE + 1)
        for step in (0, 1)
        for index in (0, 1, 4, 2**34)
    }
    assert len(words) == 3 * 2 * 2 * 4


def test_stochastic_rounding_is_unbiased_for_every_residue():
    shift, draws = 3, 4000
    for residue in range(1, 2**shift):
        for whole in (-2, 0, 1):
            x = (whole << shift) + residue
            p = residue / 2**shift
            words = [random_word(9, SITE, residue, (whole + 2) * draws + i) for i in range(draws)]
            rounded = np.array([shift_round(x, shift, STOCH, word) for word in words])
            assert set(rounded.tolist()) == {whole, whole + 1}
            sigma = np.sqrt(p * (1 - p) / draws)
            assert abs(rounded.mean() - (whole + p)) < 5 * sigma


def test_neighbours_draw_independently():
    draws = 4000
    up = np.array([shift_round(4, 3, STOCH, random_word(9, SITE, 0, i)) for i in range(draws)])
    for lag in (1, 2, 3, 4):
        both = np.mean(up[lag:] == up[:-lag])
        assert abs(both - 0.5) < 5 * 0.5 / np.sqrt(draws - lag)


@pytest.mark.parametrize("shift", [1, 8, 31, 32])
def test_exact_numbers_never_move(shift):
    words = [0, 1, 2**32 - 1, *(random_word(1, SITE, 2, i) for i in range(200))]
    for whole in (-(2**30), -3, -1, 0, 1, 5, 2**30):
        assert {int(shift_round(whole << shift, shift, STOCH, word)) for word in words} == {whole}
