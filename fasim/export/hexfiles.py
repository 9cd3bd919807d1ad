"""Integers as text for Verilog's ``$readmemh``: two's complement, a fixed number of digits, one word a line, row-major."""

from __future__ import annotations

import numpy as np

from fasim.errors import DataError
from fasim.fixedpoint.format import Fixed

_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


def digits(bits: int) -> int:
    """Return the hex digits of a word, ``ceil(bits / 4)``."""
    return -(-bits // 4)


def to_hex(raw: np.ndarray, bits: int) -> bytes:
    """Return the words of an array as text.

    Parameters
    ----------
    raw : ndarray of integers, any shape
        Written in row-major order, the last axis fastest.
    bits : int
        Of a word; what lies above them in the first digit is 0.

    Returns
    -------
    bytes
        ``raw.size`` lines of ``ceil(bits / 4)`` digits.
    """
    count = digits(bits)
    words = raw.reshape(-1).astype(np.int64).view(np.uint64) & np.uint64((1 << bits) - 1)
    places = np.arange(count - 1, -1, -1, dtype=np.uint64) * np.uint64(4)
    text = np.full((words.size, count + 1), ord("\n"), np.uint8)
    text[:, :count] = _DIGITS[((words[:, None] >> places) & np.uint64(15)).astype(np.intp)]
    return text.tobytes()


def from_hex(text: bytes, fmt: Fixed, shape: tuple[int, ...]) -> np.ndarray:
    """Return the integers of a text that `to_hex` wrote.

    Parameters
    ----------
    text : bytes
    fmt : Fixed
        Its bits and signedness.
    shape : tuple of int

    Returns
    -------
    ndarray of int64, shape `shape`

    Raises
    ------
    DataError
        If the text has another number of words, or something that is none.
    """
    try:
        words = np.array([int(line, 16) for line in text.split()], np.int64)
        found = words.reshape(shape)
    except (ValueError, OverflowError) as error:
        raise DataError(f"no words of {fmt} in shape {shape} ({error}); export the vectors again") from error
    if any(not 0 <= word < 1 << fmt.bits for word in (int(found.min(initial=0)), int(found.max(initial=0)))):
        raise DataError(f"a word has more than the {fmt.bits} bits of {fmt}; export the vectors again")
    above = 64 - fmt.bits if fmt.signed else 0
    return (found << above) >> above
